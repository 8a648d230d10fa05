/**
 * What every module of one worker shares: the clock reading of this burst, the frame pool, the source of randomness,
 * the drop counters. One per worker (or per simulated host), one shape, made once.
 *
 * `settle` is the only place where frames are freed and their fate is counted, so that at any time
 *
 *     received + created = sent + delivered + dropped + handed over + held
 *
 * where held is what is in use in the pool. A frame made by the stack is counted by `create`; a received one by netif.
 * @hot
 */
import { DROP_REASONS, POOL_EMPTY } from './drop.ts';
import type { FramePool } from './mem/frame-pool.ts';
import { F_LOCAL } from './mem/frame-pool.ts';
import type { FrameId, Micros, Random, Ticks, Verdict } from './types.ts';
import { DELIVERED, DROP, STOLEN } from './verdict.ts';

/** Indexes into `Context.fate`. */
export const FATE_RECEIVED = 0;
export const FATE_CREATED = 1;
export const FATE_SENT = 2;
export const FATE_DELIVERED = 3;
export const FATE_DROPPED = 4;
/** Given to another worker; of those received, how many came from another one instead of a link. */
export const FATE_HANDED = 5;
export const FATE_TAKEN = 6;
export const FATE_WORDS = 8;

/** Called with each frame as it is settled, before it is freed: tracer and capture of dropped frames. Cold when unset. */
export type SettleProbe = (frame: FrameId, verdict: Verdict) => void;

export class Context {
  /** Microseconds, read once per burst. */
  now: Micros = 0;
  /** The same instant in milliseconds, int32. */
  nowMs: Ticks = 0;
  /** Sees every frame at its end; null in normal operation. */
  probe: SettleProbe | null = null;

  readonly pool: FramePool;
  readonly random: Random;
  /** Frames by fate: FATE_*. */
  readonly fate: Float64Array;
  /** Frames dropped, by reason. */
  readonly drops: Float64Array;

  /** `fate` and `drops` may lie in shared memory: this worker writes, anyone reads. */
  constructor(
    pool: FramePool,
    random: Random,
    fate: Float64Array = new Float64Array(FATE_WORDS),
    drops: Float64Array = new Float64Array(DROP_REASONS.length),
  ) {
    this.pool = pool;
    this.random = random;
    this.fate = fate;
    this.drops = drops;
  }

  /** Sets the clock for this burst. */
  tick(now: Micros): void {
    this.now = now;
    this.nowMs = Math.floor(now / 1000) | 0;
  }

  /** A new small frame made by the stack; 0 when the pool is empty (counted). */
  create(): FrameId {
    const f = this.pool.alloc();
    if (f === 0) {
      this.drops[POOL_EMPTY]! += 1;
      return 0;
    }
    this.pool.flags[f] = F_LOCAL;
    this.fate[FATE_CREATED]! += 1;
    return f;
  }

  /** A new big frame made by the stack; 0 when none is free. */
  createBig(): FrameId {
    const f = this.pool.allocBig();
    if (f === 0) return 0;
    this.pool.flags[f] = F_LOCAL;
    this.fate[FATE_CREATED]! += 1;
    return f;
  }

  /** Ends a frame's way as its verdict says. STOLEN means that another owner will do so later. */
  settle(f: FrameId, verdict: Verdict): void {
    if (verdict === STOLEN) return;
    if (this.probe !== null) this.probe(f, verdict);
    if (verdict < DROP) this.finish(f, FATE_DELIVERED);
    else if (this.finish(f, FATE_DROPPED)) this.drops[verdict & 0xff]! += 1;
  }

  /** The frame's bytes have left through a port. Called by drivers for each frame `tx` took. */
  sent(f: FrameId): void {
    this.finish(f, FATE_SENT);
  }

  /** The frame's content is another worker's now. */
  handed(f: FrameId): void {
    this.finish(f, FATE_HANDED);
  }

  /** A copy for another worker that never was a frame here. */
  handedCopy(): void {
    this.fate[FATE_CREATED]! += 1;
    this.fate[FATE_HANDED]! += 1;
  }

  /** `sent` for `frames[from..to)`, for links that are done with them at once. */
  sentAll(frames: Int32Array, from: number, to: number): void {
    const { pool, fate } = this;
    const { frag } = pool;
    let n = 0;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const payload = frag[f]!;
      if (!pool.release(f)) continue;
      n += 1;
      if (payload !== 0) this.settle(payload, DELIVERED);
    }
    fate[FATE_SENT]! += n;
  }

  /**
   * A frame that a device took in and had to drop before `rx` could hand it over: counted as received and dropped.
   * `f` is 0 when it never had a slot.
   */
  refuse(f: FrameId, reason: number): void {
    this.fate[FATE_RECEIVED]! += 1;
    if (f !== 0) {
      this.settle(f, DROP | reason);
      return;
    }
    this.fate[FATE_DROPPED]! += 1;
    this.drops[reason]! += 1;
  }

  /**
   * For devices that hold received frames back: of `taken` frames that came in, `given` are handed to netif now, which
   * counts those itself. The difference is counted here, so that frames held in a device obey the law above.
   */
  intake(taken: number, given: number): void {
    this.fate[FATE_RECEIVED]! += taken - given;
  }

  /** Takes another reference to a payload frame. */
  retain(f: FrameId): void {
    this.pool.refs[f]! += 1;
  }

  private finish(f: FrameId, fate: number): boolean {
    const frag = this.pool.frag[f]!;
    if (!this.pool.release(f)) return false;
    this.fate[fate]! += 1;
    if (frag !== 0) this.settle(frag, DELIVERED);
    return true;
  }
}
