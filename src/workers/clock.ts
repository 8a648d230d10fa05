/** The real clock: microseconds since the process started, monotonic. The only clock the data plane ever sees. */
import { performance } from 'node:perf_hooks';
import type { Clock } from '../../stack/timer/clock.ts';

export const realClock: Clock = {
  nowUs: () => Math.floor(performance.now() * 1000),
};
