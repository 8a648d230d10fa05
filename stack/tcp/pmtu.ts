/**
 * Path MTUs (RFC 1191, RFC 2923): what is known of the paths to other hosts, shared by all connections to them.
 *
 * | learned from                                        | by                    | kept for the path             |
 * | --------------------------------------------------- | --------------------- | ----------------------------- |
 * | ICMP "fragmentation needed" about data in flight    | input.ts (RFC 5927)   | 10 minutes                    |
 * | silence: full-sized segments vanish (RFC 2923 §2.1) | `onTimeout`           | 10 minutes, once smaller pass |
 *
 * The MTU of a path only falls; after 10 minutes it is forgotten (RFC 1191 §6.3), and new connections begin with that
 * of the link again. A connection keeps the size it has come down to, also when it is the MTU of our own link that fell and grows again.
 *
 * The table is bounded: sets of four, of which the oldest makes room. Who floods it makes paths be learned anew.
 * @hot
 */
import type { Context } from '../context.ts';
import type { Ipv4, Ticks } from '../types.ts';
import type { Secrets } from './isn.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Headers without options: what the MSS option leaves out (RFC 9293 §3.7.1). */
const HEADERS = 40;
const TIMESTAMP_BYTES = 12;
/** Smallest path MTU believed from ICMP (RFC 791: every host takes 576; below only an attacker gains). */
const MIN_PATH_MTU = 576;
/** RFC 1191 §6.3. */
const AGE_MS = 600_000;
const SETS = 256;
const WAYS = 4;

/** Sizes tried where larger ones vanish: the IPv6 minimum passes nearly every tunnel, 576 every path. */
const FIRST_FALLBACK = 1260;
const LAST_FALLBACK = 576;
/** Time-outs in a row before each: one is congestion, two may be. */
const FIRST_AFTER = 2;
const LAST_AFTER = 4;

export class PathMtus {
  private readonly ctx: Context;
  private readonly secrets: Secrets;
  /** Row: address, MTU (0 = free), when it was learned. */
  private readonly addr = new Int32Array(SETS * WAYS);
  private readonly mtu = new Int32Array(SETS * WAYS);
  private readonly since = new Int32Array(SETS * WAYS);
  /** Rows in use or aged: while there are none nobody searches. */
  private used = 0;

  constructor(ctx: Context, secrets: Secrets) {
    this.ctx = ctx;
    this.secrets = secrets;
  }

  /** The MTU towards `addr`, at most `most`, that of the link. */
  get(addr: Ipv4, most: number): number {
    if (this.used === 0) return most;
    const row = this.find(addr);
    return row < 0 || this.mtu[row] > most ? most : this.mtu[row];
  }

  /** The path to `addr` takes `mtu` and no more. */
  lower(addr: Ipv4, mtu: number): void {
    const known = this.find(addr);
    if (known >= 0 && this.mtu[known] < mtu) return;
    const row = known >= 0 ? known : this.oldest(addr);
    if (this.mtu[row] === 0) this.used++;
    this.addr[row] = addr;
    this.mtu[row] = mtu;
    this.since[row] = this.ctx.nowMs;
  }

  private find(addr: Ipv4): number {
    const first = this.first(addr);
    for (let row = first; row < first + WAYS; row++) {
      if (this.addr[row] !== addr || this.mtu[row] === 0) continue;
      if (this.age(row) < AGE_MS) return row;
      this.mtu[row] = 0;
      this.used--;
      return -1;
    }
    return -1;
  }

  private oldest(addr: Ipv4): number {
    const first = this.first(addr);
    let best = first;
    for (let row = first; row < first + WAYS; row++) {
      if (this.mtu[row] === 0) return row;
      if (this.age(row) > this.age(best)) best = row;
    }
    return best;
  }

  private first(addr: Ipv4): number {
    return (this.secrets.pathHash(addr) & (SETS - 1)) * WAYS;
  }

  private age(row: number): Ticks {
    return (this.ctx.nowMs - this.since[row]) | 0;
  }
}

/** Largest segment to offer towards `addr` (RFC 9293 §3.7.1): the link's, whatever the path bears the other way. */
export function mssToOffer(tcp: Tcp, addr: Ipv4): number {
  const { mssClamp } = tcp.config;
  const mss = tcp.ip.mtuTowards(addr) - HEADERS;
  return Math.max(mssClamp !== 0 && mss > mssClamp ? mssClamp : mss, 64);
}

/** Largest segment to send towards `addr`, before the peer's say and our options; 0 = no route. */
export function mssToSend(tcp: Tcp, addr: Ipv4): number {
  const mtu = tcp.ip.mtuTowards(addr);
  if (mtu === 0) return 0;
  return Math.min(mssToOffer(tcp, addr), tcp.paths.get(addr, mtu) - HEADERS);
}

const payloadOf = (tcb: Tcb, mtu: number): number => mtu - HEADERS - (tcb.tsOk !== 0 ? TIMESTAMP_BYTES : 0);

/** The MTU of links has changed: segments of `tcb` are no larger than the one it leaves by takes. True when they are smaller now. */
export function followLink(tcp: Tcp, tcb: Tcb): boolean {
  const mtu = tcp.ip.mtuTowards(tcb.raddr);
  const mss = payloadOf(tcb, mtu);
  if (mtu === 0 || mss >= tcb.mss) return false;
  tcb.mss = mss;
  return true;
}

/** A router could not forward a segment of `tcb`. True when its segments are smaller from now on. */
export function fragNeeded(tcp: Tcp, tcb: Tcb, nextHopMtu: number): boolean {
  const mtu = Math.max(nextHopMtu, MIN_PATH_MTU);
  const mss = payloadOf(tcb, mtu);
  if (mss >= tcb.mss) return false;
  tcb.mss = mss;
  tcp.paths.lower(tcb.raddr, mtu);
  return true;
}

/** The retransmission timer of `tcb` fired: is it the size? To be called before what is in flight is deemed lost. */
export function onTimeout(tcp: Tcp, tcb: Tcb): void {
  // Another connection may know.
  const known = payloadOf(tcb, tcp.paths.get(tcb.raddr, 65535));
  if (known < tcb.mss) tcb.mss = known;
  const mtu = tcb.backoff >= LAST_AFTER ? LAST_FALLBACK : tcb.backoff >= FIRST_AFTER ? FIRST_FALLBACK : 0;
  if (mtu === 0) return;
  const mss = payloadOf(tcb, mtu);
  // A small segment is lost as well, or something behind it has arrived: then it is not the size.
  if (mss >= tcb.mss || tcp.segments.len[tcb.sndHead] <= mss || tcb.sackedOut !== 0) return;
  tcb.mss = mss;
  tcb.holeMtu = mtu;
  tcp.stats.blackHoles++;
}

/** What `onTimeout` made smaller was acknowledged. */
export function holePassed(tcp: Tcp, tcb: Tcb): void {
  // An outage looks the same: connections to come are not to suffer more than the first step for it.
  tcp.paths.lower(tcb.raddr, FIRST_FALLBACK);
  tcb.holeMtu = 0;
}
