/** Maglev's tables of many servers, and what becomes of them when some leave; for the tests and for scripts/plot-maglev.ts. */
import { buildTable, type Claim } from '../../lb/sched/maglev.ts';
import { addrOf } from './services.ts';

/** Claims of servers n .. 1, port 80, the order mh builds in. */
export function claims(n: number, weight = (_: number): number => 1): Claim[] {
  return Array.from({ length: n }, (_, i) => ({ id: n - i, addr: addrOf(n - i), port: 80, weight: weight(n - i) }));
}

/** Removes k servers spread over the list: the part of the table they had, and of the rest the part that moved, in %. */
export function disruption(all: readonly Claim[], size: number, k: number): { own: number; moved: number } {
  const gone = new Set(Array.from({ length: k }, (_, i) => all[Math.floor(((i + 0.5) * all.length) / k)]!.id));
  const before = buildTable(all, size);
  const left = all.filter(({ id }) => !gone.has(id));
  const after = buildTable(left, size);
  let own = 0;
  let moved = 0;
  for (let i = 0; i < size; i++) {
    if (gone.has(before[i]!)) own++;
    else if (before[i] !== after[i]) moved++;
  }
  return { own: (100 * own) / size, moved: (100 * moved) / (size - own) };
}
