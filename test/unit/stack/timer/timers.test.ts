import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Timers } from '../../../../stack/timer/timers.ts';

/** A handler that notes `name` and the number of each timer that fires. */
function noting(name: string, log: string[]): { onTimer(i: number): void } {
  return { onTimer: (i) => log.push(`${name}${i}`) };
}

test('each module hears of its own timers, by its own numbers', () => {
  const log: string[] = [];
  const timers = new Timers(6, 0);
  const conn = timers.range(3, noting('conn', log));
  const neigh = timers.range(3, noting('neigh', log));
  conn.arm(1, 10);
  neigh.arm(1, 20);
  conn.arm(3, 30);
  neigh.arm(3, 40);
  assert.ok(neigh.isArmed(3));
  assert.not(neigh.isArmed(2));
  neigh.cancel(1);
  assert.is(timers.nextDue(0, 100), 10);
  timers.advance(50);
  assert.equal(log, ['conn1', 'conn3', 'neigh3']);
  assert.is(timers.nextDue(50, 100), 100);
});

test('a handler may arm its timer again', () => {
  const timers = new Timers(1, 0);
  let times = 0;
  const range = timers.range(1, {
    onTimer(i) {
      times++;
      range.arm(i, 10 * (times + 1));
    },
  });
  range.arm(1, 10);
  for (let ms = 1; ms <= 45; ms++) timers.advance(ms);
  assert.is(times, 4);
});

test('more timers than planned are a fault in the composition', () => {
  const timers = new Timers(4, 0);
  timers.range(3, noting('a', []));
  assert.throws(() => timers.range(2, noting('b', [])), /5 needed, capacity 4/);
  timers.range(1, noting('c', [])).arm(1, 5);
});

test.run();
