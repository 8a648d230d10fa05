/**
 * Explicit congestion notification (RFC 3168 §6.1): routers mark segments instead of dropping them, the receiver echoes
 * the mark, the sender reduces its window once per window of data and says so.
 *
 * | who      | on                                         | does                                                   |
 * | -------- | ------------------------------------------ | ------------------------------------------------------ |
 * | opener   | connect, with `TcpConfig.ecn` `on`         | ECE and CWR on the first SYN; later ones go without    |
 * | listener | SYN with both, unless it is `off`          | ECE on the SYN-ACK                                     |
 * | sender   | new data, no probe, not sent again         | ECT(0) in the IP header                                |
 * | receiver | CE on data in the window                   | ECE on all it sends, until CWR comes                   |
 * | sender   | ECE, and no reduction yet in this window   | reduces as for a loss; CWR on the next new data        |
 *
 * SYNs, bare acknowledgments and retransmissions are not marked as capable (§6.1.1, §6.1.4, §6.1.5).
 * Called by input.ts, output.ts, listen.ts and recovery.ts.
 * @hot
 */
import { ACK, CWR, ECE, SYN } from '../wire/tcp.ts';
import type { ArrivedSegment } from './arrived.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** The two bits of the TOS byte (§5). */
const ECN_MASK = 3;
const CE = 3;
const ECT0 = 2;

/** The peer's SYN or SYN-ACK: do both sides want it? */
export function negotiateEcn(tcp: Tcp, tcb: Tcb, flags: number): void {
  if ((flags & SYN) === 0) return; // a cookie's acknowledgment: cookie.ts knows
  const said = flags & (ECE | CWR);
  const { ecn } = tcp.config;
  if ((flags & ACK) !== 0) tcb.ecnOk = ecn === 'on' && said === ECE ? 1 : 0;
  else tcb.ecnOk = ecn !== 'off' && said === (ECE | CWR) ? 1 : 0;
}

/** Flags of our SYN: a repeated one does not ask, in case it was lost for asking (§6.1.1.1). */
export const synEcn = (tcp: Tcp, tcb: Tcb): number => (tcp.config.ecn === 'on' && tcb.synRetries === 0 ? ECE | CWR : 0);

/** Of our SYN-ACK. */
export const synAckEcn = (tcb: Tcb): number => (tcb.ecnOk !== 0 ? ECE : 0);

/** Text in the window arrived. */
export function takeMark(tcp: Tcp, tcb: Tcb, seg: ArrivedSegment): void {
  if ((seg.flags & CWR) !== 0) tcb.ecnEcho = 0;
  if ((seg.tos & ECN_MASK) !== CE || seg.len === 0) return;
  if (tcb.ecnEcho === 0) tcb.ackNow = 1; // the sooner the better
  tcb.ecnEcho = 1;
  tcp.touch(tcb);
}

/** After an acceptable acknowledgment: true when the window is to be reduced for an echo. */
export function heedsEcho(tcb: Tcb, seg: ArrivedSegment): boolean {
  // What was sent before the last reduction is still being echoed.
  if (((tcb.sndUna - tcb.ecnEnd) | 0) <= 0) return false;
  tcb.ecnEnd = (tcb.sndUna - 1) | 0; // within reach of the comparison
  return (seg.flags & ECE) !== 0;
}

/** The window was reduced, for whatever reason: the peer is told, and echoes are heeded again a window later. */
export function saysReduced(tcb: Tcb): void {
  tcb.cwrOwed = tcb.ecnOk;
  tcb.ecnEnd = tcb.sndNxt;
}

/** ECE, on everything. */
export const echo = (tcb: Tcb): number => (tcb.ecnEcho !== 0 ? ECE : 0);

/** CWR, on one segment of new data. */
export function reducedBit(tcb: Tcb): number {
  if (tcb.cwrOwed === 0) return 0;
  tcb.cwrOwed = 0;
  return CWR;
}

/** The TOS byte of data; `fresh` = it was never sent before. */
export const dataTos = (tcb: Tcb, fresh: boolean): number => (tcb.ecnOk !== 0 && fresh && tcb.sndWnd !== 0 ? ECT0 : 0);
