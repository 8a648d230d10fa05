/** Asks a running tsvs through its control socket, and has it change. Used by the commands. */
import { type IncomingMessage, request } from 'node:http';
import type { ErrorReply } from './api.ts';

export type AskErrorCode = 'NOT_RUNNING' | 'NO_PERMISSION' | 'NO_ANSWER' | 'REFUSED';

/** No reply; the message says what to do. */
export class AskError extends Error {
  readonly code: AskErrorCode;
  /** What tsvs answered instead: status of HTTP and body; null when it did not. */
  readonly refusal: { readonly status: number; readonly reply: ErrorReply } | null;
  constructor(code: AskErrorCode, message: string, refusal: AskError['refusal'] = null) {
    super(message);
    this.name = 'AskError';
    this.code = code;
    this.refusal = refusal;
  }
}

export type Method = 'GET' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

const LIMIT_MS = 5000;

/** The JSON reply to GET `path`. Throws AskError. */
export function ask<T>(socketPath: string, path: string): Promise<T> {
  return send(socketPath, 'GET', path);
}

/** The JSON reply to a request with `body`, if any, as JSON. Throws AskError. */
export function send<T>(socketPath: string, method: Method, path: string, body?: object): Promise<T> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method, path, headers, agent: false, timeout: LIMIT_MS }, (response) => {
      let reply = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        reply += piece;
      });
      response.on('error', (error: NodeJS.ErrnoException) => reject(explain(socketPath, error)));
      response.on('end', () => {
        try {
          const parsed: unknown = JSON.parse(reply);
          if (response.statusCode === 200) resolve(parsed as T);
          else reject(refused(response.statusCode!, parsed as ErrorReply));
        } catch {
          reject(new AskError('REFUSED', `what answers at ${socketPath} is not tsvs, or of another version`));
        }
      });
    });
    sent.on('timeout', () => {
      const message = `tsvs at ${socketPath} has not answered for ${LIMIT_MS / 1000} s: its process hangs or is stopped`;
      sent.destroy(new AskError('NO_ANSWER', message));
    });
    sent.on('error', (error) => reject(error instanceof AskError ? error : explain(socketPath, error)));
    sent.end(text);
  });
}

/** The body of the answer to POST `path`, as it comes, for as long as it lasts. Throws AskError. */
export function stream(socketPath: string, path: string): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const sent = request({ socketPath, method: 'POST', path, agent: false }, (response) => {
      if (response.statusCode === 200) return resolve(response);
      let reply = '';
      response.setEncoding('utf8').on('data', (piece: string) => {
        reply += piece;
      });
      response.on('end', () => reject(refused(response.statusCode!, JSON.parse(reply) as ErrorReply)));
    });
    sent.on('error', (error) => reject(explain(socketPath, error)));
    sent.end();
  });
}

function refused(status: number, reply: ErrorReply): AskError {
  const hint = reply.hint === undefined ? '' : `; ${reply.hint}`;
  return new AskError('REFUSED', `tsvs answered ${status}: ${reply.error}${hint}`, { status, reply });
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
