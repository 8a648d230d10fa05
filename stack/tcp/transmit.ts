/**
 * One TCP segment on its way: header, options, payload, the window it offers, the acknowledgment it carries.
 *
 * A header frame and a slice of a payload frame, up to a GSO frame at a time; several pieces are copied together, behind
 * the header where they make one segment, into a big frame where they make many. The layer-4 checksum field holds the
 * pseudo-header sum; netif or the device finishes it. Receiver's silly window avoidance: RFC 9293 §3.8.6.2.2.
 * @hot
 */
import { GSO_TCPV4, L4_HEADROOM } from '../mem/frame-pool.ts';
import { moveBytes } from '../mem/move.ts';
import type { FrameId } from '../types.ts';
import { DELIVERED } from '../verdict.ts';
import { fold, pseudo4 } from '../wire/checksum.ts';
import { PROTO_TCP } from '../wire/ipv4.ts';
import { ACK, emit, FIN, PSH, TCP_LEN } from '../wire/tcp.ts';
import { writeSack, writeTimestamp } from '../wire/tcp-options.ts';
import { bareSeq, partial, send } from './bare.ts';
import { dataTos, echo, reducedBit } from './ecn.ts';
import { receiveLimit } from './limits.ts';
import { sackEdges, writeEdges } from './sack.ts';
import type { SegmentId } from './segments.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { cancelDelayedAck } from './timers.ts';

/** Payloads up to this are copied behind their header: cheaper than a second buffer for the device. */
const COPY_BELOW = 256;

/** Shortest time between two answers to suspicious segments. */
const CHALLENGE_MS = 500;

/** One segment (or GSO frame) with the bytes of descriptors `first` to `last`; false when no frame was free. */
export function transmit(
  tcp: Tcp,
  tcb: Tcb,
  first: SegmentId,
  last: SegmentId,
  seq: number,
  bytes: number,
  fin: boolean,
): boolean {
  const { ctx, segments } = tcp;
  const { pool } = ctx;
  const f = ctx.create();
  if (f === 0) return false;
  const gathers = first !== last && bytes > tcb.mss;
  const train = gathers ? gather(tcp, first, bytes) : 0;
  if (gathers && train === 0) {
    ctx.settle(f, DELIVERED);
    return false;
  }
  let bits = ACK;
  if (fin) bits |= FIN;
  if (bytes > 0 && (fin || segments.next[last] === 0)) bits |= PSH; // RFC 9293 §3.9.1.2: the last of what is queued
  const fresh = seq === tcb.sndNxt && bytes > 0;
  if (fresh) bits |= reducedBit(tcb);
  const header = headerFor(tcp, tcb, f, seq, bits, bytes, false);
  if (train !== 0) {
    pool.frag[f] = train;
    pool.fragOff[f] = pool.off[train];
    pool.fragLen[f] = bytes;
  } else if ((bytes > COPY_BELOW || bytes > tcb.mss) && first === last) {
    const frame = segments.frame[first];
    ctx.retain(frame);
    pool.frag[f] = frame;
    pool.fragOff[f] = segments.off[first];
    pool.fragLen[f] = bytes;
  } else {
    copyBytes(tcp, first, pool.off[f] + header, bytes);
    pool.len[f] += bytes;
  }
  if (bytes > tcb.mss) {
    pool.gsoType[f] = GSO_TCPV4;
    pool.gsoSize[f] = tcb.mss;
  }
  send(tcp, tcb, f, dataTos(tcb, fresh));
  return true;
}

/** A big frame with `bytes` bytes from descriptor `first` on; the first one stands as it does there modulo 8, for the copy. */
function gather(tcp: Tcp, first: SegmentId, bytes: number): FrameId {
  const { pool } = tcp.ctx;
  const f = tcp.ctx.createBig();
  if (f === 0) return 0;
  pool.off[f] += (tcp.segments.off[first] - pool.off[f]) & 7;
  copyBytes(tcp, first, pool.off[f], bytes);
  pool.len[f] = bytes;
  return f;
}

/** Copies `bytes` bytes from descriptor `first` on to `at`. */
function copyBytes(tcp: Tcp, first: SegmentId, at: number, bytes: number): void {
  const { segments } = tcp;
  const { pool } = tcp.ctx;
  const end = at + bytes;
  for (let s = first; at < end; s = segments.next[s]) {
    const from = segments.off[s];
    const n = Math.min(segments.len[s], end - at);
    moveBytes(pool, from, n, at);
    at += n;
  }
}

