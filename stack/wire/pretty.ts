/**
 * One frame in one line, in the words of tcpdump -n. For traces, logs and test snapshots: cold, and safe on any bytes:
 * what is cut short is printed as far as it goes, ending in `[|tcp]` or the like.
 */
import * as arp from './arp.ts';
import { get16, get32 } from './bytes.ts';
import * as ethernet from './ethernet.ts';
import * as icmp4 from './icmp4.ts';
import * as ipv4 from './ipv4.ts';
import * as tcp from './tcp.ts';

/** `10.0.0.1` for 0x0a000001. */
export const ipText = (ip: number): string => `${ip >>> 24}.${(ip >> 16) & 255}.${(ip >> 8) & 255}.${ip & 255}`;

/** `02:00:00:00:00:01`. */
export function macText(buf: Uint8Array, off: number): string {
  const parts: string[] = [];
  for (let i = 0; i < 6; i++) parts.push(buf[off + i]!.toString(16).padStart(2, '0'));
  return parts.join(':');
}

/**
 * Describes the frame whose first `len` bytes are at `buf[off]`; `wireLen >= len` is its full length, of which only the
 * payload may be missing.
 */
export function describe(buf: Uint8Array, off: number, len: number, wireLen: number = len): string {
  const end = off + len;
  if (len < ethernet.ETH_LEN) return `[|ether], length ${wireLen}`;
  const l3 = off + ethernet.ETH_LEN;
  const type = ethernet.type(buf, off);
  switch (type) {
    case ethernet.ETHERTYPE_ARP:
      return arpText(buf, l3, end);
    case ethernet.ETHERTYPE_IPV4:
      return `IP ${ipv4Text(buf, l3, end, wireLen - ethernet.ETH_LEN)}`;
    default: {
      const name = type === ethernet.ETHERTYPE_IPV6 ? 'IPv6' : `ethertype 0x${type.toString(16).padStart(4, '0')}`;
      return `${macText(buf, off + 6)} > ${macText(buf, off)}: ${name}, length ${wireLen}`;
    }
  }
}

function arpText(buf: Uint8Array, off: number, end: number): string {
  const length = `length ${end - off}`;
  if (end - off < arp.ARP_LEN) return `[|arp], ${length}`;
  const sender = ipText(arp.senderIp(buf, off));
  const target = ipText(arp.targetIp(buf, off));
  switch (arp.operation(buf, off)) {
    case arp.REQUEST:
      return sender === target
        ? `ARP, Announcement ${sender}, ${length}`
        : `ARP, Request who-has ${target} tell ${sender}, ${length}`;
    case arp.REPLY:
      return `ARP, Reply ${sender} is-at ${macText(buf, off + 8)}, ${length}`;
    default:
      return `ARP, operation ${arp.operation(buf, off)}, ${length}`;
  }
}

function ipv4Text(buf: Uint8Array, off: number, end: number, packetLen: number): string {
  if (end - off < ipv4.IPV4_LEN) return '[|ip]';
  const src = ipText(ipv4.src(buf, off));
  const dst = ipText(ipv4.dst(buf, off));
  const headerLen = ipv4.headerLength(buf, off);
  if (buf[off]! >> 4 !== 4 || headerLen < ipv4.IPV4_LEN)
    return `${src} > ${dst}: bad header 0x${buf[off]!.toString(16)}`;
  const payloadLen = Math.max((ipv4.totalLength(buf, off) || packetLen) - headerLen, 0);
  const l4 = off + headerLen;
  const fragment = fragmentText(buf, off, payloadLen);
  if (ipv4.fragmentOffset(buf, off) !== 0) return `${src} > ${dst}: ip-proto-${ipv4.proto(buf, off)}${fragment}`;
  return l4Text(buf, l4, end, payloadLen, src, dst, ipv4.proto(buf, off)) + fragment;
}

function fragmentText(buf: Uint8Array, off: number, payloadLen: number): string {
  if (!ipv4.isFragment(buf, off)) return '';
  const more = (ipv4.fragmentField(buf, off) & ipv4.MF) !== 0 ? '+' : '';
  return ` (frag ${ipv4.id(buf, off)}:${payloadLen}@${ipv4.fragmentOffset(buf, off)}${more})`;
}

function l4Text(
  buf: Uint8Array,
  l4: number,
  end: number,
  len: number,
  src: string,
  dst: string,
  proto: number,
): string {
  const room = end - l4;
  switch (proto) {
    case ipv4.PROTO_ICMP:
      return `${src} > ${dst}: ${room < icmp4.ICMP_LEN ? '[|icmp]' : icmpText(buf, l4)}, length ${len}`;
    case ipv4.PROTO_UDP: {
      if (room < 8) return `${src} > ${dst}: [|udp]`;
      return `${src}.${get16(buf, l4)} > ${dst}.${get16(buf, l4 + 2)}: UDP, length ${len - 8}`;
    }
    case ipv4.PROTO_TCP: {
      if (room < tcp.TCP_LEN) return `${src} > ${dst}: [|tcp]`;
      return `${src}.${tcp.srcPort(buf, l4)} > ${dst}.${tcp.dstPort(buf, l4)}: ${tcpText(buf, l4, end, len)}`;
    }
    default:
      return `${src} > ${dst}: ip-proto-${proto}, length ${len}`;
  }
}

