/**
 * Slow start: a server that comes up (health, end of drain or maintenance, weight above 0 again, added to a service) gets
 * its weight in RAMP_STEPS equal steps over a time, so that it can warm up.
 *
 * | scheduler goes by           | what it sees                                                                  |
 * | --------------------------- | ----------------------------------------------------------------------------- |
 * | weights or load             | the share of the weight reached so far (`shareOf` of lb/dest.ts)              |
 * | turns, order of preference  | the whole server; `ease` turns away the connections beyond its share          |
 * | a hash                      | the same by client or connection: who is admitted once is so from then on,    |
 * |                             | nobody else moves, no table is built anew                                     |
 *
 * Who is turned away goes where he would if that server were down; if there is nowhere, he is not turned away. DestTable
 * tells who comes up, `SlowStart` raises, ServiceTable asks `ease`.
 */
import type { TimerHandler, TimerRange, Timers } from '../stack/timer/timers.ts';
import type { Ticks } from '../stack/types.ts';
import { type DestTable, RAMP_STEPS } from './dest.ts';
import { finish, mixWord } from './hash/murmur3.ts';
import type { FlowKey, Scheduler } from './sched/index.ts';
import type { ServiceTable } from './service.ts';

/** How often it is looked who may have more, in ms. */
const LOOK_MS = 100;
const SEED = 0x736c6f77;

/** The server for a flow that the scheduler gave `first`, which may be in slow start. @hot */
export function ease(dests: DestTable, scheduler: Scheduler, flow: FlowKey, first: number): number {
  const { admits } = scheduler;
  if (admits === undefined) return first;
  let dest = first;
  let turned = 0;
  while (dest !== 0 && dests.ramp[dest] !== 0 && !isAdmitted(flow, dests, dest, admits === 'clients')) {
    if (!flow.avoid(dest)) {
      dest = 0;
      break;
    }
    turned++;
    dest = scheduler.pick(flow);
  }
  while (turned-- > 0) flow.unavoid();
  return dest === 0 ? first : dest;
}

/** A flow that is admitted at one step is so at all later ones. */
function isAdmitted(flow: FlowKey, { addr, port, ramp }: DestTable, dest: number, byClient: boolean): boolean {
  let h = mixWord(mixWord(mixWord(SEED, flow.src), addr[dest]!), port[dest]!);
  if (!byClient) h = mixWord(h, flow.sport);
  return ((finish(h, byClient ? 12 : 16) >>> 0) / 0x100000000) * RAMP_STEPS < ramp[dest]!;
}

export class SlowStart implements TimerHandler {
  /** Timers it takes from the worker's. */
  static readonly TIMERS = 1;
  private readonly clock: { readonly nowMs: Ticks };
  private readonly services: ServiceTable;
  private readonly timer: TimerRange;
  /** Since when servers are in it. */
  private readonly since = new Map<number, Ticks>();

  constructor(clock: { readonly nowMs: Ticks }, timers: Timers, services: ServiceTable) {
    this.clock = clock;
    this.services = services;
    this.timer = timers.range(SlowStart.TIMERS, this);
    services.dests.onRise = (dest) => {
      this.since.set(dest, clock.nowMs);
      if (!this.timer.isArmed(1)) this.timer.arm(1, (clock.nowMs + LOOK_MS) | 0);
      services.reweigh(services.dests.service[dest]!);
    };
  }

  onTimer(): void {
    const { nowMs } = this.clock;
    for (const [dest, since] of this.since) this.raise(dest, (nowMs - since) | 0);
    if (this.since.size > 0) this.timer.arm(1, (nowMs + LOOK_MS) | 0);
  }

  private raise(dest: number, ms: number): void {
    const { dests } = this.services;
    const old = dests.ramp[dest]!;
    const slowMs = dests.slowMs[dest]!;
    const step = slowMs === 0 ? RAMP_STEPS : Math.floor((RAMP_STEPS * ms) / slowMs);
    // One that went down has no step any more.
    if (old === 0 || step >= RAMP_STEPS) this.since.delete(dest);
    if (old === 0) return;
    dests.ramp[dest] = step >= RAMP_STEPS ? 0 : Math.max(step, 1);
    if (dests.ramp[dest] !== old) this.services.reweigh(dests.service[dest]!);
  }
}
