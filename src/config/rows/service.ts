/** Keys of [service], and those it shares with [mark] and [vip]. */
import { MAX_TIMEOUT_S } from '../../../lb/proto/index.ts';
import { checkScheduler } from '../../../lb/sched/index.ts';
import { match } from '../match.ts';
import {
  EXPIRE_QUIESCENT,
  FRAGMENT_POLICIES,
  PROTOS,
  PROXY_PROTOCOLS,
  SCHEDULER_KEYS,
  SCHEDULERS,
  type SchedulerKey,
  TIMESTAMPS,
} from '../model.ts';
import * as values from '../values.ts';
import { checkRows } from './check.ts';
import { globalRows } from './global.ts';
import { number, time, word } from './kinds.ts';
import { DAY_MS, HOUR_MS, REQUIRED, type Row, type Rows } from './row.ts';
import { ip, ownMac, ports, serverRows } from './server.ts';
import { serviceTcpRows } from './tcp.ts';

const OF_RULES = 'the service has a mark or a match';
const matchRow = {
  type: 'match',
  read: match,
  default: null,
  range: '`PROTO,from=RANGE,to=RANGE,iif=LINK,oif=LINK`; any of them',
  reloadable: true,
} as const;

/** A key that is an option of one scheduler, with the values and the default that lb/sched gives it. */
function optionRow(key: SchedulerKey, example: string, doc: string): Row<string> {
  const { scheduler, option } = SCHEDULER_KEYS[key];
  const words = checkScheduler(scheduler, {}).options[option];
  return {
    ...word(words),
    default: words[0],
    reloadable: true,
    example,
    doc: `${doc} Other schedulers do not look at it.`,
  };
}

