/**
 * Neighbour unreachability detection: RFC 4861 §7.3 and the address resolution of §7.2, with ARP asking (RFC 826,
 * RFC 1122 §2.3.2.1). One function per event; the states and their arrows are in state.ts, and `setState` is the only
 * place that follows one. Each state has one timer at most:
 *
 * | state      | timer                               | when it fires                                             |
 * | ---------- | ----------------------------------- | --------------------------------------------------------- |
 * | INCOMPLETE | RETRANS_TIMER                       | ask everybody again; after the third time FAILED          |
 * | REACHABLE  | ReachableTime since confirmed       | STALE                                                     |
 * | STALE      | none: it waits for a frame          |                                                           |
 * | DELAY      | DELAY_FIRST_PROBE_TIME              | PROBE: ask the neighbour itself                           |
 * | PROBE      | RETRANS_TIMER                       | ask it again; after the third time the entry is deleted   |
 * | FAILED     | failedMs                            | the entry is deleted                                      |
 *
 * | event            | NONE       | INCOMPLETE | REACHABLE | STALE     | DELAY     | PROBE     | FAILED    |
 * | ---------------- | ---------- | ---------- | --------- | --------- | --------- | --------- | --------- |
 * | `resolve`        | INCOMPLETE | -          | -         | -         | -         | -         | -         |
 * | `used`           | -          | -          | -         | DELAY     | -         | -         | -         |
 * | `answered`       | -          | REACHABLE  | -         | -         | -         | REACHABLE | REACHABLE |
 * | `heard`, new MAC | STALE (1)  | STALE      | STALE     | STALE     | STALE     | STALE     | STALE     |
 * | `heard`, same    | STALE (1)  | STALE      | -         | -         | -         | -         | STALE     |
 * | `confirm`        | -          | -          | REACHABLE | REACHABLE | REACHABLE | REACHABLE | -         |
 *
 * (1) when the caller allows a new entry. An answer in a state in which nobody asked changes nothing: it would let any
 * host take over an address by talking. Static entries ignore every event.
 *
 * Told to nud: how to ask (`Resolver`: arp, later ndp), and who holds the waiting frames (`Waiters`: output).
 */
import type { Context } from '../context.ts';
import { PORT_CLOSED } from '../drop.ts';
import type { TimerHandler, TimerRange, Timers } from '../timer/timers.ts';
import type { Ipv4, PortId, Ticks } from '../types.ts';
import { DELAY, FAILED, INCOMPLETE, isLegal, NONE, PROBE, REACHABLE, STALE, STATE_NAMES } from './state.ts';
import { CONFIRMED, IP, MAC_HI, MAC_LO, type NeighTable, PORT, PROBES, STATIC, USED } from './table.ts';

/** Asks for an address; the answer comes back through `answered`. */
export interface Resolver {
  /** Asks all hosts of the port who has `ip`. */
  askAll(port: PortId, ip: Ipv4): void;
  /** Asks the one that had it. */
  ask(port: PortId, ip: Ipv4, macHi: number, macLo: number): void;
}

/** Holds the frames that wait for an entry's address. */
export interface Waiters {
  /** The address is known: send them. */
  release(i: number): void;
  /** Nobody has it: drop them and tell their senders. */
  fail(i: number): void;
  /** The entry is going: drop them for `reason`. */
  discard(i: number, reason: number): void;
}

/** Times in milliseconds; names and defaults of RFC 4861 §10 where it has them. */
export interface NudConfig {
  /** REACHABLE_TIME: the base; ReachableTime is drawn between half and one and a half times this (§6.3.2). */
  readonly reachableMs: number;
  /** RETRANS_TIMER. */
  readonly retransMs: number;
  /** DELAY_FIRST_PROBE_TIME. */
  readonly delayMs: number;
  /** MAX_MULTICAST_SOLICIT; with ARP it is a broadcast. */
  readonly maxMulticastSolicit: number;
  /** MAX_UNICAST_SOLICIT. */
  readonly maxUnicastSolicit: number;
  /** How long a failure is remembered. */
  readonly failedMs: number;
}

