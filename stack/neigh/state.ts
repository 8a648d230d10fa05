/**
 * The states of a neighbour (RFC 4861 §7.3.2, used for ARP as well), and which of them may follow which.
 *
 * | from       | to         | who and why                                                              |
 * | ---------- | ---------- | ------------------------------------------------------------------------ |
 * | NONE       | INCOMPLETE | output: a frame needs an address nobody knows                             |
 * | NONE       | STALE      | arp: a neighbour that asked for us told its address                       |
 * | INCOMPLETE | REACHABLE  | arp: it answered                                                          |
 * | INCOMPLETE | STALE      | arp: it spoke without being asked                                         |
 * | INCOMPLETE | FAILED     | timer: MAX_MULTICAST_SOLICIT requests without an answer                   |
 * | REACHABLE  | STALE      | timer: no confirmation for ReachableTime; or arp: another address         |
 * | STALE      | DELAY      | output: a frame was sent, so we want to know whether it is still there    |
 * | STALE      | STALE      | arp: another address                                                      |
 * | DELAY      | PROBE      | timer: no upper layer confirmed it within DELAY_FIRST_PROBE_TIME          |
 * | DELAY      | STALE      | arp: another address                                                      |
 * | PROBE      | REACHABLE  | arp: it answered                                                          |
 * | PROBE      | STALE      | arp: another address                                                      |
 * | STALE, DELAY, PROBE | REACHABLE | TCP made progress (RFC 4861 §7.3.1)                              |
 * | FAILED     | REACHABLE  | arp: it answered late                                                     |
 * | FAILED     | STALE      | arp: it spoke without being asked                                         |
 * | any        | REACHABLE  | control: a static entry                                                   |
 * | any        | NONE       | timer: PROBE unanswered (§7.3.3), FAILED forgotten; eviction; control     |
 *
 * Prohibited, with the reason:
 * - to DELAY except from STALE, to PROBE except from DELAY: only a frame sent makes us ask (no traffic, no probes);
 * - to INCOMPLETE except from NONE: the queue of waiting frames exists only before an address was ever known;
 * - to FAILED except from INCOMPLETE: what has an address is deleted instead, so that the next frame asks everybody.
 *
 * FAILED is not in the RFC: it remembers for a short while that nobody answered, so that a flood of frames for an
 * absent host does not become a flood of requests.
 */

export const NONE = 0;
export const FAILED = 1;
export const INCOMPLETE = 2;
/** From here on the link-layer address is known: `state >= STALE` is the question the hot path asks. */
export const STALE = 3;
export const DELAY = 4;
export const PROBE = 5;
export const REACHABLE = 6;

/** Indexed by state, as people read them. */
export const STATE_NAMES: readonly string[] = ['none', 'failed', 'incomplete', 'stale', 'delay', 'probe', 'reachable'];

const to = (...states: number[]): number => states.reduce((bits, s) => bits | (1 << s), 0);

/** The table above, as bits: LEGAL[from] >> to & 1. */
const LEGAL: readonly number[] = [
  to(INCOMPLETE, STALE, REACHABLE), // from NONE
  to(STALE, REACHABLE, NONE), // from FAILED
  to(REACHABLE, STALE, FAILED, NONE), // from INCOMPLETE
  to(DELAY, STALE, REACHABLE, NONE), // from STALE
  to(PROBE, STALE, REACHABLE, NONE), // from DELAY
  to(REACHABLE, STALE, NONE), // from PROBE
  to(STALE, NONE), // from REACHABLE
];

export const isLegal = (from: number, next: number): boolean => ((LEGAL[from]! >> next) & 1) !== 0;

/** States whose rows may be given to somebody else: nothing waits on them. */
export const isIdle = (state: number): boolean => state === STALE || state === FAILED;
