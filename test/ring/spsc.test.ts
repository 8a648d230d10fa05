import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { stress } from './stress.ts';

const runs = [
  { capacity: 1024, words: 3, count: 1_000_000 },
  { capacity: 4096, words: 1, count: 1_000_000 },
  { capacity: 4, words: 8, count: 30_000 },
];

for (const { capacity, words, count } of runs) {
  test(`${count} records of ${words} words cross a ring of ${capacity} in order, none lost, none twice`, async () => {
    const cfg = { capacity, words };
    const sab = new SharedArrayBuffer(SpscRing.bytes(cfg));
    const ring = SpscRing.create(sab, 0, cfg);
    const { reports } = await stress(sab, [
      { role: 'spsc producer', count },
      { role: 'spsc consumer', count },
    ]);
    assert.equal(
      reports.map((r) => r.done),
      [count, count],
    );
    assert.is(ring.length(), 0);
  });
}

test.run();
