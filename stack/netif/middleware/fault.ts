/**
 * A device that misbehaves on purpose and reproducibly: loss, duplication, reordering, delay with jitter, corruption, marks of
 * congestion, a rate limit with a queue, each direction by its own rules. The same seed, frames and times give the same faults. Rules that are
 * zero draw no random numbers and change nothing.
 *
 * Corruption happens on the wire, behind the offloads: a device that may corrupt what it sends offers none (netif then
 * finishes checksums and cuts segments), and a received frame with an unfinished checksum gets it finished first. A received
 * 64 KB segment has no such checksum to finish; its IPv4 header is damaged instead, which is always detected.
 *
 * Ownership: frames accepted by `tx` and frames not yet due belong to this device (they count as held) until the inner
 * device has taken them or netif got them. Lost ones are settled FAULT_LOSS, those beyond the rate's queue FAULT_RATE, those left
 * at close PORT_CLOSED; duplicates are counted as created.
 * @hot
 */
import type { Context } from '../../context.ts';
import { FAULT_LOSS, FAULT_RATE, PORT_CLOSED } from '../../drop.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, GSO_NONE } from '../../mem/frame-pool.ts';
import type { FrameId, Micros, Random } from '../../types.ts';
import { DELIVERED, DROP } from '../../verdict.ts';
import * as ethernet from '../../wire/ethernet.ts';
import { ETH_LEN } from '../../wire/ethernet.ts';
import * as ipv4 from '../../wire/ipv4.ts';
import { IPV4_LEN } from '../../wire/ipv4.ts';
import { duplicate } from '../copy.ts';
import type { Capabilities, Device } from '../device.ts';
import { finishChecksum } from '../gso.ts';
import { DueHeap } from './due-heap.ts';
import { Wrapper } from './wrapper.ts';

export interface FaultRules {
  /** Probabilities per frame, 0..1. */
  readonly loss: number;
  readonly duplicate: number;
  readonly corrupt: number;
  readonly reorder: number;
  /** Of the IPv4 packets whose sender says that it knows ECN: marked "congestion experienced" (RFC 3168 §5). */
  readonly mark: number;
  /** How much longer a reordered frame is held back, so that later ones overtake it. */
  readonly reorderMicros: Micros;
  /** Every frame waits `delayMicros` and up to `jitterMicros` more; frames overtake each other when jitter exceeds their distance. */
  readonly delayMicros: Micros;
  readonly jitterMicros: Micros;
  /** 0 = no limit. */
  readonly bitsPerSecond: number;
  /** Bytes that may wait for the rate limit; more are dropped. */
  readonly queueBytes: number;
}

export const NO_FAULTS: FaultRules = {
  loss: 0,
  duplicate: 0,
  corrupt: 0,
  reorder: 0,
  mark: 0,
  reorderMicros: 0,
  delayMicros: 0,
  jitterMicros: 0,
  bitsPerSecond: 0,
  queueBytes: 0,
};

export interface FaultOptions {
  readonly rx: FaultRules;
  readonly tx: FaultRules;
  /** Frames held per direction; beyond, `tx` takes fewer and `rx` leaves frames in the inner device. */
  readonly capacity: number;
}

/** Frames that met each fault so far; those lost and those beyond the rate are among the drops, too. */
export interface FaultCounts {
  lost: number;
  duplicated: number;
  corrupted: number;
  reordered: number;
  marked: number;
  overRate: number;
}

const newCounts = (): FaultCounts => ({ lost: 0, duplicated: 0, corrupted: 0, reordered: 0, marked: 0, overRate: 0 });

const SCRATCH = 256;
/** The ECN bits of the TOS byte, both of them: congestion experienced (RFC 3168 §5). */
const CE = 3;
/** Heap entries that one admitted frame may need: itself and its duplicate. */
const PER_FRAME = 2;

/** The MTU is what the device says at any time. */
const withoutOffloads = (caps: Capabilities): Capabilities => ({
  ...caps,
  ...{ txChecksum: false, tso: false, scatter: false },
  get mtu() {
    return caps.mtu;
  },
});

