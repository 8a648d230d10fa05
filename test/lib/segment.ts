/**
 * TCP segments by hand: builds Ethernet frames from plain records and reads them back, verifying every length and
 * checksum byte by byte. Shares no code with the stack, so it can judge it.
 */
import { naiveChecksum, naiveSum } from './naive-checksum.ts';

/** Sequence numbers are int32, as everywhere. */
export interface Segment {
  src: number;
  dst: number;
  sport: number;
  dport: number;
  seq: number;
  ack: number;
  /** Letters in the order of `FLAG_LETTERS`: 'SA', 'FPA', 'R', ''. */
  flags: string;
  win: number;
  data: Uint8Array;
  mss?: number;
  wscale?: number;
  sackOk?: boolean;
  ts?: readonly [number, number];
  sack?: readonly (readonly [number, number])[];
}

export interface DecodedSegment extends Segment {
  ipId: number;
  df: boolean;
  tos: number;
  ttl: number;
}

const FLAG_LETTERS = 'FSRPAUEC';

export const flagBits = (letters: string): number => {
  let bits = 0;
  for (const c of letters) {
    const i = FLAG_LETTERS.indexOf(c);
    if (i < 0) throw new Error(`no TCP flag ${c}`);
    bits |= 1 << i;
  }
  return bits;
};

/** 'S', 'SA', 'FA', 'PA' ...: SYN, FIN, RST, PSH before ACK, as tcpdump prints them. */
export const flagLetters = (bits: number): string => [...'SFRPUECA'].filter((c) => bits & flagBits(c)).join('');

function options(s: Segment): number[] {
  const o: number[] = [];
  const word = (v: number): number[] => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];
  if (s.mss !== undefined) o.push(2, 4, s.mss >> 8, s.mss & 255);
  if (s.sackOk) o.push(4, 2);
  if (s.ts !== undefined) o.push(8, 10, ...word(s.ts[0]), ...word(s.ts[1]));
  if (s.wscale !== undefined) o.push(3, 3, s.wscale);
  if (s.sack !== undefined) {
    o.push(5, 2 + 8 * s.sack.length);
    for (const [l, r] of s.sack) o.push(...word(l), ...word(r));
  }
  while (o.length % 4 !== 0) o.push(1);
  if (o.length > 40) throw new Error('more than 40 bytes of options');
  return o;
}

const MACS = [
  [2, 0, 0, 0, 0, 1],
  [2, 0, 0, 0, 0, 2],
] as const;

/** An IPv4 packet without options. */
export function ipPacket(src: number, dst: number, proto: number, payload: ArrayLike<number>, ident = 7): Uint8Array {
  const p = new Uint8Array(20 + payload.length);
  const v = new DataView(p.buffer);
  p[0] = 0x45;
  v.setUint16(2, p.length);
  v.setUint16(4, ident);
  v.setUint16(6, 0x4000);
  p[8] = 64;
  p[9] = proto;
  v.setInt32(12, src);
  v.setInt32(16, dst);
  v.setUint16(10, naiveChecksum(p.subarray(0, 20)));
  p.set(payload, 20);
  return p;
}

/** DF of an IPv4 packet cleared, its checksum made anew. */
export function fragmentable(packet: Uint8Array): Uint8Array {
  packet[6] = 0;
  packet[10] = packet[11] = 0;
  const sum = naiveChecksum(packet.subarray(0, 20));
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  return packet;
}

/** Puts an Ethernet header in front: from the peer (host 2) to the stack under test (host 1). */
export function etherFrame(packet: Uint8Array): Uint8Array {
  const f = new Uint8Array(14 + packet.length);
  f.set(MACS[0], 0);
  f.set(MACS[1], 6);
  f[12] = 8;
  f.set(packet, 14);
  return f;
}

function pseudo(src: number, dst: number, tcp: Uint8Array): Uint8Array {
  const all = new Uint8Array(12 + tcp.length);
  const v = new DataView(all.buffer);
  v.setInt32(0, src);
  v.setInt32(4, dst);
  v.setUint16(8, 6);
  v.setUint16(10, tcp.length);
  all.set(tcp, 12);
  return all;
}

