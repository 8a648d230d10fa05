/** Idle limits of sessions that relay: by when each side was last heard. The timer is armed by relay.ts and tcp-proxy.ts. @hot */
import type { Tcb } from '../../stack/tcp/tcb.ts';
import type { ProxyLimits } from './limits.ts';

/** One of the two has been told that nothing more comes. */
const isHalfClosed = (client: Tcb | null, server: Tcb | null): boolean =>
  (client !== null && client.finQueued !== 0) || (server !== null && server.finQueued !== 0);

/** The tightest idle limit that applies, in ms; 0 = none. */
export function idleLimit(l: ProxyLimits, client: Tcb | null, server: Tcb | null): number {
  let limit = 0;
  if (l.clientMs > 0) limit = l.clientMs;
  if (l.serverMs > 0 && (limit === 0 || l.serverMs < limit)) limit = l.serverMs;
  if (isHalfClosed(client, server) && l.finMs > 0 && (limit === 0 || l.finMs < limit)) limit = l.finMs;
  return limit;
}

/** How long until the first idle limit is reached, in ms; 0 or less = it is. */
export function idleLeft(l: ProxyLimits, client: Tcb | null, server: Tcb | null, nowMs: number): number {
  let left = 0x7fffffff;
  const silentClient = client === null ? 0 : (nowMs - client.lastDataMs) | 0;
  const silentServer = server === null ? 0 : (nowMs - server.lastDataMs) | 0;
  if (l.clientMs > 0 && client !== null) left = Math.min(left, l.clientMs - silentClient);
  if (l.serverMs > 0 && server !== null) left = Math.min(left, l.serverMs - silentServer);
  if (isHalfClosed(client, server) && l.finMs > 0) {
    left = Math.min(left, l.finMs - Math.min(silentClient, silentServer));
  }
  return left;
}
