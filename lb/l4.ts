/**
 * The layer-4 director put together and registered with a host's stack: tables, local ports, transmit, core. Used by
 * src/workers/pipeline.ts and by simulations.
 */
import { LOCAL_IN, PRE_ROUTING, PRIORITY_BALANCER } from '../stack/hook.ts';
import type { Host } from '../stack/host.ts';
import { DEFAULT_BUCKETS, SaPools } from '../stack/inetaddr/sapool.ts';
import { planRegion } from '../stack/mem/region.ts';
import { Adjacencies } from '../stack/neigh/adjacency.ts';
import type { Ipv4 } from '../stack/types.ts';
import { type ConnOwner, ConnTable } from './conn.ts';
import { END_FLUSHED, FNAT, NAT, SNAT } from './conn-row.ts';
import { Templates } from './conn-template.ts';
import { ConnView } from './conn-view.ts';
import { Core } from './core.ts';
import type { DestTable } from './dest.ts';
import { EXPIRE_QUIESCENT, EXPIRE_REMOVED } from './endings.ts';
import { FastPath } from './fast/index.ts';
import { DROP_ALL, FORWARD, REASSEMBLE } from './fragments.ts';
import { LocalAddrs } from './laddr.ts';
import { BY_CONNECTION_ID, EXPIRE_TEMPLATES, ONE_PACKET } from './opener.ts';
import { ICMP } from './proto/icmp.ts';
import { type Profile, Timeouts } from './proto/index.ts';
import { TCP } from './proto/tcp.ts';
import { MAX_KEPT_MS } from './proto/timeouts.ts';
import { UDP } from './proto/udp.ts';
import { PROTO_MARK, PROTO_MATCH, type ServiceTable } from './service.ts';
import { Xmit } from './xmit/index.ts';

/** How many connections are tracked at most. */
export interface L4Limits {
  readonly tcp: number;
  readonly udp: number;
  readonly icmp: number;
  /** Persistence templates. */
  readonly templates: number;
}

/** How long and by which bits of its address a client is remembered. */
export interface Persistence {
  readonly timeoutMs: number;
  /** int32 */
  readonly netmask: number;
  /** A server of weight 0, or drained, gets nobody back. */
  readonly expireQuiescent: boolean;
}

/** What a service of layer 4 wants apart from servers and scheduler. */
export interface L4Service {
  /** FNAT, NAT, DR, TUN or SNAT of conn-row.ts. */
  readonly mode: number;
  /** FNAT: where connections to servers leave from; SNAT: those to the world. */
  readonly localAddresses: readonly Ipv4[];
  /** The scheduler goes in turn (laddr.ts). */
  readonly inTurn: boolean;
  /** Largest TCP segment size let through in a SYN; 0 = any. */
  readonly mss: number;
  /** FullNAT: the client's timestamps are translated, not taken out. */
  readonly translatesTimestamps: boolean;
  /** Seconds that established TCP connections and UDP flows may be silent; 0 = as everyone's. */
  readonly timeoutS: number;
  /** Connections end with their next packet when their server is drained or gone (`on`), or only when it is gone. */
  readonly expireQuiescent: 'off' | 'removed' | 'on';
  /** Null: clients are not remembered. */
  readonly persistence: Persistence | null;
  /** UDP: nothing is remembered of a datagram; not with FNAT. */
  readonly onePacket: boolean;
  /** UDP: the scheduler goes by the connection id of QUIC. */
  readonly byConnectionId: boolean;
  /** The same for all services of an address and protocol; `forward` with DR and TUN only. */
  readonly fragments: 'reassemble' | 'forward' | 'drop';
}

export interface L4Events {
  /** A local address is running out of ports towards some servers. */
  portsScarce(addr: Ipv4, used: number, size: number): void;
}

export interface L4Options {
  readonly limits: L4Limits;
  readonly profile: Profile;
  /** Decrement TTL as a router does. */
  readonly decrementTtl: boolean;
  /** Ids of services are 1..maxServices. */
  readonly maxServices: number;
  /** Which of how many workers this is; absent: the only one. */
  readonly worker?: number;
  readonly workers?: number;
}

const FRAGMENTS = { reassemble: REASSEMBLE, forward: FORWARD, drop: DROP_ALL } as const;
const EXPIRE = { off: 0, removed: EXPIRE_REMOVED, on: EXPIRE_QUIESCENT | EXPIRE_REMOVED } as const;

