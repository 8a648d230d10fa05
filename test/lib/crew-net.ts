/**
 * A simulated network with several workers behind one VIP, in one thread under one fake clock: a client, servers, and tsvs' data plane
 * once per worker, joined by lanes. Each worker has a queue of the one port; a fork in front of them says which gets a frame, by default
 * the wrong one always. Addresses as in balancer.ts.
 */
import { DestTable } from '../../lb/dest.ts';
import { L4 } from '../../lb/l4.ts';
import { SessionTable } from '../../lb/l7/session.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import type { Config } from '../../src/config/model.ts';
import { buildPipeline, type Pipeline } from '../../src/workers/pipeline.ts';
import { MAX_DESTS, MAX_SERVICES } from '../../src/workers/plan.ts';
import { Context, type FATE_HANDED, type FATE_TAKEN } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { Switch } from '../../stack/netif/switch.ts';
import { Handover } from '../../stack/steer/handover.ts';
import { LaneIn, LaneOut, laneMemory } from '../../stack/steer/lane.ts';
import { EVERYBODY, Steering } from '../../stack/steer/steering.ts';
import type { FrameId } from '../../stack/types.ts';
import { type BalancerOptions, CLIENT, configuration, server } from './balancer.ts';
import { seeded } from './random.ts';
import { makeHost, type SimHost, SMALL_HOST, Stepped } from './sim.ts';

const L4_LIMITS = { tcp: 256, udp: 256, icmp: 16, templates: 64 };
const SLOTS = { slots: 8192, slotBytes: 2048, bigSlots: 128, bigSlotBytes: 69632 };

/** Which queue a frame goes to: its owner is `owner`, -1 = everybody's. */
export type Fork = (owner: number, workers: number) => number;

export const WRONG: Fork = (owner, workers) => (owner === EVERYBODY ? workers - 1 : (owner + 1) % workers);
/** As a link with one queue. */
export const FIRST: Fork = () => 0;

/** The switch's end of several wires: one port, as many queues. */
class ForkedPort implements Device {
  readonly name = 'fork';
  readonly caps: Capabilities;
  readonly stats: DeviceStats;
  readonly fd = -1;
  readonly up = true;
  private readonly ctx: Context;
  private readonly queues: readonly Device[];
  private readonly fork: Fork;
  private readonly teller: Steering;

  constructor(ctx: Context, queues: readonly Device[], fork: Fork) {
    this.ctx = ctx;
    this.queues = queues;
    this.caps = queues[0]!.caps;
    this.stats = queues[0]!.stats;
    this.fork = fork;
    this.teller = new Steering(0, queues.length);
  }

  rx(out: Int32Array, max: number): number {
    let n = 0;
    const one = new Int32Array(max);
    for (const queue of this.queues) {
      const got = queue.rx(one, max - n);
      out.set(one.subarray(0, got), n);
      n += got;
    }
    return n;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      const owner = this.teller.owner(this.ctx.pool, frames[i] as FrameId);
      if (this.queues[this.fork(owner, this.queues.length)]!.tx(frames, i, i + 1) === 0) return i - from;
    }
    return to - from;
  }

  close(): void {}
}

export interface CrewOptions extends Omit<BalancerOptions, 'wrap'> {
  readonly workers?: number;
  readonly fork?: Fork;
  readonly wire?: WireOptions;
  /** Workers but the first have no queue of their own. */
  readonly remote?: boolean;
}

export interface CrewMember {
  readonly ctx: Context;
  readonly pipeline: Pipeline;
  readonly handover: Handover;
}

export class CrewNetwork extends Stepped {
  readonly client: SimHost;
  readonly servers: SimHost[] = [];
  readonly workers: CrewMember[] = [];
  readonly config: Config;
  private readonly switch: Switch;

  constructor(options: CrewOptions = {}) {
    super();
    const { seed = 1, wire = PLAIN_WIRE, servers = 2, workers = 2, fork = WRONG, remote = false } = options;
    const fabric = new Context(FramePool.create(SLOTS), seeded(seed + 100));
    this.switch = new Switch(fabric);
    const host = (n: number, addr: number): SimHost => {
      const h = makeHost(seed + n);
      h.ctx.tick(this.now);
      const [mine, theirs] = memoryWire(h.ctx, fabric, wire);
      this.switch.addPort(theirs);
      const port = h.host.addPort(mine, 0x0200, n);
      h.host.addresses.add({ addr, prefixLen: 24, port: port.id, flags: 1 });
      return h;
    };
    this.client = host(1, CLIENT);
    for (let i = 0; i < servers; i++) this.servers.push(host(2 + i, server(i)));
    this.config = options.config ?? configuration(servers, options);

    const contexts = Array.from(
      { length: workers },
      (_, w) => new Context(FramePool.create(SLOTS), seeded(seed + 50 + w)),
    );
    for (const ctx of contexts) ctx.tick(this.now);
    const lanes = contexts.map((_, from) => contexts.map((__, to) => (from === to ? null : laneMemory())));
    const queues: Device[] = [];
    contexts.forEach((ctx, w) => {
      const out = contexts.map((to, i) => {
        const lane = lanes[w]![i]!;
        return lane === null ? null : new LaneOut(lane, FramePool.attach(to.pool.share, false));
      });
      const into = contexts.map((_, i) => {
        const lane = lanes[i]![w]!;
        return lane === null ? null : new LaneIn(lane, ctx.pool, workers - 1);
      });
      const handover = new Handover(ctx, new Steering(w, workers), out, into, () => {});
      let device: Device;
      if (remote && w > 0) device = handover.remote('memory:lan', 0, { up: true, mtu: wire.mtu });
      else {
        const [mine, theirs] = memoryWire(ctx, fabric, wire);
        queues.push(theirs);
        device = handover.around(mine);
      }
      const pipeline = buildPipeline(
        ctx,
        this.config,
        [{ device, mac: '02:00:00:00:00:0a' }],
        {
          neighbours: new SharedArrayBuffer(NeighTable.bytes(SMALL_HOST.neigh.maxNeighbours)),
          services: new SharedArrayBuffer(ServiceColumns.bytes(MAX_SERVICES)),
          dests: new SharedArrayBuffer(DestTable.bytes(MAX_DESTS)),
          sessions: SessionTable.memory(512),
          connections: new SharedArrayBuffer(L4.bytes(L4_LIMITS)),
        },
        {
          onConflict: () => {},
          connectFailed: () => {},
          noServer: () => {},
          portsScarce: () => {},
          healthChanged: () => {},
        },
        SMALL_HOST,
        L4_LIMITS,
        { worker: w, workers, handover },
      );
      this.workers.push({ ctx, pipeline, handover });
    });
    this.switch.addPort(new ForkedPort(fabric, queues, fork));
  }

  protected override turn(): number {
    let n = this.client.host.turn(this.now);
    for (const { pipeline, handover } of this.workers) {
      n += pipeline.host.turn(this.now) + handover.moved;
      handover.moved = 0;
    }
    for (const s of this.servers) n += s.host.turn(this.now);
    return n + this.switch.forward();
  }

  /** Sum over the workers. */
  fate(index: typeof FATE_HANDED | typeof FATE_TAKEN): number {
    return this.workers.reduce((n, { ctx }) => n + ctx.fate[index]!, 0);
  }
}
