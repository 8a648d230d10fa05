/**
 * Ethernet II header (RFC 894; IEEE 802.3 clause 3 with a type field).
 *
 * ```
 *  0                   6                  12      14
 *  +-------------------+-------------------+-------+---------
 *  |  destination MAC  |    source MAC     | type  | payload
 *  +-------------------+-------------------+-------+---------
 * ```
 *
 * Not supported: 802.3 length fields with LLC/SNAP (dropped as unknown type). `check` must pass before any getter.
 * A MAC address in tables is two ints: `hi` the first 2 bytes, `lo` the last 4.
 * @hot
 */
import { RUNT } from '../drop.ts';
import { get16, get32, set16, set32, swap32 } from './bytes.ts';

export const ETH_LEN = 14;
/** Shortest frame without FCS (IEEE 802.3 §4.2.3.3): shorter ones are padded. */
export const ETH_MIN = 60;

export const ETHERTYPE_IPV4 = 0x0800;
export const ETHERTYPE_ARP = 0x0806;
export const ETHERTYPE_IPV6 = 0x86dd;

export const check = (off: number, end: number): number => (end - off < ETH_LEN ? RUNT : 0);

export const type = (buf: Uint8Array, off: number): number => get16(buf, off + 12);
export const dstHi = (buf: Uint8Array, off: number): number => get16(buf, off);
export const dstLo = (buf: Uint8Array, off: number): number => get32(buf, off + 2);
export const srcHi = (buf: Uint8Array, off: number): number => get16(buf, off + 6);
export const srcLo = (buf: Uint8Array, off: number): number => get32(buf, off + 8);
export const isMulticast = (buf: Uint8Array, off: number): boolean => (buf[off]! & 1) !== 0;
export const isBroadcast = (buf: Uint8Array, off: number): boolean =>
  get32(buf, off) === -1 && get16(buf, off + 4) === 0xffff;

/** `emit` for a header behind which a 4-byte boundary lies, where frames have their IP header: three words and two bytes. */
export function emitAligned(
  buf: Uint8Array,
  i32: Int32Array,
  off: number,
  dHi: number,
  dLo: number,
  sHi: number,
  sLo: number,
  etherType: number,
): void {
  const w = (off + 2) >> 2;
  set16(buf, off, dHi);
  i32[w] = swap32(dLo);
  i32[w + 1] = swap32((sHi << 16) | (sLo >>> 16));
  i32[w + 2] = swap32((sLo << 16) | etherType);
}

export function emit(
  buf: Uint8Array,
  off: number,
  dHi: number,
  dLo: number,
  sHi: number,
  sLo: number,
  etherType: number,
): void {
  set16(buf, off, dHi);
  set32(buf, off + 2, dLo);
  set16(buf, off + 6, sHi);
  set32(buf, off + 8, sLo);
  set16(buf, off + 12, etherType);
}
