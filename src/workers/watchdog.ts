/**
 * Notices a worker that turns no more, as in a loop that does not end: its clock, which a worker stores several times a second, stands
 * still. Looks are counted, not time: a machine that sleeps, or a process that is stopped, is no fault of the worker. Used by the
 * supervisor, which ends such a worker; what happens then is what happens when one dies.
 */

/** Between two looks. */
export const LOOK_MS = 1000;
/**
 * So many looks with the same clock are too many: the largest change, new weights for 1000 servers of the largest Maglev table, takes 44 s. For
 * tests of what happens then, TSVS_TEST_PATIENCE.
 */
export const PATIENCE = Number(process.env['TSVS_TEST_PATIENCE'] ?? 120);

export class Watchdog {
  /** By worker: its clock, and looks since that has moved. */
  private readonly clocks: (number | null)[] = [];
  private readonly still: number[] = [];

  /** `clocks`: by worker; null of one that does not run. The result: those that have just been found to hang. */
  look(clocks: readonly (number | null)[]): number[] {
    return clocks.flatMap((clock, worker) => {
      const stands = clock !== null && clock === this.clocks[worker];
      this.clocks[worker] = clock;
      this.still[worker] = stands ? this.still[worker]! + 1 : 0;
      return this.still[worker] === PATIENCE ? [worker] : [];
    });
  }
}
