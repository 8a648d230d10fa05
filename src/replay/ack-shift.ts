/**
 * Lets recorded TCP connections go on in a replay. The data plane chooses its own initial sequence numbers (RFC 6528), so
 * what a recorded client acknowledges was never sent here, and its connection would end at the handshake. This moves the
 * acknowledgments, and the SACK blocks, of each connection by the difference between our number and the recorded one, and
 * corrects the checksum (RFC 1624); nothing else of a frame changes.
 *
 * The recorded number is learned from the first segment after the SYN: it acknowledges exactly the SYN-ACK, in the replay
 * as in the recording. Segments of connections whose beginning is not in the recording pass unchanged.
 */
import { get16, get32, set16, set32 } from '../../stack/wire/bytes.ts';
import { update16 } from '../../stack/wire/checksum.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';

interface Connection {
  /** Our initial sequence number. */
  readonly iss: number;
  /** Ours minus the recorded; NaN until the first acknowledgment. */
  shift: number;
}

/** Connections remembered; the oldest is forgotten first. */
const MAX_CONNECTIONS = 65_536;
const OPT_SACK = 5;

export class AckShift {
  /** By how much the frame last received was changed; 0 = not at all. */
  movedBy = 0;
  /** By the remote end, then ours. */
  private readonly connections = new Map<string, Connection>();

  /** Notes our number when the frame is a SYN-ACK or a SYN of ours. */
  sent(bytes: Uint8Array): void {
    const l4 = tcpOffset(bytes);
    if (l4 === 0 || (tcp.flags(bytes, l4) & tcp.SYN) === 0) return;
    const l3 = eth.ETH_LEN;
    const key = keyOf(ip.dst(bytes, l3), tcp.dstPort(bytes, l4), ip.src(bytes, l3), tcp.srcPort(bytes, l4));
    const iss = tcp.seq(bytes, l4);
    if (this.connections.get(key)?.iss === iss) return; // sent again
    this.connections.delete(key);
    this.connections.set(key, { iss, shift: Number.NaN });
    if (this.connections.size > MAX_CONNECTIONS) this.connections.delete(this.connections.keys().next().value!);
  }

  /** The frame as the data plane is to see it: the same bytes, or a changed copy. */
  received(bytes: Uint8Array): Uint8Array {
    this.movedBy = 0;
    const l4 = tcpOffset(bytes);
    if (l4 === 0 || (tcp.flags(bytes, l4) & tcp.ACK) === 0) return bytes;
    const l3 = eth.ETH_LEN;
    const key = keyOf(ip.src(bytes, l3), tcp.srcPort(bytes, l4), ip.dst(bytes, l3), tcp.dstPort(bytes, l4));
    const connection = this.connections.get(key);
    if (connection === undefined) return bytes;
    if (Number.isNaN(connection.shift)) connection.shift = (connection.iss + 1 - tcp.ack(bytes, l4)) | 0;
    if (connection.shift === 0) return bytes;
    const copy = Uint8Array.from(bytes); // not slice: that of a Buffer shares its memory
    this.movedBy = connection.shift;
    shiftWord(copy, l4 + 8, l4, connection.shift);
    shiftSacks(copy, l4, connection.shift);
    return copy;
  }
}

const keyOf = (raddr: number, rport: number, laddr: number, lport: number): string =>
  `${raddr}:${rport} ${laddr}:${lport}`;

/** Where the TCP header is, if it is complete, in an unfragmented IPv4 packet; else 0. */
function tcpOffset(bytes: Uint8Array): number {
  const l3 = eth.ETH_LEN;
  if (bytes.length < l3 + ip.IPV4_LEN + tcp.TCP_LEN || eth.type(bytes, 0) !== eth.ETHERTYPE_IPV4) return 0;
  if (bytes[l3]! >> 4 !== 4 || ip.proto(bytes, l3) !== ip.PROTO_TCP || ip.isFragment(bytes, l3)) return 0;
  const l4 = l3 + ip.headerLength(bytes, l3);
  return l4 + tcp.TCP_LEN <= bytes.length && l4 + tcp.dataOffset(bytes, l4) <= bytes.length ? l4 : 0;
}

/** Adds to the 32-bit word at `at`, which begins at an even or odd place in the header at `l4`. */
function shiftWord(bytes: Uint8Array, at: number, l4: number, shift: number): void {
  const before = get32(bytes, at);
  const after = (before + shift) | 0;
  set32(bytes, at, after);
  let sum = get16(bytes, l4 + 16);
  // At an odd place each byte counts in the other half of its word: the swapped word has the same effect.
  const odd = ((at - l4) & 1) !== 0;
  const half = (word: number): number => (odd ? ((word & 0xff) << 8) | ((word >> 8) & 0xff) : word & 0xffff);
  sum = update16(sum, half(before >>> 16), half(after >>> 16));
  sum = update16(sum, half(before), half(after));
  set16(bytes, l4 + 16, sum);
}

function shiftSacks(bytes: Uint8Array, l4: number, shift: number): void {
  const end = l4 + tcp.dataOffset(bytes, l4);
  for (let at = l4 + tcp.TCP_LEN; at < end && bytes[at] !== 0; ) {
    if (bytes[at] === 1) {
      at += 1;
      continue;
    }
    const len = at + 1 < end ? bytes[at + 1]! : 0;
    if (len < 2 || at + len > end) return;
    if (bytes[at] === OPT_SACK) for (let w = at + 2; w + 4 <= at + len; w += 4) shiftWord(bytes, w, l4, shift);
    at += len;
  }
}
