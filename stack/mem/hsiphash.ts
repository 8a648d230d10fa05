/**
 * HalfSipHash-1-3 over int32 words: the keyed hash of the flow tables. @hot
 * Aumasson and Bernstein's SipHash in its 32-bit form, with one round per word and three to finish, as Linux's hsiphash has it for hash
 * tables. Keyed, because a table whose collisions a stranger can compute is a table a stranger can fill; it is meant for that only, not
 * for cookies or anything else that leaves the machine.
 *
 * Chosen over a seeded multiply-and-shift hash (Murmur3), whose seed does not prevent precomputed collisions, and over tabulation, which
 * needs 12 KB of the L1 cache (36 KB for IPv6). Three words took 9.7 ns against 7.9 and 4.9, nine words 25 (Node 20.20, 2-core virtual machine).
 */

/** Hash of (a, b, c) under the key (k0, k1): int32. The words are little-endian 12 bytes of input in the terms of the specification. */
export function hsiphash3(k0: number, k1: number, a: number, b: number, c: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  let m = a | 0;
  // Three words, the length block, three finishing rounds (which mix in nothing).
  for (let i = 0; i < 7; i++) {
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
    if (i === 0) m = b | 0;
    else if (i === 1) m = c | 0;
    else if (i === 2) m = 12 << 24;
    else if (i === 3) {
      m = 0;
      v2 ^= 0xff;
    }
  }
  return v1 ^ v3;
}

/** Hash of the `n` words `key[off..off + n)` under the key (k0, k1): int32. 0 < n < 64. */
export function hsiphashN(k0: number, k1: number, key: Int32Array, off: number, n: number): number {
  let v0 = k0 | 0;
  let v1 = k1 | 0;
  let v2 = k0 ^ 0x6c796765;
  let v3 = k1 ^ 0x74656462;
  for (let i = 0; i < n + 4; i++) {
    const m = i < n ? key[off + i] : i === n ? (n * 4) << 24 : 0;
    if (i === n + 1) v2 ^= 0xff;
    v3 ^= m;
    v0 = (v0 + v1) | 0;
    v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
    v0 = (v0 << 16) | (v0 >>> 16);
    v2 = (v2 + v3) | 0;
    v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
    v0 = (v0 + v3) | 0;
    v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
    v2 = (v2 + v1) | 0;
    v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
    v2 = (v2 << 16) | (v2 >>> 16);
    v0 ^= m;
  }
  return v1 ^ v3;
}
