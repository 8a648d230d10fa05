/**
 * Warms a worker: has its data plane carry synthetic frames, in memory, before it has a link, so that what V8 knows and has compiled
 * when the first real frame comes is what it needs. Nothing of it is seen: pool, tables, counters and clock are thrown away with the
 * data plane that they belong to. ADR 0020 says for how long and why. Called by worker.ts.
 */
import type { Clock } from '../../stack/timer/clock.ts';
import type { Config } from '../config/model.ts';
import { directorRounds } from './director.ts';
import { proxyRounds } from './proxy.ts';
import { sceneConfig, type Way, waysOf } from './scene.ts';

/** How long each way of packets through a worker is warmed at most, and all of them together, in microseconds. */
const WAY_US = 100_000;
const ALL_US = 300_000;

/** A way with what became of warming it. */
export interface Warmed extends Way {
  readonly rounds: number;
  /** Rounds in which not all came that should have. */
  readonly failed: number;
}

/** Warms what services of this configuration need. With `several` workers, what divides frames among them, too. */
export function warmUp(config: Config, clock: Clock, several: boolean, wayUs = WAY_US, allUs = ALL_US): Warmed[] {
  const ways = waysOf(config);
  const each = Math.min(wayUs, allUs / ways.length);
  const offload = config.links.some(({ kind, offload }) => offload === 'on' && (kind === 'tap' || kind === 'packet'));
  return ways.map((way) => {
    const until = clock.nowUs() + each;
    const scene = sceneConfig(config, way);
    const round = way.mode === 'proxy' ? proxyRounds(scene, several, offload) : directorRounds(scene, way, several);
    let [rounds, failed] = [0, 0];
    for (; clock.nowUs() < until; rounds++) if (!round()) failed++;
    return { ...way, rounds, failed };
  });
}