/** Writes the header at L4_HEADROOM and sets `off`, `len` and the checksum metadata; returns its length. */
export function headerFor(
  tcp: Tcp,
  tcb: Tcb,
  f: FrameId,
  seq: number,
  bits: number,
  payload: number,
  sack: boolean,
): number {
  const { pool, nowMs } = tcp.ctx;
  const { buf } = pool;
  const off = pool.base(f) + L4_HEADROOM;
  let len = TCP_LEN;
  if (tcb.tsOk !== 0) len += writeTimestamp(buf, off + len, (nowMs + tcb.tsOffset) | 0, tcb.tsRecent);
  if (sack) {
    const blocks = sackEdges(tcp, tcb);
    if (blocks > 0) len += writeSack(buf, off + len, writeEdges, blocks);
  }
  const check = fold(pseudo4(tcb.laddr, tcb.raddr, PROTO_TCP, len + payload));
  emit(buf, off, tcb.lport, tcb.rport, seq, tcb.rcvNxt, len, bits | echo(tcb), advertise(tcp, tcb), check);
  partial(tcp, f, off, len);
  acknowledged(tcp, tcb);
  return len;
}

/** The acknowledgment is on its way with this segment. */
function acknowledged(tcp: Tcp, tcb: Tcb): void {
  tcb.ackNow = 0;
  tcb.ackPending = 0;
  tcb.dupAcksOwed = 0;
  tcb.ackSent = tcb.rcvNxt;
  cancelDelayedAck(tcp, tcb);
}

/** Bytes the receive buffer could take now. */
function freeSpace(tcp: Tcp, tcb: Tcb): number {
  const free = receiveLimit(tcp, tcb) - tcb.rcvQueued;
  return free < 0 ? 0 : free;
}

/** Bytes by which a window opens at least (RFC 9293 §3.8.6.2.2): less is not worth telling. */
const smallestOpening = (tcb: Tcb): number => Math.min(tcb.mss, tcb.rcvBuf >> 1);

/** The window field for a segment, moving RCV.ADV as it goes. */
function advertise(tcp: Tcp, tcb: Tcb): number {
  const free = freeSpace(tcp, tcb);
  const current = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  // RFC 9293 §3.8.6.2.2: open the window by a segment or half the buffer, or not at all; never take back.
  const opens = free - current >= smallestOpening(tcb);
  const shift = tcb.rcvWscale;
  const unit = 1 << shift;
  // An offer kept is rounded up, lest its right edge move left. That pushes the edge on a little each time: beyond what
  // the buffer bears the odd bytes go unsaid.
  const roundedUp = (current + unit - 1) >> shift;
  const overshoot = (roundedUp << shift) - free;
  let field = opens ? free >> shift : overshoot <= tcb.rcvBuf >> 6 ? roundedUp : current >> shift;
  if (field < 0) field = 0;
  if (field > 65535) field = 65535;
  const edge = (tcb.rcvNxt + (field << shift)) | 0;
  if (((edge - tcb.rcvAdv) | 0) > 0) tcb.rcvAdv = edge;
  return field;
}

/**
 * The window had become so small that the peer may be waiting, and the reader has made room: say so. While the window
 * is wide, acknowledgments of data carry the news soon enough.
 */
export function windowOpened(tcp: Tcp, tcb: Tcb): boolean {
  const current = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  if (current >= Math.max(tcb.rcvLimit >> 4, 2 * tcb.mss) || tcb.finReceived !== 0) return false;
  if (tcb.rcvNxt === ((tcb.irs + 1) | 0)) return false; // the SYN could say no more; the peer has yet to send anything
  const gain = freeSpace(tcp, tcb) - current;
  return gain >= tcb.rcvLimit >> 2 && gain >= smallestOpening(tcb);
}

export function sendAck(tcp: Tcp, tcb: Tcb): void {
  const f = tcp.ctx.create();
  if (f === 0) {
    tcp.starve(tcb);
    return;
  }
  headerFor(tcp, tcb, f, bareSeq(tcb), ACK, 0, (tcb.ofoHead !== 0 || tcb.dsackOwed !== 0) && tcb.sackOk !== 0);
  if (tcb.dsackOwed !== 0) {
    tcp.stats.dsacksOut++;
    tcb.dsackOwed = 0;
  }
  send(tcp, tcb, f);
}

/** An acknowledgment in answer to something suspicious, at most one in CHALLENGE_MS (RFC 5961 §7, RFC 9293 §3.10.7.4). */
export function challenge(tcp: Tcp, tcb: Tcb): void {
  if ((tcp.ctx.nowMs - tcb.challengeMs) >>> 0 < CHALLENGE_MS) return;
  tcb.challengeMs = tcp.ctx.nowMs;
  tcp.stats.challengeAcks++;
  tcb.ackNow = 1;
  tcp.touch(tcb);
}
