/**
 * What the tracked protocols have in common: directions, profiles of timeouts, and how long a connection may be silent.
 * A protocol knows flags, directions and states: no addresses, connections or modes. lb/core.ts asks it for the next state and
 * the timeout, and hands both to `ConnTable.step`.
 *
 * Each of tcp.ts, udp.ts and icmp.ts exports its Protocol (what composition, control and listings need) and `nextState`, the
 * state after a packet. A further protocol is a file beside them and a line in PROTOCOLS.
 */
import { ICMP } from './icmp.ts';
import { TCP } from './tcp.ts';
import { UDP } from './udp.ts';

export { PROFILES, type Profile, type Protocol } from './protocol.ts';
export { MAX_TIMEOUT_S, Timeouts } from './timeouts.ts';

export const PROTOCOLS = [TCP, UDP, ICMP] as const;

/** The tracked protocol with this IP protocol number, null = none. */
export function protocolOf(number: number) {
  return PROTOCOLS.find((protocol) => protocol.number === number) ?? null;
}
