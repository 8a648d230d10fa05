/**
 * The port of a replay: gives the stack one frame at a time, and keeps what the stack sends until somebody looks.
 * It plays a plain Ethernet link: no offload, every frame taken.
 *
 * Ownership: as device.ts says; what is sent is copied and freed at once.
 */
import type { Context } from '../../stack/context.ts';
import { OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { F_CSUM_VALID, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { allocFor, gather } from '../../stack/netif/copy.ts';
import { type Capabilities, type Device, type DeviceStats, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';

export interface SentFrame {
  readonly frame: FrameId;
  readonly bytes: Uint8Array;
}

export class FeedDevice implements Device {
  readonly name = 'replay';
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd = -1;
  up = true;

  private readonly ctx: Context;
  private readonly trustChecksums: boolean;
  private next: FrameId = 0;
  private sent: SentFrame[] = [];

  /** `trustChecksums`: layer-4 checksums were not finished when the frames were captured. */
  constructor(ctx: Context, mtu: number, trustChecksums: boolean) {
    this.ctx = ctx;
    this.trustChecksums = trustChecksums;
    this.caps = { mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: true, queues: 1 };
  }

  /** Puts a frame where the next `rx` finds it; returns it, or 0 and why it was refused. */
  offer(bytes: Uint8Array): { frame: FrameId; reason: number } {
    const { pool } = this.ctx;
    const frame = allocFor(pool, bytes.length);
    if (frame === 0) {
      const fits = bytes.length <= pool.config.bigSlotBytes - HEADROOM;
      const reason = fits ? POOL_EMPTY : OVERSIZE;
      this.ctx.refuse(0, reason);
      return { frame, reason };
    }
    pool.buf.set(bytes, pool.off[frame]!);
    pool.len[frame] = bytes.length;
    if (this.trustChecksums) pool.flags[frame] = F_CSUM_VALID;
    this.next = frame;
    return { frame, reason: 0 };
  }

  rx(out: Int32Array): number {
    if (this.next === 0) return 0;
    out[0] = this.next;
    this.stats.rxFrames += 1;
    this.stats.rxBytes += this.ctx.pool.len[this.next]!;
    this.next = 0;
    return 1;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const { pool } = this.ctx;
    for (let i = from; i < to; i++) {
      const frame = frames[i]!;
      const bytes = new Uint8Array(pool.wireLength(frame));
      gather(pool, frame, bytes, 0);
      this.sent.push({ frame, bytes });
      this.stats.txFrames += 1;
      this.stats.txBytes += bytes.length;
      this.ctx.sent(frame);
    }
    return to - from;
  }

  /** What was sent since the last call, in order. */
  take(): SentFrame[] {
    const { sent } = this;
    this.sent = [];
    return sent;
  }

  close(): void {
    this.up = false;
  }
}
