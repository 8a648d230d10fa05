/**
 * A worker that dies on purpose, for tests of what happens then: TSVS_TEST_CRASH=1:5000 has worker 1 throw five seconds after its start,
 * the first time only.
 */
const [WORKER, AFTER_MS] = (process.env['TSVS_TEST_CRASH'] ?? '').split(':').map(Number);

/** Throws when it is time. Called at each housekeeping. */
export function dieIfAsked(worker: number, generation: number, nowUs: number): void {
  if (WORKER === undefined || worker !== WORKER || generation !== 0 || AFTER_MS === undefined) return;
  if (nowUs >= AFTER_MS * 1000) throw new Error('died on purpose');
}
