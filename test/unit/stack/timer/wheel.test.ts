import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ticksOf } from '../../../../stack/timer/clock.ts';
import { TimingWheel } from '../../../../stack/timer/wheel.ts';
import { FakeClock } from '../../../lib/fake-clock.ts';
import { NaiveTimers } from '../../../lib/naive-timers.ts';

const SPAN1 = 1 << 19;

/** Nodes fired by advancing to `now`, in order. */
function fired(wheel: TimingWheel, now: number): number[] {
  const nodes: number[] = [];
  wheel.advance(now, (node) => nodes.push(node));
  return nodes;
}

test('a timer fires at its tick, once, and not before', () => {
  const wheel = new TimingWheel(4, 100);
  wheel.arm(1, 105);
  assert.ok(wheel.isArmed(1));
  assert.equal(fired(wheel, 104), []);
  assert.equal(fired(wheel, 105), [1]);
  assert.not(wheel.isArmed(1));
  assert.equal(fired(wheel, 200), []);
  assert.is(wheel.size(), 0);
});

test('timers fire in the order of their ticks after a long sleep', () => {
  const wheel = new TimingWheel(5, 0);
  const due = [0, 7000, 3, 10000, 3_000_000, SPAN1];
  for (let node = 1; node <= 5; node++) wheel.arm(node, due[node]!);
  assert.equal(fired(wheel, 4_000_000), [2, 1, 3, 5, 4]);
});

test('a tick that has passed means the next one', () => {
  const wheel = new TimingWheel(3, 50);
  wheel.arm(1, 50);
  wheel.arm(2, -1000);
  assert.is(wheel.dueAt(1), 51);
  assert.equal(fired(wheel, 50), []);
  assert.equal(fired(wheel, 51), [1, 2]);
});

test('arming again moves a timer, cancelling stops it', () => {
  const wheel = new TimingWheel(3, 0);
  wheel.arm(1, 10);
  wheel.arm(2, 10);
  wheel.arm(3, 10);
  wheel.arm(1, SPAN1 + 20);
  wheel.arm(1, 20);
  wheel.cancel(2);
  wheel.cancel(2);
  assert.is(wheel.size(), 2);
  assert.equal(fired(wheel, 19), [3]);
  assert.equal(fired(wheel, 20), [1]);
});

test('a timer cancelled by another of its own tick does not fire', () => {
  const wheel = new TimingWheel(3, 0);
  for (const node of [1, 2, 3]) wheel.arm(node, 5);
  const seen: number[] = [];
  wheel.advance(5, (node) => {
    seen.push(node);
    for (const other of [1, 2, 3]) wheel.cancel(other);
  });
  assert.is(seen.length, 1);
  assert.is(wheel.size(), 0);
});

test('a timer armed from inside fires in the same call when it is due by then, and never in its own tick', () => {
  const wheel = new TimingWheel(2, 0);
  wheel.arm(1, 5);
  let times = 0;
  wheel.advance(8, (node) => {
    times++;
    wheel.arm(node, 0);
    wheel.arm(2, 1000);
  });
  assert.is(times, 4, 'ticks 5, 6, 7, 8');
  assert.is(wheel.dueAt(1), 9);
  assert.ok(wheel.isArmed(2));
});

test('a periodic timer keeps its pace across the int32 wrap and both levels', () => {
  const start = 0x7fffffff - 5 * SPAN1;
  const wheel = new TimingWheel(1, start);
  const period = SPAN1 + 12345;
  wheel.arm(1, (start + period) | 0);
  let now = start;
  let times = 0;
  while (times < 20) {
    now = (now + 999) | 0;
    wheel.advance(now, (node) => {
      times++;
      assert.is(wheel.dueAt(node), (start + times * period) | 0);
      assert.ok(((now - wheel.dueAt(node)) | 0) >= 0 && ((now - wheel.dueAt(node)) | 0) < 999);
      wheel.arm(node, (start + (times + 1) * period) | 0);
    });
  }
});

