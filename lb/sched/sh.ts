/**
 * Source hashing: the client's address decides, so a client stays with its server. Weights are shares of the slots.
 *
 * Option `port` = `on` hashes the client's port as well: connections are spread, not clients. While the server of a slot
 * cannot take connections those that fall on it are refused; with `fallback` = `on` they go to the next
 * slot whose server can (the walk begins where IPVS begins it), and to any server when no slot has one.
 */

import {
  eligible,
  type FlowKey,
  type SchedOptions,
  type Scheduler,
  type SchedulerFactory,
  type SchedView,
} from './contract.ts';
import { dealByWeight, SLOTS, slotOf } from './slots.ts';

class SourceHash implements Scheduler {
  readonly name = 'sh';
  readonly admits: 'clients' | 'connections';
  private readonly view: SchedView;
  private readonly byPort: boolean;
  private readonly fallback: boolean;
  private slots = new Int32Array(SLOTS);

  constructor(view: SchedView, options: SchedOptions) {
    this.view = view;
    this.byPort = options['port'] === 'on';
    this.admits = this.byPort ? 'connections' : 'clients';
    this.fallback = options['fallback'] === 'on';
    this.update();
  }

  update(): void {
    this.slots = dealByWeight(this.view);
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const { dests } = this.view;
    const slot = this.slotOf(flow);
    const id = this.slots[slot]!;
    if (id === 0) return 0;
    if (eligible(dests, id, flow)) return id;
    return this.fallback ? this.standIn(flow, slot) : 0;
  }

  explain(flow: FlowKey): string {
    const what = this.byPort ? 'source address and port' : 'source address';
    return `${what} on slot ${this.slotOf(flow)} of ${SLOTS}${this.fallback ? ', with fallback' : ''}`;
  }

  private slotOf(flow: FlowKey): number {
    return slotOf((this.byPort ? flow.src + flow.sport : flow.src) | 0);
  }

  private standIn(flow: FlowKey, slot: number): number {
    const { dests, ids, count } = this.view;
    for (let i = 0; i < SLOTS; i++) {
      const id = this.slots[(2 * slot + i) & (SLOTS - 1)]!;
      if (eligible(dests, id, flow)) return id;
    }
    for (let i = 0; i < count; i++) {
      const id = ids[(slot + i) % count]!;
      if (eligible(dests, id, flow)) return id;
    }
    return 0;
  }
}

export const sh: SchedulerFactory = {
  name: 'sh',
  summary: 'source hashing: the address of the client decides; refuses while its server is away, unless fallback',
  options: { port: ['off', 'on'], fallback: ['off', 'on'] },
  mayRefuse: (options) => (options['fallback'] === 'on' ? null : 'without fallback a slot has no stand-in'),
  create: (view, options) => new SourceHash(view, options),
};
