/**
 * `-S`: the table as command lines that make it again, nothing lost. What LVS has is written as the real tool writes it; what that leaves
 * out (thresholds, DPVS's options, local addresses, deny and allow lists) follows on the same lines, or on lines of its own.
 */
import { formatAddress } from './address.ts';
import { subjectText } from './dpvs-lists.ts';
import { endpointName, maskText, passiveText, protocolOf } from './format.ts';
import { formatMatchOption } from './match-text.ts';
import type { Names } from './names.ts';
import type { DestCheck, DestSettings, Forward, ServiceId, ServiceSettings } from './ops.ts';
import { sortDests, sortServices } from './order.ts';
import { formatSchedFlags } from './sched-flags.ts';
import type { Dest, Service, Table } from './table.ts';

const SERVICE_OPTION = { tcp: '-t', udp: '-u', sctp: '--sctp-service', icmp: '-q', icmpv6: '-1' } as const;
const FORWARD_OPTION: Readonly<Record<Forward, string>> = {
  masq: '-m',
  tunnel: '-i',
  route: '-g',
  fullnat: '-b',
  snat: '-J',
};
/** A saved name is never cut: a cut one would not come back. */
const NEVER = Number.POSITIVE_INFINITY;

export function formatRules({ services }: Pick<Table, 'services'>, numeric: boolean, names: Names): string {
  return sortServices(services)
    .flatMap((service) => linesOf(service, numeric, names))
    .map((line) => `${line}\n`)
    .join('');
}

function linesOf(service: Service, numeric: boolean, names: Names): string[] {
  const { id, settings, laddrs, deny, allow } = service;
  const name = serviceOption(id, numeric, names);
  const server = (dest: Dest): string => endpointName(dest, protocolOf(id), numeric, names, NEVER);
  return [
    `-A ${name} ${serviceOptions(id, settings)}`,
    ...sortDests(service.dests).map((dest) => `-a ${name} -r ${server(dest)} ${serverOptions(dest.settings)}`),
    ...laddrs.map(({ address, device }) => `-P ${name} -z ${formatAddress(address)} -F ${device}`),
    ...deny.map((subject) => `-U ${name} -k ${subjectText(subject)}`),
    ...allow.map((subject) => `-O ${name} -2 ${subjectText(subject)}`),
  ];
}

function serviceOption(id: ServiceId, numeric: boolean, names: Names): string {
  switch (id.kind) {
    case 'fwmark':
      return `-f ${id.mark}${id.family === 6 ? ' -6' : ''}`;
    case 'match':
      return `-H ${formatMatchOption(id)}`;
    case 'address':
      return `${SERVICE_OPTION[id.protocol]} ${endpointName(id, id.protocol, numeric, names, NEVER)}`;
  }
}

function serviceOptions(id: ServiceId, settings: ServiceSettings): string {
  const words = [`-s ${settings.scheduler}`];
  if (settings.persistSec > 0) {
    words.push(`-p ${settings.persistSec}`);
    const mask = maskText(id, settings.mask);
    if (mask !== '') words.push(`-M ${mask}`);
  }
  if (settings.pe !== '') words.push(`--pe ${settings.pe}`);
  if (settings.ops) words.push('-o');
  if (settings.schedFlags !== 0) words.push(`-b ${formatSchedFlags(settings.scheduler, settings.schedFlags)}`);
  if (settings.hashTarget !== null && settings.hashTarget !== 'sip') words.push(`--hash-target ${settings.hashTarget}`);
  if (settings.synproxy) words.push('-j enable');
  if (settings.connTimeoutSec > 0) words.push(`--conn-timeout ${settings.connTimeoutSec}`);
  if (settings.proxyProtocol !== 'disable') words.push(`--proxy-protocol ${settings.proxyProtocol}`);
  if (settings.expireQuiescent) words.push('--expire-quiescent');
  if (settings.quic) words.push('--quic');
  return [...words, ...checkOptions(settings.destCheck)].join(' ');
}

function checkOptions(check: DestCheck | null): string[] {
  if (check === null) return [];
  const passive = check.passive === null ? [] : [passiveText(check.passive)];
  return [...passive, ...check.active].map((value) => `--dest-check ${value}`);
}

function serverOptions({ forward, weight, upper, lower, tunnel }: DestSettings): string {
  const words = [FORWARD_OPTION[forward], `-w ${weight}`];
  if (forward === 'tunnel') words.push(`--tun-type ${tunnel.type}`);
  if (forward === 'tunnel' && tunnel.type === 'gue') words.push(`--tun-port ${tunnel.port}`);
  if (forward === 'tunnel' && tunnel.type !== 'ipip') words.push(`--tun-${tunnel.checksum}`);
  if (upper > 0) words.push(`-x ${upper}`);
  if (lower > 0) words.push(`-y ${lower}`);
  return words.join(' ');
}
