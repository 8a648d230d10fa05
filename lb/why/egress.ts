/**
 * The end of the way, foreseen: route, the MTU rule, TTL, neighbour, port. Says what xmit/way.ts, ipv4/output.ts and
 * neigh/output.ts would do; asks nobody for an address and sends nothing. Cold. Called by index.ts.
 */
import { IP_NO_ROUTE, IP_TOO_BIG, IP_TTL, LINK_DOWN, NEIGH_FAILED } from '../../stack/drop.ts';
import type { Host } from '../../stack/host.ts';
import { isMulticast } from '../../stack/ipv4/input.ts';
import { FAILED, NONE, STALE } from '../../stack/neigh/state.ts';
import { MAC_HI, MAC_LO } from '../../stack/neigh/table.ts';
import type { Ipv4, PortId } from '../../stack/types.ts';
import type { Asked, End, Step } from './steps.ts';

export const drop = (reason: number, told: 'reset' | 'icmp' | null = null): End => ({ end: 'drop', reason, told });

/** A way that was found. */
export interface Found {
  readonly port: PortId;
  readonly hop: Ipv4;
  /** The route's own source address, 0 = it has none. */
  readonly src: Ipv4;
}

/** What of a packet counts here: it grows by `more` bytes; `hop` = TTL is decremented. */
export type Size = Pick<Asked, 'bytes' | 'df' | 'ttl'> & { readonly more: number; readonly hop: boolean };

/** The way to `to`, noted in `steps`; or how the packet ends without one. */
export function findWay(host: Host, steps: Step[], to: Ipv4, size: Size): Found | End {
  const route = host.routes.routeTo(to);
  if (route === null) return drop(IP_NO_ROUTE, 'icmp');
  const { prefix, len, gateway, port, src } = route;
  const mtu = Math.min(route.mtu || 0xffff, host.netif.mtu(port));
  const large = size.bytes + size.more > mtu;
  steps.push({ at: 'route', to, prefix, len, gateway, port, mtu, fragments: large && !size.df });
  if (large && size.df) return drop(IP_TOO_BIG, 'icmp');
  if (size.hop && size.ttl <= 1) return drop(IP_TTL, 'icmp');
  return { port, hop: gateway === 0 ? to : gateway, src };
}

/** The neighbour that the packet goes to, noted in `steps`, and whether it leaves. */
export function leave(host: Host, steps: Step[], { port, hop }: Found): End {
  const up = host.netif.isUp(port);
  const out: End = up ? { end: 'sent', port } : drop(LINK_DOWN);
  if (isMulticast(hop) || host.addresses.isBroadcast(hop, port)) return out;
  const { table } = host.neigh;
  const i = table.find(hop, port);
  const state = i === 0 ? NONE : table.state(i);
  const at = i << 4;
  const known = state >= STALE;
  const [macHi, macLo] = known ? [table.words[at + MAC_HI]!, table.words[at + MAC_LO]!] : [0, 0];
  steps.push({ at: 'neighbour', ip: hop, port, state, macHi, macLo });
  if (state === FAILED) return drop(NEIGH_FAILED, 'icmp');
  return known ? out : { end: 'waits', port };
}