test('the furthest timer is 2^31 - 1 ms away', () => {
  for (const start of [0, 1, SPAN1 - 1, SPAN1, 0x7fffffff, -0x80000000, -1]) {
    const wheel = new TimingWheel(1, start);
    wheel.arm(1, (start + 0x7fffffff) | 0);
    assert.equal(fired(wheel, (start + 0x7ffffffe) | 0), [], `from ${start}`);
    assert.equal(fired(wheel, (start + 0x7fffffff) | 0), [1], `from ${start}`);
  }
});

test('going back in time fires nothing and loses nothing', () => {
  const wheel = new TimingWheel(2, 1000);
  wheel.arm(1, 1010);
  assert.equal(fired(wheel, 900), []);
  assert.equal(fired(wheel, 1010), [1]);
});

test('the next due time is exact within 524 s and bounded by the limit', () => {
  const clock = new FakeClock();
  const wheel = new TimingWheel(2, ticksOf(clock.nowUs()));
  assert.is(wheel.nextDue(0, 100), 100);
  wheel.arm(1, 30);
  assert.is(wheel.nextDue(0, 100), 30);
  assert.is(wheel.nextDue(0, 20), 20);
  assert.is(wheel.nextDue(ticksOf(clock.advanceMs(29)), 100), 1);
  assert.is(wheel.nextDue(ticksOf(clock.advanceMs(20)), 100), 0);
  wheel.cancel(1);
  wheel.arm(2, SPAN1 - 1);
  assert.is(wheel.nextDue(0, 1e9), SPAN1 - 1);
  wheel.arm(2, 3 * SPAN1 + 5);
  assert.is(wheel.nextDue(0, 1e9), 3 * SPAN1, 'when its block begins');
  assert.equal(fired(wheel, 3 * SPAN1), []);
  assert.is(wheel.nextDue(3 * SPAN1, 1e9), 5);
});

test('a node outside the wheel is a broken caller', () => {
  const wheel = new TimingWheel(2, 0);
  for (const node of [0, -1, 3]) assert.throws(() => wheel.arm(node, 1), RangeError);
  wheel.arm(2, 1);
  assert.equal(fired(wheel, 1), [2]);
});

const NODES = 12;
const delay = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -3, max: 12 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 3000 }) },
  { weight: 2, arbitrary: fc.integer({ min: SPAN1 - 20, max: SPAN1 + 20 }) },
  { weight: 1, arbitrary: fc.integer({ min: SPAN1, max: SPAN1 + 9000 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0, max: 5 * SPAN1 }) },
  { weight: 1, arbitrary: fc.integer({ min: 0x7fffff00, max: 0x7fffffff }) },
);
const act = fc.record({
  what: fc.constantFrom('arm', 'arm', 'cancel'),
  node: fc.integer({ min: 1, max: NODES }),
  delay,
});
const step = fc.record({
  acts: fc.array(act, { maxLength: 6 }),
  sleep: fc.oneof(
    fc.nat(3),
    fc.nat(20),
    fc.nat(5000),
    fc.integer({ min: SPAN1 - 30, max: SPAN1 + 30 }),
    fc.nat(4 * SPAN1),
  ),
  /** Done one by one as timers fire. */
  inside: fc.array(act, { maxLength: 6 }),
});

test('agrees with a list of due times whatever is armed, moved and cancelled, also from inside', () => {
  const starts = fc.oneof(fc.constantFrom(0, -1, 0x7ffffff0, -0x80000000, SPAN1 - 3, -SPAN1), fc.integer());
  fc.assert(
    fc.property(starts, fc.array(step, { maxLength: 25 }), (start, steps) => {
      const wheel = new TimingWheel(NODES, start);
      const naive = new NaiveTimers();
      const perform = (a: { what: string; node: number; delay: number }, now: number): void => {
        if (a.what === 'arm') {
          // A delay counts from now, and at most 2^31 - 1 ticks may lie between it and the last tick fired.
          const at = Math.min(now + a.delay, naive.current + 0x7fffffff);
          wheel.arm(a.node, (start + at) | 0);
          naive.arm(a.node, at);
        } else {
          wheel.cancel(a.node);
          naive.due.delete(a.node);
        }
      };
      let now = 0;
      for (const { acts, sleep, inside } of steps) {
        for (const a of acts) perform(a, now);
        const ms = wheel.nextDue((start + now) | 0, 1e9);
        const next = naive.next() - now;
        assert.ok(ms <= Math.min(1e9, next), `woken after ${ms}, due in ${next}`);
        now += sleep;
        const todo = [...inside];
        wheel.advance((start + now) | 0, (node) => {
          assert.is(naive.fired(node, now), '');
          assert.not(wheel.isArmed(node));
          const a = todo.shift();
          if (a !== undefined) perform(a, now);
        });
        naive.current = now;
        assert.ok(naive.next() > now, `left behind: due ${naive.next()} at ${now}`);
        assert.is(wheel.size(), naive.due.size);
        for (let node = 1; node <= NODES; node++) {
          assert.is(wheel.isArmed(node), naive.due.has(node));
          if (naive.due.has(node)) assert.is(wheel.dueAt(node), (start + naive.due.get(node)!) | 0);
        }
      }
    }),
    { numRuns: 150 },
  );
});

