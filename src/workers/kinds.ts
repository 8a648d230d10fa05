/**
 * By which part of its flows a service is divided among workers (stack/steer/steering.ts), as the configuration has it:
 *
 * | service                                             | all of a flow that is the same              |
 * | --------------------------------------------------- | ------------------------------------------- |
 * | proxy, FullNAT, SNAT, DR, tunnel                    | addresses and ports: local ports are chosen |
 * | NAT                                                 | the client's address and port               |
 * | layer 4 with persistence, or that passes fragments  | the client's address; of several netmasks   |
 * |                                                     | of persistence, the bits that all look at   |
 *
 * All NAT services follow the last row when one of them does: what a server sends does not say of which service it is.
 */
import { BY_CLIENT, BY_CLIENT_ADDRESS, BY_FLOW, endpointKey, type Kinds } from '../../stack/steer/steering.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import type { Config, Ipv4, ServiceConfig } from '../config/model.ts';

const NUMBER: Readonly<Record<string, number>> = { tcp: PROTO_TCP, udp: PROTO_UDP, icmp: PROTO_ICMP };

const isOfNat = ({ mode, dests }: ServiceConfig): boolean =>
  mode === 'nat' || (mode !== 'proxy' && dests.some((dest) => dest.mode === 'nat'));

function kindOf(service: ServiceConfig): number {
  const { mode, persistence, fragments } = service;
  if (mode !== 'proxy' && (persistence !== null || fragments === 'forward')) return BY_CLIENT_ADDRESS;
  return isOfNat(service) ? BY_CLIENT : BY_FLOW;
}

/** Services and servers that are gone, of which connections may be left: what comes after them is forgotten. */
const MAX_GONE = 65_536;

/** What is not in `now` any more stays as it was. */
function remember(now: Map<number, number>, before: ReadonlyMap<number, number>): void {
  const most = now.size + MAX_GONE;
  for (const [key, kind] of before) {
    if (now.size >= most) return;
    if (!now.has(key)) now.set(key, kind);
  }
}

/**
 * Null when every flow is divided by all its parts. `before`: what held so far, under which connections were opened. They go on when
 * services, servers and persistence are taken away, so the division never becomes finer again, and what is gone keeps its own.
 */
export function steerKinds(
  { services }: Pick<Config, 'services'>,
  isLocal: (addr: Ipv4) => boolean,
  before: Kinds | null = null,
): Kinds | null {
  if (before === null && services.every((service) => kindOf(service) === BY_FLOW)) return null;
  const ofNat = services.filter(isOfNat).map(kindOf);
  const nat = Math.max(BY_FLOW, ...ofNat, ...(before?.natServers.values() ?? []));
  const kinds = new Map<number, number>();
  const natServers = new Map<Ipv4, number>();
  const servers = new Set<Ipv4>(before?.servers);
  const byAddress = new Set<Ipv4>(before?.byAddress);
  for (const service of services) {
    const { proto, vip, port, dests } = service;
    const key = proto in NUMBER ? endpointKey(NUMBER[proto]!, vip, port) : -1;
    const kind = Math.max(isOfNat(service) ? nat : kindOf(service), before?.services.get(key) ?? BY_FLOW);
    if (key !== -1) kinds.set(key, kind);
    if (kind === BY_CLIENT_ADDRESS) byAddress.add(vip);
    for (const { ip } of dests) {
      servers.add(ip);
      if (isOfNat(service)) natServers.set(ip, nat);
    }
  }
  if (before !== null) {
    remember(kinds, before.services);
    remember(natServers, before.natServers);
    for (const ip of natServers.keys()) natServers.set(ip, nat);
  }
  const masks = services.map(({ persistence }) => persistence?.netmask ?? -1);
  const clientMask = masks.reduce((all, mask) => all & mask, before?.clientMask ?? -1);
  return { services: kinds, natServers, clientMask, byAddress, servers, isLocal };
}

/** Whether flows of what was there before may have another owner now. */
export function dividesAnew(before: Kinds | null, now: Kinds | null): boolean {
  if (now === null) return false;
  if (before === null) return true;
  const differs = (old: ReadonlyMap<number, number>, kinds: ReadonlyMap<number, number>): boolean =>
    [...old].some(([key, kind]) => kinds.get(key) !== kind);
  return (
    differs(before.services, now.services) ||
    differs(before.natServers, now.natServers) ||
    before.clientMask !== now.clientMask
  );
}
