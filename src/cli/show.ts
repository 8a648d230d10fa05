/** What `tsvs stats`, `sessions`, `drops` and `neigh` have in common: ask, and print as text or as JSON. */
import { existsSync } from 'node:fs';
import { AskError, type AskErrorCode, ask } from '../control/client.ts';
import { defaultSocket, ROOT_SOCKET } from '../control/socket.ts';
import { EXIT, type ExitCode, Failure } from './failure.ts';

export interface ShowOptions {
  readonly control?: string;
  readonly json?: boolean;
}

const EXIT_CODES: Readonly<Record<AskErrorCode, ExitCode>> = {
  NOT_RUNNING: EXIT.NOT_RUNNING,
  NO_ANSWER: EXIT.WORKER,
  NO_PERMISSION: EXIT.SYSTEM,
  REFUSED: EXIT.SYSTEM,
};

/** Prints the reply to GET `path`: with --json as it is, else as `format` has it. Throws Failure. */
export async function show<T>(options: ShowOptions, path: string, format: (reply: T) => string): Promise<void> {
  const socket = options.control ?? defaultSocket();
  const reply = await ask<T>(socket, path).catch((error: unknown) => {
    if (!(error instanceof AskError)) throw error;
    throw new Failure(
      EXIT_CODES[error.code],
      error.message + (options.control === undefined ? rootHint(error.code, socket) : ''),
    );
  });
  console.log(options.json ? JSON.stringify(reply, null, 2) : format(reply));
}

/** tsvs was started with sudo, and is asked without. */
function rootHint(code: AskErrorCode, socket: string): string {
  const elsewhere = code === 'NOT_RUNNING' && socket !== ROOT_SOCKET && existsSync(ROOT_SOCKET);
  return elsewhere ? ` (root's is at ${ROOT_SOCKET}: ask it with sudo)` : '';
}
