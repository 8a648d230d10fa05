/**
 * The layer-4 director in numbers: 64-byte frames in, rewritten, out, through netif, ethernet, IPv4, the hook, the
 * connection table, route, neighbour and netif again. Frames come from and go to a device that costs next to nothing: it
 * copies a template and writes client address, port and header checksum. Flows are visited in an order without pattern, so
 * that with a million of them every packet finds its connection in memory, not in the cache.
 */

import * as c from '../../lb/conn-row.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4 } from '../../lb/l4.ts';
import { ServiceColumns, ServiceTable } from '../../lb/service.ts';
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host } from '../../stack/host.ts';
import { PRIMARY, VIP as VIP_FLAG } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { pageAligned } from '../../stack/mem/region.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { get16, get32, set32 } from '../../stack/wire/bytes.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { seeded } from '../lib/random.ts';
import { ip } from '../lib/sim.ts';
import { address, Generator, L3, L4_AT, OUR_MAC, SENDER_MAC, type Sink, type Source } from './generator.ts';

export const LAYER4 = [
  { name: 'FullNAT', mode: c.FNAT, proto: ipv4.PROTO_TCP },
  { name: 'FullNAT, UDP', mode: c.FNAT, proto: ipv4.PROTO_UDP },
  { name: 'direct routing', mode: c.DR, proto: ipv4.PROTO_TCP },
  { name: 'IPIP tunnel', mode: c.TUN, proto: ipv4.PROTO_TCP },
] as const;

const VIP = ip('10.0.0.10');
const GATEWAY = ip('10.0.0.254');
const LOCALS = [3, 4, 5, 6].map((i) => ip(`10.0.0.${i}`));
const SERVERS = 32;
const serverAddress = (i: number): number => ip(`10.0.0.${100 + i}`);
/** Clients are 64.0.0.0 and up; flow i has its own address. */
const CLIENTS = ip('64.0.0.0');

class World {
  readonly ctx: Context;
  readonly host: Host;
  readonly l4: L4;
  readonly device: Generator;
  now = 1_000_000;

  constructor(mode: number, max: number, proto: number = ipv4.PROTO_TCP) {
    const pool = FramePool.create({ slots: 4096, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 });
    const ctx = new Context(pool, seeded(3));
    ctx.tick(this.now);
    this.ctx = ctx;
    const of = (which: number): number => (proto === which ? max : 16);
    const limits = { tcp: of(ipv4.PROTO_TCP), udp: of(ipv4.PROTO_UDP), icmp: 16, templates: 16 };
    const neighbours = new SharedArrayBuffer(NeighTable.bytes(DEFAULT_HOST.neigh.maxNeighbours));
    const host = new Host(ctx, { onConflict: () => {} }, DEFAULT_HOST, neighbours, L4.timersFor(limits));
    this.host = host;
    this.device = new Generator(ctx, proto);
    const port = host.addPort(this.device, 0x0200, OUR_MAC);
    for (const addr of LOCALS) host.addresses.add({ addr, prefixLen: 24, port: port.id, flags: PRIMARY });
    host.addresses.add({ addr: VIP, prefixLen: 24, port: port.id, flags: VIP_FLAG });
    const route = { prefix: 0, len: 0, port: port.id, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
    host.routes.add({ ...route, gateway: GATEWAY });
    host.neigh.nud.setStatic(GATEWAY, port.id, 0x0200, SENDER_MAC);
    const dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(64)), 0, 64);
    const columns = ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(4)), 0, 4);
    const services = new ServiceTable(columns, dests, { random: ctx.random, worker: 0, workers: 1 });
    const events = { portsScarce: () => {} };
    this.l4 = new L4(host, services, dests, pageAligned(L4.bytes(limits)), events, {
      limits,
      profile: 'dpvs',
      decrementTtl: false,
      maxServices: 4,
    });
    const id = services.add({ proto, vip: VIP, port: 80, scheduler: 'rr' });
    const servers = Array.from({ length: SERVERS }, (_, i) => serverAddress(i));
    services.setDests(
      id,
      servers.map((addr) => ({ addr, port: 80, weight: 1 })),
    );
    for (const addr of servers) host.neigh.nud.setStatic(addr, port.id, 0x0200, addr & 255);
    this.l4.setService(id, {
      mode,
      localAddresses: LOCALS,
      inTurn: true,
      mss: 0,
      timeoutS: 0,
      expireQuiescent: 'off',
      persistence: null,
      onePacket: false,
      byConnectionId: false,
      fragments: 'reassemble',
    });
    // Every address is announced, twice; then the link is quiet.
    for (let i = 0; i < 10; i++) this.run(0, 1_000_000);
  }

  /** Carries `n` frames of the device's source; a turn takes `us` of simulated time. */
  run(n: number, us: number): void {
    const { device, host } = this;
    device.left = n;
    do {
      this.now += us;
      host.turn(this.now);
    } while (device.left > 0);
  }
}

/** Where the client's packets get their flow's number. */
const clientOf = (flow: number): number => (CLIENTS + flow) | 0;

