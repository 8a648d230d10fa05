/**
 * What has been read of a command line so far: the defaults of every option, and what each option changes. The order of options counts
 * as in the real tool: a mask is read for the family of the service before it, a server without port takes the port of the service
 * before it.
 */
import { isIP } from 'node:net';
import { type Address, parseIpv4Loosely } from './address.ts';
import { wrong } from './command-error.ts';
import type { Names, Protocol } from './names.ts';
import {
  type Daemon,
  type DaemonRole,
  type DestCheck,
  type Forward,
  HASH_TARGETS,
  type HashTarget,
  PROXY_PROTOCOLS,
  type ProxyProtocol,
  type ServiceId,
  type SocketPair,
  type Subject,
  TUNNEL_TYPES,
  type TunnelType,
} from './ops.ts';
import type { Setting } from './options.ts';
import {
  DEFAULT_PERSIST_SEC,
  type HostPort,
  MAX_INT,
  numberIn,
  type ParsedMatch,
  parseDestCheck,
  parseHostPort,
  parseMark,
  parseMask,
  parseMatch,
  parseSocketPair,
  parseSubject,
  parseTimeout,
} from './values.ts';

const PROTOCOL_OF: Readonly<Record<string, Protocol>> = {
  'tcp-service': 'tcp',
  'udp-service': 'udp',
  'sctp-service': 'sctp',
  'icmp-service': 'icmp',
  'icmpv6-service': 'icmpv6',
};
const FORWARD_OF: Readonly<Record<string, Forward>> = {
  masquerading: 'masq',
  ipip: 'tunnel',
  gatewaying: 'route',
  fullnat: 'fullnat',
  snat: 'snat',
};

export interface Draft {
  readonly given: Set<Setting>;
  protocol: Protocol;
  address: Address | null;
  port: number;
  mark: number;
  family: 4 | 6;
  match: ParsedMatch | null;
  scheduler: string;
  schedFlags: string | null;
  persistSec: number;
  mask: number;
  pe: string;
  server: { address: Address; port: number } | null;
  forward: Forward;
  weight: number;
  upper: number;
  lower: number;
  tunType: TunnelType;
  tunPort: number;
  role: DaemonRole;
  daemon: Omit<Daemon, 'role'>;
  laddr: Address | null;
  device: string;
  deny: Subject | null;
  allow: Subject | null;
  synproxy: boolean;
  pair: SocketPair | null;
  hashTarget: HashTarget | null;
  cpu: number | null;
  destCheck: DestCheck | null;
  connTimeoutSec: number;
  proxyProtocol: ProxyProtocol;
}

export function emptyDraft(): Draft {
  return {
    given: new Set(),
    protocol: 'tcp',
    address: null,
    port: 0,
    mark: 0,
    family: 4,
    match: null,
    scheduler: '',
    schedFlags: null,
    persistSec: 0,
    mask: -1,
    pe: '',
    server: null,
    forward: 'route',
    weight: 1,
    upper: 0,
    lower: 0,
    tunType: 'ipip',
    tunPort: 0,
    role: 'master',
    daemon: { device: 'eth0', syncId: 0, maxLen: 1472, group: '224.0.0.81', port: 8848, ttl: 1 },
    laddr: null,
    device: '',
    deny: null,
    allow: null,
    synproxy: false,
    pair: null,
    hashTarget: null,
    cpu: null,
    destCheck: null,
    connTimeoutSec: 0,
    proxyProtocol: 'disable',
  };
}

/** The service that the options name, or null. */
export function serviceOf(draft: Draft): ServiceId | null {
  const { protocol, address, port, mark, family, match } = draft;
  if (mark > 0) return { kind: 'fwmark', mark, family };
  if (match !== null) return { kind: 'match', ...match };
  return address === null ? null : { kind: 'address', protocol, address, port };
}

