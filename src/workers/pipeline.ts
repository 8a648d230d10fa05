/**
 * The one place where the stack and the load balancer are joined: from a configuration and a device to a worker's
 * complete data plane. Used by the worker thread, the demo and replay alike; needs no thread and no operating system.
 */
import { DestTable } from '../../lb/dest.ts';
import { type SessionShare, SessionTable } from '../../lb/l7/session.ts';
import { type ProxyEvents, TcpProxy } from '../../lb/l7/tcp-proxy.ts';
import { ServiceColumns, ServiceTable } from '../../lb/service.ts';
import type { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host, type HostConfig, type HostEvents } from '../../stack/host.ts';
import { PRIMARY, VIP } from '../../stack/inetaddr/addr.ts';
import type { Device } from '../../stack/netif/device.ts';
import type { Port } from '../../stack/netif/port.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import { macBytes } from '../config/address.ts';
import type { Config, Mac, ServiceConfig } from '../config/model.ts';
import { MAX_DESTS, MAX_SERVICES } from './plan.ts';

/** Memory the pipeline writes and others may read. */
export interface PipelineMemory {
  readonly neighbours: SharedArrayBuffer;
  readonly services: SharedArrayBuffer;
  readonly dests: SharedArrayBuffer;
  readonly sessions: SessionShare;
}

export interface Pipeline {
  readonly host: Host;
  readonly proxy: TcpProxy;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  readonly port: Port;
}

const high = (mac: readonly number[]): number => (mac[0]! << 8) | mac[1]!;
const low = (mac: readonly number[]): number => (mac[2]! << 24) | (mac[3]! << 16) | (mac[4]! << 8) | mac[5]!;

export function buildPipeline(
  ctx: Context,
  config: Config,
  device: Device,
  mac: Mac,
  memory: PipelineMemory,
  events: HostEvents & ProxyEvents,
  hostConfig: HostConfig = DEFAULT_HOST,
): Pipeline {
  const host = new Host(ctx, events, hostConfig, memory.neighbours, TcpProxy.timersFor(memory.sessions.capacity));
  const bytes = macBytes(mac);
  const port = host.addPort(device, high(bytes), low(bytes));
  port.mtu = Math.min(port.mtu, config.links[0]!.mtu);

  const dests = DestTable.create(memory.dests, 0, MAX_DESTS);
  const env = { random: ctx.random, worker: 0, workers: 1 };
  const services = new ServiceTable(ServiceColumns.create(memory.services, 0, MAX_SERVICES), dests, env);
  const sessions = SessionTable.own(memory.sessions);
  const proxy = new TcpProxy(ctx, host.tcp, host.timers, services, dests, sessions, events);

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
  for (const service of config.services) addService(host, port, services, proxy, service);
  return { host, proxy, services, dests, port };
}

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
  for (const service of config.services) add(service.vip, VIP);
}

function addService(host: Host, port: Port, services: ServiceTable, proxy: TcpProxy, service: ServiceConfig): void {
  const id = services.add({
    proto: PROTO_TCP,
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
  proxy.listen(id, service.vip, service.port, { ...service.timeouts, retries: service.retries });
}
