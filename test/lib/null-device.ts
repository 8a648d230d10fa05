/**
 * A device without a wire: nothing arrives, and what is sent is gone. An address on its port is the host's own and never
 * asked for or announced: a loopback interface, as servers of direct routing and tunnels have the VIP on.
 */
import type { Context } from '../../stack/context.ts';
import { type Device, newStats } from '../../stack/netif/device.ts';

export class NullDevice implements Device {
  readonly name = 'null';
  readonly caps = { mtu: 65535, txChecksum: true, rxChecksum: true, tso: true, scatter: true, queues: 1 };
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  private readonly ctx: Context;

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  rx(): number {
    return 0;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) this.ctx.sent(frames[i]!);
    return to - from;
  }

  close(): void {}
}
