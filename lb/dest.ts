/**
 * Real servers (LVS: destinations) as columns in a shared buffer: the worker writes, the control thread reads
 * live numbers. Names and MAC addresses are on the cold side, in the writer only.
 *
 * A row belongs to one service. Its life: free -> listed (AVAILABLE) -> removed -> listed again or free.
 * A removed row keeps its counters and is found again by address and port; it is given to another server
 * only when no connection holds it any more and no free row is left.
 *
 * Called by lb/service.ts (rows), by whoever opens and closes connections (`conn*`, `hold`, `release`) and by the
 * schedulers (read only). @hot from `hold` on: nothing below it allocates.
 */

import type { Ipv4 } from '../stack/types.ts';
import { type ColumnShape, Columns } from './columns.ts';

/** Member of its service's list. Cleared on removal; connections that hold the row may live on. */
export const AVAILABLE = 1;
/** At its upper connection threshold: gets no new connections until below the lower one. */
export const OVERLOAD = 2;
/** Kept out for a time (IPVS); its weight is untouched. */
export const INHIBITED = 4;
/** Kept out by failed health checks (lb/health). */
export const UNHEALTHY = 8;
/** Kept out by the operator: gets no new connections, keeps those it has. */
export const DRAINED = 16;
/** As DRAINED, and health checks leave it in peace. */
export const MAINT = 32;

/** Reasons to get no connections that are forgotten with the server's place in the list. */
const KEPT_OUT = INHIBITED | UNHEALTHY | DRAINED | MAINT;
const STATE = AVAILABLE | OVERLOAD | KEPT_OUT;

/** What the operator wants of a server at run time. */
export type AdminState = 'ready' | 'drain' | 'maint';

const ADMIN_FLAGS: Readonly<Record<AdminState, number>> = { ready: 0, drain: DRAINED, maint: MAINT };

/** Values of the column `health`. */
export const UNCHECKED = 0;
export const HEALTHY = 1;
export const FAILING = 2;

export const MAX_WEIGHT = 65535;

const SHAPE: ColumnShape = { magic: 0x44535401, f64: 6, i32: 17 };

/** Steps in which a server that comes up is given its weight (slow-start.ts). */
export const RAMP_STEPS = 20;

/** What the operator says of a real server. */
export interface DestSpec {
  readonly addr: Ipv4;
  readonly port: number;
  /** 0..MAX_WEIGHT; 0 = no new connections. */
  readonly weight: number;
  readonly name?: string;
  /** Six bytes; null = resolve by ARP. */
  readonly mac?: Uint8Array | null;
  /** Connections at which the server counts as overloaded; 0 = no limit. */
  readonly upper?: number;
  /** Connections below which it no longer does; 0 = three quarters of `upper`. */
  readonly lower?: number;
  /** How long it takes to get its whole weight once it comes up, in ms; 0 = it has it at once. */
  readonly slowMs?: number;
}

export class DestTable {
  readonly capacity: number;

  /** int32, host order. */
  readonly addr: Int32Array;
  readonly port: Int32Array;
  readonly weight: Int32Array;
  /** AVAILABLE, OVERLOAD and what keeps it out. */
  readonly flags: Int32Array;
  /** Id of the service the row belongs to; 0 = the row is free. */
  readonly service: Int32Array;
  /** Connections now: established ones, and the rest (being opened or closed). */
  readonly activeConns: Int32Array;
  readonly inactConns: Int32Array;
  /** Persistence templates now. */
  readonly persistent: Int32Array;
  readonly upper: Int32Array;
  readonly lower: Int32Array;
  /** Holders of the row: connections, sessions, templates. */
  readonly refs: Int32Array;
  /** UNCHECKED, HEALTHY or FAILING; since when, in ticks; the last check's result (lb/health/result.ts) and its tick. */
  readonly health: Int32Array;
  readonly healthMs: Int32Array;
  readonly checkResult: Int32Array;
  readonly checkMs: Int32Array;

  /** Steps of RAMP_STEPS that its weight has been raised to since it came up; 0 = all of it. How long that takes, in ms. */
  readonly ramp: Int32Array;
  readonly slowMs: Int32Array;

  /** Connections ever opened; packets and bytes from (in) and to (out) the clients; connects that failed. */
  readonly conns: Float64Array;
  readonly inPkts: Float64Array;
  readonly outPkts: Float64Array;
  readonly inBytes: Float64Array;
  readonly outBytes: Float64Array;
  readonly connectFailures: Float64Array;

  /** Cold side, by id; empty in a thread that attached. */
  readonly name: string[] = [];
  readonly mac: (Uint8Array | null)[] = [];
  /** Told of each server that has come up and is to be given its weight step by step. */
  onRise: (id: number) => void = () => {};