export const DEFAULT_NUD: NudConfig = {
  reachableMs: 30_000,
  retransMs: 1_000,
  delayMs: 5_000,
  maxMulticastSolicit: 3,
  maxUnicastSolicit: 3,
  failedMs: 3_000,
};

/** "every few hours" (RFC 4861 §6.3.2). */
const REDRAW_MS = 2 * 3600 * 1000;

export class Nud implements TimerHandler {
  private readonly ctx: Context;
  private readonly table: NeighTable;
  private readonly config: NudConfig;
  private readonly timers: TimerRange;
  private resolver: Resolver | null = null;
  private waiters: Waiters | null = null;
  private reachableMs = 0;
  private drawnMs: Ticks = 0;

  constructor(ctx: Context, table: NeighTable, timers: Pick<Timers, 'range'>, config: NudConfig) {
    this.ctx = ctx;
    this.table = table;
    this.config = config;
    this.timers = timers.range(table.max, this);
    this.drawReachable();
  }

  /** Completes the machine; called once when the stack is put together. */
  attach(resolver: Resolver, waiters: Waiters): void {
    this.resolver = resolver;
    this.waiters = waiters;
  }

  /** A frame needs an address that has no entry: makes one and asks. Returns the entry; 0 when the table is full. */
  resolve(ip: Ipv4, port: PortId): number {
    const i = this.enter(ip, port);
    if (i === 0) return 0;
    this.setState(i, INCOMPLETE);
    this.solicit(i);
    return i;
  }

  /** A frame was sent to a STALE entry. */
  used(i: number): void {
    this.setState(i, DELAY);
  }

  /** The neighbour answered us. Returns false when nobody had asked, and nothing changed. */
  answered(ip: Ipv4, port: PortId, macHi: number, macLo: number): boolean {
    const i = this.table.find(ip, port);
    if (i === 0) return false;
    const state = this.table.state(i);
    if (state !== INCOMPLETE && state !== PROBE && state !== FAILED) return false;
    this.table.putMac(i, macHi, macLo);
    this.reached(i);
    this.waiters!.release(i);
    return true;
  }

  /**
   * The neighbour told its address unasked (RFC 4861 §7.2.3, §7.2.5): it hears us or not, that is unproven.
   * Without an entry one is made only if `create` says so. Returns false when there is none afterwards.
   */
  heard(ip: Ipv4, port: PortId, macHi: number, macLo: number, create: boolean): boolean {
    let i = this.table.find(ip, port);
    if (i === 0 && create) i = this.enter(ip, port);
    if (i === 0) return false;
    if (this.table.isStatic(i)) return true;
    const known = this.table.state(i) >= STALE;
    if (!this.table.putMac(i, macHi, macLo) && known) return true;
    this.setState(i, STALE);
    if (!known) this.waiters!.release(i);
    return true;
  }

  /** The upper layer saw progress that this neighbour must have forwarded (RFC 4861 §7.3.1). Cheap: one call per ACK. */
  confirm(ip: Ipv4, port: PortId): void {
    const i = this.table.find(ip, port);
    if (i === 0) return;
    const state = this.table.state(i);
    if (state === REACHABLE) this.table.words[(i << 4) + CONFIRMED] = this.ctx.nowMs;
    else if (state >= STALE) this.reached(i);
  }

  /** An administrator's entry, which stays until `remove`. Returns false when the table is full. */
  setStatic(ip: Ipv4, port: PortId, macHi: number, macLo: number): boolean {
    const i = this.table.find(ip, port) || this.enter(ip, port);
    if (i === 0) return false;
    this.table.putMac(i, macHi, macLo);
    this.table.putFlags(i, STATIC);
    if (this.table.state(i) !== REACHABLE) this.reached(i);
    this.timers.cancel(i);
    this.waiters!.release(i);
    return true;
  }

  /** Removes an entry, static or not; frames that wait for it are dropped. Returns false when there was none. */
  remove(ip: Ipv4, port: PortId): boolean {
    const i = this.table.find(ip, port);
    if (i === 0) return false;
    this.delete(i);
    return true;
  }

  /** Removes what was learned on a port: its link went down or away. Static entries stay. */
  flushPort(port: PortId): void {
    const { table } = this;
    for (let i = 1; i <= table.max; i++) {
      if (table.words[(i << 4) + PORT] === port && !table.isStatic(i)) this.delete(i);
    }
  }

