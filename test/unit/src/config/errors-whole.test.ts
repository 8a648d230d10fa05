/** Values of a configuration file that are good alone and do not go together, each with the message it gets. */
import { test } from 'uvu';
import { GENERAL, PLAIN, reports, webWith } from './mistakes.ts';

const SHARED =
  'VIPs, gateway and local addresses share one network: correct the address or the netmask, or give a link its network or the address as a /32';

// Modes of services
reports('SNAT with servers, without pool and match', PLAIN, { 2: 'mode = snat' }, [
  'lb.conf:3: [vip] match: mode snat needs a match; add match = from=10.1.0.0/16',
  'lb.conf:3: [vip] local_address: mode snat needs local addresses; add local_address = 192.168.100.30, an address of its own',
  'lb.conf:9: [realserver] server1: mode snat has no servers; leave them out',
]);
reports('UDP for the proxy', GENERAL, { 9: 'ports = 80\nproto = udp' }, [
  'lb.conf:7: [service web] proto: mode proxy carries TCP only; choose mode fnat, nat, dr or tun',
]);
reports('FullNAT from an address of the proxy', GENERAL, { 9: 'ports = 80\nmode = fnat' }, [
  'lb.conf:7: [service web] local_address: 192.168.100.20 is the local address of mode proxy; give the service a local_address of its own',
]);
reports('direct routing from the VIP alone', GENERAL, { 6: null, 9: 'ports = 80\nmode = dr' }, [
  'lb.conf:6: [service web] mode: mode dr needs an address of ours besides the VIP: servers that have the VIP do not hear one who calls himself so; add local_address = 192.168.100.20 to [network]',
]);
reports('direct routing to another port', GENERAL, { 9: 'ports = 80,81\nmode = dr' }, [
  'lb.conf:12: [service web] server1: mode dr does not translate ports: port 81 cannot become 80; let the server listen on the port of the service',
]);
reports('FullNAT without local addresses', GENERAL, { 6: null, 9: 'ports = 80\nmode = fnat' }, [
  'lb.conf:6: [service web] local_address: mode fnat needs local addresses; add local_address = 192.168.100.30, an address of its own',
]);
reports('FullNAT from the VIP', GENERAL, { 9: 'ports = 80\nmode = fnat\nlocal_address = 192.168.100.10' }, [
  'lb.conf:11: [service web] local_address: 192.168.100.10 is a VIP; write an address of its own',
]);
reports('local addresses nobody asks for', GENERAL, { 9: 'ports = 80\nmode = nat\nlocal_address = 192.168.100.30' }, [
  'lb.conf:11: [service web] local_address: mode nat has no local addresses of its own; remove it, or choose mode fnat',
]);
reports('mode proxy without servers', PLAIN, { 8: 'count = 0', 9: null, 10: null }, [
  'lb.conf:3: [vip] count: mode proxy needs servers; add server1 and count them, or choose a mode of layer 4',
]);

// Servers
reports('duplicate server', PLAIN, { 10: 'server2 = 192.168.100.11:80:3:00:00:00:00:00:00' }, [
  'lb.conf:10: [realserver] server2: duplicate server 192.168.100.11:80, first in line 9; keep one, with the sum of the weights',
]);
reports('server that is the service', PLAIN, { 10: 'server2 = 192.168.100.10:80:1:00:00:00:00:00:00' }, [
  'lb.conf:10: [realserver] server2: 192.168.100.10:80 is the service itself; write the address of a real server',
]);
reports('server that is a VIP', GENERAL, { 11: 'server1 = 192.168.100.30:81:1:00:00:00:00:00:00' }, [
  'lb.conf:11: [service web] server1: 192.168.100.30 is a VIP; write the address of a real server',
]);
reports('server that is a local address', GENERAL, { 11: 'server1 = 192.168.100.20:80:1:00:00:00:00:00:00' }, [
  'lb.conf:11: [service web] server1: 192.168.100.20 is a local address; write the address of a real server',
]);
reports(
  'router at a link whose network local addresses alone tell, as when the last service has gone',
  '[global]\nlayer4 = on\n[link lan]\nroutes = 10.5.0.0/16 via 192.168.100.1\n' +
    '[network]\nnetmask = /24\nlocal_address = 192.168.100.20\n',
  {},
  [],
);
const PORTS = Array.from({ length: 256 }, (_, i) => 1000 + i).join(',');
reports('more services than there is room for', GENERAL, { 9: `ports = ${PORTS}` }, [
  'lb.conf:12: [service db]: 257 services, each port one, are too many; there is room for 256',
]);
const SERVERS = Array.from({ length: 17 }, (_, i) => `server${i + 1} = 192.168.100.${100 + i}:80:1:00:00:00:00:00:00`);
reports(
  'more servers than there is room for',
  GENERAL,
  { 9: `ports = ${PORTS.split(',').slice(0, 255)}`, 10: 'count = 17', 11: SERVERS.join('\n') },
  ['lb.conf:28: [service db]: 4336 servers of all services are too many; there is room for 4096'],
);
const TWO_ARMS = '[link wan]\naddress = 10.1.0.2/24\n[network]';
for (const [what, address, found] of [
  ['the address of a link', '10.1.0.2', 'is a local address; write the address of a real server'],
  ["the broadcast address of a link's network", '10.1.0.255', "is a broadcast address; write a host's own address"],
  ["the address of a link's network", '10.1.0.0', "is a network address; write a host's own address"],
] as const) {
  reports(`server that is ${what}`, GENERAL, { 3: TWO_ARMS, 11: `server1 = ${address}:80:1:00:00:00:00:00:00` }, [
    `lb.conf:13: [service web] server1: ${address} ${found}`,
  ]);
}

