/**
 * lb.conf text to a draft: sections and their names, then each section's keys by the schema. What concerns several
 * sections at once is judged in check.ts.
 */

import { dirname, resolve } from 'node:path';
import type { Draft, DraftDest, DraftLink, DraftMark, DraftNetwork, DraftService } from './draft.ts';
import { clip, ErrorList, type Located, type Where } from './error.ts';
import { type IniSection, indexIni } from './ini-index.ts';
import {
  type Ipv4,
  isSchedulerFile,
  type Mode,
  type PersistenceConfig,
  SCHEDULER_KEYS,
  schedulerKeys,
} from './model.ts';
import { nearest } from './nearest.ts';
import { readSection, type SectionReading, type SectionValues, whereIs } from './read-section.ts';
import { readCheck } from './rows/check.ts';
import type { Rows } from './rows/row.ts';
import { readServiceTcp, readTcp } from './rows/tcp.ts';
import { SCHEMA, type SectionKind } from './schema.ts';

const KINDS = Object.keys(SCHEMA) as SectionKind[];
const NAME = /^[A-Za-z0-9._:-]{1,64}$/;

/** Reads lb.conf. Never throws; errors are collected in the draft. `errors` may be shared with another front end's. */
export function readLbConf(text: string, file: string, errors = new ErrorList()): Draft {
  const index = indexIni(text);
  for (const problem of index.problems) errors.add({ file, ...problem }, problem.message, problem.hint);
  const end: Where = { file, line: index.lastLine, column: 1, section: '', key: '' };
  const byKind = sortSections(index.sections, file, errors);
  /** A file without one readable section has one problem, not five. */
  const readable = byKind.size > 0 || index.problems.length === 0;

  const one = <K extends SectionKind>(kind: K): SectionReading<(typeof SCHEMA)[K]['rows']> | null => {
    const section = byKind.get(kind)?.[0];
    return section ? readComplete(file, section, SCHEMA[kind].rows, errors) : null;
  };
  const missingSection = (kind: SectionKind, hint: string): void => {
    if (readable) errors.add({ ...end, section: kind }, 'section is missing', hint);
  };

  const globals = (one('global') ?? readSection(file, blank('global'), SCHEMA.global.rows, errors)).values;
  if (globals.group && !globals.user)
    errors.add(globals.group, 'a group without a user', 'add user = tsvs, or leave it out');
  if (globals.keep_capabilities?.value === 'on' && !globals.user)
    errors.add(globals.keep_capabilities, 'nothing is given up without a user', 'add user = tsvs, or leave it out');
  const tcp = (one('tcp') ?? readSection(file, blank('tcp'), SCHEMA.tcp.rows, errors)).values;
  const vip = one('vip');
  const servers = one('realserver');
  const services = (byKind.get('service') ?? []).map((section) =>
    readService(file, section, globals.mode?.value ?? 'proxy', errors),
  );
  if (vip && servers) services.unshift(plainService(file, vip, servers, errors));
  else if (vip) missingSection('realserver', 'add [realserver] with the servers behind [vip]');
  else if (servers) {
    checkServers(servers, errors);
    missingSection('vip', 'add [vip] with the address that clients connect to');
  } else if (services.length === 0 && globals.layer4?.value !== 'on' && !globals.ipip_from) {
    missingSection('vip', 'add [vip] and [realserver], or a [service NAME]');
  }

  return {
    file,
    errors,
    global: {
      mode: globals.mode?.value ?? 'proxy',
      logLevel: globals.log_level?.value ?? 'info',
      controlMode: globals.control_mode?.value ?? '0660',
      controlGroup: globals.control_group?.value ?? null,
      user: globals.user?.value ?? null,
      group: globals.group?.value ?? null,
      keepCapabilities: globals.keep_capabilities?.value === 'on',
      controlSocket: globals.control_socket?.value ?? null,
      workers: globals.workers?.value ?? 1,
      polling: globals.polling?.value ?? 'adaptive',
      accessLog: accessLog(globals.access_log?.value),
      drainTimeoutMs: globals.drain_timeout?.value ?? 0,
      slowStartMs: globals.slow_start?.value ?? 0,
      xmitTtl: globals.xmit_ttl?.value === 'on',
      layer4: globals.layer4?.value === 'on',
      ipipFrom: globals.ipip_from?.value ?? [],
      timeoutProfile: globals.timeout_profile?.value ?? 'dpvs',
      connTimeouts: {
        tcpMs: globals.tcp_timeout?.value ?? null,
        tcpFinMs: globals.tcp_fin_timeout?.value ?? null,
        udpMs: globals.udp_timeout?.value ?? null,
      },
    },
    tcp: readTcp(tcp),
    links: (byKind.get('link') ?? []).map((section) => readLink(file, section, errors)),
    network: readNetwork(file, byKind.get('network')?.[0], readable ? end : null, errors),
    vipMac: vip?.values.mac ?? null,
    marks: (byKind.get('mark') ?? []).map((section) => readMark(file, section, errors)),
    services,
  };
}

