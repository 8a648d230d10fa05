/**
 * Destination hashing: the address a client wants decides, so that each of several caches sees its own part of the
 * world. For services that cover many addresses; behind one VIP everything goes to one server.
 * While the server of a slot cannot take connections, those that fall on the slot are refused. Weights do not count, except 0.
 */

import { eligible, type FlowKey, type Scheduler, type SchedulerFactory, type SchedView } from './contract.ts';
import { dealEvenly, SLOTS, slotOf } from './slots.ts';

class DestinationHash implements Scheduler {
  readonly name = 'dh';
  readonly admits = 'clients';
  private readonly view: SchedView;
  private slots = new Int32Array(SLOTS);

  constructor(view: SchedView) {
    this.view = view;
    this.update();
  }

  update(): void {
    this.slots = dealEvenly(this.view);
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const id = this.slots[slotOf(flow.dst)]!;
    return id !== 0 && eligible(this.view.dests, id, flow) ? id : 0;
  }

  explain(flow: FlowKey): string {
    return `destination address on slot ${slotOf(flow.dst)} of ${SLOTS}`;
  }
}

export const dh: SchedulerFactory = {
  name: 'dh',
  summary: 'destination hashing: the address asked for decides; refuses while its server is away',
  options: {},
  mayRefuse: () => 'the server of a slot has no stand-in',
  create: (view) => new DestinationHash(view),
};
