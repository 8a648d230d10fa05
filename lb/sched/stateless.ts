/** For schedulers that remember nothing from one pick to the next: their factory out of the pick alone. */

import type { FlowKey, Scheduler, SchedulerFactory, SchedView } from './contract.ts';

/** A factory without options; `pick` is called as the contract's and is @hot as well. */
export function stateless(
  name: string,
  summary: string,
  pick: (view: SchedView, flow: FlowKey) => number,
  mayRefuse?: string,
  admits?: Scheduler['admits'],
): SchedulerFactory {
  return {
    name,
    summary,
    options: {},
    ...(mayRefuse === undefined ? {} : { mayRefuse: () => mayRefuse }),
    create: (view) => ({
      name,
      ...(admits === undefined ? {} : { admits }),
      update() {},
      pick: (flow) => pick(view, flow),
    }),
  };
}
