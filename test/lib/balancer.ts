/**
 * A simulated network with a balancer in it: a client, tsvs' complete data plane and some servers, each on a wire of its
 * own to one switch, under one fake clock. Addresses: client 10.0.0.1, VIP 10.0.0.10, servers 10.0.0.21 upwards.
 */
import { DestTable } from '../../lb/dest.ts';
import { L4 } from '../../lb/l4.ts';
import { SessionTable } from '../../lb/l7/session.ts';
import type { SessionLog } from '../../lb/l7/session-log.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import type { Config, ServiceConfig, TcpSettings } from '../../src/config/model.ts';
import { buildPipeline, type Pipeline } from '../../src/workers/pipeline.ts';
import { MAX_DESTS, MAX_SERVICES } from '../../src/workers/plan.ts';
import { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { Switch } from '../../stack/netif/switch.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { seeded } from './random.ts';
import { ip, makeHost, type SimHost, SMALL_HOST, Stepped } from './sim.ts';

export const CLIENT = ip('10.0.0.1');
export const VIP = ip('10.0.0.10');
export const server = (i: number): number => ip(`10.0.0.${21 + i}`);

const L4_LIMITS = { tcp: 256, udp: 256, icmp: 16, templates: 64 };

export interface BalancerOptions {
  readonly servers?: number;
  readonly seed?: number;
  readonly wire?: WireOptions;
  /** Middleware around the balancer's end of its wire. */
  readonly wrap?: (device: Device, ctx: Context) => Device;
  readonly service?: Partial<ServiceConfig>;
  /** Services beside that one. */
  readonly more?: readonly Partial<ServiceConfig>[];
  readonly localAddresses?: readonly number[];
  /** Gets every session that ends. */
  readonly sessionLog?: SessionLog;
  readonly maxSessions?: number;
  /** Local ports of connections to servers, the first and the last. */
  readonly ports?: readonly [number, number];
  /** The whole configuration, in place of what the options say of it. */
  readonly config?: Config;
  /** What [tcp] says, as far as it is not the default. */
  readonly tcp?: Partial<TcpSettings>;
  /** `mtu` of the balancer's link section. */
  readonly mtu?: number;
}

const TCP: TcpSettings = {
  congestion: 'cubic',
  ecn: 'passive',
  mssClamp: 0,
  userTimeoutMs: 0,
  keepAlive: { idleMs: 120_000, intervalMs: 15_000, count: 4 },
  maxHalfOpen: 16384,
  synCookies: 'auto',
  timeWaitMs: 60_000,
};

/** What the proxy reported. */
export interface Reports {
  readonly failures: { dest: number; end: number; retry: boolean }[];
  noServer: number;
  readonly health: { dest: number; up: boolean; why: number; now: number }[];
}

export class BalancedNetwork extends Stepped {
  readonly client: SimHost;
  readonly servers: SimHost[] = [];
  readonly balancer: Pipeline;
  /** What it was built from. */
  readonly config: Config;
  readonly ctx: Context;
  readonly reports: Reports = { failures: [], noServer: 0, health: [] };
  private readonly switch: Switch;
  private plugged = true;

  constructor(options: BalancerOptions = {}) {
    super();
    const seed = options.seed ?? 1;
    const wire = options.wire ?? PLAIN_WIRE;
    const count = options.servers ?? 2;
    const slots = { slots: 4096, slotBytes: 2048, bigSlots: 64, bigSlotBytes: 69632 };
    const fabric = new Context(FramePool.create(slots), seeded(seed + 100));
    this.switch = new Switch(fabric);
    const join = (ctx: Context): Device => {
      const [mine, theirs] = memoryWire(ctx, fabric, wire);
      this.switch.addPort(theirs);
      return mine;
    };
    const host = (n: number, addr: number): SimHost => {
      const h = makeHost(seed + n);
      h.ctx.tick(this.now);
      const port = h.host.addPort(join(h.ctx), 0x0200, n);
      h.host.addresses.add({ addr, prefixLen: 24, port: port.id, flags: 1 });
      return h;
    };
    this.client = host(1, CLIENT);
    for (let i = 0; i < count; i++) this.servers.push(host(2 + i, server(i)));

    this.ctx = new Context(FramePool.create({ ...slots, slots: 8192 }), seeded(seed + 50));
    this.ctx.tick(this.now);
    const bare = join(this.ctx);
    const device = options.wrap === undefined ? bare : options.wrap(bare, this.ctx);
    this.config = options.config ?? configuration(count, options);
    const [portMin, portMax] = options.ports ?? [SMALL_HOST.tcp.portMin, SMALL_HOST.tcp.portMax];
    this.balancer = buildPipeline(
      this.ctx,
      this.config,
      [{ device, mac: '02:00:00:00:00:0a' }],
      {
        neighbours: new SharedArrayBuffer(NeighTable.bytes(SMALL_HOST.neigh.maxNeighbours)),
        services: new SharedArrayBuffer(ServiceColumns.bytes(MAX_SERVICES)),
        dests: new SharedArrayBuffer(DestTable.bytes(MAX_DESTS)),
        sessions: SessionTable.memory(options.maxSessions ?? 512),
        connections: new SharedArrayBuffer(L4.bytes(L4_LIMITS)),
      },
      {
        onConflict: () => {},
        connectFailed: (_service, dest, end, retry) => this.reports.failures.push({ dest, end, retry }),
        noServer: () => {
          this.reports.noServer++;
        },
        portsScarce: () => {},
        healthChanged: (_service, dest, up, why) => this.reports.health.push({ dest, up, why, now: this.now }),
      },
      { ...SMALL_HOST, tcp: { ...SMALL_HOST.tcp, portMin, portMax } },
      L4_LIMITS,
    );
    this.balancer.proxy.logTo(options.sessionLog ?? null);
  }

  /** The client's cable is pulled: it hears and says nothing from now on. */
  unplugClient(): void {
    this.plugged = false;
  }

  /** Each host turns once. */
  stepOnce(): void {
    this.client.host.turn(this.now);
    this.switch.forward();
    this.balancer.host.turn(this.now);
    this.now += 5;
  }

  protected override turn(): number {
    let n = this.balancer.host.turn(this.now);
    if (this.plugged) n += this.client.host.turn(this.now);
    for (const s of this.servers) n += s.host.turn(this.now);
    return n + this.switch.forward();
  }

  /** Opens a connection from the client to the VIP. */
  connect(owner: SocketOwner, port = 80, vip = VIP): Tcb {
    const tcb = this.client.host.tcp.connect(CLIENT, 0, vip, port, owner, 0);
    if (tcb === null) throw new Error('connect: no route or port');
    return tcb;
  }
}

export function configuration(servers: number, options: BalancerOptions): Config {
  const service: ServiceConfig = {
    name: 'vip',
    af: 4,
    proto: 'tcp',
    vip: VIP,
    port: 80,
    match: null,
    mode: 'proxy',
    scheduler: 'rr',
    schedOptions: {},
    timeouts: { connectMs: 3000, clientMs: 0, serverMs: 0, finMs: 0 },
    keepAlive: options.tcp?.keepAlive ?? TCP.keepAlive,
    maxHalfOpen: 4096,
    retries: 3,
    localAddresses: [],
    mssClamp: 0,
    timestamps: 'strip',
    connTimeoutMs: 0,
    expireQuiescent: 'off',
    persistence: null,
    onePacket: false,
    fragments: 'reassemble',
    check: null,
    slowStartMs: 0,
    maxConnections: 0,
    queueTimeoutMs: 0,
    proxyProtocol: 'off',
    acceptProxy: [],
    backup: null,
    dests: Array.from({ length: servers }, (_, i) => ({
      name: `server${i + 1}`,
      af: 4,
      ip: server(i),
      port: 80,
      weight: 1,
      mac: null,
    })),
    ...options.service,
  };
  return {
    global: {
      mode: 'proxy',
      logLevel: 'info',
      controlSocket: null,
      ...({ controlMode: '0660', controlGroup: null, user: null, group: null, keepCapabilities: false } as const),
      workers: 1,
      polling: 'adaptive',
      drainTimeoutMs: 1000,
      accessLog: null,
      slowStartMs: 0,
      xmitTtl: false,
      layer4: false,
      ipipFrom: [],
      timeoutProfile: 'dpvs',
      connTimeouts: { tcpMs: null, tcpFinMs: null, udpMs: null },
    },
    tcp: { ...TCP, ...options.tcp },
    links: [
      {
        name: 'lan',
        kind: 'memory',
        device: 'lan',
        offload: 'off',
        mac: '02:00:00:00:00:0a',
        mtu: options.mtu ?? 1500,
        xdpMode: 'auto',
        memif: { role: 'client', id: 0, secret: '', queues: 1, ring: 1024 },
        addresses: [],
        routes: [],
        exception: null,
      },
    ],
    network: { gateway: null, prefixLen: 24, localAddresses: options.localAddresses ?? [] },
    marks: [],
    services: [service, ...(options.more ?? []).map((other) => ({ ...service, ...other }))],
  };
}
