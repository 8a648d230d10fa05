/**
 * The timers of a connection: three wheel entries each.
 *
 * | timer    | meaning, by state of the connection                                                       |
 * | -------- | ----------------------------------------------------------------------------------------- |
 * | T_REXMIT | SYN or SYN-ACK again; oldest data again (RFC 6298 §5); zero-window probe (RFC 9293 §3.8.6.1) |
 * |          | before that: tail loss probe (RFC 8985 §7.2), reordering window passed (§6.2 step 5)       |
 * | T_DELACK | acknowledge what was held back (RFC 9293 §3.8.6.3: within 0.5 s)                            |
 * | T_KEEP   | is the peer still there (RFC 9293 §3.8.4)? Or, when nobody reads: how long FIN_WAIT_2 is kept |
 *
 * One retransmission timer, as RFC 6298 has it: which of its meanings applies is read from the block when it fires, so
 * no two of them can be armed together.
 *
 * | `rexmitFor`    | armed by                                              | when                                 |
 * | -------------- | ----------------------------------------------------- | ------------------------------------ |
 * | FOR_TIMEOUT    | sending with the timer off; each acknowledgment of new data; time-outs, probes | `rtoDueMs`  |
 * | FOR_PROBE      | new data sent, or acknowledged, and a probe may be sent | 2 SRTT, not after `rtoDueMs`        |
 * | FOR_REORDERING | an acknowledgment; RACK waits for the reordering window | then, not after `rtoDueMs`          |
 *
 * `rtoDueMs` stands while the timer serves the others, so they never put the time-out off; but a probe, once sent, is
 * given a whole one (RFC 8985 §7.3). A tick is 1 ms, so the latter two are up to that much late, never early.
 */

import { sendAbort, sendSyn, sendSynAck } from './bare.ts';
import { onTimeout } from './pmtu.ts';
import { sendHeadUncut, sendKeepalive, sendProbe } from './probe.ts';
import { enterLoss, reorderingPassed } from './recovery.ts';
import { backOff } from './rtt.ts';
import * as st from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { mayProbe, probeMs, sendLossProbe } from './tlp.ts';
import { isOverdue, withinUserTimeout } from './user-timeout.ts';

export const T_REXMIT = 0;
export const T_DELACK = 1;
export const T_KEEP = 2;
export const T_COUNT = 3;

/** Time-outs in a row before a connection is given up: over 4 minutes (RFC 9293 §3.8.3: R2 at least 100 s). */
const MAX_BACKOFF = 12;
export const DELAYED_ACK_MS = 40;
/**
 * The same for the first segments of a connection: a peer in slow start, or one that waits because of Nagle, is not to
 * be held up for long, yet an answer that comes at once still carries the acknowledgment and saves a segment.
 */
export const QUICK_ACK_MS = 4;
export const LINGER_MS = 60_000;

const node = (tcb: Tcb, t: number): number => (tcb.id - 1) * T_COUNT + 1 + t;

/** `rexmitFor` */
const FOR_TIMEOUT = 0;
const FOR_PROBE = 1;
const FOR_REORDERING = 2;

/** There is something to be acknowledged again, or to be probed for: the first time-out, and the user timeout. */
export function beginTimeout(tcp: Tcp, tcb: Tcb): void {
  tcb.stuckMs = tcp.ctx.nowMs;
  armRexmit(tcp, tcb, tcb.rtoMs);
}

/** The time-out, from now. */
function armRexmit(tcp: Tcp, tcb: Tcb, ms: number): void {
  tcb.rexmitFor = FOR_TIMEOUT;
  tcb.rtoDueMs = (tcp.ctx.nowMs + withinUserTimeout(tcp, tcb, ms)) | 0;
  tcb.rexmitAtMs = tcb.rtoDueMs;
  tcp.timers.arm(node(tcb, T_REXMIT), tcb.rtoDueMs);
}

/** RFC 6298 §5.3: new data was acknowledged. `armNext` follows. */
export function restartTimeout(tcp: Tcp, tcb: Tcb): void {
  tcb.stuckMs = tcp.ctx.nowMs;
  tcb.rtoDueMs = (tcp.ctx.nowMs + withinUserTimeout(tcp, tcb, tcb.rtoMs)) | 0;
}

/** Arms whichever is next; `waitUs` = until RACK may find more lost, 0 = it does not wait. Something is in flight. */
export function armNext(tcp: Tcp, tcb: Tcb, waitUs: number): void {
  const { nowMs } = tcp.ctx;
  let left = (tcb.rtoDueMs - nowMs) | 0;
  let what = FOR_TIMEOUT;
  if (waitUs > 0) {
    const ms = Math.floor(waitUs / 1000) + 1;
    if (ms < left) {
      left = ms;
      what = FOR_REORDERING;
    }
  } else if (mayProbe(tcb)) {
    const ms = probeMs(tcb);
    if (ms < left) left = ms;
    what = FOR_PROBE;
  }
  tcb.rexmitFor = what;
  const due = (nowMs + (left > 0 ? left : 0)) | 0;
  // Acknowledgments and sendings of one tick mostly mean the same one.
  if (due === tcb.rexmitAtMs && isRexmitArmed(tcp, tcb)) return;
  tcb.rexmitAtMs = due;
  tcp.timers.arm(node(tcb, T_REXMIT), due);
}

