/**
 * UDP as a director sees it: ONEWAY until the other side has answered, then NORMAL. @hot (`nextState`)
 * The answer is a packet in the other direction than the one that opened the connection: of the server,
 * or with SNAT of the one outside. Where answers do not come by (DR, TUN) it stays ONEWAY.
 */
import type { Protocol } from './protocol.ts';

export const NONE = 0;
export const ONEWAY = 1;
export const NORMAL = 2;

export const UDP: Protocol = {
  number: 17,
  name: 'UDP',
  states: ['NONE', 'ONEWAY', 'NORMAL'],
  timeouts: { dpvs: [300, 300, 300], lvs: [300, 300, 300] },
  active: { dpvs: 0, lvs: 0 },
  settable: [ONEWAY, NORMAL],
};

/** The state after a packet; `answer`: it came from the side that did not open the connection. */
export function nextState(answer: boolean, state: number): number {
  if (answer) return NORMAL;
  return state === NONE ? ONEWAY : state;
}
