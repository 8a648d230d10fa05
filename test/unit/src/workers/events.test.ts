/** Repeated events: one message per second per kind and server, and none is lost from the counts. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EventLimiter, failureKey, noServerKey, type RepeatedEvent } from '../../../../src/workers/events.ts';

const failed = (dest: number, retry = true): RepeatedEvent => ({
  type: 'connectFailed',
  service: 1,
  dest,
  end: 2,
  retry,
  count: 1,
});

/** A limiter and what it told, as `dest x count`. */
function rig(): { limiter: EventLimiter; told: string[]; fail(dest: number, now: number, retry?: boolean): void } {
  const told: string[] = [];
  const limiter = new EventLimiter((event) =>
    told.push(`${event.type === 'connectFailed' ? event.dest : event.type} x ${event.count}`),
  );
  return {
    limiter,
    told,
    fail: (dest, now, retry = true) => limiter.note(failureKey(dest, retry), failed(dest, retry), now),
  };
}

test('the first is told at once, those of the next second together', () => {
  const { limiter, told, fail } = rig();
  for (let now = 0; now < 900; now += 100) fail(7, now);
  assert.equal(told, ['7 x 1']);
  limiter.flush(999);
  assert.is(told.length, 1);
  limiter.flush(1000);
  assert.equal(told, ['7 x 1', '7 x 8']);
});

test('as long as it goes on there is one message per second', () => {
  const { limiter, told, fail } = rig();
  for (let now = 0; now < 10_000; now += 10) {
    fail(7, now);
    limiter.flush(now);
  }
  limiter.flushAll();
  assert.is(told.length, 11);
  assert.is(
    told.reduce((sum, line) => sum + Number(line.split(' x ')[1]), 0),
    1000,
  );
});

test('after a quiet second it counts as the first again', () => {
  const { limiter, told, fail } = rig();
  fail(7, 0);
  limiter.flush(1000);
  fail(7, 1001);
  assert.equal(told, ['7 x 1', '7 x 1']);
});

test('servers and kinds do not wait for one another', () => {
  const { limiter, told, fail } = rig();
  fail(7, 0);
  fail(8, 0);
  fail(7, 0, false);
  limiter.note(noServerKey(7), { type: 'noServer', service: 7, count: 1 }, 0);
  assert.equal(told, ['7 x 1', '8 x 1', '7 x 1', 'noServer x 1']);
});

test('the clock may wrap', () => {
  const { limiter, told, fail } = rig();
  const end = 0x7fffffff;
  fail(7, end);
  fail(7, end);
  limiter.flush((end + 999) | 0);
  assert.is(told.length, 1);
  limiter.flush((end + 1000) | 0);
  assert.is(told.length, 2);
});

test.run();
