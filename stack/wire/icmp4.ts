/**
 * ICMP for IPv4 (RFC 792).
 *
 * ```
 *  +---------------+---------------+-------------------------------+
 *  |     Type      |     Code      |           Checksum            |  0
 *  +---------------+---------------+-------------------------------+
 *  |  rest of header: identifier and sequence (echo), next-hop MTU |  4
 *  |  in the low half (RFC 1191 §4), pointer (parameter problem)   |
 *  +---------------------------------------------------------------+
 *  |  data: echoed bytes, or the offending IP header and its data  |  8
 * ```
 *
 * `check` must pass before any getter; it verifies the checksum over `[off, end)`.
 * @hot
 */
import { ICMP_CHECKSUM, ICMP_MALFORMED } from '../drop.ts';
import { get16, get32, set16, set32 } from './bytes.ts';
import { finish, fold, sum, update16 } from './checksum.ts';

export const ICMP_LEN = 8;

export const ECHO_REPLY = 0;
export const UNREACHABLE = 3;
export const SOURCE_QUENCH = 4;
export const REDIRECT = 5;
export const ECHO_REQUEST = 8;
export const TIME_EXCEEDED = 11;
export const PARAMETER_PROBLEM = 12;

/** Codes of UNREACHABLE (RFC 792, RFC 1122 §3.2.2.1). */
export const UNREACH_NET = 0;
export const UNREACH_HOST = 1;
export const UNREACH_PROTOCOL = 2;
export const UNREACH_PORT = 3;
export const UNREACH_FRAG_NEEDED = 4;
export const UNREACH_ADMIN = 13;
/** Codes of TIME_EXCEEDED. */
export const EXCEEDED_TTL = 0;
export const EXCEEDED_REASSEMBLY = 1;

export function check(buf: Uint8Array, i32: Int32Array, off: number, end: number): number {
  if (end - off < ICMP_LEN) return ICMP_MALFORMED;
  return fold(sum(buf, i32, off, end - off, 0)) === 0xffff ? 0 : ICMP_CHECKSUM;
}

export const type = (buf: Uint8Array, off: number): number => buf[off]!;
export const code = (buf: Uint8Array, off: number): number => buf[off + 1]!;
export const checksum = (buf: Uint8Array, off: number): number => get16(buf, off + 2);
/** The second word as it stands: its meaning depends on the type. */
export const rest = (buf: Uint8Array, off: number): number => get32(buf, off + 4);
export const echoId = (buf: Uint8Array, off: number): number => get16(buf, off + 4);
export const echoSeq = (buf: Uint8Array, off: number): number => get16(buf, off + 6);
/** RFC 1191 §4. */
export const nextHopMtu = (buf: Uint8Array, off: number): number => get16(buf, off + 6);

/** Errors quote the packet they are about; queries do not (RFC 1122 §3.2.2). */
export const isError = (t: number): boolean =>
  t === UNREACHABLE || t === SOURCE_QUENCH || t === REDIRECT || t === TIME_EXCEEDED || t === PARAMETER_PROBLEM;

/** Changes the type in place and corrects the checksum (RFC 1624). */
export function setType(buf: Uint8Array, off: number, t: number): void {
  const before = get16(buf, off);
  const after = (t << 8) | (before & 0xff);
  set16(buf, off, after);
  set16(buf, off + 2, update16(checksum(buf, off), before, after));
}

/** Writes the header of a message whose `len` bytes (header included) are otherwise in place, checksum included. */
export function emit(
  buf: Uint8Array,
  i32: Int32Array,
  off: number,
  t: number,
  c: number,
  restWord: number,
  len: number,
): void {
  buf[off] = t;
  buf[off + 1] = c;
  set16(buf, off + 2, 0);
  set32(buf, off + 4, restWord);
  set16(buf, off + 2, finish(sum(buf, i32, off, len, 0)));
}