// Networks and links
reports('VIP outside the network', PLAIN, { 4: 'ip = 192.168.200.10' }, [
  `lb.conf:4: [vip] ip: 192.168.200.10 is outside the network 192.168.100.0/24; ${SHARED}`,
]);
reports(
  'VIP of no network, which routers send here: given to a link it is right',
  GENERAL,
  { 2: 'device = tap0\naddress = 203.0.113.10/32', 8: 'ip = 203.0.113.10' },
  [],
);
reports('gateway outside the network', PLAIN, { 12: 'gateway = 10.0.0.1' }, [
  `lb.conf:12: [network] gateway: 10.0.0.1 is outside the network 192.168.100.0/24; ${SHARED}`,
]);
reports(
  'VIP alone against the gateway, servers elsewhere',
  PLAIN,
  {
    4: 'ip = 192.168.200.10',
    9: 'server1 = 10.1.1.1:80:1:00:00:00:00:00:00',
    10: 'server2 = 10.1.1.2:80:1:00:00:00:00:00:00',
  },
  [`lb.conf:4: [vip] ip: 192.168.200.10 is outside the network 192.168.100.0/24; ${SHARED}`],
);
reports('local address outside the network', GENERAL, { 6: 'local_address = 192.168.100.20, 10.0.0.9' }, [
  `lb.conf:6: [network] local_address: 10.0.0.9 is outside the network 192.168.100.0/24; ${SHARED}`,
]);
reports('server behind a gateway', PLAIN, { 9: 'server1 = 10.1.1.1:80:1:00:00:00:00:00:00' }, []);
reports(
  'server outside the network without a gateway',
  PLAIN,
  {
    9: 'server1 = 10.1.1.1:80:1:00:00:00:00:00:00',
    12: null,
  },
  [
    'lb.conf:9: [realserver] server1: 10.1.1.1 is outside the network 192.168.100.0/24, and there is no gateway; add gateway to [network], or correct the address',
  ],
);
reports(
  'network and broadcast addresses',
  PLAIN,
  {
    4: 'ip = 192.168.100.0',
    9: 'server1 = 192.168.100.255:80:1:00:00:00:00:00:00',
    12: 'gateway = 192.168.100.255',
  },
  [
    "lb.conf:4: [vip] ip: 192.168.100.0 is the network address of 192.168.100.0/24; write a host's own address",
    "lb.conf:9: [realserver] server1: 192.168.100.255 is the broadcast address of 192.168.100.0/24; write a host's own address",
    "lb.conf:12: [network] gateway: 192.168.100.255 is the broadcast address of 192.168.100.0/24; write a host's own address",
  ],
);
reports('both addresses of a /31 are hosts', PLAIN, { 12: 'gateway = 192.168.100.11', 13: 'netmask = /31' }, []);
reports('VIP that is the gateway', PLAIN, { 12: 'gateway = 192.168.100.10' }, [
  'lb.conf:4: [vip] ip: 192.168.100.10 is the gateway; write an address of our own',
]);
reports('two services on one address and port', GENERAL, { 13: 'ip = 192.168.100.10', 14: 'ports = 5432, 80' }, [
  'lb.conf:14: [service db] ports: 192.168.100.10:80 belongs to [service web] already (line 7); give it to one of them',
]);
reports('two services of one name', GENERAL, { 9: 'ports = 80,81', 12: '[service web:80]' }, [
  "lb.conf:12: [service web:80]: two services are called 'web:80'; rename one of the sections",
]);
reports('second link without a network', GENERAL, { 3: '[link wan]\n[network]' }, [
  'lb.conf:3: [link wan] address: key is missing; add address = 10.1.0.2/24, as of this link',
]);
reports(
  'exception of a link that leaves frames to the kernel',
  GENERAL,
  { 2: 'kind = packet\nexception = tap:host0' },
  ['lb.conf:3: [link lan] exception: the kernel has what is not ours of a link of kind packet anyway; leave it out'],
);
reports('exception that is no TAP', GENERAL, { 2: 'exception = host0' }, [
  "lb.conf:2: [link lan] exception: 'host0' is not a TAP; write tap: and up to 15 characters, as in tap:host0",
]);
reports('mode nat on an xdp link', GENERAL, { 2: 'kind = xdp', 9: 'ports = 80\nmode = nat' }, [
  'lb.conf:1: [link lan] mac: mode nat on an xdp link needs a MAC address that is not the one of the interface; add mac = 02:00:00:64:00:0a',
]);
reports('interface name that is too long', GENERAL, { 2: 'device = interface-number-0' }, [
  "lb.conf:2: [link lan] device: 'interface-number-0' cannot be the name of an interface; up to 15 characters without / : and spaces, as in tap0",
]);
reports('link and vip of different macs', PLAIN, { 1: '[link lan]\nmac = 02:00:00:00:00:01\n[global]' }, [
  'lb.conf:2: [link lan] mac: 02:00:00:00:00:01 is not the mac of [vip], 02:00:00:64:00:0a (line 8); keep one of them',
]);
reports('path with a character of its own meaning', PLAIN, { 2: 'control_socket = "/run/a;b"' }, [
  "lb.conf:2: [global] control_socket: '/run/a;b' contains the character ;; choose a plain name",
]);
reports(
  'what cannot be a request or an answer',
  GENERAL,
  webWith('check_path = health\ncheck_status = 2xx, 299-200\ncheck_host = a b'),
  [
    "lb.conf:10: [service web] check_path: 'health' does not begin with /; as in /health",
    "lb.conf:11: [service web] check_status: '2xx' is not a status code; write codes 100..599, as in 200-299, 401",
    'lb.conf:11: [service web] check_status: 299-200 is empty; write the smaller code first',
    "lb.conf:12: [service web] check_host: 'a b' is not the name of a host; write a name or address, as in www.example.com:8080",
  ],
);
reports(
  'checks that contradict themselves',
  GENERAL,
  webWith('check = http\ncheck_timeout = 3s\ncheck_method = HEAD\ncheck_body = fine'),
  [
    'lb.conf:11: [service web] check_timeout: a check would take longer than check_interval; make it at most as long',
    'lb.conf:13: [service web] check_body: the answer to HEAD has no body; choose check_method = GET, or leave this out',
  ],
);
reports(
  'what layer 4 does not have',
  GENERAL,
  webWith(
    'mode = nat\nproxy_protocol = v1\naccept_proxy = 10.0.0.0/8\ncheck = tcp\ncheck_passive = on\nqueue_timeout = 1s',
  ),
  [
    'lb.conf:7: [service web] proxy_protocol: mode nat has no PROXY protocol; choose mode proxy, or leave it out',
    'lb.conf:7: [service web] accept_proxy: mode nat has no PROXY protocol; choose mode proxy, or leave it out',
    'lb.conf:7: [service web] queue_timeout: mode nat has no sessions that could wait; choose mode proxy, or leave it out',
    'lb.conf:7: [service web] check_passive: mode nat has no sessions that could tell; choose mode proxy, or leave it out',
  ],
);
reports(
  'what the proxy cannot remember, and what FullNAT must not forget',
  GENERAL,
  webWith('mode = proxy\npersistence = 32d\none_packet = on\npersistence_netmask = 255.255'),
  [
    'lb.conf:7: [service web] one_packet: only UDP can be scheduled packet by packet; leave it out',
    'lb.conf:11: [service web] persistence: 32d is too long; a time is 0..31d',
    "lb.conf:13: [service web] persistence_netmask: '255.255' is not a netmask; write 255.255.255.0 or /24",
  ],
);
reports('persistence of the proxy', GENERAL, webWith('persistence = 1m'), [
  'lb.conf:7: [service web] persistence: mode proxy remembers no clients; choose scheduler sh or conhash with hash_key = source, or a mode of layer 4',
]);
reports('QUIC over TCP', GENERAL, webWith('mode = nat\nhash_key = quic'), [
  'lb.conf:7: [service web] hash_key: only UDP carries QUIC; choose proto = udp, or hash_key = 5tuple or source',
]);
reports(
  'FullNAT that forgets its clients',
  GENERAL,
  webWith('mode = fnat\nproto = udp\none_packet = on\nlocal_address = 192.168.100.40'),
  [
    'lb.conf:7: [service web] one_packet: mode fnat cannot answer what it has forgotten: the client of a local port; choose mode nat, dr or tun',
  ],
);
reports(
  'what a rule cannot say',
  GENERAL,
  {
    7: '[mark m]\nmark = 0\nmatch = sctp,from=10.0.0.9-10.0.0.1,to=1.2.3,iif=wan,from=10.0.0.0/8:90-80\n[service web]',
  },
  [
    'lb.conf:8: [mark m] mark: 0 is too small; a mark is 1..4294967295',
    "lb.conf:9: [mark m] match: 'sctp' is not understood; write it as in tcp,from=10.1.0.0/16,to=192.168.100.10:80-443,iif=lan",
    'lb.conf:9: [mark m] match: 10.0.0.9-10.0.0.1 is empty; write the smaller address first',
    "lb.conf:9: [mark m] match: '1.2.3' is not a range of addresses; write it as in tcp,from=10.1.0.0/16,to=192.168.100.10:80-443,iif=lan",
    'lb.conf:9: [mark m] match: from appears twice; name it once',
    'lb.conf:9: [mark m] match: 90-80 is empty; write the smaller port first',
  ],
);
reports('a mark at a link that is not there', GENERAL, { 7: '[mark m]\nmark = 1\nmatch = iif=wan\n[service web]' }, [
  'lb.conf:9: [mark m] match: there is no link wan; write lan',
]);
reports('a service with two ways to tell it', GENERAL, webWith('mode = nat\nmark = 7\nmatch = from=10.0.0.0/8'), [
  'lb.conf:8: [service web] ip: the service is told by its mark; remove ip and ports, or mark',
  'lb.conf:9: [service web] ports: the service is told by its mark; remove ip and ports, or mark',
  'lb.conf:12: [service web] match: the service has a mark already; keep one of them',
]);
reports('all ports of the proxy', GENERAL, { 9: 'ports = 0' }, [
  'lb.conf:7: [service web] ports: mode proxy serves TCP at an address and a port; choose a mode of layer 4',
]);
reports('fragments that cannot be forwarded', GENERAL, webWith('mode = nat\nfragments = forward'), [
  'lb.conf:7: [service web] fragments: only TCP and UDP in modes dr and tun can forward fragments; choose reassemble or drop',
]);
reports(
  'fragments of one address and two minds',
  GENERAL,
  { 7: '[service other]\nip = 192.168.100.10\nports = 81\nmode = nat\nfragments = drop\ncount = 0\n[service web]' },
  [
    'lb.conf:13: [service web] fragments: [service other] (line 7) has the address too, and says drop; let all services of an address and protocol say the same',
  ],
);