/**
 * Sections by kind, complaining about unknown, repeated and badly named ones. A mistyped section counts as the kind it resembles, so
 * that what is wrong inside it is listed too and nothing is called missing because of it.
 */
function sortSections(
  sections: readonly IniSection[],
  file: string,
  errors: ErrorList,
): Map<SectionKind, IniSection[]> {
  const byKind = new Map<SectionKind, IniSection[]>();
  for (const section of sections) {
    const where = whereIs(file, section);
    for (const line of section.repeatedAt) {
      errors.add(
        { ...where, line },
        `duplicate section, first in line ${section.line}`,
        'put all its keys in one place',
      );
    }
    const exact = KINDS.find((known) => known === section.kind);
    const kind = exact ?? (nearest(section.kind, KINDS) as SectionKind | null);
    if (!exact) {
      const hint = kind ? `did you mean ${heading(kind)}?` : `known sections: ${KINDS.map(heading).join(', ')}`;
      errors.add(where, 'unknown section', hint);
    } else if (SCHEMA[exact].named && section.name === '') {
      errors.add(where, 'has no name', `write ${heading(exact)}`);
    } else if (SCHEMA[exact].named && !NAME.test(section.name)) {
      errors.add(where, `'${clip(section.name)}' is not a name`, 'use up to 64 letters, digits and . _ : -');
    } else if (!SCHEMA[exact].named && section.name !== '') {
      errors.add(where, 'takes no name', `write ${heading(exact)}`);
    }
    if (kind) byKind.set(kind, [...(byKind.get(kind) ?? []), section]);
  }
  return byKind;
}

function heading(kind: SectionKind): string {
  return SCHEMA[kind].named ? `[${kind} NAME]` : `[${kind}]`;
}

/** A section that nobody wrote, to take the defaults from. */
function blank(kind: SectionKind): IniSection {
  return { title: kind, kind, name: '', line: 0, column: 0, repeatedAt: [], entries: [] };
}

/** readSection, with missing keys complained about at once. */
function readComplete<R extends Rows>(
  file: string,
  section: IniSection,
  rows: R,
  errors: ErrorList,
): SectionReading<R> {
  const reading = readSection(file, section, rows, errors);
  for (const key of reading.missing) {
    // The netmask may come from another file; servers are counted by checkServers.
    if (key !== 'netmask') complainMissing(reading, key, rows, errors);
  }
  return reading;
}

function complainMissing(reading: SectionReading<Rows>, key: string, rows: Rows, errors: ErrorList): void {
  const example = key === 'count' && reading.servers.size > 0 ? String(reading.servers.size) : rows[key].example;
  errors.add({ ...reading.where, key }, 'key is missing', `add ${key} = ${example}`);
}

