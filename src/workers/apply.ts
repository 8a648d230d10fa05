/**
 * Applies batches of changes to a running data plane, between two bursts. A batch is checked as a whole before anything is
 * touched: one that throws has changed nothing. Connections are left alone:
 *
 * | change           | its sessions and connections                                                           |
 * | ---------------- | -------------------------------------------------------------------------------------- |
 * | server removed   | go on until they end; its row and counters stay as long                                |
 * | service removed  | go on; new ones are refused, and so are handshakes that are under way                  |
 * | address removed  | go on: the address stays ours until nobody uses it                                     |
 * | anything edited  | go on as they began; time limits of the proxy follow                                   |
 *
 * Cold, but for `sweep` and what it costs when nothing lingers: a comparison. Called by worker.ts and by simulations.
 */

import type { ConnTable } from '../../lb/conn.ts';
import { DEST, END_FLUSHED, ROW_SHIFT, rowOf } from '../../lb/conn-row.ts';
import type { DestSpec } from '../../lb/dest.ts';
import { checkScheduler } from '../../lb/sched/index.ts';
import type { Route4 } from '../../stack/route/route4.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { type Action, applyTo, find, type ServerRef, type ServiceRef, serviceKey } from '../config/actions.ts';
import type { Config, DestConfig, Mac, ServiceConfig } from '../config/model.ts';
import { type AddressRole, ownAddresses, proxySources } from '../config/own-addresses.ts';
import {
  type Batch,
  type CloseCommand,
  type Command,
  FIRST_VERSION,
  type HealthCommand,
  isCommandOfMoment,
  type NeighbourCommand,
  type StateCommand,
  UNNUMBERED,
} from './commands.ts';
import {
  ADDRESS_FLAGS,
  addService,
  defaultRoute,
  destSpec,
  destSpecs,
  followRules,
  followService,
  followTimeouts,
  type Pipeline,
  protoName,
  protoOf,
  routeVia,
  setStatic,
  tcpTuning,
} from './pipeline.ts';
import { isLayer4, MAX_DESTS } from './plan.ts';

/** A batch that cannot be applied; nothing has been changed. */
export class ApplyError extends Error {}

/** Connections of layer 4 ended between two turns: each may send two resets. */
const RESETS_AT_ONCE = 256;
/** How often it is looked whether an address that was removed is still in use. */
const SWEEP_MS = 1000;

const isState = (command: Command): command is StateCommand =>
  command.do === 'setState' || command.do === 'resetServer';
const isNeighbour = (command: Command): command is NeighbourCommand => command.do === 'setNeighbour';
const isClose = (command: Command): command is CloseCommand => command.do === 'closeConnection';

export class Applier {
  /** Of the last batch that was applied. */
  version: number;
  private readonly pipeline: Pipeline;
  private config: Config;
  /** Addresses that are to go when nobody uses them any more. */
  private readonly lingering = new Set<Ipv4>();
  private sweptMs = 0;

  /** `config`: what the pipeline was built from. */
  constructor(pipeline: Pipeline, config: Config, version = FIRST_VERSION) {
    this.version = version;
    this.pipeline = pipeline;
    this.config = config;
  }

  /** Throws ApplyError, or what applyTo and checkScheduler throw, and has then changed nothing. */
  apply({ version, commands }: Batch): void {
    if (version === UNNUMBERED) {
      for (const command of commands) this.repeat(command);
      return;
    }
    if (version !== this.version + 1) throw new ApplyError(`batch ${version} does not follow on ${this.version}`);
    const actions = commands.filter((command): command is Action => !isCommandOfMoment(command));
    const before = this.config;
    const after = applyTo(before, actions);
    this.check(before, after, commands);
    this.enterNetworks(before, after, actions);

    this.revise(before, after, actions);
    this.followNeighbours(before, after);
    this.dropAddresses(actions, ownAddresses(after));
    for (const command of commands.filter(isState)) this.setState(command);
    for (const command of commands.filter(isNeighbour)) this.setNeighbour(command);
    for (const command of commands.filter(isClose)) this.close(command);
    this.config = after;
    this.version = version;
  }

  /** A wish of an operator's that held before this worker was started; nothing when it has no object any more. */
  repeat(command: Command): void {
    if (isState(command) && this.destOf(command.at, command.server) !== 0) this.setState(command);
    else if (isNeighbour(command)) this.setNeighbour(command);
    else if (command.do === 'setHealth') this.setHealth(command);
  }

