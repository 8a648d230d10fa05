/** Keys that say where a service is and which servers it has: of [service], [vip] and [realserver]. */
import { MODES } from '../model.ts';
import * as values from '../values.ts';
import { number, word } from './kinds.ts';
import { REQUIRED, type Row, type Rows, SERVER_KEYS, SERVER_N } from './row.ts';

export const ip = {
  type: 'address',
  read: values.address,
  ...REQUIRED,
  range: 'an IPv4 host address in the network of [network]',
  reloadable: true,
  example: '192.168.100.10',
  doc: 'The virtual address (VIP) that clients connect to.',
} satisfies Row;

export const ports = {
  type: 'list of ports',
  read: values.portList,
  ...REQUIRED,
  range: '1..65535 each, no port twice',
  reloadable: true,
  example: '80,8080',
  doc: 'The ports clients connect to, separated by commas. Each is a service of its own over the same servers.',
} satisfies Row;

export const ownMac = {
  type: 'MAC address',
  read: values.mac,
  default: null,
  without: '02:00 followed by the four bytes of the first VIP',
  range: 'not multicast, not zero',
  reloadable: false,
  example: '02:00:00:64:00:0a',
};

export const serverRows = {
  count: {
    ...number(0, 65535, 'the number of servers', 'servers'),
    ...REQUIRED,
    reloadable: true,
    example: '2',
    doc: 'How many servers follow: server1 to serverN, none missing and none beyond. Services of layer 4 may have none yet.',
  },
  [SERVER_N]: {
    type: 'server',
    read: values.server,
    ...REQUIRED,
    range: '`ip:port:weight:mac`; port 1..65535, weight 0..65535',
    reloadable: true,
    example: '192.168.100.11:80:1:00:00:00:00:00:00',
    doc: 'A real server. The first three colons part the fields, what follows is the MAC address; 00:00:00:00:00:00 asks for it by ARP. With most schedulers a server of weight 2 gets twice the connections of one of weight 1; weight 0 gets no new ones with any scheduler, so with mode `proxy` one server at least needs more. An IPv6 address is written in brackets, and refused as not supported yet.',
  },
  [SERVER_KEYS.name]: {
    type: 'name',
    read: values.serverName,
    default: null,
    without: '`serverN`',
    range: 'up to 64 letters, digits and `. _ : -`; no two servers of a service have one name',
    reloadable: true,
    example: '192.168.100.11:80',
    doc: 'What the server with this number is called in commands and logs, as in `server1_name`.',
  },
  [SERVER_KEYS.mode]: {
    ...word(MODES),
    default: null,
    without: 'the mode of the service',
    range: MODES.filter((mode) => mode !== 'proxy').join(', '),
    reloadable: true,
    example: 'dr',
    doc: 'Layer 4: how packets reach this server, as in `server1_mode`.',
  },
  [SERVER_KEYS.upper]: {
    ...number(0, 0x7fffffff, 'a number of connections', 'connections'),
    default: null,
    without: '`max_connections`',
    reloadable: true,
    example: '1000',
    doc: 'How many connections this server may have, as in `server1_upper`; 0 is no limit. With several `workers` each keeps to it.',
  },
  [SERVER_KEYS.lower]: {
    ...number(0, 0x7fffffff, 'a number of connections', 'connections'),
    default: null,
    without: 'three quarters of `serverN_upper`',
    range: '0..2147483647, at most `serverN_upper`',
    reloadable: true,
    example: '800',
    doc: 'A server that has reached `serverN_upper` gets new connections again below this number.',
  },
} satisfies Rows;
