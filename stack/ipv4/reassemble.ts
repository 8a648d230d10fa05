/**
 * Reassembly of IPv4 fragments (RFC 791 §3.2, RFC 1122 §3.3.2), within bounds that hold against anyone.
 *
 * A datagram in the making is a row; its fragments are the received frames themselves, linked by offset through
 * `pool.next`. Nothing is copied until all are there, then the datagram is written once into a new frame.
 *
 * What is decided here, and why:
 * - *Overlap drops the datagram*, with the fragments still to come (RFC 5722 §4 says so for IPv6). Fragments of an
 *   honest sender never overlap; whoever mixes them wants two readers to see two texts (teardrop, RFC 1858 §4). The
 *   row stays, empty, until its time is over, so that a late fragment does not start the datagram anew.
 * - *An exact copy is ignored* (RFC 8200 §4.5 allows it): networks duplicate. It is a copy only if range, MF bit and
 *   every byte agree; the same range with other bytes is an overlap.
 * - *Tiny fragments* that hide TCP ports or flags from a first look are dropped (RFC 1858 §3, RFC 3128).
 * - *A fragment that reaches beyond 65535 bytes* is dropped alone (ping of death): it can be part of nothing.
 * - *ECN*: CE on any fragment marks the datagram, unless another fragment says not ECN-capable: then it is dropped
 *   (RFC 3168 §5.3).
 * - *Limits*: rows, frames, bytes of pool memory, fragments per datagram. Where one is met, the datagram that has grown
 *   least recently goes first.
 * - *Timeout* 30 s from the first fragment to arrive. RFC 1122 asks for 60 to 120, and RFC 791 for 15 at first: a value
 *   between, as other stacks have it, halves what a flood can pin.
 *
 * Ownership: `input` keeps the frame (STOLEN) until the datagram is complete, timed out or evicted. A completed
 * datagram is a created frame in `outFrame` and belongs to the caller; its fragments are settled as delivered.
 * Called by ipv4/input for packets with MF or an offset, after the header check; lb may own another instance.
 * @hot
 */
import type { Context } from '../context.ts';
import { FRAG_DUPLICATE, FRAG_LIMIT, FRAG_MALFORMED, FRAG_OVERLAP, FRAG_TIMEOUT, PORT_CLOSED } from '../drop.ts';
import { F_L2_BROADCAST, F_L2_MULTICAST, F_REASSEMBLED, type FramePool, HEADROOM } from '../mem/frame-pool.ts';
import { hsiphash3 } from '../mem/hsiphash.ts';
import type { TimerHandler, TimerRange } from '../timer/timers.ts';
import type { FrameId, Ipv4, Verdict } from '../types.ts';
import { DELIVERED, DROP, STOLEN } from '../verdict.ts';
import { ETH_LEN } from '../wire/ethernet.ts';
import * as ip from '../wire/ipv4.ts';

export interface ReassemblyLimits {
  /** Datagrams in the making. */
  readonly datagrams: number;
  /** Frames held over all datagrams. */
  readonly frames: number;
  /** Bytes of the pool that the held frames pin: whole slots, whatever they contain. */
  readonly bytes: number;
  /** Fragments of one datagram. */
  readonly fragments: number;
  readonly timeoutMs: number;
}

export const DEFAULT_REASSEMBLY: ReassemblyLimits = {
  datagrams: 1024,
  frames: 4096,
  bytes: 16 << 20,
  fragments: 128,
  timeoutMs: 30_000,
};

/** Where the timers come from: `Timers` of the worker. */
export interface TimerSource {
  range(count: number, handler: TimerHandler): TimerRange;
}

/** RFC 3128: a first fragment of TCP must reach the flags, which end at byte 14; fragments come in eights. */
const TCP_FIRST_MIN = 16;
const UNKNOWN = -1;
const ECN_NOT_ECT = 1 << 0;
const ECN_CE = 1 << 3;
const CE = 3;

export class Reassembler implements TimerHandler {
  /** After `input`: the whole datagram, `off` and l3 at its IP header, or 0. */
  outFrame: FrameId = 0;
  /** Sees each whole datagram first; true = it has taken it, and `outFrame` stays 0. With several workers: it may be another's. */
  elsewhere: ((whole: FrameId) => boolean) | null = null;
  /** Frames and bytes of pool slots held; rows in use, counting those that only remember a dropped datagram. */
  held = 0;
  heldBytes = 0;
  datagrams = 0;
  /** Datagrams completed, timed out with fragments held, dropped to make room. */
  completed = 0;
  timedOut = 0;
  evicted = 0;