/** The network as far as lb.conf tells it; `end` is where a missing section is complained about, null not to. */
function readNetwork(
  file: string,
  section: IniSection | undefined,
  end: Where | null,
  errors: ErrorList,
): DraftNetwork {
  const hint = `add netmask = ${SCHEMA.network.rows.netmask.example}`;
  if (!section) {
    const netmaskMissing = end && {
      where: { ...end, section: 'network' },
      message: 'section is missing',
      hint: `add [network] with gateway and netmask`,
    };
    return { gateway: null, prefixLen: null, netmaskMissing, localAddresses: [] };
  }
  const { where, values, missing } = readSection(file, section, SCHEMA.network.rows, errors);
  const lacking = missing.includes('netmask');
  return {
    gateway: values.gateway,
    prefixLen: values.netmask,
    netmaskMissing: lacking ? { where: { ...where, key: 'netmask' }, message: 'key is missing', hint } : null,
    localAddresses: eachOf(values.local_address),
  };
}

/** The addresses of a list, each in the place of the list. */
function eachOf(list: Located<readonly Ipv4[]> | null): Located<Ipv4>[] {
  return list ? list.value.map((value) => ({ ...list, value })) : [];
}

function readLink(file: string, section: IniSection, errors: ErrorList): DraftLink {
  const { where, values } = readComplete(file, section, SCHEMA.link.rows, errors);
  return {
    where,
    name: section.name,
    kind: values.kind?.value ?? 'tap',
    device: values.device ?? { ...where, value: section.name },
    offload: values.offload?.value ?? 'on',
    xdpMode: values.xdp_mode?.value ?? 'auto',
    memif: {
      role: values.memif_role?.value ?? 'client',
      id: values.memif_id?.value ?? 0,
      secret: values.memif_secret?.value ?? '',
      queues: values.memif_queues?.value ?? 1,
      ring: values.memif_ring?.value ?? 1024,
    },
    mac: values.mac,
    mtu: values.mtu?.value ?? 0,
    addresses: values.address,
    routes: values.routes,
    exception: values.exception,
  };
}

const accessLog = (path: string | undefined): string | null => (path === undefined || path === 'off' ? null : path);

type ServiceValues = SectionValues<typeof SCHEMA.service.rows>;

/** What a service says apart from its name, address, ports and servers. Numbers that could not be read are 0; the draft then has errors. */
function policy(
  values: ServiceValues,
  errors: ErrorList,
): Omit<DraftService, 'where' | 'name' | 'vip' | 'ports' | 'mark' | 'match' | 'dests' | 'complete'> {
  const scheduler = schedulerOf(values);
  return {
    proto: values.proto?.value ?? 'tcp',
    mode: values.mode?.value ?? null,
    scheduler,
    schedOptions: Object.fromEntries(
      schedulerKeys(scheduler).map((key) => [SCHEDULER_KEYS[key].option, values[key]?.value ?? '']),
    ),
    timeouts: {
      connectMs: values.connect_timeout?.value ?? 0,
      clientMs: values.client_timeout?.value ?? 0,
      serverMs: values.server_timeout?.value ?? 0,
      finMs: values.fin_timeout?.value ?? 0,
    },
    ...readServiceTcp(values),
    retries: values.retries?.value ?? 0,
    localAddresses: eachOf(values.local_address),
    noLocals: values.local_address?.value.length === 0,
    mssClamp: values.mss_clamp?.value ?? 0,
    timestamps: values.timestamps?.value ?? 'strip',
    connTimeoutMs: values.conn_timeout?.value ?? 0,
    expireQuiescent: values.expire_quiescent?.value ?? 'off',
    persistence: readPersistence(values),
    onePacket: values.one_packet?.value === 'on',
    fragments: values.fragments?.value ?? 'reassemble',
    check: readCheck(values, errors),
    slowStartMs: values.slow_start?.value ?? null,
    maxConnections: values.max_connections?.value ?? 0,
    queueTimeoutMs: values.queue_timeout?.value ?? 0,
    proxyProtocol: values.proxy_protocol?.value ?? 'off',
    acceptProxy: values.accept_proxy?.value ?? [],
    backup: values.backup,
  };
}

/** A file is where the configuration says, seen from the configuration. */
function schedulerOf({ scheduler }: ServiceValues): string {
  if (scheduler === null) return 'conhash';
  return isSchedulerFile(scheduler.value) ? resolve(dirname(scheduler.file), scheduler.value) : scheduler.value;
}

