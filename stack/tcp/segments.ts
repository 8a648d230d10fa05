/**
 * Segment descriptors: the send queue of all connections of a worker, as one slab. A descriptor says which bytes of
 * which payload frame carry which sequence numbers, and what is known of their fate: it is send buffer,
 * retransmission queue and SACK scoreboard (RFC 6675 §3) in one list per connection.
 *
 * ```
 *  sndHead                 sndNext                 sndTail
 *    |                        |                       |
 *   [sent, sacked?] -> ... -> [not yet sent] -> ... -> [ ]
 *   ^ SND.UNA                 ^ SND.NXT
 * ```
 *
 * Splitting a descriptor copies no payload: both halves reference the same frame.
 * @hot
 */
import type { Context } from '../context.ts';
import { Slab } from '../mem/slab.ts';
import type { FrameId } from '../types.ts';
import { DELIVERED } from '../verdict.ts';

/** A descriptor, 1..n; 0 = none. */
export type SegmentId = number;

/** Bits of `flags`. */
export const S_FIN = 1;
export const S_PUSH = 2;
export const S_SENT = 4;
/** The peer holds it (RFC 2018), but may still renege. */
export const S_SACKED = 8;
/** Deemed lost: to be sent again. */
export const S_LOST = 16;
/** Sent again since it was deemed lost. */
export const S_RETRANS = 32;
/** Sent more than once: no RTT sample from it (Karn, RFC 6298 §3). */
export const S_EVER_RETRANS = 64;

export class SegmentTable {
  readonly seq: Int32Array;
  /** Payload bytes; a FIN takes one sequence number more. */
  readonly len: Int32Array;
  readonly frame: Int32Array;
  /** Absolute offset of the first payload byte in the pool. */
  readonly off: Int32Array;
  readonly flags: Int32Array;
  /** Microseconds when last sent, int32. */
  readonly sentAt: Int32Array;
  readonly next: Int32Array;

  private readonly ctx: Context;
  private readonly slab: Slab;

  constructor(ctx: Context, capacity: number) {
    this.ctx = ctx;
    const cfg = { ids: capacity };
    this.slab = Slab.create(new SharedArrayBuffer(Slab.bytes(cfg)), 0, cfg);
    const column = (): Int32Array => new Int32Array(capacity + 1);
    this.seq = column();
    this.len = column();
    this.frame = column();
    this.off = column();
    this.flags = column();
    this.sentAt = column();
    this.next = column();
  }

  /** A descriptor of `len` bytes at `off` of a payload frame, whose reference it takes over. 0 when none is free. */
  alloc(seq: number, frame: FrameId, off: number, len: number): SegmentId {
    const s = this.slab.alloc();
    if (s === 0) return 0;
    this.seq[s] = seq;
    this.len[s] = len;
    this.frame[s] = frame;
    this.off[s] = off;
    this.flags[s] = 0;
    this.next[s] = 0;
    return s;
  }

  /** The first sequence number after this descriptor. */
  end(s: SegmentId): number {
    return (this.seq[s]! + this.len[s]! + (this.flags[s]! & S_FIN)) | 0;
  }

  /** Sequence numbers it takes: its bytes, and one for the FIN. */
  size(s: SegmentId): number {
    return this.len[s]! + (this.flags[s]! & S_FIN);
  }

  /** Cuts a descriptor after `n` bytes; returns the rest, linked behind it, or 0 when no descriptor is free. */
  split(s: SegmentId, n: number): SegmentId {
    const rest = this.alloc((this.seq[s]! + n) | 0, this.frame[s]!, this.off[s]! + n, this.len[s]! - n);
    if (rest === 0) return 0;
    if (this.frame[s] !== 0) this.ctx.retain(this.frame[s]!);
    this.flags[rest] = this.flags[s]!;
    this.flags[s]! &= ~(S_FIN | S_PUSH);
    this.sentAt[rest] = this.sentAt[s]!;
    this.next[rest] = this.next[s]!;
    this.next[s] = rest;
    this.len[s] = n;
    return rest;
  }

  /** Drops the first `n` bytes, which were acknowledged. */
  trim(s: SegmentId, n: number): void {
    this.seq[s] = (this.seq[s]! + n) | 0;
    this.off[s]! += n;
    this.len[s]! -= n;
  }

  /** Few are left: those are for cutting what is queued to the size that may be sent, or nothing would ever leave. */
  get scarce(): boolean {
    return this.slab.max - this.slab.used() <= this.slab.max >> 3;
  }

  /** Nothing can be queued or cut. */
  get exhausted(): boolean {
    return this.slab.used() === this.slab.max;
  }

  /** Descriptors in use. */
  get used(): number {
    return this.slab.used();
  }

  /** Gives the descriptor and its payload reference back. */
  free(s: SegmentId): void {
    const frame = this.frame[s]!;
    this.slab.free(s);
    if (frame !== 0) this.ctx.settle(frame, DELIVERED);
  }
}
