/**
 * A worker that dies on purpose, for tests of what happens then: TSVS_TEST_CRASH=1:/tmp/now has worker 1 throw as soon as there is such a
 * file, the first time only.
 */
import { existsSync } from 'node:fs';

const [, WORKER, FILE] = /^(\d+):(.+)$/.exec(process.env['TSVS_TEST_CRASH'] ?? '') ?? [];

/** Throws when it is time. Called at each housekeeping. */
export function dieIfAsked(worker: number, generation: number): void {
  if (FILE === undefined || worker !== Number(WORKER) || generation !== 0) return;
  if (existsSync(FILE)) throw new Error('died on purpose');
}
