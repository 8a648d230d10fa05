/**
 * MurmurHash3_x86_32 (Austin Appleby, public domain), over int32 words and over bytes.
 *
 * The word form is the byte form of the same words laid down little-endian, whatever the machine: hash
 * tables and consistent-hash rings built on different nodes agree. Not a keyed hash: where a client may
 * choose the input to overload one server, give a secret seed.
 * Called by the schedulers (one key per connection) and by the service lookup. Imports nothing.
 *
 * @hot no allocation. To hash a few fields without an array: fold each with `mixWord`, starting at the seed,
 * then `finish` with the number of bytes folded (4 per word).
 */

const C1 = 0xcc9e2d51 | 0;
const C2 = 0x1b873593 | 0;

/** One block of four bytes folded into state `h`. Both int32; returns int32. */
export function mixWord(h: number, word: number): number {
  let k = Math.imul(word, C1);
  k = (k << 15) | (k >>> 17);
  h ^= Math.imul(k, C2);
  h = (h << 13) | (h >>> 19);
  return (Math.imul(h, 5) + 0xe6546b64) | 0;
}

/** Ends a hash of `lenBytes` bytes; returns int32. */
export function finish(h: number, lenBytes: number): number {
  return fmix(h ^ lenBytes);
}

/** The final avalanche: a bijection of int32 in which every input bit reaches every output bit. */
export function fmix(h: number): number {
  h ^= h >>> 16;
  h = Math.imul(h, 0x85ebca6b);
  h ^= h >>> 13;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 16);
}

/** Hash of `words[off .. off + n)`; seed and result int32. */
export function murmur3Words(words: Int32Array, off: number, n: number, seed: number): number {
  let h = seed | 0;
  for (let i = off, end = off + n; i < end; i++) h = mixWord(h, words[i]!);
  return finish(h, n << 2);
}

/** Hash of `buf[off .. off + len)`; seed and result int32. */
export function murmur3Bytes(buf: Uint8Array, off: number, len: number, seed: number): number {
  let h = seed | 0;
  let i = off;
  for (const end = off + (len & ~3); i < end; i += 4) {
    h = mixWord(h, buf[i]! | (buf[i + 1]! << 8) | (buf[i + 2]! << 16) | (buf[i + 3]! << 24));
  }
  const tail = len & 3;
  if (tail !== 0) {
    let k = buf[i]!;
    if (tail > 1) k |= buf[i + 1]! << 8;
    if (tail > 2) k |= buf[i + 2]! << 16;
    k = Math.imul(k, C1);
    k = (k << 15) | (k >>> 17);
    h ^= Math.imul(k, C2);
  }
  return finish(h, len);
}
