/**
 * A device that tells of every frame that passes, one line each: time, device, direction, what is in it.
 *
 *     1.204113 tap0 < IP 10.0.0.1.40112 > 10.0.0.2.80: Flags [S], seq 1, win 64240, options [mss 1460], length 0
 *
 * For people at a terminal and for snapshots of simulations; it makes strings, so it is not for speed. `<` is received,
 * `>` is sent. Sending goes frame by frame, so that only what the link took is told.
 */
import type { Context } from '../../context.ts';
import { F_CSUM_PARTIAL, GSO_NONE } from '../../mem/frame-pool.ts';
import type { FrameId } from '../../types.ts';
import { describe } from '../../wire/pretty.ts';
import type { Device } from '../device.ts';
import { Wrapper } from './wrapper.ts';

export type TraceLine = (line: string) => void;

export class Tracer extends Wrapper {
  private readonly ctx: Context;
  private readonly print: TraceLine;

  constructor(ctx: Context, inner: Device, print: TraceLine) {
    super(inner);
    this.ctx = ctx;
    this.print = print;
  }

  override rx(out: Int32Array, max: number): number {
    const n = this.inner.rx(out, max);
    for (let i = 0; i < n; i++) this.print(this.line(out[i]!, '<'));
    return n;
  }

  override tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      // The line is made first: the frame is freed as it is sent.
      const line = this.line(frames[i]!, '>');
      if (this.inner.tx(frames, i, i + 1) === 0) return i - from;
      this.print(line);
    }
    return to - from;
  }

  private line(f: FrameId, direction: '<' | '>'): string {
    const pool = this.ctx.pool;
    const seconds = (this.ctx.now / 1e6).toFixed(6);
    const what = describe(pool.buf, pool.off[f]!, pool.len[f]!, pool.wireLength(f));
    const gso = pool.gsoType[f] === GSO_NONE ? '' : `, gso ${pool.gsoSize[f]}`;
    const partial = (pool.flags[f]! & F_CSUM_PARTIAL) === 0 ? '' : ', csum partial';
    return `${seconds} ${this.name} ${direction} ${what}${gso}${partial}`;
  }
}
