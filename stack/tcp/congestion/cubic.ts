/**
 * CUBIC (RFC 9438) with HyStart++ (RFC 9406) in the first slow start: after a loss the window returns along a cubic of
 * the time since, flat around where the loss happened, so growth does not depend on the round-trip time.
 *
 * ```
 *   W_cubic(t) = C (t - K)^3 + W_max        K = cbrt((W_max - cwnd_epoch) / C)        §4.2, in segments and seconds
 * ```
 *
 * Arithmetic: what is kept is int32, bytes and milliseconds; what a call computes in between are doubles, which hold a
 * cube of milliseconds exactly for 58 hours, live in registers and allocate nothing. A window grows by
 * (target - cwnd) * acked / cwnd, rounded down to bytes: as the target follows the clock and not the window, what
 * rounding takes is made up by later acknowledgments, and the window lags by less than cwnd / acked bytes. The
 * estimate of Reno's window (§4.3) has no such target, so it counts acknowledged bytes and grows by whole segments.
 * @hot
 */
import type { Ticks } from '../../types.ts';
import type { Tcb } from '../tcb.ts';
import { hystartAck, hystartInit } from './hystart.ts';
import { type CongestionControl, initialWindow, mayGrow } from './index.ts';

/** RFC 9438 §4.1, §5. */
const C = 0.4;
const BETA = 0.7;
/** §4.3: 3 (1 - beta) / (1 + beta), until the window is back where it was. */
const ALPHA = (3 * (1 - BETA)) / (1 + BETA);

const NO_THRESHOLD = 0x7fffffff;

export const cubic: CongestionControl = {
  name: 'cubic',

  init(tcb: Tcb): void {
    tcb.cwnd = initialWindow(tcb.mss);
    tcb.cwndAcked = 0;
    tcb.cubicEpoch = 0;
    hystartInit(tcb);
  },

  onAck(tcb: Tcb, acked: number, nowMs: Ticks, rttUs: number): void {
    const before = tcb.cubicAckMs;
    tcb.cubicAckMs = nowMs;
    if (!mayGrow(tcb)) {
      // §5.8: time in which the window was not used does not count.
      tcb.cubicEpochMs = (tcb.cubicEpochMs + nowMs - before) | 0;
      return;
    }
    if (tcb.cwnd < tcb.ssthresh) {
      if (tcb.ssthresh === NO_THRESHOLD) hystartAck(tcb, acked, rttUs);
      else tcb.cwnd += acked; // as Reno has it
      return;
    }
    if (tcb.cubicEpoch === 0) beginEpoch(tcb, nowMs);
    avoid(tcb, acked, nowMs);
  },

  ssthresh(tcb: Tcb, flight: number, timeout: boolean): number {
    tcb.cubicUndoMax = tcb.cubicMax;
    tcb.cubicUndoK = tcb.cubicK;
    tcb.cubicUndoEpoch = tcb.cubicEpoch;
    tcb.cubicUndoEpochMs = tcb.cubicEpochMs;
    tcb.cubicUndoReno = tcb.cubicReno;
    tcb.cubicUndoPrior = tcb.cubicPrior;
    // §4.7: who loses below its last maximum leaves room for others. After a time-out the curve begins at its plateau (§4.8).
    if (timeout) tcb.cubicMax = 0;
    else tcb.cubicMax = tcb.cwnd < tcb.cubicMax ? Math.floor((tcb.cwnd * (1 + BETA)) / 2) : tcb.cwnd;
    tcb.cubicPrior = tcb.cwnd;
    tcb.cubicEpoch = 0;
    return Math.max(Math.floor(flight * BETA), 2 * tcb.mss); // §4.6
  },

  /** §4.9 */
  undo(tcb: Tcb): void {
    tcb.cubicMax = tcb.cubicUndoMax;
    tcb.cubicK = tcb.cubicUndoK;
    tcb.cubicEpoch = tcb.cubicUndoEpoch;
    tcb.cubicEpochMs = tcb.cubicUndoEpochMs;
    tcb.cubicReno = tcb.cubicUndoReno;
    tcb.cubicPrior = tcb.cubicUndoPrior;
  },
};

/** Congestion avoidance begins, or goes on after a pause. */
function beginEpoch(tcb: Tcb, nowMs: Ticks): void {
  tcb.cubicEpoch = 1;
  tcb.cubicEpochMs = nowMs;
  tcb.cubicReno = tcb.cwnd;
  tcb.cwndAcked = 0;
  if (tcb.cwnd < tcb.cubicMax) tcb.cubicK = Math.round(1000 * Math.cbrt((tcb.cubicMax - tcb.cwnd) / (C * tcb.mss)));
  else {
    tcb.cubicMax = tcb.cwnd;
    tcb.cubicK = 0;
  }
}

function avoid(tcb: Tcb, acked: number, nowMs: Ticks): void {
  const { cwnd, mss } = tcb;
  // §4.3: at least as fast as Reno would have it.
  tcb.cwndAcked += acked;
  const perSegment = tcb.cubicReno < tcb.cubicPrior ? cwnd / ALPHA : cwnd;
  if (tcb.cwndAcked >= perSegment) {
    tcb.cwndAcked -= Math.floor(perSegment);
    tcb.cubicReno += mss;
  }
  const sinceK = (((nowMs - tcb.cubicEpochMs) | 0) - tcb.cubicK) / 1000;
  if (C * mss * sinceK * sinceK * sinceK + tcb.cubicMax < tcb.cubicReno) {
    if (tcb.cubicReno > cwnd) tcb.cwnd = tcb.cubicReno;
    return;
  }
  // §4.4, §4.5: where the curve will be a round trip from now, but at most half as much again.
  const t = sinceK + tcb.srtt / 1_000_000;
  let target = C * mss * t * t * t + tcb.cubicMax;
  if (target > 1.5 * cwnd) target = 1.5 * cwnd;
  if (target > cwnd) tcb.cwnd += Math.floor(((target - cwnd) * acked) / cwnd);
}
