/**
 * A director of layer 4 for benchmarks in memory: one port, whose frames come from and go to a device that costs next to
 * nothing (generator.ts); one service with 32 servers. Client i has an address of its own.
 */
import { DestTable } from '../../lb/dest.ts';
import { L4 } from '../../lb/l4.ts';
import { ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host } from '../../stack/host.ts';
import { PRIMARY, VIP as VIP_FLAG } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { pageAligned } from '../../stack/mem/region.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { seeded } from '../lib/random.ts';
import { ip } from '../lib/sim.ts';
import { Generator, OUR_MAC, SENDER_MAC } from './generator.ts';

export const VIP = ip('10.0.0.10');
const GATEWAY = ip('10.0.0.254');
const LOCALS = [3, 4, 5, 6].map((i) => ip(`10.0.0.${i}`));
const SERVERS = 32;
const serverAddress = (i: number): number => ip(`10.0.0.${100 + i}`);
/** Clients are 64.0.0.0 and up; flow i has its own address. */
const CLIENTS = ip('64.0.0.0');

export class World {
  readonly ctx: Context;
  readonly host: Host;
  readonly l4: L4;
  readonly device: Generator;
  now = 1_000_000;

  /** `cuts`: its port takes GSO frames. */
  constructor(mode: number, max: number, proto: number = ipv4.PROTO_TCP, cuts = false) {
    const pool = FramePool.create({ slots: 4096, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 });
    const ctx = new Context(pool, seeded(3));
    ctx.tick(this.now);
    this.ctx = ctx;
    const of = (which: number): number => (proto === which ? max : 16);
    const limits = { tcp: of(ipv4.PROTO_TCP), udp: of(ipv4.PROTO_UDP), icmp: 16, templates: 16 };
    const neighbours = new SharedArrayBuffer(NeighTable.bytes(DEFAULT_HOST.neigh.maxNeighbours));
    const host = new Host(ctx, { onConflict: () => {} }, DEFAULT_HOST, neighbours, L4.timersFor(limits));
    this.host = host;
    this.device = new Generator(ctx, proto, cuts);
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
    this.l4.setService(id, layer4Service(mode, { localAddresses: LOCALS }));
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
export const clientOf = (flow: number): number => (CLIENTS + flow) | 0;
