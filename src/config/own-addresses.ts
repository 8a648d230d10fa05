/**
 * Which addresses a configuration makes our own, what for, and at which link. Called where the data plane is built and by
 * diff.ts, so that both mean the same ones.
 */
import { networkOf } from './address.ts';
import type { Config, Ipv4 } from './model.ts';

/** `local`: of [network] or of a link; `service`: of one service; `vip`: clients connect to it. */
export type AddressRole = 'local' | 'service' | 'vip';

/** Each address once, in its first role. */
export function ownAddresses({
  network,
  links,
  services,
  marks,
}: Pick<Config, 'network' | 'links' | 'services' | 'marks'>): Map<Ipv4, AddressRole> {
  const roles = new Map<Ipv4, AddressRole>();
  const add = (addr: Ipv4, role: AddressRole): void => {
    if (!roles.has(addr)) roles.set(addr, role);
  };
  for (const addr of proxySources({ network, links })) add(addr, 'local');
  for (const service of services) for (const addr of service.localAddresses) add(addr, 'service');
  for (const { proto, vip } of services) if (proto !== 'mark' && proto !== 'match') add(vip, 'vip');
  for (const { match } of marks) if (match.to !== null && match.to.low === match.to.high) add(match.to.low, 'vip');
  return roles;
}

/** Where connections of mode `proxy` may leave from, beside the VIP. */
export function proxySources({ network, links }: Pick<Config, 'network' | 'links'>): Ipv4[] {
  return [...network.localAddresses, ...links.flatMap(({ addresses }) => addresses.map(({ ip }) => ip))];
}

export interface Home {
  /** Index in `links`. */
  readonly link: number;
  readonly prefixLen: number;
}

/** Where an address belongs: at the link that has its network, otherwise at the first, in the network of [network]. */
export function homeOf({ network, links }: Pick<Config, 'network' | 'links'>, addr: Ipv4): Home {
  for (const [link, { addresses }] of links.entries()) {
    const own = addresses.find(({ ip, prefixLen }) => networkOf(ip, prefixLen) === networkOf(addr, prefixLen));
    if (own !== undefined) return { link, prefixLen: own.prefixLen };
  }
  return { link: 0, prefixLen: network.prefixLen };
}