  private readonly ctx: Context;
  private readonly timers: TimerRange;
  private readonly limits: ReassemblyLimits;
  private readonly onTimeout: (frame0: FrameId) => void;

  // One row per datagram, 1..limits.datagrams; word = id << 16 | protocol.
  private readonly src: Int32Array;
  private readonly dst: Int32Array;
  private readonly word: Int32Array;
  /** Fragments by ascending offset, first and last of the list; 0 = none. */
  private readonly head: Int32Array;
  private readonly tail: Int32Array;
  private readonly count: Int32Array;
  /** Payload bytes held, and in all once the last fragment has come (UNKNOWN before). */
  private readonly got: Int32Array;
  private readonly end: Int32Array;
  /** Set of ECN codepoints seen, one bit each. */
  private readonly ecn: Int32Array;
  /** Reason for which this datagram was given up: what still comes of it is dropped for the same one. 0 = alive. */
  private readonly dead: Int32Array;
  /** Hash chain (also the free list), and a ring around row 0 from least to most recently grown. */
  private readonly chain: Int32Array;
  private readonly older: Int32Array;
  private readonly newer: Int32Array;
  private readonly buckets: Int32Array;
  private readonly mask: number;
  private readonly k0: number;
  private readonly k1: number;
  private free = 0;

  /**
   * `timers` gives one timer per row. `onTimeout` sees the first fragment of a datagram
   * that was not completed in time, before it is dropped: ICMP time exceeded, code 1, is sent about it (RFC 792).
   */
  constructor(
    ctx: Context,
    timers: TimerSource,
    onTimeout: (frame0: FrameId) => void,
    limits: ReassemblyLimits = DEFAULT_REASSEMBLY,
  ) {
    this.ctx = ctx;
    this.limits = limits;
    this.onTimeout = onTimeout;
    const rows = limits.datagrams + 1;
    this.src = new Int32Array(rows);
    this.dst = new Int32Array(rows);
    this.word = new Int32Array(rows);
    this.head = new Int32Array(rows);
    this.tail = new Int32Array(rows);
    this.count = new Int32Array(rows);
    this.got = new Int32Array(rows);
    this.end = new Int32Array(rows);
    this.ecn = new Int32Array(rows);
    this.dead = new Int32Array(rows);
    this.chain = new Int32Array(rows);
    this.older = new Int32Array(rows);
    this.newer = new Int32Array(rows);
    let size = 16;
    while (size < limits.datagrams * 2) size *= 2;
    this.buckets = new Int32Array(size);
    this.mask = size - 1;
    this.k0 = ctx.random.next() | 0;
    this.k1 = ctx.random.next() | 0;
    for (let row = limits.datagrams; row >= 1; row--) {
      this.chain[row] = this.free;
      this.free = row;
    }
    this.timers = timers.range(limits.datagrams, this);
  }

  /**
   * Takes a fragment: l3 at a checked IP header, payload linear behind it. STOLEN while the datagram is incomplete,
   * DELIVERED with `outFrame` set when this fragment completes it, DROP|reason.
   */
  input(f: FrameId): Verdict {
    this.outFrame = 0;
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const from = ip.fragmentOffset(buf, l3);
    const header = ip.headerLength(buf, l3);
    const length = ip.totalLength(buf, l3) - header;
    const more = (ip.fragmentField(buf, l3) & ip.MF) !== 0;
    const to = from + length;
    if (length === 0 || (more && (length & 7) !== 0)) return DROP | FRAG_MALFORMED;
    if (header + to > ip.IPV4_MAX_LEN) return DROP | FRAG_MALFORMED;
    if (ip.proto(buf, l3) === ip.PROTO_TCP && (from === 0 ? length < TCP_FIRST_MIN : from < TCP_FIRST_MIN)) {
      return DROP | FRAG_MALFORMED;
    }

    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const word = (ip.id(buf, l3) << 16) | ip.proto(buf, l3);
    let row = this.find(src, dst, word);
    if (row === 0) row = this.open(src, dst, word);
    if (this.dead[row] !== 0) return DROP | this.dead[row]!;

    // The holder's own columns carry the fragment's range.
    pool.mark[f] = from;
    pool.stamp[f] = to;
    const clash = this.insert(row, f, from, to, more);
    if (clash === FRAG_DUPLICATE) return DROP | FRAG_DUPLICATE;
    if (clash === 0 && this.count[row]! > this.limits.fragments) return this.giveUp(row, f, FRAG_LIMIT);
    if (clash !== 0) return this.giveUp(row, f, clash);
    this.ecn[row]! |= 1 << (ip.tos(buf, l3) & 3);
    this.touch(row);

    if (this.got[row] === this.end[row]) return this.complete(row, f);
    return this.makeRoom(row) ? STOLEN : this.giveUp(row, f, FRAG_LIMIT);
  }

