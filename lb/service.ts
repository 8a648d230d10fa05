/**
 * Virtual services: what is balanced, over which real servers, by which scheduler.
 *
 * Numbers are columns in a shared buffer (service-columns.ts); schedulers and lists are the worker's own. Every change
 * is hitless: it happens between two bursts, is checked before anything is touched, ends with `scheduler.update()`, and
 * leaves connections alone. A service counts for itself, so its totals survive its servers.
 *
 * `lookup`, `schedule` and the `count*` functions are called by the data path (@hot: they allocate nothing), the rest by
 * control messages. Imports lb/dest.ts, lb/sched, lb/hash.
 */

import type { Ipv4 } from '../stack/types.ts';
import { type AdminState, AVAILABLE, type DestSpec, type DestTable, isFullOnly, MAX_WEIGHT } from './dest.ts';
import { finish, mixWord } from './hash/murmur3.ts';
import {
  createScheduler,
  eligible,
  type FlowKey,
  type SchedEnv,
  type SchedOptions,
  type Scheduler,
  type SchedView,
} from './sched/index.ts';
import { LISTED, type ServiceColumns } from './service-columns.ts';
import { ease } from './slow-start.ts';

/**
 * In the place of a protocol, numbers that no protocol has: a service by firewall mark, whose address is the
 * mark; one that matches ranges of addresses, whose address tells it from others (lb/classify.ts). Both have port 0.
 */
export const PROTO_MARK = 255;
export const PROTO_MATCH = 254;

export interface ServiceSpec {
  /** IP protocol number. */
  readonly proto: number;
  readonly vip: Ipv4;
  readonly port: number;
  readonly scheduler: string;
  readonly options?: SchedOptions;
}

export type ServiceErrorCode = 'EXISTS' | 'NOT_FOUND' | 'FULL' | 'INVALID';

/** A change that cannot be made; nothing has been changed. */
export class ServiceError extends Error {
  readonly code: ServiceErrorCode;
  constructor(code: ServiceErrorCode, message: string) {
    super(message);
    this.code = code;
  }
}

/** What a service's scheduler sees; `ids` is replaced on a change, never rewritten in place. */
class ServiceList implements SchedView {
  readonly dests: DestTable;
  ids = new Int32Array(0);
  count = 0;
  /** Gets what the scheduler has no server for; not in the list. 0 = none. */
  backup = 0;
  scheduler: Scheduler;

  constructor(dests: DestTable, scheduler: string, options: SchedOptions, env: SchedEnv) {
    this.dests = dests;
    this.scheduler = createScheduler(scheduler, this, options, env);
  }

  replace(ids: readonly number[]): void {
    this.ids = Int32Array.from(ids);
    this.count = ids.length;
    this.scheduler.update();
  }
}

export class ServiceTable {
  readonly columns: ServiceColumns;
  readonly dests: DestTable;
  private readonly env: SchedEnv;
  private readonly lists: (ServiceList | undefined)[] = [];
  /** Listed services by <proto, vip, port>: open addressing, linear probing, at most half full. 0 = empty. */
  private readonly slots: Int32Array;
  /** Listed services with port 0. */
  private forAllPorts = 0;

  /** Both tables must be new, and their writer is this thread. */
  constructor(columns: ServiceColumns, dests: DestTable, env: SchedEnv) {
    this.columns = columns;
    this.dests = dests;
    this.env = env;
    let size = 4;
    while (size < 2 * columns.capacity) size *= 2;
    this.slots = new Int32Array(size);
  }

  // The data path.

  /** The service a packet to vip:port belongs to, or 0: one for this port, else one for all ports (port 0). */
  lookup(proto: number, vip: Ipv4, port: number): number {
    const service = this.find(proto, vip, port);
    return service !== 0 || this.forAllPorts === 0 ? service : this.find(proto, vip, 0);
  }

  /** The service of exactly this address and port, or 0. */
  find(proto: number, vip: Ipv4, port: number): number {
    const { slots, columns } = this;
    const mask = slots.length - 1;
    for (let at = slotOf(proto, vip, port) & mask; ; at = (at + 1) & mask) {
      const id = slots[at]!;
      if (id === 0) return 0;
      if (columns.vip[id] === vip && columns.port[id] === port && columns.proto[id] === proto) return id;
    }
  }

