/**
 * The model as lb.conf text that loads to an equal model. Written in the general form, a [service NAME] per service, with
 * every key that has a say spelled out, so a saved file does not change its meaning when a default does.
 *
 * lb.conf names a server by its position: load gives names server1, server2, ... and so do files saved from other front ends.
 */
import { formatIpv4, formatNetwork, netmaskOf } from './address.ts';
import { formatDuration } from './duration.ts';
import { formatMatch } from './match.ts';
import {
  type Cidr,
  type Config,
  type DestConfig,
  type GlobalConfig,
  type Ipv4,
  type LinkConfig,
  type MarkConfig,
  type MemifConfig,
  type NetworkConfig,
  type PersistenceConfig,
  SCHEDULER_KEYS,
  type ServiceConfig,
  schedulerKeys,
} from './model.ts';
import { checkLines } from './rows/check.ts';
import { serviceTcpLines, tcpLines } from './rows/tcp.ts';

/** A key and what it is set to, as a section of the file has them. */
export type Line = readonly [key: string, value: string | number];

/** The text of a valid model. */
export function save(config: Config): string {
  const sections = [
    section('global', globalLines(config.global)),
    section('tcp', tcpLines(config.tcp)),
    ...config.links.map((link) => section(`link ${link.name}`, linkLines(link))),
    section('network', networkLines(config.network)),
    ...config.marks.map((mark) => section(`mark ${mark.name}`, markLines(mark))),
    ...config.services.map(saveService),
  ];
  return sections.join('\n');
}

function section(title: string, lines: readonly Line[]): string {
  return [`[${title}]`, ...lines.map(([key, value]) => `${key} = ${value}`), ''].join('\n');
}

export function globalLines(global: GlobalConfig): Line[] {
  return [
    ['mode', global.mode],
    ['log_level', global.logLevel],
    ...(global.controlSocket === null ? [] : [['control_socket', global.controlSocket] as const]),
    ['control_mode', global.controlMode],
    ...optional('control_group', global.controlGroup),
    ...optional('user', global.user),
    ...optional('group', global.group),
    ...(global.keepCapabilities ? [['keep_capabilities', 'on'] as const] : []),
    ['workers', global.workers === 0 ? 'auto' : global.workers],
    ['polling', global.polling],
    ...(global.accessLog === null ? [] : [['access_log', global.accessLog] as const]),
    ['drain_timeout', formatDuration(global.drainTimeoutMs)],
    ['slow_start', formatDuration(global.slowStartMs)],
    ['xmit_ttl', global.xmitTtl ? 'on' : 'off'],
    ['layer4', global.layer4 ? 'on' : 'auto'],
    ...(global.ipipFrom.length === 0 ? [] : [['ipip_from', global.ipipFrom.map(cidrText).join(', ')] as const]),
    ['timeout_profile', global.timeoutProfile],
    ...timeoutLine('tcp_timeout', global.connTimeouts.tcpMs),
    ...timeoutLine('tcp_fin_timeout', global.connTimeouts.tcpFinMs),
    ...timeoutLine('udp_timeout', global.connTimeouts.udpMs),
  ];
}

const timeoutLine = (key: string, ms: number | null): Line[] => (ms === null ? [] : [[key, formatDuration(ms)]]);

const optional = (key: string, value: string | null): Line[] => (value === null ? [] : [[key, value]]);

export function linkLines(link: LinkConfig): Line[] {
  const { kind, device, offload, xdpMode, memif, mac, mtu, addresses, routes, exception } = link;
  const list = (key: string, items: readonly string[]): Line[] => (items.length === 0 ? [] : [[key, items.join(', ')]]);
  return [
    ...Object.entries({ kind, device, offload, xdp_mode: xdpMode, ...(mac === null ? {} : { mac }), mtu }),
    ...memifLines(memif),
    ...list(
      'address',
      addresses.map(({ ip, prefixLen }) => `${formatIpv4(ip)}/${prefixLen}`),
    ),
    ...list(
      'routes',
      routes.map((route) => `${cidrText(route)} via ${formatIpv4(route.gateway)}`),
    ),
    ...(exception === null ? [] : [['exception', `tap:${exception}`] as const]),
  ];
}

const memifLines = ({ role, id, secret, queues, ring }: MemifConfig): Line[] => [
  ...Object.entries({ memif_role: role, memif_id: id, memif_queues: queues, memif_ring: ring }),
  ...optional('memif_secret', secret === '' ? null : secret),
];

