/**
 * Segments that ask rather than tell: tail loss probes (RFC 8985 §7.3), probes of a shut window (RFC 9293 §3.8.6.1),
 * keepalives (§3.8.4). Timers send them, outside the order of output.
 */
import { ACK } from '../wire/tcp.ts';
import { send } from './bare.ts';
import { GATHER_ROOM, sendNew, usable } from './output.ts';
import { cut } from './scoreboard.ts';
import { S_EVER_RETRANS, S_FIN } from './segments.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { headerFor, transmit } from './transmit.ts';

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
