/**
 * The power of two choices (Mitzenmacher 2001): two servers drawn at random by weight, and of those the one with less
 * load per weight. As good as wlc for many servers, without all directors running after the same idle server.
 *
 * Draws are uniform over [0, sum of weights). IPVS draws from 0 to the sum inclusive, which gives the first server
 * of the list one share more than its weight; that is not repeated here.
 */

import type { Random } from '../../stack/types.ts';
import { shareOf } from '../dest.ts';
import { eligible, type FlowKey, type Scheduler, type SchedulerFactory, type SchedView } from './contract.ts';
import { connLoad } from './load.ts';

class TwoChoices implements Scheduler {
  readonly name = 'twos';
  private readonly view: SchedView;
  readonly byChance = true;
  private random: Random;

  constructor(view: SchedView, random: Random) {
    this.view = view;
    this.random = random;
  }

  update(): void {}

  /** @hot */
  pick(flow: FlowKey): number {
    const { dests, ids, count } = this.view;
    let total = 0;
    for (let i = 0; i < count; i++) if (eligible(dests, ids[i]!, flow)) total += shareOf(dests, ids[i]!);
    if (total === 0) return 0;
    let left1 = this.below(total);
    let left2 = this.below(total);
    let first = 0;
    let second = 0;
    for (let i = 0; i < count && (first === 0 || second === 0); i++) {
      const id = ids[i]!;
      if (!eligible(dests, id, flow)) continue;
      left1 -= shareOf(dests, id);
      left2 -= shareOf(dests, id);
      if (first === 0 && left1 < 0) first = id;
      if (second === 0 && left2 < 0) second = id;
    }
    const better = connLoad(dests, second) * shareOf(dests, first) < connLoad(dests, first) * shareOf(dests, second);
    return better ? second : first;
  }

  /** What is drawn until then comes from elsewhere: the worker's randomness is not used up by questions. */
  keep(): () => void {
    const { random } = this;
    this.random = { next: () => 0x2545f491 };
    return () => {
      this.random = random;
    };
  }

  /** An integer in 0 .. n - 1. */
  private below(n: number): number {
    return Math.floor(((this.random.next() >>> 0) / 0x100000000) * n);
  }
}

export const twos: SchedulerFactory = {
  name: 'twos',
  summary: 'two random choices by weight, and of those the less loaded',
  options: {},
  create: (view, _options, env) => new TwoChoices(view, env.random),
};
