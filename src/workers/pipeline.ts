/**
 * The one place where the stack and the load balancer are joined: from a configuration and a device to a worker's
 * complete data plane. Used by the worker thread, the demo and replay alike; needs no thread and no operating system.
 */
import { DR, FNAT, NAT, TUN } from '../../lb/conn-row.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4, type L4Events, type L4Limits, type L4Service } from '../../lb/l4.ts';
import { type SessionShare, SessionTable } from '../../lb/l7/session.ts';
import { type ProxyEvents, TcpProxy } from '../../lb/l7/tcp-proxy.ts';
import { ServiceColumns, ServiceTable } from '../../lb/service.ts';
import type { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host, type HostConfig, type HostEvents } from '../../stack/host.ts';
import { PRIMARY, VIP } from '../../stack/inetaddr/addr.ts';
import type { Device } from '../../stack/netif/device.ts';
import type { Port } from '../../stack/netif/port.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { macBytes } from '../config/address.ts';
import type { Config, Mac, Mode, ServiceConfig } from '../config/model.ts';
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
  /** Null when no service is of layer 4. */
  readonly l4: L4 | null;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  readonly port: Port;
}

/** Forwarding modes by name; 0 = not of layer 4. */
const MODE: Readonly<Record<Mode, number>> = { proxy: 0, fnat: FNAT, nat: NAT, dr: DR, tun: TUN };
/** Schedulers that go from server to server in turn. */
const IN_TURN = ['rr', 'wrr'];

const high = (mac: readonly number[]): number => (mac[0]! << 8) | mac[1]!;
const low = (mac: readonly number[]): number => (mac[2]! << 24) | (mac[3]! << 16) | (mac[4]! << 8) | mac[5]!;

export function buildPipeline(
  ctx: Context,
  config: Config,
  device: Device,
  mac: Mac,
  memory: PipelineMemory,
  events: HostEvents & ProxyEvents & L4Events,
  hostConfig: HostConfig = DEFAULT_HOST,
  limits: L4Limits = MAX_CONNS,
): Pipeline {
  const timers = TcpProxy.timersFor(memory.sessions.capacity);
  const l4Timers = memory.connections === null ? 0 : L4.timersFor(limits);
  const host = new Host(ctx, events, hostConfig, memory.neighbours, timers + l4Timers);
  const bytes = macBytes(mac);
  const port = host.addPort(device, high(bytes), low(bytes));
  port.mtu = Math.min(port.mtu, config.links[0]!.mtu);

  const dests = DestTable.create(memory.dests, 0, MAX_DESTS);
  const env = { random: ctx.random, worker: 0, workers: 1 };
  const services = new ServiceTable(ServiceColumns.create(memory.services, 0, MAX_SERVICES), dests, env);
  const sessions = SessionTable.own(memory.sessions);
  const proxy = new TcpProxy(ctx, host.tcp, host.timers, services, dests, sessions, events);

  const l4 =
    memory.connections === null
      ? null
      : new L4(host, services, dests, memory.connections, events, {
          limits,
          profile: 'dpvs',
          decrementTtl: config.global.xmitTtl,
          maxServices: MAX_SERVICES,
        });

  addAddresses(host, port, config);
  if (config.network.gateway !== null) {
    host.routes.add({
      prefix: 0,
      len: 0,
      gateway: config.network.gateway,
      port: port.id,
      metric: 0,
      src: 0,
      mtu: 0,
      scope: SCOPE_GLOBAL,
    });
  }
  proxy.setLocalAddresses(config.network.localAddresses);
  for (const service of config.services) {
    const id = addService(host, port, services, service);
    if (isLayer4(service)) l4!.setService(id, l4Service(service));
    else proxy.listen(id, service.vip, service.port, { ...service.timeouts, retries: service.retries });
  }
  return { host, proxy, l4, services, dests, port };
}

const l4Service = (service: ServiceConfig): L4Service => ({
  mode: MODE[service.mode],
  localAddresses: service.localAddresses,
  inTurn: IN_TURN.includes(service.scheduler),
  mss: service.mssClamp,
  expireQuiescent: service.expireQuiescent,
});

/** VIPs and local addresses, each once. */
function addAddresses(host: Host, port: Port, config: Config): void {
  const { prefixLen, localAddresses } = config.network;
  const seen = new Set<number>();
  const add = (addr: number, flags: number): void => {
    if (seen.has(addr)) return;
    seen.add(addr);
    host.addresses.add({ addr, prefixLen, port: port.id, flags });
  };
  for (const addr of localAddresses) add(addr, PRIMARY);
  for (const service of config.services) for (const addr of service.localAddresses) add(addr, 0);
  for (const service of config.services) add(service.vip, VIP);
}

function addService(host: Host, port: Port, services: ServiceTable, service: ServiceConfig): number {
  const id = services.add({
    proto: service.proto === 'tcp' ? PROTO_TCP : PROTO_UDP,
    vip: service.vip,
    port: service.port,
    scheduler: service.scheduler,
    options: service.schedOptions,
  });
  services.setDests(
    id,
    service.dests.map((d) => ({ addr: d.ip, port: d.port, weight: d.weight, name: d.name })),
  );
  for (const d of service.dests) {
    if (d.mac === null) continue;
    const mac = macBytes(d.mac);
    host.neigh.nud.setStatic(d.ip, port.id, high(mac), low(mac));
  }
  return id;
}
