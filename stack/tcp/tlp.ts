/**
 * Tail loss probe (RFC 8985 §7): when nothing was heard for two round trips after the last data, one more segment is
 * sent, new or the last one again. Its acknowledgment brings the SACK that RACK needs to see what was lost, where
 * otherwise only the time-out would.
 *
 * A connection has one probe out at most, and none without an RTT sample since the last. Nothing is SACKed while one may
 * be sent: then RACK's own timer is nearer.
 * @hot
 */
import { sendNewProbe, sendTailAgain } from './probe.ts';
import { RTO_MIN_MS } from './rtt.ts';
import { CA_OPEN, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** `tcb.tlp`: which probe is out. */
export const TLP_NONE = 0;
export const TLP_NEW = 1;
export const TLP_AGAIN = 2;

/**
 * How long a receiver may hold an acknowledgment back (§7.2). Kernels delay by up to as much as our shortest time-out, so
 * a segment alone is probed for by the time-out's clock; two are acknowledged without delay.
 */
const MAX_ACK_DELAY_MS = RTO_MIN_MS;

export const mayProbe = (tcb: Tcb): boolean =>
  tcb.sackOk !== 0 &&
  tcb.caState === CA_OPEN &&
  tcb.tlp === TLP_NONE &&
  tcb.rttFresh !== 0 &&
  tcb.backoff === 0 &&
  (tcb.sackedOut | tcb.lostOut) === 0 &&
  tcb.sndNxt !== tcb.sndUna &&
  tcb.sndWnd !== 0;

/** §7.2: milliseconds from the last sending to the probe, before the time-out's due time is considered. */
export function probeMs(tcb: Tcb): number {
  const ms = Math.ceil((2 * tcb.srtt) / 1000) + 1;
  return ((tcb.sndNxt - tcb.sndUna) | 0) <= tcb.mss ? ms + MAX_ACK_DELAY_MS : ms;
}

/** §7.3 */
export function sendLossProbe(tcp: Tcp, tcb: Tcb): void {
  const kind = sendNewProbe(tcp, tcb) ? TLP_NEW : sendTailAgain(tcp, tcb) ? TLP_AGAIN : TLP_NONE;
  if (kind === TLP_NONE) return; // no frame: the time-out is still there
  tcp.stats.lossProbes++;
  tcb.tlp = kind;
  tcb.tlpEnd = tcb.sndNxt;
  tcb.rttFresh = 0;
}

/**
 * §7.4.2, for an acknowledgment after SND.UNA has moved; `dsack` = it reports a duplicate that ends where the probe did.
 * True when the probe repaired a loss of which nothing else will ever tell: the window is to be reduced.
 */
export function probeAnswered(tcb: Tcb, ack: number, dsack: boolean, bareDuplicate: boolean): boolean {
  const beyond = (ack - tcb.tlpEnd) | 0;
  if (beyond < 0) return false;
  const { tlp } = tcb;
  if (tlp === TLP_NEW || dsack) tcb.tlp = TLP_NONE;
  else if (beyond > 0) {
    tcb.tlp = TLP_NONE;
    return true;
  } else if (bareDuplicate) tcb.tlp = TLP_NONE;
  return false;
}
