/**
 * TCP output: what a connection sends when a burst is over.
 *
 * Data leaves up to a GSO frame at a time; netif cuts it where the port cannot. Small queued pieces are gathered into one
 * segment, and segments of one burst into one frame where the port cuts. Every segment carries the acknowledgment.
 *
 * Window rules: sender's silly window avoidance and Nagle (RFC 9293 §3.8.6.2.1, §3.7.4), recovery before new data (RFC 6675
 * §5), limited transmit follows from pipe (RFC 3042). Duplicates are reported in acknowledgments of their own (RFC 2883).
 * @hot
 */
import { sendSyn, sendSynAck } from './bare.ts';
import { rackSending } from './rack.ts';
import { pipe } from './recovery.ts';
import { cut } from './scoreboard.ts';
import { S_EVER_RETRANS, S_FIN, S_LOST, S_RETRANS, S_SENT, type SegmentId } from './segments.ts';
import * as st from './state.ts';
import { CA_OPEN, CA_RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { armDelayedAck, armNext, beginTimeout, DELAYED_ACK_MS, isRexmitArmed, QUICK_ACK_MS } from './timers.ts';
import { mayProbe } from './tlp.ts';
import { sendAck, transmit, windowOpened } from './transmit.ts';
import { undoResent } from './undo.ts';

/** Payload that fits behind the headers of a small frame, with every option and the slot's end in mind. */
export const GATHER_ROOM = 1700;

/** Pieces from this length on are worth no copy: they are nearly as long as what could be made of them. */
const TRAIN_BELOW = 16384;
/** Big slots of which this part must be free before one is taken to gather segments in. */
const TRAIN_SPARE_SHIFT = 2;

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
export function usable(tcb: Tcb, n: number): number {
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
export function sendNew(tcp: Tcp, tcb: Tcb, s: SegmentId, n: number, train: number): boolean {
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
  const { next, len } = tcp.segments;
  // A piece as long as a frame is not copied for the sake of a short one before it.
  if (n < tcb.mss || n >= TRAIN_BELOW || next[s] === 0 || len[next[s]] >= TRAIN_BELOW) return 0;
  if (pool.freeBigCount <= pool.config.bigSlots >> TRAIN_SPARE_SHIFT || !tcp.ip.tsoTowards(tcb.raddr)) return 0;
  const window = (tcb.sndUna + tcb.sndWnd - tcb.sndNxt) | 0;
  const data = ((tcb.sndEnd - tcb.sndNxt) | 0) - tcb.finQueued;
  const most = Math.min(data, window, tcb.cwnd - pipe(tcb), tcp.gsoMax);
  // Whole segments; and what Nagle would hold back does not leave behind them.
  return most < data || (tcb.noDelay === 0 && tcb.finQueued === 0) ? most - (most % tcb.mss) : most;
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
