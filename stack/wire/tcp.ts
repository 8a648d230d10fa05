/**
 * TCP header (RFC 9293 §3.1).
 *
 * ```
 *   0                   1                   2                   3
 *   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
 *  +-------------------------------+-------------------------------+
 *  |          Source port          |       Destination port        |  0
 *  +-------------------------------+-------------------------------+
 *  |                        Sequence number                        |  4
 *  +---------------------------------------------------------------+
 *  |                     Acknowledgment number                     |  8
 *  +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *  | Data  | Rsrvd |C|E|U|A|P|R|S|F|            Window             | 12
 *  | offset|       |W|C|R|C|S|S|Y|I|                               |
 *  +-------+-------+-+-+-+-+-+-+-+-+-------------------------------+
 *  |           Checksum            |        Urgent pointer         | 16
 *  +-------------------------------+-------------------------------+
 *  |                    Options (0 to 40 bytes)                    | 20
 * ```
 *
 * `check` must pass before any getter; it does not verify the checksum, which needs the pseudo-header (tcp/input.ts).
 * Options are in wire/tcp-options.ts. Sequence numbers are int32; compare with `(a - b) | 0`.
 * The urgent pointer is ignored (RFC 6093).
 * @hot
 */
import { TCP_MALFORMED } from '../drop.ts';
import { get16, get32, set16, set32 } from './bytes.ts';

export const TCP_LEN = 20;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;
export const URG = 0x20;
export const ECE = 0x40;
export const CWR = 0x80;

export function check(buf: Uint8Array, off: number, end: number): number {
  if (end - off < TCP_LEN) return TCP_MALFORMED;
  const header = dataOffset(buf, off);
  return header < TCP_LEN || off + header > end ? TCP_MALFORMED : 0;
}

export const srcPort = (buf: Uint8Array, off: number): number => get16(buf, off);
export const dstPort = (buf: Uint8Array, off: number): number => get16(buf, off + 2);
/** Both ports in one word: source << 16 | destination. */
export const ports = (buf: Uint8Array, off: number): number => get32(buf, off);
export const seq = (buf: Uint8Array, off: number): number => get32(buf, off + 4);
export const ack = (buf: Uint8Array, off: number): number => get32(buf, off + 8);
/** Header length in bytes. */
export const dataOffset = (buf: Uint8Array, off: number): number => (buf[off + 12]! >> 4) << 2;
export const flags = (buf: Uint8Array, off: number): number => buf[off + 13]!;
export const window = (buf: Uint8Array, off: number): number => get16(buf, off + 14);
export const checksum = (buf: Uint8Array, off: number): number => get16(buf, off + 16);

/** Writes the fixed header; `headerLen` in bytes includes the options, which the caller writes. */
export function emit(
  buf: Uint8Array,
  off: number,
  sport: number,
  dport: number,
  sequence: number,
  acknowledgment: number,
  headerLen: number,
  bits: number,
  wnd: number,
  check16: number,
): void {
  set16(buf, off, sport);
  set16(buf, off + 2, dport);
  set32(buf, off + 4, sequence);
  set32(buf, off + 8, acknowledgment);
  buf[off + 12] = headerLen << 2;
  buf[off + 13] = bits;
  set16(buf, off + 14, wnd);
  set16(buf, off + 16, check16);
  set16(buf, off + 18, 0);
}
