/** A link whose far end is the fuzzer: packets are given one by one, what is sent is noted. Layer 2 is always right. */
import type { Context } from '../../../stack/context.ts';
import { HEADROOM } from '../../../stack/mem/frame-pool.ts';
import { gather } from '../../../stack/netif/copy.ts';
import { type Device, newStats } from '../../../stack/netif/device.ts';
import { naiveSum } from '../../lib/naive-checksum.ts';
import type { Recent } from './source.ts';

export class FuzzPort implements Device {
  readonly name = 'fuzz';
  readonly caps = { mtu: 1500, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1 };
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  private readonly ctx: Context;
  private readonly sent: Recent;
  private readonly mac: readonly number[];
  private readonly waiting: Uint8Array[] = [];
  private readonly out = new Uint8Array(2048);

  constructor(ctx: Context, mac: readonly number[], sent: Recent) {
    this.ctx = ctx;
    this.mac = mac;
    this.sent = sent;
  }

  give(packet: Uint8Array): void {
    this.waiting.push(packet);
  }

  rx(frames: Int32Array, max: number): number {
    const { pool } = this.ctx;
    let n = 0;
    while (n < max && this.waiting.length > 0) {
      const f = pool.alloc();
      if (f === 0) break;
      const packet = this.waiting.pop()!;
      const off = pool.off[f]!;
      const len = Math.min(packet.length, pool.config.slotBytes - HEADROOM - 14);
      pool.buf.set(this.mac, off);
      pool.buf.set([2, 0, 0, 0, 0, 2, 8, 0], off + 6);
      pool.buf.set(packet.subarray(0, len), off + 14);
      pool.len[f] = 14 + len;
      frames[n++] = f;
    }
    return n;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const { pool } = this.ctx;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const n = pool.wireLength(f);
      if (n > 1514) throw new Error(`a frame of ${n} bytes on a link of 1514`);
      gather(pool, f, this.out, 0);
      this.ctx.sent(f);
      if (this.out[12] !== 8 || this.out[13] !== 0) continue;
      const packet = this.out.slice(14, n);
      if (naiveSum(packet.subarray(0, (packet[0]! & 15) * 4)) !== 0xffff)
        throw new Error('a wrong IPv4 checksum was sent');
      this.sent.noteSent(packet);
    }
    return to - from;
  }

  close(): void {}
}
