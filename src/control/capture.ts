/**
 * POST /v1/capture: a capture as the body of the answer, pcapng, for as long as it lasts: until as many frames as wanted have come, the
 * time is over, DELETE /v1/capture, or whoever asked has gone. Trailers say how it ended. This thread passes on what the worker puts
 * into the ring; a reader that is slow costs frames, which are counted, and nothing else. Called by server.ts.
 */
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import { attachCapture, COMPLETE, LOST, MAX_SNAP, STAGES, STATE, TAKEN } from '../../lb/capture/record.ts';
import { CaptureBlocks, type Naming } from '../capture/blocks.ts';
import { compileFilter, ExpressionError } from '../capture/expression.ts';
import type { Config } from '../config/model.ts';
import type { Asking } from '../workers/questions.ts';
import { CAPTURE_TRAILERS } from './api.ts';
import { ChangeError } from './running-config.ts';

const DEFAULT_STAGES = ['rx', 'tx', 'drop'];
/** How often the ring is looked into. */
const LOOK_MS = 10;

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
  readonly names: Naming;
  readonly config: Config;
}

/** Captures of one worker, one at a time. */
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
      const wish = { stages, program: programOf(query), count, snap };
      const { epochMicros } = await source.worker.ask({ ask: 'capture', wish }, 0);
      await stream.run(epochMicros, snap);
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

  async run(epochMicros: number, snap: number): Promise<void> {
    const { response, source } = this;
    const { worker, names, config } = source;
    const { words, ring } = attachCapture(worker.captureMemory);
    const blocks = new CaptureBlocks(ring, names, epochMicros);
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
        snap,
      ),
    );
    while (this.ending === null) {
      if (await this.pass(blocks)) continue;
      if (Atomics.load(words, STATE) === COMPLETE && ring.observe() === 0) this.end('all that were wanted have come');
      else await sleep(LOOK_MS);
    }
    clearTimeout(timer);
    await worker.ask({ ask: 'endCapture' }, 0).catch(() => {});
    // The ring is empty afterwards, for the next one.
    while (await this.pass(blocks));
    const [taken, lost] = [Atomics.load(words, TAKEN), Atomics.load(words, LOST)];
    if (response.destroyed) return;
    response.write(blocks.tail(taken, lost, Date.now() * 1000 - epochMicros));
    response.addTrailers({
      [CAPTURE_TRAILERS.frames]: String(taken),
      [CAPTURE_TRAILERS.lost]: String(lost),
      [CAPTURE_TRAILERS.end]: this.ending,
    });
    response.end();
  }

  /** Passes some of it on, when its reader is ready for more; false when there is nothing. */
  private async pass(blocks: CaptureBlocks): Promise<boolean> {
    const { response } = this;
    const bytes = blocks.take();
    if (bytes === null) return false;
    if (!response.destroyed && !response.write(bytes)) await drained(response);
    return true;
  }
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
