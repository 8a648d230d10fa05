/**
 * How long a link waits for a worker whose lane is full: not for ever. A wait begins when there is less room than frames, and ends when the
 * lanes are at ease again; when it lasts for PATIENCE_MS, somebody gets more than they can take, and the others are not to suffer
 * from it until it ends. Called by handover-devices.ts with each burst. @hot
 */
import type { Context } from '../context.ts';

/** Longer than a busy worker takes for a turn, shorter than anybody's time-out. */
const PATIENCE_MS = 100;

export class Patience {
  /** Somebody has to look whether the lanes are at ease, and to say so: `end`. */
  waiting = false;
  private readonly ctx: Context;
  private since = 0;
  private last = 0;

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  end(): void {
    this.waiting = false;
  }

  /** How many of `wanted` frames to go on with where there is room for `room`. */
  limit(wanted: number, room: number): number {
    if (!this.waiting && room >= wanted) return wanted;
    const { nowMs } = this.ctx;
    // Nobody has asked for long: what was is over.
    const forgotten = ((nowMs - this.last) | 0) > PATIENCE_MS;
    this.last = nowMs;
    if (!this.waiting || forgotten) {
      this.waiting = true;
      this.since = nowMs;
    } else if (((nowMs - this.since) | 0) >= PATIENCE_MS) {
      // Kept from wrapping, for as long as it lasts.
      this.since = (nowMs - PATIENCE_MS) | 0;
      return wanted;
    }
    return Math.min(wanted, room);
  }
}
