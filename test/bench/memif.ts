/**
 * memif with DPDK at its other end: testpmd's flow generator fills the rings on one core, a host of ours works on another.
 * 64-byte frames (60 and the frame check sequence, which no ring carries) are forwarded between two memif ports, or taken by a service
 * of layer 4 that matches the generator's 1 k or 1 M destinations, and go back to testpmd, which throws them away. A figure is
 * what testpmd was given back; what it offered and we did not come to is not taken from the ring at all.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import * as c from '../../lb/conn-row.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4 } from '../../lb/l4.ts';
import { PROTO_MATCH, ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { MemifClient } from '../../src/links/memif-client.ts';
import { openMemif, sharePool } from '../../src/links/memif-open.ts';
import { realClock } from '../../src/workers/clock.ts';
import { Context, FATE_RECEIVED } from '../../stack/context.ts';
import { TX_FULL } from '../../stack/drop.ts';
import { DEFAULT_HOST, Host } from '../../stack/host.ts';
import { PRIMARY } from '../../stack/inetaddr/addr.ts';
import { DEFAULT_POOL, FramePool } from '../../stack/mem/frame-pool.ts';
import { pageAligned } from '../../stack/mem/region.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import { BURST } from '../../stack/netif/device.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { DROP } from '../../stack/verdict.ts';
import { PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { noCommands } from '../lib/privilege.ts';
import { seeded } from '../lib/random.ts';
import { ip } from '../lib/sim.ts';
import { Distance } from './distance.ts';
import type { MemoryRow } from './memory.ts';
import { rowsOf } from './own-process.ts';
import { startTestpmd } from './testpmd.ts';

/** What the generator sends (DPDK 22.11, app/test-pmd/flowgen.c): from one address to as many as there are flows, UDP 1000 to 1001. */
const GENERATOR_MAC = [0x0001, 0x02030400] as const;
const OUR_MAC = [0x0001, 0x02030401] as const;
const FIRST = ip('10.253.0.0');
/** A million destinations end here. */
const LAST = ip('11.12.255.255');

const OURS = ip('192.168.9.2');
const GATEWAY = ip('192.168.9.1');
/** On the first of two ports. */
const OTHER_OURS = ip('192.168.8.2');
const OTHER_GATEWAY = ip('192.168.8.1');
const LOCALS = [3, 4, 5, 6].map((i) => ip(`192.168.9.${i}`));
/** Every other server is behind the first of two ports. */
const serverAddress = (i: number, ports: number): number =>
  ip(`192.168.${ports === 2 && i % 2 === 1 ? 8 : 9}.${100 + i}`);

interface Task {
  readonly what: string;
  /** Mode of the service; or between two ports: IPv4 forwarding, or nothing at all but the link's own work. */
  readonly mode: number | 'forward' | 'link';
  readonly flows: number;
  /** Of two ports, half of what there is to reach is behind each. */
  readonly ports: 1 | 2;
}

const TASKS: readonly Task[] = [
  { what: 'from link to link, nothing between', mode: 'link', flows: 1 << 10, ports: 2 },
  { what: 'IPv4 forwarding between two ports', mode: 'forward', flows: 1 << 10, ports: 2 },
  { what: 'direct routing between two ports, UDP', mode: c.DR, flows: 1 << 10, ports: 2 },
  { what: 'direct routing, UDP, 1 k flows', mode: c.DR, flows: 1 << 10, ports: 1 },
  { what: 'direct routing, UDP, 1 M flows', mode: c.DR, flows: 1 << 20, ports: 1 },
  { what: 'IPIP tunnel, UDP, 1 k flows', mode: c.TUN, flows: 1 << 10, ports: 1 },
  { what: 'IPIP tunnel, UDP, 1 M flows', mode: c.TUN, flows: 1 << 20, ports: 1 },
  { what: 'FullNAT, UDP, 1 k flows', mode: c.FNAT, flows: 1 << 10, ports: 1 },
  { what: 'FullNAT, UDP, 1 M flows', mode: c.FNAT, flows: 1 << 20, ports: 1 },
];

/** Why there is nothing to measure, or nothing. */
export const noMemif = (): string | undefined => noCommands('dpdk-testpmd', 'taskset');

/** The host under test: memif ports, and a service unless it only forwards. */
class World {
  readonly host: Host;
  readonly devices: readonly MemifClient[];
  readonly l4: L4 | null;
  /** Of the last run: the share in which there was nothing to do, and frames received in a turn in which there was. */
  idle = 0;
  atOnce = 0;
  private readonly bare: boolean;
  private readonly frames = new Int32Array(BURST);