const RULED = '[mark m]\nmark = 7\nmatch = to=192.168.100.10\n[service web]\nmark = 7';

reports(
  'what several workers cannot divide by a rule',
  `[global]\nworkers = 2\n${GENERAL}`,
  { 9: RULED, 10: 'mode = dr\nfragments = forward\npersistence = 1m', 11: null },
  [
    'lb.conf:12: [service web] fragments: cannot be divided among several workers when the service goes by a rule; set workers = 1, or choose reassemble',
    'lb.conf:12: [service web] persistence: persistence cannot be divided among several workers when the service goes by a rule; set workers = 1',
  ],
);
const TWO_WORKERS = `[global]\nworkers = 2\n${GENERAL}`;
const NAT_BY_RULE =
  'mode: mode nat cannot be divided among several workers when the service goes by a rule; set workers = 1, or choose mode fnat';
reports('a server of NAT by a rule, for several workers', TWO_WORKERS, { 9: RULED, 10: 'mode = nat', 11: null }, [
  `lb.conf:12: [service web] ${NAT_BY_RULE}`,
]);
reports(
  'a server with mode nat of its own by a rule, for several workers',
  TWO_WORKERS,
  { 9: RULED, 10: 'mode = dr', 11: null, 13: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\nserver1_mode = nat' },
  [`lb.conf:12: [service web] ${NAT_BY_RULE}`],
);
reports(
  'NAT by a rule for several workers, without servers yet',
  TWO_WORKERS,
  { 9: RULED, 10: 'mode = nat', 11: null, 12: 'count = 0', 13: null },
  [],
);
reports('what one worker can', GENERAL, { 7: RULED, 8: 'mode = dr\nfragments = forward', 9: null }, []);
reports('a backup that is a server already', GENERAL, webWith('backup = 192.168.100.11:80:1:00:00:00:00:00:00'), [
  'lb.conf:10: [service web] backup: duplicate server 192.168.100.11:80, first in line 12; keep one, with the sum of the weights',
]);

test.run();
