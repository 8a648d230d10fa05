/**
 * The listings of services and servers, and the smaller ones: `-L` with --stats, --rate, --thresholds, --persistent-conn, --tun-info,
 * --timeout, --daemon. Text as the real tool prints it, trailing blanks included. Pure: a snapshot in, text out.
 */
import { bracketed, formatWord } from './address.ts';
import { formatMatch } from './match-text.ts';
import type { Names, Protocol } from './names.ts';
import {
  type Daemon,
  DEFAULT_PASSIVE_CHECK,
  type DestSettings,
  type Endpoint,
  type Forward,
  type ListFormat,
  type ServiceId,
  type ServiceSettings,
  type Timeouts,
} from './ops.ts';
import { sortDests, sortServices } from './order.ts';
import { formatSchedFlags } from './sched-flags.ts';
import type { Dest, Service, Snapshot, Stats } from './table.ts';

/** A name and its port are cut here in listings of IPv4 services... */
const SHORT_NAME = 28;
/** ...and here in listings of connections. */
export const LONG_NAME = 59;

const FORWARD_NAMES: Readonly<Record<Forward, string>> = {
  masq: 'Masq',
  tunnel: 'Tunnel',
  route: 'Route',
  fullnat: 'FullNat',
  snat: 'SNAT',
};
const TUNNEL_CHECKSUM = { nocsum: '-c', csum: '+c', remcsum: 'r+c' } as const;

/** All services, under the line that says what answers. */
export function formatServices(snapshot: Snapshot, format: ListFormat, names: Names): string {
  const services = format.nosort ? snapshot.services : sortServices(snapshot.services);
  const head = `IP Virtual Server version 1.2.1 (size=${snapshot.tableSize})\n`;
  return head + title(format) + services.map((service) => formatService(service, format, names)).join('');
}

/** One service that was asked for. */
export function formatOneService(service: Service, format: ListFormat, names: Names): string {
  return title(format) + formatService(service, format, names);
}

export function formatTimeouts({ tcp, tcpfin, udp }: Timeouts): string {
  return `Timeout (tcp tcpfin udp): ${tcp} ${tcpfin} ${udp}\n`;
}

/** The master's line first. */
export function formatDaemons(daemons: readonly Daemon[]): string {
  return [...daemons]
    .sort((a, b) => Number(a.role === 'backup') - Number(b.role === 'backup'))
    .map(
      ({ role, device, syncId, maxLen, group, port, ttl }) =>
        `${role} sync daemon (mcast=${device}, syncid=${syncId}, maxlen=${maxLen}, group=${group}, port=${port}, ttl=${ttl})\n`,
    )
    .join('');
}

function title({ stats, rate, thresholds, persistentConn, tunInfo }: ListFormat): string {
  const columns = (texts: string[], cell: (text: string, i: number) => string): string =>
    `${'Prot LocalAddress:Port'.padEnd(33)} ${texts.map(cell).join(' ')}\n  -> RemoteAddress:Port\n`;
  if (stats) return columns(['Conns', 'InPkts', 'OutPkts', 'InBytes', 'OutBytes'], (text) => text.padStart(8));
  if (rate) return columns(['CPS', 'InPPS', 'OutPPS', 'InBPS', 'OutBPS'], (text) => text.padStart(8));
  if (thresholds) {
    return columns(['Uthreshold', 'Lthreshold', 'ActiveConn', 'InActConn'], (text) => text.padEnd(10));
  }
  if (persistentConn) {
    const widths = [9, 11, 10, 10];
    return columns(['Weight', 'PersistConn', 'ActiveConn', 'InActConn'], (text, i) => text.padEnd(widths[i] ?? 0));
  }
  const tunnel = tunInfo ? ' TunnelInfo   ' : '';
  return `Prot LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward${tunnel} Weight ActiveConn InActConn\n`;
}

function formatService(service: Service, format: ListFormat, names: Names): string {
  const dests = format.nosort ? service.dests : sortDests(service.dests);
  return serviceLine(service, format, names) + dests.map((dest) => destLine(service, dest, format, names)).join('');
}

function serviceLine({ id, settings, stats }: Service, format: ListFormat, names: Names): string {
  const name = serviceName(id, format.numeric, names);
  if (format.stats) return `${name.padEnd(33)}${totals(stats, format.exact)}\n`;
  if (format.rate) return `${name.padEnd(33)}${rates(stats, format.exact)}\n`;
  return `${name} ${settings.scheduler}${flagsText(id, settings)}\n`;
}

function serviceName(id: ServiceId, numeric: boolean, names: Names): string {
  if (id.kind === 'fwmark') return `FWM  ${id.mark}${id.family === 6 ? ' IPv6' : ''}`;
  if (id.kind === 'match') return `MATCH ${formatMatch(id)}`;
  const protocol = id.protocol === 'icmpv6' ? 'ICMPv6' : id.protocol.toUpperCase();
  const name = `${protocol.padEnd(4)} ${endpointName(id, id.protocol, numeric, names)}`;
  return id.address.family === 6 ? name : name.slice(0, 5 + SHORT_NAME);
}

/** `host:port`, at most `cut` characters; names only where `numeric` is off and there is one. */
export function endpointName(
  { address, port }: Endpoint,
  protocol: Protocol | null,
  numeric: boolean,
  names: Names,
  cut = LONG_NAME,
): string {
  const host = numeric ? null : names.hostOf(address);
  const service = numeric || protocol === null ? null : names.serviceOf(port, protocol);
  const shown = host === null ? bracketed(address) : address.family === 6 ? `[${host}]` : host;
  return `${shown}:${service ?? port}`.slice(0, cut);
}