  /** The time of datagram `row` is over. */
  onTimer(row: number): void {
    const first = this.head[row]!;
    if (first !== 0) {
      this.timedOut += 1;
      if (this.ctx.pool.mark[first] === 0) this.onTimeout(first);
    }
    this.empty(row, DROP | FRAG_TIMEOUT, 0);
    this.close(row);
  }

  /** Drops all that is held. The object can be used again. */
  clear(): void {
    while (this.newer[0] !== 0) {
      const row = this.newer[0]!;
      this.empty(row, DROP | PORT_CLOSED, 0);
      this.close(row);
    }
  }

  /**
   * Links `f` into the row by its offset. Returns 0, FRAG_DUPLICATE with the row unchanged, or FRAG_OVERLAP with `f` not
   * linked. Contradictions about where the datagram ends count as overlaps.
   */
  private insert(row: number, f: FrameId, from: number, to: number, more: boolean): number {
    const { pool } = this.ctx;
    const { mark, stamp, next } = pool;
    let before = this.tail[row]!;
    // Fragments mostly arrive in order: look behind the last one first.
    if (before !== 0 && from < stamp[before]!) {
      before = 0;
      let after = this.head[row]!;
      while (after !== 0 && mark[after]! < from) {
        before = after;
        after = next[after]!;
      }
      if (after !== 0 && mark[after] === from && stamp[after] === to) {
        return sameBytes(pool, f, after) ? FRAG_DUPLICATE : FRAG_OVERLAP;
      }
      if (before !== 0 && stamp[before]! > from) return FRAG_OVERLAP;
      if (after !== 0 && mark[after]! < to) return FRAG_OVERLAP;
    }
    const end = this.end[row]!;
    const last = this.tail[row]!;
    if (more) {
      // Nothing may reach to or beyond the end, except the last fragment itself.
      if (end !== UNKNOWN && to >= end) return FRAG_OVERLAP;
    } else {
      if (end !== UNKNOWN || before !== last) return FRAG_OVERLAP;
      this.end[row] = to;
    }
    if (before === 0) {
      next[f] = this.head[row]!;
      this.head[row] = f;
    } else {
      next[f] = next[before]!;
      next[before] = f;
    }
    if (next[f] === 0) this.tail[row] = f;
    this.count[row]! += 1;
    this.got[row]! += to - from;
    this.held += 1;
    this.heldBytes += pool.size(f);
    return 0;
  }

  /** Writes the datagram into a new frame. `f` is the fragment just received: its verdict is the caller's to settle. */
  private complete(row: number, f: FrameId): Verdict {
    const { ctx } = this;
    const { pool } = ctx;
    const { buf, mark, stamp, next } = pool;
    const first = this.head[row]!;
    const l3 = pool.l3[first]!;
    const header = ip.headerLength(buf, l3);
    const total = header + this.end[row]!;
    const ecn = this.ecn[row]!;
    // The first fragment's header may be longer than that of those checked against the limit.
    if (total > ip.IPV4_MAX_LEN) return this.giveUp(row, f, FRAG_MALFORMED);
    if ((ecn & ECN_CE) !== 0 && (ecn & ECN_NOT_ECT) !== 0) return this.giveUp(row, f, FRAG_MALFORMED);
    const start = HEADROOM + ETH_LEN;
    const whole = start + total <= pool.config.slotBytes ? ctx.create() : ctx.createBig();
    if (whole === 0) return this.giveUp(row, f, FRAG_LIMIT);

    const at = pool.base(whole) + start;
    buf.copyWithin(at, l3, l3 + header);
    let l2 = 0;
    for (let g = first; g !== 0; g = next[g]!) {
      const data = pool.l3[g]! + ip.headerLength(buf, pool.l3[g]!);
      buf.copyWithin(at + header + mark[g]!, data, data + stamp[g]! - mark[g]!);
      l2 |= pool.flags[g]! & (F_L2_BROADCAST | F_L2_MULTICAST);
    }
    if ((ecn & ECN_CE) !== 0) buf[at + 1]! |= CE;
    ip.setTotalLength(buf, at, total);
    ip.setFragmentField(buf, at, 0);
    ip.fillChecksum(buf, pool.i32, at);
    pool.off[whole] = at;
    pool.len[whole] = total;
    pool.l3[whole] = at;
    pool.l4[whole] = at + header;
    pool.port[whole] = pool.port[first]!;
    // Received, not made here, as far as later stages are concerned.
    pool.flags[whole] = F_REASSEMBLED | l2;
    this.empty(row, DELIVERED, f);
    this.close(row);
    this.completed += 1;
    if (this.elsewhere === null || !this.elsewhere(whole)) this.outFrame = whole;
    return DELIVERED;
  }

