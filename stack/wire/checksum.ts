/**
 * The Internet checksum: RFC 1071 sums and RFC 1624 incremental updates.
 *
 * A partial sum here is a non-negative number below 2^31, not yet folded; `fold` brings it to 16 bits, `finish` folds
 * and complements. Each range adds less than 2^18 to it, so that thousands of ranges can be added before folding. Sums of ranges that start at even distances from each other may simply be added. The sum of a range
 * is taken in network byte order, so sums can be mixed freely with header fields.
 *
 * Speed: sixteen bytes per step as four words in machine order, halves added separately (carries need no care until the
 * end), one byte swap at the end (RFC 1071 §2 (B): the sum does not depend on the byte order).
 * @hot
 */

/** Adds the bytes `buf[off, off+len)` to a partial sum. `i32` is a view of the same memory; `off` may be odd. */
export function sum(buf: Uint8Array, i32: Int32Array, off: number, len: number, start: number): number {
  let s = start;
  const end = off + len;
  if ((off & 1) !== 0) return sumUnaligned(buf, off, len, start);
  if ((off & 2) !== 0 && len >= 2) {
    s += (buf[off]! << 8) | buf[off + 1]!;
    off += 2;
  }
  // Words in machine order (little endian on every machine Node runs this on: checked below).
  let lo = 0;
  let w = off >> 2;
  const wEnd = end >> 2;
  // Each half adds at most 65535 per word: 64 KB make 16384 words, far from 2^31.
  let hi = 0;
  for (; w + 4 <= wEnd; w += 4) {
    const a = i32[w]!;
    const b = i32[w + 1]!;
    const c = i32[w + 2]!;
    const d = i32[w + 3]!;
    lo += (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff);
    hi += (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16);
  }
  for (; w < wEnd; w++) {
    const a = i32[w]!;
    lo += a & 0xffff;
    hi += a >>> 16;
  }
  const folded = fold(lo + hi);
  s += ((folded & 0xff) << 8) | (folded >> 8);
  if (w << 2 > off) off = w << 2;
  if (end - off >= 2) {
    s += (buf[off]! << 8) | buf[off + 1]!;
    off += 2;
  }
  if (off < end) s += buf[off]! << 8;
  return s;
}

function sumUnaligned(buf: Uint8Array, off: number, len: number, start: number): number {
  let s = 0;
  const end = off + len - 1;
  for (; off < end; off += 2) s += (buf[off]! << 8) | buf[off + 1]!;
  if (off === end) s += buf[off]! << 8;
  return start + fold(s);
}

/** Brings a partial sum to 16 bits. */
export function fold(s: number): number {
  s = (s & 0xffff) + (s >>> 16);
  return (s & 0xffff) + (s >>> 16);
}

/** The checksum field for a partial sum: folded and complemented. */
export const finish = (s: number): number => ~fold(s) & 0xffff;

/** The sum of the TCP/UDP pseudo-header (RFC 9293 §3.1, RFC 768). `len` is that of the layer-4 header and data. */
export const pseudo4 = (src: number, dst: number, proto: number, len: number): number =>
  (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff) + proto + len;

/** RFC 1624 §3 (eqn. 3): the checksum after a 16-bit field changed from `from` to `to`. */
export const update16 = (checksum: number, from: number, to: number): number =>
  finish((~checksum & 0xffff) + (~from & 0xffff) + to);

/** The same for a 32-bit field. */
export const update32 = (checksum: number, from: number, to: number): number =>
  finish((~checksum & 0xffff) + (~(from >>> 16) & 0xffff) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff));

if (new Uint8Array(new Int32Array([1]).buffer)[0] !== 1) throw new Error('tsvs needs a little-endian machine');
