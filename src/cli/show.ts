/** What `tsvs stats`, `sessions`, `drops` and `neigh` have in common: ask, and print as text or as JSON. */
import { AskError, type AskErrorCode, ask } from '../control/client.ts';
import { defaultSocket } from '../control/socket.ts';
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
  const reply = await ask<T>(options.control ?? defaultSocket(), path).catch((error: unknown) => {
    throw error instanceof AskError ? new Failure(EXIT_CODES[error.code], error.message) : error;
  });
  console.log(options.json ? JSON.stringify(reply, null, 2) : format(reply));
}
