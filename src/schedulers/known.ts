/**
 * The schedulers from files that a running tsvs has: prepared once each, and made known to the control thread, which wants their names;
 * the worker gets what they return and schedules. Called by src/cli/run.ts at the start and for every change.
 */
import type { Config } from '../config/model.ts';
import { installSchedulers } from './install.ts';
import { type Judged, prepareSchedulers } from './prepare.ts';

export class UserSchedulers {
  private readonly known = new Set<string>();

  /** Those of the first configuration. One with a problem is known, too: wlc is in its place until tsvs is restarted. */
  atStart(config: Config): Judged[] {
    return this.learn(prepareSchedulers(config));
  }

  /** Those that a change names first. One with a problem is not known afterwards, and may be named again. */
  added(config: Config): Judged[] {
    const judged = prepareSchedulers(config, undefined, this.known);
    this.learn(judged.filter(({ problem }) => problem === null));
    return judged;
  }

  private learn(judged: Judged[]): Judged[] {
    installSchedulers(judged, { nowUs: () => 0, gaveUp: () => {} });
    for (const { name } of judged) this.known.add(name);
    return judged;
  }
}
