/**
 * One round of a soak: under conditions that stay, connections are opened until its time is over, as many at once as the
 * conditions say; then all of them come to their end, and nothing may be left on either side. Throws an Error that says
 * what is wrong and with which connection.
 */
import { STATE_NAMES } from '../../stack/tcp/state.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import { ip } from '../lib/sim.ts';
import { checkBlock, checkFrames, StallDetector } from '../lib/tcp-laws.ts';
import { awaited, faultOf, faultOfUnknown, overtookCookie, resetter } from './judge.ts';
import type { Kernel } from './kernel.ts';
import type { Outcome } from './messages.ts';
import { type ConnPlan, type Plans, planOf, type Side } from './plan.ts';
import { KernelWatch } from './ss.ts';
import type { Station } from './station.ts';
import type { Tally } from './tally.ts';
import { type EndContext, TsvsAcceptor, TsvsEnd } from './tsvs-end.ts';

const PORT = 7000;
const CLOSED_PORT = 7001;
/** What a sleep, a turn and the machine's other work may add to a stand. */
const SLACK_MS = 100;
const LOOK_MS = 20;
const LAWS_MS = 400;
const KERNEL_LOOK_MS = 500;
/** A round whose connections have not ended so long after the last was opened has failed. */
const DRAIN_MS = 60_000;

/** A connection that is not over. */
interface Open {
  readonly plan: ConnPlan;
  readonly missing: Set<Side>;
}

export class Round {
  /** How it went, once it is over. */
  summary = '';
  private readonly plans: Plans;
  private readonly station: Station;
  private readonly kernel: Kernel;
  private readonly tally: Tally;
  private readonly open = new Map<number, Open>();
  /** Our ends by control block, and by the ports of their connection. */
  private readonly ends = new Map<Tcb, TsvsEnd>();
  private readonly stalls = new StallDetector(SLACK_MS);
  private readonly kernelWatch = new KernelWatch(KERNEL_LOOK_MS + 4 * SLACK_MS);
  private readonly of: EndContext;
  private failure: Error | null = null;
  private nextLook = 0;
  private nextLaws = 0;
  private nextKernelLook = 0;
  private looking = false;
  private kernelOpen = 0;
  /** Connections that were lost to a segment that overtook a cookie. */
  private readonly overtaken = new Set<number>();
  private readonly kernelDone = new Set<string>();

  constructor(plans: Plans, station: Station, kernel: Kernel, tally: Tally) {
    this.plans = plans;
    this.station = station;
    this.kernel = kernel;
    this.tally = tally;
    this.of = {
      tcp: station.host.tcp,
      plans,
      after: (ms, what) => {
        setTimeout(() => {
          station.tick();
          what();
        }, ms);
      },
      done: (tcb, outcome) => {
        this.ends.delete(tcb);
        this.ended('tsvs', outcome);
      },
    };
  }

  /** Runs for `ms` with `width` connections at a time; `first` is the number of the first. */
  async run(first: number, ms: number, width: number, backlog: number): Promise<void> {
    const { station, kernel } = this;
    const { host } = station;
    host.tcp.listeners.add(ip(station.ourAddress), PORT, backlog, new TsvsAcceptor(this.of, this.ends), 0);
    await kernel.listen(station.kernelAddress, PORT, this.plans);
    kernel.onEnd = ({ outcome, tsvsPort, kernelPort }) => {
      this.kernelDone.add(`${tsvsPort} ${kernelPort}`);
      this.ended('kernel', outcome);
    };
    let n = first;
    const end = station.activeMs + ms;
    while (station.activeMs < end) {
      station.tick();
      while (this.open.size < width && this.failure === null) this.begin(planOf(this.plans, n++));
      await this.step();
    }
    const opened = n - first;
    const drainFrom = station.activeMs;
    const limit = drainFrom + DRAIN_MS;
    while (!this.isQuiet()) {
      if (station.activeMs > limit) throw new Error(`not over after ${DRAIN_MS / 1000} s: ${this.leftovers()}`);
      await this.step();
    }
    const drainS = (station.activeMs - drainFrom) / 1000;
    const { retransSegs, timeouts } = host.tcp.stats;
    this.summary =
      `${opened} connections in ${(ms / 1000).toFixed(1)} s, ended after another ${drainS.toFixed(1)} s;` +
      ` ${retransSegs} segments sent again, ${timeouts} time-outs`;
    this.tally.overtaken += this.overtaken.size;
    this.tally.worst(this.stalls, this.kernelWatch);
  }

