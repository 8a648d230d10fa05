/** IPv4 packets as a fuzzer sees them: bytes in which fields may be found where they ought to be, and sums put right. */
import { naiveSum } from '../../lib/naive-checksum.ts';

export const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.length);

/** Bytes of the header as it claims, within what there is; 0 = too short for a header. */
export function headerLength(p: Uint8Array): number {
  const claimed = (p[0]! & 15) * 4;
  return p.length < 20 || claimed < 20 || claimed > p.length ? 0 : claimed;
}

const isFragment = (p: Uint8Array): boolean => (view(p).getUint16(6) & 0x3fff) !== 0;

/** Makes version, lengths and checksums right, as far as there is a header for it. */
export function repair(p: Uint8Array): void {
  if (p.length < 20) return;
  p[0] = 0x40 | (p[0]! & 15);
  if (headerLength(p) === 0) p[0] = 0x45;
  const header = headerLength(p);
  const v = view(p);
  v.setUint16(2, p.length);
  v.setUint16(10, 0);
  v.setUint16(10, 0xffff - naiveSum(p.subarray(0, header)));
  if (!isFragment(p)) repairL4(p, header);
}

/** Where the checksum of a protocol is; -1 = it has none that we know. */
const sumAt = (proto: number): number => (proto === 6 ? 16 : proto === 17 ? 6 : proto === 1 ? 2 : -1);

function repairL4(p: Uint8Array, header: number): void {
  const l4 = p.subarray(header);
  const proto = p[9]!;
  const at = sumAt(proto);
  if (at < 0 || l4.length < at + 2) return;
  if (proto === 17 && l4.length >= 8) view(l4).setUint16(4, l4.length);
  l4[at] = l4[at + 1] = 0;
  let sum = naiveSum(l4);
  if (proto !== 1) sum += naiveSum(p.subarray(12, 20)) + proto + l4.length;
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  view(l4).setUint16(at, 0xffff - sum);
}

/** The packet with other ends, sums right. */
export function readdress(p: Uint8Array, src: number, dst: number): Uint8Array {
  const q = p.slice();
  view(q).setInt32(12, src);
  view(q).setInt32(16, dst);
  return q;
}

/** A plausible answer to a TCP segment or a datagram that was sent: ends exchanged, numbers as they would follow. */
export function answer(p: Uint8Array, flags: number, payload: Uint8Array): Uint8Array | null {
  const header = headerLength(p);
  if (header === 0 || (p[9] !== 6 && p[9] !== 17) || p.length < header + 8) return null;
  const from = view(p);
  const src = from.getInt32(16);
  const dst = from.getInt32(12);
  const tcp = p[9] === 6;
  if (tcp && p.length < header + 20) return null;
  const q = new Uint8Array(20 + (tcp ? 20 : 8) + payload.length);
  q.set(p.subarray(0, 20));
  q[0] = 0x45;
  const v = view(q);
  v.setUint16(6, 0x4000);
  v.setInt32(12, src);
  v.setInt32(16, dst);
  v.setUint16(20, from.getUint16(header + 2));
  v.setUint16(22, from.getUint16(header));
  if (tcp) {
    const offset = (p[header + 12]! >> 4) * 4;
    const length = Math.max(p.length - header - offset, 0) + (p[header + 13]! & 1) + ((p[header + 13]! >> 1) & 1);
    v.setInt32(24, from.getInt32(header + 8));
    v.setInt32(28, (from.getInt32(header + 4) + length) | 0);
    q[32] = 0x50;
    q[33] = flags;
    v.setUint16(34, 0xffff);
  }
  q.set(payload, 20 + (tcp ? 20 : 8));
  repair(q);
  return q;
}

/** A router's error about a packet that was sent. */
export function error(p: Uint8Array, router: number, type: number, code: number, rest: number): Uint8Array {
  const quoted = p.subarray(0, Math.min(p.length, 20 + 48));
  const q = new Uint8Array(28 + quoted.length);
  const v = view(q);
  q[0] = 0x45;
  q[8] = 60;
  q[9] = 1;
  v.setInt32(12, router);
  v.setInt32(16, p.length >= 20 ? view(p).getInt32(12) : 0);
  q[20] = type;
  q[21] = code;
  v.setUint32(24, rest);
  q.set(quoted, 28);
  repair(q);
  return q;
}

/** The packet in pieces of `size` bytes (a multiple of 8), each with the header; sums right. */
export function fragments(p: Uint8Array, size: number): Uint8Array[] {
  const header = headerLength(p);
  if (header === 0 || p.length - header <= size) return [p];
  const pieces: Uint8Array[] = [];
  for (let at = header; at < p.length; at += size) {
    const part = p.subarray(at, Math.min(at + size, p.length));
    const q = new Uint8Array(header + part.length);
    q.set(p.subarray(0, header));
    q.set(part, header);
    view(q).setUint16(6, (at + size < p.length ? 0x2000 : 0) | ((at - header) >> 3));
    repair(q);
    pieces.push(q);
  }
  return pieces;
}
