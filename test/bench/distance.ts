/**
 * How long a cache line takes from one processor to another and back: what every packet that two processors share costs several
 * times over. On a virtual machine it is no constant, as the hypervisor may move processors between the caches of the machine below.
 */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';

/** At a time; the best of eight times counts. */
const TRIPS = 5_000;

/** One end: writes the next number and waits for it, 256 words further on. Kept as text, as it becomes a worker of its own. */
const END = `
  const { parentPort, workerData } = require('node:worker_threads');
  const { words, first, n } = workerData;
  const [mine, other] = first ? [0, 256] : [256, 0];
  let last = 0;
  const trips = () => {
    const from = performance.now();
    const end = last + n;
    for (let i = last + 1; i <= end; i++) {
      if (first) Atomics.store(words, mine, i);
      while (Atomics.load(words, other) !== i);
      if (!first) Atomics.store(words, mine, i);
    }
    last = end;
    return ((performance.now() - from) * 1e6) / n;
  };
  parentPort.postMessage(require('node:fs').readlinkSync('/proc/thread-self').split('/').at(-1));
  parentPort.on('message', () => {
    let best = Infinity;
    for (let i = 0; i < 8; i++) best = Math.min(best, trips());
    parentPort.postMessage(best);
  });
`;

/** A thread on each of two processors. */
export class Distance {
  private readonly workers: readonly Worker[];

  private constructor(workers: readonly Worker[]) {
    this.workers = workers;
  }

  static async between(one: number, other: number): Promise<Distance> {
    const words = new Int32Array(new SharedArrayBuffer(4096));
    const end = (first: boolean): Worker => new Worker(END, { eval: true, workerData: { words, first, n: TRIPS } });
    const distance = new Distance([end(true), end(false)]);
    const threads = await distance.heard();
    for (const [i, cpu] of [one, other].entries()) spawnSync('taskset', ['-cp', String(cpu), String(threads[i])]);
    return distance;
  }

  /** Nanoseconds for a round trip; neither processor should have anything else to do. */
  async measure(): Promise<number> {
    const ended = this.heard();
    for (const worker of this.workers) worker.postMessage('go');
    return Number((await ended)[0]);
  }

  async end(): Promise<void> {
    await Promise.all(this.workers.map((worker) => worker.terminate()));
  }

  private heard(): Promise<readonly (string | number)[]> {
    return Promise.all(this.workers.map(async (worker) => ((await once(worker, 'message')) as [string | number])[0]));
  }
}