export const protocolOf = (id: ServiceId): Protocol =>
  id.kind === 'fwmark' || id.protocol === 'any' ? 'tcp' : id.protocol;

export const familyOf = (id: ServiceId): 4 | 6 => (id.kind === 'address' ? id.address.family : id.family);

/** The mask as -M takes it; '' where it is one client's own. */
export function maskText(id: ServiceId, mask: number): string {
  if (familyOf(id) === 6) return mask === 128 ? '' : String(mask);
  return mask === -1 ? '' : formatWord(mask);
}

function flagsText(id: ServiceId, settings: ServiceSettings): string {
  const texts: string[] = [];
  if (settings.hashTarget !== null) texts.push(settings.hashTarget);
  if (settings.schedFlags !== 0) texts.push(`(${formatSchedFlags(settings.scheduler, settings.schedFlags)})`);
  if (settings.persistSec > 0) {
    texts.push(`persistent ${settings.persistSec}`);
    const mask = maskText(id, settings.mask);
    if (mask !== '') texts.push(`mask ${mask}`);
    if (settings.pe !== '') texts.push(`pe ${settings.pe}`);
  }
  if (settings.ops) texts.push('ops');
  if (settings.synproxy) texts.push('synproxy');
  if (settings.connTimeoutSec > 0) texts.push(`conn-timeout ${settings.connTimeoutSec}`);
  if (settings.proxyProtocol !== 'disable') texts.push(`pp${settings.proxyProtocol}`);
  if (settings.expireQuiescent) texts.push('expire-quiescent');
  if (settings.quic) texts.push('quic');
  if (settings.destCheck !== null) texts.push(`dest-check ${checkText(settings.destCheck)}`);
  return texts.map((text) => ` ${text}`).join('');
}

function checkText({ passive, active }: NonNullable<ServiceSettings['destCheck']>): string {
  const parts: string[] = [];
  if (passive !== null)
    parts.push(`internal:${passiveText(passive).replace(passiveText(DEFAULT_PASSIVE_CHECK), 'default')}`);
  if (active.length > 0) parts.push(`external:${active.join(',')}`);
  return parts.join(' ');
}

/** As --dest-check takes it. */
export function passiveText(check: typeof DEFAULT_PASSIVE_CHECK): string {
  const { downRetries, upConfirms, downWaitSec, inhibitMinSec, inhibitMaxSec } = check;
  if (upConfirms === 0) return `${downRetries},${downWaitSec}s`;
  return `${downRetries},${upConfirms},${downWaitSec}s,${inhibitMinSec}-${inhibitMaxSec}s`;
}

function destLine(service: Service, dest: Dest, format: ListFormat, names: Names): string {
  const cut = familyOf(service.id) === 6 ? LONG_NAME : SHORT_NAME;
  const name = endpointName(dest, protocolOf(service.id), format.numeric, names, cut);
  const { settings, stats, activeConns, inactConns } = dest;
  const head = `  -> ${name.padEnd(28)}`;
  const cell = (value: string | number, width: number): string => ` ${String(value).padEnd(width)}`;
  const counts = cell(activeConns, 10) + cell(inactConns, 10);
  if (format.stats) return `${head}${totals(stats, format.exact)}\n`;
  if (format.rate) {
    const packets = [stats.cps, stats.inPps, stats.outPps].map((value) => ` ${String(value).padStart(8)}`).join('');
    return `${head}${packets}${scaled(stats.inBps, format.exact)}${scaled(stats.outBps, format.exact)}\n`;
  }
  if (format.thresholds) return `${head}${cell(settings.upper, 10)}${cell(settings.lower, 10)}${counts}\n`;
  if (format.persistentConn) return `${head}${cell(settings.weight, 9)}${cell(dest.persistConns, 11)}${counts}\n`;
  const tunnel = format.tunInfo ? cell(tunnelText(settings), 13) : '';
  const marks = [dest.inhibited && 'inhibited', dest.overloaded && 'overload'].filter((mark) => mark !== false);
  const tail = marks.length > 0 ? ` ${marks.join(',')}` : '';
  return `${head}${cell(FORWARD_NAMES[settings.forward], 7)}${tunnel}${cell(settings.weight, 6)}${counts}${tail}\n`;
}

function tunnelText({ forward, tunnel }: DestSettings): string {
  if (forward !== 'tunnel') return 'n/a';
  const checksum = TUNNEL_CHECKSUM[tunnel.checksum];
  if (tunnel.type === 'gue') return `gue:${tunnel.port}:${checksum}`;
  return tunnel.type === 'gre' ? `gre:${checksum}` : 'ipip';
}

const totals = ({ conns, inPkts, outPkts, inBytes, outBytes }: Stats, exact: boolean): string =>
  [conns, inPkts, outPkts, inBytes, outBytes].map((value) => scaled(value, exact)).join('');

const rates = ({ cps, inPps, outPps, inBps, outBps }: Stats, exact: boolean): string =>
  [cps, inPps, outPps, inBps, outBps].map((value) => scaled(value, exact)).join('');

/** Below each limit: the divisor and the letter. Cut, not rounded. */
const SCALES = [
  [10n ** 8n, 1n, ''],
  [10n ** 9n, 10n ** 3n, 'K'],
  [10n ** 11n, 10n ** 6n, 'M'],
  [10n ** 14n, 10n ** 9n, 'G'],
] as const;

/** Nine columns; an exact number may grow out of them, after one blank. */
export function scaled(value: bigint, exact: boolean): string {
  if (exact) return ` ${String(value).padStart(8)}`;
  const [, divisor, letter] = SCALES.find(([limit]) => value < limit) ?? [0n, 10n ** 12n, 'T'];
  return `${value / divisor}${letter}`.padStart(9);
}