  /** The server for a new connection, or 0, which is counted. A service that was removed meanwhile has none. */
  schedule(id: number, flow: FlowKey): number {
    const list = this.lists[id];
    const dest = list === undefined ? 0 : this.choose(list, flow);
    if (dest === 0) this.columns.noDest[id]! += 1;
    return dest;
  }

  /** `schedule` once more for a flow that has to avoid what it gave; a refusal is not counted. */
  retry(id: number, flow: FlowKey): number {
    const list = this.lists[id];
    return list === undefined ? 0 : this.choose(list, flow);
  }

  /** What `schedule` would give now: nothing is counted, and no scheduler remembers it. Cold. */
  foresee(id: number, flow: FlowKey): number {
    const list = this.lists[id];
    if (list === undefined) return 0;
    const undo = list.scheduler.keep?.();
    try {
      return this.choose(list, flow);
    } finally {
      undo?.();
    }
  }

  private choose(list: ServiceList, flow: FlowKey): number {
    const dest = list.scheduler.pick(flow);
    if (dest !== 0) return this.dests.ramp[dest] === 0 ? dest : ease(this.dests, list.scheduler, flow, dest);
    return list.backup !== 0 && eligible(this.dests, list.backup, flow) ? list.backup : 0;
  }

  /** Whether some server could take this connection now; nothing is counted. */
  hasRoom(id: number, flow: FlowKey): boolean {
    const list = this.lists[id];
    if (list === undefined) return false;
    for (let i = 0; i < list.count; i++) if (eligible(this.dests, list.ids[i]!, flow)) return true;
    return list.backup !== 0 && eligible(this.dests, list.backup, flow);
  }

  /** Whether it is only for their limits of connections that no server takes more: waiting may help. */
  isFull(id: number): boolean {
    const list = this.lists[id];
    if (list === undefined) return false;
    const { flags, weight } = this.dests;
    for (let i = 0; i < list.count; i++) {
      const dest = list.ids[i]!;
      if (isFullOnly(flags[dest]!) && weight[dest]! > 0) return true;
    }
    return false;
  }

  /** A connection has been given to the server; to be ended by `dests.connClose`. */
  connOpen(dest: number): void {
    this.dests.connOpen(dest);
    this.columns.conns[this.dests.service[dest]!]! += 1;
  }

  /** The server refused or did not answer. */
  countConnectFailure(dest: number): void {
    this.dests.connectFailures[dest]! += 1;
    this.columns.connectFailures[this.dests.service[dest]!]! += 1;
  }

  /** From the client. */
  countIn(dest: number, pkts: number, bytes: number): void {
    const { dests, columns } = this;
    const id = dests.service[dest]!;
    dests.inPkts[dest]! += pkts;
    dests.inBytes[dest]! += bytes;
    columns.inPkts[id]! += pkts;
    columns.inBytes[id]! += bytes;
  }

  /** To the client. */
  countOut(dest: number, pkts: number, bytes: number): void {
    const { dests, columns } = this;
    const id = dests.service[dest]!;
    dests.outPkts[dest]! += pkts;
    dests.outBytes[dest]! += bytes;
    columns.outPkts[id]! += pkts;
    columns.outBytes[id]! += bytes;
  }

  // Changes. Each throws ServiceError or SchedulerError, and then has changed nothing.

  /** Adds a service without servers; one that was removed while its connections live on comes back with its totals. */
  add(spec: ServiceSpec): number {
    const { proto, vip, port } = spec;
    if (!(proto > 0 && proto < 256 && isPort(port))) throw new ServiceError('INVALID', 'protocol or port out of range');
    if (this.find(proto, vip, port) !== 0) throw new ServiceError('EXISTS', 'the service exists already');
    const list = new ServiceList(this.dests, spec.scheduler, spec.options ?? {}, this.env);
    const id = this.findRemoved(proto, vip, port) || this.vacant();
    if (id === 0) throw new ServiceError('FULL', `no room for more than ${this.columns.capacity} services`);
    this.columns.proto[id] = proto;
    this.columns.vip[id] = vip;
    this.columns.port[id] = port;
    this.columns.flags[id] = LISTED;
    this.lists[id] = list;
    this.rebuildSlots();
    return id;
  }

