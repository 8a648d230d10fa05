/**
 * Round robin: the next eligible server after the one chosen last. Weights do not count, except 0.
 *
 * The cursor survives edits: it stands before the first server, in the old order, that followed the last choice and
 * is still listed. Of several workers each starts at its own share of the list, so that together they begin
 * with different servers (as DPVS does).
 */

import {
  eligible,
  type FlowKey,
  type SchedEnv,
  type Scheduler,
  type SchedulerFactory,
  type SchedView,
} from './contract.ts';

class RoundRobin implements Scheduler {
  readonly name = 'rr';
  readonly admits = 'connections';
  private readonly view: SchedView;
  private readonly env: SchedEnv;
  private order: Int32Array;
  /** Position in `order` where the next pick begins looking. */
  private next = 0;
  /** Whether anything has been chosen yet; until then the cursor is at the worker's start. */
  private begun = false;

  constructor(view: SchedView, env: SchedEnv) {
    this.view = view;
    this.env = env;
    this.order = view.ids.slice(0, view.count);
    this.next = this.start();
  }

  update(): void {
    const { ids, count } = this.view;
    const old = this.order;
    this.order = ids.slice(0, count);
    this.next = this.begun ? this.carryOver(old) : this.start();
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const order = this.order;
    const n = order.length;
    let at = this.next;
    for (let i = 0; i < n; i++, at++) {
      if (at >= n) at = 0;
      const id = order[at]!;
      if (eligible(this.view.dests, id, flow)) {
        this.next = at + 1;
        this.begun = true;
        return id;
      }
    }
    return 0;
  }

  keep(): () => void {
    const { next, begun } = this;
    return () => {
      this.next = next;
      this.begun = begun;
    };
  }

  explain(): string {
    return `the turn is at place ${(this.next % Math.max(this.order.length, 1)) + 1} of the list`;
  }

  private start(): number {
    return Math.floor((this.order.length * this.env.worker) / this.env.workers);
  }

  /** The cursor in the new order. After the last choice if that is still listed, else before its old successor. */
  private carryOver(old: Int32Array): number {
    const position = new Map<number, number>();
    this.order.forEach((id, at) => {
      position.set(id, at);
    });
    const n = old.length;
    for (let i = 0; i < n; i++) {
      const at = position.get(old[(this.next - 1 + i + n) % n]!);
      if (at !== undefined) return i === 0 ? at + 1 : at;
    }
    return 0;
  }
}

export const rr: SchedulerFactory = {
  name: 'rr',
  summary: 'round robin: each server in turn, whatever its weight',
  options: {},
  create: (view, _options, env) => new RoundRobin(view, env),
};
