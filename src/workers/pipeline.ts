/**
 * The one place where the stack and the load balancer are joined: from a configuration and its devices to a worker's
 * complete data plane. Used by the worker thread, the demo and replay alike; needs no thread and no operating system.
 */

import type { Match } from '../../lb/classify.ts';
import { DR, FNAT, NAT, SNAT, TUN } from '../../lb/conn-row.ts';
import { type DestSpec, DestTable } from '../../lb/dest.ts';
import { HealthChecks, type HealthEvents } from '../../lb/health/checks.ts';
import { L4, type L4Events, type L4Limits, type L4Service } from '../../lb/l4.ts';
import type { ProxyLimits } from '../../lb/l7/limits.ts';
import type { ProxyEvents } from '../../lb/l7/proxy-stats.ts';
import { type SessionShare, SessionTable } from '../../lb/l7/session.ts';
import { TcpProxy } from '../../lb/l7/tcp-proxy.ts';
import type { Timeouts } from '../../lb/proto/index.ts';
import { ESTABLISHED, FIN_WAIT } from '../../lb/proto/tcp.ts';
import { NORMAL, ONEWAY } from '../../lb/proto/udp.ts';
import { PROTO_MARK, PROTO_MATCH, ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { SlowStart } from '../../lb/slow-start.ts';
import type { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host, type HostConfig, type HostEvents } from '../../stack/host.ts';
import { type LocalAddress, PRIMARY, VIP } from '../../stack/inetaddr/addr.ts';
import type { Device } from '../../stack/netif/device.ts';
import { type Port, portMtu } from '../../stack/netif/port.ts';
import { type Route4, SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import type { Handover } from '../../stack/steer/handover.ts';
import type { TcpTuning } from '../../stack/tcp/config.ts';
import { congestionControl } from '../../stack/tcp/congestion/registry.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { formatIpv4, macBytes } from '../config/address.ts';
import type {
  Config,
  DestConfig,
  GlobalConfig,
  Ipv4,
  Mac,
  MatchConfig,
  Mode,
  Proto,
  RouteConfig,
  ServiceConfig,
  TcpSettings,
} from '../config/model.ts';
import { type AddressRole, homeOf, ownAddresses, proxySources } from '../config/own-addresses.ts';
import { assumeHealth, watchServers } from './health.ts';
import { dividesAnew, steerKinds } from './kinds.ts';
import { isLayer4, MAX_CONNS, MAX_DESTS, MAX_SERVICES } from './plan.ts';

/** Memory the pipeline writes and others may read. */
export interface PipelineMemory {
  readonly neighbours: SharedArrayBuffer;
  readonly services: SharedArrayBuffer;
  readonly dests: SharedArrayBuffer;
  readonly sessions: SessionShare;
  /** Null when no service is of layer 4; zeroed, for `limits` connections. */
  readonly connections: SharedArrayBuffer | null;
}

export interface Pipeline {
  readonly host: Host;
  readonly proxy: TcpProxy;
  readonly health: HealthChecks;
  /** Null when no service is of layer 4. */
  readonly l4: L4 | null;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  /** In the order of the configuration's links. */
  readonly ports: readonly Port[];
  readonly place: Place;
  /** Where an address of a network of ours belongs. */
  homeOf(addr: Ipv4): PortHome;
  /** Has `homeOf` answer by this configuration from now on. */
  moveTo(config: Pick<Config, 'network' | 'links'>): void;
}

/** Which of how many workers a data plane is for. */
export interface Place {
  readonly worker: number;
  readonly workers: number;
  /** Around the devices of its ports; null for the only one. */
  readonly handover: Handover | null;
}

const ALONE: Place = { worker: 0, workers: 1, handover: null };

/** A link's device with our MAC address there. */
export interface Plug {
  readonly device: Device;
  readonly mac: Mac;
}

export interface PortHome {
  readonly port: Port;
  readonly prefixLen: number;
}

/** Forwarding modes by name; 0 = not of layer 4. */
const MODE: Readonly<Record<Mode, number>> = { proxy: 0, fnat: FNAT, nat: NAT, dr: DR, tun: TUN, snat: SNAT };
/** Schedulers that go from server to server in turn. */
const IN_TURN = ['rr', 'wrr'];

const high = (mac: readonly number[]): number => (mac[0]! << 8) | mac[1]!;
const low = (mac: readonly number[]): number => (mac[2]! << 24) | (mac[3]! << 16) | (mac[4]! << 8) | mac[5]!;

export function buildPipeline(
  ctx: Context,
  config: Config,
  plugs: readonly Plug[],
  memory: PipelineMemory,
  events: HostEvents & ProxyEvents & L4Events & HealthEvents,
  hostConfig: HostConfig = DEFAULT_HOST,
  limits: L4Limits = MAX_CONNS,
  place: Place = ALONE,
): Pipeline {
  const timers = TcpProxy.timersFor(memory.sessions.capacity) + HealthChecks.timersFor(MAX_DESTS) + SlowStart.TIMERS;
  const l4Timers = memory.connections === null ? 0 : L4.timersFor(limits);
  const tcp = { ...hostConfig.tcp, ...tcpTuning(config.tcp), congestion: congestionControl(config.tcp.congestion)! };
  const host = new Host(ctx, events, { ...hostConfig, tcp }, memory.neighbours, timers + l4Timers);
  const { ipipFrom } = config.global;
  if (ipipFrom.length > 0) host.enableIpip(ipipFrom);
  const { worker, workers, handover } = place;
  host.neigh.arp.speaks = worker === 0;
  if (handover !== null) {
    host.tcp.ports.steering = handover.steering;
    host.reassembler.elsewhere = (f) => handover.datagram(f, host.netif);
  }
  const ports = plugs.map(({ device, mac }, i) => {
    const bytes = macBytes(mac);
    const port = host.addPort(device, high(bytes), low(bytes));
    port.mtu = portMtu(device, config.links[i]!.mtu);
    return port;
  });
  let networks: Pick<Config, 'network' | 'links'> = config;
  const home = (addr: Ipv4): PortHome => {
    const { link, prefixLen } = homeOf(networks, addr);
    return { port: ports[link]!, prefixLen };
  };

  const dests = DestTable.create(memory.dests, 0, MAX_DESTS);
  const env = { random: ctx.random, worker, workers };
  const services = new ServiceTable(ServiceColumns.create(memory.services, 0, MAX_SERVICES), dests, env);
  const sessions = SessionTable.own(memory.sessions);
  const proxy = new TcpProxy(ctx, host.tcp, host.timers, services, dests, sessions, events);
  const sourceOf = (dest: number): Ipv4 =>
    proxy.sourceFor(dests.addr[dest]!, services.columns.vip[dests.service[dest]!]!);
  const health = new HealthChecks(ctx, host.tcp, host.timers, dests, sourceOf, events);
  proxy.observe(health);
  new SlowStart(ctx, host.timers, services);

  const l4 =
    memory.connections === null
      ? null
      : new L4(host, services, dests, memory.connections, events, {
          limits,
          profile: config.global.timeoutProfile,
          decrementTtl: config.global.xmitTtl,
          maxServices: MAX_SERVICES,
          worker,
          workers,
        });

  if (l4 !== null) followTimeouts(l4, config.global);
  const tell =
    (ours: boolean) =>
    (own: LocalAddress): void =>
      host.netif.port(own.port)?.device.claim?.(own.addr, ours);
  host.addresses.listen({ added: tell(true), removed: tell(false) });
  for (const [addr, role] of ownAddresses(config)) {
    const { port, prefixLen } = home(addr);
    host.addresses.add({ addr, prefixLen, port: port.id, flags: ADDRESS_FLAGS[role] });
  }
  const { gateway } = config.network;
  if (gateway !== null) host.routes.add(defaultRoute(home(gateway).port, gateway));
  for (const [i, { routes }] of config.links.entries()) {
    for (const route of routes) host.routes.add(routeVia(ports[i]!, route));
  }
  proxy.setLocalAddresses(proxySources(config));
  const pipeline: Pipeline = {
    host,
    proxy,
    health,
    l4,
    services,
    dests,
    ports,
    place,
    homeOf: home,
    moveTo: (next) => void (networks = next),
  };
  for (const service of config.services) {
    addService(pipeline, service);
    const servers = service.backup === null ? service.dests : [...service.dests, service.backup];
    for (const { ip, mac } of servers) if (mac !== null) setStatic(pipeline, ip, mac);
  }
  followRules(pipeline, config);
  if (handover !== null) {
    // Nobody had anything before.
    handover.steering.former = undefined;
    if (l4 !== null) l4.core.elsewhere = (f) => handover.unknown(f, host.netif);
  }
  return pipeline;
}

/** What of TCP's settings can change while connections exist. */
export const tcpTuning = ({
  ecn,
  mssClamp,
  userTimeoutMs,
  synCookies,
  maxHalfOpen,
  timeWaitMs,
}: TcpSettings): TcpTuning => ({
  ...{ ecn, mssClamp, userTimeoutMs, synCookies, maxHalfOpen, timeWaitMs },
});

// What is built above, and changed by apply.ts.

/** What an address is for, to the table of addresses. */
export const ADDRESS_FLAGS: Readonly<Record<AddressRole, number>> = { local: PRIMARY, service: 0, vip: VIP };

export function defaultRoute(port: Port, gateway: Ipv4): Route4 {
  return { prefix: 0, len: 0, gateway, port: port.id, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
}

export const routeVia = (port: Port, { network, prefixLen, gateway }: RouteConfig): Route4 => ({
  ...defaultRoute(port, gateway),
  prefix: network,
  len: prefixLen,
});

const PROTO: Readonly<Record<Proto, number>> = {
  ...{ tcp: PROTO_TCP, udp: PROTO_UDP, icmp: PROTO_ICMP },
  ...{ mark: PROTO_MARK, match: PROTO_MATCH },
};
export const protoOf = (proto: Proto): number => PROTO[proto];
/** The other way round; rows that are free count as TCP. */
export const protoName = (proto: number): Proto =>
  (Object.keys(PROTO) as Proto[]).find((name) => PROTO[name] === proto) ?? 'tcp';

/** What the table of servers is told of a server of such a service. */
export const destSpec = (
  { ip, port, weight, name, upper, lower }: DestConfig,
  { maxConnections, slowStartMs }: Pick<ServiceConfig, 'maxConnections' | 'slowStartMs'>,
): DestSpec => ({
  ...{ addr: ip, port, weight, name },
  upper: upper ?? maxConnections,
  lower: lower ?? (upper === undefined ? maxConnections : 0),
  slowMs: slowStartMs,
});

/** Timeouts of connections; those that nobody chose are the profile's. */
export function followTimeouts(l4: L4, { timeoutProfile, connTimeouts }: GlobalConfig): void {
  const { tcpMs, tcpFinMs, udpMs } = connTimeouts;
  const seconds = (ms: number | null, table: Timeouts, state: number): number =>
    ms === null ? table.protocol.timeouts[timeoutProfile][state]! : Math.ceil(ms / 1000);
  const set = (ms: number | null, table: Timeouts, ...states: number[]): void => {
    for (const state of states) table.set(state, seconds(ms, table, state));
  };
  set(tcpMs, l4.tcpTimeouts, ESTABLISHED);
  set(tcpFinMs, l4.tcpTimeouts, FIN_WAIT);
  set(udpMs, l4.udpTimeouts, ONEWAY, NORMAL);
}

/** The same for all servers of a service. With SNAT they are the addresses of the pool. */
export const destSpecs = (service: ServiceConfig): DestSpec[] =>
  service.mode === 'snat'
    ? service.localAddresses.map((addr) => ({ addr, port: 0, weight: 1, name: formatIpv4(addr) }))
    : service.dests.map((dest) => destSpec(dest, service));

/** A backup takes what comes, as long as it comes. */
const BACKUP = { maxConnections: 0, slowStartMs: 0 };

/** Has the director ask the rules of a configuration whose services are there. */
export function followRules({ host, l4, services, ports, place }: Pipeline, config: Config): void {
  const steering = place.handover?.steering;
  if (steering) {
    const kinds = steerKinds(config, (addr) => host.addresses.isLocal(addr), steering.kinds);
    if (dividesAnew(steering.kinds, kinds)) steering.former = steering.kinds;
    steering.kinds = kinds;
  }
  if (l4 === null) return;
  const { classifier } = l4.core;
  const link = (name: string | null): number =>
    name === null ? 0 : ports[config.links.findIndex((one) => one.name === name)]!.id;
  const compiled = ({ proto, from, to, iif, oif }: MatchConfig): Match => ({
    ...{ proto: proto === 'any' ? 0 : protoOf(proto), from, to },
    ...{ iif: link(iif), oif: link(oif) },
  });
  classifier.setMarks(config.marks.map(({ mark, match }) => [mark, compiled(match)]));
  const idOf = ({ proto, vip, port }: ServiceConfig): number => services.find(protoOf(proto), vip, port);
  const marked = config.services.filter(({ proto }) => proto === 'mark');
  classifier.setMarked(marked.map((service) => [service.vip, idOf(service)]));
  const matches = config.services.flatMap((service) =>
    service.match === null ? [] : [[service, service.match] as const],
  );
  classifier.setMatches(matches.map(([service, match]) => [idOf(service), compiled(match)]));
}

/** Throws, and has then changed nothing, when it is there already or there is no room. */
export function addService(pipeline: Pipeline, service: ServiceConfig): void {
  const { services, proxy } = pipeline;
  const { proto, vip, port, scheduler, schedOptions } = service;
  const id = services.add({ proto: protoOf(proto), vip, port, scheduler, options: schedOptions });
  services.setDests(id, destSpecs(service));
  services.endSlowStart(id);
  if (!isLayer4(service)) proxy.listen(id, vip, port, proxyLimits(service));
  followService(pipeline, id, service);
}

/** Has everybody follow a service whose settings or servers have changed, the tables of services and servers apart. */
export function followService(pipeline: Pipeline, id: number, service: ServiceConfig): void {
  const { proxy, health, l4, services, place } = pipeline;
  services.setBackup(id, service.backup && destSpec(service.backup, BACKUP));
  if (place.worker === 0) watchServers(health, services, id, service);
  else assumeHealth(services, id, service);
  if (isLayer4(service)) l4!.setService(id, l4Service(service), (dest) => destMode(service, services.dests, dest));
  else proxy.setLimits(id, proxyLimits(service));
}

/** A neighbour that the configuration names. */
export function setStatic({ host, homeOf }: Pipeline, addr: Ipv4, mac: Mac, port = homeOf(addr).port): void {
  const bytes = macBytes(mac);
  host.neigh.nud.setStatic(addr, port.id, high(bytes), low(bytes));
}

const proxyLimits = ({
  timeouts,
  keepAlive,
  maxHalfOpen,
  retries,
  proxyProtocol,
  acceptProxy,
  queueTimeoutMs,
}: ServiceConfig): ProxyLimits => ({
  ...timeouts,
  keepAlive: keepAlive.idleMs === 0 ? null : keepAlive,
  maxHalfOpen,
  retries,
  announce: proxyProtocol,
  announcers: acceptProxy,
  queueMs: queueTimeoutMs,
});

/** The mode of a server that has one of its own, else 0. */
function destMode({ dests }: ServiceConfig, { addr, port }: DestTable, dest: number): number {
  const own = dests.find((one) => one.ip === addr[dest] && one.port === port[dest])?.mode;
  return own === undefined ? 0 : MODE[own];
}

const l4Service = (service: ServiceConfig): L4Service => ({
  mode: MODE[service.mode],
  localAddresses: service.localAddresses,
  inTurn: IN_TURN.includes(service.scheduler),
  mss: service.mssClamp,
  translatesTimestamps: service.timestamps === 'translate',
  timeoutS: Math.ceil(service.connTimeoutMs / 1000),
  expireQuiescent: service.expireQuiescent,
  persistence: service.persistence,
  onePacket: service.onePacket,
  byConnectionId: service.scheduler === 'conhash' && service.schedOptions['key'] === 'quic',
  fragments: service.fragments,
});