  /** To be called now and then: lets go of addresses that were removed and that nobody uses any more. */
  sweep(nowMs: number): void {
    if (this.lingering.size === 0 || ((nowMs - this.sweptMs) | 0) < SWEEP_MS) return;
    this.sweptMs = nowMs;
    const { host } = this.pipeline;
    for (const addr of this.lingering) {
      if (this.isUsed(addr)) continue;
      for (const own of host.addresses.list().filter((one) => one.addr === addr)) host.addresses.remove(addr, own.port);
      this.lingering.delete(addr);
    }
  }

  // Checks

  private check(before: Config, after: Config, commands: readonly Command[]): void {
    const { l4 } = this.pipeline;
    for (const service of after.services) {
      checkScheduler(service.scheduler, service.schedOptions);
      if (isLayer4(service) && l4 === null) throw new ApplyError(`service ${service.name}: there is no layer 4 here`);
    }
    for (const command of commands.filter(isState)) {
      const { ip, port, name } = command.server;
      if (find(after, command.at).dests.some((dest) => dest.ip === ip && dest.port === port)) continue;
      throw new ApplyError(`there is no server ${name}`);
    }
    const alone = this.pipeline.place.workers === 1;
    if (alone && commands.some((one) => isClose(one) && this.rowOf(one) === 0))
      throw new ApplyError('there is no such connection');
    this.checkRoom(before, after);
  }

  private tableOf({ proto }: CloseCommand): ConnTable | undefined {
    return this.pipeline.l4?.[proto];
  }

  /** Among several workers one has it. */
  private close(command: CloseCommand): void {
    const row = this.rowOf(command);
    if (row !== 0) this.tableOf(command)!.close(row, END_FLUSHED);
  }

  /** 0 = none. */
  private rowOf(command: CloseCommand): number {
    const { client, vip } = command;
    return rowOf(this.tableOf(command)?.find(client.ip, vip.ip, (client.port << 16) | vip.port) ?? 0);
  }

  /** Whether services and servers fit into their tables, those rows included that connections keep. */
  private checkRoom(before: Config, after: Config): void {
    const { services, dests } = this.pipeline;
    const { columns } = services;
    const kept = new Set(after.services.map(serviceKey));
    let rooms = 0;
    const ofService = new Map<string, number>();
    for (let id = 1; id <= columns.capacity; id++) {
      const key = serviceKey({ proto: protoName(columns.proto[id]!), vip: columns.vip[id]!, port: columns.port[id]! });
      if (columns.proto[id] !== 0) ofService.set(key, id);
      if (columns.proto[id] === 0 || (!kept.has(key) && !this.isHeld(id))) rooms++;
    }
    const wanted = after.services.filter((service) => !ofService.has(serviceKey(service)));
    if (wanted.length > rooms) throw new ApplyError(`no room for more than ${columns.capacity} services`);

    const same = new Set(before.services);
    const staying = new Set<number>();
    const leaving = new Set<number>();
    let missing = 0;
    for (const service of after.services) {
      if (same.has(service)) continue;
      const id = ofService.get(serviceKey(service)) ?? 0;
      const { backup } = service;
      const specs = [...destSpecs(service), ...(backup === null ? [] : [{ addr: backup.ip, port: backup.port }])];
      for (const { addr, port } of specs) {
        const dest = id === 0 ? 0 : dests.find(id, addr, port);
        if (dest === 0) missing++;
        else staying.add(dest);
      }
    }
    const untouched = new Set(after.services.filter((service) => same.has(service)).map((one) => this.idOf(one)));
    for (const id of services.ids()) {
      if (untouched.has(id)) continue;
      for (const dest of services.destIds(id)) if (!staying.has(dest)) leaving.add(dest);
    }
    if (missing > dests.room(staying, leaving)) throw new ApplyError(`no room for more than ${MAX_DESTS} servers`);
  }

  /** Whether connections hold a server of the service. */
  private isHeld(service: number): boolean {
    const { dests } = this.pipeline;
    for (let id = 1; id <= dests.capacity; id++) if (dests.service[id] === service && dests.refs[id]! > 0) return true;
    return false;
  }

  // Addresses

