/** lblc and lblcr, and the cache of destinations behind them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DestCache, EXPIRE_S } from '../../../../lb/sched/dest-cache.ts';
import { addrOf } from '../../../lib/services.ts';
import { type Rig, rig } from './rig.ts';

const HOUR = 3600 * 1e6;

/** Aims the flow at a destination, at an hour. */
const aim = ({ flow }: Rig, dst: number, hour = 0): void => flow.set(1, dst, 2, 80, 6, hour * HOUR);

test('lblc: the sequence for weights 4 3 2, one destination, connections held', () => {
  const one = rig('lblc', [4, 3, 2]);
  aim(one, 99);
  // 5 > weight 4 while server 2 is idle; 4 > 3 while server 3 is; then nobody is half idle.
  assert.is(one.run(20, one.hold), '1 1 1 1 1 2 2 2 2 3 3 3 3 3 3 3 3 3 3 3');
});

test('lblc: a destination stays where it is, another one goes to the least loaded', () => {
  const one = rig('lblc', [9, 9, 9]);
  aim(one, 1);
  assert.is(one.run(3, one.hold), '1 1 1');
  aim(one, 2);
  assert.is(one.run(3, one.hold), '2 2 2');
  aim(one, 1);
  assert.is(one.hold(), 1);
});

for (const scheduler of ['lblc', 'lblcr']) {
  test(`${scheduler}: a server that cannot take connections is replaced for good (lblc) or for now (lblcr)`, () => {
    const one = rig(scheduler, [9, 9]);
    aim(one, 1);
    assert.is(one.pick(), 1);
    one.services.dests.inhibit(one.row(1), true);
    assert.is(one.pick(), 2);
    one.services.dests.inhibit(one.row(1), false);
    one.load(2, 1);
    assert.is(one.pick(), scheduler === 'lblc' ? 2 : 1);
  });

  test(`${scheduler}: what was not asked for in 24 hours is forgotten`, () => {
    const one = rig(scheduler, [9, 9]);
    aim(one, 1, 0);
    assert.is(one.pick(), 1);
    one.load(1, 1);
    aim(one, 1, 24);
    assert.is(one.pick(), 1, 'used again after exactly a day');
    aim(one, 1, 47);
    assert.is(one.pick(), 1);
    aim(one, 1, 71.1);
    assert.is(one.pick(), 2);
  });

  test(`${scheduler}: a server that left is forgotten, even when its row comes to mean another one`, () => {
    const one = rig(scheduler, [9, 9]);
    aim(one, 1);
    assert.is(one.pick(), 1);
    const row = one.row(1);
    one.services.removeDest(one.service, addrOf(1), 80);
    assert.is(one.pick(), 2);
    one.services.dests.service[row] = 7;
    one.services.dests.flags[row] = 1;
    assert.is(one.pick(), 2);
  });

  test(`${scheduler}: goes on with more destinations than it can remember`, () => {
    const one = rig(scheduler, [1, 1, 1]);
    for (let dst = 0; dst < 3 * DestCache.CAPACITY; dst++) {
      aim(one, dst);
      assert.ok(one.hold() > 0);
    }
    aim(one, 3 * DestCache.CAPACITY - 1);
    assert.ok(one.pick() > 0);
  });
}

test('lblcr: the sequence for weights 4 3 2, one destination, connections held', () => {
  const one = rig('lblcr', [4, 3, 2]);
  aim(one, 99);
  assert.is(one.run(20, one.hold), '1 1 1 1 1 2 2 2 2 3 3 3 1 2 3 1 2 1 3 2');
});

test('lblcr: within its set a destination goes to the least loaded', () => {
  const one = rig('lblcr', [1, 1, 1]);
  aim(one, 99);
  assert.is(one.run(4, one.hold), '1 1 2 2', 'server 2 joins when 1 has two while 2 is idle');
  one.load(1, 0);
  one.load(3, 0);
  assert.is(one.pick(), 1, '3 is no member');
});

test('lblcr: a set of several loses its most loaded member when it has not changed for 24 hours', () => {
  const one = rig('lblcr', [1, 1, 9]);
  const members = (hour: number): string => {
    const seen = new Set<number>();
    for (const busy of [1, 2, 3]) {
      for (const n of [1, 2, 3]) one.load(n, n === busy ? 1 : 0);
      aim(one, 99, hour);
      seen.add(one.pick());
    }
    return [...seen].sort().join(' ');
  };
  one.load(3, 90);
  aim(one, 99, 0);
  one.run(3, one.hold);
  assert.is(members(1), '1 2');
  assert.is(members(23.9), '1 2');
  one.load(1, 1);
  one.load(2, 0);
  one.load(3, 90);
  aim(one, 99, 24.1);
  assert.is(one.pick(), 2);
  assert.is(members(24.2), '2');
});

test('the cache gives up the address idle longest of a full set', () => {
  const cache = new DestCache();
  // Nine addresses of one set: entries tell their set by number / 8.
  const rivals: number[] = [];
  const set = cache.claim(12345, 0) >> 3;
  for (let dst = 1; rivals.length < 9; dst++) if (cache.claim(dst, 0) >> 3 === set) rivals.push(dst);
  const [first, ...rest] = rivals;
  rivals.slice(0, 8).forEach((dst, i) => {
    cache.value[cache.claim(dst, 100 + i)] = dst;
  });
  assert.ok(cache.find(first!, 200) >= 0, 'used: now the second is idle longest');
  cache.value[cache.claim(rivals[8]!, 201)] = 1;
  assert.is(cache.find(rest[0]!, 202), -1);
  for (const dst of [first!, ...rest.slice(1)]) assert.ok(cache.find(dst, 203) >= 0);
});

test('an expired entry is claimed again by its own address', () => {
  const cache = new DestCache();
  const entry = cache.claim(5, 0);
  cache.value[entry] = 3;
  assert.is(cache.find(5, EXPIRE_S), entry);
  assert.is(cache.find(5, 2 * EXPIRE_S + 1), -1);
  assert.is(cache.claim(5, 2 * EXPIRE_S + 1), entry);
});

test.run();
