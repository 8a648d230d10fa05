/**
 * `tsvs capture FILE|-`: frames of the running tsvs as pcapng, each with its stage and what is known of it as comment. What the
 * control socket sends goes to the file as it is. A disk that is full or a reader that has gone ends the capture, not tsvs.
 */

import { once } from 'node:events';
import { createWriteStream, type WriteStream } from 'node:fs';
import type { IncomingMessage } from 'node:http';
import { CAPTURE_TRAILERS, type ErrorReply, PATHS } from '../control/api.ts';
import { send, stream } from '../control/client.ts';
import { EXIT, Failure } from './failure.ts';
import { type ControlOptions, request } from './request.ts';
import { plural } from './units.ts';

export interface CaptureOptions extends ControlOptions {
  readonly filter?: string;
  readonly stage?: string;
  readonly count?: string;
  readonly seconds?: string;
  readonly snap?: string;
}

const STDOUT = 1;

export async function capture(file: string, options: CaptureOptions): Promise<void> {
  const { filter, stage, count, seconds, snap } = options;
  const wanted = Object.entries({ filter, stage, count, seconds, snap });
  const query = wanted.flatMap(([key, value]) => (value === undefined ? [] : [[key, value] as [string, string]]));
  const path = `${PATHS.capture}?${new URLSearchParams(query)}`;
  const out = await openOut(file);
  const reply = await request(options, (socket) => stream(socket, path), refusal).catch((error: unknown) => {
    out.destroy();
    throw error;
  });
  const end = (): void => void request(options, (socket) => send(socket, 'DELETE', PATHS.capture)).catch(() => {});
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, end);
  if (process.stderr.isTTY) console.error(`capturing to ${file === '-' ? 'standard output' : file}; Ctrl-C ends it`);
  await copy(reply, out, file);
  const trailer = (name: string): string | undefined => reply.trailers[name.toLowerCase()];
  const [frames, lost, why] = [CAPTURE_TRAILERS.frames, CAPTURE_TRAILERS.lost, CAPTURE_TRAILERS.end].map(trailer);
  if (frames === undefined) throw new Failure(EXIT.WORKER, `${file}: the capture broke off: tsvs has gone`);
  const missing = lost === '0' ? '' : `; ${plural(Number(lost), 'frame')} more were lost, the reader being too slow`;
  console.error(`${plural(Number(frames), 'frame')} captured: ${why}${missing}`);
}

/** Throws Failure. */
async function openOut(file: string): Promise<WriteStream> {
  const out = file === '-' ? createWriteStream('', { fd: STDOUT, autoClose: false }) : createWriteStream(file);
  if (file === '-') return out;
  try {
    await once(out, 'open');
  } catch (error) {
    throw new Failure(EXIT.SYSTEM, `${file}: cannot be written (${(error as NodeJS.ErrnoException).code})`);
  }
  return out;
}

/** All that comes. Throws Failure when it cannot be written; the capture ends by our leaving then. */
async function copy(reply: IncomingMessage, out: WriteStream, file: string): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    out.on('error', ({ code }: NodeJS.ErrnoException) => {
      reply.destroy();
      const what = code === 'EPIPE' ? 'its reader has gone' : `it cannot be written any more (${code})`;
      reject(new Failure(EXIT.SYSTEM, `${file === '-' ? 'standard output' : file}: the capture ends: ${what}`));
    });
    // Broken off: told from its trailers.
    reply.on('error', () => out.end());
    out.on('finish', resolve);
    reply.pipe(out);
  });
}

function refusal(status: number, { error, hint }: ErrorReply): Failure | null {
  return status >= 500 ? null : new Failure(EXIT.USAGE, hint ? `${error}: ${hint}` : error);
}
