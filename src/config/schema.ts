/**
 * Every section and key of lb.conf: its type, unit, default, range and meaning. The reader validates by these rows and
 * docs/configuration.md is generated from them (scripts/gen-config-docs.ts), so the two cannot disagree.
 */
import type { z } from 'zod';
import { MAX_TIMEOUT_S } from '../../lb/proto/index.ts';
import { checkScheduler } from '../../lb/sched/index.ts';
import { checkRows } from './check-rows.ts';
import { match } from './match.ts';
import {
  CONTROL_MODES,
  EXPIRE_QUIESCENT,
  FRAGMENT_POLICIES,
  LINK_KINDS,
  LOG_LEVELS,
  MODES,
  PROTOS,
  PROXY_PROTOCOLS,
  SCHEDULER_KEYS,
  SCHEDULERS,
  type SchedulerKey,
  TIMEOUT_PROFILES,
  XDP_MODES,
} from './model.ts';
import { serviceTcpRows, tcpRows } from './tcp-rows.ts';
import type { Value } from './values.ts';
import * as values from './values.ts';

export interface Row<T = unknown> {
  /** What kind of value, in words. */
  readonly type: string;
  readonly read: Value<T>;
  readonly unit: string;
  /** The value of a key left out, as it would be written; null when there is none. */
  readonly default: string | null;
  /** What happens without a default when the key is left out; empty when it must be there. */
  readonly without: string;
  readonly range: string;
  /** Whether a new value can take effect without touching established connections, once reloading exists. */
  readonly reloadable: boolean;
  readonly example: string;
  readonly doc: string;
}

export type Rows = Readonly<Record<string, Row>>;

/** The model's value of a row. */
export type RowValue<R extends Row> = z.output<R['read']>;

export interface Section {
  /** Takes a name behind its word, and may appear once per name. */
  readonly named: boolean;
  readonly doc: string;
  readonly rows: Rows;
}

const HOUR_MS = 3_600_000;
const DAY_MS = 86_400_000;
const REQUIRED = { default: null, without: '' } as const;

/** The pseudo-key that stands for server1, server2, ... */
export const SERVER_N = 'serverN';
/** Those that stand for server1_name, server1_mode, ... */
export const SERVER_KEYS = {
  name: 'serverN_name',
  mode: 'serverN_mode',
  upper: 'serverN_upper',
  lower: 'serverN_lower',
} as const;

function connTimeout(doc: string): Row<number> {
  return {
    type: 'time',
    read: values.duration(1000, MAX_TIMEOUT_S * 1000),
    unit: 's, m, h, d',
    default: null,
    without: 'that of timeout_profile',
    range: '1s..364d',
    reloadable: true,
    example: '15m',
    doc,
  };
}