export class L4 {
  readonly core: Core;
  readonly fast: FastPath;
  readonly xmit: Xmit;
  readonly locals: LocalAddrs;
  readonly pools: SaPools;
  readonly tcp: ConnTable;
  readonly udp: ConnTable;
  readonly icmp: ConnTable;
  readonly templates: Templates;
  readonly tcpTimeouts: Timeouts;
  readonly udpTimeouts: Timeouts;
  readonly icmpTimeouts: Timeouts;

  /** The row up to which `flush` has come. */
  private flushed = 0;
  private readonly dests: DestTable;
  private readonly services: ServiceTable;

  /** `memory`: zeroed, `bytes(limits)`. The host needs `timersFor(limits)` more timers. */
  constructor(
    host: Host,
    services: ServiceTable,
    dests: DestTable,
    memory: SharedArrayBuffer,
    events: L4Events,
    options: L4Options,
  ) {
    const { ctx } = host;
    const { limits, profile, maxServices } = options;
    this.services = services;
    this.dests = dests;
    this.pools = new SaPools({
      worker: options.worker ?? 0,
      workers: options.workers ?? 1,
      buckets: DEFAULT_BUCKETS,
      random: ctx.random,
      onScarce: (addr, used, size) => events.portsScarce(addr, used, size),
    });
    this.locals = new LocalAddrs(this.pools, ctx.random, maxServices);
    this.xmit = new Xmit(host, maxServices, dests.capacity);
    this.xmit.way.decrementTtl = options.decrementTtl;
    this.tcpTimeouts = new Timeouts(TCP, profile, maxServices);
    this.udpTimeouts = new Timeouts(UDP, profile, maxServices);
    this.icmpTimeouts = new Timeouts(ICMP, profile, maxServices);
    const at = L4.plan(limits).at;
    this.templates = new Templates(memory, at.templates, limits.templates, ctx, host.timers, {
      onEnd: (template) => this.core.opener.forget(template),
    });
    const table = (from: number, max: number, activeStates: number): ConnTable => {
      const owner: ConnOwner = { onEnd: (row, end) => this.core.endings.ended(made, row, end, made === this.tcp) };
      const config = { max, activeStates };
      const made: ConnTable = new ConnTable(memory, from, config, ctx, host.timers, owner, this.templates);
      return made;
    };
    this.tcp = table(at.tcp, limits.tcp, TCP.active[profile]);
    this.udp = table(at.udp, limits.udp, UDP.active[profile]);
    this.icmp = table(at.icmp, limits.icmp, ICMP.active[profile]);
    this.core = new Core({
      stack: host,
      services,
      dests,
      locals: this.locals,
      xmit: this.xmit,
      tcp: { table: this.tcp, timeouts: this.tcpTimeouts },
      udp: { table: this.udp, timeouts: this.udpTimeouts },
      icmp: { table: this.icmp, timeouts: this.icmpTimeouts },
      templates: this.templates,
      maxServices,
    });
    this.fast = new FastPath({
      ctx,
      core: this.core,
      tcp: this.tcp,
      udp: this.udp,
      tcpTimeouts: this.tcpTimeouts,
      udpTimeouts: this.udpTimeouts,
      netif: host.netif,
      routes: host.routes,
      adjacencies: new Adjacencies(ctx, host.routes, host.addresses, host.neigh.table, host.netif),
      neighbours: host.neigh.output,
      services,
      tunnel: this.xmit.tunnel,
      mss: this.xmit.mss,
      mayCutShort: () => !this.xmit.way.decrementTtl && host.hooks.isAlone(this.core),
    });
    host.hooks.register(PRE_ROUTING, PRIORITY_BALANCER, this.core);
    host.hooks.register(LOCAL_IN, PRIORITY_BALANCER, this.core.whole);
    host.netif.attachShortCut(this.fast, true);
  }

  /** Where the tables begin in the memory: each is one of ConnTable, readable by anyone who attaches. */
  static plan({ tcp, udp, icmp, templates }: L4Limits) {
    const { bytes } = ConnTable;
    return planRegion({ tcp: bytes(tcp), udp: bytes(udp), icmp: bytes(icmp), templates: bytes(templates) });
  }

