import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finish, fold, pseudo4, sum, update16, update32 } from '../../../../stack/wire/checksum.ts';
import { naiveChecksum, naiveSum } from '../../../lib/naive-checksum.ts';
import { hex, memory } from './memory.ts';

const sumOf = (bytes: Uint8Array, off = 16, start = 0): number => {
  const { buf, i32 } = memory(bytes, off);
  return sum(buf, i32, off, bytes.length, start);
};

/** Two sums are equal as ones'-complement numbers: 0 and 0xffff are both zero. */
const normal = (s: number): number => (s === 0xffff ? 0 : s);

test('the example of RFC 1071 §3', () => {
  const bytes = hex('00 01 f2 03 f4 f5 f6 f7');
  assert.is(fold(sumOf(bytes)), 0xddf2);
  assert.is(finish(sumOf(bytes)), 0x220d);
});

test('the header checksum of a known packet', () => {
  // IPv4 header with its checksum field (b861) zeroed.
  const header = hex('45 00 00 73 00 00 40 00 40 11 00 00 c0 a8 00 01 c0 a8 00 c7');
  assert.is(finish(sumOf(header)), 0xb861);
});

test('agrees with the definition at any offset, length and start', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ maxLength: 200, size: 'max' }),
      fc.integer({ min: 16, max: 23 }),
      fc.nat(0x3fffffff),
      (bytes, off, start) => {
        const expected = naiveSum(
          [...bytes, ...(bytes.length & 1 ? [0] : []), start >>> 24, start >>> 16, start >>> 8, start].map(
            (b) => b & 255,
          ),
        );
        assert.is(normal(fold(sumOf(bytes, off, start))), normal(expected));
      },
    ),
    { seed: 1071, numRuns: 2000 },
  );
});

test('no carry is lost in the largest frame', () => {
  const start = 0x7fffffff;
  for (const length of [65535, 65536, 69632]) {
    const bytes = new Uint8Array(length).fill(0xff);
    for (const off of [16, 17, 18, 19]) {
      const s = sumOf(bytes, off, start);
      assert.ok(s - start < 2 ** 18, 'a range adds less than 2^18');
      assert.is(fold(s), fold(fold(start) + naiveSum(bytes)));
    }
  }
});

test('the sum of a whole is the sum of its even parts', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 100, size: 'max' }), fc.nat(), (bytes, at) => {
      const cut = (at % bytes.length) & ~1;
      const parts = sumOf(bytes.subarray(0, cut)) + sumOf(bytes.subarray(cut));
      assert.is(normal(fold(parts)), normal(fold(sumOf(bytes))));
    }),
    { seed: 1071 },
  );
});

test('data with its checksum in place sums to 0xffff', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 64, size: 'max' }), (bytes) => {
      bytes[0] = 0;
      bytes[1] = 0;
      const c = naiveChecksum(bytes);
      bytes[0] = c >> 8;
      bytes[1] = c;
      assert.is(fold(sumOf(bytes)), 0xffff);
    }),
    { seed: 1071 },
  );
});

test('the pseudo-header is that of RFC 9293 §3.1', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer(), fc.nat(255), fc.nat(65535), (src, dst, proto, len) => {
      const bytes = new Uint8Array(12);
      const v = new DataView(bytes.buffer);
      v.setInt32(0, src);
      v.setInt32(4, dst);
      v.setUint16(8, proto);
      v.setUint16(10, len);
      assert.is(fold(pseudo4(src, dst, proto, len)), naiveSum(bytes));
    }),
    { seed: 9293 },
  );
});

test('the example of RFC 1624 §4', () => {
  // "HC = 0xDD2F, m = 0x5555, m' = 0x3285 [...] HC' = 0x0000"
  assert.is(update16(0xdd2f, 0x5555, 0x3285), 0x0000);
});

test('an incremental update equals a computation anew', () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 20, maxLength: 20 }),
      fc.nat(7),
      fc.nat(65535),
      fc.integer(),
      (bytes, word, to16, to32) => {
        // Words 0 and 1 stay, so that the data are not all zeros: there the two zeros differ (RFC 1624 §3).
        bytes[0] = 0x45;
        const view = new DataView(bytes.buffer);
        const at = 4 + word * 2;
        const before = naiveChecksum(bytes);
        const from16 = view.getUint16(at);
        view.setUint16(at, to16);
        const between = naiveChecksum(bytes);
        assert.is(update16(before, from16, to16), between);
        const from32 = view.getInt32(4 + (word & ~1) * 2);
        view.setInt32(4 + (word & ~1) * 2, to32);
        assert.is(update32(between, from32, to32), naiveChecksum(bytes));
      },
    ),
    { seed: 1624, numRuns: 1000 },
  );
});

test.run();