/** A body that passes n packets of `flows` established connections, a power of two, from the clients on. */
export function passing(mode: number, flows: number, proto: number = ipv4.PROTO_TCP): (n: number) => void {
  const world = new World(mode, flows, proto);
  const { device, l4 } = world;
  const begin = (flags: number): Source => {
    return ({ buf, i32, off }, frames, n, first) => {
      for (let i = 0; i < n; i++) {
        const at = off[frames[i]!]!;
        address(i32, at, clientOf(first + i), VIP);
        if (proto === ipv4.PROTO_TCP) buf[at + L4_AT + 13] = flags;
      }
    };
  };
  for (const flags of [tcp.SYN, tcp.ACK]) {
    device.restart();
    device.source = begin(flags);
    world.run(flows, 10);
  }
  if (l4.open !== flows) throw new Error(`l4: ${l4.open} of ${flows} connections`);
  // A full-period generator: every flow once per round, neighbours far apart.
  let x = 1;
  const mask = flows - 1;
  device.source = ({ i32, off }, frames, n) => {
    for (let i = 0; i < n; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) & mask;
      address(i32, off[frames[i]!]!, clientOf(Math.imul(x, 0x9e3779b1) & mask), VIP);
    }
  };
  device.sink = null;
  return (n) => {
    device.restart();
    world.run(n, 5);
    if (device.sent < n) throw new Error(`l4: ${device.sent} of ${n} packets went on`);
  };
}

export interface Stall {
  readonly turns: number;
  readonly longestMs: number;
  /** What 999 of 1000 turns stay below. */
  readonly p999Ms: number;
}

/**
 * `flows` connections that are given up together, their timers due within a second: how long each turn of the loop takes
 * while they end, one turn per millisecond and as many as it takes.
 */
export function expiring(flows: number): Stall {
  const world = new World(c.FNAT, flows);
  const { device, l4 } = world;
  device.source = ({ buf, i32, off }, frames, n, first) => {
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      address(i32, at, clientOf(first + i), VIP);
      buf[at + L4_AT + 13] = tcp.SYN;
    }
  };
  device.restart();
  world.run(flows, 10);
  if (l4.open !== flows) throw new Error(`l4: ${l4.open} of ${flows} connections`);
  const ms: number[] = [];
  while (l4.open > 0) {
    const start = process.cpuUsage();
    world.run(0, 1000);
    const used = process.cpuUsage(start);
    const took = (used.user + used.system) / 1000;
    if (l4.open < flows) ms.push(took);
  }
  ms.sort((a, b) => a - b);
  return { turns: ms.length, longestMs: ms.at(-1)!, p999Ms: ms[Math.floor(ms.length * 0.999)]! };
}

const BATCH = 64;

/**
 * A body that opens and closes n FullNAT connections, nine packets each: SYN, SYN-ACK, ACK, request, answer, FIN,
 * acknowledgment, FIN, last acknowledgment. A second passes every 8192 connections, so that ended ones are forgotten
 * while others begin.
 */
export function opening(): (n: number) => void {
  const world = new World(c.FNAT, 1 << 17);
  const { device, l4 } = world;
  const local = new Int32Array(BATCH);
  const server = new Int32Array(BATCH);
  const port = new Int32Array(BATCH);
  const number = new Int32Array(BATCH);
  let next = 0;
  let flags = 0;
  let seq = 0;
  let ack = 0;
  const fromClient: Source = ({ buf, i32, off }, frames, n, first) => {
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      address(i32, at, clientOf((next + first + i) & 0xffffff), VIP);
      segment(buf, at, seq, ack);
    }
  };
  const fromServer: Source = ({ buf, i32, off }, frames, n, first) => {
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      const k = first + i;
      address(i32, at, server[k]!, local[k]!);
      set32(buf, at + L4_AT, (80 << 16) | port[k]!);
      segment(buf, at, seq, (number[k]! + ack) | 0);
    }
  };
  const segment = (buf: Uint8Array, off: number, seqNo: number, ackNo: number): void => {
    set32(buf, off + L4_AT + 4, seqNo);
    set32(buf, off + L4_AT + 8, ackNo);
    buf[off + L4_AT + 13] = flags;
  };
  /** Remembers how the director presents a client to its server. */
  const learn: Sink = (buf, off, i) => {
    local[i] = get32(buf, off + L3 + 12);
    server[i] = get32(buf, off + L3 + 16);
    port[i] = get16(buf, off + L4_AT);
    number[i] = get32(buf, off + L4_AT + 4);
  };
  const send = (source: Source, bits: number, seqNo: number, ackNo: number): void => {
    device.restart();
    device.source = source;
    flags = bits;
    seq = seqNo;
    ack = ackNo;
    world.run(BATCH, 2);
    if (device.sent !== BATCH) throw new Error(`l4: ${device.sent} of ${BATCH} packets went on`);
  };
  const { SYN, ACK, FIN, PSH } = tcp;
  return (n) => {
    const before = l4.core.stats.opened;
    for (let done = 0; done < n; done += BATCH) {
      device.sink = learn;
      send(fromClient, SYN, 1000, 0);
      device.sink = null;
      send(fromServer, SYN | ACK, 5000, 1);
      send(fromClient, ACK, 1001, 5001);
      send(fromClient, PSH | ACK, 1001, 5001);
      send(fromServer, PSH | ACK, 5001, 1);
      send(fromClient, FIN | ACK, 1001, 5001);
      send(fromServer, ACK, 5001, 2);
      send(fromServer, FIN | ACK, 5001, 2);
      send(fromClient, ACK, 1002, 5002);
      next += BATCH;
      // Seven seconds of TIME_WAIT are 57,000 connections.
      world.now += 7800;
    }
    if (l4.core.stats.opened - before < n) throw new Error('l4: connections are missing');
  };
}