  /** The tables in a worker's memory for another thread, that of the templates last; their owner must have been made. */
  static views(memory: SharedArrayBuffer, limits: L4Limits): ConnView[] {
    const { at } = L4.plan(limits);
    return [
      new ConnView(memory, at.tcp, limits.tcp, TCP),
      new ConnView(memory, at.udp, limits.udp, UDP),
      new ConnView(memory, at.icmp, limits.icmp, ICMP),
      new ConnView(memory, at.templates, limits.templates, null),
    ];
  }

  static bytes(limits: L4Limits): number {
    return L4.plan(limits).bytes;
  }

  static timersFor({ tcp, udp, icmp, templates }: L4Limits): number {
    return tcp + udp + icmp + templates;
  }

  /**
   * Makes a listed service one of layer 4, or changes it; connections keep the mode they began with. To be called after every
   * change of its servers. `modeOf`: the mode of a server that has one of its own, else 0.
   */
  setService(id: number, service: L4Service, modeOf: (dest: number) => number = () => 0): void {
    const { core } = this;
    core.mode[id] = service.mode;
    let translates = service.mode === FNAT || service.mode === SNAT;
    const natServers: number[] = [];
    for (const dest of this.services.destIds(id)) {
      const own = modeOf(dest);
      core.destMode[dest] = own;
      if (own === FNAT) translates = true;
      if ((own || service.mode) === NAT) natServers.push(dest);
    }
    const { columns } = this.services;
    const isOneVip = columns.proto[id] !== PROTO_MARK && columns.proto[id] !== PROTO_MATCH;
    core.natServers.set(id, natServers, service.onePacket && isOneVip);
    core.endings.policy[id] = EXPIRE[service.expireQuiescent];
    core.fragments.setPolicy(columns.proto[id]!, columns.vip[id]!, FRAGMENTS[service.fragments]);
    const { opener } = core;
    const { persistence } = service;
    opener.persistMs[id] = Math.min(persistence?.timeoutMs ?? 0, MAX_KEPT_MS);
    opener.persistMask[id] = persistence?.netmask ?? 0;
    opener.policy[id] =
      (persistence?.expireQuiescent ? EXPIRE_TEMPLATES : 0) |
      (service.onePacket ? ONE_PACKET : 0) |
      (service.byConnectionId ? BY_CONNECTION_ID : 0);
    this.xmit.mss[id] = service.mss;
    this.xmit.timestamps[id] = service.translatesTimestamps ? 1 : 0;
    this.setTimeout(id, service.timeoutS);
    this.locals.set(id, translates ? service.localAddresses : [], service.inTurn);
  }

  /** Takes the service off layer 4; its connections go on. Nothing happens when it is not of layer 4. */
  removeService(id: number): void {
    const { core } = this;
    if (core.mode[id] === 0) return;
    core.mode[id] = 0;
    this.locals.set(id, [], false);
    this.setTimeout(id, 0);
    const { proto, vip } = this.services.columns;
    const shared = this.services
      .ids()
      .some((one) => core.mode[one] !== 0 && proto[one] === proto[id] && vip[one] === vip[id]);
    if (!shared) core.fragments.setPolicy(proto[id]!, vip[id]!, REASSEMBLE);
    core.natServers.remove(id);
  }

  private setTimeout(id: number, seconds: number): void {
    for (const timeouts of [this.tcpTimeouts, this.udpTimeouts]) {
      if (timeouts.getService(id) !== seconds) timeouts.setService(id, seconds);
    }
  }

  /** Takes no new connections: the stack refuses them. */
  drain(): void {
    this.core.draining = true;
  }

  /**
   * Ends the TCP connections, `n` at a time, by resets where both ends believe in them; true while there are more. To be
   * called after `drain`. UDP has nobody to tell.
   */
  flush(n: number): boolean {
    for (; n > 0; n--) {
      this.flushed = this.tcp.next(this.flushed);
      if (this.flushed === 0) return false;
      this.tcp.close(this.flushed, END_FLUSHED);
    }
    return true;
  }

  /** Established TCP connections: those that a drain waits for. */
  get established(): number {
    const { services, dests } = this;
    let n = 0;
    for (const id of services.ids()) {
      if (this.core.mode[id] === 0) continue;
      for (const dest of services.destIds(id)) n += dests.activeConns[dest]!;
    }
    return n;
  }

  /** Connections now. */
  get open(): number {
    return this.tcp.size() + this.udp.size() + this.icmp.size();
  }
}
