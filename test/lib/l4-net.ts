/**
 * A simulated network with a layer-4 director: client, director, servers, each a whole host on a wire of its own to one
 * switch, under one fake clock. Addresses: client 10.0.0.1, director 10.0.0.2, local addresses 10.0.0.3 and 10.0.0.4, VIP
 * 10.0.0.10, servers 10.0.0.21 upwards. What a mode demands of the servers is set up: a route back through the director
 * (NAT), the VIP on a port that announces nothing (DR, TUN), the tunnel's end (TUN).
 */
import * as c from '../../lb/conn-row.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4, type L4Options, type L4Service } from '../../lb/l4.ts';
import { ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { Context } from '../../stack/context.ts';
import { Host, type HostConfig } from '../../stack/host.ts';
import { PRIMARY, VIP as VIP_FLAG } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { Switch } from '../../stack/netif/switch.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { layer4Service } from './l4-service.ts';
import { NullDevice } from './null-device.ts';
import { seeded } from './random.ts';
import { ip, makeHost, type SimHost, SMALL_HOST, SMALL_POOL, Stepped } from './sim.ts';

export const CLIENT = ip('10.0.0.1');
export const DIRECTOR = ip('10.0.0.2');
export const LOCALS = [ip('10.0.0.3'), ip('10.0.0.4')];
export const VIP = ip('10.0.0.10');
export const serverAddress = (i: number): number => ip(`10.0.0.${21 + i}`);
export const PORT = 80;
/** UDP. */
export const UDP_PORT = 53;
/** FullNAT and NAT translate ports, too. */
const SERVER_PORT = 8080;

export const MODES = { FNAT: c.FNAT, NAT: c.NAT, DR: c.DR, TUN: c.TUN } as const;
export type ModeName = keyof typeof MODES;
export const MODE_NAMES = Object.keys(MODES) as ModeName[];

export interface L4NetOptions {
  readonly mode: ModeName;
  readonly servers?: number;
  readonly seed?: number;
  readonly wire?: WireOptions;
  /** Middleware around the director's end of its wire. */
  readonly wrap?: (device: Device, ctx: Context) => Device;
  readonly service?: Partial<L4Service>;
  readonly options?: Partial<L4Options>;
  readonly host?: HostConfig;
  readonly scheduler?: string;
  /** MTU of the servers' ports, below that of the wire. */
  readonly serverMtu?: number;
}

const LIMITS = { tcp: 512, udp: 512, icmp: 16, templates: 64 };

export class L4Network extends Stepped {
  readonly client: SimHost;
  readonly director: SimHost;
  readonly servers: SimHost[] = [];
  readonly l4: L4;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  /** Ids of the TCP and the UDP service. */
  readonly tcpService: number;
  readonly udpService: number;
  readonly serverPort: number;
  readonly scarce: number[] = [];
  private readonly switch: Switch;
  private readonly hosts: SimHost[];

  constructor(options: L4NetOptions) {
    super();
    const { mode, seed = 1, wire = PLAIN_WIRE } = options;
    this.serverPort = mode === 'FNAT' || mode === 'NAT' ? SERVER_PORT : PORT;
    const fabric = new Context(FramePool.create(SMALL_POOL), seeded(seed + 100));
    this.switch = new Switch(fabric);
    const join = (ctx: Context): Device => {
      const [mine, theirs] = memoryWire(ctx, fabric, wire);
      this.switch.addPort(theirs);
      return mine;
    };
    const host = (n: number, addr: number, mtu = wire.mtu): SimHost => {
      const h = makeHost(seed + n);
      h.ctx.tick(this.now);
      const port = h.host.addPort(join(h.ctx), 0x0200, n);
      port.mtu = mtu;
      h.host.addresses.add({ addr, prefixLen: 24, port: port.id, flags: PRIMARY });
      return h;
    };
    this.client = host(1, CLIENT);
    for (let i = 0; i < (options.servers ?? 2); i++) {
      const s = host(10 + i, serverAddress(i), options.serverMtu);
      this.prepareServer(s, mode);
      this.servers.push(s);
    }

    const ctx = new Context(FramePool.create(SMALL_POOL), seeded(seed + 50));
    ctx.tick(this.now);
    const config = options.host ?? SMALL_HOST;
    const neighbours = new SharedArrayBuffer(NeighTable.bytes(config.neigh.maxNeighbours));
    const director = new Host(ctx, { onConflict: () => {} }, config, neighbours, L4.timersFor(LIMITS));
    this.director = { ctx, host: director };
    const bare = join(ctx);
    const port = director.addPort(options.wrap === undefined ? bare : options.wrap(bare, ctx), 0x0200, 2);
    director.addresses.add({ addr: DIRECTOR, prefixLen: 24, port: port.id, flags: PRIMARY });
    for (const addr of LOCALS) director.addresses.add({ addr, prefixLen: 24, port: port.id, flags: 0 });
    director.addresses.add({ addr: VIP, prefixLen: 24, port: port.id, flags: VIP_FLAG });

    this.dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(64)), 0, 64);
    const columns = ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(16)), 0, 16);
    this.services = new ServiceTable(columns, this.dests, { random: ctx.random, worker: 0, workers: 1 });
    this.l4 = new L4(
      director,
      this.services,
      this.dests,
      new SharedArrayBuffer(L4.bytes(LIMITS)),
      { portsScarce: (addr) => this.scarce.push(addr) },
      { limits: LIMITS, profile: 'dpvs', decrementTtl: false, maxServices: 16, ...options.options },
    );
    const add = (proto: number, vport: number): number => {
      const id = this.services.add({ proto, vip: VIP, port: vport, scheduler: options.scheduler ?? 'rr' });
      const rport = mode === 'FNAT' || mode === 'NAT' ? SERVER_PORT : vport;
      const specs = this.servers.map((_, i) => ({ addr: serverAddress(i), port: rport, weight: 1 }));
      this.services.setDests(id, specs);
      this.l4.setService(id, layer4Service(MODES[mode], { localAddresses: LOCALS, ...options.service }));
      return id;
    };
    this.tcpService = add(PROTO_TCP, PORT);
    this.udpService = add(PROTO_UDP, UDP_PORT);
    this.hosts = [this.client, this.director, ...this.servers];
  }

  /** A second arm: another link of the director, where it has `addr`, and a host behind it that goes everywhere by it. */
  addArm(addr: number, insideAddr: number, wire: WireOptions = PLAIN_WIRE): { inside: SimHost; port: number } {
    const inside = makeHost(200);
    inside.ctx.tick(this.now);
    const [near, far] = memoryWire(this.director.ctx, inside.ctx, wire);
    const arm = this.director.host.addPort(near, 0x0200, 3);
    this.director.host.addresses.add({ addr, prefixLen: 24, port: arm.id, flags: PRIMARY });
    const port = inside.host.addPort(far, 0x0200, 4).id;
    inside.host.addresses.add({ addr: insideAddr, prefixLen: 24, port, flags: PRIMARY });
    const route = { prefix: 0, len: 0, port, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
    inside.host.routes.add({ ...route, gateway: addr });
    this.hosts.push(inside);
    return { inside, port: arm.id };
  }

  private prepareServer({ host, ctx }: SimHost, mode: ModeName): void {
    if (mode === 'NAT') {
      const route = { len: 32, port: 1, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
      host.routes.add({ ...route, prefix: CLIENT, gateway: DIRECTOR });
    }
    if (mode === 'DR' || mode === 'TUN') {
      const lo = host.addPort(new NullDevice(ctx), 0, 0);
      host.addresses.add({ addr: VIP, prefixLen: 32, port: lo.id, flags: VIP_FLAG });
    }
    if (mode === 'TUN') host.enableIpip();
  }

  /** The address and port a server listens on. */
  listenAddress(i: number): number {
    return this.serverPort === PORT ? VIP : serverAddress(i);
  }

  /** The port UDP servers listen on. */
  get udpServerPort(): number {
    return this.serverPort === PORT ? UDP_PORT : SERVER_PORT;
  }

  /** The server's row for a service. */
  dest(service: number, i: number): number {
    const port = this.serverPort === PORT ? (service === this.tcpService ? PORT : UDP_PORT) : SERVER_PORT;
    return this.dests.find(service, serverAddress(i), port);
  }

  protected override turn(): number {
    let n = 0;
    for (const h of this.hosts) n += h.host.turn(this.now);
    return n + this.switch.forward();
  }
}
