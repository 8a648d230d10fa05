/**
 * The model as lb.conf text that loads to an equal model. Written in the general form, a [service NAME] per service, with
 * every key that has a say spelled out, so a saved file does not change its meaning when a default does.
 *
 * lb.conf names a server by its position: load gives names server1, server2, ... and so do files saved from other front ends.
 */
import { formatIpv4, netmaskOf } from './address.ts';
import {
  type Config,
  type DestConfig,
  type LinkConfig,
  SCHEDULER_KEYS,
  type ServiceConfig,
  schedulerKeys,
} from './model.ts';
import { formatDuration } from './values.ts';

type Line = readonly [key: string, value: string | number];

/** The text of a valid model. */
export function save(config: Config): string {
  const { global, network } = config;
  const sections = [
    section('global', [
      ['mode', global.mode],
      ['log_level', global.logLevel],
      ...(global.controlSocket === null ? [] : [['control_socket', global.controlSocket] as const]),
      ['workers', global.workers],
      ['drain_timeout', formatDuration(global.drainTimeoutMs)],
      ['xmit_ttl', global.xmitTtl ? 'on' : 'off'],
    ]),
    ...config.links.map(saveLink),
    section('network', [
      ...(network.gateway === null ? [] : [['gateway', formatIpv4(network.gateway)] as const]),
      ['netmask', formatIpv4(netmaskOf(network.prefixLen))],
      ...(network.localAddresses.length === 0
        ? []
        : [['local_address', network.localAddresses.map(formatIpv4).join(', ')] as const]),
    ]),
    ...config.services.map(saveService),
  ];
  return sections.join('\n');
}

function section(title: string, lines: readonly Line[]): string {
  return [`[${title}]`, ...lines.map(([key, value]) => `${key} = ${value}`), ''].join('\n');
}

function saveLink(link: LinkConfig): string {
  const { kind, device, offload, mac, mtu } = link;
  return section(`link ${link.name}`, Object.entries({ kind, device, offload, mac, mtu }));
}

function saveService(service: ServiceConfig): string {
  const { scheduler, schedOptions, timeouts, dests } = service;
  return section(`service ${service.name}`, [
    ['ip', formatIpv4(service.vip)],
    ['ports', service.port],
    ['proto', service.proto],
    ['mode', service.mode],
    ['scheduler', scheduler],
    ...schedulerKeys(scheduler).map((key) => [key, schedOptions[SCHEDULER_KEYS[key].option]] as const),
    ['connect_timeout', formatDuration(timeouts.connectMs)],
    ['client_timeout', formatDuration(timeouts.clientMs)],
    ['server_timeout', formatDuration(timeouts.serverMs)],
    ['fin_timeout', formatDuration(timeouts.finMs)],
    ['retries', service.retries],
    ...(service.localAddresses.length === 0
      ? []
      : [['local_address', service.localAddresses.map(formatIpv4).join(', ')] as const]),
    ['mss_clamp', service.mssClamp],
    ['expire_quiescent', service.expireQuiescent ? 'on' : 'off'],
    ['count', dests.length],
    ...dests.map((dest, i) => [`server${i + 1}`, serverText(dest)] as const),
  ]);
}

function serverText({ ip, port, weight, mac }: DestConfig): string {
  return `${formatIpv4(ip)}:${port}:${weight}:${mac ?? '00:00:00:00:00:00'}`;
}