export const serviceRows = {
  ip: { ...ip, without: OF_RULES },
  ports: {
    ...ports,
    read: values.servicePorts,
    without: `${OF_RULES}, or is of ICMP`,
    range: '1..65535 each, no port twice; 0 = all ports',
    doc: `${ports.doc} \`0\` is a service for all ports that have none of their own, in a mode of layer 4; with \`persistence\` a client is remembered for all of them.`,
  },
  mark: {
    ...number(1, 0xffffffff, 'a mark'),
    default: null,
    without: 'the service has an address or a match',
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
    ...word(PROTOS),
    default: 'tcp',
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
    default: 'conhash',
    range: `${SCHEDULERS.join(', ')}, or a file as in \`./mine.ts\``,
    reloadable: true,
    example: 'rr',
    doc: "Who gets the next connection. `conhash` hashes it onto a ring of servers: a server that leaves moves only its own share, and brings it back when it returns. `rr` takes the servers in turn, whatever their weights, `wrr` by weight; `lc`, `wlc`, `sed` and `nq` go by the connections a server has; `sh` and `mh` by the address of the client, `dh`, `lblc` and `lblcr` by the address it asked for; `fo` and `ovf` prefer the heaviest; `twos` takes the better of two at random. [The schedulers](schedulers.md) has each one's rule, and says when to take it. A file, its path relative to this one, is a scheduler of your own in TypeScript or JavaScript.",
  },
  hash_key: optionRow(
    'hash_key',
    'source',
    'What `conhash` hashes: `5tuple` (protocol, both addresses, both ports) spreads connections, `source` (the address of the client) sends a client to the same server every time. `quic`, for UDP, is the first eight bytes of the connection id that a QUIC packet is addressed to: who comes from another address with the same id meets the same server. Ids are renewed, and the first one is the choice of the client, so that takes servers whose own ids keep these bytes; packets without an id of that length go by `5tuple`.',
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
  mh_table: {
    ...optionRow(
      'mh_table',
      '65537',
      'How many entries the table of `mh` has, a prime. A hundred for each server keep their shares within 1 %; with fewer servers a smaller table is quicker to build.',
    ),
    type: 'number',
    unit: 'entries',
  },
  connect_timeout: {
    ...time(1, DAY_MS),
    default: '5s',
    reloadable: true,
    example: '2s',
    doc: 'How long a server may take to accept a connection before the next one is tried.',
  },
  client_timeout: {
    ...time(0, 7 * DAY_MS, 'is no limit'),
    default: '0',
    reloadable: true,
    example: '15m',
    doc: 'How long the client may stay silent before its session is ended.',
  },
  server_timeout: {
    ...time(0, 7 * DAY_MS, 'is no limit'),
    default: '0',
    reloadable: true,
    example: '15m',
    doc: 'How long the server may stay silent before the session is ended.',
  },
  fin_timeout: {
    ...time(0, 7 * DAY_MS, 'is no limit'),
    default: '0',
    reloadable: true,
    example: '2m',
    doc: 'How long a session may stay silent once one side has closed its direction.',
  },
  local_address: {
    type: 'list of addresses',
    read: values.addressesOrNone,
    default: null,
    without: 'those of [network]',
    range: '`none`, or IPv4 host addresses in the network, none twice, no VIP',
    reloadable: true,
    example: '192.168.100.30, 192.168.100.31',
    doc: 'Mode `fnat`: where packets to the servers leave from. Each address gives 64,511 connections to each server, and more to several. One that mode `proxy` uses cannot be among them. With `none` connections are refused until there is one.',
  },
  mss_clamp: {
    ...number(0, 1460, 'a segment size', 'bytes', 'leaves it'),
    default: '0',
    reloadable: true,
    example: '1400',
    doc: 'Modes `fnat`, `nat` and `snat`: the largest TCP segment size that client and server may announce to each other, for paths whose routers do not tell their MTU. In `dr` and `tun` the server answers the client itself, so its announcement does not pass here: it is the server that has to make it smaller, as by `ip route change default via ... advmss 1440`.',
  },
  timestamps: {
    ...word(TIMESTAMPS),
    default: 'strip',
    reloadable: true,
    example: 'translate',
    doc: 'Mode `fnat`: what becomes of the timestamps of TCP (RFC 7323), which of many clients behind one local address do not rise from one connection to the next, as servers expect. `strip` takes the option out of the SYN, so that neither end uses it. `translate` has each connection begin with a clock of tsvs, and translates values and echoes from then on: for long fat paths, where sequence numbers alone wrap too fast. Such connections do not take the short cut of layer 4, which costs throughput.',
  },
  conn_timeout: {
    ...time(0, MAX_TIMEOUT_S * 1000),
    range: '0..364d; 0 is that of [global]',
    default: '0',
    reloadable: true,
    example: '15m',
    doc: 'Modes of layer 4: how long an established TCP connection of this service, or a flow of UDP, may be silent. What is chosen here is more than `tcp_timeout` and `udp_timeout` say. A part of a second counts as a second; a connection goes by a new value from its next packet on.',
  },
  expire_quiescent: {
    ...word(EXPIRE_QUIESCENT),
    default: 'off',
    reloadable: true,
    example: 'on',
    doc: 'Modes of layer 4: what happens to the connections of a server whose weight is 0, that is in `drain` or `maint`, or that was removed. `off` lets them go on until they end, `on` ends each with its next packet, by a reset where both directions pass here; `removed` does so only for servers that were removed. A datagram of UDP or an echo request that ends its flow begins a new one, to another server.',
  },
  persistence: {
    ...time(0, 31 * DAY_MS, 'remembers nobody'),
    default: '0',
    reloadable: true,
    example: '6m',
    doc: 'Modes of layer 4: how long after its last connection a client is remembered, so that its next one goes to the same server. While connections of it live it is not forgotten. A server that fails its checks, is in maintenance or was removed gets nobody back; the limit of connections does not hold for those who come back. Listings show what is remembered as templates.',
  },
  persistence_netmask: {
    type: 'netmask',
    read: values.bitMask,
    default: '255.255.255.255',
    range: '`255.255.255.0`, `/24` or `24`; any bits',
    reloadable: true,
    example: '255.255.255.0',
    doc: 'With `persistence`: which bits of the address make a client. All behind one mask go to one server.',
  },
  expire_quiescent_template: {
    ...word(['off', 'on']),
    default: 'off',
    reloadable: true,
    example: 'on',
    doc: 'With `persistence`: whether a server whose weight is 0, or that is drained, gets its clients back (`off`) or they are scheduled anew (`on`).',
  },
  fragments: {
    ...word(FRAGMENT_POLICIES),
    default: 'reassemble',
    reloadable: true,
    example: 'forward',
    doc: 'Modes of layer 4: what becomes of fragments. `reassemble` puts datagrams together, and cuts them again where the link demands it. `forward`, for TCP and UDP in modes `dr` and `tun`, passes each on as it comes, to the server of the first one, and drops those that come before it. `drop` drops all. Services of one address and protocol must agree; one with a `mark` or `match` says it for itself.',
  },
  one_packet: {
    ...word(['off', 'on']),
    default: 'off',
    reloadable: true,
    example: 'on',
    doc: 'UDP in modes `nat`, `dr` and `tun`: each datagram is scheduled by itself and nothing is remembered of it, for DNS and the like, where one client asks many unrelated questions. With `nat`, answers are translated by the address and port of the server; where those stand for several VIPs (a firewall mark, a match, two such services over one server), connections are kept after all.',
  },
  ...serviceTcpRows,
  retries: {
    ...number(0, 100, 'the number of retries', 'servers'),
    default: '3',
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
    ...number(0, 1_000_000, 'a number of connections', 'connections', 'is no limit'),
    default: '0',
    reloadable: false,
    example: '200',
    doc: 'How many connections each server may have, those being opened and closed included. A server that has as many gets no more until one has ended. With several `workers` each keeps to it: divide it by their number for what all of them together may open.',
  },
  queue_timeout: {
    ...time(0, HOUR_MS, 'does not wait'),
    default: '0',
    reloadable: true,
    example: '5s',
    doc: 'Mode `proxy`: how long a client waits, first come, first served, while every server has `max_connections`. Then it is reset. With a `backup` nobody waits.',
  },
  proxy_protocol: {
    ...word(PROXY_PROTOCOLS),
    default: 'off',
    reloadable: true,
    example: 'v2',
    doc: 'Mode `proxy`: whether each connection to a server begins with a header that names the client and the address it asked for, and in which version of the PROXY protocol. The servers must expect it.',
  },
  accept_proxy: {
    type: 'list of networks',
    read: values.cidrList,
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

export const markRows = {
  mark: {
    ...number(1, 0xffffffff, 'a mark'),
    ...REQUIRED,
    reloadable: true,
    example: '7',
    doc: 'What packets that fit are marked with, until a service has been found for them.',
  },
  match: {
    ...matchRow,
    example: 'tcp,to=192.168.100.10:80-443',
    doc: 'Which packets: as in [service NAME]. An address that stands alone behind `to` becomes an address of ours, as the `ip` of a service does.',
  },
} satisfies Rows;

export const vipRows = {
  ip,
  ports,
  mac: { ...ownMac, doc: 'Our own MAC address, with which ARP requests for the VIP are answered.' },
} satisfies Rows;
