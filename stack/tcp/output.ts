/**
 * TCP output: what a connection sends when a burst is over, and the few segments sent outside that order.
 *
 * Data leaves as one header frame and a slice of a payload frame, up to a GSO frame at a time; netif cuts it where the
 * port cannot. Small queued pieces are gathered by copying into one segment. Every segment carries the acknowledgment.
 * The layer-4 checksum field holds the pseudo-header sum; netif or the device finishes it.
 *
 * Window rules: sender's silly window avoidance and Nagle (RFC 9293 §3.8.6.2.1, §3.7.4), receiver's (§3.8.6.2.2),
 * recovery before new data (RFC 6675 §5), limited transmit follows from pipe (RFC 3042). Duplicates are reported in
 * acknowledgments of their own (RFC 2883).
 * @hot
 */
import { GSO_TCPV4, L4_HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId } from '../types.ts';
import { DELIVERED } from '../verdict.ts';
import { fold, pseudo4 } from '../wire/checksum.ts';
import { PROTO_TCP } from '../wire/ipv4.ts';
import { ACK, emit, FIN, PSH, TCP_LEN } from '../wire/tcp.ts';
import { writeSack, writeTimestamp } from '../wire/tcp-options.ts';
import { bareSeq, partial, send, sendSyn, sendSynAck } from './bare.ts';
import { dataTos, echo, reducedBit } from './ecn.ts';
import { receiveLimit } from './limits.ts';
import { rackSending } from './rack.ts';
import { pipe } from './recovery.ts';
import { sackEdges, writeEdges } from './sack.ts';
import { cut } from './scoreboard.ts';
import { S_EVER_RETRANS, S_FIN, S_LOST, S_RETRANS, S_SENT, type SegmentId } from './segments.ts';
import * as st from './state.ts';
import { CA_OPEN, CA_RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import {
  armDelayedAck,
  armNext,
  beginTimeout,
  cancelDelayedAck,
  DELAYED_ACK_MS,
  isRexmitArmed,
  QUICK_ACK_MS,
} from './timers.ts';
import { mayProbe } from './tlp.ts';
import { undoResent } from './undo.ts';

/** Payloads up to this are copied behind their header: cheaper than a second buffer for the device. */
const COPY_BELOW = 256;
/** Payload that fits behind the headers of a small frame, with every option and the slot's end in mind. */
const GATHER_ROOM = 1700;

/** Pieces from this length on are worth no copy: they are nearly as long as what could be made of them. */
const TRAIN_BELOW = 16384;
/** Big slots of which this part must be free before one is taken to gather segments in. */
const TRAIN_SPARE_SHIFT = 2;

/** Shortest time between two answers to suspicious segments. */
const CHALLENGE_MS = 500;

/** Sends whatever a connection may and should send now. */
export function output(tcp: Tcp, tcb: Tcb): void {
  switch (tcb.state) {
    case st.SYN_SENT:
      if (!isRexmitArmed(tcp, tcb)) {
        sendSyn(tcp, tcb);
        beginTimeout(tcp, tcb);
      }
      return;
    case st.SYN_RECEIVED:
      if (tcb.ackNow !== 0) {
        tcb.ackNow = 0;
        sendSynAck(tcp, tcb);
      }
      return;
  }
  if (tcb.ackNow !== 0 && (tcb.ofoHead !== 0 || tcb.dsackOwed !== 0)) reportHoles(tcp, tcb);
  if (tcb.sndHead !== 0) sendData(tcp, tcb);
  acknowledgeIfDue(tcp, tcb);
}

/**
 * Duplicate acknowledgments are segments without data (RFC 5681 §2), so they do not ride on ours. With SACK one tells
 * of all that came out of order in this burst; without, the peer must be able to count them.
 */
function reportHoles(tcp: Tcp, tcb: Tcb): void {
  let n = tcb.sackOk !== 0 ? 1 : tcb.dupAcksOwed;
  do sendAck(tcp, tcb);
  while (--n > 0);
}

function sendData(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const before = tcb.sndNxt;
  let limited = 0;
  if (before === tcb.sndUna) restartAfterIdle(tcp, tcb);
  for (;;) {
    const flying = pipe(tcb);
    let room = tcb.cwnd - flying;
    let s: SegmentId = 0;
    if (tcb.lostOut > tcb.retransOut) s = nextLost(tcp, tcb);
    const retransmit = s !== 0;
    if (!retransmit) s = tcb.sndNext;
    if (s === 0) break;
    const len = segments.len[s];
    // At least one segment may always be under way.
    if (room < tcb.mss && room < len) {
      limited = 1;
      if (flying >= tcb.mss && !(retransmit && tcb.forceRetrans !== 0)) break;
      room = tcb.mss;
    }
    let n = len < room ? len : room;
    if (!retransmit) {
      n = usable(tcb, n);
      if (n < 0) break;
    }
    const gso = tcp.gsoMax > tcb.mss ? tcp.gsoMax : tcb.mss;
    if (n > gso) n = gso;
    // Whole segments; and what Nagle would hold back does not leave behind them.
    const ragged = n < len || segments.next[s] !== 0 || (!retransmit && tcb.noDelay === 0 && tcb.finQueued === 0);
    if (ragged && n > tcb.mss) n -= n % tcb.mss;
    if (n === 0 && len > 0) break;
    if (!(retransmit ? resend(tcp, tcb, s, n) : sendNew(tcp, tcb, s, n, trainLength(tcp, tcb, s, n)))) {
      tcp.starve(tcb);
      break;
    }
  }
  // In slow start half of it is use enough: it doubles with each round.
  tcb.cwndLimited = limited !== 0 || (tcb.cwnd < tcb.ssthresh && pipe(tcb) * 2 > tcb.cwnd) ? 1 : 0;
  if (tcb.sndNxt !== tcb.sndUna || tcb.sndNext !== 0) {
    // RFC 6298 §5.1; with nothing in flight it is the persist timer.
    if (!isRexmitArmed(tcp, tcb)) beginTimeout(tcp, tcb);
    // RFC 8985 §7.2: each sending of new data puts the probe off.
    if (tcb.sndNxt !== before && mayProbe(tcb)) armNext(tcp, tcb, 0);
  }
}

/** RFC 5681 §4.1: after an idle time-out what is known of the path is stale; begin with the initial window at most. */
function restartAfterIdle(tcp: Tcp, tcb: Tcb): void {
  if ((tcp.ctx.nowMs - tcb.lastSendMs) >>> 0 <= tcb.rtoMs) return;
  const before = tcb.cwnd;
  tcp.config.congestion.init(tcb);
  if (before < tcb.cwnd) tcb.cwnd = before;
}

/** How many of `n` bytes of new data the peer's window and silly window avoidance allow; -1 = nothing for now. */
function usable(tcb: Tcb, n: number): number {
  const window = (tcb.sndUna + tcb.sndWnd - tcb.sndNxt) | 0;
  const queued = (tcb.sndEnd - tcb.sndNxt) | 0;
  const data = queued - tcb.finQueued;
  if (window <= 0) return -1;
  const most = data < window ? data : window;
  if (most < tcb.mss) {
    const allFits = data <= window;
    const idle = tcb.sndNxt === tcb.sndUna;
    if (allFits) {
      if (tcb.noDelay === 0 && !idle && tcb.finQueued === 0) return -1; // Nagle
    } else if (most < tcb.maxSndWnd >> 1) return -1;
  }
  return n < window ? n : window;
}

/** The first descriptor deemed lost and not yet sent again. */
function nextLost(tcp: Tcp, tcb: Tcb): SegmentId {
  const { flags, next } = tcp.segments;
  let s = tcb.lostHint !== 0 ? tcb.lostHint : tcb.sndHead;
  while (s !== 0 && s !== tcb.sndNext) {
    if ((flags[s] & (S_LOST | S_RETRANS)) === S_LOST) {
      tcb.lostHint = s;
      return s;
    }
    s = next[s];
  }
  return 0;
}

function resend(tcp: Tcp, tcb: Tcb, s: SegmentId, n: number): boolean {
  const { segments } = tcp;
  const { flags, len, next, sentAt } = segments;
  if (n < len[s] && !cut(tcp, tcb, s, n)) return false;
  // Small pieces that were lost together go again together.
  let last = s;
  let total = n;
  const limit = Math.min(tcb.mss, GATHER_ROOM);
  for (let i = next[s]; i !== tcb.sndNext && total + len[i] <= limit; i = next[i]) {
    if ((flags[i] & (S_LOST | S_RETRANS)) !== S_LOST) break;
    total += len[i];
    last = i;
  }
  if (!transmit(tcp, tcb, s, last, segments.seq[s], total, (flags[last] & S_FIN) !== 0)) return false;
  tcp.stats.retransSegs++;
  rackSending(tcp, tcb);
  const now = tcp.ctx.now | 0;
  let size = 0;
  for (let i = s; ; i = next[i]) {
    flags[i] |= S_RETRANS | S_EVER_RETRANS;
    sentAt[i] = now;
    size += segments.size(i);
    if (i === last) break;
  }
  tcb.retransOut += size;
  if (tcb.caState !== CA_OPEN) undoResent(tcp, tcb, size);
  if (tcb.caState === CA_RECOVERY) tcb.prrOut += size;
  tcb.forceRetrans = 0;
  tcb.lastSendMs = tcp.ctx.nowMs;
  return true;
}

/**
 * Sends `n` bytes from the first unsent descriptor, and more behind it where several small ones make one segment, or where
 * `train` bytes shall go as one frame (0 = no such frame).
 */
function sendNew(tcp: Tcp, tcb: Tcb, s: SegmentId, n: number, train: number): boolean {
  const { segments } = tcp;
  const { flags, len, next, sentAt } = segments;
  const window = (tcb.sndUna + tcb.sndWnd - tcb.sndNxt) | 0;
  let total = train > n ? Math.min(len[s], train) : n;
  if (total < len[s] && !cut(tcp, tcb, s, total)) return false;
  let last = s;
  if ((n < tcb.mss || train > n) && next[s] !== 0) {
    // Gather: as many following pieces as fill one segment, or a train of them, within cwnd and window.
    const limit = train > n ? train : Math.min(tcb.mss, GATHER_ROOM, tcb.cwnd - pipe(tcb), window);
    while (next[last] !== 0 && total < limit) {
      const following = next[last];
      const piece = Math.min(len[following], limit - total);
      if (piece < len[following] && !cut(tcp, tcb, following, piece)) break;
      total += piece;
      last = following;
    }
  }
  // A FIN takes a number, too: when the data fills the window it has to wait.
  if ((flags[last] & S_FIN) !== 0 && len[last] > 0 && total >= window && !cut(tcp, tcb, last, len[last])) return false;
  const fin = (flags[last] & S_FIN) !== 0;
  if (!transmit(tcp, tcb, s, last, tcb.sndNxt, total, fin)) return false;
  rackSending(tcp, tcb);
  const now = tcp.ctx.now | 0;
  for (let i = s; ; i = next[i]) {
    flags[i] |= S_SENT;
    sentAt[i] = now;
    if (i === last) break;
  }
  if (tcb.caState === CA_RECOVERY) tcb.prrOut += (segments.end(last) - tcb.sndNxt) | 0;
  tcb.sndNxt = segments.end(last);
  tcb.sndNext = next[last];
  tcb.lastSendMs = tcp.ctx.nowMs;
  return true;
}

/**
 * How many bytes from descriptor `s` on, of which `n` may go, should leave as one frame for the port to cut; 0 = no such
 * frame. Where pieces come in by the segment and the port is one that cuts, copying them together costs a fraction of
 * what carrying each by itself through the system below does.
 */
function trainLength(tcp: Tcp, tcb: Tcb, s: SegmentId, n: number): number {
  const { pool } = tcp.ctx;
  if (n < tcb.mss || n >= TRAIN_BELOW || tcp.segments.next[s] === 0) return 0;
  if (pool.freeBigCount <= pool.config.bigSlots >> TRAIN_SPARE_SHIFT || !tcp.ip.tsoTowards(tcb.raddr)) return 0;
  const window = (tcb.sndUna + tcb.sndWnd - tcb.sndNxt) | 0;
  const data = ((tcb.sndEnd - tcb.sndNxt) | 0) - tcb.finQueued;
  const most = Math.min(data, window, tcb.cwnd - pipe(tcb), tcp.gsoMax);
  // Whole segments; and what Nagle would hold back does not leave behind them.
  return most < data || (tcb.noDelay === 0 && tcb.finQueued === 0) ? most - (most % tcb.mss) : most;
}

/** One segment (or GSO frame) with the bytes of descriptors `first` to `last`; false when no frame was free. */
function transmit(
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

/** A big frame with `bytes` bytes from descriptor `first` on. */
function gather(tcp: Tcp, first: SegmentId, bytes: number): FrameId {
  const { pool } = tcp.ctx;
  const f = tcp.ctx.createBig();
  if (f === 0) return 0;
  copyBytes(tcp, first, pool.off[f], bytes);
  pool.len[f] = bytes;
  return f;
}

/** Copies `bytes` bytes from descriptor `first` on to `at`. */
function copyBytes(tcp: Tcp, first: SegmentId, at: number, bytes: number): void {
  const { segments } = tcp;
  const { buf } = tcp.ctx.pool;
  const end = at + bytes;
  for (let s = first; at < end; s = segments.next[s]) {
    const from = segments.off[s];
    const n = Math.min(segments.len[s], end - at);
    buf.copyWithin(at, from, from + n);
    at += n;
  }
}

/** Writes the header at L4_HEADROOM and sets `off`, `len` and the checksum metadata; returns its length. */
function headerFor(tcp: Tcp, tcb: Tcb, f: FrameId, seq: number, bits: number, payload: number, sack: boolean): number {
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

/** Sends an acknowledgment if one is due that no data segment carried, or arranges for it. */
function acknowledgeIfDue(tcp: Tcp, tcb: Tcb): void {
  if (tcb.ackNow !== 0 || tcb.ackPending >= 2 * tcb.rcvMss || windowOpened(tcp, tcb)) sendAck(tcp, tcb);
  else if (tcb.rcvNxt !== tcb.ackSent) {
    if (tcb.quickAcks > 0) {
      tcb.quickAcks--;
      armDelayedAck(tcp, tcb, QUICK_ACK_MS);
    } else armDelayedAck(tcp, tcb, DELAYED_ACK_MS);
  }
}

/**
 * The window had become so small that the peer may be waiting, and the reader has made room: say so. While the window
 * is wide, acknowledgments of data carry the news soon enough.
 */
function windowOpened(tcp: Tcp, tcb: Tcb): boolean {
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

/**
 * The oldest bytes again, when no descriptor is left to cut them off their frame for the books: what they are worth
 * shows when they are acknowledged.
 */
export function sendHeadUncut(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const s = tcb.sndHead;
  if (!segments.exhausted || segments.len[s] <= tcb.mss) return;
  tcp.stats.retransSegs++;
  segments.flags[s] |= S_EVER_RETRANS;
  transmit(tcp, tcb, s, s, segments.seq[s], tcb.mss, false);
}

/** Tail loss probe with new data (RFC 8985 §7.3): one segment more than cwnd allows. False when there is none to send. */
export function sendNewProbe(tcp: Tcp, tcb: Tcb): boolean {
  const s = tcb.sndNext;
  if (s === 0) return false;
  const n = usable(tcb, Math.min(tcp.segments.len[s], tcb.mss));
  return (n > 0 || (n === 0 && tcp.segments.len[s] === 0)) && sendNew(tcp, tcb, s, n, 0);
}

/** The same with the last segment sent. It is not taken for lost. False when there is no frame or descriptor for it. */
export function sendTailAgain(tcp: Tcp, tcb: Tcb): boolean {
  const { segments } = tcp;
  const { flags, len, next, seq, sentAt } = segments;
  const most = Math.min(tcb.mss, GATHER_ROOM);
  // As many of the last descriptors as make one segment.
  let first = tcb.sndHead;
  let last = first;
  let total = len[first];
  while (next[last] !== tcb.sndNext) {
    last = next[last];
    total += len[last];
    for (; total > most && first !== last; first = next[first]) total -= len[first];
  }
  if (total > tcb.mss) {
    // Of a GSO-sized one the last segment.
    if (!cut(tcp, tcb, first, total - (total % tcb.mss || tcb.mss))) return false;
    first = last = next[first];
    total = len[first];
  }
  if (!transmit(tcp, tcb, first, last, seq[first], total, (flags[last] & S_FIN) !== 0)) return false;
  tcp.stats.retransSegs++;
  for (let i = first; ; i = next[i]) {
    flags[i] |= S_EVER_RETRANS;
    sentAt[i] = tcp.ctx.now | 0;
    if (i === last) break;
  }
  tcb.lastSendMs = tcp.ctx.nowMs;
  return true;
}

/**
 * Zero-window probe: one byte beyond the window, or the oldest byte again (RFC 9293 §3.8.6.1). Where silly window
 * avoidance held data back from a small window it is what fits (§3.8.6.2.1, the override time-out).
 */
export function sendProbe(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  tcp.stats.zeroWindowProbes++;
  if (tcb.sndHead !== tcb.sndNext) {
    const s = tcb.sndHead;
    if (segments.len[s] > 1 && !cut(tcp, tcb, s, 1)) return;
    segments.flags[s] |= S_EVER_RETRANS;
    transmit(tcp, tcb, s, s, segments.seq[s], segments.len[s], (segments.flags[s] & S_FIN) !== 0);
    return;
  }
  const s = tcb.sndNext;
  const window = (tcb.sndUna + tcb.sndWnd - tcb.sndNxt) | 0;
  const n = window > 1 ? Math.min(window, tcb.mss) : 1;
  sendNew(tcp, tcb, s, Math.min(n, segments.len[s]), 0);
}

/** An old number and no data: whoever is there answers with an acknowledgment (RFC 9293 §3.8.4). */
export function sendKeepalive(tcp: Tcp, tcb: Tcb): void {
  const f = tcp.ctx.create();
  if (f === 0) return;
  headerFor(tcp, tcb, f, (tcb.sndUna - 1) | 0, ACK, 0, false);
  send(tcp, tcb, f);
}
