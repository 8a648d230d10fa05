/**
 * A network in one process: hosts with our stack, each on a memory wire to one switch, under one simulated clock. Time
 * stands still while a host works; each wire takes HOP_US; with nothing under way it jumps to the next timer. The demo and
 * the warming of workers (src/warmup) run on it.
 */
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host, type HostConfig } from '../../stack/host.ts';
import { PRIMARY } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { Switch } from '../../stack/netif/switch.ts';
import type { Ipv4, Micros } from '../../stack/types.ts';
import { SeededRandom } from '../workers/seeded.ts';

/** From one host through the switch to another, in microseconds. */
export const HOP_US = 50;
/** The longest jump of the clock, in milliseconds. */
const MAX_JUMP_MS = 1000;
const POOL = { slots: 4096, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 };

/** Room for what a small network does: small tables start faster. */
export const SMALL_HOST: HostConfig = {
  ...DEFAULT_HOST,
  tcp: { ...DEFAULT_HOST.tcp, maxConnections: 1024, maxTimeWait: 32768, maxSegments: 4096 },
  neigh: { ...DEFAULT_HOST.neigh, maxNeighbours: 64 },
  reassembly: { ...DEFAULT_HOST.reassembly, datagrams: 64 },
};

export class Network {
  /** Microseconds of simulated time. */
  now: Micros;
  private readonly seed: number;
  private readonly wire: WireOptions;
  private readonly fabric: Switch;
  private readonly fabricCtx: Context;
  private readonly hosts: Host[] = [];
  private made = 0;

  /** All wires are of one kind. `now` is when it begins, in microseconds. */
  constructor(seed: number, wire: WireOptions = { ...PLAIN_WIRE, scatter: true }, now: Micros = 1_000_000) {
    this.seed = seed;
    this.now = now;
    this.wire = wire;
    this.fabricCtx = this.newContext();
    this.fabric = new Switch(this.fabricCtx);
  }

  /** A context whose randomness follows from the network's seed and the number of contexts made before. */
  newContext(): Context {
    const ctx = new Context(FramePool.create(POOL), new SeededRandom(this.seed * 256 + this.made++));
    ctx.tick(this.now);
    return ctx;
  }

  /** A wire from a host to the switch; returns the host's end. */
  plug(ctx: Context, name: string): Device {
    const [near, far] = memoryWire(ctx, this.fabricCtx, { ...this.wire, names: [name, `switch-${name}`] });
    this.fabric.addPort(far);
    return near;
  }

  /** A plain host with one address; its MAC address is made of it. */
  addHost(name: string, addr: Ipv4, prefixLen: number): Host {
    const ctx = this.newContext();
    const host = new Host(ctx, { onConflict() {} }, SMALL_HOST);
    const port = host.addPort(this.plug(ctx, name), 0x0200, addr);
    host.addresses.add({ addr, prefixLen, port: port.id, flags: PRIMARY });
    this.add(host);
    return host;
  }

  /** Lets a host that was made elsewhere take part; its device comes from `plug`. */
  add(host: Host): void {
    this.hosts.push(host);
  }

  /** Runs until `done`, at most `ms` of simulated time; says whether it was done. */
  run(ms: number, done: () => boolean): boolean {
    const end = this.now + ms * 1000;
    // What a host sends is seen by the switch in the next round: only two quiet rounds in a row mean silence.
    for (let quiet = 0; this.now < end && !done(); ) {
      this.fabricCtx.tick(this.now);
      let moved = this.fabric.forward();
      for (const host of this.hosts) moved += host.turn(this.now);
      quiet = moved === 0 ? quiet + 1 : 0;
      if (quiet < 2) this.now += HOP_US;
      else this.now = (Math.floor(this.now / 1000) + this.nextDue()) * 1000;
    }
    // Whoever acts on a host now finds its clock right, not at the host's last turn.
    for (const host of this.hosts) host.ctx.tick(this.now);
    return done();
  }

  /** Milliseconds until the next timer of any host, at least 1. */
  private nextDue(): number {
    return Math.max(Math.min(...this.hosts.map((host) => host.nextDue(MAX_JUMP_MS))), 1);
  }
}