  constructor(task: Task, paths: readonly string[]) {
    const ctx = new Context(FramePool.create(DEFAULT_POOL), seeded(3));
    ctx.tick(realClock.nowUs());
    const pool = sharePool(ctx.pool);
    const flows = Math.max(task.flows, 16);
    const limits = { tcp: 16, udp: flows, icmp: 16, templates: 16 };
    const neighbours = new SharedArrayBuffer(NeighTable.bytes(DEFAULT_HOST.neigh.maxNeighbours));
    const host = new Host(ctx, { onConflict: () => {} }, DEFAULT_HOST, neighbours, L4.timersFor(limits));
    this.host = host;
    const options = { role: 'client', id: 0, secret: '', queues: 1, log2: 10, mtu: 1500 } as const;
    this.devices = paths.map((path) => new MemifClient(ctx, openMemif({ ...options, path }, [pool])[0]!));
    const ports = this.devices.map((device) => host.addPort(device, ...OUR_MAC));
    const out = ports.at(-1)!.id;
    host.addresses.add({ addr: OURS, prefixLen: 24, port: out, flags: PRIMARY });
    const servers = Array.from({ length: 32 }, (_, i) => serverAddress(i, task.ports));
    const second = task.ports === 2;
    if (second) host.addresses.add({ addr: OTHER_OURS, prefixLen: 24, port: ports[0]!.id, flags: PRIMARY });
    if (second) host.neigh.nud.setStatic(OTHER_GATEWAY, ports[0]!.id, ...GENERATOR_MAC);
    host.neigh.nud.setStatic(GATEWAY, out, ...GENERATOR_MAC);
    servers.forEach((addr, i) => {
      host.neigh.nud.setStatic(addr, second && i % 2 === 1 ? ports[0]!.id : out, ...GENERATOR_MAC);
    });
    this.bare = task.mode === 'link';
    if (typeof task.mode === 'string') {
      host.enableForwarding();
      this.l4 = null;
      return;
    }
    for (const addr of LOCALS) host.addresses.add({ addr, prefixLen: 24, port: out, flags: 0 });
    const dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(64)), 0, 64);
    const columns = ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(4)), 0, 4);
    const services = new ServiceTable(columns, dests, { random: ctx.random, worker: 0, workers: 1 });
    this.l4 = new L4(
      host,
      services,
      dests,
      pageAligned(L4.bytes(limits)),
      { portsScarce: () => {} },
      {
        limits,
        profile: 'dpvs',
        decrementTtl: false,
        maxServices: 4,
      },
    );
    const id = services.add({ proto: PROTO_MATCH, vip: 1, port: 0, scheduler: 'rr' });
    services.setDests(
      id,
      servers.map((addr) => ({ addr, port: task.mode === c.FNAT ? 80 : 0, weight: 1 })),
    );
    this.l4.setService(id, layer4Service(task.mode, { localAddresses: LOCALS }));
    const to = { low: FIRST, high: LAST, lowPort: 0, highPort: 65535 };
    this.l4.core.classifier.setMatches([[id, { proto: PROTO_UDP, from: null, to, iif: 0, oif: 0 }]]);
  }

  /** Routes, when the links are up. Of two ports, half of the destinations are behind each. */
  route(): void {
    const { host, devices } = this;
    const route = { metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
    host.routes.add({ ...route, port: devices.length, prefix: 0, len: 0, gateway: GATEWAY });
    for (let i = 0; i < 4 && devices.length > 1; i += 2) {
      host.routes.add({ ...route, port: 1, prefix: FIRST + (i << 8), len: 24, gateway: OTHER_GATEWAY });
    }
    host.routes.refresh();
  }

  /** Works for `ms`; gives frames sent. */
  run(ms: number): number {
    const { host, devices, bare } = this;
    const sent = (): number => devices.reduce((sum, { stats }) => sum + stats.txFrames, 0);
    const before = sent();
    const end = realClock.nowUs() + ms * 1000;
    let idle = 0;
    let turns = 0;
    let received = 0;
    for (let now = realClock.nowUs(); now < end; ) {
      const n = bare ? this.relay(now) : host.turn(now);
      const next = realClock.nowUs();
      if (n === 0) idle += next - now;
      else turns += 1;
      received += n;
      now = next;
    }
    this.idle = idle / (ms * 1000);
    this.atOnce = received / Math.max(turns, 1);
    return sent() - before;
  }

  /** What arrives at one device leaves by the other. */
  private relay(now: number): number {
    const { frames, devices, host } = this;
    const { ctx } = host;
    let received = 0;
    ctx.tick(now);
    for (let i = 0; i < devices.length; i++) {
      const n = devices[i]!.rx(frames, BURST);
      received += n;
      ctx.fate[FATE_RECEIVED]! += n;
      const k = devices[devices.length - 1 - i]!.tx(frames, 0, n);
      for (let j = k; j < n; j++) ctx.settle(frames[j]!, DROP | TX_FULL);
    }
    return received;
  }

  /** Works until `done`; throws when `ms` pass. */
  until(what: string, ms: number, done: () => boolean): void {
    const end = realClock.nowUs() + ms * 1000;
    while (!done()) {
      this.run(1);
      if (realClock.nowUs() > end) throw new Error(`memif: waited ${ms} ms in vain for ${what}`);
    }
  }
}

