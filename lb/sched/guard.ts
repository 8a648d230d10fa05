/**
 * A scheduler that is not ours, under supervision: it may take so long for a decision, must not throw, and must choose one of
 * the service's servers that take connections. When it does not, `wlc` schedules for the service from then on, and that is said.
 * What cannot be helped from within: a decision that never ends. The suite it has to pass (suite.ts) looks for those, and who runs the
 * thread may end it (src/workers/watchdog.ts).
 * Created by src/schedulers/install.ts. @hot (`pick`, once per connection)
 */
import { eligible, type FlowKey, type Scheduler, type SchedView } from './contract.ts';

/** Longest time for one decision. A pause of the machine is no fault of it: see STRIKE. */
export const BUDGET_US = 100;
/** A decision that takes longer is a strike, each that does not makes up for a hundredth of one; ten strikes are too many. */
const STRIKE = 100;
const TOO_MANY = 10 * STRIKE;

export interface GuardWatch {
  /** Microseconds; only differences count. */
  nowUs(): number;
  gaveUp(name: string, why: string): void;
}

export class Guarded implements Scheduler {
  readonly name: string;
  private readonly view: SchedView;
  private readonly spare: Scheduler;
  private readonly watch: GuardWatch;
  private inner: Scheduler | null = null;
  private strikes = 0;

  /** `make` may throw. `spare` takes over. */
  constructor(name: string, view: SchedView, make: () => Scheduler, spare: Scheduler, watch: GuardWatch) {
    this.name = name;
    this.view = view;
    this.spare = spare;
    this.watch = watch;
    try {
      this.inner = make();
    } catch (error) {
      this.giveUp(`cannot be created (${String(error)})`);
    }
  }

  update(): void {
    this.spare.update();
    try {
      this.inner?.update();
    } catch (error) {
      this.giveUp(`failed to update (${String(error)})`);
    }
  }

  pick(flow: FlowKey): number {
    const { inner, watch } = this;
    if (inner === null) return this.spare.pick(flow);
    const from = watch.nowUs();
    let dest: number;
    try {
      dest = inner.pick(flow);
    } catch (error) {
      this.giveUp(`failed to choose (${String(error)})`);
      return this.spare.pick(flow);
    }
    const us = watch.nowUs() - from;
    this.strikes = us > BUDGET_US ? this.strikes + STRIKE : Math.max(0, this.strikes - 1);
    if (this.strikes >= TOO_MANY)
      this.giveUp(`takes too long: ${Math.round(us)} us for a decision, ${BUDGET_US} allowed`);
    if (dest === 0 || this.mayHave(dest, flow)) return dest;
    this.giveUp(`chose ${String(dest)}, which is no server that takes connections`);
    return this.spare.pick(flow);
  }

  get byChance(): boolean {
    return this.inner?.byChance ?? false;
  }

  /** A question is no decision: it costs no strike. */
  keep(): () => void {
    const { strikes } = this;
    const spare = this.spare.keep?.();
    const inner = this.guarded(() => this.inner?.keep?.());
    return () => {
      spare?.();
      this.guarded(() => inner?.());
      this.strikes = strikes;
    };
  }

  private guarded<T>(what: () => T): T | undefined {
    try {
      return what();
    } catch (error) {
      this.giveUp(`failed to be asked (${String(error)})`);
      return undefined;
    }
  }

  explain(flow: FlowKey): string {
    if (this.inner === null) return 'given up: wlc';
    try {
      return this.inner.explain?.(flow) ?? '';
    } catch (error) {
      return String(error);
    }
  }

  private mayHave(dest: number, flow: FlowKey): boolean {
    const { ids, count, dests } = this.view;
    for (let i = 0; i < count; i++) if (ids[i] === dest) return eligible(dests, dest, flow);
    return false;
  }

  private giveUp(why: string): void {
    this.inner = null;
    this.watch.gaveUp(this.name, why);
  }
}
