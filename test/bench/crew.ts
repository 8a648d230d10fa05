/**
 * In memory with one and with two workers, each a thread with a generator of its own, as the data planes of tsvs are threads that share
 * nothing: what two of them do together, and what each does.
 */
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Member, Work } from './crew-member.ts';
import type { MemoryRow } from './memory.ts';

const CREWS = [1, 2];
const WHAT = ['ping', 'IPv4 forwarding', 'direct routing', 'FullNAT'];
const RUNS = 5;
const RUN_MS = 400;

/** Packets per microsecond of each worker, by run. */
async function measure(subject: string, size: number, ms: number): Promise<number[][]> {
  const go = new SharedArrayBuffer(4);
  const signal = new Int32Array(go);
  const workers = Array.from({ length: size }, (_, index) => {
    const member: Member = { subject, index, ms, go };
    return new Worker(new URL('./crew-member.mjs', import.meta.url), { workerData: member });
  });
  const answers = async (): Promise<unknown[]> =>
    (await Promise.all(workers.map((worker) => once(worker, 'message')))).map(([message]) => message);
  await answers();
  const runs: number[][] = [];
  for (let run = 1; run <= RUNS; run++) {
    const done = answers();
    Atomics.store(signal, 0, run);
    Atomics.notify(signal, 0);
    runs.push(((await done) as Work[]).map((work) => work.packets / work.ms / 1000));
  }
  const ended = Promise.all(workers.map((worker) => once(worker, 'exit')));
  Atomics.store(signal, 0, -1);
  Atomics.notify(signal, 0);
  await ended;
  return runs;
}

/** The median of five runs; `scale` below 1 makes them short, and the figures worthless. `only`: subjects, by name. */
export async function crewRows(scale: number, only: RegExp): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  for (const subject of WHAT.filter((what) => only.test(what))) {
    for (const size of CREWS) {
      const runs = await measure(subject, size, RUN_MS * scale);
      const sum = (run: readonly number[]): number => run.reduce((total, mpps) => total + mpps, 0);
      const sorted = runs.toSorted((a, b) => sum(a) - sum(b));
      const each = (run: readonly number[]): string => run.map((mpps) => mpps.toFixed(2)).join(' + ');
      const median = sorted[RUNS >> 1]!;
      rows.push({
        group: 'workers',
        what: `${subject}, ${size === 1 ? '1 worker' : `${size} workers`}`,
        value: Number(sum(median).toPrecision(4)),
        unit: 'Mpps',
        note: `${each(median)}; ${sum(sorted[0]!).toFixed(2)} to ${sum(sorted.at(-1)!).toFixed(2)} in ${RUNS} runs`,
      });
    }
  }
  return rows;
}
