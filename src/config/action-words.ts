/** Changes in words, a line each: what the log and the control socket say of a reload. */
import type { Action, KeyChange, ServiceRef } from './actions.ts';
import { formatEndpoint, formatIpv4 } from './address.ts';
import type { Refusal } from './diff.ts';
import type { AddressRole } from './own-addresses.ts';
import { formatService } from './service-address.ts';

const ROLES: Readonly<Record<AddressRole, string>> = { local: 'local address', service: 'local address', vip: 'VIP' };

/** Such as `service web: server3 10.0.0.13:80 added, weight 1`. */
export function describeAction(action: Action): string {
  switch (action.do) {
    case 'addService': {
      const { service } = action;
      const servers = service.dests.map((dest) => formatEndpoint(dest.ip, dest.port)).join(', ');
      return `${nameOf(service)} added: ${service.mode}, ${service.scheduler} over ${servers || 'no servers yet'}`;
    }
    case 'removeService':
      return `${nameOf(action.at)} removed: its sessions go on`;
    case 'editService':
      return `service ${action.at.name}: ${listOf(action.changes)}`;
    case 'addServer': {
      const { at, server } = action;
      return `service ${at.name}: ${server.name} ${formatEndpoint(server.ip, server.port)} added, weight ${server.weight}`;
    }
    case 'removeServer': {
      const { at, server } = action;
      return `service ${at.name}: ${server.name} ${formatEndpoint(server.ip, server.port)} removed: its sessions go on`;
    }
    case 'editServer': {
      const { at, server, changes } = action;
      return `service ${at.name}: ${server.name} ${formatEndpoint(server.ip, server.port)}: ${listOf(changes)}`;
    }
    case 'orderServers':
      return `service ${action.at.name}: order of servers ${action.servers.map((one) => one.name).join(', ')}`;
    case 'orderServices':
      return `order of services ${action.services.map((one) => one.name).join(', ')}`;
    case 'addAddress':
      return `${ROLES[action.role]} ${formatIpv4(action.addr)} added`;
    case 'removeAddress':
      return `${ROLES[action.role]} ${formatIpv4(action.addr)} removed, once no session uses it`;
    case 'editLink':
      return `link ${action.link.name}: ${listOf(action.changes)}`;
    case 'editNetwork':
      return `network: ${listOf(action.changes)}`;
    case 'editTcp':
      return `tcp: ${listOf(action.changes)}`;
    case 'editMarks':
      return `marks: ${listOf(action.changes)}`;
    case 'editGlobal':
      return `global: ${listOf(action.changes)}`;
  }
}

/** Such as `[global] workers = 2 instead of 1: is fixed while tsvs runs: restart it`. */
export function describeRefusal({ section, key, from, to, why }: Refusal): string {
  const value = to === null ? `${key} left out` : `${key} = ${to}`;
  return `[${section}] ${value}${from === null ? '' : ` (now ${from})`}: ${why}`;
}

const nameOf = ({ name, vip, port, proto }: ServiceRef): string =>
  `service ${name} ${formatService({ proto, vip, port })}${proto === 'udp' || proto === 'icmp' ? ` ${proto}` : ''}`;

const listOf = (changes: readonly KeyChange[]): string =>
  changes.map(({ key, from, to }) => `${key} ${from ?? '(none)'} -> ${to ?? '(none)'}`).join(', ');
