/**
 * How long a cache line takes from one processor to another and back: what every packet that two processors share costs several
 * times over. On a virtual machine it is no constant, as the hypervisor may move processors between the caches of the machine below.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** At a time; the best of eight times counts. */
const TRIPS = 10_000;

/** One end: writes the next number and waits for it, 256 words further on. Kept as text, as it becomes a worker of its own. */
const END = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { words, first, n } = workerData;
  const [mine, other] = first ? [0, 256] : [256, 0];
  parentPort.postMessage(require('node:fs').readlinkSync('/proc/thread-self').split('/').at(-1));
  const trips = (begin, end) => {
    const from = performance.now();
    for (let i = begin; i < end; i++) {
      if (first) Atomics.store(words, mine, i);
      while (Atomics.load(words, other) !== i);
      if (!first) Atomics.store(words, mine, i);
    }
    return ((performance.now() - from) * 1e6) / (end - begin);
  };
  parentPort.once('message', () => {
    let best = Infinity;
    for (let i = 0; i < 8; i++) best = Math.min(best, trips(1 + i * n, 1 + (i + 1) * n));
    parentPort.postMessage(best);
  });
`;

/** Nanoseconds for a round trip between two processors that have nothing else to do. */
export async function distance(one: number, other: number): Promise<number> {
  const words = new Int32Array(new SharedArrayBuffer(4096));
  const workers = [true, false].map((first) => new Worker(END, { eval: true, workerData: { words, first, n: TRIPS } }));
  const next = (): Promise<(string | number)[]> =>
    Promise.all(workers.map(async (worker) => ((await once(worker, 'message')) as [string | number])[0]));
  const threads = await next();
  for (const [i, cpu] of [one, other].entries()) spawnSync('taskset', ['-cp', String(cpu), String(threads[i])]);
  const ended = next();
  for (const worker of workers) worker.postMessage('go');
  const [ns] = await ended;
  await Promise.all(workers.map((worker) => worker.terminate()));
  return Number(ns);
}
