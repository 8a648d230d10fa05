/**
 * Weighted round robin, interleaved as in LVS: a threshold goes down from the highest weight to the lowest in steps of
 * their greatest common divisor, and on each level the servers of at least that weight get a turn, in list order. Weights 4, 3, 2
 * give A A B A B C A B C.
 *
 * A changed list starts again at its head and keeps the threshold where it still exists; so servers added one by one begin on
 * a lower level than servers given at once. Levels that no eligible server reaches are skipped in one step: a
 * pick looks at each server three times at most, however far apart the weights are.
 */

import { RAMP_STEPS, shareOf } from '../dest.ts';
import {
  eligible,
  type FlowKey,
  type SchedEnv,
  type Scheduler,
  type SchedulerFactory,
  type SchedView,
} from './contract.ts';

class WeightedRoundRobin implements Scheduler {
  readonly name = 'wrr';
  private readonly view: SchedView;
  private readonly env: SchedEnv;
  /** The list and its weights as of the last change. */
  private ids = new Int32Array(0);
  private weights = new Int32Array(0);
  /** Position in the list where the next pick begins looking. */
  private next = 0;
  /** The weight a server needs now; `top` and each `step` below it, down to 1. All 0 while nobody has a weight. */
  private threshold = 0;
  private top = 0;
  private step = 1;

  constructor(view: SchedView, env: SchedEnv) {
    this.view = view;
    this.env = env;
    this.update();
  }

  update(): void {
    const { dests } = this.view;
    const ids = this.view.ids.slice(0, this.view.count);
    const weights = ids.map((id) => shareOf(dests, id));
    if (same(ids, this.ids) && same(weights, this.weights)) return;
    this.ids = ids;
    this.weights = weights;
    this.step = weights.reduce(gcd, 0) || 1;
    this.top = Math.max(0, weights.reduce((a, b) => Math.max(a, b), 0) - (this.step - 1));
    if (this.threshold === 0 || this.threshold > this.top) this.threshold = this.top;
    else if (this.step > 1) this.threshold = Math.floor(this.threshold / this.step) * this.step + 1;
    this.next = Math.floor((ids.length * this.env.worker) / this.env.workers);
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const id = this.turn(flow);
    if (id !== 0) return id;
    const reachable = this.highestWeight(flow);
    if (reachable === 0) return 0;
    this.next = 0;
    this.threshold -= this.step;
    if (this.threshold <= 0) this.threshold = this.top;
    if (this.threshold > reachable) this.threshold = reachable - ((reachable - 1) % this.step);
    return this.turn(flow);
  }

  keep(): () => void {
    const { next, threshold } = this;
    return () => {
      this.next = next;
      this.threshold = threshold;
    };
  }

  explain(): string {
    const weight = (share: number): number => share / RAMP_STEPS;
    return `looks from place ${this.next + 1} of the list on for a weight of at least ${weight(this.threshold)}`;
  }

  /** The next server of this level, or 0 at the end of the list. */
  private turn(flow: FlowKey): number {
    const ids = this.ids;
    const { dests } = this.view;
    const n = ids.length;
    for (let at = this.next; at < n; at++) {
      const id = ids[at]!;
      if (shareOf(dests, id) >= this.threshold && eligible(dests, id, flow)) {
        this.next = at + 1;
        return id;
      }
    }
    return 0;
  }

  private highestWeight(flow: FlowKey): number {
    const ids = this.ids;
    const { dests } = this.view;
    let highest = 0;
    for (let i = 0; i < ids.length; i++) {
      const id = ids[i]!;
      if (shareOf(dests, id) > highest && eligible(dests, id, flow)) highest = shareOf(dests, id);
    }
    return highest;
  }
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

function same(a: Int32Array, b: Int32Array): boolean {
  return a.length === b.length && a.every((value, i) => value === b[i]);
}

export const wrr: SchedulerFactory = {
  name: 'wrr',
  summary: 'weighted round robin: turns in proportion to the weights, interleaved',
  options: {},
  create: (view, _options, env) => new WeightedRoundRobin(view, env),
};