/** The TCP header and data of a segment, checksummed. */
export function tcpBytes(s: Segment): Uint8Array {
  const opts = options(s);
  const header = 20 + opts.length;
  const t = new Uint8Array(header + s.data.length);
  const v = new DataView(t.buffer);
  v.setUint16(0, s.sport);
  v.setUint16(2, s.dport);
  v.setInt32(4, s.seq);
  v.setInt32(8, s.ack);
  t[12] = header << 2;
  t[13] = flagBits(s.flags);
  v.setUint16(14, s.win);
  t.set(opts, 20);
  t.set(s.data, header);
  v.setUint16(16, naiveChecksum(pseudo(s.src, s.dst, t)));
  return t;
}

export const segmentFrame = (s: Segment, ident?: number): Uint8Array =>
  etherFrame(ipPacket(s.src, s.dst, 6, tcpBytes(s), ident));

function fail(what: string): never {
  throw new Error(`segment: ${what}`);
}

/**
 * Reads an Ethernet frame with one IPv4/TCP segment; throws on anything that is not exactly right. `partial`: the
 * checksum field holds the sum of the pseudo-header, for a device to finish.
 */
export function decodeSegment(frame: Uint8Array, partial = false): DecodedSegment {
  const p = frame.subarray(14);
  const v = new DataView(p.buffer, p.byteOffset, p.length);
  if (p[0] !== 0x45) fail(`first byte ${p[0]}`);
  const total = v.getUint16(2);
  if (total !== p.length) fail(`total length ${total}, packet has ${p.length}`);
  if (naiveSum(p.subarray(0, 20)) !== 0xffff) fail('IPv4 header checksum');
  if (p[9] !== 6) fail(`protocol ${p[9]}`);
  const src = v.getInt32(12);
  const dst = v.getInt32(16);
  const t = p.subarray(20);
  if (partial) {
    if (v.getUint16(36) !== naiveSum(pseudo(src, dst, t).subarray(0, 12))) fail('partial TCP checksum');
  } else if (naiveSum(pseudo(src, dst, t)) !== 0xffff) fail('TCP checksum');
  const header = (t[12]! >> 4) * 4;
  if ((t[12]! & 15) !== 0) fail('reserved bits');
  if (header < 20 || header > t.length) fail(`data offset ${header}`);
  if (v.getUint16(38) !== 0) fail('urgent pointer');
  const s: DecodedSegment = {
    src,
    dst,
    sport: v.getUint16(20),
    dport: v.getUint16(22),
    seq: v.getInt32(24),
    ack: v.getInt32(28),
    flags: flagLetters(t[13]!),
    win: v.getUint16(34),
    data: t.slice(header),
    ipId: v.getUint16(4),
    df: (v.getUint16(6) & 0x4000) !== 0,
    tos: p[1]!,
    ttl: p[8]!,
  };
  const o = new DataView(t.buffer, t.byteOffset + 20, header - 20);
  for (let i = 0; i < o.byteLength; ) {
    const kind = o.getUint8(i);
    if (kind === 0) break;
    if (kind === 1) {
      i++;
      continue;
    }
    const len = o.getUint8(i + 1);
    const sized = (n: number): void => {
      if (len !== n) fail(`option ${kind} of length ${len}`);
    };
    if (len < 2 || i + len > o.byteLength) fail(`option ${kind} of length ${len}`);
    if (kind === 2) {
      sized(4);
      s.mss = o.getUint16(i + 2);
    } else if (kind === 3) {
      sized(3);
      s.wscale = o.getUint8(i + 2);
    } else if (kind === 4) {
      sized(2);
      s.sackOk = true;
    } else if (kind === 8) {
      sized(10);
      s.ts = [o.getInt32(i + 2), o.getInt32(i + 6)];
    } else if (kind === 5) {
      if ((len - 2) % 8 !== 0 || len === 2) fail(`SACK of length ${len}`);
      const blocks: [number, number][] = [];
      for (let b = i + 2; b < i + len; b += 8) blocks.push([o.getInt32(b), o.getInt32(b + 4)]);
      s.sack = blocks;
    } else fail(`option ${kind}`);
    i += len;
  }
  return s;
}
