/**
 * The grammar as tables: every option with its letters and its argument, and for every command which options it needs, takes, or
 * takes one of. Everything else is illegal with it. scan.ts splits a command line by the first table, parse.ts judges it by the second.
 */

/** Names of what an option sets, as the messages write them, in the order in which they are judged. The second part is DPVS's. */
export const SETTINGS = [
  'numeric',
  'connection',
  'service-address',
  'scheduler',
  'persistent',
  'netmask',
  'real-server',
  'forwarding-method',
  'weight',
  'u-threshold',
  'l-threshold',
  'mcast-interface',
  'timeout',
  'daemon',
  'stats',
  'rate',
  'thresholds',
  'persistent-conn',
  'nosort',
  'syncid',
  'exact',
  'ops',
  'pe',
  'sched-flags',
  'mcast-group',
  'mcast-port',
  'mcast-ttl',
  'sync-maxlen',
  'tun-info',
  'tun-type',
  'tun-port',
  'tun-nocsum',
  'tun-csum',
  'tun-remcsum',
  'local-address',
  'blklst-address',
  'synproxy',
  'ifname',
  'sockpair',
  'hash-target',
  'cpu',
  'expire-quiescent',
  'whtlst-address',
  'quic',
  'dest-check',
  'conn-timeout',
  'proxy-protocol',
] as const;
export type Setting = (typeof SETTINGS)[number];

export interface Option {
  readonly long: string;
  /** '' where there is none. */
  readonly short: string;
  readonly arg: 'none' | 'needed' | 'optional' | 'integer';
  /** Null for commands, and for what may be repeated and combined freely. */
  readonly sets: Setting | null;
}

const flag = (long: string, short: string, sets: Setting | null): Option => ({ long, short, arg: 'none', sets });
const value = (long: string, short: string, sets: Setting | null): Option => ({ long, short, arg: 'needed', sets });
const command = (long: string, short: string): Option => flag(long, short, null);

const COMMAND_OPTIONS: readonly Option[] = [
  command('add-service', 'A'),
  command('edit-service', 'E'),
  command('delete-service', 'D'),
  command('clear', 'C'),
  command('list', 'L'),
  command('list', 'l'),
  command('zero', 'Z'),
  command('add-server', 'a'),
  command('edit-server', 'e'),
  command('delete-server', 'd'),
  command('set', ''),
  command('help', 'h'),
  command('version', 'v'),
  command('restore', 'R'),
  command('save', 'S'),
  value('start-daemon', '', null),
  value('stop-daemon', '', null),
  command('add-laddr', 'P'),
  command('del-laddr', 'Q'),
  command('get-laddr', 'G'),
  command('add-blklst', 'U'),
  command('del-blklst', 'V'),
  command('get-blklst', 'B'),
  command('add-whtlst', 'O'),
  command('del-whtlst', 'Y'),
  command('get-whtlst', 'W'),
];

const SHARED_OPTIONS: readonly Option[] = [
  value('tcp-service', 't', 'service-address'),
  value('udp-service', 'u', 'service-address'),
  value('sctp-service', '', 'service-address'),
  value('icmp-service', 'q', 'service-address'),
  value('icmpv6-service', '1', 'service-address'),
  value('fwmark-service', 'f', 'service-address'),
  value('match', 'H', 'service-address'),
  value('scheduler', 's', 'scheduler'),
  { long: 'persistent', short: 'p', arg: 'optional', sets: 'persistent' },
  value('netmask', 'M', 'netmask'),
  value('real-server', 'r', 'real-server'),
  flag('masquerading', 'm', 'forwarding-method'),
  flag('ipip', 'i', 'forwarding-method'),
  flag('gatewaying', 'g', 'forwarding-method'),
  flag('snat', 'J', 'forwarding-method'),
  value('weight', 'w', 'weight'),
  value('u-threshold', 'x', 'u-threshold'),
  value('l-threshold', 'y', 'l-threshold'),
  flag('numeric', 'n', 'numeric'),
  flag('connection', 'c', 'connection'),
  value('mcast-interface', '', 'mcast-interface'),
  value('syncid', '', 'syncid'),
  flag('timeout', '', 'timeout'),
  flag('daemon', '', 'daemon'),
  flag('stats', '', 'stats'),
  flag('rate', '', 'rate'),
  flag('thresholds', '', 'thresholds'),
  flag('persistent-conn', '', 'persistent-conn'),
  flag('nosort', '', 'nosort'),
  flag('sort', '', null),
  flag('exact', 'X', 'exact'),
  flag('ipv6', '6', null),
  flag('ops', 'o', 'ops'),
  value('pe', '', 'pe'),
  value('sync-maxlen', '', 'sync-maxlen'),
  value('mcast-group', '', 'mcast-group'),
  value('mcast-port', '', 'mcast-port'),
  value('mcast-ttl', '', 'mcast-ttl'),
  flag('tun-info', '', 'tun-info'),
  value('tun-type', '', 'tun-type'),
  value('tun-port', '', 'tun-port'),
  flag('tun-nocsum', '', 'tun-nocsum'),
  flag('tun-csum', '', 'tun-csum'),
  flag('tun-remcsum', '', 'tun-remcsum'),
  value('laddr', 'z', 'local-address'),
  value('ifname', 'F', 'ifname'),
  value('blklst', 'k', 'blklst-address'),
  value('whtlst', '2', 'whtlst-address'),
  value('synproxy', 'j', 'synproxy'),
  value('sockpair', '', 'sockpair'),
  value('hash-target', '', 'hash-target'),
  value('cpu', '', 'cpu'),
  flag('expire-quiescent', '', 'expire-quiescent'),
  flag('quic', '', 'quic'),
  value('dest-check', '', null),
  { long: 'conn-timeout', short: '', arg: 'integer', sets: 'conn-timeout' },
  value('proxy-protocol', '', 'proxy-protocol'),
];

