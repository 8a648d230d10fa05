/**
 * The contract of a congestion control: it decides the window when bytes are acknowledged and the threshold when they
 * are lost. Recovery itself (what to send again, and when it ends) is recovery.ts's.
 */
import type { Tcb } from '../tcb.ts';

export interface CongestionControl {
  readonly name: string;
  /** A connection is established or starts over after idling. */
  init(tcb: Tcb): void;
  /** `acked` new bytes were acknowledged outside recovery. */
  onAck(tcb: Tcb, acked: number): void;
  /** Loss was detected: the new slow start threshold, in bytes. */
  ssthresh(tcb: Tcb): number;
}
