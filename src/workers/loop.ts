/**
 * The worker loop: turn the host while there is work, spin a little, then sleep in poll(2) on the ports and the eventfd
 * until the next timer, at most 100 ms.
 *
 * Sleeping and waking: the worker sets SLEEPING, then looks at COMMAND and MAIL once more, then polls. Whoever wants its
 * attention stores one of them, then looks at SLEEPING and writes the eventfd if it is set. Both orders are those of Atomics
 * (sequentially consistent), so one of the two always sees the other: no wake-up is lost. Links that are woken by a flag in
 * shared memory do the same in `prepareSleep`: arm first, then look once more.
 *
 * @hot
 */
import type { Clock } from '../../stack/timer/clock.ts';
import { COMMAND, MAIL, SLEEPING } from './plan.ts';
import type { LoopStats } from './stats.ts';

/** Longest sleep in ms: a blocked worker cannot be terminated, so this bounds the time to stop a wedged process. */
const MAX_SLEEP_MS = 100;
/** How long to look for more before sleeping, in microseconds. */
const SPIN_US = 50;
/** Turns between two looks at COMMAND and two publications of the counters. */
const HOUSEKEEPING_TURNS = 256;
const PUBLISH_US = 50_000;

/** What is kept running: a host's stack with everything on top of it. */
export interface Engine {
  /** One turn at `now`, in microseconds; returns the number of frames received. */
  turn(now: number): number;
  /** Milliseconds until there is something to do without input, at most `limitMs`. */
  nextDue(limitMs: number): number;
  /** Arms what wakes a sleeping loop; false when there is input already. */
  prepareSleep(): boolean;
}

export interface Waiter {
  /** Blocks until a port or the eventfd is readable, or `ms` have passed. */
  wait(ms: number): void;
}

export interface LoopHooks {
  /** COMMAND has changed to `command`. Returns false to leave the loop. */
  command(command: number): boolean;
  /** MAIL has changed: there is something in the rings. */
  mail(): void;
  /** Called about every 50 ms and before sleeping: publish counters, look after the drain. False = leave the loop. */
  housekeeping(): boolean;
}

/** `spinUs`: how long to look for more before sleeping; Infinity never sleeps. */
export function runLoop(
  engine: Engine,
  clock: Clock,
  waiter: Waiter,
  control: Int32Array,
  stats: LoopStats,
  hooks: LoopHooks,
  spinUs = SPIN_US,
): void {
  let command = 0;
  let mail = 0;
  let lastBusy = clock.nowUs();
  let lastPublished = lastBusy;
  for (;;) {
    const now = clock.nowUs();
    stats.turns++;
    if (engine.turn(now) > 0) lastBusy = now;
    else if (now - lastBusy >= spinUs) {
      if (!hooks.housekeeping()) return;
      Atomics.store(control, SLEEPING, 1);
      const told = Atomics.load(control, COMMAND) !== command || Atomics.load(control, MAIL) !== mail;
      if (!told && engine.prepareSleep()) {
        stats.sleeps++;
        waiter.wait(engine.nextDue(MAX_SLEEP_MS));
      }
      Atomics.store(control, SLEEPING, 0);
      lastBusy = clock.nowUs() - spinUs; // one look after waking, then sleep again unless there was work
    }
    if (stats.turns % HOUSEKEEPING_TURNS === 0 && now - lastPublished >= PUBLISH_US) {
      lastPublished = now;
      if (!hooks.housekeeping()) return;
    }
    if (control[COMMAND] !== command) {
      command = Atomics.load(control, COMMAND);
      if (!hooks.command(command)) return;
    }
    if (control[MAIL] !== mail) {
      mail = Atomics.load(control, MAIL);
      hooks.mail();
    }
  }
}
