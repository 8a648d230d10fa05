/**
 * The parts every rewrite is composed of: addresses, ports and sequence numbers are set one by one, each part says by how
 * much it changed the sum of what it touched, and the checksums are corrected once by all of it (RFC 1624 eqn. 3).
 *
 * A change is a non-negative number to be added to the complement of a checksum; changes may be added to each other. What
 * a checksum said of the packet before, right or wrong, it says of it afterwards: an error on the way is not covered up.
 *
 * A frame whose layer-4 checksum is still to be finished (F_CSUM_PARTIAL) holds the sum of the pseudo-header there, not
 * complemented. Only addresses are in it: changes of the content will be seen by who finishes it.
 * Called by the files beside.
 * @hot
 */
import { F_CSUM_PARTIAL, type FramePool } from '../../stack/mem/frame-pool.ts';
import type { FrameId, Ipv4 } from '../../stack/types.ts';
import { get16, get32, set16, set32 } from '../../stack/wire/bytes.ts';
import { finish, fold } from '../../stack/wire/checksum.ts';
import { isRequest } from '../proto/icmp.ts';

/** Offsets of the checksum in the headers. */
const IP_CHECKSUM = 10;
export const TCP_CHECKSUM = 16;
export const UDP_CHECKSUM = 6;
const ICMP_CHECKSUM = 2;
const ICMP_ID = 4;

/** How a sum changes when a 16-bit word does. */
export const change16 = (from: number, to: number): number => (~from & 0xffff) + to;

/** The same for 32 bits at an even distance from where the sum began. */
export const change32 = (from: number, to: number): number =>
  (~(from >>> 16) & 0xffff) + (~from & 0xffff) + (to >>> 16) + (to & 0xffff);

/** What stands at an odd distance counts with its bytes swapped (RFC 1071 §2 (B)). */
export function swapped(change: number): number {
  const s = fold(change);
  return ((s & 0xff) << 8) | (s >> 8);
}

/** Corrects the checksum in the field at `off`. */
export function adjust(buf: Uint8Array, off: number, change: number): void {
  set16(buf, off, finish((~get16(buf, off) & 0xffff) + change));
}

/** Source and destination of the IPv4 header at `l3`, its checksum included. Returns the change of the pseudo-header. */
export function setAddresses(buf: Uint8Array, l3: number, src: Ipv4, dst: Ipv4): number {
  const change = change32(get32(buf, l3 + 12), src) + change32(get32(buf, l3 + 16), dst);
  set32(buf, l3 + 12, src);
  set32(buf, l3 + 16, dst);
  adjust(buf, l3 + IP_CHECKSUM, change);
  return change;
}

/** A 32-bit word at an even distance from the layer-4 header: both ports, a sequence number. Returns the change. */
export function setWord(buf: Uint8Array, off: number, to: number): number {
  const change = change32(get32(buf, off), to);
  set32(buf, off, to);
  return change;
}

/** The TCP checksum of a frame after its pseudo-header and its content changed. */
export function fixTcp(pool: FramePool, f: FrameId, l4: number, addresses: number, content: number): void {
  const { buf } = pool;
  const field = l4 + TCP_CHECKSUM;
  if ((pool.flags[f] & F_CSUM_PARTIAL) !== 0) set16(buf, field, fold(get16(buf, field) + addresses));
  else adjust(buf, field, addresses + content);
}

/** The same for UDP, where a zero means that the sender computed none (RFC 768). */
export function fixUdp(pool: FramePool, f: FrameId, l4: number, addresses: number, content: number): void {
  const { buf } = pool;
  const field = l4 + UDP_CHECKSUM;
  if ((pool.flags[f] & F_CSUM_PARTIAL) !== 0) set16(buf, field, fold(get16(buf, field) + addresses));
  else adjustUdp(buf, field, addresses + content);
}

/** Corrects a UDP checksum, finished or absent. */
export function adjustUdp(buf: Uint8Array, field: number, change: number): void {
  if (get16(buf, field) === 0) return;
  adjust(buf, field, change);
  if (get16(buf, field) === 0) set16(buf, field, 0xffff);
}

/** The identifier of the ICMP query at `l4` is that of `ports` (lb/proto/icmp.ts), its checksum included. */
export function setQueryId(buf: Uint8Array, l4: number, ports: number): void {
  const id = isRequest(buf[l4]) ? ports >>> 16 : ports & 0xffff;
  const change = change16(get16(buf, l4 + ICMP_ID), id);
  set16(buf, l4 + ICMP_ID, id);
  adjust(buf, l4 + ICMP_CHECKSUM, change);
}

/** <source port, destination port> as seen from the other end. */
export const reversed = (ports: number): number => (ports << 16) | (ports >>> 16);
