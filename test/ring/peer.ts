/**
 * The threads of the stress tests: what each role does until its work is done, and what it reports. Every thread waits for the
 * start word, so that all run at once. Records carry their number and words derived from it, so that a mixture of two records shows.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { Counters } from '../../stack/mem/counters.ts';
import { Lpm } from '../../stack/mem/lpm.ts';
import { MpmcRing } from '../../stack/mem/mpmc-ring.ts';
import { SeqRows } from '../../stack/mem/seq-rows.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import {
  BOARD,
  COUNTER_STEP,
  type Report,
  ROW_WORDS,
  ROWS,
  type Role,
  START,
  TAKEN,
  type Task,
  WRITERS_DONE,
} from './stress.ts';

const task = workerData as Task;
const { sab, count } = task;
const board = new Int32Array(task.board);
const report: Report = { done: 0, waits: 0, wrong: '' };
const nap = new Int32Array(new SharedArrayBuffer(4));
let idle = 0;

function wrong(text: string): void {
  if (report.wrong === '') report.wrong = text;
}

/** Gives way: by spinning at first, then, in case both threads share a core, by a short wait. */
function pause(): void {
  report.waits++;
  if (++idle % 1000 === 0) Atomics.wait(nap, 0, 0, 0.05);
}

let state = task.seed | 0;
/** Pseudo-random number in 0..n-1. */
function random(n: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) | 0;
  return (state >>> 8) % n;
}

function fill(rec: Int32Array, off: number, words: number, n: number): void {
  for (let i = 0; i < words; i++) rec[off + i] = Math.imul(n, 2 * i + 1);
}

function check(rec: Int32Array, off: number, words: number): void {
  const n = rec[off]!;
  for (let i = 1; i < words; i++) {
    if (rec[off + i] !== Math.imul(n, 2 * i + 1)) wrong(`record ${n} has word ${i} of another record`);
  }
}

const roles: Record<Role, () => void> = {
  'spsc producer'() {
    const ring = SpscRing.attach(sab, 0);
    const words = ring.recordWords;
    const batch = new Int32Array(40 * words);
    for (let next = 1; next <= count; ) {
      const n = Math.min(1 + random(40), count + 1 - next);
      for (let i = 0; i < n; i++) fill(batch, i * words, words, next + i);
      let sent = 0;
      while (sent < n) {
        const went = ring.push(batch, sent * words, n - sent);
        sent += went;
        if (went === 0) pause();
      }
      next += n;
    }
    report.done = count;
  },

  'spsc consumer'() {
    const ring = SpscRing.attach(sab, 0);
    const words = ring.recordWords;
    const batch = new Int32Array(40 * words);
    while (report.done < count) {
      const n = ring.pop(batch, 0, 1 + random(40));
      if (n === 0) pause();
      for (let i = 0; i < n; i++) {
        if (batch[i * words] !== ++report.done) wrong(`record ${batch[i * words]} came as number ${report.done}`);
        check(batch, i * words, words);
      }
    }
    if (ring.observe() !== 0) wrong('more records than were sent');
  },

  'mpmc producer'() {
    const ring = MpmcRing.attach(sab, 0);
    const rec = new Int32Array(ring.recordWords);
    for (let n = 1; n <= count; n++) {
      fill(rec, 0, rec.length, task.index * count + n);
      while (!ring.push(rec, 0)) pause();
      report.done++;
    }
  },

  'mpmc consumer'() {
    const ring = MpmcRing.attach(sab, 0);
    const rec = new Int32Array(ring.recordWords);
    const perProducer = count / 2;
    const last = [0, 0];
    while (Atomics.load(board, TAKEN) < count) {
      if (!ring.pop(rec, 0)) {
        pause();
        continue;
      }
      const n = rec[0]!;
      check(rec, 0, rec.length);
      if (n < 1 || n > count) wrong(`record ${n} was never sent`);
      const from = n > perProducer ? 1 : 0;
      if (n <= last[from]!) wrong(`record ${n} came after ${last[from]}`);
      last[from] = n;
      Atomics.add(board, BOARD + n, 1);
      Atomics.add(board, TAKEN, 1);
      report.done++;
    }
  },

  'rows writer'() {
    const rows = SeqRows.attach(sab, 0);
    for (let n = 1; n <= count; n++) {
      const row = 1 + random(ROWS);
      rows.beginWrite(row);
      for (let i = 0; i < ROW_WORDS; i++) rows.set(row, i, Math.imul(n, 2 * i + 1));
      rows.endWrite(row);
      report.done++;
    }
  },

  'rows reader'() {
    const rows = SeqRows.attach(sab, 0);
    const out = new Int32Array(ROW_WORDS);
    const last = new Int32Array(ROWS + 1);
    while (Atomics.load(board, WRITERS_DONE) === 0 || report.done === 0) {
      const row = 1 + random(ROWS);
      if (!rows.read(row, out)) {
        pause();
        continue;
      }
      report.done++;
      check(out, 0, ROW_WORDS);
      if (out[0]! < last[row]!) wrong(`row ${row} went back from write ${last[row]} to ${out[0]}`);
      last[row] = out[0]!;
    }
  },

  'counter writer'() {
    const counters = Counters.attach(sab, 0);
    for (let n = 1; n <= count; n++) counters.add(1, COUNTER_STEP);
    report.done = count;
  },

  'counter reader'() {
    const counters = Counters.attach(sab, 0);
    let last = 0;
    while (Atomics.load(board, WRITERS_DONE) === 0 || report.done === 0) {
      for (let i = 0; i < 1000; i++) {
        const value = counters.values[1]!;
        if (value % COUNTER_STEP !== 0) wrong(`torn value ${value}`);
        if (value < last) wrong(`value went back from ${last} to ${value}`);
        last = value;
        report.done++;
      }
    }
  },

  'lpm builder'() {
    const lpm = Lpm.attach(sab, 0, 0);
    for (let n = 1; n <= count; n++) {
      const entries = [
        { prefix: 0x0a000001, len: 32, value: n },
        { prefix: 0xc0a80100 | 0, len: 24, value: n },
      ];
      while (lpm.build(entries) === 'busy') pause();
      report.done++;
    }
  },

  'lpm reader'() {
    const lpm = Lpm.attach(sab, 0, 1);
    let last = 0;
    while (Atomics.load(board, WRITERS_DONE) === 0 || last !== count) {
      lpm.refresh();
      const value = lpm.lookup(0x0a000001);
      if (value < last) wrong(`build ${value} after build ${last}`);
      last = value;
      for (let i = 0; i < 200; i++) {
        if (lpm.lookup(0x0a000001) !== value || lpm.lookup(0xc0a801ff | 0) !== value)
          wrong(`build ${value} is mixed with another`);
        report.done++;
      }
    }
    lpm.detach();
  },
};

Atomics.wait(board, START, 0);
roles[task.role]();
if (/producer|writer|builder/.test(task.role)) Atomics.add(board, WRITERS_DONE, 1);
parentPort!.postMessage(report);
