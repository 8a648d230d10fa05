/** DPVS's listings of local addresses (-G) and of deny and allow lists (-B, -W). Addresses only, never names. */
import { bracketed, formatAddress } from './address.ts';
import { formatMatchOption } from './match-text.ts';
import type { ListName, ServiceId, Subject } from './ops.ts';
import type { Service } from './table.ts';

export function formatLocals(services: readonly Service[]): string {
  const row = (...cells: [string, string, string, string, string]): string =>
    `${cells.map((cell, i) => cell.padEnd([20, 8, 20, 10, 10][i] ?? 0)).join(' ')}\n`;
  const title = row('VIP:VPORT', 'TOTAL', 'SNAT_IP', 'CONFLICTS', 'CONNS');
  const ofService = ({ id, laddrs }: Service): string =>
    `${serviceText(id).padEnd(20)} ${String(laddrs.length).padEnd(8)} \n` +
    laddrs
      .map(({ address, conflicts, conns }) => row('', '', formatAddress(address), String(conflicts), String(conns)))
      .join('');
  return title + services.map(ofService).join('');
}

export function formatSubjects(services: readonly Service[], list: ListName): string {
  const row = (protocol: string, service: string, subject: string): string =>
    `${protocol.padEnd(8)} ${service.padEnd(30)} ${subject.padEnd(30)}\n`;
  const title = row('PROTO', 'VIP:VPORT', list === 'deny' ? 'BLACKLIST' : 'WHITELIST');
  const ofService = (service: Service): string =>
    service[list]
      .map((subject) => row(protocolText(service.id), serviceText(service.id), subjectText(subject)))
      .join('');
  return title + services.map(ofService).join('');
}

/** As -k and -2 take it. */
export const subjectText = (subject: Subject): string =>
  subject.kind === 'ipset' ? `ipset:${subject.name}` : formatAddress(subject.address);

function protocolText(id: ServiceId): string {
  if (id.kind === 'fwmark') return 'FWM';
  return id.protocol === 'icmpv6' ? 'ICMPv6' : id.protocol.toUpperCase();
}

function serviceText(id: ServiceId): string {
  switch (id.kind) {
    case 'address':
      return `${bracketed(id.address)}:${id.port}`;
    case 'fwmark':
      return String(id.mark);
    case 'match':
      return formatMatchOption(id);
  }
}
