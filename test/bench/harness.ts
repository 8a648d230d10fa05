/**
 * Measuring in one process: time per operation as the best and median of several runs after a warm-up, and heap bytes
 * per operation as a slope between two lengths, which cancels what each run costs.
 */
import { PerformanceObserver, performance } from 'node:perf_hooks';

export interface Timing {
  readonly best: number;
  readonly median: number;
  readonly runs: number;
}

/** Nanoseconds per operation of `body(n)`, which performs n operations. */
export function time(body: (n: number) => void, n: number, runs = 7): Timing {
  body(Math.max(n >> 2, 1));
  const ns: number[] = [];
  for (let i = 0; i < runs; i++) {
    const start = performance.now();
    body(n);
    ns.push(((performance.now() - start) * 1e6) / n);
  }
  ns.sort((a, b) => a - b);
  return { best: ns[0]!, median: ns[ns.length >> 1]!, runs };
}

let collections = 0;
new PerformanceObserver((list) => {
  collections += list.getEntries().length;
}).observe({ entryTypes: ['gc'] });

const settle = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

/** Readings of the heap until one costs the same each time: V8 has compiled what it takes. */
const FIRST_READINGS = 16;

const middle = (values: readonly number[]): number => values.toSorted((a, b) => a - b)[values.length >> 1]!;

/**
 * Heap bytes allocated per million operations: what runs of 3n cost more than those of n, medians of `runs` each, so that what happens once
 * (V8 compiles something anew) is not in it. Needs --expose-gc and a young generation large enough that nothing is collected while
 * measuring (--max-semi-space-size); a run during which the collector worked is taken again.
 */
export async function allocated(body: (n: number) => void, n: number, runs = 5): Promise<number> {
  const gc = (globalThis as { gc?: () => void }).gc;
  if (gc === undefined) throw new Error('run with --expose-gc');
  const one = async (count: number): Promise<number> => {
    for (let attempt = 0; attempt < 5; attempt++) {
      gc();
      await settle();
      const before = collections;
      const used = process.memoryUsage().heapUsed;
      body(count);
      const bytes = process.memoryUsage().heapUsed - used;
      await settle();
      if (collections === before) return bytes;
    }
    throw new Error('the collector ran in every attempt: raise --max-semi-space-size');
  };
  for (let i = 0; i < FIRST_READINGS; i++) process.memoryUsage();
  body(n);
  const long: number[] = [];
  const short: number[] = [];
  for (let i = 0; i < runs; i++) {
    long.push(await one(3 * n));
    short.push(await one(n));
  }
  return ((middle(long) - middle(short)) / (2 * n)) * 1e6;
}
