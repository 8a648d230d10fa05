/**
 * A simulated network for tests: hosts with a stack each, joined by memory wires, under one fake clock. Time jumps from
 * event to event, so minutes of protocol time take milliseconds.
 */
import {
  Context,
  FATE_CREATED,
  FATE_DELIVERED,
  FATE_DROPPED,
  FATE_HANDED,
  FATE_RECEIVED,
  FATE_SENT,
} from '../../stack/context.ts';
import { DEFAULT_HOST, Host, type HostConfig } from '../../stack/host.ts';
import { FramePool, type PoolConfig } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { seeded } from './random.ts';

export const SMALL_HOST: HostConfig = {
  ...DEFAULT_HOST,
  tcp: { ...DEFAULT_HOST.tcp, maxConnections: 2048, maxTimeWait: 1024, maxSegments: 16384 },
  neigh: { ...DEFAULT_HOST.neigh, maxNeighbours: 64 },
  reassembly: { ...DEFAULT_HOST.reassembly, datagrams: 64 },
};

export const ip = (text: string): Ipv4 => text.split('.').reduce((a, b) => (a << 8) | Number(b), 0);

export interface SimHost {
  readonly host: Host;
  readonly ctx: Context;
}

export const SMALL_POOL: PoolConfig = { slots: 8192, slotBytes: 2048, bigSlots: 64, bigSlotBytes: 69632 };

export function makeHost(seed: number, config: HostConfig = SMALL_HOST, slots: PoolConfig = SMALL_POOL): SimHost {
  const pool = FramePool.create(slots);
  const ctx = new Context(pool, seeded(seed));
  return { ctx, host: new Host(ctx, { onConflict: () => {} }, config) };
}

/** Two hosts on one wire, 10.0.0.1 and 10.0.0.2; `wrap` may put middleware around each end. */
export function pair(
  seed: number,
  options: WireOptions = PLAIN_WIRE,
  wrap: (device: Device, ctx: Context, side: number) => Device = (d) => d,
  config: HostConfig = SMALL_HOST,
  slots: PoolConfig = SMALL_POOL,
): [SimHost, SimHost] {
  const a = makeHost(seed, config, slots);
  const b = makeHost(seed + 1, config, slots);
  const [da, db] = memoryWire(a.ctx, b.ctx, options);
  const pa = a.host.addPort(wrap(da, a.ctx, 0), 0x0200, 1);
  const pb = b.host.addPort(wrap(db, b.ctx, 1), 0x0200, 2);
  a.host.addresses.add({ addr: ip('10.0.0.1'), prefixLen: 24, port: pa.id, flags: 1 });
  b.host.addresses.add({ addr: ip('10.0.0.2'), prefixLen: 24, port: pb.id, flags: 1 });
  return [a, b];
}

/** The fake clock and what it drives: everything has its turns until nothing moves any more, then a step of time passes. */
export abstract class Stepped {
  /** Microseconds. Starts late enough to be unlike zero. */
  now = 1_000_000;
  /** Step while nothing is due, in microseconds: the granularity of delays on the wire. */
  readonly stepUs: number;

  constructor(stepUs = 1000) {
    this.stepUs = stepUs;
  }

  /** A turn of everything; gives how much has moved. */
  protected abstract turn(): number;

  /** Until nothing moves, or for so many turns. */
  step(most = 10_000): void {
    for (let quiet = 0, rounds = 0; quiet < 2 && rounds < most; rounds++) {
      quiet = this.turn() === 0 ? quiet + 1 : 0;
      this.now += 5; // propagation
    }
    this.now += this.stepUs;
  }

  /** Runs until `done` or until `ms` of simulated time have passed; false on time-out. */
  run(ms: number, done: () => boolean = () => false): boolean {
    const end = this.now + ms * 1000;
    while (this.now < end) {
      this.step();
      if (done()) return true;
    }
    return done();
  }
}

export class Sim extends Stepped {
  private readonly hosts: readonly SimHost[];

  constructor(hosts: readonly SimHost[], stepUs?: number) {
    super(stepUs);
    this.hosts = hosts;
    for (const h of hosts) h.ctx.tick(this.now);
  }

  protected override turn(): number {
    let n = 0;
    for (const { host } of this.hosts) n += host.turn(this.now);
    return n;
  }
}

/** received + created - sent - delivered - dropped - handed over: what the pool should have in use. */
export function outstanding(ctx: Context): number {
  const { fate } = ctx;
  const gone = fate[FATE_SENT] + fate[FATE_DELIVERED] + fate[FATE_DROPPED] + fate[FATE_HANDED];
  return fate[FATE_RECEIVED] + fate[FATE_CREATED] - gone;
}
