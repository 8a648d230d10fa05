import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IpIds } from '../../../../stack/ipv4/id.ts';
import { seeded } from '../../../lib/random.ts';

test('all 65536 values come before one comes back', () => {
  const ids = new IpIds(seeded(1));
  const seen = new Set<number>();
  for (let i = 0; i < 65536; i++) seen.add(ids.next(1, 2, 17));
  assert.is(seen.size, 65536);
  assert.ok([...seen].every((id) => id >= 0 && id <= 0xffff));
});

test('no value comes twice while other destinations use the counters too', () => {
  const ids = new IpIds(seeded(2));
  const seen = new Set<number>();
  for (let i = 0; i < 5000; i++) {
    seen.add(ids.next(1, 2, 17));
    ids.next(1, 1000 + i, 17);
  }
  assert.is(seen.size, 5000);
});

test('start differs between flows and between machines', () => {
  const a = new IpIds(seeded(3));
  const b = new IpIds(seeded(4));
  const starts = new Set<number>();
  for (let dst = 0; dst < 50; dst++)
    starts
      .add(a.next(1, dst, 17))
      .add(b.next(1, dst, 17))
      .add(a.next(1, dst, 6));
  assert.ok(starts.size > 140, `${starts.size} of 150 differ`);
});

test.run();