test('with a limit it stops within a tick, says that more is due, and goes on from there', () => {
  const wheel = new TimingWheel(10, 0);
  for (let node = 1; node <= 8; node++) wheel.arm(node, 5);
  wheel.arm(9, 7);
  const seen: number[] = [];
  const fire = (node: number): void => {
    seen.push(node);
    if (node === 1) wheel.arm(10, 5 + SPAN1 - 1);
  };
  wheel.advance(6, fire, 3);
  assert.is(seen.length, 3);
  assert.is(wheel.nextDue(6, 100), 0);
  wheel.arm(seen[0]!, 5);
  wheel.advance(6, fire, 0);
  assert.is(seen.length, 3);
  wheel.advance(6, fire, 6);
  assert.is(seen.length, 9);
  assert.is(wheel.nextDue(6, 100), 1);
  wheel.advance(6, fire, 6);
  assert.is(seen.length, 9);
  wheel.advance(5 + SPAN1 - 1, fire);
  assert.equal(seen.slice(9), [9, 10]);
});

test('stopping at the tick at which a block begins loses nothing', () => {
  const wheel = new TimingWheel(6, 0);
  const begin = SPAN1 + 4096;
  for (const [i, at] of [begin, begin, begin + 1, begin + 4096, begin + SPAN1].entries()) wheel.arm(i + 1, at);
  const seen: number[] = [];
  for (let calls = 0; calls < 20 && wheel.size() > 0; calls++) {
    wheel.advance(begin + SPAN1, (node) => seen.push(node), 1);
  }
  assert.equal(seen.sort(), [1, 2, 3, 4, 5]);
});

test('a block is emptied a little at every call, before it begins', () => {
  const n = 5000;
  const wheel = new TimingWheel(n, 0);
  for (let node = 1; node <= n; node++) wheel.arm(node, SPAN1 + 50_000);
  let now = 0;
  const woken = (): boolean => wheel.nextDue(now, 1e9) < SPAN1 + 50_000 - now;
  assert.ok(woken(), 'the block is to be emptied when it begins');
  for (now = 60_000; now < 60_020; now++) wheel.advance(now, () => assert.unreachable('fired early'));
  assert.not(woken(), 'it is empty already');
  let fired = 0;
  wheel.advance(SPAN1 + 50_000, () => fired++);
  assert.is(fired, n);
});

test('with limits nothing is lost, early or forgotten, and no call does more than it may', () => {
  const limited = fc.record({
    acts: fc.array(act, { maxLength: 6 }),
    sleep: step.map((s) => s.sleep),
    limit: fc.nat(4),
  });
  fc.assert(
    fc.property(fc.integer(), fc.array(limited, { maxLength: 25 }), (start, steps) => {
      const wheel = new TimingWheel(NODES, start);
      const due = new Map<number, number>();
      let now = 0;
      const turn = (limit: number): void => {
        const moved = wheel.moved;
        let fired = 0;
        const fire = (node: number): void => {
          const at = due.get(node);
          assert.ok(at !== undefined && at <= now, `node ${node} due ${at} at ${now}`);
          due.delete(node);
          fired++;
        };
        wheel.advance((start + now) | 0, fire, limit);
        assert.ok(fired <= limit && wheel.moved - moved <= 4 * limit, `${fired} fired, ${wheel.moved - moved} moved`);
      };
      for (const { acts, sleep, limit } of steps) {
        for (const { what, node, delay } of acts) {
          if (what === 'arm') {
            // What is late may be so by all of this sleep: 2^31 - 1 ticks count from where the wheel stands.
            const at = now + Math.min(delay, 0x70000000);
            wheel.arm(node, (start + at) | 0);
            due.set(node, Math.max(at, now + 1));
          } else {
            wheel.cancel(node);
            due.delete(node);
          }
        }
        now += sleep;
        turn(limit);
        for (let calls = 0; wheel.nextDue((start + now) | 0, 1) === 0; calls++) {
          assert.ok(calls <= NODES, 'it comes to an end');
          turn(Math.max(limit, 1));
        }
        assert.ok(Math.min(...due.values()) > now, `left behind at ${now}`);
        assert.is(wheel.size(), due.size);
      }
    }),
    { numRuns: 300 },
  );
});