function readPersistence(values: ServiceValues): PersistenceConfig | null {
  const timeoutMs = values.persistence?.value ?? 0;
  if (timeoutMs === 0) return null;
  const netmask = values.persistence_netmask?.value ?? -1;
  return { timeoutMs, netmask, expireQuiescent: values.expire_quiescent_template?.value === 'on' };
}

function readService(file: string, section: IniSection, mode: Mode, errors: ErrorList): DraftService {
  const { rows } = SCHEMA.service;
  const reading = readComplete(file, section, rows, errors);
  const { where, values } = reading;
  const says = (key: string): boolean => reading.said.has(key);
  const byRule = says('mark') || says('match');
  const isIcmp = values.proto?.value === 'icmp';
  if (!byRule && !says('ip')) complainMissing(reading, 'ip', rows, errors);
  if (!byRule && !says('ports') && !isIcmp) complainMissing(reading, 'ports', rows, errors);
  if (!says('count') && (values.mode?.value ?? mode) !== 'snat') complainMissing(reading, 'count', rows, errors);
  const ports = isIcmp ? (values.ports ?? { ...where, key: 'ports', value: [0] }) : values.ports;
  const { ip: vip, mark, match } = values;
  const servers = checkServers(reading, errors);
  return { where, name: section.name, vip, ports, mark, match, ...policy(values, errors), ...servers };
}

function readMark(file: string, section: IniSection, errors: ErrorList): DraftMark {
  const { where, values } = readComplete(file, section, SCHEMA.mark.rows, errors);
  return { where, name: section.name, ...values };
}

/** The service of [vip] and [realserver], with every default of a [service NAME]. */
function plainService(
  file: string,
  vip: SectionReading<typeof SCHEMA.vip.rows>,
  servers: SectionReading<typeof SCHEMA.realserver.rows>,
  errors: ErrorList,
): DraftService {
  const { values } = readSection(file, blank('service'), SCHEMA.service.rows, errors);
  const { where } = vip;
  return {
    where,
    name: 'vip',
    vip: vip.values.ip,
    ports: vip.values.ports,
    mark: null,
    match: null,
    ...policy(values, errors),
    ...checkServers(servers, errors),
  };
}

/** server1..serverN against count: the servers in order, and whether all of them are there and readable. */
function checkServers(
  reading: SectionReading<typeof SCHEMA.realserver.rows>,
  errors: ErrorList,
): { dests: readonly DraftDest[]; complete: boolean } {
  const { servers, serverKeys } = reading;
  const { count } = reading.values;
  const dests: DraftDest[] = [];
  let complete = count !== null;
  for (const [number, { server }] of [...servers].sort(([a], [b]) => a - b)) {
    const keys = serverKeys.get(number) ?? {};
    if (server) dests.push({ name: keys.name?.value ?? `server${number}`, server, keys });
    else complete = false;
  }
  for (const [number, keys] of serverKeys) {
    const orphan = Object.values(keys)[0];
    if (orphan && !servers.has(number))
      errors.add(orphan, `there is no server${number}`, `add server${number}, or remove this`);
  }
  if (count) {
    for (const [from, to] of gaps(count.value, servers)) {
      const key = from === to ? `server${from}` : `server${from} to server${to}`;
      const asked = count.value === 1 ? 'server1' : `server1 to server${count.value}`;
      errors.add({ ...count, key }, 'key is missing', `count = ${count.value} asks for ${asked}`);
      complete = false;
    }
    for (const [number, { where }] of servers) {
      if (number > count.value)
        errors.add(where, `is beyond count = ${count.value}`, 'raise count, or remove this server');
    }
  }
  return { dests, complete };
}

/** The numbers 1..count that are not there, as ranges. */
function gaps(count: number, servers: ReadonlyMap<number, unknown>): [number, number][] {
  const found: [number, number][] = [];
  for (let number = 1; number <= count; number++) {
    if (servers.has(number)) continue;
    const last = found.at(-1);
    if (last && last[1] === number - 1) last[1] = number;
    else found.push([number, number]);
  }
  return found;
}
