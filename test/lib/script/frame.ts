/** Segments of a packet script as frames, and back to the words of the script. Shares no code with the stack. */
import { naiveChecksum } from '../naive-checksum.ts';
import { type DecodedSegment, etherFrame, ipPacket } from '../segment.ts';
import { HOST, PEER } from '../tcp-peer.ts';
import { type Connection, patternAt } from './connection.ts';
import type { IcmpText, OptionText, SegmentText } from './script.ts';

const FLAGS = 'FSRP.UEW';

const word = (v: number): number[] => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];

function optionBytes(c: Connection, o: OptionText): number[] {
  switch (o.kind) {
    case 'nop':
      return [1];
    case 'eol':
      return [0];
    case 'sackOK':
      return [4, 2];
    case 'mss':
      return [2, 4, (o.value.from >> 8) & 255, o.value.from & 255];
    case 'wscale':
      return [3, 3, o.value.from & 255];
    case 'TS': {
      const echo = o.echo === 'last' ? c.lastTs : o.echo.from === 0 ? 0 : ((c.tsBase ?? 0) + o.echo.from) | 0;
      return [8, 10, ...word(o.value.from), ...word(echo)];
    }
    case 'sack': {
      const edges = o.blocks.flat().map((n) => ((c.hostIss ?? 0) + n) | 0);
      return [5, 2 + 4 * edges.length, ...edges.flatMap(word)];
    }
    case 'hex':
      return [...o.bytes];
  }
}

/** Bytes that a segment of the peer carries. */
export function payloadOf(s: SegmentText): number[] {
  if (s.data !== undefined) return Array.from(s.data, (ch) => ch.charCodeAt(0));
  return Array.from({ length: s.length ?? 0 }, (_, i) => patternAt((s.seq ?? 0) + i));
}

/** The frame of a segment that the peer sends. */
export function segmentOf(c: Connection, s: SegmentText): Uint8Array {
  const twist = (kind: string): number | null => {
    const t = s.twists.find((one) => one.kind === kind);
    return t === undefined ? null : 'value' in t ? t.value : 1;
  };
  const options = (s.options ?? []).flatMap((o) => optionBytes(c, o));
  while (options.length % 4 !== 0) options.push(1);
  if (options.length > 40) throw new Error(`${options.length} bytes of options, 40 is the limit`);
  const payload = payloadOf(s);
  const header = 20 + options.length;
  const t = new Uint8Array(header + payload.length);
  const v = new DataView(t.buffer);
  const land = twist('land') !== null;
  const src = land ? HOST : PEER;
  v.setUint16(0, land ? c.hostPort : c.peerPort);
  v.setUint16(2, c.hostPort);
  v.setInt32(4, (c.peerIss + (s.seq ?? 0)) | 0);
  if (s.ack !== undefined) v.setInt32(8, ((c.hostIss ?? 0) + s.ack.from) | 0);
  t[12] = ((twist('data_offset') ?? header / 4) << 4) | (twist('reserved') ?? 0);
  t[13] = s.flags === '-' ? 0 : [...s.flags].reduce((bits, f) => bits | (1 << FLAGS.indexOf(f)), 0);
  v.setUint16(14, s.win?.from ?? 65535);
  v.setUint16(18, twist('urgent') ?? 0);
  t.set(options, 20);
  t.set(payload, header);
  const pseudo = [...word(src), ...word(HOST), 0, 6, t.length >> 8, t.length & 255];
  if (twist('no_checksum') === null) v.setUint16(16, naiveChecksum([...pseudo, ...t]));
  if (twist('bad_checksum') !== null) t[16]! ^= 0x55;
  const packet = ipPacket(src, HOST, 6, t.subarray(0, t.length - (twist('cut') ?? 0)));
  if (s.ecn !== undefined) {
    packet[1] = s.ecn;
    packet[10] = packet[11] = 0;
    new DataView(packet.buffer).setUint16(10, naiveChecksum(packet.subarray(0, 20)));
  }
  return etherFrame(packet);
}

/** The frame of an ICMP error from the peer's address about something the host sent, or may have. */
export function icmpOf(c: Connection, i: IcmpText): Uint8Array {
  const ports = [c.hostPort >> 8, c.hostPort & 255, c.peerPort >> 8, c.peerPort & 255];
  const inner = ipPacket(HOST, PEER, 6, [...ports, ...word(((c.hostIss ?? 0) + i.quotedSeq) | 0)]);
  // The packet as it was sent had the whole segment.
  const v = new DataView(inner.buffer);
  v.setUint16(2, 40 + i.quotedLength);
  inner[10] = inner[11] = 0;
  v.setUint16(10, naiveChecksum(inner.subarray(0, 20)));
  const m = Uint8Array.from([i.type, i.code, 0, 0, ...word(i.mtu), ...inner]);
  new DataView(m.buffer).setUint16(2, naiveChecksum(m));
  return etherFrame(ipPacket(PEER, HOST, 1, m));
}

/** A segment of the host with numbers as scripts count them. */
export interface Relative {
  readonly flags: string;
  readonly seq: number;
  readonly length: number;
  /** Null without the flag. */
  readonly ack: number | null;
  readonly win: number;
  readonly options: ReadonlyMap<string, string>;
  readonly ts: readonly [number, number] | null;
}

/** Decoded letters in packetdrill's order, ACK as a dot. */
const lettersOf = (s: DecodedSegment): string =>
  [...'SFRPAUEC']
    .filter((f) => s.flags.includes(f))
    .map((f) => (f === 'A' ? '.' : f === 'C' ? 'W' : f))
    .join('') || '-';

export function relative(c: Connection, s: DecodedSegment): Relative {
  const options = new Map<string, string>();
  if (s.mss !== undefined) options.set('mss', `${s.mss}`);
  if (s.sackOk) options.set('sackOK', '');
  const ts = s.ts === undefined ? null : ([(s.ts[0] - (c.tsBase ?? 0)) | 0, s.ts[1]] as const);
  if (ts !== null) options.set('TS', `val ${ts[0]} ecr ${ts[1]}`);
  if (s.wscale !== undefined) options.set('wscale', `${s.wscale}`);
  if (s.sack !== undefined) {
    options.set('sack', s.sack.map((b) => b.map((n) => (n - c.peerIss) | 0).join(':')).join(' '));
  }
  return {
    flags: lettersOf(s),
    seq: (s.seq - (c.hostIss ?? 0)) | 0,
    length: s.data.length,
    ack: s.flags.includes('A') ? (s.ack - c.peerIss) | 0 : null,
    win: s.win,
    options,
    ts,
  };
}

/** As a script would write it. */
export function textOf(r: Relative): string {
  const list = [...r.options].map(([name, value]) => (value === '' ? name : `${name} ${value}`));
  return [
    `${r.flags} ${r.seq}:${r.seq + r.length}(${r.length})`,
    ...(r.ack !== null ? [`ack ${r.ack}`] : []),
    `win ${r.win}`,
    ...(list.length > 0 ? [`<${list.join(',')}>`] : []),
  ].join(' ');
}
