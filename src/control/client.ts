/** Asks a running tsvs through its control socket. Used by the commands that show what it does. */
import { get } from 'node:http';
import type { ErrorReply } from './api.ts';

export type AskErrorCode = 'NOT_RUNNING' | 'NO_PERMISSION' | 'NO_ANSWER' | 'REFUSED';

/** No reply; the message says what to do. */
export class AskError extends Error {
  readonly code: AskErrorCode;
  constructor(code: AskErrorCode, message: string) {
    super(message);
    this.name = 'AskError';
    this.code = code;
  }
}

const LIMIT_MS = 5000;

/** The JSON reply to GET `path`. Throws AskError. */
export function ask<T>(socketPath: string, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const request = get({ socketPath, path, agent: false, timeout: LIMIT_MS }, (response) => {
      let text = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      response.on('error', (error: NodeJS.ErrnoException) => reject(explain(socketPath, error)));
      response.on('end', () => {
        try {
          const body: unknown = JSON.parse(text);
          if (response.statusCode === 200) resolve(body as T);
          else reject(new AskError('REFUSED', `tsvs answered ${response.statusCode}: ${(body as ErrorReply).error}`));
        } catch {
          reject(new AskError('REFUSED', `what answers at ${socketPath} is not tsvs, or of another version`));
        }
      });
    });
    request.on('timeout', () => {
      const message = `tsvs at ${socketPath} has not answered for ${LIMIT_MS / 1000} s: its process hangs or is stopped`;
      request.destroy(new AskError('NO_ANSWER', message));
    });
    request.on('error', (error) => reject(error instanceof AskError ? error : explain(socketPath, error)));
  });
}

function explain(path: string, { code, message }: NodeJS.ErrnoException): AskError {
  switch (code) {
    case 'ENOENT':
    case 'ECONNREFUSED':
      return new AskError(
        'NOT_RUNNING',
        `no tsvs is running at ${path}: start it with 'tsvs run --config FILE', or name its socket with --control PATH`,
      );
    case 'EACCES':
    case 'EPERM':
      return new AskError('NO_PERMISSION', `no permission for ${path}: ask as the user that runs tsvs, or with sudo`);
    default:
      return new AskError('REFUSED', `cannot ask tsvs at ${path}: ${message}`);
  }
}