/** Cores this process may use: the generator's, and ours, which we confine ourselves to. */
function cores(): readonly [generator: string, ours: string] {
  const list = spawnSync('taskset', ['-cp', String(process.pid)], { encoding: 'utf8' })
    .stdout.replace(/.*: /, '')
    .trim();
  const all = list.split(',').flatMap((range) => {
    const [low, high = low] = range.split('-').map(Number);
    return Array.from({ length: high! - low! + 1 }, (_, i) => low! + i);
  });
  return [String(all.at(-1)), String(all[0])];
}

/** Shorter runs give no figures, and nobody asks how far the processors are from each other. */
const WORTH_MS = 200;

interface Run {
  readonly mpps: number;
  readonly idle: number;
  readonly atOnce: number;
  /** Between the processors before and after it, nanoseconds. */
  readonly distances: readonly [number, number];
}

async function measure(task: Task, ms: number, runs: number, generator: string, ours: string): Promise<Run[]> {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-memif-'));
  const paths = (task.ports === 2 ? ['a', 'b'] : ['a']).map((name) => join(folder, name));
  const distance = ms < WORTH_MS ? null : await Distance.between(Number(generator), Number(ours));
  const testpmd = startTestpmd(paths, task.flows, generator, ours);
  try {
    const world = new World(task, paths);
    const { devices, l4 } = world;
    world.until('testpmd', 10_000, () => devices.every(({ up }) => up));
    world.route();
    if (l4 !== null) world.until(`${task.flows} connections`, 60_000, () => l4.open >= task.flows);
    world.run(ms);
    const measured = async (): Promise<number> => {
      if (distance === null) return 0;
      testpmd.pause();
      const ns = await distance.measure();
      testpmd.resume();
      return ns;
    };
    const results: Run[] = [];
    let before = await measured();
    for (let i = 0; i < runs; i++) {
      world.run(ms / 10);
      const from = performance.now();
      const sent = world.run(ms);
      const mpps = sent / (performance.now() - from) / 1000;
      const after = await measured();
      results.push({ mpps, idle: world.idle, atOnce: world.atOnce, distances: [before, after] });
      before = after;
    }
    if (world.devices.some(({ up }) => !up)) throw new Error('memif: testpmd went away');
    world.host.netif.close();
    return results.sort((a, b) => a.mpps - b.mpps);
  } finally {
    await testpmd.end();
    await distance?.end();
    rmSync(folder, { recursive: true });
  }
}

/**
 * The rows of the tasks named by `only`, the median of `runs` runs each; where there was often nothing to do, or little in a turn,
 * the generator was the slower side. How far the two processors are from each other is told before and after each run. `scale` below
 * 1 makes runs short and flows few: no figures then. Each task has a process of its own.
 */
export function memifRows(scale: number, runs: number, only: RegExp): Promise<MemoryRow[]> {
  const subjects = TASKS.map((task) => ({ name: task.what, rows: () => row(task, scale, runs) }));
  return rowsOf('memif', subjects, scale, only);
}

/** The medians of runs by how far the processors were from each other, where that has changed. */
function byDistance(results: readonly Run[]): string {
  const nearest = Math.min(...results.flatMap(({ distances }) => distances));
  const isNear = (ns: number): boolean => ns < 2 * nearest;
  const groups = [
    results.filter(({ distances }) => distances.every(isNear)),
    results.filter(({ distances }) => !distances.some(isNear)),
  ];
  const told = groups
    .filter(({ length }) => length > 0)
    .map((runs) => {
      const ns = runs.flatMap(({ distances }) => distances).map(Math.round);
      const median = runs[runs.length >> 1]!.mpps.toPrecision(4);
      return `${median} in ${runs.length} with a cache line there and back in ${Math.min(...ns)} to ${Math.max(...ns)} ns`;
    });
  return told.join(', ');
}

async function row(task: Task, scale: number, runs: number): Promise<MemoryRow[]> {
  const [generator, ours] = cores();
  spawnSync('taskset', ['-acp', ours, String(process.pid)]);
  let note = '';
  try {
    setPriority(process.pid, constants.priority.PRIORITY_HIGHEST);
  } catch {
    note = 'at usual priority; ';
  }
  const flows = scale < 0.2 ? 1 << 10 : task.flows;
  const results = await measure({ ...task, flows }, 1000 * scale, runs, generator, ours);
  const of = (at: number): number => Number(results[at]!.mpps.toPrecision(4));
  const { idle, atOnce } = results[runs >> 1]!;
  note += `${of(0)} to ${of(runs - 1)} in ${runs} runs; ${Math.round(idle * 100)} % of the time nothing to do, `;
  note += `${Math.round(atOnce)} frames a turn`;
  if (results.every(({ distances }) => distances[0] > 0)) note += `; ${byDistance(results)}`;
  return [{ group: 'memif', what: `memif, ${task.what}`, value: of(runs >> 1), unit: 'Mpps', note }];
}
