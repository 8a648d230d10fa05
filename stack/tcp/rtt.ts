/**
 * Round-trip time and retransmission time-out (RFC 6298). Samples come from segments sent once (Karn), measured in
 * microseconds. Deviation: the minimum is 200 ms, not 1 s (§2.4), as kernels have it.
 * @hot
 */
import type { Tcb } from './tcb.ts';

export const RTO_INITIAL_MS = 1000; // §2.1
export const RTO_AFTER_SYN_LOSS_MS = 3000; // §5.7
export const RTO_MIN_MS = 200;
export const RTO_MAX_MS = 60_000; // §2.5

/** Takes a sample, in microseconds. */
export function sampleRtt(tcb: Tcb, us: number): void {
  const r = us < 1 ? 1 : us;
  if (tcb.srtt === 0) {
    tcb.srtt = r; // §2.2
    tcb.rttvar = r >> 1;
  } else {
    const d = tcb.srtt > r ? tcb.srtt - r : r - tcb.srtt;
    tcb.rttvar += (d - tcb.rttvar) >> 2; // §2.3, beta 1/4
    tcb.srtt += (r - tcb.srtt) >> 3; // alpha 1/8
    if (tcb.srtt < 1) tcb.srtt = 1;
  }
  tcb.backoff = 0;
  tcb.rttFresh = 1;
  tcb.rtoMs = baseRto(tcb);
}

/** The time-out without backoff, in ms. */
export function baseRto(tcb: Tcb): number {
  if (tcb.srtt === 0) return RTO_INITIAL_MS;
  const ms = Math.ceil((tcb.srtt + 4 * tcb.rttvar) / 1000);
  return ms < RTO_MIN_MS ? RTO_MIN_MS : ms > RTO_MAX_MS ? RTO_MAX_MS : ms;
}

/** Doubles the time-out (§5.5). */
export function backOff(tcb: Tcb): void {
  tcb.backoff++;
  tcb.rtoMs = tcb.rtoMs * 2 > RTO_MAX_MS ? RTO_MAX_MS : tcb.rtoMs * 2;
}
