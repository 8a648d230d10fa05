/**
 * A pair of memif rings from the side of the server: bytes are copied between what the client brought and the pool. Nothing the client
 * writes is believed: each descriptor is checked before its bytes are touched.
 *
 * Called by memif-server.ts. Ownership: as device.ts says; the bytes are copied, so frames are `sent` at once.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_ERROR, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { type FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { type DeviceStats, FRAME_OVERHEAD } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import type { BroughtRegion } from './memif-brought.ts';
import { D_FLAGS_REGION, D_LENGTH, D_OFFSET, type MemifRing, NEXT } from './memif-ring.ts';
import { Places } from './places.ts';
import type { SendQueue } from './send-queues.ts';
import type { Syscalls } from './syscall.ts';
import { objectionTo } from './whole-frame.ts';

/** From this many bytes on a call of memcpy costs less than a loop. */
const MEMCPY_FROM = 256;

/** A region of the client, mapped. */
export interface MappedRegion extends BroughtRegion {
  readonly u8: Uint8Array;
  readonly places: Places;
}

export class MemifServed implements SendQueue {
  /** Null where the client brought more rings for the other direction. */
  readonly fromClient: MemifRing | null;
  readonly toClient: MemifRing | null;
  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly stats: DeviceStats;
  private readonly regions: readonly MappedRegion[];
  private readonly inPool: Places;
  private readonly maxFrame: number;
  private readonly capacity: number;
  /** Second answer of `regionOf`. */
  private place = 0;

  constructor(
    ctx: Context,
    sys: Syscalls,
    stats: DeviceStats,
    regions: readonly MappedRegion[],
    fromClient: MemifRing | null,
    toClient: MemifRing | null,
    mtu: number,
  ) {
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = sys;
    this.stats = stats;
    this.regions = regions;
    this.fromClient = fromClient;
    this.toClient = toClient;
    this.inPool = new Places(sys.addressOf(ctx.pool.buf));
    this.maxFrame = mtu + FRAME_OVERHEAD;
    this.capacity = ctx.pool.config.slotBytes - HEADROOM;
  }

  /** Something has arrived. */
  hasInput(): boolean {
    const ring = this.fromClient;
    return ring !== null && ring.head() !== ring.tail();
  }

  /** Takes what has arrived, as `Device.rx`, from `out[first]` on; returns where it ends. */
  receive(out: Int32Array, first: number, max: number): number {
    const ring = this.fromClient;
    if (ring === null) return first;
    const { ctx, pool, stats } = this;
    const tail = ring.tail();
    let n = (ring.head() - tail) & 0xffff;
    if (n === 0) return first;
    if (n > ring.size) n = ring.size;
    if (n > max - first) n = max - first;
    let given = first;
    for (let i = 0; i < n; i++) {
      const d = ring.descriptor(tail + i);
      const length = ring.i32[d + D_LENGTH]! >>> 0;
      const region = this.regionOf(ring, d, length);
      const chained = (ring.i32[d + D_FLAGS_REGION]! & NEXT) !== 0;
      const f = region === null || chained || length > this.capacity ? 0 : pool.alloc();
      if (f === 0) {
        const late = region === null ? LINK_ERROR : chained || length > this.capacity ? OVERSIZE : POOL_EMPTY;
        ctx.refuse(0, late);
        continue;
      }
      this.take(region!, this.place, pool.off[f]!, length);
      pool.len[f] = length;
      stats.rxFrames += 1;
      stats.rxBytes += length;
      out[given++] = f;
    }
    ring.setTail(tail + n);
    return given;
  }

  /** What is sent has left. */
  reap(): void {}

  room(): number {
    const ring = this.toClient;
    return ring === null ? 0 : Math.min((ring.head() - ring.tail()) & 0xffff, ring.size);
  }

  send(frames: Int32Array, from: number, to: number): number {
    const ring = this.toClient;
    if (ring === null) return 0;
    const { pool, stats, ctx } = this;
    const tail = ring.tail();
    const room = this.room();
    let put = 0;
    let i = from;
    for (; i < to; i++) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        ctx.settle(f, DROP | reason);
        continue;
      }
      if (put >= room) break;
      const d = ring.descriptor(tail + put);
      const length = pool.len[f]!;
      const region = this.regionOf(ring, d, length);
      put++;
      if (region === null || ring.i32[d + D_LENGTH]! >>> 0 < length) {
        ring.i32[d + D_LENGTH] = 0;
        ctx.settle(f, DROP | LINK_ERROR);
        continue;
      }
      this.give(region, this.place, pool.off[f]!, length);
      ring.i32[d + D_FLAGS_REGION]! &= ~0xffff;
      ring.i32[d + D_LENGTH] = length;
      stats.txFrames += 1;
      stats.txBytes += length;
      ctx.sent(f);
    }
    if (put > 0) {
      ring.setTail(tail + put);
      ring.wake();
    }
    return i - from;
  }

  private objection(f: FrameId): number {
    const reason = objectionTo(this.pool, f, this.maxFrame);
    if (reason === LINK_ERROR) this.stats.errors['no offload'] = (this.stats.errors['no offload'] ?? 0) + 1;
    return reason;
  }

  /** Copies `length` bytes at `at` of a region to `off` of the pool. */
  private take({ places, u8 }: MappedRegion, at: number, off: number, length: number): void {
    const { buf } = this.pool;
    if (length >= MEMCPY_FROM) this.sys.memcpy(this.inPool.at(off), places.at(at), length);
    else for (let i = 0; i < length; i++) buf[off + i] = u8[at + i]!;
  }

  /** The other way round. */
  private give({ places, u8 }: MappedRegion, at: number, off: number, length: number): void {
    const { buf } = this.pool;
    if (length >= MEMCPY_FROM) this.sys.memcpy(places.at(at), this.inPool.at(off), length);
    else for (let i = 0; i < length; i++) u8[at + i] = buf[off + i]!;
  }

  /**
   * The region in which the bytes of a descriptor lie, and at which `place` in it; null when they are not within one. The client may change
   * the descriptor at any time, so what was checked is not read again.
   */
  private regionOf(ring: MemifRing, d: number, length: number): MappedRegion | null {
    const region = this.regions[ring.i32[d + D_FLAGS_REGION]! >>> 16];
    this.place = ring.i32[d + D_OFFSET]! >>> 0;
    return region !== undefined && this.place + length <= region.size ? region : null;
  }
}
