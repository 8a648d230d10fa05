/**
 * Taking back a reduction of the window that was not called for. Three proofs count:
 *
 * - Eifel (RFC 3522): the first acknowledgment of new data after a retransmission echoes a timestamp older than it; so the
 *   original arrived. It tells at once, before anything else is sent again in vain, for time-outs and fast recovery
 *   alike, and costs nothing where timestamps are in use: that is why it and not F-RTO (RFC 5682), which spends a round
 *   trip of new data to learn the same of time-outs only.
 * - D-SACK (RFC 2883): the peer has reported every retransmission as a duplicate.
 * - Everything deemed lost was acknowledged before anything was sent again.
 *
 * The window returns as RFC 4015 §3.2 has it: ssthresh to what the path had borne, cwnd to that but without a burst.
 * Deviation: the time-out is not rebuilt from the delayed sample (§3.3); the sample counts like any other.
 * @hot
 */
import { initialWindow } from './congestion/index.ts';
import { S_LOST, S_RETRANS } from './segments.ts';
import { CA_OPEN, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** The window is about to be reduced from `cwnd`. */
export function undoBegin(tcb: Tcb, cwnd: number): void {
  tcb.undoable = 1;
  tcb.undoMarker = tcb.sndUna;
  tcb.undoSent = tcb.undoBytes = 0;
  tcb.priorCwnd = cwnd;
  tcb.priorSsthresh = tcb.ssthresh;
}

/** `bytes` were sent again. */
export function undoResent(tcp: Tcp, tcb: Tcb, bytes: number): void {
  if (tcb.undoSent === 0) {
    tcb.undoSent = 1;
    tcb.undoMs = tcp.ctx.nowMs;
  }
  tcb.undoBytes += bytes;
}

/** The peer reports a duplicate from `left` on; true when by now all that was sent again was in vain. */
export function undoDuplicate(tcb: Tcb, left: number, bytes: number): boolean {
  if (tcb.undoable === 0 || tcb.undoSent === 0 || ((left - tcb.undoMarker) | 0) < 0) return false;
  tcb.undoBytes -= bytes;
  return tcb.undoBytes <= 0;
}

/** RFC 3522 §3.2 step 5: does this first acknowledgment of new data echo what was sent before the retransmission? */
export function isEifel(tcp: Tcp, tcb: Tcb): boolean {
  const { options } = tcp.seg;
  if (tcb.undoable === 0 || tcb.undoSent !== 1) return false;
  tcb.undoSent = 2; // later ones prove nothing
  if (tcb.tsOk === 0 || !options.hasTimestamp) return false;
  return ((options.tsEcr - (tcb.undoMs + tcb.tsOffset)) | 0) < 0;
}

/** RFC 4015 §3.2; `burst` = bytes that may go at once, the initial window at most. What is marked lost is taken to be under way. */
export function undo(tcp: Tcp, tcb: Tcb, burst: number): void {
  tcp.stats.undos++;
  tcb.undoable = 0;
  if (tcb.lostOut !== 0) unmark(tcp, tcb);
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  const initial = initialWindow(tcb.mss);
  const most = flight + (burst < initial ? burst : initial);
  const cwnd = tcb.priorCwnd < most ? tcb.priorCwnd : most;
  if (tcb.caState !== CA_OPEN || cwnd > tcb.cwnd) tcb.cwnd = cwnd > tcb.mss ? cwnd : tcb.mss;
  tcb.ssthresh = tcb.priorSsthresh > tcb.priorCwnd ? tcb.priorSsthresh : tcb.priorCwnd;
  tcp.config.congestion.undo(tcb);
  tcb.caState = CA_OPEN;
  tcb.dupAcks = 0;
  tcb.forceRetrans = 0;
}

function unmark(tcp: Tcp, tcb: Tcb): void {
  const { flags, next } = tcp.segments;
  for (let s = tcb.sndHead; s !== tcb.sndNext; s = next[s]) flags[s] &= ~(S_LOST | S_RETRANS);
  tcb.lostOut = tcb.retransOut = 0;
  tcb.lostHint = 0;
}