  onTimer(i: number): void {
    const { config } = this;
    switch (this.table.state(i)) {
      case INCOMPLETE:
        if (this.probes(i) < config.maxMulticastSolicit) this.solicit(i);
        else this.fail(i);
        return;
      case REACHABLE:
        this.expire(i);
        return;
      case DELAY:
        this.setState(i, PROBE);
        this.solicit(i);
        return;
      case PROBE:
        // RFC 4861 §7.3.3: "the entry SHOULD be deleted. Subsequent traffic [...] performs address resolution again".
        if (this.probes(i) < config.maxUnicastSolicit) this.solicit(i);
        else this.delete(i);
        return;
      case FAILED:
        this.delete(i);
    }
  }

  /** The only place where a state changes. Arms the timer the new state wants. Throws on an arrow state.ts forbids. */
  private setState(i: number, next: number): void {
    const state = this.table.state(i);
    if (!isLegal(state, next)) throw new Error(`neighbour: ${STATE_NAMES[state]} -> ${STATE_NAMES[next]}`);
    this.table.putState(i, next);
    this.table.words[(i << 4) + PROBES] = 0;
    const wait = this.timeoutOf(next);
    if (wait > 0) this.timers.arm(i, (this.ctx.nowMs + wait) | 0);
    else this.timers.cancel(i);
  }

  /** Milliseconds until the state's timer fires; 0 = it has none. INCOMPLETE and PROBE arm theirs with each request. */
  private timeoutOf(state: number): number {
    switch (state) {
      case REACHABLE:
        return this.reachableMs;
      case DELAY:
        return this.config.delayMs;
      case FAILED:
        return this.config.failedMs;
      default:
        return 0;
    }
  }

  /** A row for a new entry, in state NONE, at the cost of the least useful one if need be; 0 when all are wanted. */
  private enter(ip: Ipv4, port: PortId): number {
    let i = this.table.insert(ip, port);
    if (i === 0) {
      const victim = this.table.leastUseful();
      if (victim === 0) return 0;
      this.delete(victim);
      i = this.table.insert(ip, port);
    }
    const at = i << 4;
    this.table.words[at + USED] = this.ctx.nowMs;
    this.table.words[at + CONFIRMED] = this.ctx.nowMs;
    return i;
  }

  private reached(i: number): void {
    if (((this.ctx.nowMs - this.drawnMs) | 0) >= REDRAW_MS) this.drawReachable();
    this.table.words[(i << 4) + CONFIRMED] = this.ctx.nowMs;
    this.setState(i, REACHABLE);
  }

  /** The timer is not moved at each confirmation; when it fires it looks whether there was one. */
  private expire(i: number): void {
    const due = (this.table.words[(i << 4) + CONFIRMED]! + this.reachableMs) | 0;
    if (((due - this.ctx.nowMs) | 0) > 0) this.timers.arm(i, due);
    else this.setState(i, STALE);
  }

  private solicit(i: number): void {
    const { words } = this.table;
    const at = i << 4;
    words[at + PROBES]! += 1;
    this.timers.arm(i, (this.ctx.nowMs + this.config.retransMs) | 0);
    if (this.table.state(i) === INCOMPLETE) this.resolver!.askAll(words[at + PORT]!, words[at + IP]!);
    else this.resolver!.ask(words[at + PORT]!, words[at + IP]!, words[at + MAC_HI]!, words[at + MAC_LO]!);
  }

  private probes(i: number): number {
    return this.table.words[(i << 4) + PROBES]!;
  }

  private fail(i: number): void {
    this.setState(i, FAILED);
    this.waiters!.fail(i);
  }

  private delete(i: number): void {
    this.waiters!.discard(i, PORT_CLOSED);
    this.setState(i, NONE);
    this.table.remove(i);
  }

  private drawReachable(): void {
    const base = this.config.reachableMs;
    this.drawnMs = this.ctx.nowMs;
    this.reachableMs = Math.floor(base / 2) + ((this.ctx.random.next() >>> 0) % (base + 1));
  }
}
