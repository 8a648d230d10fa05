import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Counters } from '../../stack/mem/counters.ts';
import { COUNTER_STEP, stress } from './stress.ts';

test('a counter is read whole while it counts through 2^32 and far beyond', async () => {
  const names = ['a', 'b', 'c'];
  const count = 2_000_000;
  const sab = new SharedArrayBuffer(Counters.bytes(names));
  const counters = Counters.create(sab, 0, names);
  const { reports } = await stress(sab, [
    { role: 'counter writer', count },
    { role: 'counter reader', count: 0 },
  ]);
  assert.ok(reports[1]!.done > 0);
  assert.equal(counters.snapshot(), { a: 0, b: count * COUNTER_STEP, c: 0 });
});

test.run();