const SCHED_FLAGS = value('sched-flags', 'b', 'sched-flags');
const FULLNAT = flag('fullnat', 'b', 'forwarding-method');

/** Both systems use -b: a server's fullnat in DPVS, a service's scheduler flags in LVS. The command before it decides. */
export function optionsOf(commandName: string | null): readonly Option[] {
  const ofServer = commandName === 'add-server' || commandName === 'edit-server';
  const last = ofServer ? [FULLNAT, { ...SCHED_FLAGS, short: '' }] : [SCHED_FLAGS, { ...FULLNAT, short: '' }];
  return [...COMMAND_OPTIONS, ...SHARED_OPTIONS, ...last];
}

export const isCommand = (name: string): boolean => COMMAND_OPTIONS.some(({ long }) => long === name);

export interface Rule {
  /** The command's name in messages. */
  readonly name: string;
  readonly needs: readonly Setting[];
  readonly takes: readonly Setting[];
  /** At most one of these. */
  readonly oneOf: readonly Setting[];
}

const rule = (name: string, needs: Setting[] = [], takes: Setting[] = [], oneOf: Setting[] = []): Rule => ({
  name,
  needs,
  takes,
  oneOf,
});

const ABOUT_SERVICE: Setting[] = [
  'scheduler',
  'persistent',
  'netmask',
  'ops',
  'pe',
  'sched-flags',
  'synproxy',
  'hash-target',
  'expire-quiescent',
  'quic',
  'dest-check',
  'conn-timeout',
  'proxy-protocol',
];
const TUNNEL_SETTINGS: Setting[] = ['tun-type', 'tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'];
const ABOUT_SERVER: Setting[] = ['forwarding-method', 'weight', 'u-threshold', 'l-threshold', ...TUNNEL_SETTINGS];
const ABOUT_LIST: Setting[] = [
  'numeric',
  'stats',
  'rate',
  'thresholds',
  'persistent-conn',
  'nosort',
  'syncid',
  'exact',
  'tun-info',
  'sockpair',
  'cpu',
];
const ABOUT_DAEMON: Setting[] = ['mcast-interface', 'syncid', 'mcast-group', 'mcast-port', 'mcast-ttl', 'sync-maxlen'];

/** By the long name of the command's option. */
export const RULES: Readonly<Record<string, Rule>> = {
  'add-service': rule('add-service', ['service-address'], ABOUT_SERVICE),
  'edit-service': rule('edit-service', ['service-address'], ABOUT_SERVICE),
  'delete-service': rule('delete-service', ['service-address']),
  clear: rule('flush'),
  list: rule('list', [], ABOUT_LIST, ['connection', 'service-address', 'timeout', 'daemon']),
  'add-server': rule('add-server', ['service-address', 'real-server'], ABOUT_SERVER),
  'edit-server': rule('edit-server', ['service-address', 'real-server'], ABOUT_SERVER),
  'delete-server': rule('delete-server', ['service-address', 'real-server']),
  set: rule('set'),
  'start-daemon': rule('start-daemon', [], ABOUT_DAEMON),
  'stop-daemon': rule('stop-daemon', [], ['syncid']),
  restore: rule('restore'),
  save: rule('save', [], ['numeric']),
  zero: rule('zero', [], ['service-address']),
  'add-laddr': rule('add-laddr', ['service-address', 'local-address', 'ifname']),
  'del-laddr': rule('del-laddr', ['service-address', 'local-address', 'ifname']),
  'get-laddr': rule('get-laddr', [], ['service-address', 'cpu']),
  'add-blklst': rule('add-blklst', ['service-address', 'blklst-address']),
  'del-blklst': rule('del-blklst', ['service-address', 'blklst-address']),
  'get-blklst': rule('get-blklst', [], ['service-address']),
  'add-whtlst': rule('add-whtlst', ['service-address', 'whtlst-address']),
  'del-whtlst': rule('del-whtlst', ['service-address', 'whtlst-address']),
  'get-whtlst': rule('get-whtlst', [], ['service-address']),
};

/** Which of a tunnel's options its type needs, takes one of, or refuses. */
export const TUNNEL_RULES = {
  ipip: rule('ipip'),
  gue: rule('gue', ['tun-port'], [], ['tun-nocsum', 'tun-csum', 'tun-remcsum']),
  gre: rule('gre', [], [], ['tun-nocsum', 'tun-csum']),
} as const;
/** What the type of a tunnel decides about. */
export const TUNNEL_JUDGED: readonly Setting[] = ['tun-port', 'tun-nocsum', 'tun-csum', 'tun-remcsum'];