export const cancelRexmit = (tcp: Tcp, tcb: Tcb): void => tcp.timers.cancel(node(tcb, T_REXMIT));
export const isRexmitArmed = (tcp: Tcp, tcb: Tcb): boolean => tcp.timers.isArmed(node(tcb, T_REXMIT));

/** Neither of the timers runs that stand for something to be said. */
export const isQuiet = (tcp: Tcp, tcb: Tcb): boolean =>
  !isRexmitArmed(tcp, tcb) && !tcp.timers.isArmed(node(tcb, T_DELACK));

export function armDelayedAck(tcp: Tcp, tcb: Tcb, ms: number): void {
  const n = node(tcb, T_DELACK);
  if (!tcp.timers.isArmed(n)) tcp.timers.arm(n, (tcp.ctx.nowMs + ms) | 0);
}

export const cancelDelayedAck = (tcp: Tcp, tcb: Tcb): void => tcp.timers.cancel(node(tcb, T_DELACK));

export function armLinger(tcp: Tcp, tcb: Tcb): void {
  tcp.timers.arm(node(tcb, T_KEEP), (tcp.ctx.nowMs + LINGER_MS) | 0);
}

export function onTimer(tcp: Tcp, tcb: Tcb, timer: number): void {
  switch (timer) {
    case T_REXMIT:
      rexmit(tcp, tcb);
      break;
    case T_DELACK:
      tcb.ackNow = 1;
      tcp.touch(tcb);
      break;
    case T_KEEP:
      keep(tcp, tcb);
      break;
  }
}

/** Starts asking a silent peer whether it is there, as `tcb.keep` says. */
export function armKeepalive(tcp: Tcp, tcb: Tcb): void {
  if (tcb.keep !== null) tcp.timers.arm(node(tcb, T_KEEP), (tcp.ctx.nowMs + tcb.keep.idleMs) | 0);
}

function keep(tcp: Tcp, tcb: Tcb): void {
  if (tcb.readClosed !== 0 && tcb.state === st.FIN_WAIT_2) {
    // The peer never closed its half; nobody waits for it any more.
    tcp.close(tcb, st.END_TIMEOUT, false);
    return;
  }
  const { keep: asked } = tcb;
  if (asked === null) return;
  const silentMs = (tcp.ctx.nowMs - tcb.lastRecvMs) | 0;
  let again = asked.idleMs - silentMs;
  if (again <= 0) {
    if (tcb.keepProbes >= asked.count) {
      sendAbort(tcp, tcb);
      giveUp(tcp, tcb);
      return;
    }
    // What is unacknowledged asks often enough by itself.
    if (tcb.sndNxt === tcb.sndUna) {
      tcb.keepProbes++;
      sendKeepalive(tcp, tcb);
    }
    again = asked.intervalMs;
  }
  tcp.timers.arm(node(tcb, T_KEEP), (tcp.ctx.nowMs + again) | 0);
}

/** The peer is silent for good. What routers said of it meanwhile may be why (RFC 1122 §4.2.3.9). */
function giveUp(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state < st.ESTABLISHED) tcp.stats.attemptFails++;
  tcp.close(tcb, tcb.softError !== 0 ? tcb.softError : st.END_TIMEOUT, false);
}

function rexmit(tcp: Tcp, tcb: Tcb): void {
  if (isOverdue(tcp, tcb)) {
    giveUp(tcp, tcb);
    return;
  }
  if (tcb.state === st.SYN_SENT || tcb.state === st.SYN_RECEIVED) {
    if (tcb.synRetries++ >= tcp.listeners.synRetries(tcb, tcp.ctx.nowMs)) {
      giveUp(tcp, tcb);
      return;
    }
    backOff(tcb);
    tcp.stats.retransSegs++;
    if (tcb.state === st.SYN_SENT) sendSyn(tcp, tcb);
    else sendSynAck(tcp, tcb);
    armRexmit(tcp, tcb, tcb.rtoMs);
    return;
  }
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  if (flight === 0 && tcb.sndNext === 0) return;
  if (flight === 0 && tcb.sndWnd !== 0) {
    // Held back from a small window, or for want of a frame.
    sendProbe(tcp, tcb);
    armRexmit(tcp, tcb, tcb.rtoMs);
    return;
  }
  if (tcb.sndWnd === 0) {
    // A closed window is no loss: as long as the peer answers, probing goes on for ever (RFC 9293 §3.8.6.1).
    const silentMs = (tcp.ctx.nowMs - tcb.lastRecvMs) | 0;
    if (tcb.probes++ > MAX_BACKOFF && silentMs > 100_000) {
      giveUp(tcp, tcb);
      return;
    }
    backOff(tcb);
    sendProbe(tcp, tcb);
    armRexmit(tcp, tcb, tcb.rtoMs);
    return;
  }
  if (tcb.rexmitFor === FOR_REORDERING) {
    reorderingPassed(tcp, tcb);
    return;
  }
  if (tcb.rexmitFor === FOR_PROBE && mayProbe(tcb)) {
    sendLossProbe(tcp, tcb);
    armRexmit(tcp, tcb, tcb.rtoMs);
    return;
  }
  if (tcb.backoff >= MAX_BACKOFF) {
    giveUp(tcp, tcb);
    return;
  }
  tcp.stats.timeouts++;
  onTimeout(tcp, tcb);
  backOff(tcb); // RFC 6298 §5.5
  enterLoss(tcp, tcb);
  sendHeadUncut(tcp, tcb);
  armRexmit(tcp, tcb, tcb.rtoMs); // §5.6
  tcp.touch(tcb);
}
