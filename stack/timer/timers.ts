/**
 * The timers of one worker: the wheel's node numbers, shared out in ranges to the modules that need them. A module
 * keeps its own ids 1..n and never sees nodes; the wheel keeps nodes and never sees modules.
 */
import type { Ticks } from '../types.ts';
import { TimingWheel } from './wheel.ts';

export interface TimerHandler {
  /** Timer `i` (1..n of its range) is due. It may be armed again from here. */
  onTimer(i: number): void;
}

/** What a module sees of the timers. Times are absolute, in ms ticks. */
export interface TimerRange {
  arm(i: number, atMs: Ticks): void;
  cancel(i: number): void;
  isArmed(i: number): boolean;
}

export class Timers {
  private readonly wheel: TimingWheel;
  private readonly kindOf: Uint8Array;
  private readonly handlers: TimerHandler[] = [];
  private readonly bases: number[] = [];
  private used = 0;
  private readonly fire = (node: number): void => {
    const kind = this.kindOf[node]!;
    this.handlers[kind]!.onTimer(node - this.bases[kind]!);
  };

  /** `capacity` is the number of timers over all ranges. */
  constructor(capacity: number, nowMs: Ticks) {
    this.wheel = new TimingWheel(capacity, nowMs);
    this.kindOf = new Uint8Array(capacity + 1);
  }

  /** Reserves timers 1..count for a module. Throws when the capacity is exceeded: a fault in the composition. */
  range(count: number, handler: TimerHandler): TimerRange {
    const base = this.used;
    if (base + count >= this.kindOf.length)
      throw new Error(`timers: ${base + count} needed, capacity ${this.kindOf.length - 1}`);
    this.used += count;
    this.kindOf.fill(this.handlers.length, base + 1, base + count + 1);
    this.handlers.push(handler);
    this.bases.push(base);
    const { wheel } = this;
    return {
      arm: (i, atMs) => wheel.arm(base + i, atMs),
      cancel: (i) => wheel.cancel(base + i),
      isArmed: (i) => wheel.isArmed(base + i),
    };
  }

  /** Fires what is due at `nowMs`, `limit` timers at most: the rest at the next call, for which `nextDue` asks at once. */
  advance(nowMs: Ticks, limit = Number.POSITIVE_INFINITY): void {
    this.wheel.advance(nowMs, this.fire, limit);
  }

  /** Milliseconds until the next timer, at most `limitMs`. */
  nextDue(nowMs: Ticks, limitMs: number): number {
    return this.wheel.nextDue(nowMs, limitMs);
  }
}
