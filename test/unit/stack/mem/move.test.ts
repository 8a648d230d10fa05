/** Bytes copied within a pool: whatever the boundaries, they arrive, and nothing beside them changes. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { moveBytes } from '../../../../stack/mem/move.ts';

const FROM = 2048;
const TO = 6144;
const LENGTHS = [...Array.from({ length: 24 }, (_, i) => i), 63, 64, 65, 66, 67, 79, 80, 1448, 1460, 1461, 1462, 1463];

test('every pair of boundaries, lengths short and long', () => {
  const pool = FramePool.create({ slots: 8, slotBytes: 2048, bigSlots: 1, bigSlotBytes: 4096 });
  for (let i = 0; i < FROM; i++) pool.buf[FROM + i] = i * 7 + (i >> 8);
  for (let from = 0; from < 8; from++)
    for (let to = 0; to < 8; to++)
      for (const length of LENGTHS) {
        pool.buf.fill(0xee, TO, TO + FROM);
        moveBytes(pool, FROM + from, length, TO + to);
        const expected = new Uint8Array(FROM).fill(0xee);
        expected.set(pool.buf.subarray(FROM + from, FROM + from + length), to);
        assert.equal(Buffer.from(pool.buf.slice(TO, TO + FROM)).equals(expected), true, `${from} ${to} ${length}`);
      }
});

test.run();
