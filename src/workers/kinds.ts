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

/** Null when every flow is divided by all its parts. */
export function steerKinds({ services }: Pick<Config, 'services'>, isLocal: (addr: Ipv4) => boolean): Kinds | null {
  if (services.every((service) => kindOf(service) === BY_FLOW)) return null;
  const nat = Math.max(...services.map((service) => (isOfNat(service) ? kindOf(service) : BY_FLOW)));
  const kinds = new Map<number, number>();
  const natServers = new Map<Ipv4, number>();
  const servers = new Set<Ipv4>();
  const byAddress = new Set<Ipv4>();
  for (const service of services) {
    const { proto, vip, port, dests } = service;
    const kind = isOfNat(service) ? nat : kindOf(service);
    if (proto in NUMBER) kinds.set(endpointKey(NUMBER[proto]!, vip, port), kind);
    if (kind === BY_CLIENT_ADDRESS) byAddress.add(vip);
    for (const { ip } of dests) {
      servers.add(ip);
      if (isOfNat(service)) natServers.set(ip, nat);
    }
  }
  const clientMask = services.reduce((mask, { persistence }) => mask & (persistence?.netmask ?? -1), -1);
  return { services: kinds, natServers, clientMask, byAddress, servers, isLocal };
}
