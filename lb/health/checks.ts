/**
 * Active health checks: connects to each watched server through the worker's own stack, now and then, and keeps those out
 * of service that fail. Knows sockets, timers and the table of servers; which servers, and how, it is told by `watch`.
 *
 * | server | event                                                 | server | effect                               |
 * | ------ | ----------------------------------------------------- | ------ | ------------------------------------ |
 * | up     | `fall` failures in a row, those of sessions included  | down   | no new connections; told             |
 * | up     | a check passes                                        | up     | failures are forgotten               |
 * | up     | a session connects                                    | up     | failures of sessions are forgotten   |
 * | down   | `rise` checks in a row pass                           | up     | gets connections; told               |
 * | down   | a check fails                                         | down   | counts from the start                |
 *
 * Connections are never touched by any of it. A server in maintenance is not checked and keeps its state. What fails for
 * want of something of ours (a port, a control block) says nothing about the server and does not count.
 *
 * First checks are spread at random over the interval, so that checks of many servers do not run in step.
 */
import type { Context } from '../../stack/context.ts';
import { close, read, write } from '../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerHandler, TimerRange, Timers } from '../../stack/timer/timers.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { AVAILABLE, type DestTable, MAINT } from '../dest.ts';
import { HttpJudge, requestBytes } from './http.ts';
import * as result from './result.ts';
import type { CheckSpec } from './spec.ts';

export interface HealthEvents {
  /** A server was taken out of service or put back; `why` is the result that decided (result.ts). */
  healthChanged(service: number, dest: number, up: boolean, why: number): void;
}

/** Counters of the checks. */
export class HealthStats {
  passed = 0;
  failed = 0;
  /** Not begun, for want of a local port or a control block. */
  skipped = 0;
  wentDown = 0;
  cameUp = 0;
}

/** A server under watch. */
interface Target {
  readonly dest: number;
  /** Who it was when the watch began: a row may come to mean another server. */
  readonly addr: Ipv4;
  readonly port: number;
  spec: CheckSpec;
  up: boolean;
  /** Passed and failed checks in a row; failures of sessions since one connected. */
  passes: number;
  failures: number;
  sessionFailures: number;
  /** The check under way, null between checks. */
  tcb: Tcb | null;
  judge: HttpJudge | null;
  startedMs: number;
}

export class HealthChecks implements TimerHandler {
  readonly stats = new HealthStats();
  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly dests: DestTable;
  private readonly events: HealthEvents;
  private readonly sourceOf: (dest: number) => Ipv4;
  private readonly timers: TimerRange;
  /** By id of the server. */
  private readonly targets = new Map<number, Target>();
  private readonly scratch = new Uint8Array(2048);
  private readonly socket: SocketOwner;

