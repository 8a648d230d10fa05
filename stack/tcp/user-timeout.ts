/**
 * The user timeout (RFC 9293 §3.8.3, RFC 5482 for its local part): how long data may stay unacknowledged, or a SYN
 * unanswered, before the connection is given up, whatever the retransmission timer would still try. The option that
 * tells the peer of it (RFC 5482 §3) is neither sent nor heeded.
 *
 * It runs from `Tcb.stuckMs`: when the retransmission timer was last begun (beginTimeout) or restarted by progress.
 * `Tcb.userTimeoutMs` 0 = none: twelve time-outs in a row decide. Called by timers.ts.
 */
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** The retransmission timer fired: has it been too long? */
export function isOverdue(tcp: Tcp, tcb: Tcb): boolean {
  if (tcb.userTimeoutMs === 0 || tcb.sndUna === tcb.sndEnd) return false;
  return ((tcp.ctx.nowMs - tcb.stuckMs) | 0) >= tcb.userTimeoutMs;
}

/** `ms`, or what is left of the user timeout. */
export function withinUserTimeout(tcp: Tcp, tcb: Tcb, ms: number): number {
  if (tcb.userTimeoutMs === 0) return ms;
  const left = (tcb.stuckMs + tcb.userTimeoutMs - tcp.ctx.nowMs) | 0;
  return left >= ms ? ms : left > 0 ? left : 1;
}
