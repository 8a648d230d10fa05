/** Starts the threads of one stress test together and gathers what they report; and what these threads (peer.ts) agree on. */
import * as assert from 'uvu/assert';
import { result, tsWorker } from '../lib/ts-worker.ts';

export type Role =
  | 'spsc producer'
  | 'spsc consumer'
  | 'mpmc producer'
  | 'mpmc consumer'
  | 'rows writer'
  | 'rows reader'
  | 'counter writer'
  | 'counter reader'
  | 'lpm builder'
  | 'lpm reader';

export type Task = {
  readonly role: Role;
  /** The block under test, at byte 0. */
  readonly sab: SharedArrayBuffer;
  /** [start, writers done, records taken], and from BOARD on one word per record: how often it was taken. */
  readonly board: SharedArrayBuffer;
  /** Records to send, or changes to make; for consumers, records of all producers. */
  readonly count: number;
  /** Number of this thread among those of its role, 0... */
  readonly index: number;
  readonly seed: number;
};

export type Report = {
  /** Records taken, rows read, ... */
  done: number;
  /** Times a full ring, an empty ring or a busy table made the thread wait. */
  waits: number;
  /** First thing found wrong, '' when nothing was. */
  wrong: string;
};

export const START = 0;
export const WRITERS_DONE = 1;
export const TAKEN = 2;
export const BOARD = 16;
export const ROWS = 4;
export const ROW_WORDS = 12;
/** Counter values are multiples of this: the lower and the upper half of each say the same. */
export const COUNTER_STEP = 2 ** 32 + 1;

export type Run = { readonly reports: readonly Report[]; readonly board: Int32Array };

const LIMIT_MS = 20_000;

/**
 * Runs one thread per task to its end. Fails with what the threads found wrong, or when they do not end (a lost record, a reader
 * that starves).
 *
 * @param slots words of the board after BOARD
 */
export async function stress(
  sab: SharedArrayBuffer,
  tasks: readonly { role: Role; count: number; index?: number }[],
  slots = 0,
): Promise<Run> {
  const board = new Int32Array(new SharedArrayBuffer((BOARD + slots) * 4));
  const seed = Date.now() | 0;
  console.log(`seed ${seed}`);
  const workers = tasks.map(({ role, count, index = 0 }, i) => {
    const task: Task = { role, sab, board: board.buffer, count, index, seed: seed + i };
    return tsWorker(new URL('./peer.ts', import.meta.url), task);
  });
  const stop = (): void => {
    for (const worker of workers) void worker.terminate();
  };
  const limit = setTimeout(stop, LIMIT_MS);
  try {
    const reports = workers.map((worker) => result<Report>(worker));
    Atomics.store(board, START, 1);
    Atomics.notify(board, START);
    const run = { reports: await Promise.all(reports), board };
    for (const [i, report] of run.reports.entries()) assert.is(report.wrong, '', tasks[i]!.role);
    return run;
  } finally {
    clearTimeout(limit);
    stop();
  }
}
