/**
 * Workers that die on purpose, for tests of what happens then: TSVS_TEST_CRASH=0,2:/tmp/now has workers 0 and 2 throw as soon as there is
 * such a file, each the first time only; or hang, if the file says so.
 */
import { existsSync, readFileSync } from 'node:fs';

const [, WORKERS = '', FILE] = /^([\d,]+):(.+)$/.exec(process.env['TSVS_TEST_CRASH'] ?? '') ?? [];

/** Throws, or does not return, when it is time. Called at each housekeeping. */
export function dieIfAsked(worker: number, generation: number): void {
  if (FILE === undefined || !WORKERS.split(',').includes(`${worker}`) || generation !== 0) return;
  if (!existsSync(FILE)) return;
  while (readFileSync(FILE, 'utf8') === 'hang');
  throw new Error('died on purpose');
}
