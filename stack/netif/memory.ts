/**
 * A wire between two stacks of one process: what one end sends is copied into a frame of the other end's pool at once and
 * waits there, in order, until that end receives. Simulations and tests run on it; its capabilities can be set, so that a
 * plain Ethernet link and a TAP with offloads can both be played. It has no delay and loses nothing by itself: for that,
 * wrap an end in middleware/fault.ts.
 *
 * Ownership: `tx` frees at once what it took. Frames in flight belong to the receiving end's pool and are counted as
 * received there when they enter it; a frame that finds that pool empty is dropped on the receiver's account (POOL_EMPTY).
 * When the receiver's ring is full, `tx` takes fewer.
 * @hot
 */
import type { Context } from '../context.ts';
import { LINK_ERROR, OVERSIZE, POOL_EMPTY, PORT_CLOSED, RUNT } from '../drop.ts';
import { F_CSUM_PARTIAL, GSO_NONE } from '../mem/frame-pool.ts';
import type { FrameId } from '../types.ts';
import { DROP } from '../verdict.ts';
import { ETH_LEN } from '../wire/ethernet.ts';
import { allocFor, copyFrame } from './copy.ts';
import type { Capabilities, Device, DeviceStats } from './device.ts';
import { FRAME_OVERHEAD, newStats } from './device.ts';
import { finishChecksum } from './gso.ts';

export interface WireOptions {
  /** Names of the two ends, printed as `memory:NAME`. */
  readonly names: readonly [string, string];
  /** Bytes of the largest layer-3 packet. */
  readonly mtu: number;
  readonly txChecksum: boolean;
  /** Partial checksums arrive as they were sent; otherwise the wire finishes them on the way. */
  readonly rxChecksum: boolean;
  /** 64 KB segments pass in one piece; needs both checksum capabilities. */
  readonly tso: boolean;
  readonly scatter: boolean;
  /** Frames in flight per direction, a power of two. */
  readonly ring: number;
}

/** A plain Ethernet link. */
export const PLAIN_WIRE: WireOptions = {
  names: ['a', 'b'],
  mtu: 1500,
  txChecksum: false,
  rxChecksum: false,
  tso: false,
  scatter: false,
  ring: 1024,
};

/** What a TAP with a virtio-net header can do. */
export const OFFLOAD_WIRE: WireOptions = {
  ...PLAIN_WIRE,
  txChecksum: true,
  rxChecksum: true,
  tso: true,
  scatter: true,
};

/** Joins two stacks; the first device belongs to `a`, the second to `b`. Throws on options that contradict each other. */
export function memoryWire(a: Context, b: Context, options: WireOptions = PLAIN_WIRE): [Device, Device] {
  if (options.tso && !(options.txChecksum && options.rxChecksum)) {
    throw new Error('memory: tso needs txChecksum and rxChecksum');
  }
  if (options.ring < 2 || (options.ring & (options.ring - 1)) !== 0) {
    throw new Error(`memory: ring must be a power of two, not ${options.ring}`);
  }
  const left = new WireEnd(a, options.names[0], options);
  const right = new WireEnd(b, options.names[1], options);
  left.peer = right;
  right.peer = left;
  return [left, right];
}

class WireEnd implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd = -1;
  up = true;
  /** The other end; null once this one is closed. */
  peer: WireEnd | null = null;

  private readonly ctx: Context;
  private readonly finishChecksums: boolean;
  private readonly maxFrame: number;
  /** Frames that arrived here; `tail - head` of them. */
  private readonly ring: Int32Array;
  private readonly mask: number;
  private head = 0;
  private tail = 0;

  constructor(ctx: Context, name: string, options: WireOptions) {
    this.ctx = ctx;
    this.name = `memory:${name}`;
    const { mtu, txChecksum, rxChecksum, tso, scatter } = options;
    this.caps = { mtu, txChecksum, rxChecksum, tso, scatter, queues: 1 };
    this.finishChecksums = !rxChecksum;
    this.maxFrame = mtu + FRAME_OVERHEAD;
    this.ring = new Int32Array(options.ring);
    this.mask = options.ring - 1;
  }

  rx(out: Int32Array, max: number): number {
    const n = Math.min((this.tail - this.head) | 0, max);
    for (let i = 0; i < n; i++) {
      const f = this.ring[this.head++ & this.mask]!;
      this.stats.rxBytes += this.ctx.pool.len[f]!;
      out[i] = f;
    }
    this.stats.rxFrames += n;
    this.ctx.intake(0, n);
    return n;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const peer = this.peer;
    if (peer === null || !this.up) return 0;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        this.ctx.settle(f, DROP | reason);
        continue;
      }
      if (((peer.tail - peer.head) | 0) > peer.mask) return i - from;
      this.stats.txFrames += 1;
      this.stats.txBytes += this.ctx.pool.wireLength(f);
      peer.arrive(this.ctx, f);
      this.ctx.sent(f);
    }
    return to - from;
  }

  /** Why the frame cannot pass, 0 when it can. What the capabilities exclude is a fault of the sender's netif. */
  private objection(f: FrameId): number {
    const pool = this.ctx.pool;
    const bytes = pool.wireLength(f);
    const segments = pool.gsoType[f] !== GSO_NONE;
    if (bytes < ETH_LEN) return RUNT;
    if (!segments && bytes > this.maxFrame) return OVERSIZE;
    const caps = this.caps;
    if (segments && !caps.tso) return this.refused('no tso');
    if ((pool.flags[f]! & F_CSUM_PARTIAL) !== 0 && !caps.txChecksum) return this.refused('no checksum offload');
    if (pool.frag[f] !== 0 && !caps.scatter) return this.refused('no scatter');
    return 0;
  }

  private refused(what: string): number {
    this.stats.errors[what] = (this.stats.errors[what] ?? 0) + 1;
    return LINK_ERROR;
  }

  /** Copies a frame of the other end into our pool and queues it. There is room in the ring. */
  private arrive(sender: Context, f: FrameId): void {
    const pool = this.ctx.pool;
    const g = allocFor(pool, sender.pool.wireLength(f));
    if (g === 0) {
      this.ctx.refuse(0, POOL_EMPTY);
      return;
    }
    copyFrame(sender.pool, f, pool, g);
    const partial = (pool.flags[g]! & F_CSUM_PARTIAL) !== 0;
    if (partial && this.finishChecksums) finishChecksum(pool, g);
    // What the sender knew of the frame stays behind; only what a link can tell arrives.
    pool.flags[g] = partial && !this.finishChecksums ? F_CSUM_PARTIAL : 0;
    pool.port[g] = 0;
    pool.hash[g] = 0;
    this.ring[this.tail++ & this.mask] = g;
    this.ctx.intake(1, 0);
  }

  close(): void {
    if (this.peer === null) return;
    this.peer.up = false;
    this.peer = null;
    this.up = false;
    for (; this.head !== this.tail; this.head++) {
      this.ctx.settle(this.ring[this.head & this.mask]!, DROP | PORT_CLOSED);
    }
  }
}
