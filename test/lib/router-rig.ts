/**
 * A host that forwards between three ports, fed frame by frame, a burst in a turn; every frame it sends is kept, as text. One that is
 * `watched` has somebody at FORWARD who lets everything pass.
 *
 * Ports 1, 2 and 3 have 10.0.0.254/24, 10.0.1.254/24 (MTU 600) and 10.0.2.254/24; their MAC addresses end in 1, 2 and 3.
 */
import { Context } from '../../stack/context.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { FORWARD } from '../../stack/hook.ts';
import { Host } from '../../stack/host.ts';
import { PRIMARY } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { type Device, newStats } from '../../stack/netif/device.ts';
import { type Route4, SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PASS } from '../../stack/verdict.ts';
import { seeded } from './random.ts';
import { ip, SMALL_HOST } from './sim.ts';

/** A frame as the link brings it. */
export interface Fed {
  readonly bytes: Uint8Array;
  readonly flags?: number;
  readonly gsoSize?: number;
  /** Bytes between its first one and where a link puts that. */
  readonly shift?: number;
}

const CONFIG = { ...SMALL_HOST, neigh: { ...SMALL_HOST.neigh, maxNeighbours: 512 } };

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

class FedDevice implements Device {
  readonly name = 'fed';
  readonly caps;
  readonly stats = newStats();
  readonly fd = -1;
  up = true;
  waiting: Fed[] = [];
  sent: string[] = [];
  private readonly ctx: Context;

  constructor(ctx: Context, mtu: number) {
    this.ctx = ctx;
    this.caps = { mtu, txChecksum: true, rxChecksum: true, tso: true, scatter: true, queues: 1 };
  }

  rx(out: Int32Array, max: number): number {
    const { pool } = this.ctx;
    const fed = this.waiting.splice(0, max);
    for (const [i, { bytes, flags = 0, gsoSize = 0, shift = 0 }] of fed.entries()) {
      const f = pool.alloc();
      pool.off[f]! += shift;
      pool.len[f] = bytes.length;
      pool.flags[f] = flags;
      pool.gsoSize[f] = gsoSize;
      pool.buf.set(bytes, pool.off[f]!);
      out[i] = f;
    }
    return fed.length;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    const { pool } = this.ctx;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const [at, slice] = [pool.off[f]!, pool.fragOff[f]!];
      const linear = hex(pool.buf.slice(at, at + pool.len[f]!));
      const rest = hex(pool.buf.slice(slice, slice + pool.fragLen[f]!));
      this.sent.push(`${linear}${rest} ${pool.flags[f]} ${pool.gsoSize[f]}`);
      this.ctx.sent(f);
    }
    return to - from;
  }

  close(): void {}
}

export class RouterRig {
  readonly ctx = new Context(
    FramePool.create({ slots: 1024, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 }),
    seeded(5),
  );
  readonly host = new Host(this.ctx, { onConflict: () => {} }, CONFIG);
  readonly devices: readonly FedDevice[];
  private now = 1_000_000;

  constructor(watched: boolean) {
    const { ctx, host } = this;
    ctx.tick(this.now);
    this.devices = [1500, 600, 1500].map((mtu, i) => {
      const device = new FedDevice(ctx, mtu);
      const port = host.addPort(device, 0x0200, i + 1);
      host.addresses.add({ addr: ip(`10.0.${i}.254`), prefixLen: 24, port: port.id, flags: PRIMARY });
      return device;
    });
    host.enableForwarding();
    if (watched) host.hooks.register(FORWARD, 0, { packet: () => PASS });
    // Addresses are announced, twice; then the links are quiet.
    for (let i = 0; i < 10; i++) this.turn(1_000_000);
  }

  route(network: string, len: number, gateway: string, port: number, mtu = 0): Route4 {
    const way = { prefix: ip(network), len, gateway: ip(gateway), port, metric: 0, src: 0, mtu, scope: SCOPE_GLOBAL };
    this.host.routes.add(way);
    return way;
  }

  /** A turn of the loop, `us` after the last one: what each port has sent in it, in an order of its own. */
  turn(us: number): readonly (readonly string[])[] {
    this.now += us;
    this.host.turn(this.now);
    return this.devices.map((device) => device.sent.splice(0).sort());
  }

  feed(port: number, frames: readonly Fed[], us = 100): readonly (readonly string[])[] {
    this.devices[port - 1]!.waiting = [...frames];
    return this.turn(us);
  }

  /** What has been counted: fates, drops by reason, frames held. */
  get counts(): Record<string, unknown> {
    const drops = DROP_REASONS.flatMap(({ name }, i) => (this.ctx.drops[i] === 0 ? [] : [[name, this.ctx.drops[i]]]));
    return { fate: [...this.ctx.fate], drops: Object.fromEntries(drops), held: this.host.held() };
  }
}