  private begin(plan: ConnPlan): void {
    const { station } = this;
    this.open.set(plan.n, { plan, missing: new Set(awaited(plan)) });
    this.tally.opened(plan, resetter(plan) !== null);
    const port = plan.refused ? CLOSED_PORT : PORT;
    if (plan.opener === 'kernel') {
      this.kernel.open(plan.n, station.ourAddress, port);
      return;
    }
    const end = new TsvsEnd(this.of, plan, null);
    const tcb = this.of.tcp.connect(ip(station.ourAddress), 0, ip(station.kernelAddress), port, end, 0);
    if (tcb === null) throw new Error(`connection ${plan.n}: the stack refuses to connect`);
    this.ends.set(tcb, end);
  }

  private ended(side: Side, outcome: Outcome): void {
    const entry = this.open.get(outcome.n);
    const plan = outcome.n < 0 ? null : planOf(this.plans, outcome.n);
    if (side === 'tsvs' && plan !== null && this.isGhost(plan) && outcome.how !== 'normal') return;
    this.tally.ended(side, outcome);
    const fault = plan === null ? faultOfUnknown(side, outcome) : faultOf(plan, side, outcome);
    if (fault !== '' && plan !== null && overtookCookie(plan, side, outcome) && this.mayBeOvertaken(plan)) {
      this.overtaken.add(plan.n);
      this.open.delete(plan.n);
      return;
    }
    if (fault !== '' && this.failure === null) {
      this.failure = new Error(
        `connection ${outcome.n}: the end of ${side} ${fault}\n  ${JSON.stringify(outcome)}\n  ${JSON.stringify(plan)}`,
      );
    }
    entry?.missing.delete(side);
    // The same may become of one that we were to reset: we may never have heard of it.
    const perhaps = plan !== null && overtookCookie(plan, side, outcome) && this.of.tcp.stats.cookiesFailed > 0;
    if (perhaps && resetter(plan) === 'tsvs') entry?.missing.delete('tsvs');
    if (entry?.missing.size === 0) this.open.delete(outcome.n);
  }

  /** Are there more wrong cookies than connections lost to them, this one apart? */
  private mayBeOvertaken({ n }: ConnPlan): boolean {
    return this.overtaken.has(n) || this.overtaken.size < this.of.tcp.stats.cookiesFailed;
  }

  /** A late copy of a segment with a SYN cookie opens a connection again that is over: that is no fault. */
  private isGhost(plan: ConnPlan): boolean {
    const cookies = this.of.tcp.stats.cookiesAccepted > 0;
    return cookies && plan.opener === 'kernel' && resetter(plan) === null && !this.open.has(plan.n);
  }

  private async step(): Promise<void> {
    const { station } = this;
    await station.turn();
    const now = station.activeMs;
    if (now >= this.nextLook) {
      this.nextLook = now + LOOK_MS;
      this.stalls.look(station.host, now);
      this.kernel.check();
    }
    if (now >= this.nextLaws) {
      this.nextLaws = now + LAWS_MS;
      const { host, ctx } = station;
      checkFrames({ host, ctx }, false);
      for (const tcb of host.tcp.blocks) if (tcb !== null) checkBlock(host, tcb);
      for (const [tcb, end] of this.ends) {
        if (end.plan !== null && this.isGhost(end.plan)) end.giveUp();
        else if (this.kernelDone.has(`${tcb.lport} ${tcb.rport}`)) end.hurry();
      }
    }
    if (now >= this.nextKernelLook && !this.looking) {
      this.nextKernelLook = now + KERNEL_LOOK_MS;
      void this.lookAtKernel();
    }
    if (this.failure !== null) throw this.failure;
  }

  private async lookAtKernel(): Promise<void> {
    this.looking = true;
    try {
      const sockets = await this.kernel.sockets();
      this.kernelOpen = sockets.filter(({ local }) => local.startsWith(`${this.station.kernelAddress}:`)).length;
      this.kernelWatch.look(sockets, this.station.activeMs);
    } catch (error) {
      this.failure ??= error as Error;
    }
    this.looking = false;
  }

  private isQuiet(): boolean {
    const { host, ctx } = this.station;
    return (
      this.open.size === 0 && host.tcp.open === 0 && this.kernelOpen === 0 && ctx.pool.inUse === 0 && !this.looking
    );
  }

  /** What a round that does not end waits for. */
  private leftovers(): string {
    const { host, ctx } = this.station;
    const blocks = host.tcp.blocks.filter((tcb) => tcb !== null && tcb.state !== 0);
    const states = blocks.map((tcb) => `${STATE_NAMES[tcb!.state]} ${JSON.stringify({ ...tcb, owner: 0 })}`);
    return [
      `${this.open.size} connections, the kernel has ${this.kernelOpen}, ${ctx.pool.inUse} frames in use`,
      ...[...this.open.values()]
        .slice(0, 5)
        .map(({ plan, missing }) => `waits for ${[...missing]}: ${JSON.stringify(plan)}`),
      ...states.slice(0, 5),
    ].join('\n  ');
  }
}
