import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MpmcRing } from '../../stack/mem/mpmc-ring.ts';
import { BOARD, stress } from './stress.ts';

const EACH = 150_000;

for (const [capacity, words] of [
  [1024, 4],
  [2, 1],
] as const) {
  test(`two producers and two consumers share a ring of ${capacity}: every record is taken exactly once`, async () => {
    const each = capacity > 2 ? EACH : EACH / 10;
    const cfg = { capacity, words };
    const sab = new SharedArrayBuffer(MpmcRing.bytes(cfg));
    const ring = MpmcRing.create(sab, 0, cfg);
    const count = 2 * each;
    const { reports, board } = await stress(
      sab,
      [
        { role: 'mpmc producer', count: each, index: 0 },
        { role: 'mpmc producer', count: each, index: 1 },
        { role: 'mpmc consumer', count },
        { role: 'mpmc consumer', count },
      ],
      count + 1,
    );
    const taken = board.subarray(BOARD + 1);
    assert.is(taken.length, count);
    assert.is(
      taken.findIndex((times) => times !== 1),
      -1,
    );
    assert.is(reports[2]!.done + reports[3]!.done, count);
    assert.not(ring.pop(new Int32Array(words), 0));
  });
}

test.run();