  /** All or none: the table of routes may have no room. */
  private enterNetworks(before: Config, after: Config, actions: readonly Action[]): void {
    const { host, homeOf, ports, moveTo } = this.pipeline;
    const added: Ipv4[] = [];
    const routed: Route4[] = [];
    const routesOf = ({ links }: Config): Route4[] =>
      links.flatMap(({ routes }, i) => routes.map((route) => routeVia(ports[i]!, route)));
    const [old, wanted] = [routesOf(before), routesOf(after)];
    const isIn = (list: readonly Route4[], route: Route4): boolean => list.some((other) => sameRoute(other, route));
    moveTo(after);
    try {
      for (const route of wanted.filter((one) => !isIn(old, one))) {
        host.routes.add(route);
        routed.push(route);
      }
      for (const action of actions) {
        if (action.do !== 'addAddress') continue;
        const { addr, role } = action;
        const { port, prefixLen } = homeOf(addr);
        if (host.addresses.isLocalOn(addr, port.id)) continue;
        added.push(addr);
        host.addresses.add({ addr, prefixLen, port: port.id, flags: ADDRESS_FLAGS[role] });
      }
    } catch (error) {
      for (const addr of added) host.addresses.remove(addr, homeOf(addr).port.id);
      for (const route of routed) host.routes.delete(route);
      moveTo(before);
      throw new ApplyError(`a route or address cannot be added: ${(error as Error).message}`);
    }
    for (const route of old) if (!isIn(wanted, route)) host.routes.delete(route);
  }

  private dropAddresses(actions: readonly Action[], wanted: ReadonlyMap<Ipv4, AddressRole>): void {
    for (const addr of this.lingering) if (wanted.has(addr)) this.lingering.delete(addr);
    for (const action of actions) if (action.do === 'removeAddress') this.lingering.add(action.addr);
    const { host, homeOf } = this.pipeline;
    for (const own of [...host.addresses.list()]) {
      const role = wanted.get(own.addr);
      if (role === undefined) continue;
      const { port, prefixLen } = homeOf(own.addr);
      const is = { addr: own.addr, prefixLen, port: port.id, flags: ADDRESS_FLAGS[role] };
      if (own.flags === is.flags && own.prefixLen === is.prefixLen && own.port === is.port) continue;
      host.addresses.remove(own.addr, own.port);
      host.addresses.add(is);
    }
  }

  private isUsed(addr: Ipv4): boolean {
    const { proxy, l4, services } = this.pipeline;
    if (proxy.uses(addr)) return true;
    if (l4 === null) return false;
    if (l4.pools.list().some((pool) => pool.addr === addr)) return true;
    const { columns } = services;
    for (let id = 1; id <= columns.capacity; id++) if (columns.vip[id] === addr && this.isHeld(id)) return true;
    return false;
  }

  // Services

  private revise(before: Config, after: Config, actions: readonly Action[]): void {
    const { pipeline } = this;
    for (const action of actions) {
      if (action.do === 'removeService') this.removeService(action.at);
      else if (action.do === 'editTcp') pipeline.host.tcp.tune(tcpTuning(after.tcp));
      else if (action.do === 'editNetwork' || action.do === 'editLink') this.editNetwork(before, after);
      else if (action.do === 'editGlobal' && pipeline.l4 !== null) {
        pipeline.l4.xmit.way.decrementTtl = after.global.xmitTtl;
        followTimeouts(pipeline.l4, after.global);
      }
    }
    const known = new Map(before.services.map((service) => [serviceKey(service), service]));
    const listed = (service: ServiceConfig): ServiceConfig | undefined =>
      this.idOf(service) === 0 ? undefined : known.get(serviceKey(service));
    const edited = after.services.filter((service) => listed(service) !== undefined && listed(service) !== service);
    // Rows of servers that go are there for those that come.
    for (const service of edited) this.removeServers(service);
    for (const service of edited) this.editService(listed(service)!, service);
    for (const service of after.services) if (this.idOf(service) === 0) addService(pipeline, service);
    followRules(pipeline, after);
  }

  private removeService(at: ServiceRef): void {
    const { proxy, l4, services } = this.pipeline;
    const id = this.idOf(at);
    proxy.unlisten(id);
    l4?.removeService(id);
    services.remove(id);
  }

  private removeServers(after: ServiceConfig): void {
    const { services, dests } = this.pipeline;
    const id = this.idOf(after);
    const wanted = new Set(destSpecs(after).map(({ addr, port }) => `${addr} ${port}`));
    for (const dest of services.destIds(id)) {
      const [addr, port] = [dests.addr[dest]!, dests.port[dest]!];
      if (!wanted.has(`${addr} ${port}`)) services.removeDest(id, addr, port);
    }
  }

