/**
 * The contract of a congestion control: it decides the window when bytes are acknowledged and the threshold when they
 * are lost. Recovery itself (what to send again, how fast, and when it ends) is recovery.ts's and prr.ts's.
 *
 * An algorithm keeps its state in numeric fields of the control block, so it allocates nothing and one object serves all
 * connections.
 */
import type { Ticks } from '../../types.ts';
import type { Tcb } from '../tcb.ts';

export interface CongestionControl {
  readonly name: string;
  /** A connection is established or starts over after idling. */
  init(tcb: Tcb): void;
  /** `acked` new bytes were acknowledged outside recovery; `rttUs` is the sample that came with them, -1 = none. */
  onAck(tcb: Tcb, acked: number, nowMs: Ticks, rttUs: number): void;
  /** Loss was detected with `flight` bytes sent, by a time-out or before one: the new slow start threshold, in bytes. */
  ssthresh(tcb: Tcb, flight: number, timeout: boolean): number;
  /** The loss last told of was none: what the algorithm remembers is to be as it was before. */
  undo(tcb: Tcb): void;
}

/** RFC 6928 §2: ten segments, and of large ones fewer. */
const INITIAL_SEGMENTS = 10;
const INITIAL_BYTES = 14_600;

/** The initial window, in bytes: also the most that may ever leave at once after a pause or an undo. */
export function initialWindow(mss: number): number {
  const most = INITIAL_BYTES > 2 * mss ? INITIAL_BYTES : 2 * mss;
  return INITIAL_SEGMENTS * mss < most ? INITIAL_SEGMENTS * mss : most;
}

/**
 * May the window grow? Not when it was not used up (RFC 5681 §3.1, RFC 9438 §4.2), nor beyond what can ever be queued.
 */
export const mayGrow = (tcb: Tcb): boolean => tcb.cwndLimited !== 0 && tcb.cwnd < tcb.sndBuf;
