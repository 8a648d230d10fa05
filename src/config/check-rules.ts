/** What services without an address and rules that give marks demand. Part of the check (check.ts). */
import { formatIpv4 } from './address.ts';
import type { Draft, DraftService } from './draft.ts';
import type { Located, Where } from './error.ts';
import { formatMatch, matchId } from './match.ts';
import type { Ipv4, MatchConfig, Mode, ServiceConfig } from './model.ts';

/** Addresses of ours that stand in rules only. */
export function markedAddresses({ marks }: Draft): Located<Ipv4>[] {
  return marks.flatMap(({ match }) => {
    const to = match?.value.to;
    return match && to && to.low === to.high ? [{ ...match, value: to.low }] : [];
  });
}

type Place = Pick<ServiceConfig, 'proto' | 'vip' | 'port' | 'match'>;

/** Where a service is reached: at each of its ports, by its mark, or by its match. Empty when that could not be read. */
export function placesOf({ vip, ports, proto, mark, match }: DraftService): Place[] {
  if (mark) return [{ proto: 'mark', vip: mark.value | 0, port: 0, match: null }];
  if (match) return [{ proto: 'match', vip: matchId(match.value), port: 0, match: match.value }];
  if (!vip || !ports) return [];
  return ports.value.map((port) => ({ proto, vip: vip.value, port, match: null }));
}

export function checkRules(draft: Draft): void {
  const { errors, marks, services } = draft;
  checkFragments(draft);
  for (const { match } of [...marks, ...services]) if (match) checkLinks(draft, match);
  const owners = new Map<string, DraftService>();
  for (const service of services) {
    checkPlace(draft, service);
    const rule = service.mark ?? service.match;
    if (!rule) continue;
    const key = service.mark ? `mark ${service.mark.value}` : `match ${formatMatch(service.match!.value)}`;
    const first = owners.get(key);
    if (first) {
      const message = `${key} belongs to [${first.where.section}] already (line ${first.where.line})`;
      errors.add(rule, message, 'give it to one of them');
    } else owners.set(key, service);
  }
}

/** Only the first fragment has ports: services of one address and protocol, those of mode proxy included, must agree. */
function checkFragments({ errors, global, services }: Draft): void {
  const first = new Map<string, DraftService>();
  for (const service of services) {
    const { fragments, vip, proto, mark, match, dests } = service;
    const where: Where = { ...service.where, key: 'fragments' };
    const mode = service.mode ?? global.mode;
    const direct = [mode, ...dests.flatMap(({ keys }) => keys.mode?.value ?? [])].every(
      (one) => one === 'dr' || one === 'tun',
    );
    if (fragments === 'forward' && (!direct || proto === 'icmp')) {
      errors.add(where, 'only TCP and UDP in modes dr and tun can forward fragments', 'choose reassemble or drop');
    }
    if (fragments === 'forward' && (mark || match) && global.workers !== 1) {
      errors.add(
        where,
        'cannot be divided among several workers when the service goes by a rule',
        'set workers = 1, or choose reassemble',
      );
    }
    if (fragments !== 'reassemble' && mode === 'proxy') {
      errors.add(where, 'fragments of this service have to be put together', 'leave it out');
    }
    if (!vip || mark || match) continue;
    const key = `${proto} ${vip.value}`;
    const other = first.get(key) ?? service;
    if (other.fragments !== fragments) {
      const message = `[${other.where.section}] (line ${other.where.line}) has the address too, and says ${other.fragments}`;
      errors.add(where, message, 'let all services of an address and protocol say the same');
    }
    first.set(key, other);
  }
}

function checkLinks({ errors, links }: Draft, match: Located<MatchConfig>): void {
  const names = links.length === 0 ? ['tap0'] : links.map(({ name }) => name);
  const { iif, oif } = match.value;
  for (const name of [iif, oif]) {
    if (name !== null && !names.includes(name)) {
      errors.add(match, `there is no link ${name}`, `write ${names.join(' or ')}`);
    }
  }
}

function checkPlace(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const { mark, match, vip, ports, proto } = service;
  const mode = service.mode ?? draft.global.mode;
  const at = (key: string): Where => ({ ...service.where, key });
  const rule = mark ?? match;
  if (mark && match) errors.add(match, 'the service has a mark already', 'keep one of them');
  for (const other of rule ? [vip, ports] : []) {
    if (other) errors.add(other, `the service is told by its ${rule!.key}`, `remove ip and ports, or ${rule!.key}`);
  }
  const special = rule?.key ?? (proto === 'icmp' ? 'proto' : ports?.value.includes(0) ? 'ports' : null);
  if (mode === 'proxy' && special !== null) {
    errors.add(at(special), 'mode proxy serves TCP at an address and a port', 'choose a mode of layer 4');
  }
  if (proto === 'icmp' && ports && ports.value.some((port) => port !== 0)) {
    errors.add(ports, 'ICMP has no ports', 'leave it out');
  }
  checkSnat(draft, service, mode);
  if (rule !== null || ports?.value.includes(0) || mode === 'snat') return;
  for (const { server } of service.dests) {
    if (server.value.port === 0 && proto !== 'icmp') {
      const message = `${formatIpv4(server.value.ip)} has no port`;
      errors.add(server, message, 'write one: port 0 is for services of all ports, of a mark or a match');
    }
  }
}

function checkSnat({ errors }: Draft, service: DraftService, mode: Mode): void {
  const at = (key: string): Where => ({ ...service.where, key });
  if (mode !== 'snat') {
    for (const { keys } of service.dests) {
      if (keys.mode?.value === 'snat') errors.add(keys.mode, 'mode snat has no servers', 'choose another mode');
    }
    if (service.check === null || service.check.port !== null) return;
    const portless = service.dests.find(({ server }) => server.value.port === 0);
    if (portless) errors.add(portless.server, 'a check needs a port', 'add check_port');
    return;
  }
  if (!service.match) errors.add(at('match'), 'mode snat needs a match', 'add match = from=10.1.0.0/16');
  if (service.persistence !== null)
    errors.add(at('persistence'), 'mode snat has no servers to remember', 'leave it out');
  for (const { server } of service.dests.slice(0, 1)) errors.add(server, 'mode snat has no servers', 'leave them out');
  if (service.backup) errors.add(service.backup, 'mode snat has no servers', 'leave it out');
}

/** All addresses that clients ask for. */
export function vipsOf(draft: Draft): Located<Ipv4>[] {
  return [...draft.services.flatMap((service) => (service.vip ? [service.vip] : [])), ...markedAddresses(draft)];
}
