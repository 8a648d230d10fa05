/**
 * Workers that die on purpose, for tests of what happens then: TSVS_TEST_CRASH=0,2:/tmp/now has workers 0 and 2 throw as soon as there is
 * such a file, each the first time only.
 */
import { existsSync } from 'node:fs';

const [, WORKERS = '', FILE] = /^([\d,]+):(.+)$/.exec(process.env['TSVS_TEST_CRASH'] ?? '') ?? [];

/** Throws when it is time. Called at each housekeeping. */
export function dieIfAsked(worker: number, generation: number): void {
  if (FILE === undefined || !WORKERS.split(',').includes(`${worker}`) || generation !== 0) return;
  if (existsSync(FILE)) throw new Error('died on purpose');
}
