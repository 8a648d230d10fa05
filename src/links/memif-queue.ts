/**
 * A pair of memif rings from the side of the client: slots of a worker's pool are lent to the server, which fills them, and frames of it are
 * read by the server from where they lie. One worker drives a queue, and all slots in it are of its pool, which is a region of its own:
 * descriptors that this worker wrote never name another's.
 *
 * ```
 *  M2S ring   taken .. tail    have arrived             tail .. given   lent, to be filled
 *  S2M ring   back .. tail     the server has taken     tail .. put     on their way out
 * ```
 *
 * The thread that drives it may die; the one that follows it takes up what the rings say (`adopt`), as the server may still write and read
 * there.
 *
 * Called by memif-client.ts. Ownership: as device.ts says; frames are `sent` when the server has taken them.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_ERROR, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { type FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { type DeviceStats, FRAME_OVERHEAD } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import { D_FLAGS_REGION, D_LENGTH, D_OFFSET, type MemifRing, NEXT } from './memif-ring.ts';
import type { SendQueue } from './send-queues.ts';
import { objectionTo } from './whole-frame.ts';

/** Longest packet in one descriptor: what a buffer of DPDK holds. */
const LONGEST = 2048;

export class MemifQueue implements SendQueue {
  readonly fromServer: MemifRing;
  readonly toServer: MemifRing;
  /** The frame behind each descriptor. */
  private readonly lent: Int32Array;
  private readonly leaving: Int32Array;
  private taken = 0;
  private given = 0;
  /** What the server has been told of `given`. */
  private shown = 0;
  private put = 0;
  private back = 0;
  /** Up to here, what was on its way out when we came: slots, but no frames of ours. */
  private adopted = 0;

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly stats: DeviceStats;
  /** First word of descriptors of ours: no flags, the region of the pool. */
  private readonly region: number;
  private readonly capacity: number;
  private readonly maxFrame: number;
  /** Consumes what touching gave, so that the loads are not optimised away. */
  private touched = 0;

  /** `region`: the number of the pool's. */
  constructor(
    ctx: Context,
    stats: DeviceStats,
    fromServer: MemifRing,
    toServer: MemifRing,
    region: number,
    mtu: number,
  ) {
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.stats = stats;
    this.fromServer = fromServer;
    this.toServer = toServer;
    this.region = region << 16;
    this.capacity = ctx.pool.config.slotBytes - HEADROOM;
    this.maxFrame = Math.min(mtu + FRAME_OVERHEAD, LONGEST);
    this.lent = new Int32Array(fromServer.size);
    this.leaving = new Int32Array(toServer.size);
  }

  /** Takes what has arrived, as `Device.rx`, from `out[first]` on; returns where it ends. */
  receive(out: Int32Array, first: number, max: number): number {
    const { ctx, pool, capacity, stats, lent, fromServer: ring } = this;
    const { i32 } = ring;
    // One call later than they were lent: by then what was written there has left this processor, which would wait for it here.
    if (this.shown !== this.given) this.show();
    let n = (ring.tail() - this.taken) & 0xffff;
    if (n === 0) return first;
    if (n > max - first) n = max - first;
    let given = first;
    let bytes = 0;
    for (let i = 0; i < n; i++) {
      const index = (this.taken + i) & 0xffff;
      const f = lent[index & ring.mask]!;
      const d = ring.descriptor(index);
      const length = i32[d + D_LENGTH]!;
      const chained = (i32[d + D_FLAGS_REGION]! & NEXT) !== 0;
      const next = chained || length > capacity || length < 0 ? 0 : pool.lend();
      if (next === 0) {
        ctx.refuse(0, chained ? OVERSIZE : length > capacity || length < 0 ? LINK_ERROR : POOL_EMPTY);
        this.lend(f);
        continue;
      }
      this.lend(next);
      pool.receive(f);
      pool.len[f] = length;
      bytes += length;
      out[given++] = f;
    }
    this.taken = (this.taken + n) & 0xffff;
    this.touch(out, first, given);
    stats.rxFrames += given - first;
    stats.rxBytes += bytes;
    return given;
  }

  private show(): void {
    this.fromServer.setHead(this.given);
    this.shown = this.given;
  }

  /** Loads the headers, which lie in another core's cache, in a loop of nothing else, so that the loads overlap. */
  private touch(frames: Int32Array, from: number, to: number): void {
    const { i32, off } = this.pool;
    let sum = 0;
    for (let i = from; i < to; i++) sum ^= i32[(off[frames[i]!]! + ETH_LEN) >> 2]!;
    this.touched ^= sum;
  }

  private lend(f: FrameId): void {
    const { fromServer: ring } = this;
    const d = ring.descriptor(this.given);
    ring.i32[d + D_FLAGS_REGION] = this.region;
    ring.i32[d + D_LENGTH] = this.capacity;
    ring.i32[d + D_OFFSET] = this.pool.base(f) + HEADROOM;
    this.lent[this.given & ring.mask] = f;
    this.given = (this.given + 1) & 0xffff;
  }

  /** Something has arrived. */
  hasInput(): boolean {
    return this.fromServer.tail() !== this.taken;
  }

  // Sending

  /** Slots on their way out, and those of them that are frames of ours. */
  get out(): number {
    return (this.put - this.back) & 0xffff;
  }