  private constructor(columns: Columns) {
    this.capacity = columns.capacity;
    this.conns = columns.f64(0);
    this.inPkts = columns.f64(1);
    this.outPkts = columns.f64(2);
    this.inBytes = columns.f64(3);
    this.outBytes = columns.f64(4);
    this.connectFailures = columns.f64(5);
    this.addr = columns.i32(0);
    this.port = columns.i32(1);
    this.weight = columns.i32(2);
    this.flags = columns.i32(3);
    this.service = columns.i32(4);
    this.activeConns = columns.i32(5);
    this.inactConns = columns.i32(6);
    this.persistent = columns.i32(7);
    this.upper = columns.i32(8);
    this.lower = columns.i32(9);
    this.refs = columns.i32(10);
    this.health = columns.i32(11);
    this.healthMs = columns.i32(12);
    this.checkResult = columns.i32(13);
    this.checkMs = columns.i32(14);
    this.ramp = columns.i32(15);
    this.slowMs = columns.i32(16);
  }

  static bytes(capacity: number): number {
    return Columns.bytes(SHAPE, capacity);
  }

  /** A new, empty table at `byteOffset` (a multiple of 8) of `buffer`; the caller becomes its only writer. */
  static create(buffer: SharedArrayBuffer, byteOffset: number, capacity: number): DestTable {
    return new DestTable(Columns.create(buffer, byteOffset, SHAPE, capacity));
  }

  /** The same table, for reading, in another thread. */
  static attach(buffer: SharedArrayBuffer, byteOffset: number): DestTable {
    return new DestTable(Columns.attach(buffer, byteOffset, SHAPE));
  }

  /** The row of addr:port in a service, listed or removed; 0 = none. */
  find(service: number, addr: Ipv4, port: number): number {
    for (let id = 1; id <= this.capacity; id++) {
      if (this.service[id] === service && this.addr[id] === addr && this.port[id] === port) return id;
    }
    return 0;
  }

  /** Lists a server: revives its removed row, counters and all, or takes a new one. Returns 0 when the table is full. */
  add(service: number, spec: DestSpec): number {
    let id = this.find(service, spec.addr, spec.port);
    if (id === 0) {
      id = this.vacant();
      if (id === 0) return 0;
      this.clear(id);
      this.service[id] = service;
      this.addr[id] = spec.addr;
      this.port[id] = spec.port;
    }
    const before = this.takes(id);
    this.flags[id]! |= AVAILABLE;
    this.write(id, spec);
    this.follow(id, before);
    return id;
  }

  /** New weight, thresholds, name and MAC; address and port are the row's identity and stay. */
  edit(id: number, spec: DestSpec): void {
    const before = this.takes(id);
    this.write(id, spec);
    this.follow(id, before);
  }

  /** Another weight, as `edit`. */
  setWeight(id: number, weight: number): void {
    const before = this.takes(id);
    this.weight[id] = weight;
    this.follow(id, before);
  }

  private write(id: number, spec: DestSpec): void {
    this.weight[id] = spec.weight;
    this.upper[id] = spec.upper ?? 0;
    this.lower[id] = spec.lower ?? 0;
    this.slowMs[id] = spec.slowMs ?? 0;
    this.name[id] = spec.name ?? '';
    this.mac[id] = spec.mac ?? null;
    this.flags[id]! &= ~OVERLOAD;
    this.judgeLoad(id);
  }

  /** Takes the server off its service's list; connections that hold the row keep it. What kept it out is forgotten. */
  remove(id: number): void {
    this.flags[id]! &= ~(AVAILABLE | KEPT_OUT);
    this.health[id] = UNCHECKED;
    this.ramp[id] = 0;
  }

  /** What the operator wants of a listed server; its connections are left alone, its weight and health too. */
  setState(id: number, state: AdminState): void {
    const before = this.takes(id);
    this.flags[id] = (this.flags[id]! & ~(DRAINED | MAINT)) | ADMIN_FLAGS[state];
    this.follow(id, before);
  }

  /** What health checks say, at a tick. */
  setHealth(id: number, healthy: boolean, nowMs: number): void {
    const before = this.takes(id);
    this.health[id] = healthy ? HEALTHY : FAILING;
    this.healthMs[id] = nowMs;
    if (healthy) this.flags[id]! &= ~UNHEALTHY;
    else this.flags[id]! |= UNHEALTHY;
    this.follow(id, before);
  }

  /** Nobody checks the server any more: it counts as healthy. */
  clearHealth(id: number): void {
    const before = this.takes(id);
    this.health[id] = UNCHECKED;
    this.flags[id]! &= ~UNHEALTHY;
    this.follow(id, before);
  }

  inhibit(id: number, on: boolean): void {
    const before = this.takes(id);
    if (on) this.flags[id]! |= INHIBITED;
    else this.flags[id]! &= ~INHIBITED;
    this.follow(id, before);
  }

  /** Whether the server is one for new connections, however many it has. */
  private takes(id: number): boolean {
    return (this.flags[id]! & (AVAILABLE | KEPT_OUT)) === AVAILABLE && this.weight[id]! > 0;
  }

