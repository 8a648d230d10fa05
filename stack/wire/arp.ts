/**
 * ARP for IPv4 over Ethernet (RFC 826): hardware type 1, protocol 0x0800.
 *
 * ```
 *  0        2        4    5    6       8            14        18           24        28
 *  +--------+--------+----+----+-------+------------+---------+------------+---------+
 *  | hw = 1 | 0x0800 | 6  | 4  |  op   | sender MAC | sender  | target MAC | target  |
 *  +--------+--------+----+----+-------+------------+---------+------------+---------+
 * ```
 *
 * Not supported: other hardware or protocol types, RARP, InARP. `check` must pass before any getter.
 * @hot
 */
import { ARP_MALFORMED } from '../drop.ts';
import { get16, get32, set16, set32 } from './bytes.ts';

export const ARP_LEN = 28;
export const REQUEST = 1;
export const REPLY = 2;

export function check(buf: Uint8Array, off: number, end: number): number {
  if (end - off < ARP_LEN) return ARP_MALFORMED;
  if (get32(buf, off) !== 0x00010800 || get16(buf, off + 4) !== 0x0604) return ARP_MALFORMED;
  const op = get16(buf, off + 6);
  return op === REQUEST || op === REPLY ? 0 : ARP_MALFORMED;
}

export const operation = (buf: Uint8Array, off: number): number => get16(buf, off + 6);
export const senderHi = (buf: Uint8Array, off: number): number => get16(buf, off + 8);
export const senderLo = (buf: Uint8Array, off: number): number => get32(buf, off + 10);
export const senderIp = (buf: Uint8Array, off: number): number => get32(buf, off + 14);
export const targetHi = (buf: Uint8Array, off: number): number => get16(buf, off + 18);
export const targetLo = (buf: Uint8Array, off: number): number => get32(buf, off + 20);
export const targetIp = (buf: Uint8Array, off: number): number => get32(buf, off + 24);

export function emit(
  buf: Uint8Array,
  off: number,
  op: number,
  sHi: number,
  sLo: number,
  sIp: number,
  tHi: number,
  tLo: number,
  tIp: number,
): void {
  set32(buf, off, 0x00010800);
  set16(buf, off + 4, 0x0604);
  set16(buf, off + 6, op);
  set16(buf, off + 8, sHi);
  set32(buf, off + 10, sLo);
  set32(buf, off + 14, sIp);
  set16(buf, off + 18, tHi);
  set32(buf, off + 20, tLo);
  set32(buf, off + 24, tIp);
}