  get held(): number {
    return this.out - this.adopted;
  }

  room(): number {
    return this.toServer.size - this.out;
  }

  send(frames: Int32Array, from: number, to: number): number {
    const { pool, stats, ctx, toServer: ring, leaving, region } = this;
    const { i32 } = ring;
    let room = this.room();
    let i = from;
    let bytes = 0;
    let put = this.put;
    for (; i < to && room > 0; i++) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        ctx.settle(f, DROP | reason);
        continue;
      }
      const length = pool.len[f]!;
      const d = ring.descriptor(put);
      i32[d + D_FLAGS_REGION] = region;
      i32[d + D_LENGTH] = length;
      i32[d + D_OFFSET] = pool.off[f]!;
      leaving[put & ring.mask] = f;
      put = (put + 1) & 0xffff;
      bytes += length;
      room--;
    }
    const n = (put - this.put) & 0xffff;
    if (n > 0) {
      this.put = put;
      ring.setHead(put);
      ring.wake();
      stats.txFrames += n;
      stats.txBytes += bytes;
    }
    return i - from;
  }

  private objection(f: FrameId): number {
    const reason = objectionTo(this.pool, f, this.maxFrame);
    if (reason === LINK_ERROR) this.stats.errors['no offload'] = (this.stats.errors['no offload'] ?? 0) + 1;
    return reason;
  }

  /** Ends the way of frames that the server has taken. */
  reap(): void {
    const { toServer: ring, leaving } = this;
    const n = (ring.tail() - this.back) & 0xffff;
    // A server that says more than we gave it is not believed.
    if (n === 0 || n > this.out) return;
    if (this.adopted > 0) {
      this.reapAdopted(n);
      return;
    }
    const at = this.back & ring.mask;
    const whole = Math.min(n, ring.size - at);
    this.ctx.sentAll(leaving, at, at + whole);
    if (n > whole) this.ctx.sentAll(leaving, 0, n - whole);
    this.back = (this.back + n) & 0xffff;
  }

  private reapAdopted(n: number): void {
    const { leaving, toServer, pool } = this;
    for (let i = 0; i < n; i++) {
      const f = leaving[this.back & toServer.mask]!;
      if (this.adopted > 0) {
        this.adopted--;
        if (f !== 0) pool.takeBack(f);
      } else this.ctx.sent(f);
      this.back = (this.back + 1) & 0xffff;
    }
  }

  // The connection

  /** The slots that one who died had in the rings; what has arrived since is lost. */
  adopt(): void {
    const { fromServer, toServer, lent, leaving, pool } = this;
    const slots = new Set<FrameId>();
    const slotOf = (ring: MemifRing, index: number): FrameId => {
      const d = ring.descriptor(index);
      const f = pool.slotAt(ring.i32[d + D_OFFSET]! >>> 0);
      // The server could have written anything there.
      if (ring.i32[d + D_FLAGS_REGION]! >>> 16 !== this.region >>> 16 || f === 0 || slots.has(f)) return 0;
      slots.add(f);
      return f;
    };
    this.taken = fromServer.tail();
    this.given = this.taken;
    for (let i = this.taken, head = fromServer.head(); i !== head; i = (i + 1) & 0xffff) {
      const f = slotOf(fromServer, i);
      // Without a gap: whatever stands in the way is lent once more, in another place.
      if (f === 0) break;
      lent[i & fromServer.mask] = f;
      this.given = (i + 1) & 0xffff;
    }
    this.back = toServer.tail();
    this.put = toServer.head();
    this.adopted = this.out;
    for (let i = this.back; i !== this.put; i = (i + 1) & 0xffff) leaving[i & toServer.mask] = slotOf(toServer, i);
    pool.lendAll(slots);
  }

  /** Both rings are empty again. What was lent before is lent once more. */
  restart(): void {
    const { fromServer, lent, taken, given } = this;
    const frames: FrameId[] = [];
    for (let i = taken; i !== given; i = (i + 1) & 0xffff) frames.push(lent[i & fromServer.mask]!);
    this.taken = 0;
    this.given = 0;
    this.put = 0;
    this.back = 0;
    for (const f of frames) this.lend(f);
  }

  /** Lends until `slots` are lent, and shows the server all of them. */
  fill(slots: number): void {
    while (((this.given - this.taken) & 0xffff) < slots) {
      const f = this.pool.lend();
      if (f === 0) break;
      this.lend(f);
    }
    this.fromServer.wantInterrupts(false);
    this.show();
  }

  /** What is on its way out is lost. */
  abandon(reason: number): void {
    const { leaving, toServer, pool } = this;
    for (; this.back !== this.put; this.back = (this.back + 1) & 0xffff) {
      const f = leaving[this.back & toServer.mask]!;
      if (this.adopted === 0) this.ctx.settle(f, DROP | reason);
      else {
        this.adopted--;
        if (f !== 0) pool.takeBack(f);
      }
    }
  }

  /** Gives back what is lent. The server may write there no more. */
  takeBack(): void {
    for (; this.taken !== this.given; this.taken = (this.taken + 1) & 0xffff) {
      this.pool.takeBack(this.lent[this.taken & this.fromServer.mask]!);
    }
  }
}
