/**
 * Makes schedulers from files known to lb/sched, under a guard (lb/sched/guard.ts). One that could not be prepared is `wlc` under
 * its own name, so that the configuration stays what it is. Called in each thread, at the start and for those that a change names first.
 */

import { Guarded, type GuardWatch } from '../../lb/sched/guard.ts';
import { createScheduler, isKnown, registerScheduler, type SchedulerFactory } from '../../lb/sched/index.ts';

/** Plain data: it travels to the worker. */
export interface PreparedScheduler {
  /** The file, as the configuration has it. */
  readonly name: string;
  /** The file and what it imports as one script; null when it is not to be used. */
  readonly code: string | null;
}

/** One that this thread has already is passed over. */
export function installSchedulers(prepared: readonly PreparedScheduler[], watch: GuardWatch): void {
  for (const { name, code } of prepared) {
    if (isKnown(name)) continue;
    const factory = code === null ? null : instantiate(code);
    registerScheduler({
      name,
      summary: factory?.summary ?? 'wlc, in the place of a file that cannot be used',
      options: {},
      mayRefuse: () => factory?.mayRefuse?.({}) ?? null,
      create(view, _options, env) {
        const spare = createScheduler('wlc', view, {}, env);
        return factory === null ? spare : new Guarded(name, view, () => factory.create(view, {}, env), spare, watch);
      },
    });
  }
}

/** What a script exports as its scheduler. Throws what the script throws, and Error when it exports none. */
export function instantiate(code: string): SchedulerFactory {
  const module: { exports: Record<string, unknown> } = { exports: {} };
  // A function, not an import: a worker never returns to its event loop, and the script needs nothing but itself.
  new Function('module', 'exports', code)(module, module.exports);
  const found = module.exports['default'] ?? module.exports['scheduler'];
  if (!isFactory(found))
    throw new Error('it exports no scheduler: `export default` an object with a function `create`');
  return found;
}

function isFactory(value: unknown): value is SchedulerFactory {
  return typeof value === 'object' && value !== null && typeof (value as SchedulerFactory).create === 'function';
}