  /** Another scheduler, or other options for it. */
  edit(id: number, scheduler: string, options: SchedOptions = {}): void {
    const list = this.list(id);
    list.scheduler = createScheduler(scheduler, list, options, this.env);
  }

  /** Takes the service and its servers off; connections live on. */
  remove(id: number): void {
    this.setDests(id, []);
    this.setBackup(id, null);
    this.columns.flags[id] = 0;
    this.lists[id] = undefined;
    this.rebuildSlots();
  }

  /** Ids of the listed services. */
  ids(): number[] {
    return [...this.columns.flags.keys()].filter((id) => this.columns.flags[id] === LISTED);
  }

  schedulerName(id: number): string {
    return this.list(id).scheduler.name;
  }

  /** The scheduler draws lots. */
  byChance(id: number): boolean {
    return this.list(id).scheduler.byChance === true;
  }

  /** The server for what no other takes, 0 = none. */
  backupOf(id: number): number {
    return this.list(id).backup;
  }

  /** What the scheduler decides by for this flow, in words; may be empty. */
  explain(id: number, flow: FlowKey): string {
    return this.list(id).scheduler.explain?.(flow) ?? '';
  }

  /** Ids of the service's servers, in order. */
  destIds(id: number): number[] {
    return [...this.list(id).ids];
  }

  addDest(id: number, spec: DestSpec): number {
    const list = this.list(id);
    checkDest(spec);
    if (this.listed(id, spec.addr, spec.port) !== 0) {
      throw new ServiceError('EXISTS', 'the service has this server already');
    }
    const dest = this.dests.add(id, spec);
    if (dest === 0) throw this.noRoom();
    list.replace([...list.ids, dest]);
    return dest;
  }

  /** New weight, thresholds, name or MAC for the server with this address and port. Returns its id. */
  editDest(id: number, spec: DestSpec): number {
    const list = this.list(id);
    checkDest(spec);
    const dest = this.member(id, spec.addr, spec.port);
    this.dests.edit(dest, spec);
    list.scheduler.update();
    return dest;
  }

  /** A new weight for a listed server. */
  setWeight(dest: number, weight: number): void {
    if (!isWeight(weight)) throw new ServiceError('INVALID', `weight ${weight} is not in 0..${MAX_WEIGHT}`);
    const list = this.list(this.dests.service[dest]!);
    if (!list.ids.includes(dest)) throw new ServiceError('NOT_FOUND', `there is no server ${dest}`);
    this.dests.setWeight(dest, weight);
    list.scheduler.update();
  }

  /** The share of the weight that servers of the service have reached is another (slow-start.ts). */
  reweigh(id: number): void {
    const scheduler = this.lists[id]?.scheduler;
    // Who goes by shares may have computed with them; for the others a table would be built anew for nothing.
    if (scheduler !== undefined && scheduler.admits === undefined) scheduler.update();
  }

  /** The servers of a service that is new: nobody has to wait for them to warm up. */
  endSlowStart(id: number): void {
    for (const dest of this.list(id).ids) this.dests.ramp[dest] = 0;
    this.list(id).scheduler.update();
  }

  /** Takes a listed server out of service or back, by the operator's word; connections live on. */
  setState(dest: number, state: AdminState): void {
    if (!this.list(this.dests.service[dest]!).ids.includes(dest)) {
      throw new ServiceError('NOT_FOUND', `there is no server ${dest}`);
    }
    this.dests.setState(dest, state);
  }

  removeDest(id: number, addr: Ipv4, port: number): void {
    const list = this.list(id);
    const dest = this.member(id, addr, port);
    this.dests.remove(dest);
    list.replace(this.destIds(id).filter((other) => other !== dest));
  }

  /** Makes these the servers, in this order, in one step: adds, edits and removes as needed. */
  setDests(id: number, specs: readonly DestSpec[]): void {
    const { dests } = this;
    const list = this.list(id);
    specs.forEach(checkDest);
    if (new Set(specs.map((spec) => `${spec.addr}:${spec.port}`)).size !== specs.length) {
      throw new ServiceError('EXISTS', 'a server is listed twice');
    }
    const found = specs.map((spec) => dests.find(id, spec.addr, spec.port));
    const staying = new Set(found);
    const leaving = new Set(this.destIds(id).filter((dest) => !staying.has(dest)));
    if (found.filter((dest) => dest === 0).length > dests.room(staying, leaving)) throw this.noRoom();
    for (const dest of leaving) dests.remove(dest);
    // Rows that exist first: they must not be given to the servers that are new.
    specs.forEach((spec, i) => {
      if (found[i] !== 0) dests.add(id, spec);
    });
    list.replace(specs.map((spec, i) => found[i] || dests.add(id, spec)));
  }

