/**
 * TCP connection states (RFC 9293 §3.3.2), why connections end, and what their owners are told.
 *
 * | from         | event                          | to                     |
 * | ------------ | ------------------------------ | ---------------------- |
 * | CLOSED       | connect: SYN sent              | SYN_SENT               |
 * | (listener)   | SYN received, SYN-ACK sent     | SYN_RECEIVED           |
 * | SYN_SENT     | SYN-ACK                        | ESTABLISHED            |
 * | SYN_SENT     | SYN without ACK (simultaneous) | SYN_RECEIVED           |
 * | SYN_RECEIVED | ACK of our SYN                 | ESTABLISHED            |
 * | ESTABLISHED  | owner is done sending          | FIN_WAIT_1             |
 * | ESTABLISHED  | FIN received                   | CLOSE_WAIT             |
 * | FIN_WAIT_1   | ACK of our FIN                 | FIN_WAIT_2             |
 * | FIN_WAIT_1   | FIN received                   | CLOSING                |
 * | FIN_WAIT_2   | FIN received                   | TIME_WAIT              |
 * | CLOSE_WAIT   | owner is done sending          | LAST_ACK               |
 * | CLOSING      | ACK of our FIN                 | TIME_WAIT              |
 * | LAST_ACK     | ACK of our FIN                 | CLOSED                 |
 * | any          | reset, abort, time-out         | CLOSED                 |
 *
 * TIME_WAIT is not a state of a control block: it lives on as a row of timewait.ts. Nothing leads back from a closing
 * state to an opening one; a SYN in TIME_WAIT makes a new connection (RFC 6191).
 */

export const CLOSED = 0;
export const SYN_SENT = 1;
export const SYN_RECEIVED = 2;
export const ESTABLISHED = 3;
export const FIN_WAIT_1 = 4;
export const FIN_WAIT_2 = 5;
export const CLOSE_WAIT = 6;
export const CLOSING = 7;
export const LAST_ACK = 8;
export const TIME_WAIT = 9;

export const STATE_NAMES = [
  'CLOSED',
  'SYN-SENT',
  'SYN-RECEIVED',
  'ESTABLISHED',
  'FIN-WAIT-1',
  'FIN-WAIT-2',
  'CLOSE-WAIT',
  'CLOSING',
  'LAST-ACK',
  'TIME-WAIT',
] as const;

/** Why a connection ended, as its owner is told. */
export const END_NORMAL = 0;
export const END_RESET = 1;
export const END_REFUSED = 2;
export const END_TIMEOUT = 3;
export const END_UNREACHABLE = 4;
export const END_ABORTED = 5;

export const END_NAMES = ['normal', 'reset', 'refused', 'timeout', 'unreachable', 'aborted'] as const;

/** Bits of `Tcb.events`, delivered to the owner at the end of a burst, in this order. */
export const EV_ESTABLISHED = 1;
export const EV_READABLE = 2;
export const EV_WRITABLE = 4;
/** The peer has closed its half; what was received before is still readable. */
export const EV_FIN = 8;
export const EV_CLOSED = 16;
