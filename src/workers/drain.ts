/**
 * The end of a worker, from the control thread's side: it stops accepting, sessions may end within a limit, what is left
 * is reset; a worker that does not react to that either is given up. Used by the supervisor; time comes in as a function.
 */
import { DRAIN, STOP } from './plan.ts';

/** How long a worker may take to reset its sessions and leave its loop, which never sleeps for more than 100 ms. */
export const GRACE_MS = 2000;

export interface Drainable {
  /** Sets COMMAND and wakes the worker. */
  request(command: number): void;
  /** Resolves when the thread has ended. */
  readonly ended: Promise<unknown>;
}

/** Calls `action` after `ms`; the result cancels that. */
export type Schedule = (ms: number, action: () => void) => () => void;

export type Outcome = 'ended' | 'wedged';

const realTime: Schedule = (ms, action) => {
  const timer = setTimeout(action, ms);
  return () => clearTimeout(timer);
};

export class Drain {
  /** `wedged`: the worker still runs, GRACE_MS after it was told to reset its sessions. */
  readonly outcome: Promise<Outcome>;
  private readonly worker: Drainable;
  private readonly schedule: Schedule;
  private readonly giveUp: () => void;
  private cancel: () => void;
  private resetting = false;

  constructor(worker: Drainable, limitMs: number, schedule: Schedule = realTime) {
    this.worker = worker;
    this.schedule = schedule;
    let giveUp = (): void => {};
    this.outcome = new Promise<Outcome>((resolve) => {
      giveUp = () => resolve('wedged');
      worker.ended.then(() => resolve('ended'));
    }).finally(() => this.cancel());
    this.giveUp = giveUp;
    worker.request(DRAIN);
    this.cancel = schedule(limitMs, () => this.reset());
  }

  /** Resets the sessions that are left, now. */
  reset(): void {
    if (this.resetting) return;
    this.resetting = true;
    this.cancel();
    this.worker.request(STOP);
    this.cancel = this.schedule(GRACE_MS, this.giveUp);
  }
}
