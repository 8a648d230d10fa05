import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hsiphash3, hsiphashN } from '../../../../stack/mem/hsiphash.ts';

/** HalfSipHash-1-3 as Linux's self-test has it: key 00..07, message 00, 01, 02, ... of so many bytes. */
const vectors: Record<number, number> = {
  4: 0x7e059ea6,
  8: 0x577999b1,
  12: 0x6b28096c,
  16: 0x8b31d501,
  20: 0x911bb605,
  24: 0x57150ad7,
  28: 0x0a4100d0,
  32: 0xbc6dda8d,
  36: 0x7c46fb7f,
};
const K0 = 0x03020100;
const K1 = 0x07060504;
const message = Int32Array.from({ length: 10 }, (_, i) => 0x03020100 + (i - 1) * 0x04040404);

test('agrees with the published vectors', () => {
  for (const [bytes, want] of Object.entries(vectors)) {
    assert.is(hsiphashN(K0, K1, message, 1, Number(bytes) / 4), want | 0, `${bytes} bytes`);
  }
  assert.is(hsiphash3(K0, K1, message[1]!, message[2]!, message[3]!), vectors[12]! | 0);
});

test('three words hash alike in both forms', () => {
  const int = fc.integer();
  fc.assert(
    fc.property(int, int, int, int, int, (k0, k1, a, b, c) => {
      assert.is(hsiphash3(k0, k1, a, b, c), hsiphashN(k0, k1, Int32Array.of(a, b, c), 0, 3));
    }),
  );
});

test.run();
