import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { finish, mixWord, murmur3Bytes, murmur3Words } from '../../../../lb/hash/murmur3.ts';

const text = (s: string) => new TextEncoder().encode(s);
const hex = (s: string) => Uint8Array.from(s.match(/../g) ?? [], (b) => Number.parseInt(b, 16));

/** Published results of the reference implementation: input, seed, hash. */
const vectors: readonly (readonly [Uint8Array, number, number])[] = [
  [hex(''), 0, 0],
  [hex(''), 1, 0x514e28b7],
  [hex(''), 0xffffffff, 0x81f16f39],
  [hex('ffffffff'), 0, 0x76293b50],
  [hex('21436587'), 0, 0xf55b516b],
  [hex('21436587'), 0x5082edee, 0x2362f9de],
  [hex('214365'), 0, 0x7e4a8634],
  [hex('2143'), 0, 0xa0f7b07a],
  [hex('21'), 0, 0x72661cf4],
  [hex('00000000'), 0, 0x2362f9de],
  [hex('000000'), 0, 0x85f0b427],
  [hex('0000'), 0, 0x30f4c306],
  [hex('00'), 0, 0x514e28b7],
  [text('test'), 0, 0xba6bd213],
  [text('test'), 0x9747b28c, 0x704b81dc],
  [text('Hello, world!'), 0, 0xc0363e43],
  [text('Hello, world!'), 0x9747b28c, 0x24884cba],
  [text('The quick brown fox jumps over the lazy dog'), 0x9747b28c, 0x2fa826cd],
];

test('murmur3Bytes gives the published hashes, at any offset', () => {
  for (const [input, seed, want] of vectors) {
    for (const off of [0, 1, 3]) {
      const buf = new Uint8Array(off + input.length + 5).fill(0xa5);
      buf.set(input, off);
      assert.is(murmur3Bytes(buf, off, input.length, seed) >>> 0, want, `${input} seed ${seed} at ${off}`);
    }
  }
});

test('words hash as the same words written little-endian', () => {
  fc.assert(
    fc.property(fc.array(fc.integer(), { maxLength: 12 }), fc.integer(), fc.nat(4), (values, seed, off) => {
      const words = Int32Array.from([...new Array(off).fill(7), ...values, 9]);
      const bytes = new Uint8Array(values.length * 4);
      const view = new DataView(bytes.buffer);
      values.forEach((v, i) => {
        view.setInt32(i * 4, v, true);
      });
      const want = murmur3Bytes(bytes, 0, bytes.length, seed);
      assert.is(murmur3Words(words, off, values.length, seed), want);
      const folded = values.reduce(mixWord, seed);
      assert.is(finish(folded, values.length * 4), want);
    }),
  );
});

test('a flipped input bit flips about half of the output bits', () => {
  const words = new Int32Array(4);
  let flipped = 0;
  let trials = 0;
  for (let i = 0; i < 200; i++) {
    words.forEach((_, w) => {
      words[w] = Math.imul(i * 4 + w + 1, 0x9e3779b1);
    });
    const before = murmur3Words(words, 0, 4, 0);
    for (let bit = 0; bit < 128; bit++) {
      words[bit >> 5]! ^= 1 << (bit & 31);
      for (let diff = murmur3Words(words, 0, 4, 0) ^ before; diff !== 0; diff &= diff - 1) flipped++;
      words[bit >> 5]! ^= 1 << (bit & 31);
      trials++;
    }
  }
  const mean = flipped / trials;
  assert.ok(mean > 15.8 && mean < 16.2, `mean ${mean} of 32 bits`);
});

test.run();
