/**
 * Reading and writing network byte order (RFC 1700 "data notation") in a byte array. 32-bit values are int32.
 * Callers have checked the bounds: an out-of-range read yields undefined, silently.
 * @hot
 */

export const get16 = (buf: Uint8Array, off: number): number => (buf[off]! << 8) | buf[off + 1]!;

export const get32 = (buf: Uint8Array, off: number): number =>
  (buf[off]! << 24) | (buf[off + 1]! << 16) | (buf[off + 2]! << 8) | buf[off + 3]!;

/** The same 32 bits in the other byte order: what a word in machine order means on the wire, and back. */
export const swap32 = (v: number): number => (v << 24) | ((v & 0xff00) << 8) | ((v >>> 8) & 0xff00) | (v >>> 24);

export function set16(buf: Uint8Array, off: number, v: number): void {
  buf[off] = v >> 8;
  buf[off + 1] = v;
}

export function set32(buf: Uint8Array, off: number, v: number): void {
  buf[off] = v >> 24;
  buf[off + 1] = v >> 16;
  buf[off + 2] = v >> 8;
  buf[off + 3] = v;
}
