/**
 * The identification field of packets made here (RFC 791 §3.1, RFC 6864).
 *
 * RFC 6864 §4.1: a packet that cannot be fragmented (DF) may carry any value. §4.2: all others must not repeat a value
 * for the same source, destination and protocol while an earlier one may still be on its way.
 *
 * A counter per destination gives the longest time before a value comes back; but a plain counter shared by strangers
 * tells one of them how much is sent to the other. So the value is an offset that only the flow shares, plus a counter
 * that many share (RFC 7739 §5.3 describes it for IPv6): both chosen by a keyed hash, the counters starting at random.
 *
 * Called by ipv4/output and lb/xmit. With several workers, each has its own source of values: they must not send packets without DF
 * of one source, destination and protocol side by side.
 * @hot
 */
import { hsiphash3 } from '../mem/hsiphash.ts';
import type { Ipv4, Random } from '../types.ts';

/** Counters; a power of two. Destinations that share one merely use its values up faster. */
const COUNTERS = 4096;

export class IpIds {
  private readonly counters = new Uint16Array(COUNTERS);
  private readonly k0: number;
  private readonly k1: number;

  constructor(random: Random) {
    this.k0 = random.next() | 0;
    this.k1 = random.next() | 0;
    for (let i = 0; i < COUNTERS; i++) this.counters[i] = random.next();
  }

  /** The next value for this source, destination and protocol: 0..65535. */
  next(src: Ipv4, dst: Ipv4, proto: number): number {
    return this.nextOf(this.flow(src, dst, proto));
  }

  /** What `nextOf` knows a source, destination and protocol by: for who keeps it, the hash is made once. */
  flow(src: Ipv4, dst: Ipv4, proto: number): number {
    return hsiphash3(this.k0, this.k1, src, dst, proto);
  }

  /** `next` for what `flow` gave. */
  nextOf(flow: number): number {
    // One hash serves twice: its low bits choose the counter, its high half is the flow's offset.
    const i = flow & (COUNTERS - 1);
    const n = this.counters[i]!;
    this.counters[i] = n + 1;
    return (n + (flow >>> 16)) & 0xffff;
  }
}
