/** How many workers a configuration means on this machine. */
import { availableParallelism } from 'node:os';
import type { GlobalConfig } from '../config/model.ts';
import { MAX_WORKERS } from '../config/values.ts';

export const workerCount = ({ workers }: Pick<GlobalConfig, 'workers'>): number =>
  workers === 0 ? Math.min(availableParallelism(), MAX_WORKERS) : workers;
