/** Congestion controls by name. */
import { cubic } from './cubic.ts';
import type { CongestionControl } from './index.ts';
import { reno } from './reno.ts';

export const CONGESTION_CONTROLS: readonly CongestionControl[] = [cubic, reno];

/** The one called `name`, or null. */
export const congestionControl = (name: string): CongestionControl | null =>
  CONGESTION_CONTROLS.find((c) => c.name === name) ?? null;
