/**
 * One worker of crew.ts: a data plane in memory with a generator of its own, on a processor of its own. Its data is Member; when it is
 * warm it says so, then waits until `go` counts up, works for `ms`, and answers with Work, again and again; it ends when `go` is -1.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { pinTo } from '../../src/workers/pin.ts';
import { SUBJECTS } from './check-subjects.ts';

export interface Member {
  readonly subject: string;
  /** Among how many it is: names its processor. */
  readonly index: number;
  readonly ms: number;
  readonly go: SharedArrayBuffer;
}

export interface Work {
  readonly packets: number;
  readonly ms: number;
}

/** Packets between two looks at the clock: under a millisecond. */
const CHUNK = 4096;

const { subject, index, ms, go } = workerData as Member;
const signal = new Int32Array(go);
pinTo(index);
const { make, n } = SUBJECTS[subject]!;
const body = make();
for (let i = 0; i < 4; i++) body(n);
// In the pieces that it will be asked for.
for (let i = 0; i < 100; i++) body(CHUNK);
parentPort!.postMessage('warm');

for (let round = 0; ; round++) {
  Atomics.wait(signal, 0, round);
  if (Atomics.load(signal, 0) < 0) break;
  const began = performance.now();
  let packets = 0;
  let now = began;
  for (; now - began < ms; now = performance.now()) {
    body(CHUNK);
    packets += CHUNK;
  }
  parentPort!.postMessage({ packets, ms: now - began } satisfies Work);
}