  /** The server for connections that no other can take, or none; its weight does not matter. Returns its id, 0 for none. */
  setBackup(id: number, spec: DestSpec | null): number {
    const { dests } = this;
    const list = this.list(id);
    // What was the backup may be an ordinary server by now.
    const old = list.ids.includes(list.backup) ? 0 : list.backup;
    if (spec === null) {
      if (old !== 0) dests.remove(old);
      list.backup = 0;
      return 0;
    }
    checkDest(spec);
    const found = dests.find(id, spec.addr, spec.port);
    if (found !== 0 && list.ids.includes(found)) {
      throw new ServiceError('EXISTS', 'the service has this server already');
    }
    const backup = dests.add(id, { ...spec, weight: Math.max(spec.weight, 1) });
    if (backup === 0) throw this.noRoom();
    if (old !== 0 && old !== backup) dests.remove(old);
    list.backup = backup;
    return backup;
  }

  private list(id: number): ServiceList {
    const list = this.lists[id];
    if (list === undefined) throw new ServiceError('NOT_FOUND', `there is no service ${id}`);
    return list;
  }

  private listed(id: number, addr: Ipv4, port: number): number {
    const dest = this.dests.find(id, addr, port);
    return (this.dests.flags[dest]! & AVAILABLE) !== 0 ? dest : 0;
  }

  private member(id: number, addr: Ipv4, port: number): number {
    const dest = this.listed(id, addr, port);
    if (dest === 0) throw new ServiceError('NOT_FOUND', 'the service has no such server');
    return dest;
  }

  private noRoom(): ServiceError {
    return new ServiceError('FULL', `no room for more than ${this.dests.capacity} servers`);
  }

  private findRemoved(proto: number, vip: Ipv4, port: number): number {
    const { columns } = this;
    for (let id = 1; id <= columns.capacity; id++) {
      if (columns.proto[id] === proto && columns.vip[id] === vip && columns.port[id] === port) return id;
    }
    return 0;
  }

  /** A free row, else that of a removed service whose servers nobody holds any more, else 0. */
  private vacant(): number {
    const { columns, dests } = this;
    let removed = 0;
    for (let id = 1; id <= columns.capacity; id++) {
      if (columns.proto[id] === 0) return id;
      if (removed === 0 && columns.flags[id] === 0 && !dests.inUse(id)) removed = id;
    }
    if (removed !== 0) {
      dests.free(removed);
      columns.clear(removed);
    }
    return removed;
  }

  private rebuildSlots(): void {
    const { slots, columns } = this;
    const mask = slots.length - 1;
    slots.fill(0);
    this.forAllPorts = 0;
    for (const id of this.ids()) {
      if (columns.port[id] === 0) this.forAllPorts++;
      let at = slotOf(columns.proto[id]!, columns.vip[id]!, columns.port[id]!) & mask;
      while (slots[at] !== 0) at = (at + 1) & mask;
      slots[at] = id;
    }
  }
}

/** @hot */
function slotOf(proto: number, vip: Ipv4, port: number): number {
  return finish(mixWord(mixWord(0, vip), (proto << 16) | port), 8);
}

function isPort(port: number): boolean {
  return Number.isInteger(port) && port >= 0 && port <= 0xffff;
}

function isWeight(weight: number): boolean {
  return Number.isInteger(weight) && weight >= 0 && weight <= MAX_WEIGHT;
}

function checkDest(spec: DestSpec): void {
  if (!isPort(spec.port)) throw new ServiceError('INVALID', `port ${spec.port} is not in 0..65535`);
  if (!isWeight(spec.weight)) throw new ServiceError('INVALID', `weight ${spec.weight} is not in 0..${MAX_WEIGHT}`);
  if ((spec.upper ?? 0) < 0 || (spec.lower ?? 0) < 0) throw new ServiceError('INVALID', 'a threshold is negative');
}