/** Takes one option in. `name`: its long name. Throws CommandError. */
export function take(draft: Draft, name: string, value: string | null, names: Names): void {
  const text = value ?? '';
  switch (name) {
    case 'tcp-service':
    case 'udp-service':
    case 'sctp-service':
    case 'icmp-service':
    case 'icmpv6-service':
      draft.protocol = PROTOCOL_OF[name] ?? 'tcp';
      takeService(draft, endpoint(text, draft.protocol, names, 'virtual server address[:port]'));
      return;
    case 'fwmark-service':
      draft.mark = parseMark(text);
      draft.family = 4;
      return;
    case 'match':
      draft.match = parseMatch(text);
      draft.family = draft.match.family;
      if (draft.match.protocol !== 'any') draft.protocol = draft.match.protocol;
      if (draft.family === 6) draft.mask = 128;
      return;
    case 'ipv6':
      if (draft.mark === 0) wrong('-6 used before -f\n');
      draft.family = 6;
      draft.mask = 128;
      return;
    case 'scheduler':
      draft.scheduler = text;
      return;
    case 'persistent':
      draft.persistSec = value === null ? DEFAULT_PERSIST_SEC : parseTimeout(value, 1);
      return;
    case 'netmask':
      draft.mask = parseMask(text, draft.family, names);
      return;
    case 'sched-flags':
      draft.schedFlags = text;
      return;
    case 'pe':
      draft.pe = text;
      return;
    case 'real-server': {
      const found = endpoint(text, draft.protocol, names, 'real server address[:port]');
      draft.server = { address: found.address, port: found.port ?? draft.port };
      return;
    }
    case 'masquerading':
    case 'ipip':
    case 'gatewaying':
    case 'fullnat':
    case 'snat':
      draft.forward = FORWARD_OF[name] ?? 'route';
      return;
    case 'weight':
      draft.weight = numberIn(text, 0, MAX_INT, 'weight');
      return;
    case 'u-threshold':
      draft.upper = numberIn(text, 0, MAX_INT, 'u_threshold');
      return;
    case 'l-threshold':
      draft.lower = numberIn(text, 0, MAX_INT, 'l_threshold');
      return;
    case 'tun-type':
      draft.tunType = TUNNEL_TYPES.find((type) => type === text) ?? wrong('illegal tunnel type specified');
      return;
    case 'tun-port':
      draft.tunPort = numberIn(text, 1, 65_535, 'tunnel port');
      return;
    case 'laddr':
      draft.laddr = parseHostPort(text, 'tcp', names)?.address ?? wrong('illegal local address');
      return;
    case 'ifname':
      draft.device = text;
      return;
    case 'blklst':
      draft.deny = parseSubject(text, 'blacklist', names);
      return;
    case 'whtlst':
      draft.allow = parseSubject(text, 'whitelist', names);
      return;
    case 'sockpair':
      draft.pair = parseSocketPair(text);
      return;
    case 'cpu':
      draft.cpu = numberIn(text, 0, MAX_INT, 'cpu');
      return;
    case 'synproxy':
      draft.synproxy =
        text === 'enable' || (text !== 'disable' && wrong('synproxy switch must be enable or disable\n'));
      return;
    case 'hash-target':
      draft.hashTarget = HASH_TARGETS.find((word) => word === text) ?? wrong('hash target not support\n');
      return;
    case 'dest-check':
      draft.destCheck = parseDestCheck(text, draft.destCheck);
      return;
    case 'conn-timeout':
      draft.connTimeoutSec = numberIn(text, 0, MAX_INT, 'conn-timeout');
      return;
    case 'proxy-protocol':
      draft.proxyProtocol =
        PROXY_PROTOCOLS.find((known) => known === text) ?? wrong(`invalid proxy-protocol \`${text}'`);
      return;
    default:
      takeOfDaemon(draft, name, text);
  }
}

function endpoint(text: string, protocol: Protocol, names: Names, what: string): HostPort {
  return parseHostPort(text, protocol, names) ?? wrong(`illegal ${what} specified`);
}

function takeService(draft: Draft, { address, port }: HostPort): void {
  draft.address = address;
  draft.port = port ?? 0;
  draft.family = address.family;
  if (address.family === 6) draft.mask = 128;
}

function takeOfDaemon(draft: Draft, name: string, text: string): void {
  const change = (): Partial<Daemon> => {
    switch (name) {
      case 'mcast-interface':
        return { device: text };
      case 'syncid':
        return { syncId: numberIn(text, 0, 255, 'syncid') };
      case 'sync-maxlen':
        return { maxLen: numberIn(text, 1, 65_535 - 20 - 8, 'sync-maxlen') };
      case 'mcast-group':
        return { group: parseGroup(text) };
      case 'mcast-port':
        return { port: numberIn(text, 1, 65_535, 'mcast-port') };
      case 'mcast-ttl':
        return { ttl: numberIn(text, 1, 255, 'mcast-ttl') };
      default:
        return {};
    }
  };
  draft.daemon = { ...draft.daemon, ...change() };
}

function parseGroup(text: string): string {
  const version = text.includes(':') ? 6 : 4;
  const first = version === 6 ? Number.parseInt(text, 16) >>> 8 : (parseIpv4Loosely(text)?.words[0] ?? 0) >>> 28;
  const multicast = isIP(text) === version && first === (version === 6 ? 0xff : 0xe);
  return multicast ? text : wrong(`invalid IPv${version} mcast-group \`${text}'`);
}
