/** Service tables for tests: room for a few services and many servers, seeded randomness. */

import { DestTable } from '../../lb/dest.ts';
import type { SchedEnv } from '../../lb/sched/index.ts';
import { ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';

/** 10.0.x.y as int32. */
export function addrOf(i: number): number {
  return (0x0a000000 + i) | 0;
}

interface Sizes extends Partial<Omit<SchedEnv, 'random'>> {
  readonly capacity?: number;
  readonly dests?: number;
}

export function makeServices({ capacity = 16, dests = 1100, worker = 0, workers = 1 }: Sizes = {}): ServiceTable {
  let state = 1;
  const random = { next: () => (state = (Math.imul(state, 1664525) + 1013904223) | 0) };
  return new ServiceTable(
    ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(capacity)), 0, capacity),
    DestTable.create(new SharedArrayBuffer(DestTable.bytes(dests)), 0, dests),
    { random, worker, workers },
  );
}
