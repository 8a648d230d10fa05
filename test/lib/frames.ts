/** Frames by hand, byte by byte, with checksums from the naive implementation: what a capture may hold, right or wrong. */
import { naiveChecksum } from './naive-checksum.ts';

const be16 = (v: number): number[] => [(v >> 8) & 255, v & 255];
const be32 = (v: number): number[] => [...be16(v >>> 16), ...be16(v)];

export const quad = (text: string): number[] => text.split('.').map(Number);
export const mac = (text: string): number[] => text.split(':').map((pair) => Number.parseInt(pair, 16));

export const BROADCAST = 'ff:ff:ff:ff:ff:ff';

/** An Ethernet frame, padded to 60 bytes. */
export function ethernet(dst: string, src: string, type: number, payload: readonly number[]): Uint8Array {
  const bytes = [...mac(dst), ...mac(src), ...be16(type), ...payload];
  while (bytes.length < 60) bytes.push(0);
  return Uint8Array.from(bytes);
}

/** The body of an ARP packet; `operation` 1 asks, 2 answers. */
export const arp = (
  operation: number,
  senderMac: string,
  sender: string,
  targetMac: string,
  target: string,
): number[] => [
  ...[0, 1, 8, 0, 6, 4, 0, operation],
  ...[...mac(senderMac), ...quad(sender), ...mac(targetMac), ...quad(target)],
];

export interface Ip {
  readonly src: string;
  readonly dst: string;
  readonly proto: number;
  readonly id?: number;
  /** The fragment word: flags and offset in eights. */
  readonly fragment?: number;
  readonly ttl?: number;
}

export function ipv4(head: Ip, payload: readonly number[]): number[] {
  const { src, dst, proto, id = 1, fragment = 0, ttl = 64 } = head;
  const header = [0x45, 0, ...be16(20 + payload.length), ...be16(id), ...be16(fragment), ttl, proto, 0, 0];
  header.push(...quad(src), ...quad(dst));
  header.splice(10, 2, ...be16(naiveChecksum(header)));
  return [...header, ...payload];
}

export function echoRequest(id: number, seq: number, data: readonly number[] = []): number[] {
  const message = [8, 0, 0, 0, ...be16(id), ...be16(seq), ...data];
  message.splice(2, 2, ...be16(naiveChecksum(message)));
  return message;
}

export interface Segment {
  readonly src: string;
  readonly dst: string;
  readonly sport: number;
  readonly dport: number;
  readonly seq: number;
  readonly ack?: number;
  readonly flags: number;
  readonly options?: readonly number[];
  readonly data?: readonly number[];
}

/** A TCP segment; `options` fill whole words. */
export function tcp(s: Segment): number[] {
  const { options = [], data = [], ack = 0 } = s;
  const offset = ((20 + options.length) / 4) << 4;
  const segment = [
    ...be16(s.sport),
    ...be16(s.dport),
    ...be32(s.seq),
    ...be32(ack),
    offset,
    s.flags,
    255,
    255,
    0,
    0,
    0,
    0,
  ];
  segment.push(...options, ...data);
  const pseudo = [...quad(s.src), ...quad(s.dst), 0, 6, ...be16(segment.length)];
  segment.splice(16, 2, ...be16(naiveChecksum([...pseudo, ...segment])));
  return segment;
}

/** A UDP datagram without a checksum. */
export const udp = (sport: number, dport: number, data: readonly number[]): number[] => [
  ...be16(sport),
  ...be16(dport),
  ...be16(8 + data.length),
  ...[0, 0],
  ...data,
];
