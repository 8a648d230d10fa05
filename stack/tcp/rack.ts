/**
 * RACK (RFC 8985 §6): a segment is lost when one sent later has been delivered and a reordering window more than a round
 * trip has passed since it was sent. It asks when, not how many duplicates; so it also finds lost retransmissions and
 * lost tails. For peers with SACK; others have the duplicate threshold (recovery.ts).
 *
 * The reordering window (§6.2 step 4) is 0 until reordering was seen and there is evidence of loss, a quarter of the least
 * RTT otherwise; it grows by as much with each round in which the peer reports a duplicate, up to a smoothed RTT.
 *
 * Times are int32 microseconds, good for 35 minutes: `rackSending` forgets older ones before they are compared.
 * @hot
 */
import { S_LOST, S_RETRANS, S_SACKED } from './segments.ts';
import { CA_OPEN, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RFC 8985 §6.2 step 4, RACK_update_reo_wnd. */
const DUP_THRESHOLD = 3;
const REO_PERSIST = 16;
/** The least RTT is that of the last five minutes (§5.3 leaves the filter open). */
const MIN_RTT_LIFE_MS = 300_000;
/** A quarter of an hour. */
const FORGET_MS = 900_000;
/** Rounding of timestamps, in microseconds. */
const TICK_US = 1000;

/** Data is about to be sent. After a pause, what was delivered before tells nothing: times may have wrapped. */
export function rackSending(tcp: Tcp, tcb: Tcb): void {
  const idle = tcb.sndNxt === tcb.sndUna;
  if (!idle && ((tcp.ctx.nowMs - tcb.lastSendMs) | 0) < FORGET_MS) return;
  tcb.rackXmit = tcp.ctx.now | 0;
  tcb.rackEnd = tcb.sndUna;
  if (idle) tcb.rackFack = tcb.rackFackNext = tcb.sndUna;
}

/** Steps 1 to 3: a segment sent at `sentAt`, ending at `end`, was acknowledged or SACKed for the first time. */
export function rackDelivered(tcp: Tcp, tcb: Tcb, sentAt: number, end: number, again: boolean): void {
  const { ctx, seg } = tcp;
  const rtt = ((ctx.now | 0) - sentAt) | 0;
  if (!again) {
    if (tcb.minRtt === 0 || rtt <= tcb.minRtt || (ctx.nowMs - tcb.minRttMs) >>> 0 > MIN_RTT_LIFE_MS) {
      tcb.minRtt = rtt > 0 ? rtt : 1;
      tcb.minRttMs = ctx.nowMs;
    }
    if (((end - tcb.rackFack) | 0) < 0) tcb.reoSeen = 1;
  } else {
    // Was it this sending that arrived, or one before?
    if (tcb.tsOk !== 0 && seg.options.hasTimestamp) {
      const echoed = ((ctx.nowMs + tcb.tsOffset - seg.options.tsEcr) | 0) * TICK_US;
      if (echoed > rtt + TICK_US) return;
    }
    if (rtt < tcb.minRtt) return;
  }
  if (((end - tcb.rackFackNext) | 0) > 0) tcb.rackFackNext = end;
  if (isSentAfter(sentAt, end, tcb.rackXmit, tcb.rackEnd)) {
    tcb.rackXmit = sentAt;
    tcb.rackEnd = end;
    tcb.rackRtt = rtt;
  }
}

const isSentAfter = (xmitA: number, endA: number, xmitB: number, endB: number): boolean =>
  ((xmitA - xmitB) | 0) > 0 || (xmitA === xmitB && ((endA - endB) | 0) > 0);

/** Step 4: the window adapts to duplicates the peer reports, at most once per round. */
export function rackDuplicate(tcb: Tcb): void {
  if (tcb.reoInRound !== 0 && ((tcb.sndUna - tcb.reoRound) | 0) >= 0) tcb.reoInRound = 0;
  if (tcb.reoInRound !== 0) return;
  tcb.reoInRound = 1;
  tcb.reoRound = tcb.sndNxt;
  tcb.reoMult++;
  tcb.reoPersist = REO_PERSIST;
}

/** The same: a recovery is over. */
export function rackRecovered(tcb: Tcb): void {
  if (tcb.reoPersist > 0 && --tcb.reoPersist === 0) tcb.reoMult = 1;
}

function reorderingWindow(tcb: Tcb): number {
  if (tcb.reoSeen === 0) {
    if (tcb.caState !== CA_OPEN || tcb.dupAcks >= DUP_THRESHOLD) return 0;
    if (tcb.sackedOut > (DUP_THRESHOLD - 1) * tcb.mss) return 0;
  }
  const w = Math.floor((tcb.minRtt * tcb.reoMult) / 4);
  return w < tcb.srtt ? w : tcb.srtt;
}

/** What §6.2 step 5 found: set by `rackDetect`. */
export const found = { lost: 0, lostAgain: 0 };

/**
 * Step 5: marks what is lost. Returns the microseconds until more may be, 0 = nothing waits for that. `found.lost` counts
 * what was marked, `found.lostAgain` those of it that were sent again since the window was last reduced.
 */
export function rackDetect(tcp: Tcp, tcb: Tcb): number {
  const { segments } = tcp;
  const { flags, sentAt, next } = segments;
  const now = tcp.ctx.now | 0;
  const patience = tcb.rackRtt + reorderingWindow(tcb);
  let wait = 0;
  found.lost = found.lostAgain = 0;
  for (let s = tcb.sndHead; s !== tcb.sndNext; s = next[s]) {
    const f = flags[s];
    if ((f & S_SACKED) !== 0 || (f & (S_LOST | S_RETRANS)) === S_LOST) continue;
    if (!isSentAfter(tcb.rackXmit, tcb.rackEnd, sentAt[s], segments.end(s))) continue;
    const left = (sentAt[s] + patience - now) | 0;
    if (left > 0) {
      if (left > wait) wait = left;
      continue;
    }
    found.lost++;
    if ((f & S_RETRANS) !== 0) {
      if (((sentAt[s] - tcb.reducedAt) | 0) >= 0) found.lostAgain++;
      flags[s] = f & ~S_RETRANS;
      tcb.retransOut -= segments.size(s);
    } else {
      flags[s] = f | S_LOST;
      tcb.lostOut += segments.size(s);
    }
  }
  if (found.lost > 0) tcb.lostHint = tcb.sndHead;
  return wait;
}

/** §6.3: the time-out takes for lost what it was armed for, and what was sent a round trip ago. */
export function rackTimedOut(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const { flags, sentAt, next } = segments;
  const now = tcp.ctx.now | 0;
  const patience = tcb.rackRtt + reorderingWindow(tcb);
  for (let s = tcb.sndHead; s !== tcb.sndNext; s = next[s]) {
    const f = flags[s];
    if ((f & S_SACKED) !== 0) continue;
    if (s !== tcb.sndHead && ((sentAt[s] + patience - now) | 0) > 0) continue;
    if ((f & S_RETRANS) !== 0) tcb.retransOut -= segments.size(s);
    if ((f & S_LOST) === 0) tcb.lostOut += segments.size(s);
    flags[s] = (f & ~S_RETRANS) | S_LOST;
  }
  tcb.lostHint = tcb.sndHead;
}
