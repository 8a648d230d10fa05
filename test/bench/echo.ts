/**
 * The golden slice in numbers: ping request in, reply out, through netif, ethernet, IPv4, ICMP, route, neighbour and
 * back to netif. Frames come from and go to a device that costs next to nothing.
 */
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host } from '../../stack/host.ts';
import { FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { newStats } from '../../stack/netif/device.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as icmp from '../../stack/wire/icmp4.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import { seeded } from '../lib/random.ts';
import { ip } from '../lib/sim.ts';

const VIP = ip('10.0.0.1');
const PEER = ip('10.0.0.2');

/** Gives the same frame for ever and swallows what is sent. */
class Treadmill implements Device {
  readonly name = 'treadmill';
  readonly caps = { mtu: 1500, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1 };
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  sent = 0;
  private readonly ctx: Context;
  private readonly template: number;
  private readonly length: number;

  /** `frame` is kept in a slot of the pool, from which each received frame is copied. */
  constructor(ctx: Context, frame: Uint8Array) {
    this.ctx = ctx;
    const f = ctx.pool.alloc();
    this.template = ctx.pool.off[f]!;
    this.length = frame.length;
    ctx.pool.buf.set(frame, this.template);
  }

  rx(out: Int32Array, max: number): number {
    const { pool } = this.ctx;
    const { buf } = pool;
    const { template, length } = this;
    for (let i = 0; i < max; i++) {
      const f = pool.alloc();
      const off = pool.base(f) + HEADROOM;
      buf.copyWithin(off, template, template + length);
      pool.len[f] = length;
      out[i] = f;
    }
    return max;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) this.ctx.sent(frames[i]!);
    this.sent += to - from;
    return to - from;
  }

  close(): void {}
}

/** Returns a body that answers n pings of 56 data bytes. */
export function echo(): (n: number) => void {
  const pool = FramePool.create({ slots: 4096, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 });
  const ctx = new Context(pool, seeded(3));
  const data = 56;
  const frame = new Uint8Array(eth.ETH_LEN + ipv4.IPV4_LEN + icmp.ICMP_LEN + data);
  const scratch = new Uint8Array(new ArrayBuffer(256));
  const words = new Int32Array(scratch.buffer);
  // Aligned as in a slot: the IP header on a 4-byte boundary.
  const l3 = 16;
  eth.emit(scratch, l3 - 14, 0x0200, 1, 0x0200, 2, eth.ETHERTYPE_IPV4);
  ipv4.emit(scratch, l3, 0, 20 + 8 + data, 7, 0, 64, ipv4.PROTO_ICMP, PEER, VIP);
  icmp.emit(scratch, words, l3 + 20, icmp.ECHO_REQUEST, 0, 0x00010001, icmp.ICMP_LEN + data);
  frame.set(scratch.subarray(l3 - 14, l3 - 14 + frame.length));
  const device = new Treadmill(ctx, frame);
  const host = new Host(ctx, { onConflict: () => {} }, DEFAULT_HOST);
  const port = host.addPort(device, 0x0200, 1);
  host.addresses.add({ addr: VIP, prefixLen: 24, port: port.id, flags: 1 });
  host.neigh.nud.setStatic(PEER, port.id, 0x0200, 2);
  let now = 1_000_000;
  return (n) => {
    const target = host.icmp.echoes + n;
    while (host.icmp.echoes < target) {
      now += 64;
      host.turn(now);
    }
    if (device.sent < n) throw new Error('echo: replies are missing');
  };
}
