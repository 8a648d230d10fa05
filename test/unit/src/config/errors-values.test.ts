/** Mistakes in single values of a configuration file, each with the message it gets. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorsOf, GENERAL, PLAIN, reports, webWith } from './mistakes.ts';

const ADDRESS = 'write four numbers 0..255 without leading zeros, as in 192.168.100.10';
const MAC = 'write six pairs of hexadecimal digits, as in 02:00:00:64:00:0a';
const SERVER = 'write ip:port:weight:mac, as in 192.168.100.11:80:1:00:00:00:00:00:00';

for (const [line, expected] of [
  ['congestion = bbr', "congestion: 'bbr' is unknown; write cubic or reno"],
  ['ecn = passiv', "ecn: 'passiv' is unknown; did you mean 'passive'?"],
  ['mss_clamp = 63', 'mss_clamp: 63 is too small; 0 leaves it, else a segment size is 64..1460'],
  ['mss_clamp = 9000', 'mss_clamp: 9000 is too large; 0 leaves it, else a segment size is 64..1460'],
  ['user_timeout = 30', "user_timeout: '30' has no unit; write 30s or 30ms"],
  ['keepalive_idle = 2d', 'keepalive_idle: 2d is too long; a time is 0..1d'],
  ['keepalive_interval = 0', 'keepalive_interval: 0 is too short; a time is 100ms..1h'],
  ['keepalive_count = 0', 'keepalive_count: 0 is too small; a number of probes is 1..20'],
  ['max_half_open = 0', 'max_half_open: 0 is too small; a number of connections is 1..65536'],
  ['syn_cookies = on', "syn_cookies: 'on' is unknown; write auto, always or off"],
  ['time_wait = 999ms', 'time_wait: 999ms is too short; a time is 1s..10m'],
  ['keepalive = 5s', 'keepalive: unknown key'],
] as const) {
  test(`[tcp] ${line} is refused`, () => {
    const [error, ...others] = errorsOf(`[tcp]\n${line}\n${PLAIN}`);
    assert.equal(others, []);
    assert.ok(error?.startsWith('lb.conf:2'), error);
    assert.ok(error?.includes(expected), `${error} -- should say: ${expected}`);
  });
}

for (const [line, expected] of [
  ['user = a b', "user: 'a b' is neither a name nor a number; write the name of an account, as in tsvs, or its id"],
  ['user = 4294967295', 'user: 4294967295 is too large; an id is 0..4294967294'],
  ['group = tsvs', 'group: a group without a user; add user = tsvs, or leave it out'],
  ['keep_capabilities = on', 'keep_capabilities: nothing is given up without a user; add user = tsvs, or leave it out'],
  ['control_group = ,', "control_group: ',' is neither a name nor a number"],
  ['control_mode = 0777', "control_mode: '0777' is unknown; "],
  ['ipip_from = 10.0.0.1/8', 'ipip_from: 10.0.0.1/8 has bits beyond its prefix; write 10.0.0.0/8'],
  ['slow_start = 30', "slow_start: '30' has no unit; write 30s or 30ms"],
  ['slow_start = 2h', 'slow_start: 2h is too long; a time is 0..1h'],
] as const) {
  test(`[global] ${line} is refused`, () => {
    const [error, ...others] = errorsOf(PLAIN.replace('mode = proxy', line));
    assert.equal(others, []);
    assert.ok(error?.startsWith('lb.conf:2'), error);
    assert.ok(error?.includes(expected), `${error} -- should say: ${expected}`);
  });
}

// Values
reports('bad address', PLAIN, { 4: 'ip = 192.168.100.300' }, [
  `lb.conf:4: [vip] ip: '192.168.100.300' is not an IPv4 address; ${ADDRESS}`,
]);
reports('address with a leading zero', PLAIN, { 4: 'ip = 192.168.100.010' }, [
  `lb.conf:4: [vip] ip: '192.168.100.010' is not an IPv4 address; ${ADDRESS}`,
]);
reports('address in full-width characters', PLAIN, { 4: 'ip = 192。168。100。10' }, [
  "lb.conf:4: [vip] ip: '192。168。100。10' is not an IPv4 address; use ASCII characters: . : , and not their full-width forms",
]);

for (const [text, why] of [
  ['224.0.0.18', 'is a multicast address'],
  ['127.0.0.1', 'is a loopback address'],
  ['0.0.0.0', 'is not the address of a host'],
  ['250.1.1.1', 'is a reserved address'],
  ['255.255.255.255', 'is the broadcast address'],
]) {
  reports(`address ${text}`, PLAIN, { 4: `ip = ${text}`, 12: null }, [
    `lb.conf:4: [vip] ip: ${text} ${why}; write a host's own address`,
  ]);
}

for (const text of ['2001:db8::1', '[2001:db8::1]']) {
  reports(`IPv6 address ${text}`, PLAIN, { 4: `ip = ${text}` }, [
    `lb.conf:4: [vip] ip: ${text} is an IPv6 address: not supported yet; write an IPv4 address`,
  ]);
}

reports('no ports', PLAIN, { 5: 'ports =' }, ['lb.conf:5: [vip] ports: has no value; write one, as in 80,8080']);
reports('every bad port of a list', PLAIN, { 5: 'ports = 0, 80,,http,70000,80,-1,99999999999999999999999' }, [
  'lb.conf:5: [vip] ports: 0 is too small; a port is 1..65535',
  'lb.conf:5: [vip] ports: has an empty entry in its list; write one value between two commas',
  "lb.conf:5: [vip] ports: 'http' is not a whole number; a port is 1..65535",
  'lb.conf:5: [vip] ports: 70000 is too large; a port is 1..65535',
  'lb.conf:5: [vip] ports: 80 appears twice; name it once',
  'lb.conf:5: [vip] ports: -1 is too small; a port is 1..65535',
  'lb.conf:5: [vip] ports: 99999999999999999999999 is too large; a port is 1..65535',
]);
reports('bad MAC', PLAIN, { 6: 'mac = 02:00:00:64:00' }, [
  `lb.conf:6: [vip] mac: '02:00:00:64:00' is not a MAC address; ${MAC}`,
]);
reports('multicast MAC of our own', PLAIN, { 6: 'mac = 01:00:5e:64:00:0a' }, [
  'lb.conf:6: [vip] mac: 01:00:5e:64:00:0a is a multicast MAC address; its first byte must be even, as in 02:00:00:64:00:0a',
]);
reports('zero MAC of our own', PLAIN, { 6: 'mac = 00:00:00:00:00:00' }, [
  'lb.conf:6: [vip] mac: 00:00:00:00:00:00 is no address of our own; write one, or leave the key out to have one made',
]);
reports('unknown mode', PLAIN, { 2: 'mode = bridge' }, [
  "lb.conf:2: [global] mode: 'bridge' is unknown; write proxy, fnat, nat, dr, tun or snat",
]);
reports('unknown word', PLAIN, { 2: 'log_level = wran' }, [
  "lb.conf:2: [global] log_level: 'wran' is unknown; did you mean 'warn'?",
]);
reports('unknown word like no other', GENERAL, { 9: 'ports = 80\nscheduler = magic' }, [
  "lb.conf:10: [service web] scheduler: 'magic' is unknown; write conhash, dh, fo, lblc, lblcr, lc, mh, nq, ovf, rr, sed, sh, twos, wlc or wrr",
]);
reports('number that is none', PLAIN, { 2: 'workers = two' }, [
  "lb.conf:2: [global] workers: 'two' is not a whole number; the number of workers, if not 'auto', is 1..16",
]);
reports('netmask that is not contiguous', PLAIN, { 13: 'netmask = 255.0.255.0' }, [
  'lb.conf:13: [network] netmask: 255.0.255.0 is not contiguous: its one bits must all come first; as in 255.255.255.0',
]);
reports('netmask that is none', PLAIN, { 13: 'netmask = wide' }, [
  "lb.conf:13: [network] netmask: 'wide' is not a netmask; write 255.255.255.0 or /24",
]);
reports('netmask of nothing', PLAIN, { 13: 'netmask = 0.0.0.0' }, [
  'lb.conf:13: [network] netmask: 0.0.0.0 covers every address; write 128.0.0.0 or longer, as in 255.255.255.0',
]);
reports('prefix length out of range', PLAIN, { 13: 'netmask = /33' }, [
  'lb.conf:13: [network] netmask: 33 is too large; a prefix length is 1..32',
]);
for (const text of ['24', '/24', '255.255.255.0']) reports(`netmask ${text}`, PLAIN, { 13: `netmask = ${text}` }, []);
reports('time without a unit', GENERAL, { 9: 'ports = 80\nclient_timeout = 30' }, [
  "lb.conf:10: [service web] client_timeout: '30' has no unit; write 30s or 30ms",
]);
reports('time that is none', GENERAL, { 9: 'ports = 80\nclient_timeout = soon' }, [
  "lb.conf:10: [service web] client_timeout: 'soon' is not a time; write a whole number and its unit, as in 500ms, 5s, 2m, 1h",
]);
reports('time out of range', GENERAL, { 9: 'ports = 80\nclient_timeout = 8d\nconnect_timeout = 0' }, [
  'lb.conf:10: [service web] client_timeout: 8d is too long; a time is 0..7d',
  'lb.conf:11: [service web] connect_timeout: 0 is too short; a time is 1ms..1d',
]);

// Servers
reports('server with too few parts', PLAIN, { 9: 'server1 = 192.168.100.11:80:1' }, [
  `lb.conf:9: [realserver] server1: '192.168.100.11:80:1' is not a server; ${SERVER}`,
]);
reports('every bad part of a server', PLAIN, { 9: 'server1 = 192.168.100:65536:65536:00:00:00:00:00' }, [
  `lb.conf:9: [realserver] server1: '192.168.100' is not an IPv4 address; ${ADDRESS}`,
  'lb.conf:9: [realserver] server1: 65536 is too large; a port is 0..65535',
  'lb.conf:9: [realserver] server1: 65536 is too large; a weight is 0..65535',
  `lb.conf:9: [realserver] server1: '00:00:00:00:00' is not a MAC address; ${MAC}`,
]);
reports('server with a multicast MAC', PLAIN, { 9: 'server1 = 192.168.100.11:80:1:ff:ff:ff:ff:ff:ff' }, [
  'lb.conf:9: [realserver] server1: ff:ff:ff:ff:ff:ff is a multicast MAC address; its first byte must be even, as in 02:00:00:64:00:0a',
]);
reports('server at an IPv6 address', PLAIN, { 9: 'server1 = [2001:db8::1]:80:1:00:00:00:00:00:00' }, [
  'lb.conf:9: [realserver] server1: [2001:db8::1] is an IPv6 address: not supported yet; write an IPv4 address',
]);
reports('missing servers', PLAIN, { 8: 'count = 6', 9: null }, [
  'lb.conf:8: [realserver] server1: key is missing; count = 6 asks for server1 to server6',
  'lb.conf:8: [realserver] server3 to server6: key is missing; count = 6 asks for server1 to server6',
]);
reports('server beyond count', PLAIN, { 8: 'count = 1' }, [
  'lb.conf:10: [realserver] server2: is beyond count = 1; raise count, or remove this server',
]);
reports(
  'server number with a zero in front',
  PLAIN,
  { 10: 'server02 = 192.168.100.12:80:1:00:00:00:00:00:00', 8: 'count = 1' },
  ['lb.conf:10: [realserver] server02: no such server number; count from server1, without leading zeros'],
);
reports('count of nothing', PLAIN, { 8: 'count = 0' }, [
  'lb.conf:9: [realserver] server1: is beyond count = 0; raise count, or remove this server',
  'lb.conf:10: [realserver] server2: is beyond count = 0; raise count, or remove this server',
]);
reports(
  'keys of a server that is not there',
  PLAIN,
  { 10: 'server2 = 192.168.100.12:80:1:00:00:00:00:00:00\nserver3_upper = 4' },
  ['lb.conf:11: [realserver] server3_upper: there is no server3; add server3, or remove this'],
);
reports(
  'a server with a mode of layer 4 in a service of mode proxy',
  PLAIN,
  { 9: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\nserver1_mode = dr' },
  [
    'lb.conf:10: [realserver] server1_mode: mode proxy is for all servers of a service or for none; choose a mode of layer 4 for both',
  ],
);
reports(
  'lower threshold above the upper one',
  PLAIN,
  { 9: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\nserver1_upper = 4\nserver1_lower = 5' },
  ['lb.conf:11: [realserver] server1_lower: 5 is more than server1_upper; make it at most as large'],
);
reports(
  'two servers of one name',
  PLAIN,
  { 9: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\nserver1_name = server2' },
  ["lb.conf:11: [realserver] server2: two servers are called 'server2'; rename one of them"],
);
reports('mistyped key of a server', PLAIN, { 9: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\nserver1_uper = 4' }, [
  "lb.conf:10: [realserver] server1_uper: unknown key; did you mean 'server1_upper'?",
]);
reports(
  'no weight at all',
  PLAIN,
  {
    9: 'server1 = 192.168.100.11:80:0:00:00:00:00:00:00',
    10: 'server2 = 192.168.100.12:80:0:00:00:00:00:00:00',
  },
  ['lb.conf:9: [realserver] server1: no server has a weight: all are 0; give one server at least a weight above 0'],
);
reports('one weight is enough', PLAIN, { 9: 'server1 = 192.168.100.11:80:0:00:00:00:00:00:00' }, []);
reports('what checks cannot be asked', GENERAL, webWith('check = ping\ncheck_interval = 50ms\nrise = 0\nfall = 101'), [
  "lb.conf:10: [service web] check: 'ping' is unknown; write off, tcp or http",
  'lb.conf:11: [service web] check_interval: 50ms is too short; a time is 100ms..1h',
  'lb.conf:12: [service web] rise: 0 is too small; a number of checks is 1..100',
  'lb.conf:13: [service web] fall: 101 is too large; a number of checks is 1..100',
]);
reports('networks of clients', GENERAL, webWith('accept_proxy = 10.0.0.1/8, 10.0.0.0/33, ten'), [
  'lb.conf:10: [service web] accept_proxy: 10.0.0.1/8 has bits beyond its prefix; write 10.0.0.0/8',
  "lb.conf:10: [service web] accept_proxy: '10.0.0.0/33' is not a network; write networks and addresses, as in 10.1.0.0/16, 192.168.100.77",
  "lb.conf:10: [service web] accept_proxy: 'ten' is not a network; write networks and addresses, as in 10.1.0.0/16, 192.168.100.77",
]);

test.run();