const UNREACHABLE = ['net', 'host', 'protocol', 'port', 'need to frag', 'source route failed'];

function icmpText(buf: Uint8Array, off: number): string {
  const code = icmp4.code(buf, off);
  const echo = (what: string): string =>
    `ICMP echo ${what}, id ${icmp4.echoId(buf, off)}, seq ${icmp4.echoSeq(buf, off)}`;
  switch (icmp4.type(buf, off)) {
    case icmp4.ECHO_REQUEST:
      return echo('request');
    case icmp4.ECHO_REPLY:
      return echo('reply');
    case icmp4.UNREACHABLE: {
      const mtu = code === icmp4.UNREACH_FRAG_NEEDED ? ` (mtu ${icmp4.nextHopMtu(buf, off)})` : '';
      return `ICMP ${UNREACHABLE[code] ?? `code ${code}`} unreachable${mtu}`;
    }
    case icmp4.TIME_EXCEEDED:
      return code === 0 ? 'ICMP time exceeded in-transit' : 'ICMP time exceeded in reassembly';
    default:
      return `ICMP type ${icmp4.type(buf, off)} code ${code}`;
  }
}

function tcpText(buf: Uint8Array, off: number, end: number, len: number): string {
  const headerLen = tcp.dataOffset(buf, off);
  const flags = tcp.flags(buf, off);
  const payload = Math.max(len - headerLen, 0);
  const seq = tcp.seq(buf, off) >>> 0;
  const parts = [`Flags [${flagText(flags)}]`];
  if (payload > 0) parts.push(`seq ${seq}:${(seq + payload) % 4294967296}`);
  else if ((flags & (tcp.SYN | tcp.FIN | tcp.RST)) !== 0) parts.push(`seq ${seq}`);
  if ((flags & tcp.ACK) !== 0) parts.push(`ack ${tcp.ack(buf, off) >>> 0}`);
  parts.push(`win ${tcp.window(buf, off)}`);
  if (headerLen > tcp.TCP_LEN) parts.push(`options [${optionText(buf, off + tcp.TCP_LEN, off + headerLen, end)}]`);
  parts.push(`length ${payload}`);
  return parts.join(', ');
}

const FLAG_LETTERS: readonly (readonly [number, string])[] = [
  [tcp.FIN, 'F'],
  [tcp.SYN, 'S'],
  [tcp.RST, 'R'],
  [tcp.PSH, 'P'],
  [tcp.ACK, '.'],
  [tcp.URG, 'U'],
  [tcp.ECE, 'E'],
  [tcp.CWR, 'W'],
];

function flagText(flags: number): string {
  const letters = FLAG_LETTERS.filter(([bit]) => (flags & bit) !== 0).map(([, letter]) => letter);
  return letters.length === 0 ? 'none' : letters.join('');
}

function optionText(buf: Uint8Array, from: number, to: number, end: number): string {
  const words: string[] = [];
  const stop = Math.min(to, end);
  let at = from;
  while (at < stop) {
    const kind = buf[at]!;
    if (kind === 0) {
      words.push('eol');
      break;
    }
    if (kind === 1) {
      words.push('nop');
      at += 1;
      continue;
    }
    const len = at + 1 < stop ? buf[at + 1]! : 0;
    if (len < 2 || at + len > stop) {
      words.push('[|opt]');
      break;
    }
    words.push(oneOption(buf, at, kind, len));
    at += len;
  }
  if (to > end) words.push('[|opt]');
  return words.join(',');
}

function oneOption(buf: Uint8Array, at: number, kind: number, len: number): string {
  const u32 = (off: number): number => get32(buf, off) >>> 0;
  if (kind === 2 && len === 4) return `mss ${get16(buf, at + 2)}`;
  if (kind === 3 && len === 3) return `wscale ${buf[at + 2]}`;
  if (kind === 4 && len === 2) return 'sackOK';
  if (kind === 8 && len === 10) return `TS val ${u32(at + 2)} ecr ${u32(at + 6)}`;
  if (kind === 5 && len % 8 === 2 && len > 2) {
    const blocks: string[] = [];
    for (let b = at + 2; b < at + len; b += 8) blocks.push(`{${u32(b)}:${u32(b + 4)}}`);
    return `sack ${blocks.length} ${blocks.join('')}`;
  }
  return `opt-${kind}`;
}