  /** Drops a datagram, but remembers it until its time is over. `f`, linked or not, is left to the caller. */
  private giveUp(row: number, f: FrameId, reason: number): Verdict {
    this.empty(row, DROP | reason, f);
    this.dead[row] = reason;
    return DROP | reason;
  }

  /** Evicts the datagrams that grew least recently until the limits hold. False when only `row` itself is left. */
  private makeRoom(row: number): boolean {
    while (this.held > this.limits.frames || this.heldBytes > this.limits.bytes) {
      const victim = this.newer[0]!;
      if (victim === row) return false;
      this.evict(victim);
    }
    return true;
  }

  private evict(row: number): void {
    this.evicted += 1;
    this.empty(row, DROP | FRAG_LIMIT, 0);
    this.close(row);
  }

  /** Settles a row's fragments, except the frame `but`. */
  private empty(row: number, verdict: Verdict, but: FrameId): void {
    const { pool } = this.ctx;
    let g = this.head[row]!;
    this.head[row] = 0;
    this.tail[row] = 0;
    this.count[row] = 0;
    while (g !== 0) {
      const after = pool.next[g]!;
      pool.next[g] = 0;
      this.held -= 1;
      this.heldBytes -= pool.size(g);
      if (g !== but) this.ctx.settle(g, verdict);
      g = after;
    }
  }

  private find(src: Ipv4, dst: Ipv4, word: number): number {
    let row = this.buckets[hsiphash3(this.k0, this.k1, src, dst, word) & this.mask]!;
    while (row !== 0 && (this.word[row] !== word || this.src[row] !== src || this.dst[row] !== dst)) {
      row = this.chain[row]!;
    }
    return row;
  }

  /** A fresh row with its timer running; the least recently grown one is evicted when all are taken. */
  private open(src: Ipv4, dst: Ipv4, word: number): number {
    if (this.free === 0) this.evict(this.newer[0]!);
    const row = this.free;
    this.free = this.chain[row]!;
    this.src[row] = src;
    this.dst[row] = dst;
    this.word[row] = word;
    this.got[row] = 0;
    this.end[row] = UNKNOWN;
    this.ecn[row] = 0;
    this.dead[row] = 0;
    const bucket = hsiphash3(this.k0, this.k1, src, dst, word) & this.mask;
    this.chain[row] = this.buckets[bucket]!;
    this.buckets[bucket] = row;
    this.append(row);
    this.datagrams += 1;
    this.timers.arm(row, (this.ctx.nowMs + this.limits.timeoutMs) | 0);
    return row;
  }

  /** Gives an emptied row back. */
  private close(row: number): void {
    this.timers.cancel(row);
    const bucket = hsiphash3(this.k0, this.k1, this.src[row]!, this.dst[row]!, this.word[row]!) & this.mask;
    if (this.buckets[bucket] === row) this.buckets[bucket] = this.chain[row]!;
    else {
      let before = this.buckets[bucket]!;
      while (this.chain[before] !== row) before = this.chain[before]!;
      this.chain[before] = this.chain[row]!;
    }
    this.remove(row);
    this.chain[row] = this.free;
    this.free = row;
    this.datagrams -= 1;
  }

  private touch(row: number): void {
    if (this.older[0] === row) return;
    this.remove(row);
    this.append(row);
  }

  private append(row: number): void {
    const last = this.older[0]!;
    this.older[row] = last;
    this.newer[row] = 0;
    this.newer[last] = row;
    this.older[0] = row;
  }

  private remove(row: number): void {
    this.newer[this.older[row]!] = this.newer[row]!;
    this.older[this.newer[row]!] = this.older[row]!;
  }
}

/** Whether two fragments of one range agree in the MF bit and in every payload byte. */
function sameBytes(pool: FramePool, f: FrameId, g: FrameId): boolean {
  const { buf } = pool;
  const a = pool.l3[f]!;
  const b = pool.l3[g]!;
  if (((ip.fragmentField(buf, a) ^ ip.fragmentField(buf, b)) & ip.MF) !== 0) return false;
  let i = a + ip.headerLength(buf, a);
  let j = b + ip.headerLength(buf, b);
  const end = a + ip.totalLength(buf, a);
  for (; i < end; i++, j++) if (buf[i] !== buf[j]) return false;
  return true;
}
