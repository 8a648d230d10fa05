/**
 * Reno (RFC 5681) with the initial window of RFC 6928 and byte counting (RFC 3465).
 * @hot
 */
import type { Tcb } from '../tcb.ts';
import { type CongestionControl, initialWindow, mayGrow } from './index.ts';

export const reno: CongestionControl = {
  name: 'reno',

  init(tcb: Tcb): void {
    tcb.cwnd = initialWindow(tcb.mss);
    tcb.cwndAcked = 0;
  },

  onAck(tcb: Tcb, acked: number): void {
    if (!mayGrow(tcb)) return;
    if (tcb.cwnd < tcb.ssthresh) {
      // The peer acknowledges once per burst of ours (GRO, stretched ACKs): count all its bytes (RFC 3465 §2.2, L unbounded).
      tcb.cwnd += acked;
      return;
    }
    tcb.cwndAcked += acked;
    if (tcb.cwndAcked >= tcb.cwnd) {
      tcb.cwndAcked -= tcb.cwnd;
      tcb.cwnd += tcb.mss;
    }
  },

  ssthresh(tcb: Tcb, flight: number): number {
    return Math.max(flight >> 1, 2 * tcb.mss); // RFC 5681 §3.1 (4)
  },

  undo(): void {},
};