export class Fault extends Wrapper {
  /** What was injected, by direction. */
  readonly rxCounts = newCounts();
  readonly txCounts = newCounts();

  private readonly ctx: Context;
  private readonly incoming: Impairment;
  private readonly outgoing: Impairment;
  private readonly scratch = new Int32Array(SCRATCH);
  private closed = false;

  constructor(ctx: Context, inner: Device, options: FaultOptions, random: Random) {
    super(inner, options.tx.corrupt > 0 ? withoutOffloads(inner.caps) : inner.caps);
    this.ctx = ctx;
    this.incoming = new Impairment(ctx, options.rx, options.capacity, random, this.rxCounts);
    this.outgoing = new Impairment(ctx, options.tx, options.capacity, random, this.txCounts);
  }

  override get held(): number {
    return (this.inner.held ?? 0) + this.incoming.heap.size + this.outgoing.heap.size;
  }

  override get up(): boolean {
    return !this.closed && this.inner.up;
  }

  override get nextDueMs(): number {
    const now = this.ctx.now;
    const inner = this.inner.nextDueMs ?? -1;
    let wait = inner < 0 ? Number.POSITIVE_INFINITY : inner;
    wait = Math.min(wait, Math.max(Math.ceil((this.incoming.heap.firstDue - now) / 1000), 0));
    // What is due and still here was refused by the inner device: try again soon, not at once.
    wait = Math.min(wait, Math.max(Math.ceil((this.outgoing.heap.firstDue - now) / 1000), 1));
    return wait === Number.POSITIVE_INFINITY ? -1 : wait;
  }

  override rx(out: Int32Array, max: number): number {
    this.sendDue();
    const want = Math.min(max, SCRATCH, this.incoming.room);
    const taken = want > 0 ? this.inner.rx(this.scratch, want) : 0;
    for (let i = 0; i < taken; i++) this.incoming.admit(this.scratch[i]!);
    const heap = this.incoming.heap;
    const now = this.ctx.now;
    let given = 0;
    while (given < max && heap.firstDue <= now) out[given++] = heap.pop();
    this.ctx.intake(taken, given);
    return given;
  }

  override tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    this.sendDue();
    let i = from;
    while (i < to && this.outgoing.room > 0) this.outgoing.admit(frames[i++]!);
    this.sendDue();
    return i - from;
  }

  private sendDue(): void {
    const heap = this.outgoing.heap;
    const now = this.ctx.now;
    while (heap.firstDue <= now) {
      this.scratch[0] = heap.first;
      if (this.inner.tx(this.scratch, 0, 1) === 0) return;
      heap.pop();
    }
  }

  override close(): void {
    if (this.closed) return;
    this.closed = true;
    this.incoming.abandon();
    this.outgoing.abandon();
    this.inner.close();
  }
}

/** One direction: decides each frame's fate and keeps it until it is due. */
class Impairment {
  readonly heap: DueHeap;

  private readonly ctx: Context;
  private readonly rules: FaultRules;
  private readonly random: Random;
  private readonly counts: FaultCounts;
  /** When the rate-limited line has sent all that was admitted. */
  private busyUntil: Micros = 0;

  constructor(ctx: Context, rules: FaultRules, capacity: number, random: Random, counts: FaultCounts) {
    this.ctx = ctx;
    this.rules = rules;
    this.random = random;
    this.counts = counts;
    this.heap = new DueHeap(capacity);
  }

  /** How many frames can be admitted. */
  get room(): number {
    return ((this.heap.capacity - this.heap.size) / PER_FRAME) | 0;
  }

