/**
 * UDP (RFC 768; RFC 1122 §4.1.3.4).
 *
 * ```
 *  0               16              32
 *  +---------------+---------------+
 *  |  source port  |   dest. port  |  0
 *  +---------------+---------------+
 *  |    length     |   checksum    |  4
 *  +---------------+---------------+
 *  |  data                         |  8
 * ```
 *
 * The length counts header and data and may be less than what IP carries: the rest is padding. A checksum of zero means
 * that the sender computed none. Not supported: UDP-Lite, jumbograms, UDP options in the padding (RFC 9868).
 * `check` must pass before any getter.
 * @hot
 */
import { UDP_CHECKSUM, UDP_MALFORMED } from '../drop.ts';
import { get16, set16 } from './bytes.ts';
import { finish, fold, pseudo4, sum } from './checksum.ts';
import { PROTO_UDP } from './ipv4.ts';

export const UDP_LEN = 8;
/** Most data in one datagram: 65535 less the headers of IP and UDP. */
export const UDP_DATA_MAX = 65507;
/** Where the checksum stands, for F_CSUM_PARTIAL. */
export const CHECKSUM_OFFSET = 6;

/** Returns 0, or the reason why the bytes `[off, end)` are no UDP datagram. */
export function check(buf: Uint8Array, off: number, end: number): number {
  if (end - off < UDP_LEN) return UDP_MALFORMED;
  const len = length(buf, off);
  return len < UDP_LEN || off + len > end ? UDP_MALFORMED : 0;
}

/** Returns 0, or UDP_CHECKSUM. For datagrams that passed `check`. */
export function checkSum(buf: Uint8Array, i32: Int32Array, off: number, src: number, dst: number): number {
  if (checksum(buf, off) === 0) return 0;
  const len = length(buf, off);
  return fold(sum(buf, i32, off, len, pseudo4(src, dst, PROTO_UDP, len))) === 0xffff ? 0 : UDP_CHECKSUM;
}

export const srcPort = (buf: Uint8Array, off: number): number => get16(buf, off);
export const dstPort = (buf: Uint8Array, off: number): number => get16(buf, off + 2);
/** Header and data, in bytes. */
export const length = (buf: Uint8Array, off: number): number => get16(buf, off + 4);
export const checksum = (buf: Uint8Array, off: number): number => get16(buf, off + 6);

/** Writes the header. `sumField` goes in as it is: 0, the sum of the pseudo-header, or a finished checksum. */
export function emit(buf: Uint8Array, off: number, from: number, to: number, len: number, sumField: number): void {
  set16(buf, off, from);
  set16(buf, off + 2, to);
  set16(buf, off + 4, len);
  set16(buf, off + 6, sumField);
}

/** Computes the checksum over header and data, which are in place. Never writes zero (RFC 768). */
export function fillChecksum(buf: Uint8Array, i32: Int32Array, off: number, src: number, dst: number): void {
  const len = length(buf, off);
  set16(buf, off + CHECKSUM_OFFSET, 0);
  const c = finish(sum(buf, i32, off, len, pseudo4(src, dst, PROTO_UDP, len)));
  set16(buf, off + CHECKSUM_OFFSET, c === 0 ? 0xffff : c);
}
