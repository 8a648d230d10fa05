/** What all commands that speak to a running tsvs have in common: which socket, and how no reply becomes a Failure. */
import { existsSync } from 'node:fs';
import type { ErrorReply } from '../control/api.ts';
import { AskError, type AskErrorCode } from '../control/client.ts';
import { defaultSocket, ROOT_SOCKET } from '../control/socket.ts';
import { EXIT, type ExitCode, Failure } from './failure.ts';

export interface ControlOptions {
  readonly control?: string;
  readonly json?: boolean;
}

const EXIT_CODES: Readonly<Record<AskErrorCode, ExitCode>> = {
  NOT_RUNNING: EXIT.NOT_RUNNING,
  NO_ANSWER: EXIT.WORKER,
  NO_PERMISSION: EXIT.SYSTEM,
  REFUSED: EXIT.SYSTEM,
};

/** The Failure for an answer other than the one that was asked for; null leaves it to the general ones. */
export type Judge = (status: number, reply: ErrorReply) => Failure | null;

/** What `ask` gets from the socket. Throws Failure. */
export async function request<T>(
  options: ControlOptions,
  ask: (socket: string) => Promise<T>,
  judge: Judge = () => null,
): Promise<T> {
  const socket = options.control ?? defaultSocket();
  try {
    return await ask(socket);
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    const { code, message, refusal } = error;
    const failure = refusal === null ? null : judge(refusal.status, refusal.reply);
    throw (
      failure ?? new Failure(EXIT_CODES[code], message + (options.control === undefined ? rootHint(code, socket) : ''))
    );
  }
}

/** tsvs was started with sudo, and is asked without. */
function rootHint(code: AskErrorCode, socket: string): string {
  const elsewhere = code === 'NOT_RUNNING' && socket !== ROOT_SOCKET && existsSync(ROOT_SOCKET);
  return elsewhere ? ` (root's is at ${ROOT_SOCKET}: ask it with sudo)` : '';
}