const MILLION = 1_000_000;
const FIRED = 128;
const QUARTER = 15 * 60_000;
/** When timer `i` is armed for, ms; how long nobody calls at first; one in how many is kept. */
const CROWDS: readonly (readonly [what: string, due: (i: number) => number, sleep: number, keep: number])[] = [
  ['all at one tick', () => 5000, 1, 1],
  ['within a second', (i) => 4000 + (i % 1000), 1, 1],
  ['over an hour, two turns a second', (i) => 1 + ((Math.imul(i, 0x9e3779b1) >>> 0) % 3_600_000), 500, 1],
  ['a quarter of an hour ahead, nobody calling until then', () => QUARTER, QUARTER, 1],
  ['in many blocks, nobody calling until long after', (i) => QUARTER + (i % 100) * 4096, 2 * QUARTER, 1],
  ['nine of ten cancelled', (i) => QUARTER + (i % 1000), QUARTER - 10_000, 10],
];

for (const [what, due, sleep, keep] of CROWDS)
  test(`a million timers, ${what}: each turn fires 128 and moves 512 at most`, () => {
    const wheel = new TimingWheel(MILLION, 0);
    for (let i = 1; i <= MILLION; i++) wheel.arm(i, due(i));
    for (let i = 1; i <= MILLION; i++) if (i % keep !== 0) wheel.cancel(i);
    let [now, turns, fired, most, mostMoved, early] = [0, 0, 0, 0, 0, 0];
    const fire = (node: number): void => {
      fired++;
      if (due(node) > now) early++;
    };
    for (; wheel.size() > 0; turns++) {
      now += wheel.nextDue(now, 1) === 0 ? 0 : turns === 0 ? sleep : Math.min(sleep, 500);
      const [before, moved] = [fired, wheel.moved];
      wheel.advance(now, fire, FIRED);
      most = Math.max(most, fired - before);
      mostMoved = Math.max(mostMoved, wheel.moved - moved);
      if (turns > 20_000) assert.unreachable('too many turns');
    }
    assert.equal([fired, early], [MILLION / keep, 0]);
    assert.ok(most <= FIRED && mostMoved <= 4 * FIRED, `${most} fired, ${mostMoved} moved`);
    assert.ok(wheel.moved <= MILLION, 'each moves once at most');
  });

test('waking at nextDue again and again fires every timer on its tick', () => {
  fc.assert(
    fc.property(fc.integer(), fc.array(fc.nat(3 * SPAN1), { minLength: 1, maxLength: NODES }), (start, delays) => {
      const wheel = new TimingWheel(NODES, start);
      for (const [i, d] of delays.entries()) wheel.arm(i + 1, (start + d) | 0);
      let now = start;
      for (let wakes = 0; wheel.size() > 0; wakes++) {
        assert.ok(wakes < 40, 'woken too often');
        now = (now + wheel.nextDue(now, 1e9)) | 0;
        wheel.advance(now, (node) => assert.is(wheel.dueAt(node), now));
      }
    }),
  );
});

test('ticks of the clock wrap like int32', () => {
  assert.is(ticksOf(999), 0);
  assert.is(ticksOf(1000), 1);
  assert.is(ticksOf(0x7fffffff * 1000), 0x7fffffff);
  assert.is(ticksOf(0x80000000 * 1000), -0x80000000);
  assert.is(ticksOf(0x100000001 * 1000), 1);
});

test.run();
