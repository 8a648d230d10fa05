/**
 * Locality-based least connections: a destination address stays with the server it was given to, chosen as by wlc,
 * until that cannot take connections or is overloaded while another one is half idle; then it is given away anew. For
 * caches behind services that cover many addresses; behind one VIP there is one address to give.
 */

import { eligible, type FlowKey, type Scheduler, type SchedulerFactory, type SchedView } from './contract.ts';
import { DestCache, known, seconds } from './dest-cache.ts';
import { leastWeighted, relievable } from './load.ts';

class LocalityLeast implements Scheduler {
  readonly name = 'lblc';
  private readonly view: SchedView;
  /** Destination address -> server. */
  private readonly cache = new DestCache();

  constructor(view: SchedView) {
    this.view = view;
  }

  update(): void {
    const { ids, count } = this.view;
    const listed = new Set(ids.subarray(0, count));
    this.cache.forEach((entry) => {
      if (!listed.has(this.cache.value[entry]!)) this.cache.value[entry] = 0;
    });
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const { view, cache } = this;
    const nowS = seconds(flow.now);
    const entry = cache.find(flow.dst, nowS);
    if (entry >= 0) {
      const id = cache.value[entry]!;
      if (eligible(view.dests, id, flow) && !relievable(view, id)) return id;
    }
    const id = leastWeighted(view, flow);
    if (id !== 0) cache.value[entry >= 0 ? entry : cache.claim(flow.dst, nowS)] = id;
    return id;
  }

  keep(): () => void {
    return this.cache.keep();
  }

  explain(flow: FlowKey): string {
    return known(this.cache, flow);
  }
}

export const lblc: SchedulerFactory = {
  name: 'lblc',
  summary: 'locality-based least connections: an address asked for stays with its server until that is overloaded',
  options: {},
  create: (view) => new LocalityLeast(view),
};