  private editService(before: ServiceConfig, after: ServiceConfig): void {
    const { services, dests } = this.pipeline;
    const id = this.idOf(after);
    const scheduling = ({ scheduler, schedOptions }: ServiceConfig): string =>
      JSON.stringify([scheduler, schedOptions]);
    if (scheduling(before) !== scheduling(after)) services.edit(id, after.scheduler, after.schedOptions);
    const specs = destSpecs(after);
    const ids = services.destIds(id);
    const isListed = (spec: DestSpec, i: number): boolean =>
      dests.addr[ids[i] ?? 0] === spec.addr && dests.port[ids[i] ?? 0] === spec.port;
    if (ids.length !== specs.length || !specs.every(isListed)) services.setDests(id, specs);
    else {
      const all = before.slowStartMs !== after.slowStartMs;
      for (const dest of after.dests)
        if (all || !before.dests.includes(dest)) services.editDest(id, destSpec(dest, after));
    }
    followService(this.pipeline, id, after);
  }

  private editNetwork(before: Config, after: Config): void {
    const { host, homeOf, proxy } = this.pipeline;
    proxy.setLocalAddresses(proxySources(after));
    const [old, now] = [before.network.gateway, after.network.gateway];
    if (old === now) return;
    if (now !== null) host.routes.replace(defaultRoute(homeOf(now).port, now));
    else if (old !== null) host.routes.delete(defaultRoute(homeOf(old).port, old));
  }

  private followNeighbours(before: Config, after: Config): void {
    const { host, homeOf } = this.pipeline;
    const [old, now] = [staticMacs(before), staticMacs(after)];
    for (const addr of old.keys()) if (!now.has(addr)) host.neigh.nud.remove(addr, homeOf(addr).port.id);
    for (const [addr, mac] of now) if (old.get(addr) !== mac) setStatic(this.pipeline, addr, mac);
  }

  // States

  private setState(command: StateCommand): void {
    const { services, dests, proxy } = this.pipeline;
    const dest = this.destOf(command.at, command.server);
    if (command.do === 'setState') services.setState(dest, command.state);
    else {
      proxy.resetServer(dest);
      if (dests.refs[dest]! > 0) this.resetConnections(dest);
    }
  }

  /** What the worker that checks has found. */
  private setHealth({ at, server, up }: HealthCommand): void {
    const { dests, host } = this.pipeline;
    const dest = this.destOf(at, server);
    if (dest !== 0) dests.setHealth(dest, up, host.ctx.nowMs);
  }

  private setNeighbour({ ip, link, mac }: NeighbourCommand): void {
    const port = this.pipeline.ports[link]!;
    if (mac === null) this.pipeline.host.neigh.nud.remove(ip, port.id);
    else setStatic(this.pipeline, ip, mac, port);
  }

  private resetConnections(dest: number): void {
    const { l4, host } = this.pipeline;
    if (l4 === null) return;
    let n = 0;
    for (const table of [l4.tcp, l4.udp]) {
      for (let row = table.next(0); row !== 0; row = table.next(row)) {
        if (table.rows[(row << ROW_SHIFT) + DEST] !== dest) continue;
        table.close(row, END_FLUSHED);
        if (++n % RESETS_AT_ONCE === 0) host.netif.flush();
      }
    }
  }

  private destOf(at: ServiceRef, { ip, port }: ServerRef): number {
    return this.pipeline.dests.find(this.idOf(at), ip, port);
  }

  /** The id of a listed service, 0 = none. */
  private idOf({ proto, vip, port }: Pick<ServiceConfig, 'proto' | 'vip' | 'port'>): number {
    return this.pipeline.services.find(protoOf(proto), vip, port);
  }
}

const sameRoute = (a: Route4, b: Route4): boolean =>
  a.prefix === b.prefix && a.len === b.len && a.gateway === b.gateway && a.port === b.port;

/** The backup included. */
const serversOf = ({ dests, backup }: ServiceConfig): readonly DestConfig[] =>
  backup === null ? dests : [...dests, backup];

/** Servers with a MAC address that the configuration names. */
function staticMacs({ services }: Config): Map<Ipv4, Mac> {
  const named = services.flatMap(serversOf);
  return new Map(named.flatMap(({ ip, mac }) => (mac === null ? [] : [[ip, mac] as const])));
}
