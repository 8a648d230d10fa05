/**
 * HyStart++ (RFC 9406): leaves slow start when the round-trip time has grown, before a queue overflows. A round in which
 * the least RTT is an eighth above that of the round before begins conservative slow start (CSS), a quarter of the growth;
 * five rounds of it later, unless the RTT fell again, congestion avoidance begins.
 *
 * Applies to the first slow start only (§4.3). Growth per acknowledgment is not bounded (L of §4.2): see ADR 0010 on byte
 * counting. Acknowledgments that cover a whole burst bring fewer than eight samples in small windows; those rounds decide
 * nothing.
 * @hot
 */
import type { Tcb } from '../tcb.ts';

// RFC 9406 §4.3; microseconds
const MIN_RTT_THRESH = 4000;
const MAX_RTT_THRESH = 16_000;
const MIN_RTT_DIVISOR = 8;
const RTT_SAMPLES = 8;
const CSS_GROWTH_DIVISOR = 4;
const CSS_ROUNDS = 5;

const INFINITE = 0x7fffffff;
/** `hyPhase`: 0 = slow start, 1..5 = that round of CSS. */
const SLOW_START = 0;

export function hystartInit(tcb: Tcb): void {
  tcb.hyEnd = tcb.sndNxt;
  tcb.hyLast = tcb.hyNow = tcb.hyBase = INFINITE;
  tcb.hySamples = 0;
  tcb.hyPhase = SLOW_START;
}

/** An acknowledgment in the first slow start: grows the window, and sets ssthresh when slow start is over. */
export function hystartAck(tcb: Tcb, acked: number, rttUs: number): void {
  if (((tcb.sndUna - tcb.hyEnd) | 0) > 0) nextRound(tcb);
  tcb.cwnd += tcb.hyPhase === SLOW_START ? acked : Math.floor(acked / CSS_GROWTH_DIVISOR);
  if (rttUs >= 0) {
    if (rttUs < tcb.hyNow) tcb.hyNow = rttUs;
    tcb.hySamples++;
  }
  if (tcb.hySamples < RTT_SAMPLES || tcb.hyNow === INFINITE) return;
  if (tcb.hyPhase !== SLOW_START) {
    // §4.2: the RTT fell again, so it was not a queue of ours.
    if (tcb.hyNow < tcb.hyBase) {
      tcb.hyBase = INFINITE;
      tcb.hyPhase = SLOW_START;
    }
    return;
  }
  if (tcb.hyLast === INFINITE) return;
  const eighth = Math.floor(tcb.hyLast / MIN_RTT_DIVISOR);
  const threshold = eighth < MIN_RTT_THRESH ? MIN_RTT_THRESH : eighth > MAX_RTT_THRESH ? MAX_RTT_THRESH : eighth;
  if (tcb.hyNow >= tcb.hyLast + threshold) {
    tcb.hyBase = tcb.hyNow;
    tcb.hyPhase = 1;
  }
}

function nextRound(tcb: Tcb): void {
  tcb.hyEnd = tcb.sndNxt;
  tcb.hyLast = tcb.hyNow;
  tcb.hyNow = INFINITE;
  tcb.hySamples = 0;
  if (tcb.hyPhase !== SLOW_START && ++tcb.hyPhase > CSS_ROUNDS) tcb.ssthresh = tcb.cwnd;
}
