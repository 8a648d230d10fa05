/**
 * What gives way when frames run short.
 *
 * Limits per connection (tcp/limits.ts) slow the taking of memory down, but what a peer does not read stays. So when
 * frames run short the session that would take longest to empty its queues, at the rate it has moved data so far, is
 * ended; one at a time, until there is enough again. Called by tcp-proxy.ts every RELIEF_MS.
 */
import type { Context } from '../../stack/context.ts';
import type { LiveSessions } from './live-sessions.ts';
import type { ProxyStats } from './proxy-stats.ts';
import * as ses from './session.ts';
import * as log from './session-log.ts';

/** How often it is looked whether frames run short, and what counts as short: an eighth of them left. */
export const RELIEF_MS = 100;
const SCARCE_SHIFT = 3;
/** Sessions younger than this, or that would empty their queues sooner, are not to blame. */
const RELIEF_AFTER_MS = 2000;

/** Ends one session if frames are short and one is to blame. */
export function relieve(ctx: Context, live: LiveSessions, stats: ProxyStats): void {
  const { pool, nowMs } = ctx;
  const { slots, bigSlots } = pool.config;
  if (pool.freeSmallCount >= slots >> SCARCE_SHIFT && pool.freeBigCount >= bigSlots >> SCARCE_SHIFT) return;
  const { toServer, toClient, highest } = live.table;
  let worst = 0;
  let longest = RELIEF_AFTER_MS;
  for (let id = 1; id <= highest; id++) {
    if (live.state[id] === ses.FREE) continue;
    const age = (nowMs - live.since[id]) >>> 0;
    if (age < RELIEF_AFTER_MS) continue;
    const drainMs = (live.heldBy(id) * age) / (1 + toServer[id] + toClient[id]);
    if (drainMs <= longest) continue;
    longest = drainMs;
    worst = id;
  }
  if (worst === 0) return;
  stats.evicted++;
  live.blame(worst, log.EVICTED);
  live.abort(worst);
}