const globalRows = {
  mode: {
    type: 'word',
    read: values.mode,
    unit: '',
    default: 'proxy',
    without: '',
    range: MODES.join(', '),
    reloadable: false,
    example: 'proxy',
    doc: 'How connections reach the servers, for every service that does not say it itself. `proxy` ends the TCP connection of the client here and opens another one to the server. The others pass packets on. `fnat`: from a local address of ours to the server, and back; nothing is asked of the network or the servers. `nat`: only the destination is rewritten; the servers must answer through us. `dr`: the packet goes untouched to the MAC address of the server, which has the VIP as well, without answering ARP for it, and answers the client itself. `tun`: as `dr`, but in an IPIP tunnel, over any number of hops. `snat`: the other way round, what hosts behind tsvs ask of the world leaves from an address of the `local_address` of the service; it needs a `match`, and has no servers.',
  },
  log_level: {
    type: 'word',
    read: values.oneOf(LOG_LEVELS),
    unit: '',
    default: 'info',
    without: '',
    range: LOG_LEVELS.join(', '),
    reloadable: true,
    example: 'info',
    doc: 'The least important messages still logged.',
  },
  control_socket: {
    type: 'path',
    read: values.path,
    unit: '',
    default: null,
    without: 'the program chooses',
    range: 'a path without `"` `\'` `\\` `#` `;`',
    reloadable: false,
    example: '/run/tsvs.sock',
    doc: 'The unix socket that answers `tsvs stats`, `tsvs sessions`, `tsvs drops` and `tsvs neigh`.',
  },
  control_mode: {
    type: 'word',
    read: values.oneOf(CONTROL_MODES),
    unit: '',
    default: '0660',
    without: '',
    range: CONTROL_MODES.join(', '),
    reloadable: false,
    example: '0600',
    doc: 'Who may use the control socket: owner and group (`0660`), the owner alone, or everybody on the machine. Who may use it may change the configuration.',
  },
  control_group: {
    type: 'account',
    read: values.account,
    unit: '',
    default: null,
    without: 'the group of the process',
    range: 'a name or a number',
    reloadable: false,
    example: 'adm',
    doc: 'The group of the control socket.',
  },
  user: {
    type: 'account',
    read: values.account,
    unit: '',
    default: null,
    without: 'the process stays who it is',
    range: 'a name or a number',
    reloadable: false,
    example: 'tsvs',
    doc: 'Who the process becomes once its links are open and before the first frame is read, with no other group, no capability, and no way to get them back. From then on everything is done with the rights of that user: [Security](../SECURITY.md) says what follows for files.',
  },
  group: {
    type: 'account',
    read: values.account,
    unit: '',
    default: null,
    without: 'the group of `user`',
    range: 'a name or a number',
    reloadable: false,
    example: 'tsvs',
    doc: 'With `user`: the group.',
  },
  workers: {
    type: 'number',
    read: values.integer(1, 1, 'the number of workers (more are not supported yet)'),
    unit: 'threads',
    default: '1',
    without: '',
    range: '1',
    reloadable: false,
    example: '1',
    doc: 'How many threads carry packets. One, so far.',
  },
  slow_start: {
    type: 'time',
    read: values.duration(0, HOUR_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..1h; 0 gives the whole weight at once',
    reloadable: true,
    example: '30s',
    doc: 'How long a server that comes up takes to get its whole weight, from a twentieth on in equal steps: after a failed check passes again, after `drain` or `maint`, when its weight was 0, and when it is added to a service. Schedulers that go by weight or load see the part that it has got. With `rr`, `fo`, `ovf` and those that hash, that part of the connections (or clients, where those decide) that would be its own goes to it, the rest as if it were down. A service that is new, and servers that are up when tsvs starts, begin with their whole weight.',
  },
  xmit_ttl: {
    type: 'word',
    read: values.oneOf(['off', 'on']),
    unit: '',
    default: 'off',
    without: '',
    range: 'off, on',
    reloadable: true,
    example: 'on',
    doc: 'Whether the modes of layer 4 count as a hop: with `on` they decrement TTL, and answer when it runs out.',
  },
  layer4: {
    type: 'word',
    read: values.oneOf(['auto', 'on']),
    unit: '',
    default: 'auto',
    without: '',
    range: 'auto, on',
    reloadable: false,
    example: 'on',
    doc: 'Whether there is a layer 4: `auto` if a service is of it at the start, `on` always. Services of layer 4 can be added to a running tsvs only if there is one; with `on` the file may have no service at all.',
  },
  ipip_from: {
    type: 'list of networks',
    read: values.cidrList,
    unit: '',
    default: null,
    without: 'no tunnel ends here',
    range: 'addresses and networks as 10.1.0.0/16, none twice',
    reloadable: false,
    example: '192.168.100.20',
    doc: 'Makes this tsvs the end of IPIP tunnels, for servers of mode `tun` whose system has none: it takes packets out of those that come from these addresses, and passes them on by its routes, one hop less. The file may have no service at all then.',
  },
  timeout_profile: {
    type: 'word',
    read: values.oneOf(TIMEOUT_PROFILES),
    unit: '',
    default: 'dpvs',
    without: '',
    range: TIMEOUT_PROFILES.join(', '),
    reloadable: false,
    example: 'lvs',
    doc: 'How long connections of layer 4 may be silent, state by state, and which of them count as active: as in DPVS (90 s when established; active is what is established) or as in LVS (900 s; active is also what is being opened).',
  },
  tcp_timeout: connTimeout('Layer 4: how long an established TCP connection may be silent.'),
  tcp_fin_timeout: connTimeout('Layer 4: how long a TCP connection may be silent once the server has closed its side.'),
  udp_timeout: connTimeout('Layer 4: how long a UDP flow may be silent.'),
  access_log: {
    type: 'path',
    read: values.path,
    unit: '',
    default: 'off',
    without: '',
    range: 'off, or a path without `"` `\'` `\\` `#` `;`',
    reloadable: false,
    example: '/var/log/tsvs/access.log',
    doc: 'A file that gets one line of JSON for each finished session of mode `proxy`: times, client, VIP, server, bytes each way and how it ended. SIGUSR1 and SIGHUP open it anew, for programs that rotate logs.',
  },
  drain_timeout: {
    type: 'time',
    read: values.duration(0, DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '10s',
    without: '',
    range: '0..1d',
    reloadable: true,
    example: '10s',
    doc: 'How long sessions may go on after SIGTERM. What is left then is reset.',
  },
} satisfies Rows;

const ip = {
  type: 'address',
  read: values.address,
  unit: '',
  ...REQUIRED,
  range: 'an IPv4 host address in the network of [network]',
  reloadable: true,
  example: '192.168.100.10',
  doc: 'The virtual address (VIP) that clients connect to.',
} satisfies Row;

const ports = {
  type: 'list of ports',
  read: values.portList,
  unit: '',
  ...REQUIRED,
  range: '1..65535 each, no port twice',
  reloadable: true,
  example: '80,8080',
  doc: 'The ports clients connect to, separated by commas. Each is a service of its own over the same servers.',
} satisfies Row;

const ownMac = {
  type: 'MAC address',
  read: values.mac,
  unit: '',
  default: null,
  without: '02:00 followed by the four bytes of the first VIP',
  range: 'not multicast, not zero',
  reloadable: false,
  example: '02:00:00:64:00:0a',
};

const serverRows = {
  count: {
    type: 'number',
    read: values.integer(0, 65535, 'the number of servers'),
    unit: 'servers',
    ...REQUIRED,
    range: '0..65535',
    reloadable: true,
    example: '2',
    doc: 'How many servers follow: server1 to serverN, none missing and none beyond. Services of layer 4 may have none yet.',
  },
  [SERVER_N]: {
    type: 'server',
    read: values.server,
    unit: '',
    ...REQUIRED,
    range: '`ip:port:weight:mac`; port 1..65535, weight 0..65535',
    reloadable: true,
    example: '192.168.100.11:80:1:00:00:00:00:00:00',
    doc: 'A real server. The first three colons part the fields, what follows is the MAC address; 00:00:00:00:00:00 asks for it by ARP. With most schedulers a server of weight 2 gets twice the connections of one of weight 1; weight 0 gets no new ones with any scheduler, so with mode `proxy` one server at least needs more. An IPv6 address is written in brackets, and refused as not supported yet.',
  },
  [SERVER_KEYS.name]: {
    type: 'name',
    read: values.serverName,
    unit: '',
    default: null,
    without: '`serverN`',
    range: 'up to 64 letters, digits and `. _ : -`; no two servers of a service have one name',
    reloadable: true,
    example: '192.168.100.11:80',
    doc: 'What the server with this number is called in commands and logs, as in `server1_name`.',
  },
  [SERVER_KEYS.mode]: {
    type: 'word',
    read: values.mode,
    unit: '',
    default: null,
    without: 'the mode of the service',
    range: MODES.filter((mode) => mode !== 'proxy').join(', '),
    reloadable: true,
    example: 'dr',
    doc: 'Layer 4: how packets reach this server, as in `server1_mode`.',
  },
  [SERVER_KEYS.upper]: {
    type: 'number',
    read: values.integer(0, 0x7fffffff, 'a number of connections'),
    unit: 'connections',
    default: null,
    without: '`max_connections`',
    range: '0..2147483647',
    reloadable: true,
    example: '1000',
    doc: 'How many connections this server may have, as in `server1_upper`; 0 is no limit.',
  },
  [SERVER_KEYS.lower]: {
    type: 'number',
    read: values.integer(0, 0x7fffffff, 'a number of connections'),
    unit: 'connections',
    default: null,
    without: 'three quarters of `serverN_upper`',
    range: '0..2147483647, at most `serverN_upper`',
    reloadable: true,
    example: '800',
    doc: 'A server that has reached `serverN_upper` gets new connections again below this number.',
  },
} satisfies Rows;

const linkRows = {
  kind: {
    type: 'word',
    read: values.oneOf(LINK_KINDS),
    unit: '',
    default: 'tap',
    without: '',
    range: LINK_KINDS.join(', '),
    reloadable: false,
    example: 'tap',
    doc: '`tap` is a Linux TAP interface, `packet` an existing Linux interface through packet sockets, `xdp` one through AF_XDP ([Links](links.md)), `memory` a wire to another stack in the same process, `pcapfile` replays a capture.',
  },
  device: {
    type: 'path',
    read: values.path,
    unit: '',
    default: null,
    without: 'the name of the link',
    range: 'tap, packet, xdp: at most 15 characters without / and spaces',
    reloadable: false,
    example: 'tap0',
    doc: 'tap, packet, xdp: the interface; pcapfile: the file to replay; memory: the name of the wire.',
  },
  offload: {
    type: 'word',
    read: values.oneOf(['on', 'off']),
    unit: '',
    default: 'on',
    without: '',
    range: 'on, off',
    reloadable: false,
    example: 'on',
    doc: 'Whether checksums and segmentation are left to the other side of a link that can do them (the virtio-net header of a TAP or packet socket). `off` puts complete frames of at most `mtu` on the wire.',
  },
  xdp_mode: {
    type: 'word',
    read: values.oneOf(XDP_MODES),
    unit: '',
    default: 'auto',
    without: '',
    range: XDP_MODES.join(', '),
    reloadable: false,
    example: 'generic',
    doc: 'Links of kind `xdp`: whether the XDP program runs in the driver (`native`) or behind it (`generic`). `auto` tries the driver first. Other links do not look at it.',
  },
  mac: {
    ...ownMac,
    without:
      'packet, xdp: that of the interface; others: 02:00 followed by the four bytes of the first VIP, or of `address`',
    doc: 'Our own MAC address on this link. With [vip] mac present the two must agree on the first link.',
  },
  mtu: {
    type: 'number',
    read: values.integer(576, 1500, 'an mtu'),
    unit: 'bytes',
    default: '1500',
    without: '',
    range: '576..1500',
    reloadable: false,
    example: '1500',
    doc: 'The largest IP packet on the link, without the Ethernet header.',
  },
  address: {
    type: 'list of addresses',
    read: values.interfaceList,
    unit: '',
    default: null,
    without: 'on the first link, the network of [network] alone',
    range: 'addresses with prefix length as 10.1.0.2/24, none twice',
    reloadable: true,
    example: '10.1.0.2/24',
    doc: 'Addresses of ours on this link. Their networks are at this link, and VIPs, local addresses and servers of those networks as well. Connections of mode `proxy` to servers at this link leave from here. A second link needs one.',
  },
  routes: {
    type: 'list of routes',
    read: values.routeList,
    unit: '',
    default: null,
    without: 'only the gateway of [network], if any',
    range: '`network via router`, the router in a network of this link',
    reloadable: true,
    example: '10.5.0.0/16 via 10.1.0.254',
    doc: 'Networks that are reached by way of a router at this link, separated by commas.',
  },
  exception: {
    type: 'TAP',
    read: values.exception,
    unit: '',
    default: null,
    without: 'what is not ours is dropped; packet, xdp: the kernel has it anyway',
    range: '`tap:` and at most 15 characters',
    reloadable: false,
    example: 'tap:host0',
    doc: 'A TAP by which the host shares the link: it gets what is not ours, and what it sends leaves here ([Links](links.md)).',
  },
} satisfies Rows;

const networkRows = {
  gateway: {
    type: 'address',
    read: values.address,
    unit: '',
    default: null,
    without: 'only the own network is reachable',
    range: 'an IPv4 host address in the same network as the VIPs',
    reloadable: true,
    example: '192.168.100.1',
    doc: 'The router for every address outside the network.',
  },
  netmask: {
    type: 'netmask',
    read: values.netmask,
    unit: '',
    ...REQUIRED,
    range: '`255.255.255.0`, `/24` or `24`; 1..32 bits, contiguous',
    reloadable: false,
    example: '255.255.255.0',
    doc: 'Which addresses are neighbours on the link.',
  },
  local_address: {
    type: 'list of addresses',
    read: values.addressList,
    unit: '',
    default: null,
    without: 'the VIP',
    range: 'IPv4 host addresses in the network, none twice',
    reloadable: true,
    example: '192.168.100.20, 192.168.100.21',
    doc: 'Where connections to servers leave from, separated by commas.',
  },
} satisfies Rows;

/** A key that is an option of one scheduler, with the values and the default that lb/sched gives it. */
function optionRow(key: SchedulerKey, example: string, doc: string, type = 'word', unit = ''): Row<string> {
  const { scheduler, option } = SCHEDULER_KEYS[key];
  const words = checkScheduler(scheduler, {}).options[option];
  return {
    type,
    read: values.oneOf(words),
    unit,
    default: words[0],
    without: '',
    range: words.join(', '),
    reloadable: true,
    example,
    doc: `${doc} Other schedulers do not look at it.`,
  };
}

const OF_RULES = 'the service has a mark or a match';
const matchRow = {
  type: 'match',
  read: match,
  unit: '',
  default: null,
  range: '`PROTO,from=RANGE,to=RANGE,iif=LINK,oif=LINK`; any of them',
  reloadable: true,
} as const;

const serviceRows = {
  ip: { ...ip, without: OF_RULES },
  ports: {
    ...ports,
    read: values.servicePorts,
    without: `${OF_RULES}, or is of ICMP`,
    range: '1..65535 each, no port twice; 0 = all ports',
    doc: `${ports.doc} \`0\` is a service for all ports that have none of their own, in a mode of layer 4; with \`persistence\` a client is remembered for all of them.`,
  },
  mark: {
    type: 'number',
    read: values.integer(1, 0xffffffff, 'a mark'),
    unit: '',
    default: null,
    without: 'the service has an address or a match',
    range: '1..4294967295',
    reloadable: false,
    example: '7',
    doc: 'Instead of `ip` and `ports`: the service takes what a [mark NAME] gives this mark, TCP, UDP and echo requests, whatever the ports. Marks come before addresses.',
  },
  match: {
    ...matchRow,
    without: 'the service has an address or a mark',
    example: 'tcp,from=10.1.0.0/16,oif=wan',
    doc: 'Instead of `ip` and `ports`: the service takes what comes by here and is not for tsvs itself, from and to these ranges of addresses and ports (`10.1.0.0/16`, `10.1.0.1-10.1.0.9:1024-65535`), by these links. What is left out is any. Such services are asked last, in the order of the file.',
  },
  proto: {
    type: 'word',
    read: values.oneOf(PROTOS),
    unit: '',
    default: 'tcp',
    without: '',
    range: PROTOS.join(', '),
    reloadable: false,
    example: 'udp',
    doc: 'The transport protocol of the service. `udp` needs a mode of layer 4.',
  },
  mode: {
    ...globalRows.mode,
    default: null,
    without: 'the mode of [global]',
    doc: 'As in [global], for this service.',
  },
  scheduler: {
    type: 'word',
    read: values.scheduler,
    unit: '',
    default: 'conhash',
    without: '',
    range: `${SCHEDULERS.join(', ')}, or a file as in \`./mine.ts\``,
    reloadable: true,
    example: 'rr',
    doc: "Who gets the next connection. `conhash` hashes it onto a ring of servers: a server that leaves moves only its own share, and brings it back when it returns. `rr` takes the servers in turn, whatever their weights, `wrr` by weight; `lc`, `wlc`, `sed` and `nq` go by the connections a server has; `sh` and `mh` by the address of the client, `dh`, `lblc` and `lblcr` by the address it asked for; `fo` and `ovf` prefer the heaviest; `twos` takes the better of two at random. [The schedulers](schedulers.md) has each one's rule, and says when to take it. A file, its path relative to this one, is a scheduler of your own in TypeScript or JavaScript.",
  },
  hash_key: optionRow(
    'hash_key',
    'source',
    'What `conhash` hashes: `5tuple` (protocol, both addresses, both ports) spreads connections, `source` (the address of the client) sends a client to the same server every time.',
  ),
  sh_port: optionRow(
    'sh_port',
    'on',
    'Whether `sh` hashes the port of the client as well as its address: connections are spread then, not clients.',
  ),
  sh_fallback: optionRow(
    'sh_fallback',
    'on',
    'Whether `sh` gives the clients of a server that cannot take connections to others. `off` refuses them.',
  ),
  mh_port: optionRow('mh_port', 'on', 'As `sh_port`, for `mh`.'),
  mh_fallback: optionRow('mh_fallback', 'on', 'As `sh_fallback`, for `mh`.'),
  mh_table: optionRow(
    'mh_table',
    '65537',
    'How many entries the table of `mh` has, a prime. A hundred for each server keep their shares within 1 %; with fewer servers a smaller table is quicker to build.',
    'number',
    'entries',
  ),
  connect_timeout: {
    type: 'time',
    read: values.duration(1, DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '5s',
    without: '',
    range: '1ms..1d',
    reloadable: true,
    example: '2s',
    doc: 'How long a server may take to accept a connection before the next one is tried.',
  },
  client_timeout: {
    type: 'time',
    read: values.duration(0, 7 * DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..7d; 0 is no limit',
    reloadable: true,
    example: '15m',
    doc: 'How long the client may stay silent before its session is ended.',
  },
  server_timeout: {
    type: 'time',
    read: values.duration(0, 7 * DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..7d; 0 is no limit',
    reloadable: true,
    example: '15m',
    doc: 'How long the server may stay silent before the session is ended.',
  },
  fin_timeout: {
    type: 'time',
    read: values.duration(0, 7 * DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..7d; 0 is no limit',
    reloadable: true,
    example: '2m',
    doc: 'How long a session may stay silent once one side has closed its direction.',
  },
  local_address: {
    type: 'list of addresses',
    read: values.addressesOrNone,
    unit: '',
    default: null,
    without: 'those of [network]',
    range: '`none`, or IPv4 host addresses in the network, none twice, no VIP',
    reloadable: true,
    example: '192.168.100.30, 192.168.100.31',
    doc: 'Mode `fnat`: where packets to the servers leave from. Each address gives 64,511 connections to each server, and more to several. One that mode `proxy` uses cannot be among them. With `none` connections are refused until there is one.',
  },
  mss_clamp: {
    type: 'number',
    read: values.integer(0, 1460, 'a segment size'),
    unit: 'bytes',
    default: '0',
    without: '',
    range: '0..1460; 0 leaves it',
    reloadable: true,
    example: '1400',
    doc: 'Modes `fnat` and `nat`: the largest TCP segment size that client and server may announce to each other, for paths whose routers do not tell their MTU.',
  },
  expire_quiescent: {
    type: 'word',
    read: values.oneOf(EXPIRE_QUIESCENT),
    unit: '',
    default: 'off',
    without: '',
    range: EXPIRE_QUIESCENT.join(', '),
    reloadable: true,
    example: 'on',
    doc: 'Modes of layer 4: what happens to the connections of a server whose weight is 0, that is in `drain` or `maint`, or that was removed. `off` lets them go on until they end, `on` ends each with its next packet, by a reset where both directions pass here; `removed` does so only for servers that were removed. A datagram of UDP that ends its flow begins a new one, to another server.',
  },
  persistence: {
    type: 'time',
    read: values.duration(0, 31 * DAY_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..31d; 0 remembers nobody',
    reloadable: true,
    example: '6m',
    doc: 'Modes of layer 4: how long after its last connection a client is remembered, so that its next one goes to the same server. While connections of it live it is not forgotten. A server that fails its checks, is in maintenance or was removed gets nobody back; the limit of connections does not hold for those who come back. Listings show what is remembered as templates.',
  },
  persistence_netmask: {
    type: 'netmask',
    read: values.bitMask,
    unit: '',
    default: '255.255.255.255',
    without: '',
    range: '`255.255.255.0`, `/24` or `24`; any bits',
    reloadable: true,
    example: '255.255.255.0',
    doc: 'With `persistence`: which bits of the address make a client. All behind one mask go to one server.',
  },
  expire_quiescent_template: {
    type: 'word',
    read: values.oneOf(['off', 'on']),
    unit: '',
    default: 'off',
    without: '',
    range: 'off, on',
    reloadable: true,
    example: 'on',
    doc: 'With `persistence`: whether a server whose weight is 0, or that is drained, gets its clients back (`off`) or they are scheduled anew (`on`).',
  },
  fragments: {
    type: 'word',
    read: values.oneOf(FRAGMENT_POLICIES),
    unit: '',
    default: 'reassemble',
    without: '',
    range: FRAGMENT_POLICIES.join(', '),
    reloadable: true,
    example: 'forward',
    doc: 'Modes of layer 4: what becomes of fragments. `reassemble` puts datagrams together, and cuts them again where the link demands it. `forward`, for TCP and UDP in modes `dr` and `tun`, passes each on as it comes, to the server of the first one, and drops those that come before it. `drop` drops all. Services of one address and protocol must agree.',
  },
  one_packet: {
    type: 'word',
    read: values.oneOf(['off', 'on']),
    unit: '',
    default: 'off',
    without: '',
    range: 'off, on',
    reloadable: true,
    example: 'on',
    doc: 'UDP in modes `nat`, `dr` and `tun`: each datagram is scheduled by itself and nothing is remembered of it, for DNS and the like, where one client asks many unrelated questions. With `nat`, answers are translated by the address and port of the server.',
  },
  ...serviceTcpRows,
  retries: {
    type: 'number',
    read: values.integer(0, 100, 'the number of retries'),
    unit: 'servers',
    default: '3',
    without: '',
    range: '0..100',
    reloadable: true,
    example: '1',
    doc: 'How many further servers are tried when connecting to the chosen one fails.',
  },
  ...checkRows,
  slow_start: {
    ...globalRows.slow_start,
    default: null,
    without: 'that of [global]',
    doc: 'As in [global], for this service.',
  },
  max_connections: {
    type: 'number',
    read: values.integer(0, 1_000_000, 'a number of connections'),
    unit: 'connections',
    default: '0',
    without: '',
    range: '0..1000000; 0 is no limit',
    reloadable: false,
    example: '200',
    doc: 'How many connections each server may have, those being opened and closed included. A server that has as many gets no more until one has ended.',
  },
  queue_timeout: {
    type: 'time',
    read: values.duration(0, HOUR_MS),
    unit: 'ms, s, m, h, d',
    default: '0',
    without: '',
    range: '0..1h; 0 does not wait',
    reloadable: true,
    example: '5s',
    doc: 'Mode `proxy`: how long a client waits, first come, first served, while every server has `max_connections`. Then it is reset. With a `backup` nobody waits.',
  },
  proxy_protocol: {
    type: 'word',
    read: values.oneOf(PROXY_PROTOCOLS),
    unit: '',
    default: 'off',
    without: '',
    range: PROXY_PROTOCOLS.join(', '),
    reloadable: true,
    example: 'v2',
    doc: 'Mode `proxy`: whether each connection to a server begins with a header that names the client and the address it asked for, and in which version of the PROXY protocol. The servers must expect it.',
  },
  accept_proxy: {
    type: 'list of networks',
    read: values.cidrList,
    unit: '',
    default: null,
    without: 'connections begin with the data of the client',
    range: 'addresses and networks as 10.1.0.0/16, none twice',
    reloadable: true,
    example: '192.168.100.0/28, 192.168.100.77',
    doc: 'Mode `proxy`: who connects on behalf of clients and says so in a header of the PROXY protocol, version 1 or 2. The client it names is the one that counts from then on. A connection from elsewhere, or without a correct header within `connect_timeout`, is reset.',
  },
  backup: {
    type: 'server',
    read: values.server,
    unit: '',
    default: null,
    without: 'such clients are refused',
    range: '`ip:port:weight:mac` as for serverN; the weight does not matter',
    reloadable: true,
    example: '192.168.100.19:80:1:00:00:00:00:00:00',
    doc: 'A server for connections that no other one can take: to say sorry, or to carry on with less.',
  },
  ...serverRows,
  count: { ...serverRows.count, range: '0..65535', without: 'mode `snat` has no servers' },
} satisfies Rows;

const markRows = {
  mark: {
    type: 'number',
    read: values.integer(1, 0xffffffff, 'a mark'),
    unit: '',
    ...REQUIRED,
    range: '1..4294967295',
    reloadable: true,
    example: '7',
    doc: 'What packets that fit are marked with, until a service has been found for them.',
  },
  match: {
    ...matchRow,
    without: '',
    example: 'tcp,to=192.168.100.10:80-443',
    doc: 'Which packets: as in [service NAME]. An address that stands alone behind `to` becomes an address of ours, as the `ip` of a service does.',
  },
} satisfies Rows;

const vipRows = {
  ip,
  ports,
  mac: { ...ownMac, doc: 'Our own MAC address, with which ARP requests for the VIP are answered.' },
} satisfies Rows;

/** In the order of the generated page. */
export const SCHEMA = {
  global: { named: false, doc: 'The program as a whole. May be left out.', rows: globalRows },
  tcp: {
    named: false,
    doc: 'TCP itself: the connections of mode `proxy` and of health checks. May be left out.',
    rows: tcpRows,
  },
  vip: {
    named: false,
    doc: 'The virtual address of the plain form: one VIP, every port of it a service over the servers of [realserver], scheduled by `conhash` over the 5-tuple. With several ports the services are called `vip:80`, `vip:8080`; a single one is called `vip`.',
    rows: vipRows,
  },
  realserver: { named: false, doc: 'The servers behind [vip]. The two sections need each other.', rows: serverRows },
  network: { named: false, doc: 'The network that the first link is in.', rows: networkRows },
  link: {
    named: true,
    doc: 'What packets come and go by. Without this section it is the TAP interface tap0 with offloads. Several sections are several links, each with a network of its own.',
    rows: linkRows,
  },
  mark: {
    named: true,
    doc: 'A rule that gives packets a firewall mark, so that one service may take several ports, protocols or addresses. The first rule that fits counts.',
    rows: markRows,
  },
  service: {
    named: true,
    doc: 'A service with its own servers, beside or instead of [vip] and [realserver]. As many as needed; an address and port belong to one service only. With several ports the services are called `NAME:PORT`, with one `NAME`.',
    rows: serviceRows,
  },
} as const satisfies Readonly<Record<string, Section>>;

export type SectionKind = keyof typeof SCHEMA;
