/**
 * Rate limit for ICMP errors (RFC 1812 §4.3.2.8; RFC 4443 §2.4 (f) describes the token bucket): one bucket for all, and
 * one per destination, so that a flood of bad packets makes no flood of answers and one sender does not use up the
 * answers of others.
 *
 * The destinations' buckets are a small table indexed by a keyed hash, without keys: strangers may share a bucket, which
 * errs to the side of silence, and nobody can choose with whom. The destination is asked first: what it refuses costs
 * the others nothing, and the shared bucket tells a prober less about them.
 *
 * Tokens are counted in thousandths: a bucket of `rate` per second gains `rate` thousandths per millisecond.
 * Called by icmp/error.
 * @hot
 */
import { hsiphash3 } from '../mem/hsiphash.ts';
import type { Ipv4, Random, Ticks } from '../types.ts';

export interface RateLimits {
  /** Errors per second, 1..100000, and how many may come at once, 1..100000. */
  readonly perSecond: number;
  readonly burst: number;
  /** The same towards one destination. */
  readonly hostPerSecond: number;
  readonly hostBurst: number;
}

export const DEFAULT_RATE: RateLimits = { perSecond: 1000, burst: 100, hostPerSecond: 10, hostBurst: 10 };

/** Destination buckets, a power of two; the one for all stands behind them. */
const HOSTS = 1024;
const TOKEN = 1000;

export class RateLimit {
  /** Errors not sent, by the bucket that was empty. */
  suppressedHost = 0;
  suppressedGlobal = 0;

  private readonly limits: RateLimits;
  private readonly tokens = new Int32Array(HOSTS + 1);
  private readonly filledMs = new Int32Array(HOSTS + 1);
  private readonly k0: number;
  private readonly k1: number;

  constructor(random: Random, nowMs: Ticks, limits: RateLimits = DEFAULT_RATE) {
    this.limits = limits;
    this.k0 = random.next() | 0;
    this.k1 = random.next() | 0;
    this.tokens.fill(limits.hostBurst * TOKEN);
    this.tokens[HOSTS] = limits.burst * TOKEN;
    this.filledMs.fill(nowMs);
  }

  /** Takes a token for an error to `dst`; false when none is left and the error must not be sent. */
  allow(nowMs: Ticks, dst: Ipv4): boolean {
    const { limits, tokens } = this;
    const host = hsiphash3(this.k0, this.k1, dst, 0, 0) & (HOSTS - 1);
    this.fill(host, nowMs, limits.hostPerSecond, limits.hostBurst);
    if (tokens[host]! < TOKEN) {
      this.suppressedHost += 1;
      return false;
    }
    this.fill(HOSTS, nowMs, limits.perSecond, limits.burst);
    if (tokens[HOSTS]! < TOKEN) {
      this.suppressedGlobal += 1;
      return false;
    }
    tokens[host]! -= TOKEN;
    tokens[HOSTS]! -= TOKEN;
    return true;
  }

  private fill(bucket: number, nowMs: Ticks, perSecond: number, burst: number): void {
    const elapsed = (nowMs - this.filledMs[bucket]!) | 0;
    if (elapsed === 0) return;
    this.filledMs[bucket] = nowMs;
    const full = burst * TOKEN;
    // The product may leave int32, in a double, before it is bounded. Time only goes back by wrapping: long enough to fill.
    const tokens = elapsed > 0 ? this.tokens[bucket]! + elapsed * perSecond : full;
    this.tokens[bucket] = Math.min(tokens, full);
  }
}
