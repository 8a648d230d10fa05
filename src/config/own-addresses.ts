/**
 * Which addresses a configuration makes our own, and what for. Called where the data plane is built and by diff.ts, so
 * that both mean the same ones.
 */
import type { Config, Ipv4 } from './model.ts';

/** `local`: of [network]; `service`: of one service; `vip`: clients connect to it. */
export type AddressRole = 'local' | 'service' | 'vip';

/** Each address once, in its first role. */
export function ownAddresses({ network, services }: Pick<Config, 'network' | 'services'>): Map<Ipv4, AddressRole> {
  const roles = new Map<Ipv4, AddressRole>();
  const add = (addr: Ipv4, role: AddressRole): void => {
    if (!roles.has(addr)) roles.set(addr, role);
  };
  for (const addr of network.localAddresses) add(addr, 'local');
  for (const service of services) for (const addr of service.localAddresses) add(addr, 'service');
  for (const service of services) add(service.vip, 'vip');
  return roles;
}
