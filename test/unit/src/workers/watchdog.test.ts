/** A worker hangs when its clock stands still for many looks in a row, and not otherwise. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PATIENCE, Watchdog } from '../../../../src/workers/watchdog.ts';

/** Looks `n` times; who was found to hang, in order. */
function looks(watchdog: Watchdog, n: number, clocks: (look: number) => (number | null)[]): number[] {
  return Array.from({ length: n }, (_, look) => watchdog.look(clocks(look))).flat();
}

test('one whose clock stands still is told once, and again only after it has moved', () => {
  const watchdog = new Watchdog();
  assert.equal(
    looks(watchdog, PATIENCE, (look) => [look, 7]),
    [],
  );
  assert.equal(
    looks(watchdog, 1, () => [-1, 7]),
    [1],
  );
  assert.equal(
    looks(watchdog, 3 * PATIENCE, (look) => [look, 7]),
    [],
  );
  assert.equal(
    looks(watchdog, PATIENCE + 1, (look) => [look, 8]),
    [1],
  );
});

test('one that moves now and then does not hang, nor does one that has not begun', () => {
  const watchdog = new Watchdog();
  const now = (look: number): number[] => [Math.floor(look / (PATIENCE - 1))];
  assert.equal(looks(watchdog, 10 * PATIENCE, now), []);
  assert.equal(
    looks(watchdog, 3 * PATIENCE, () => [null]),
    [],
  );
  assert.equal(
    looks(watchdog, PATIENCE, () => [0]),
    [],
    'the first look at a clock says nothing',
  );
});

test('a clock that turns round moves', () => {
  const watchdog = new Watchdog();
  assert.equal(
    looks(watchdog, 3 * PATIENCE, (look) => [(0x7fffffff - PATIENCE + look) | 0]),
    [],
  );
});

test.run();