export function networkLines({ gateway, prefixLen, localAddresses }: NetworkConfig): Line[] {
  return [
    ...(gateway === null ? [] : [['gateway', formatIpv4(gateway)] as const]),
    ['netmask', formatIpv4(netmaskOf(prefixLen))],
    ...localLines(localAddresses),
  ];
}

/** What a service is set to, apart from its name, address, port, protocol and servers. */
export function serviceLines(service: Omit<ServiceConfig, 'dests'>, mayNeedLocals = service.mode === 'fnat'): Line[] {
  const { scheduler, schedOptions, timeouts } = service;
  return [
    ['mode', service.mode],
    ['scheduler', scheduler],
    ...schedulerKeys(scheduler).map((key) => [key, schedOptions[SCHEDULER_KEYS[key].option] ?? ''] as const),
    ['connect_timeout', formatDuration(timeouts.connectMs)],
    ['client_timeout', formatDuration(timeouts.clientMs)],
    ['server_timeout', formatDuration(timeouts.serverMs)],
    ['fin_timeout', formatDuration(timeouts.finMs)],
    ...serviceTcpLines(service),
    ['retries', service.retries],
    ...(service.localAddresses.length === 0 && mayNeedLocals
      ? [['local_address', 'none'] as const]
      : localLines(service.localAddresses)),
    ['mss_clamp', service.mssClamp],
    ['timestamps', service.timestamps],
    ['conn_timeout', formatDuration(service.connTimeoutMs)],
    ['expire_quiescent', service.expireQuiescent],
    ...persistenceLines(service.persistence),
    ['one_packet', service.onePacket ? 'on' : 'off'],
    ['fragments', service.fragments],
    ...checkLines(service.check),
    ['slow_start', formatDuration(service.slowStartMs)],
    ['max_connections', service.maxConnections],
    ['queue_timeout', formatDuration(service.queueTimeoutMs)],
    ['proxy_protocol', service.proxyProtocol],
    ...(service.acceptProxy.length === 0
      ? []
      : [['accept_proxy', service.acceptProxy.map(cidrText).join(', ')] as const]),
    ...(service.backup === null ? [] : [['backup', serverText(service.backup)] as const]),
  ];
}

function localLines(addresses: readonly Ipv4[]): Line[] {
  return addresses.length === 0 ? [] : [['local_address', addresses.map(formatIpv4).join(', ')]];
}

function persistenceLines(persistence: PersistenceConfig | null): Line[] {
  if (persistence === null) return [['persistence', '0']];
  return [
    ['persistence', formatDuration(persistence.timeoutMs)],
    ['persistence_netmask', formatIpv4(persistence.netmask)],
    ['expire_quiescent_template', persistence.expireQuiescent ? 'on' : 'off'],
  ];
}

function saveService(service: ServiceConfig): string {
  const { dests } = service;
  return section(`service ${service.name}`, [
    ...placeLines(service),
    ...serviceLines(
      service,
      [service, ...dests].some(({ mode }) => mode === 'fnat' || mode === 'snat'),
    ),
    ['count', dests.length],
    ...dests.flatMap((dest, i): Line[] => serverLines(dest, i + 1)),
  ]);
}

function placeLines({ proto, vip, port, match }: ServiceConfig): Line[] {
  if (proto === 'mark') return [['mark', vip >>> 0]];
  if (match !== null) return [['match', formatMatch(match)]];
  return [
    ['ip', formatIpv4(vip)],
    ['ports', port],
    ['proto', proto],
  ];
}

export const markLines = ({ mark, match }: MarkConfig): Line[] => [
  ['mark', mark],
  ['match', formatMatch(match)],
];

function serverLines(dest: DestConfig, number: number): Line[] {
  const { name, mode, upper, lower } = dest;
  const key = `server${number}`;
  return [
    [key, serverText(dest)],
    ...(name === key ? [] : [[`${key}_name`, name] as const]),
    ...(mode === undefined ? [] : [[`${key}_mode`, mode] as const]),
    ...(upper === undefined ? [] : [[`${key}_upper`, upper] as const]),
    ...(lower === undefined ? [] : [[`${key}_lower`, lower] as const]),
  ];
}

const cidrText = ({ network, prefixLen }: Cidr): string => formatNetwork(network, prefixLen);

function serverText({ ip, port, weight, mac }: DestConfig): string {
  return `${formatIpv4(ip)}:${port}:${weight}:${mac ?? '00:00:00:00:00:00'}`;
}
