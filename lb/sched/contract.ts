/**
 * What every scheduler is given and what it promises. A scheduler sees the columns of the real servers, the
 * list of those of its service, a flow and randomness: no protocol, connection, packet or clock.
 *
 * Promises, checked for each one by suite.ts:
 *  - `pick` returns a server of the list that is `eligible`, or 0; 0 only when none is, or where the factory says
 *    that it may refuse;
 *  - it allocates nothing and looks at each server a bounded number of times;
 *  - `update` with nothing changed changes no choice to come;
 *  - ids of servers that left the list are forgotten in `update` (their rows may come to mean another server);
 *  - after `keep`, and what it gave, all choices to come are as if nobody had picked in between.
 * Called once per connection by lb/service.ts. May import lb/dest.ts and lb/hash only.
 */

import type { Ipv4, Micros, Random } from '../../stack/types.ts';
import { type DestTable, usable } from '../dest.ts';

/** The columns a scheduler may read. They are live: state and load change between two picks without `update`. */
export type DestColumns = Readonly<
  Pick<DestTable, 'addr' | 'port' | 'weight' | 'ramp' | 'flags' | 'activeConns' | 'inactConns' | 'upper' | 'lower'>
>;

/** A service as its scheduler sees it: `ids[0 .. count)` are its servers in the operator's order. */
export interface SchedView {
  readonly dests: DestColumns;
  readonly ids: Int32Array;
  readonly count: number;
}

/** Servers one flow can be kept away from; more retries than that are not worth a client's time. */
const MAX_TRIED = 8;

/**
 * One connection to be placed. A worker reuses one record: `set` for a new connection, `avoid` after a server
 * failed it, `pick` again.
 */
export class FlowKey {
  src: Ipv4 = 0;
  dst: Ipv4 = 0;
  sport = 0;
  dport = 0;
  proto = 0;
  /** A QUIC connection id, its first eight bytes, where the service goes by it and the packet has one (`setId`). */
  hasId = false;
  idHigh = 0;
  idLow = 0;
  /** Time of the burst, for schedulers that age what they remember. */
  now: Micros = 0;
  private readonly tried = new Int32Array(MAX_TRIED);
  private triedCount = 0;

  /** A new flow, with no server to avoid. @hot */
  set(src: Ipv4, dst: Ipv4, sport: number, dport: number, proto: number, now: Micros): void {
    this.src = src;
    this.dst = dst;
    this.sport = sport;
    this.dport = dport;
    this.proto = proto;
    this.now = now;
    this.hasId = false;
    this.triedCount = 0;
  }

  /** What `set` does not know. @hot */
  setId(high: number, low: number): void {
    this.hasId = true;
    this.idHigh = high;
    this.idLow = low;
  }

  /** Keeps further picks for this flow away from a server; false when no more can be noted. @hot */
  avoid(id: number): boolean {
    if (this.triedCount === MAX_TRIED) return false;
    this.tried[this.triedCount++] = id;
    return true;
  }

  /** Forgets the server noted last. @hot */
  unavoid(): void {
    this.triedCount--;
  }

  /** @hot */
  avoids(id: number): boolean {
    for (let i = 0; i < this.triedCount; i++) if (this.tried[i] === id) return true;
    return false;
  }
}

/** Available, neither overloaded nor inhibited, weight above 0, and not one this flow has to avoid. @hot */
export function eligible(dests: DestColumns, id: number, flow: FlowKey): boolean {
  return usable(dests, id) && !flow.avoids(id);
}

export interface Scheduler {
  readonly name: string;
  /** To be called after servers were added to or removed from the list, reordered, or given new weights. Cold. */
  update(): void;
  /**
   * What a server's slow start means where `pick` does not go by shares (`shareOf`): whose are turned away from it at
   * first, clients or connections. Absent: `pick` sees to it.
   */
  readonly admits?: 'clients' | 'connections';
  /** The server for a new connection, or 0. @hot */
  pick(flow: FlowKey): number;
  /**
   * Notes all that `pick` may change; what it gives puts that back. So a choice can be asked for without being made
   * (ServiceTable.foresee). Cold; absent where `pick` changes nothing.
   */
  keep?(): () => void;
  /** `pick` draws lots: asked again, it may answer otherwise. */
  readonly byChance?: boolean;
  /** In words, for people: what `pick` decides by for this flow. Changes nothing. Cold; absent where the name says it all. */
  explain?(flow: FlowKey): string;
}

/** Options by name, as the operator wrote them. */
export type SchedOptions = Readonly<Record<string, string>>;

/** What surrounds a scheduler: randomness, and which of how many equal workers it serves. */
export interface SchedEnv {
  readonly random: Random;
  /** 0 .. workers - 1. */
  readonly worker: number;
  readonly workers: number;
}

export interface SchedulerFactory {
  readonly name: string;
  /** One line for help and documentation. */
  readonly summary: string;
  /** Option names with the values each may take, the default first. */
  readonly options: Readonly<Record<string, readonly string[]>>;
  /**
   * Why a scheduler with these options may pick none although a server is eligible; null or absent = it never does. Such
   * a refusal depends on the flow or on the load: with one idle server it takes every flow.
   */
  mayRefuse?(options: SchedOptions): string | null;
  /** Options have been checked against the above. The view may be empty; `update` need not follow at once. */
  create(view: SchedView, options: SchedOptions, env: SchedEnv): Scheduler;
}
