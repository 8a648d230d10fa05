/**
 * POST /v1/capture: a capture as the body of the answer, pcapng, for as long as it lasts: until as many frames as wanted have come, the
 * time is over, DELETE /v1/capture, or whoever asked has gone. Trailers say how it ended. This thread passes on what the workers put
 * into their rings, by time; a reader that is slow costs frames, which are counted, and nothing else. Called by server.ts.
 */
import type { ServerResponse } from 'node:http';
import { performance } from 'node:perf_hooks';
import { z } from 'zod';
import type { CaptureWish } from '../../lb/capture/capture.ts';
import { attachCapture, LOST, MAX_SNAP, PIECE_WORDS, STAGES } from '../../lb/capture/record.ts';
import type { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { CaptureBlocks, CapturedFrames, type Naming } from '../capture/blocks.ts';
import { compileFilter, ExpressionError } from '../capture/expression.ts';
import type { Config } from '../config/model.ts';
import type { Asking } from '../workers/questions.ts';
import { CAPTURE_TRAILERS } from './api.ts';
import { ChangeError } from './running-config.ts';

const DEFAULT_STAGES = ['rx', 'tx', 'drop'];
/** How often the rings are looked into. */
const LOOK_MS = 10;
/** How long a worker may take to show what it has seen; so much later the others' frames from then are passed on. */
const PATIENCE_US = 100_000;

const STAGE_LIST = z
  .string()
  .default(DEFAULT_STAGES.join(','))
  .transform((text) => (text === 'all' ? [...STAGES] : text.split(',')))
  .pipe(z.array(z.enum(STAGES)).min(1));

const QUERY = z.strictObject({
  filter: z.string().default(''),
  stage: STAGE_LIST,
  count: z.coerce.number().int().min(1).max(0x7fffffff).optional(),
  seconds: z.coerce.number().positive().max(86_400).optional(),
  snap: z.coerce.number().int().min(64).max(MAX_SNAP).default(MAX_SNAP),
});
type Query = z.infer<typeof QUERY>;

export const CAPTURE_HINT = `filter=, stage= (${STAGES.join(', ')} or all), count=, seconds= and snap= are what can be said`;

/** What is needed of the process. */
export interface CaptureSource {
  readonly worker: Asking;
  /** By worker. */
  names(worker: number): Naming;
  readonly config: Config;
}

/** Captures of all workers, one at a time. */
export class Captures {
  private running: Stream | null = null;

  /** `search`: what stands behind the question mark. Throws ChangeError before anything was answered. */
  async begin(search: string, response: ServerResponse, source: CaptureSource): Promise<void> {
    const query = read(search);
    if (this.running !== null) throw new ChangeError(409, 'a capture is running already', 'end it, or wait for it');
    const { stage: stages, count = 0, snap } = query;
    const stream = new Stream(response, source, query.seconds);
    this.running = stream;
    try {
      await stream.run({ stages, program: programOf(query), count, snap });
    } finally {
      this.running = null;
    }
  }

  /** False when none was running. */
  end(): boolean {
    this.running?.end('on demand');
    return this.running !== null;
  }
}

function read(search: string): Query {
  const result = QUERY.safeParse(Object.fromEntries(new URLSearchParams(search)));
  if (result.success) {
    programOf(result.data);
    return result.data;
  }
  const { path, message } = result.error.issues[0]!;
  throw new ChangeError(400, `the capture is not understood: ${String(path[0] ?? '')} ${message}`, CAPTURE_HINT);
}

function programOf({ filter }: Query): number[] {
  try {
    return compileFilter(filter);
  } catch (error) {
    if (error instanceof ExpressionError)
      throw new ChangeError(400, error.message, "as in 'host 10.0.0.7 and tcp port 80'");
    throw error;
  }
}

/** One capture, from its head to its trailers. */
class Stream {
  private readonly response: ServerResponse;
  private readonly source: CaptureSource;
  private readonly seconds: number | undefined;
  private ending: string | null = null;

  constructor(response: ServerResponse, source: CaptureSource, seconds: number | undefined) {
    this.response = response;
    this.source = source;
    this.seconds = seconds;
  }

  end(why: string): void {
    this.ending ??= why;
  }

  /** Throws when a worker cannot begin; then none has. */
  async run(wish: CaptureWish): Promise<void> {
    const { response, source } = this;
    const { worker, config } = source;
    const epochs = await this.begin(wish, worker.captureMemory().length);
    // Not before: one that was being started anew has other memory then.
    const memory = worker.captureMemory();
    const ends = memory.map(attachCapture);
    // Since the process started, the system's clock may have been set.
    const set = Date.now() - performance.timeOrigin - performance.now();
    const blocks = new CaptureBlocks(
      ends.map(({ ring }, w) => {
        const suffix = memory.length === 1 ? '' : `, worker ${w}`;
        return new CapturedFrames(ring, source.names(w), Math.round(epochs[w]! + set * 1000), suffix);
      }),
    );
    if (response.destroyed) this.end('its reader has gone');
    response.on('close', () => this.end('its reader has gone'));
    void worker.ended.then(() => this.end('tsvs ends'));
    const timer =
      this.seconds === undefined ? undefined : setTimeout(() => this.end('its time was over'), this.seconds * 1000);
    response.writeHead(200, {
      'Content-Type': 'application/x-pcapng',
      'Cache-Control': 'no-store',
      Trailer: Object.values(CAPTURE_TRAILERS).join(', '),
    });
    response.write(
      blocks.head(
        config.links.map(({ name }) => name),
        wish.snap,
      ),
    );
    const most = wish.count === 0 ? Number.POSITIVE_INFINITY : wish.count;
    while (this.ending === null) {
      if (await this.pass(blocks, Date.now() * 1000 - PATIENCE_US, most)) continue;
      if (blocks.taken === most) this.end('all that were wanted have come');
      else if (worker.captureMemory().some((one, w) => one !== memory[w])) this.end('a worker has died');
      else await sleep(LOOK_MS);
    }
    clearTimeout(timer);
    await this.endAll(memory.length);
    while (await this.pass(blocks, Number.POSITIVE_INFINITY, most));
    // For the next one.
    for (const { ring } of ends) discard(ring);
    const lost = ends.reduce((n, { words }) => n + Atomics.load(words, LOST), 0);
    if (response.destroyed) return;
    response.write(blocks.tail(lost, Date.now() * 1000));
    response.addTrailers({
      [CAPTURE_TRAILERS.frames]: String(blocks.taken),
      [CAPTURE_TRAILERS.lost]: String(lost),
      [CAPTURE_TRAILERS.end]: this.ending,
    });
    response.end();
  }

  /** Has all workers begin; the zeros of their clocks. */
  private async begin(wish: CaptureWish, workers: number): Promise<number[]> {
    const { worker } = this.source;
    const asked = Array.from({ length: workers }, (_, w) => worker.ask({ ask: 'capture', wish }, w));
    try {
      return (await Promise.all(asked)).map(({ epochMicros }) => epochMicros);
    } catch (error) {
      await Promise.allSettled(asked);
      await this.endAll(workers);
      throw error;
    }
  }

  private async endAll(workers: number): Promise<void> {
    const { worker } = this.source;
    await Promise.allSettled(Array.from({ length: workers }, (_, w) => worker.ask({ ask: 'endCapture' }, w)));
  }

  /** Passes some of it on, when its reader is ready for more, `most` frames in all; false when there is nothing. */
  private async pass(blocks: CaptureBlocks, until: number, most: number): Promise<boolean> {
    const { response } = this;
    const bytes = blocks.take(until, most - blocks.taken);
    if (bytes === null) return false;
    if (!response.destroyed && !response.write(bytes)) await drained(response);
    return true;
  }
}

function discard(ring: SpscRing): void {
  const piece = new Int32Array(PIECE_WORDS);
  while (ring.remove(piece, 0));
  ring.release();
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Its reader has read, or has gone. */
const drained = (response: ServerResponse): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      response.off('drain', done);
      response.off('close', done);
      resolve();
    };
    response.on('drain', done);
    response.on('close', done);
  });
