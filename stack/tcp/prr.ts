/**
 * Proportional rate reduction (RFC 6937): in recovery, what may be sent follows what is delivered, so that the window
 * comes down to ssthresh by the end of the round and not with a silence at its start; below ssthresh it regrows by slow
 * start (PRR-SSRB, §3).
 *
 * The window is set to pipe plus what may be sent now, so output needs no rule of its own.
 * @hot
 */
import type { Tcb } from './tcb.ts';

export function prrBegin(tcb: Tcb): void {
  tcb.prrFlight = (tcb.sndNxt - tcb.sndUna) | 0;
  tcb.prrDelivered = 0;
  tcb.prrOut = 0;
}

/** An acknowledgment in recovery that says `delivered` bytes more arrived, with `pipe` bytes in the network after it. */
export function prrAck(tcb: Tcb, delivered: number, pipe: number): void {
  tcb.prrDelivered += delivered;
  let may: number;
  if (pipe > tcb.ssthresh) {
    // In doubles: the product may pass 2^31. prrFlight is not 0: something was in flight, or nothing were lost.
    may = Math.ceil((tcb.prrDelivered * tcb.ssthresh) / tcb.prrFlight) - tcb.prrOut;
  } else {
    const owed = tcb.prrDelivered - tcb.prrOut;
    const limit = (owed > delivered ? owed : delivered) + tcb.mss;
    const below = tcb.ssthresh - pipe;
    may = below < limit ? below : limit;
  }
  tcb.cwnd = pipe + (may > 0 ? may : 0);
}
