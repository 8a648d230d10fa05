/**
 * IPv4 header (RFC 791 §3.1).
 *
 * ```
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------+-------+---------------+-------------------------------+
 *  |Version|  IHL  |      TOS      |         Total length          |  0
 *  +-------+-------+---------------+-----+-------------------------+
 *  |        Identification         |Flags|    Fragment offset      |  4
 *  +---------------+---------------+-----+-------------------------+
 *  | Time to live  |   Protocol    |        Header checksum        |  8
 *  +---------------+---------------+-------------------------------+
 *  |                         Source address                        | 12
 *  +---------------------------------------------------------------+
 *  |                      Destination address                      | 16
 *  +---------------------------------------------------------------+
 *  |                 Options (0 to 40 bytes), padding              | 20
 * ```
 *
 * `check` must pass before any getter: it verifies version, lengths and the header checksum against the bytes there are
 * (RFC 1122 §3.2.1.1, §3.2.1.2). Options are in ipv4/options.ts. Addresses are int32 in host order.
 * @hot
 */
import { IP_CHECKSUM, IP_HEADER_LENGTH, IP_TRUNCATED, IP_VERSION } from '../drop.ts';
import { get16, get32, set16, set32 } from './bytes.ts';
import { finish, fold, sum, update16 } from './checksum.ts';

/** Header without options. */
export const IPV4_LEN = 20;
export const IPV4_MAX_LEN = 65535;
/** Every link has to take so many bytes (RFC 791 §3.2). */
export const IPV4_MIN_MTU = 68;
export const DEFAULT_TTL = 64;

export const PROTO_ICMP = 1;
/** IPv4 in IPv4 (RFC 2003). */
export const PROTO_IPIP = 4;
export const PROTO_TCP = 6;
export const PROTO_UDP = 17;

/** Don't fragment, more fragments (RFC 791 §3.1 Flags), and the offset's mask, in the 16-bit flags field. */
export const DF = 0x4000;
export const MF = 0x2000;
export const OFFSET_MASK = 0x1fff;

/** Returns 0, or the reason why the bytes `[off, end)` are no IPv4 packet. */
export function check(buf: Uint8Array, i32: Int32Array, off: number, end: number): number {
  if (end - off < IPV4_LEN) return IP_TRUNCATED;
  if (buf[off]! >> 4 !== 4) return IP_VERSION;
  const header = headerLength(buf, off);
  if (header < IPV4_LEN) return IP_HEADER_LENGTH;
  const total = totalLength(buf, off);
  if (total < header) return IP_HEADER_LENGTH;
  if (off + total > end) return IP_TRUNCATED;
  if (header === IPV4_LEN && (off & 3) === 0) return plainSum(i32, off >> 2) === 0xffff ? 0 : IP_CHECKSUM;
  return fold(sum(buf, i32, off, header, 0)) === 0xffff ? 0 : IP_CHECKSUM;
}

/** The sum of a header without options on a 4-byte boundary, from word `w` on; in machine order, where 0xffff is the same. */
export function plainSum(i32: Int32Array, w: number): number {
  const a = i32[w]!;
  const b = i32[w + 1]!;
  const c = i32[w + 2]!;
  const d = i32[w + 3]!;
  const e = i32[w + 4]!;
  const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return fold(low + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16));
}

/** In bytes. */
export const headerLength = (buf: Uint8Array, off: number): number => (buf[off]! & 0x0f) << 2;
export const tos = (buf: Uint8Array, off: number): number => buf[off + 1]!;
/** Header and payload, in bytes. */
export const totalLength = (buf: Uint8Array, off: number): number => get16(buf, off + 2);
export const id = (buf: Uint8Array, off: number): number => get16(buf, off + 4);
/** DF, MF and the fragment offset in one field. */
export const fragmentField = (buf: Uint8Array, off: number): number => get16(buf, off + 6);
/** In bytes. */
export const fragmentOffset = (buf: Uint8Array, off: number): number => (get16(buf, off + 6) & OFFSET_MASK) << 3;
export const isFragment = (buf: Uint8Array, off: number): boolean => (get16(buf, off + 6) & (MF | OFFSET_MASK)) !== 0;
export const ttl = (buf: Uint8Array, off: number): number => buf[off + 8]!;
export const proto = (buf: Uint8Array, off: number): number => buf[off + 9]!;
export const checksum = (buf: Uint8Array, off: number): number => get16(buf, off + 10);
export const src = (buf: Uint8Array, off: number): number => get32(buf, off + 12);
export const dst = (buf: Uint8Array, off: number): number => get32(buf, off + 16);

export const setTotalLength = (buf: Uint8Array, off: number, v: number): void => set16(buf, off + 2, v);
export const setId = (buf: Uint8Array, off: number, v: number): void => set16(buf, off + 4, v);
export const setFragmentField = (buf: Uint8Array, off: number, v: number): void => set16(buf, off + 6, v);

/** Recomputes the header checksum. */
export function fillChecksum(buf: Uint8Array, i32: Int32Array, off: number): void {
  set16(buf, off + 10, 0);
  set16(buf, off + 10, finish(sum(buf, i32, off, headerLength(buf, off), 0)));
}

/** One hop less, checksum updated in place (RFC 1624). */
export function decrementTtl(buf: Uint8Array, off: number): void {
  const before = get16(buf, off + 8);
  set16(buf, off + 8, before - 0x100);
  set16(buf, off + 10, update16(checksum(buf, off), before, before - 0x100));
}

/** Changes the TOS byte, checksum updated in place (RFC 1624). */
export function setTos(buf: Uint8Array, off: number, v: number): void {
  const before = get16(buf, off);
  const after = (before & 0xff00) | v;
  set16(buf, off, after);
  set16(buf, off + 10, update16(checksum(buf, off), before, after));
}

/** Writes a header without options, checksum included. The sum is taken from the fields: nothing is read back. */
export function emit(
  buf: Uint8Array,
  off: number,
  tosByte: number,
  total: number,
  ident: number,
  fragment: number,
  hops: number,
  protocol: number,
  source: number,
  destination: number,
): void {
  set16(buf, off, 0x4500 | tosByte);
  set16(buf, off + 2, total);
  set16(buf, off + 4, ident);
  set16(buf, off + 6, fragment);
  set16(buf, off + 8, (hops << 8) | protocol);
  set32(buf, off + 12, source);
  set32(buf, off + 16, destination);
  const s =
    (0x4500 | tosByte) +
    total +
    (ident & 0xffff) +
    fragment +
    ((hops << 8) | protocol) +
    (source >>> 16) +
    (source & 0xffff) +
    (destination >>> 16) +
    (destination & 0xffff);
  set16(buf, off + 10, finish(s));
}