  /** A server that comes up gets its weight step by step, where that is asked for; one that goes down is done with it. */
  private follow(id: number, before: boolean): void {
    const now = this.takes(id);
    if (!now) this.ramp[id] = 0;
    if (before || !now || this.slowMs[id] === 0) return;
    this.ramp[id] = 1;
    this.onRise(id);
  }

  /** Rows that servers new to the table could get once `leaving` have been removed and `staying` listed. */
  room(staying: ReadonlySet<number>, leaving: ReadonlySet<number>): number {
    let rows = 0;
    for (let id = 1; id <= this.capacity; id++) {
      if (this.service[id] === 0) rows++;
      else if (this.refs[id] === 0 && !staying.has(id) && (leaving.has(id) || this.reclaimable(id))) rows++;
    }
    return rows;
  }

  /** Whether a row of this service is still listed or held. */
  inUse(service: number): boolean {
    for (let id = 1; id <= this.capacity; id++) {
      if (this.service[id] === service && !this.reclaimable(id)) return true;
    }
    return false;
  }

  /** Addresses of servers that are listed, or held by connections. */
  addressesInUse(): Set<Ipv4> {
    const addresses = new Set<Ipv4>();
    for (let id = 1; id <= this.capacity; id++) {
      if (this.service[id] !== 0 && !this.reclaimable(id)) addresses.add(this.addr[id]!);
    }
    return addresses;
  }

  /** Frees the rows of a service that is gone. Precondition: not `inUse`. */
  free(service: number): void {
    for (let id = 1; id <= this.capacity; id++) if (this.service[id] === service) this.clear(id);
  }

  /** A free row, else a removed one that nobody holds, else 0. */
  private vacant(): number {
    let removed = 0;
    for (let id = 1; id <= this.capacity; id++) {
      if (this.service[id] === 0) return id;
      if (removed === 0 && this.reclaimable(id)) removed = id;
    }
    return removed;
  }

  private reclaimable(id: number): boolean {
    return (this.flags[id]! & AVAILABLE) === 0 && this.refs[id] === 0;
  }

  /** Makes the row free. */
  private clear(id: number): void {
    for (const column of Object.values(this)) {
      if (column instanceof Int32Array || column instanceof Float64Array) column[id] = 0;
    }
    this.name[id] = '';
    this.mac[id] = null;
  }

  hold(id: number): void {
    this.refs[id]! += 1;
  }

  release(id: number): void {
    this.refs[id]! -= 1;
  }

  /** A connection has been given to the server. It counts as inactive until `connActive`. Holds the row. */
  connOpen(id: number): void {
    this.refs[id]! += 1;
    this.conns[id]! += 1;
    this.inactConns[id]! += 1;
    this.judgeLoad(id);
  }

  /** It is established. */
  connActive(id: number): void {
    this.inactConns[id]! -= 1;
    this.activeConns[id]! += 1;
  }

  /** It is no longer established but still known (closing). */
  connInactive(id: number): void {
    this.activeConns[id]! -= 1;
    this.inactConns[id]! += 1;
  }

  /** It is gone; `active` says where it was counted. Releases the row. */
  connClose(id: number, active: boolean): void {
    if (active) this.activeConns[id]! -= 1;
    else this.inactConns[id]! -= 1;
    this.refs[id]! -= 1;
    this.judgeLoad(id);
  }

  /** OVERLOAD is set at `upper` connections and cleared below `lower`, or below three quarters of `upper` (LVS). */
  private judgeLoad(id: number): void {
    const upper = this.upper[id]!;
    const total = this.activeConns[id]! + this.inactConns[id]!;
    if (upper !== 0 && total >= upper) {
      this.flags[id]! |= OVERLOAD;
    } else if ((this.flags[id]! & OVERLOAD) !== 0) {
      const lower = this.lower[id]!;
      if (upper === 0 || (lower !== 0 ? total < lower : total * 4 < upper * 3)) this.flags[id]! &= ~OVERLOAD;
    }
  }
}

/** Whether a server in this state would take connections if only it had fewer. @hot */
export function isFullOnly(flags: number): boolean {
  return (flags & STATE) === (AVAILABLE | OVERLOAD);
}

/**
 * What a scheduler that goes by weights goes by: the weight, or the part of it that a server has which came up a while ago.
 * In parts of RAMP_STEPS, so that a weight of 1 can be raised, too. @hot
 */
export function shareOf(dests: Pick<DestTable, 'weight' | 'ramp'>, id: number): number {
  const ramp = dests.ramp[id]!;
  return dests.weight[id]! * (ramp === 0 ? RAMP_STEPS : ramp);
}

/** Whether a server may get new connections now. @hot */
export function usable(dests: Pick<DestTable, 'flags' | 'weight'>, id: number): boolean {
  return (dests.flags[id]! & STATE) === AVAILABLE && dests.weight[id]! > 0;
}
