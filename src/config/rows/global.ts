/** Keys of [global]. */

import { MAX_TIMEOUT_S } from '../../../lb/proto/index.ts';
import { CONTROL_MODES, LOG_LEVELS, MODES, TIMEOUT_PROFILES } from '../model.ts';
import * as values from '../values.ts';
import { time, word } from './kinds.ts';
import { DAY_MS, HOUR_MS, type Row, type Rows } from './row.ts';

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

export const globalRows = {
  mode: {
    ...word(MODES),
    default: 'proxy',
    reloadable: false,
    example: 'proxy',
    doc: 'How connections reach the servers, for every service that does not say it itself. `proxy` ends the TCP connection of the client here and opens another one to the server. The others pass packets on. `fnat`: from a local address of ours to the server, and back; nothing is asked of the network or the servers. `nat`: only the destination is rewritten; the servers must answer through us. `dr`: the packet goes untouched to the MAC address of the server, which has the VIP as well, without answering ARP for it, and answers the client itself. `tun`: as `dr`, but in an IPIP tunnel, over any number of hops. `snat`: the other way round, what hosts behind tsvs ask of the world leaves from an address of the `local_address` of the service; it needs a `match`, and has no servers: the scheduler chooses among the addresses, so that `scheduler = conhash` with `hash_key = source` keeps a host at one. Packets that come in by another link than the one that leads to their source are dropped.',
  },
  log_level: {
    ...word(LOG_LEVELS),
    default: 'info',
    reloadable: true,
    example: 'info',
    doc: 'The least important messages still logged.',
  },
  control_socket: {
    type: 'path',
    read: values.path,
    default: null,
    without: 'the program chooses',
    range: 'a path without `"` `\'` `\\` `#` `;`',
    reloadable: false,
    example: '/run/tsvs.sock',
    doc: 'The unix socket that answers `tsvs stats`, `tsvs sessions`, `tsvs drops` and `tsvs neigh`.',
  },
  control_mode: {
    ...word(CONTROL_MODES),
    default: '0660',
    reloadable: false,
    example: '0600',
    doc: 'Who may use the control socket: owner and group (`0660`), the owner alone, or everybody on the machine. Who may use it may change the configuration.',
  },
  control_group: {
    type: 'account',
    read: values.account,
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
    default: null,
    without: 'the process stays who it is',
    range: 'a name or a number',
    reloadable: false,
    example: 'tsvs',
    doc: 'Who the process becomes once its links are open and before the first frame is read, with no other group, no capability but those of `keep_capabilities`, and no way to get them back. From then on everything is done with the rights of that user: [Security](../SECURITY.md) says what follows for files.',
  },
  group: {
    type: 'account',
    read: values.account,
    default: null,
    without: 'the group of `user`',
    range: 'a name or a number',
    reloadable: false,
    example: 'tsvs',
    doc: 'With `user`: the group.',
  },
  keep_capabilities: {
    ...word(['off', 'on']),
    default: 'off',
    reloadable: false,
    example: 'on',
    doc: 'With `user`: whether the main thread and the workers keep what it takes to open links again, so that tsvs survives a deleted interface of a `packet` link with several workers or of an `xdp` link, and the death of a worker that drives an `xdp` link. That is CAP_NET_RAW, CAP_NET_ADMIN and CAP_BPF, and for `xdp` CAP_IPC_LOCK, each as far as a link needs it and tsvs was started with it; programs started by tsvs get none. [Security](../SECURITY.md) says what they are worth to an attacker.',
  },
  workers: {
    type: 'number',
    read: values.workers,
    unit: 'threads',
    default: '1',
    range: '1 to 16, auto',
    reloadable: false,
    example: '2',
    doc: 'How many threads carry packets; `auto` is one per processor. Each has a part of the connections, and a processor of its own as far as there are enough. Each counts by itself: with N workers a limit (of connections of a server, half-open ones, sessions) holds N times over all of them, and least-connection schedulers compare what one worker sees.',
  },
  polling: {
    ...word(['adaptive', 'busy']),
    default: 'adaptive',
    reloadable: false,
    example: 'busy',
    doc: 'What a worker does that has no work: with `adaptive` it looks for 50 microseconds and then sleeps until something comes; with `busy` it never sleeps. That takes the kernel out of the way of the next frame, and a processor for each worker at all times: for machines that have processors to spare.',
  },

  slow_start: {
    ...time(0, HOUR_MS, 'gives the whole weight at once'),
    default: '0',
    reloadable: true,
    example: '30s',
    doc: 'How long a server that comes up takes to get its whole weight, from a twentieth on in equal steps: after a failed check passes again, after `drain` or `maint`, when its weight was 0, and when it is added to a service. Schedulers that go by weight or load see the part that it has got. With `rr`, `fo`, `ovf` and those that hash, that part of the connections (or clients, where those decide) that would be its own goes to it, the rest as if it were down. A service that is new, and servers that are up when tsvs starts, begin with their whole weight.',
  },
  xmit_ttl: {
    ...word(['off', 'on']),
    default: 'off',
    reloadable: true,
    example: 'on',
    doc: 'Whether the modes of layer 4 count as a hop: with `on` they decrement TTL, and answer when it runs out.',
  },
  layer4: {
    ...word(['auto', 'on']),
    default: 'auto',
    reloadable: false,
    example: 'on',
    doc: 'Whether there is a layer 4: `auto` if a service is of it at the start, `on` always. Services of layer 4 can be added to a running tsvs only if there is one; with `on` the file may have no service at all.',
  },
  ipip_from: {
    type: 'list of networks',
    read: values.cidrList,
    default: null,
    without: 'no tunnel ends here',
    range: 'addresses and networks as 10.1.0.0/16, none twice',
    reloadable: false,
    example: '192.168.100.20',
    doc: 'Makes this tsvs the end of IPIP tunnels, for servers of mode `tun` whose system has none: it takes packets out of those that come from these addresses, and passes them on by its routes, one hop less. The file may have no service at all then.',
  },
  timeout_profile: {
    ...word(TIMEOUT_PROFILES),
    default: 'dpvs',
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
    default: 'off',
    range: 'off, or a path without `"` `\'` `\\` `#` `;`',
    reloadable: false,
    example: '/var/log/tsvs/access.log',
    doc: 'A file that gets one line of JSON for each finished session of mode `proxy`: times, client, VIP, server, bytes each way and how it ended. SIGUSR1 and SIGHUP open it anew, for programs that rotate logs.',
  },
  drain_timeout: {
    ...time(0, DAY_MS),
    default: '10s',
    reloadable: true,
    example: '10s',
    doc: 'How long sessions may go on after SIGTERM. What is left then is reset.',
  },
} satisfies Rows;
