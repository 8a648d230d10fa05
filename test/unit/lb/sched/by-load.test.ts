/** The schedulers that go by load: lc, wlc, sed, nq, fo, ovf and twos. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OVERLOAD } from '../../../../lb/dest.ts';
import { rig } from './rig.ts';

const HELD: Readonly<Record<string, string>> = {
  lc: '1 2 3 1 2 3 1 2 3',
  wlc: '1 2 3 1 2 1 3 2 1',
  sed: '1 2 1 3 2 1 1 2 3',
  nq: '1 2 3 1 2 1 1 2 3',
  fo: '1 1 1 1 1 1 1 1 1',
  ovf: '1 1 1 1 1 2 2 2 2',
};
for (const [scheduler, servers] of Object.entries(HELD)) {
  test(`${scheduler}: the sequence for weights 4 3 2, connections held`, () => {
    const { run, hold } = rig(scheduler, [4, 3, 2]);
    assert.is(run(9, hold), servers);
  });
}

test('an established connection weighs as much as 256 others', () => {
  for (const scheduler of ['lc', 'wlc']) {
    const { load, pick } = rig(scheduler, [1, 1]);
    load(1, 1, 0);
    load(2, 0, 255);
    assert.is(pick(), 2, scheduler);
    load(2, 0, 256);
    assert.is(pick(), 1, `${scheduler}: of equals the first`);
    load(2, 0, 257);
    assert.is(pick(), 1, scheduler);
  }
});

test('lc does not look at weights, wlc divides by them exactly', () => {
  const plain = rig('lc', [65535, 1]);
  plain.load(1, 2);
  plain.load(2, 1);
  assert.is(plain.pick(), 2);
  const weighted = rig('wlc', [65535, 65534]);
  weighted.load(1, 4_000_000);
  weighted.load(2, 4_000_000);
  assert.is(weighted.pick(), 1);
  weighted.load(1, 65535, 1);
  weighted.load(2, 65534, 0);
  assert.is(weighted.pick(), 2, 'a difference of one in 16 million');
});

test('sed counts the connection to come and no closing ones', () => {
  const { load, pick } = rig('sed', [1, 5]);
  assert.is(pick(), 2);
  load(2, 3, 1000);
  assert.is(pick(), 2, '4/5 is less than 1/1');
  load(2, 4);
  assert.is(pick(), 1, '5/5 equals 1/1: the first');
});

test('nq takes the first idle server, whatever its weight', () => {
  const { load, pick } = rig('nq', [2, 9, 1]);
  load(1, 1);
  load(2, 1);
  load(3, 0, 500);
  assert.is(pick(), 3);
  load(3, 1);
  assert.is(pick(), 2, 'as sed when none is idle');
});

test('nq passes over an idle server that is not eligible', () => {
  const { load, pick, services, row } = rig('nq', [1, 1, 1]);
  load(2, 1);
  load(3, 1);
  services.dests.inhibit(row(1), true);
  assert.is(pick(), 2);
});

test('fo stays with the heaviest and falls over to the next', () => {
  const { pick, services, row, reweigh } = rig('fo', [1, 9, 9, 5]);
  assert.is(pick(), 2, 'of equals the first');
  services.dests.inhibit(row(2), true);
  assert.is(pick(), 3);
  services.dests.flags[row(3)]! |= OVERLOAD;
  assert.is(pick(), 4);
  reweigh(4, 0);
  assert.is(pick(), 1);
  services.dests.inhibit(row(2), false);
  assert.is(pick(), 2);
});

test('ovf fills each server to one above its weight, then refuses, and takes what becomes free', () => {
  const { run, hold, pick, services, row } = rig('ovf', [1, 3, 2]);
  assert.is(run(11, hold), '2 2 2 2 3 3 3 1 1 0 0');
  services.dests.connInactive(row(3));
  assert.is(pick(), 3, 'closing connections do not count');
  services.dests.connInactive(row(2));
  assert.is(pick(), 2);
});

test('twos draws by weight', () => {
  const { pick } = rig('twos', [4, 3, 2, 0]);
  const times = [0, 0, 0, 0];
  for (let i = 0; i < 90_000; i++) times[pick() - 1]! += 1;
  // Without load the first of the two draws is taken: the shares are those of the weights.
  assert.is(times[3], 0);
  [40_000, 30_000, 20_000].forEach((want, i) => {
    assert.ok(Math.abs(times[i]! - want) < 800, `server ${i + 1}: ${times[i]} of 90000`);
  });
});

test('twos takes the less loaded of the two', () => {
  const { pick, load } = rig('twos', [1, 1]);
  load(1, 1);
  const times = [0, 0];
  for (let i = 0; i < 40_000; i++) times[pick() - 1]! += 1;
  // The loaded one only when both draws are it: a quarter.
  assert.ok(Math.abs(times[0]! - 10_000) < 500, String(times));
});

test('twos keeps a thousand servers within a few connections of each other', () => {
  const n = 1000;
  const spread = (scheduler: string): number => {
    const { hold, services, row, flow } = rig(scheduler, new Array<number>(n).fill(1));
    for (let i = 0; i < 10 * n; i++) {
      flow.set(i, 1, 1024 + (i & 0x3fff), 80, 6, 0);
      hold();
    }
    return Math.max(...Array.from({ length: n }, (_, i) => services.dests.activeConns[row(i + 1)]!));
  };
  const two = spread('twos');
  const hashed = spread('conhash');
  assert.ok(two <= 14, `twos: ${two} at the fullest of a mean of 10`);
  assert.ok(hashed > two, `conhash: ${hashed}`);
});

test.run();
