import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hash32 } from '../../../../lb/hash/multiplicative.ts';
import { hsiphash } from '../../../../lb/hash/siphash.ts';

const MASK = (1n << 64n) - 1n;
const rotl = (x: bigint, n: bigint): bigint => ((x << n) | (x >> (64n - n))) & MASK;

/** HSipHash-1-3 of whole words as the paper writes it, with 64-bit numbers. */
function naive(bytes: readonly number[], k0: bigint, k1: bigint): number {
  let [v0, v1, v2, v3] = [
    0x736f6d6570736575n ^ k0,
    0x646f72616e646f6dn ^ k1,
    0x6c7967656e657261n ^ k0,
    0x7465646279746573n ^ k1,
  ];
  const round = (): void => {
    v0 = (v0 + v1) & MASK;
    v1 = rotl(v1, 13n) ^ v0;
    v0 = rotl(v0, 32n);
    v2 = (v2 + v3) & MASK;
    v3 = rotl(v3, 16n) ^ v2;
    v0 = (v0 + v3) & MASK;
    v3 = rotl(v3, 21n) ^ v0;
    v2 = (v2 + v1) & MASK;
    v1 = rotl(v1, 17n) ^ v2;
    v2 = rotl(v2, 32n);
  };
  const whole = Math.floor(bytes.length / 8) * 8;
  const last = [...bytes.slice(whole)];
  while (last.length < 7) last.push(0);
  const padded = [...bytes.slice(0, whole), ...last, bytes.length & 0xff];
  for (let i = 0; i < padded.length; i += 8) {
    const block = padded.slice(i, i + 8).reduceRight((sum, byte) => (sum << 8n) | BigInt(byte), 0n);
    v3 ^= block;
    round();
    v0 ^= block;
  }
  v2 ^= 0xffn;
  for (let i = 0; i < 3; i++) round();
  return Number((v0 ^ v1 ^ v2 ^ v3) & 0xffffffffn) | 0;
}

test('the naive form gives the test vectors of Linux (lib/siphash_kunit.c, 64-bit)', () => {
  const vectors = [0x050fc4dc, 0x7d57ca93, 0x4dc7d44d, 0xe7ddf7fb, 0x88d38328, 0x49533b67, 0xc59f22a7];
  vectors.forEach((want, length) => {
    const bytes = Array.from({ length }, (_, i) => i);
    assert.is(naive(bytes, 0x0706050403020100n, 0x0f0e0d0c0b0a0908n), want | 0, `${length} bytes`);
  });
});

test('hsiphash is the naive form of a little-endian word, the key in both halves', () => {
  const edge = fc.constantFrom(0, 1, -1, 0x7fffffff, -0x80000000, 0x9e3779b1 | 0);
  const word = fc.oneof(edge, fc.integer());
  const property = fc.property(word, word, (value, key) => {
    const k = BigInt(key >>> 0);
    const bytes = [value & 255, (value >> 8) & 255, (value >> 16) & 255, value >>> 24];
    assert.is(hsiphash(value, key), naive(bytes, k, k));
  });
  fc.assert(property, { seed: 5, numRuns: 2000 });
});

test('hsiphash takes words modulo 2^32', () => {
  assert.is(hsiphash(0xffffffff + 5, 7), hsiphash(4, 7));
  assert.is(hsiphash(4, 2654435761), hsiphash(4, 2654435761 | 0));
});

test('hash32 is the upper bits of the product', () => {
  for (const value of [0, 1, 2, 0x0a000164, -1, 0x7fffffff]) {
    const product = (BigInt(value >>> 0) * 0x61c88647n) & 0xffffffffn;
    assert.is(hash32(value, 8), Number(product >> 24n));
    assert.is(hash32(value, 31), Number(product >> 1n));
  }
});

test.run();