  admit(f: FrameId): void {
    const { ctx, rules } = this;
    if (this.chance(rules.loss)) {
      this.counts.lost++;
      ctx.settle(f, DROP | FAULT_LOSS);
      return;
    }
    const marked = this.isMarkable(f) && this.chance(rules.mark) ? this.mark(f) : f;
    const sent = this.chance(rules.corrupt) ? this.corrupt(marked) : marked;
    const copy = this.chance(rules.duplicate) ? duplicate(ctx, sent) : 0;
    this.schedule(sent);
    if (copy === 0) return;
    this.counts.duplicated++;
    this.schedule(copy);
  }

  private schedule(f: FrameId): void {
    const { ctx, rules } = this;
    let due = ctx.now;
    if (rules.bitsPerSecond > 0) {
      const start = Math.max(due, this.busyUntil);
      const waitingBytes = ((start - due) * rules.bitsPerSecond) / 8e6;
      if (waitingBytes > rules.queueBytes) {
        this.counts.overRate++;
        ctx.settle(f, DROP | FAULT_RATE);
        return;
      }
      this.busyUntil = start + (ctx.pool.wireLength(f) * 8e6) / rules.bitsPerSecond;
      due = this.busyUntil;
    }
    due += rules.delayMicros;
    if (rules.jitterMicros > 0) due += this.below(rules.jitterMicros + 1);
    if (this.chance(rules.reorder)) {
      this.counts.reordered++;
      due += rules.reorderMicros;
    }
    this.heap.push(f, due);
  }

  /** `f`, or a copy of it when somebody else still needs the original; 0 when there is no room for one. */
  private ours(f: FrameId): FrameId {
    const { ctx } = this;
    if (ctx.pool.refs[f]! === 1) return f;
    const g = duplicate(ctx, f);
    if (g !== 0) ctx.settle(f, DELIVERED);
    return g;
  }

  /** An IPv4 packet, whole as far as its header goes, with ECT(0) or ECT(1). */
  private isMarkable(f: FrameId): boolean {
    if (this.rules.mark === 0) return false;
    const { buf, off, len } = this.ctx.pool;
    const at = off[f]!;
    if (len[f]! < ETH_LEN + IPV4_LEN || ethernet.type(buf, at) !== ethernet.ETHERTYPE_IPV4) return false;
    const ecn = ipv4.tos(buf, at + ETH_LEN) & CE;
    return ecn !== 0 && ecn !== CE;
  }

  /** Marks a packet; returns the frame that has the mark. */
  private mark(f: FrameId): FrameId {
    const g = this.ours(f);
    if (g === 0) return f;
    this.counts.marked++;
    const { buf, off } = this.ctx.pool;
    const ip = off[g]! + ETH_LEN;
    ipv4.setTos(buf, ip, ipv4.tos(buf, ip) | CE);
    return g;
  }

  /** Damages one byte; returns the frame that has the damage. */
  private corrupt(f: FrameId): FrameId {
    const { pool } = this.ctx;
    const g = this.ours(f);
    if (g === 0) return f;
    this.counts.corrupted++;
    let from = 0;
    let to = pool.len[g]!;
    if (pool.gsoType[g] !== GSO_NONE) {
      from = ETH_LEN;
      to = Math.min(to, ETH_LEN + IPV4_LEN);
    } else if ((pool.flags[g]! & F_CSUM_PARTIAL) !== 0) {
      finishChecksum(pool, g);
    }
    pool.flags[g]! &= ~(F_CSUM_PARTIAL | F_CSUM_VALID) | (pool.gsoType[g] !== GSO_NONE ? F_CSUM_PARTIAL : 0);
    if (to > from) pool.buf[pool.off[g]! + from + this.below(to - from)]! ^= 1 + this.below(255);
    return g;
  }

  private chance(probability: number): boolean {
    return probability > 0 && this.random.next() >>> 0 < probability * 4294967296;
  }

  /** A number in 0..n-1. */
  private below(n: number): number {
    return Math.floor(((this.random.next() >>> 0) / 4294967296) * n);
  }

  /** Gives everything up. */
  abandon(): void {
    while (this.heap.size > 0) this.ctx.settle(this.heap.pop(), DROP | PORT_CLOSED);
  }
}
