/**
 * Acknowledgments and loss: what left the network, what is lost, what becomes of the window. The scoreboard is in
 * scoreboard.ts, RACK (RFC 8985) says what is lost for peers with SACK; NewReno (RFC 6582) for those without; time-outs
 * after RFC 5681 §3.1 and RFC 6298 §5; how much may be sent in recovery is prr.ts's, undoing undo.ts's.
 *
 * | phase    | enters when                                             | leaves when                                |
 * | -------- | ------------------------------------------------------- | ------------------------------------------ |
 * | OPEN     | at the start                                            |                                            |
 * | RECOVERY | RACK found a loss, or three duplicates came (no SACK)   | SND.UNA reaches `recover`, RTO, or undone  |
 * | LOSS     | the retransmission time-out passed                      | SND.UNA reaches `recover`, or undone       |
 *
 * Numbers in the network, pipe (RFC 6675 §4): sent and not acknowledged, less SACKed, less lost, plus sent again. A FIN
 * counts as one, as everywhere in sequence space. What is deemed lost is sent again in every phase. Without SACK each
 * duplicate acknowledgment stands for one segment that left.
 * @hot
 */
import { saysReduced } from './ecn.ts';
import { prrAck, prrBegin } from './prr.ts';
import { found, rackDetect, rackDuplicate, rackRecovered, rackTimedOut } from './rack.ts';
import { clean, cut, dup, markSacked, readDuplicate } from './scoreboard.ts';
import { S_LOST, S_RETRANS, S_SACKED } from './segments.ts';
import { CA_LOSS, CA_OPEN, CA_RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { armNext, cancelRexmit, restartTimeout } from './timers.ts';
import { probeAnswered, TLP_NONE } from './tlp.ts';
import { isEifel, undo, undoBegin, undoDuplicate } from './undo.ts';

/** RFC 5681 §3.2. */
const DUP_THRESHOLD = 3;

/** Brings what recovery and congestion control remember to its starting value. */
export function resetRecovery(tcp: Tcp, tcb: Tcb): void {
  tcb.caState = CA_OPEN;
  tcb.cwnd = 0;
  tcb.ssthresh = 0x7fffffff;
  tcb.cwndAcked = tcb.dupAcks = 0;
  tcb.sackedOut = tcb.lostOut = tcb.retransOut = tcb.lostHint = tcb.forceRetrans = 0;
  tcb.rackRtt = tcb.minRtt = 0;
  tcb.reoSeen = tcb.reoPersist = tcb.reoInRound = 0;
  tcb.reoMult = 1;
  tcb.tlp = TLP_NONE;
  tcb.rttFresh = tcb.undoable = tcb.cwndLimited = 0;
  tcb.cubicMax = tcb.cubicPrior = 0;
  tcb.cubicAckMs = tcp.ctx.nowMs;
}

/** Bytes beyond SND.UNA that left the network. */
function left(tcb: Tcb): number {
  if (tcb.sackOk !== 0) return tcb.sackedOut;
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  const counted = tcb.dupAcks * tcb.mss;
  return counted < flight ? counted : flight;
}

/** Bytes believed to be in the network. */
export function pipe(tcb: Tcb): number {
  const p = ((tcb.sndNxt - tcb.sndUna) | 0) - left(tcb) - tcb.lostOut + tcb.retransOut;
  return p > 0 ? p : 0;
}

/**
 * Takes an acceptable acknowledgment, which moves SND.UNA or not; `duplicate` = it meets RFC 5681's definition of one.
 * SACK blocks are read from the arrived segment. Sets the retransmission timer.
 */
export function acknowledge(tcp: Tcp, tcb: Tcb, ack: number, duplicate: boolean): void {
  const acked = (ack - tcb.sndUna) | 0;
  const before = (tcb.sndUna + left(tcb)) | 0;
  const sack = tcb.sackOk !== 0;
  const duplicated = sack && readDuplicate(tcp, tcb, ack);
  if (tcb.tlp !== TLP_NONE) {
    const bare = duplicate && tcp.seg.options.sackBlocks === 0;
    const repaired = probeAnswered(tcb, ack, duplicated && dup.right === tcb.tlpEnd, bare);
    if (repaired && tcb.caState === CA_OPEN) reduce(tcp, tcb, (tcb.sndNxt - tcb.sndUna) | 0);
  }
  tcb.ackRtt = -1;
  if (acked > 0) clean(tcp, tcb, ack);
  const news = sack && tcp.seg.options.sackBlocks > 0 && markSacked(tcp, tcb);
  tcb.rackFack = tcb.rackFackNext;
  if (acked > 0) {
    if (tcb.caState === CA_OPEN) tcb.dupAcks = 0;
    else if (tcb.caState === CA_RECOVERY && !sack) {
      tcb.dupAcks = Math.max(tcb.dupAcks - Math.ceil(acked / tcb.mss), 0);
    }
  } else if (duplicate && (sack ? news : tcb.caState !== CA_LOSS)) {
    // Without SACK, in LOSS, they tell of segments that are deemed lost, and so out of the count, already.
    tcb.dupAcks++;
  }
  if (duplicated) takeDuplicate(tcp, tcb);
  if (acked > 0 && tcb.caState !== CA_OPEN && isEifel(tcp, tcb)) {
    tcb.reoSeen |= tcb.caState === CA_RECOVERY ? 1 : 0;
    undo(tcp, tcb, acked);
  }
  advance(tcp, tcb, ack, acked);

  let wait = 0;
  if (!sack) {
    if (tcb.caState === CA_OPEN && isLossDetected(tcb)) enterRecovery(tcp, tcb);
  } else if ((tcb.sackedOut | tcb.lostOut) !== 0) wait = detect(tcp, tcb);
  if (tcb.caState === CA_RECOVERY) prrAck(tcb, (tcb.sndUna + left(tcb) - before) | 0, pipe(tcb));

  if (tcb.sndNxt === tcb.sndUna) {
    if (acked > 0) cancelRexmit(tcp, tcb); // RFC 6298 §5.2
  } else if (acked > 0 || news) {
    if (acked > 0) restartTimeout(tcp, tcb); // §5.3
    armNext(tcp, tcb, wait);
  }
}

/** The phase moves on with SND.UNA. */
function advance(tcp: Tcp, tcb: Tcb, ack: number, acked: number): void {
  const done = ((ack - tcb.recover) | 0) >= 0;
  const { congestion } = tcp.config;
  switch (tcb.caState) {
    case CA_OPEN:
      if (acked <= 0) return;
      congestion.onAck(tcb, acked, tcp.ctx.nowMs, tcb.ackRtt);
      if (((ack - tcb.undoEnd) | 0) > 0) tcb.undoable = 0;
      // Keeps `recover` within reach of the comparison.
      if (done) tcb.recover = (ack - 1) | 0;
      return;
    case CA_RECOVERY:
      if (done) leaveRecovery(tcp, tcb, acked);
      // RFC 6582 §3.2 step 3: a partial acknowledgment means that the next hole is lost too.
      else if (acked > 0 && tcb.sackOk === 0) markHeadLost(tcp, tcb);
      return;
    case CA_LOSS:
      if (done) {
        tcb.caState = CA_OPEN;
        tcb.dupAcks = 0;
        tcb.undoEnd = tcb.sndNxt;
      }
      if (acked > 0) congestion.onAck(tcb, acked, tcp.ctx.nowMs, -1);
      return;
  }
}

/** The peer reports a duplicate (RFC 2883). */
function takeDuplicate(tcp: Tcp, tcb: Tcb): void {
  tcp.stats.dsacksIn++;
  rackDuplicate(tcb);
  if (undoDuplicate(tcb, dup.left, (dup.right - dup.left) | 0)) undo(tcp, tcb, tcb.priorCwnd);
}

/** RACK's turn; returns the microseconds until it is again, 0 = it is not waiting. */
function detect(tcp: Tcp, tcb: Tcb): number {
  const wait = rackDetect(tcp, tcb);
  if (found.lost === 0) return wait;
  if (tcb.caState === CA_OPEN) enterRecovery(tcp, tcb);
  else if (tcb.caState === CA_RECOVERY && found.lostAgain > 0) {
    // RFC 5681 §4.3: the loss of a retransmission is a second sign of congestion.
    tcb.undoable = 0;
    tcb.cwnd = tcb.ssthresh;
    reduce(tcp, tcb, tcb.cwnd);
    prrBegin(tcb);
    tcb.forceRetrans = 1;
  }
  return wait;
}

/** The reordering window has passed: RACK's turn, without an acknowledgment. */
export function reorderingPassed(tcp: Tcp, tcb: Tcb): void {
  const wait = detect(tcp, tcb);
  if (tcb.caState === CA_RECOVERY) prrAck(tcb, 0, pipe(tcb));
  armNext(tcp, tcb, wait);
  tcp.touch(tcb);
}

/** RFC 6582 §3.2 step 2: until SND.UNA passes `recover`, duplicates may come from what recovery sent in vain. */
const isLossDetected = (tcb: Tcb): boolean => tcb.dupAcks >= DUP_THRESHOLD && ((tcb.sndUna - tcb.recover) | 0) > 0;

function reduce(tcp: Tcp, tcb: Tcb, flight: number): void {
  tcb.ssthresh = tcp.config.congestion.ssthresh(tcb, flight, false);
  tcb.cwnd = tcb.ssthresh;
  tcb.cwndAcked = 0;
  tcb.reducedAt = tcp.ctx.now | 0;
  saysReduced(tcb);
}

/**
 * The peer echoes a router's mark: as a loss, but nothing is to be sent again (RFC 3168 §6.1.2). `acked` = bytes that
 * were under way until this acknowledgment.
 */
export function echoHeard(tcp: Tcp, tcb: Tcb, acked: number): void {
  if (tcb.caState !== CA_OPEN) return;
  tcp.stats.ecnReductions++;
  tcb.undoable = 0;
  reduce(tcp, tcb, (tcb.sndNxt - tcb.sndUna + acked) | 0);
}

function enterRecovery(tcp: Tcp, tcb: Tcb): void {
  tcp.stats.fastRecoveries++;
  undoBegin(tcb, tcb.cwnd);
  tcb.caState = CA_RECOVERY;
  tcb.recover = tcb.sndNxt;
  tcb.tlp = TLP_NONE;
  // What limited transmit sent beyond the window does not count (RFC 5681 §3.2 step 2).
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  reduce(tcp, tcb, flight < tcb.cwnd ? flight : tcb.cwnd);
  prrBegin(tcb);
  if (tcb.sackOk === 0) markHeadLost(tcp, tcb);
  tcb.forceRetrans = 1;
}

function leaveRecovery(tcp: Tcp, tcb: Tcb, acked: number): void {
  rackRecovered(tcb);
  tcb.undoEnd = tcb.sndNxt;
  if (tcb.undoable !== 0 && tcb.undoSent === 0) {
    // All of it arrived before any was sent again.
    tcb.reoSeen = 1;
    undo(tcp, tcb, acked);
    return;
  }
  tcb.caState = CA_OPEN;
  tcb.dupAcks = 0;
  tcb.forceRetrans = 0;
  // RFC 6582 §3.2 step 3 (1): no burst when little is in flight.
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  tcb.cwnd = Math.min(tcb.ssthresh, Math.max(flight, tcb.mss) + tcb.mss);
}

/** The retransmission time-out has passed: what is not SACKed is deemed lost, and slow start begins anew. */
export function enterLoss(tcp: Tcp, tcb: Tcb): void {
  if (tcb.caState !== CA_LOSS) {
    // In recovery cwnd is what PRR makes of it.
    if (tcb.caState === CA_RECOVERY) tcb.cwnd = tcb.ssthresh;
    undoBegin(tcb, tcb.cwnd);
    tcb.ssthresh = tcp.config.congestion.ssthresh(tcb, (tcb.sndNxt - tcb.sndUna) | 0, true);
  }
  tcb.caState = CA_LOSS;
  tcb.recover = tcb.sndNxt;
  tcb.cwnd = tcb.mss;
  tcb.cwndAcked = 0;
  tcb.dupAcks = 0;
  tcb.tlp = TLP_NONE;
  tcb.reducedAt = tcp.ctx.now | 0;
  saysReduced(tcb);
  // The peer may forget what it SACKed (RFC 2018 §8): a SACKed head says that it did.
  const reneged = (tcp.segments.flags[tcb.sndHead] & S_SACKED) !== 0;
  if (tcb.sackOk === 0 || reneged) deemLost(tcp, tcb);
  else rackTimedOut(tcp, tcb);
  tcb.forceRetrans = 1;
}

/** Everything sent and not SACKed is to be sent again, without a word on congestion. */
export function deemLost(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const { flags, next } = segments;
  const reneged = (flags[tcb.sndHead] & S_SACKED) !== 0;
  tcb.lostOut = 0;
  tcb.retransOut = 0;
  if (reneged) tcb.sackedOut = 0;
  for (let s = tcb.sndHead; s !== tcb.sndNext; s = next[s]) {
    if (reneged) flags[s] &= ~S_SACKED;
    flags[s] &= ~S_RETRANS;
    if ((flags[s] & S_SACKED) !== 0) continue;
    flags[s] |= S_LOST;
    tcb.lostOut += segments.size(s);
  }
  tcb.lostHint = tcb.sndHead;
  tcb.forceRetrans = 0;
}

function markHeadLost(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const s = tcb.sndHead;
  if (s === 0 || s === tcb.sndNext || (segments.flags[s] & (S_SACKED | S_LOST)) !== 0) return;
  // Of a GSO-sized descriptor only the first segment is known to be missing.
  if (segments.len[s] > tcb.mss) cut(tcp, tcb, s, tcb.mss);
  segments.flags[s] |= S_LOST;
  tcb.lostOut += segments.size(s);
  tcb.lostHint = s;
  tcb.forceRetrans = 1;
}