  /** `sourceOf`: the address of ours that checks of a server leave from. */
  constructor(
    ctx: Context,
    tcp: Tcp,
    timers: Timers,
    dests: DestTable,
    sourceOf: (dest: number) => Ipv4,
    events: HealthEvents,
  ) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.dests = dests;
    this.sourceOf = sourceOf;
    this.events = events;
    this.timers = timers.range(HealthChecks.timersFor(dests.capacity), this);
    this.socket = {
      onEstablished: (tcb) => this.connected(tcb),
      onReadable: (tcb) => this.readable(tcb),
      onWritable: () => {},
      onFin: (tcb) => this.ended(tcb),
      onClosed: (tcb, end) => this.closed(tcb, end),
    };
  }

  /** Timers that the checks of a table of this many servers take from the worker's. */
  static timersFor(dests: number): number {
    return dests;
  }

  /** Servers under watch. */
  get watched(): number {
    return this.targets.size;
  }

  /**
   * Checks a listed server from now on. One that is watched already keeps its state and what was counted; new numbers hold
   * from the next check.
   */
  watch(dest: number, spec: CheckSpec): void {
    const { dests, ctx } = this;
    const known = this.current(dest);
    if (known !== null) {
      known.spec = spec;
      // It may have been off the list for a moment.
      dests.setHealth(dest, known.up, dests.health[dest] === 0 ? ctx.nowMs : dests.healthMs[dest]);
      return;
    }
    this.unwatch(dest);
    this.targets.set(dest, {
      dest,
      addr: dests.addr[dest],
      port: dests.port[dest],
      spec,
      up: spec.startUp,
      passes: 0,
      failures: 0,
      sessionFailures: 0,
      tcb: null,
      judge: null,
      startedMs: 0,
    });
    dests.setHealth(dest, spec.startUp, ctx.nowMs);
    dests.checkResult[dest] = result.NONE;
    this.timers.arm(dest, (ctx.nowMs + 1 + ((ctx.random.next() >>> 0) % spec.intervalMs)) | 0);
  }

  /** Checks it no longer; it counts as healthy. */
  unwatch(dest: number): void {
    const target = this.targets.get(dest);
    if (target === undefined) return;
    if (this.isCurrent(target)) this.dests.clearHealth(dest);
    this.forget(target);
  }

  /** Ends every check; states stay as they are. */
  stop(): void {
    for (const target of this.targets.values()) this.forget(target);
  }

  /** A session could not connect to the server. */
  sessionFailed(dest: number): void {
    const target = this.targets.get(dest);
    if (target === undefined || !target.spec.passive || !target.up) return;
    target.sessionFailures++;
    this.judgeFailures(target, result.SESSION_FAILED);
  }

  /** A session has connected to it. */
  sessionConnected(dest: number): void {
    const target = this.targets.get(dest);
    if (target !== undefined) target.sessionFailures = 0;
  }

  // A check

  /** It is time for the next check, or the one under way has taken too long. */
  onTimer(dest: number): void {
    const target = this.targets.get(dest)!;
    if (target.tcb !== null) this.conclude(target, result.TIMEOUT);
    else if (!this.isCurrent(target)) this.forget(target);
    else this.begin(target);
  }

  private begin(target: Target): void {
    const { ctx, tcp, timers } = this;
    const { dest, spec } = target;
    target.startedMs = ctx.nowMs;
    if ((this.dests.flags[dest] & MAINT) !== 0) {
      this.armNext(target);
      return;
    }
    if (tcp.ip.mtuTowards(target.addr) === 0) {
      this.conclude(target, result.UNREACHABLE);
      return;
    }
    target.tcb = tcp.connect(this.sourceOf(dest), 0, target.addr, spec.port || target.port, this.socket, dest);
    if (target.tcb === null) {
      this.stats.skipped++;
      this.armNext(target);
      return;
    }
    timers.arm(dest, (ctx.nowMs + spec.timeoutMs) | 0);
  }

  private connected(tcb: Tcb): void {
    const target = this.targets.get(tcb.tag)!;
    const { http } = target.spec;
    if (http === null) {
      this.conclude(target, result.PASSED);
      return;
    }
    target.judge = new HttpJudge(http);
    const request = requestBytes(http);
    // A new connection takes so little at once, or the worker is out of frames: then time runs out.
    write(this.tcp, tcb, request, 0, request.length);
  }

  private readable(tcb: Tcb): void {
    const target = this.targets.get(tcb.tag)!;
    const { scratch } = this;
    while (target.judge !== null) {
      const n = read(this.tcp, tcb, scratch, 0, scratch.length);
      if (n === 0) return;
      const verdict = target.judge.feed(scratch, 0, n);
      if (verdict !== result.NONE) this.conclude(target, verdict);
    }
  }

  private ended(tcb: Tcb): void {
    const target = this.targets.get(tcb.tag)!;
    if (target.judge !== null) this.conclude(target, target.judge.end());
  }

  private closed(tcb: Tcb, end: number): void {
    const target = this.targets.get(tcb.tag)!;
    target.tcb = null;
    this.conclude(target, result.ofEnd(end));
  }

  /** Notes a result and arranges for the next check. */
  private conclude(target: Target, verdict: number): void {
    this.hangUp(target);
    this.armNext(target);
    if (!this.isCurrent(target)) return;
    this.dests.checkResult[target.dest] = verdict;
    this.dests.checkMs[target.dest] = this.ctx.nowMs;
    if (result.codeOf(verdict) === result.PASSED) this.pass(target, verdict);
    else {
      this.stats.failed++;
      target.passes = 0;
      target.failures++;
      this.judgeFailures(target, verdict);
    }
  }

  private pass(target: Target, verdict: number): void {
    this.stats.passed++;
    target.failures = 0;
    target.sessionFailures = 0;
    if (target.up || ++target.passes < target.spec.rise) return;
    this.stats.cameUp++;
    this.change(target, true, verdict);
  }

  private judgeFailures(target: Target, verdict: number): void {
    if (!target.up || target.failures + target.sessionFailures < target.spec.fall) return;
    this.stats.wentDown++;
    this.change(target, false, verdict);
  }

  private change(target: Target, up: boolean, why: number): void {
    const { dest } = target;
    target.up = up;
    target.passes = 0;
    target.failures = 0;
    target.sessionFailures = 0;
    this.dests.setHealth(dest, up, this.ctx.nowMs);
    this.events.healthChanged(this.dests.service[dest], dest, up, why);
  }

  /** Leaves the connection of the check under way to itself. */
  private hangUp(target: Target): void {
    const { tcb } = target;
    target.tcb = null;
    target.judge = null;
    if (tcb === null) return;
    tcb.owner = null;
    close(this.tcp, tcb);
  }

  private armNext(target: Target): void {
    const { nowMs } = this.ctx;
    const left = (target.startedMs + target.spec.intervalMs - nowMs) | 0;
    this.timers.arm(target.dest, (nowMs + Math.max(left, 1)) | 0);
  }

  private forget(target: Target): void {
    this.hangUp(target);
    this.timers.cancel(target.dest);
    this.targets.delete(target.dest);
  }

  private current(dest: number): Target | null {
    const target = this.targets.get(dest);
    return target !== undefined && this.isSame(target) ? target : null;
  }

  private isSame({ dest, addr, port }: Target): boolean {
    return this.dests.addr[dest] === addr && this.dests.port[dest] === port;
  }

  /** Whether the row still stands for the server under watch, and is listed. */
  private isCurrent(target: Target): boolean {
    return this.isSame(target) && (this.dests.flags[target.dest] & AVAILABLE) !== 0;
  }
}
