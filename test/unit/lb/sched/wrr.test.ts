import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addrOf } from '../../../lib/services.ts';
import { rig } from './rig.ts';

test('weights 4 3 2 take interleaved turns', () => {
  assert.is(rig('wrr', [4, 3, 2]).run(18), '1 1 2 1 2 3 1 2 3 1 1 2 1 2 3 1 2 3');
});

test('only the proportion of the weights counts', () => {
  const once = rig('wrr', [4, 3, 2]).run(30);
  assert.is(rig('wrr', [400, 300, 200]).run(30), once);
  assert.is(rig('wrr', [65532, 49149, 32766]).run(30), once);
  assert.is(rig('wrr', [7, 7, 7]).run(6), '1 2 3 1 2 3');
});

test('each cycle has every server as often as its weight says', () => {
  const weights = fc.array(fc.integer({ min: 0, max: 12 }), { minLength: 1, maxLength: 6 });
  const property = fc.property(weights, (given) => {
    const { pick } = rig('wrr', given);
    const total = given.reduce((a, b) => a + b, 0);
    for (let cycle = 0; cycle < 2; cycle++) {
      const times = given.map(() => 0);
      for (let i = 0; i < total; i++) times[pick() - 1]! += 1;
      assert.equal(times, given);
    }
  });
  fc.assert(property, { seed: 11 });
});

test('passes over servers that cannot take connections, and comes back to them', () => {
  const { services, row, run } = rig('wrr', [4, 3, 2]);
  services.dests.inhibit(row(1), true);
  assert.is(run(10), '2 2 3 2 3 2 2 3 2 3');
  services.dests.inhibit(row(1), false);
  assert.is(run(9), '1 1 2 1 2 3 1 2 3');
});

test('levels nobody reaches cost no time', () => {
  const { services, row, run } = rig('wrr', [65535, 1, 2]);
  services.dests.inhibit(row(1), true);
  let reads = 0;
  const { weight } = services.dests;
  Object.defineProperty(services.dests, 'weight', {
    get: () => {
      reads++;
      return weight;
    },
  });
  assert.is(run(6), '3 2 3 3 2 3');
  assert.ok(reads < 6 * 30, `${reads} looks at weights`);
});

test('a change begins at the head of the list, on the level it had', () => {
  const { reweigh, run } = rig('wrr', [4, 3, 2]);
  assert.is(run(4), '1 1 2 1');
  reweigh(3, 4);
  assert.is(run(6), '1 2 3 1 2 3', 'level 2, then 1');
  assert.is(run(11), '1 3 1 2 3 1 2 3 1 2 3');
});

test('a level above the new highest weight becomes that', () => {
  const { reweigh, run } = rig('wrr', [9, 1]);
  assert.is(run(3), '1 1 1');
  reweigh(1, 2);
  assert.is(run(6), '1 1 2 1 1 2');
});

test('a server without weight joins when it gets one', () => {
  const { reweigh, run, pick } = rig('wrr', [0, 0]);
  assert.is(pick(), 0);
  reweigh(2, 3);
  assert.is(run(2), '2 2');
});

test('servers given one by one begin on the lowest level', () => {
  const { services, service, run } = rig('wrr', []);
  [4, 3, 2].forEach((weight, i) => {
    services.addDest(service, { addr: addrOf(i + 1), port: 80, weight });
  });
  assert.is(run(9), '1 2 3 1 1 2 1 2 3');
});

test('workers begin at different servers', () => {
  const begin = [0, 1, 2].map((worker) => rig('wrr', [1, 1, 1], { worker, workers: 3 }).run(4));
  assert.equal(begin, ['1 2 3 1', '2 3 1 2', '3 1 2 3']);
});

test.run();
