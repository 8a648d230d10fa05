import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SlotMap } from '../../../../stack/timer/slot-map.ts';

function naiveDistance(used: ReadonlySet<number>, from: number, size: number): number {
  return Math.min(size, ...[...used].map((i) => (i - from + size) % size));
}

for (const log2 of [10, 13, 15, 19]) {
  const size = 1 << log2;
  const slot = fc.oneof(fc.nat(size - 1), fc.constantFrom(0, 31, 32, 1023, size - 1, size - 32, size - 33, size >> 1));

  test(`the next of 2^${log2} slots in use is the one a search would find`, () => {
    fc.assert(
      fc.property(fc.array(slot, { maxLength: 8 }), fc.array(slot, { maxLength: 4 }), slot, (on, off, from) => {
        const map = new SlotMap(log2);
        const used = new Set(on);
        for (const i of on) map.set(i);
        for (const i of [...off, ...on.slice(0, 3)]) {
          map.clear(i);
          used.delete(i);
        }
        assert.is(map.distance(from), naiveDistance(used, from, size));
        for (const i of used) assert.is(map.distance(i), 0);
      }),
      { numRuns: 300 },
    );
  });
}

test('a slot cleared twice, or never set, changes nothing', () => {
  const map = new SlotMap(10);
  map.set(40);
  map.clear(41);
  map.clear(41);
  assert.is(map.distance(0), 40);
  map.clear(40);
  assert.is(map.distance(0), 1024);
});

test.run();
