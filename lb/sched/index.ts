/**
 * The schedulers by name. To add one: a file beside this one that exports a `SchedulerFactory`, a line in the table
 * below, and the contract suite (test/contract/sched.test.ts) runs for it.
 * Called by lb/service.ts and, for names and options, by the configuration. Cold.
 */

import { conhash } from './conhash.ts';
import type { SchedEnv, SchedOptions, Scheduler, SchedulerFactory, SchedView } from './contract.ts';
import { dh } from './dh.ts';
import { fo } from './fo.ts';
import { lblc } from './lblc.ts';
import { lblcr } from './lblcr.ts';
import { lc } from './lc.ts';
import { mh } from './mh.ts';
import { nq } from './nq.ts';
import { ovf } from './ovf.ts';
import { rr } from './rr.ts';
import { sed } from './sed.ts';
import { sh } from './sh.ts';
import { twos } from './twos.ts';
import { wlc } from './wlc.ts';
import { wrr } from './wrr.ts';

export * from './contract.ts';

/** A scheduler name, option or value that does not exist; the message names those that do. */
export class SchedulerError extends Error {
  readonly code = 'SCHEDULER';
}

const factories = new Map<string, SchedulerFactory>();
const BUILT_IN = [conhash, dh, fo, lblc, lblcr, lc, mh, nq, ovf, rr, sed, sh, twos, wlc, wrr];
for (const factory of BUILT_IN) factories.set(factory.name, factory);

/** Makes a scheduler known under its name; throws SchedulerError if the name is taken. */
export function registerScheduler(factory: SchedulerFactory): void {
  if (factories.has(factory.name)) throw new SchedulerError(`scheduler "${factory.name}" exists already`);
  factories.set(factory.name, factory);
}

/** Whether there is a scheduler of this name. */
export const isKnown = (name: string): boolean => factories.has(name);

/** All of them, in order of name. */
export function schedulers(): SchedulerFactory[] {
  return [...factories.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
}

/** Throws SchedulerError unless `name` exists and takes these options. */
export function checkScheduler(name: string, options: SchedOptions): SchedulerFactory {
  const factory = factories.get(name);
  if (factory === undefined) {
    const names = schedulers().map((f) => f.name);
    throw new SchedulerError(`unknown scheduler "${name}"; there are ${names.join(', ')}`);
  }
  for (const [option, value] of Object.entries(options)) {
    const values = Object.hasOwn(factory.options, option) ? factory.options[option] : undefined;
    if (values === undefined) {
      const known = Object.keys(factory.options).join(', ') || 'none';
      throw new SchedulerError(`scheduler "${name}" has no option "${option}"; its options: ${known}`);
    }
    if (!values.includes(value)) {
      throw new SchedulerError(`scheduler "${name}": ${option} = "${value}" is not one of ${values.join(', ')}`);
    }
  }
  return factory;
}

/** A scheduler for one service on one worker. */
export function createScheduler(name: string, view: SchedView, options: SchedOptions, env: SchedEnv): Scheduler {
  return checkScheduler(name, options).create(view, options, env);
}
