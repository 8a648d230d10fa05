/** Every mistake is reported, with its line, its key and what would be right. Each case changes one thing in a valid file. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatError } from '../../../../src/config/error.ts';
import { load, loadFile } from '../../../../src/config/load.ts';

const PLAIN = `[global]
mode = proxy
[vip]
ip = 192.168.100.10
ports = 80,8080
mac = 02:00:00:64:00:0a
[realserver]
count = 2
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
server2 = 192.168.100.12:80:1:00:00:00:00:00:00
[network]
gateway = 192.168.100.1
netmask = 255.255.255.0
`;

const GENERAL = `[link lan]
device = tap0
[network]
gateway = 192.168.100.1
netmask = 255.255.255.0
local_address = 192.168.100.20
[service web]
ip = 192.168.100.10
ports = 80
count = 1
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
[service db]
ip = 192.168.100.30
ports = 5432
count = 1
server1 = 192.168.100.13:5432:1:00:00:00:00:00:00
`;

function errorsOf(text: string): string[] {
  const loaded = load(text, 'lb.conf');
  return 'errors' in loaded ? loaded.errors.map(formatError) : [];
}

/** Lines of `text` by number, each replaced (by several, by none). */
function edit(text: string, changes: Record<number, string | null>): string {
  return text
    .split('\n')
    .flatMap((line, i) => (changes[i + 1] === undefined ? [line] : (changes[i + 1]?.split('\n') ?? [])))
    .join('\n');
}

function reports(name: string, text: string, changes: Record<number, string | null>, expected: string[]): void {
  test(name, () => assert.equal(errorsOf(edit(text, changes)), expected));
}

const ADDRESS = 'write four numbers 0..255 without leading zeros, as in 192.168.100.10';
const MAC = 'write six pairs of hexadecimal digits, as in 02:00:00:64:00:0a';
const SHARED = 'VIPs, gateway and local addresses share one network: correct the address or the netmask';
const SERVER = 'write ip:port:weight:mac, as in 192.168.100.11:80:1:00:00:00:00:00:00';

test('the files the cases start from are valid', () => {
  assert.equal(errorsOf(PLAIN), []);
  assert.equal(errorsOf(GENERAL), []);
});

// Names
reports('unknown key', PLAIN, { 5: 'prots = 80' }, ["lb.conf:5: [vip] prots: unknown key; did you mean 'ports'?"]);
reports('unknown server key', PLAIN, { 10: 'servre2 = 1.2.3.4:1:1:00:00:00:00:00:00' }, [
  'lb.conf:8: [realserver] server2: key is missing; count = 2 asks for server1 to server2',
  "lb.conf:10: [realserver] servre2: unknown key; did you mean 'server2'?",
]);
reports('key of another section', PLAIN, { 6: 'gateway = 192.168.100.1' }, [
  'lb.conf:6: [vip] gateway: unknown key; it belongs to [network]',
]);
reports('key like no other', PLAIN, { 6: 'colour = blue' }, [
  'lb.conf:6: [vip] colour: unknown key; known keys: ip, ports, mac',
]);
reports('unknown section', PLAIN, { 7: '[realservers]' }, [
  'lb.conf:7: [realservers]: unknown section; did you mean [realserver]?',
]);
reports('unknown section of a named kind', GENERAL, { 1: '[lnk lan]' }, [
  'lb.conf:1: [lnk lan]: unknown section; did you mean [link NAME]?',
]);
reports('section like no other', PLAIN, { 1: '[elsewhere]\n[global]' }, [
  'lb.conf:1: [elsewhere]: unknown section; known sections: [global], [tcp], [vip], [realserver], [network], [link NAME], [mark NAME], [service NAME]',
]);
reports('mistakes inside a mistyped section', PLAIN, { 1: '[gobal]', 2: 'mode = prox' }, [
  'lb.conf:1: [gobal]: unknown section; did you mean [global]?',
  "lb.conf:2: [gobal] mode: 'prox' is unknown; did you mean 'proxy'?",
]);
reports('duplicate key', PLAIN, { 6: 'ip = 192.168.100.99' }, [
  'lb.conf:6: [vip] ip: duplicate key, first in line 4; keep one of them',
]);
reports('duplicate section', PLAIN, { 6: '[vip]\nmac = 02:00:00:64:00:0a' }, [
  'lb.conf:6: [vip]: duplicate section, first in line 3; put all its keys in one place',
]);
reports('duplicate section that differs in spaces', GENERAL, { 12: '[service  web]' }, [
  'lb.conf:12: [service web]: duplicate section, first in line 7; put all its keys in one place',
  'lb.conf:13: [service web] ip: duplicate key, first in line 8; keep one of them',
  'lb.conf:14: [service web] ports: duplicate key, first in line 9; keep one of them',
  'lb.conf:15: [service web] count: duplicate key, first in line 10; keep one of them',
  'lb.conf:16: [service web] server1: duplicate key, first in line 11; keep one of them',
]);
reports('section without the name it needs', GENERAL, { 12: '[service]' }, [
  'lb.conf:12: [service]: has no name; write [service NAME]',
]);
reports('section with a name it does not take', PLAIN, { 11: '[network lan]' }, [
  'lb.conf:11: [network lan]: takes no name; write [network]',
]);
reports('section name of odd characters', GENERAL, { 12: '[service a/b]' }, [
  "lb.conf:12: [service a/b]: 'a/b' is not a name; use up to 64 letters, digits and . _ : -",
]);
reports('section names with dots are whole', GENERAL, { 12: '[service db.example]' }, []);
reports('names that objects have are nothing special', PLAIN, { 6: '__proto__ = 1\n[constructor]' }, [
  'lb.conf:6: [vip] __proto__: unknown key; known keys: ip, ports, mac',
  'lb.conf:7: [constructor]: unknown section; known sections: [global], [tcp], [vip], [realserver], [network], [link NAME], [mark NAME], [service NAME]',
]);

// Lines
reports('line without =', PLAIN, { 5: 'ports 80' }, [
  'lb.conf:3: [vip] ports: key is missing; add ports = 80,8080',
  "lb.conf:5: [vip] ports 80: has no '='; write key = value",
]);
reports('line with = in its comment only', PLAIN, { 6: 'mac # = 1' }, [
  "lb.conf:6: [vip] mac: has no '='; write key = value",
]);
reports('line without a key', PLAIN, { 6: '= 5' }, ["lb.conf:6: [vip]: has no key before '='; write key = value"]);
reports('key above the first section', PLAIN, { 1: 'mode = proxy\n[global]', 2: null }, [
  'lb.conf:1: mode: stands before the first section; put a line such as [global] above it',
]);
reports('section that is not closed', PLAIN, { 1: '[global', 2: null }, [
  "lb.conf:1: '[global' is not a section; write [name] on a line of its own",
]);

// What must be there
reports('missing key', PLAIN, { 4: null }, ['lb.conf:3: [vip] ip: key is missing; add ip = 192.168.100.10']);
reports('missing netmask', PLAIN, { 13: null }, [
  'lb.conf:11: [network] netmask: key is missing; add netmask = 255.255.255.0',
]);
reports('missing count', PLAIN, { 8: null }, ['lb.conf:7: [realserver] count: key is missing; add count = 2']);
reports('missing [network]', PLAIN, { 11: null, 12: null, 13: null }, [
  'lb.conf:10: [network]: section is missing; add [network] with gateway and netmask',
]);
reports('missing [realserver]', PLAIN, { 7: null, 8: null, 9: null, 10: null }, [
  'lb.conf:9: [realserver]: section is missing; add [realserver] with the servers behind [vip]',
]);
reports('missing [vip]', PLAIN, { 3: null, 4: null, 5: null, 6: null }, [
  'lb.conf:9: [vip]: section is missing; add [vip] with the address that clients connect to',
]);
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

test('the end of a tunnel needs no service', () => {
  const loaded = load('[global]\nipip_from = 10.0.0.2, 10.1.0.0/16\n[network]\nnetmask = /24\n', 'lb.conf');
  if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
  assert.equal(loaded.model.global.ipipFrom, [
    { network: 0x0a000002, prefixLen: 32 },
    { network: 0x0a010000, prefixLen: 16 },
  ]);
  assert.is(loaded.model.global.layer4, false);
});

test('slow_start: of [global], and what a service says instead', () => {
  const text = `[global]\nslow_start = 30s\n${GENERAL.replace('[service db]', 'slow_start = 0\n[service db]')}`;
  const loaded = load(text, 'lb.conf');
  if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
  assert.equal(
    loaded.model.services.map(({ slowStartMs }) => slowStartMs),
    [0, 30_000],
  );
});

test('[tcp]: what it says, and what services say instead', () => {
  const text = `[tcp]
congestion = reno
ecn = off
mss_clamp = 1200
user_timeout = 30s
keepalive_idle = 0
keepalive_count = 9
max_half_open = 99
syn_cookies = always
time_wait = 5s
${GENERAL.replace('[service db]', 'keepalive_idle = 7s\nkeepalive_interval = 1s\nmax_half_open = 11\n[service db]')}`;
  const loaded = load(text, 'lb.conf');
  if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
  const { tcp, services } = loaded.model;
  assert.equal(tcp, {
    congestion: 'reno',
    ecn: 'off',
    mssClamp: 1200,
    userTimeoutMs: 30_000,
    keepAlive: { idleMs: 0, intervalMs: 15_000, count: 9 },
    maxHalfOpen: 99,
    synCookies: 'always',
    timeWaitMs: 5000,
  });
  assert.equal(
    services.map(({ keepAlive, maxHalfOpen }) => ({ ...keepAlive, maxHalfOpen })),
    [
      { idleMs: 7000, intervalMs: 1000, count: 9, maxHalfOpen: 11 },
      { idleMs: 0, intervalMs: 15_000, count: 9, maxHalfOpen: 4096 },
    ],
  );
});

test('an empty file lacks everything', () => {
  assert.equal(errorsOf(''), [
    'lb.conf:1: [vip]: section is missing; add [vip] and [realserver], or a [service NAME]',
    'lb.conf:1: [network]: section is missing; add [network] with gateway and netmask',
  ]);
});
reports('key without a value', PLAIN, { 4: 'ip =   # none' }, [
  'lb.conf:4: [vip] ip: has no value; write one, as in 192.168.100.10',
]);

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
reports('SNAT with servers, without pool and match', PLAIN, { 2: 'mode = snat' }, [
  'lb.conf:3: [vip] match: mode snat needs a match; add match = from=10.1.0.0/16',
  'lb.conf:3: [vip] local_address: mode snat needs local addresses; add local_address = 192.168.100.30, an address of its own',
  'lb.conf:9: [realserver] server1: mode snat has no servers; leave them out',
]);
reports('unknown mode', PLAIN, { 2: 'mode = bridge' }, [
  "lb.conf:2: [global] mode: 'bridge' is unknown; write proxy, fnat, nat, dr, tun or snat",
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
test('an address and port can be two services, one of TCP and one of UDP', () => {
  const udp = {
    12: 'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\n[service dns]\nip = 192.168.100.10\nports = 80\nproto = udp\nmode = dr\ncount = 1\nserver1 = 192.168.100.11:80:1:00:00:00:00:00:00',
  };
  assert.equal(errorsOf(edit(GENERAL, { 11: udp[12] })), []);
});
reports('FullNAT without local addresses', GENERAL, { 6: null, 9: 'ports = 80\nmode = fnat' }, [
  'lb.conf:6: [service web] local_address: mode fnat needs local addresses; add local_address = 192.168.100.30, an address of its own',
]);
reports('FullNAT from the VIP', GENERAL, { 9: 'ports = 80\nmode = fnat\nlocal_address = 192.168.100.10' }, [
  'lb.conf:11: [service web] local_address: 192.168.100.10 is a VIP; write an address of its own',
]);
reports('local addresses nobody asks for', GENERAL, { 9: 'ports = 80\nmode = nat\nlocal_address = 192.168.100.30' }, [
  'lb.conf:11: [service web] local_address: mode nat has no local addresses of its own; remove it, or choose mode fnat',
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
reports('mode proxy without servers', PLAIN, { 8: 'count = 0', 9: null, 10: null }, [
  'lb.conf:3: [vip] count: mode proxy needs servers; add server1 and count them, or choose a mode of layer 4',
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

// The whole
reports('VIP outside the network', PLAIN, { 4: 'ip = 192.168.200.10' }, [
  `lb.conf:4: [vip] ip: 192.168.200.10 is outside the network 192.168.100.0/24; ${SHARED}`,
]);
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

test('every error of a file is listed, from top to bottom', () => {
  const text = edit(PLAIN, { 2: 'mode = nta', 4: 'ip = 1.2.3', 5: 'prots = 80', 10: null, 13: 'netmask = x' });
  assert.equal(
    errorsOf(text).map((line) => line.split(': ').slice(0, 2).join(': ')),
    [
      'lb.conf:2: [global] mode',
      'lb.conf:4: [vip] ip',
      'lb.conf:5: [vip] prots',
      'lb.conf:8: [realserver] server2',
      'lb.conf:12: [network] netmask',
    ],
  );
});

test('an error carries its parts', () => {
  const loaded = load(edit(PLAIN, { 5: '  prots = 80' }), 'etc/lb.conf');
  assert.equal('errors' in loaded && loaded.errors, [
    {
      file: 'etc/lb.conf',
      line: 5,
      column: 3,
      section: 'vip',
      key: 'prots',
      message: 'unknown key',
      hint: "did you mean 'ports'?",
    },
  ]);
});

test('long garbage is cut in messages', () => {
  for (const line of errorsOf(
    `${PLAIN}${'x'.repeat(5000)}\n${'y'.repeat(5000)} = 1\ngateway2 = ${'z'.repeat(5000)}\n`,
  )) {
    assert.ok(line.length < 250, line);
  }
});

// Files
const directory = mkdtempSync(join(tmpdir(), 'tsvs-config-'));
const fileErrors = (file: string): string[] => {
  const loaded = loadFile(file);
  return 'errors' in loaded ? loaded.errors.map((error) => formatError(error).replace(directory, 'DIR')) : [];
};

test('missing file', () => {
  assert.equal(fileErrors(join(directory, 'none.conf')), [
    'DIR/none.conf: there is no such file; check the path; config/lb.conf is a sample to start from',
  ]);
});

test('directory in place of a file', () => {
  assert.equal(fileErrors(directory), ['DIR: is a directory; name a file']);
});

test('what has no end or nobody at the other end is refused, not waited for', () => {
  assert.equal(fileErrors('/dev/zero'), ['/dev/zero: is a device; name a file']);
  const pipe = join(directory, 'pipe');
  assert.is(spawnSync('mkfifo', [pipe]).status, 0);
  const loaded = loadFile(pipe, undefined, false);
  assert.ok('errors' in loaded);
  assert.equal(loaded.errors.map(formatError), [`${pipe}: is a pipe; name a file`]);
});

test('a pipe is read where there is time for that, but not for ever', () => {
  const check = (words: string): string =>
    spawnSync(
      'bash',
      ['-c', `${words} | timeout 20 ${process.execPath} --import tsx src/bin.ts check --config /dev/stdin`],
      {
        encoding: 'utf8',
      },
    ).stderr;
  assert.match(check('echo "[vip"'), /^\/dev\/stdin:1: /);
  assert.match(check("yes '# nothing'"), /^\/dev\/stdin: is too large; a configuration has at most 16 MiB/);
});

test('binary file', () => {
  const file = join(directory, 'binary.conf');
  writeFileSync(file, Buffer.from([0x5b, 0x76, 0x69, 0x70, 0x5d, 0x0a, 0x7f, 0x45, 0x4c, 0x46, 0x00, 0xff, 0xfe]));
  assert.equal(fileErrors(file), [
    'DIR/binary.conf:2: is not a text file: it contains the control character 0x7f; save it as UTF-8 text',
  ]);
});

test('UTF-16 file', () => {
  const file = join(directory, 'utf16.conf');
  writeFileSync(file, Buffer.from(`\ufeff${PLAIN}`, 'utf16le'));
  assert.equal(fileErrors(file), [
    'DIR/utf16.conf:1: is not a text file: it contains the control character 0x00; save it as UTF-8 text',
  ]);
});

test('a value that is not UTF-8 is refused', () => {
  const file = join(directory, 'latin.conf');
  const bytes = Buffer.from(edit(PLAIN, { 2: 'control_socket = /run/tsvs-\u00e9' }), 'latin1');
  writeFileSync(file, bytes);
  assert.equal(fileErrors(file), [
    "DIR/latin.conf:2: [global] control_socket: '/run/tsvs-\ufffd' contains bytes that are not UTF-8; choose a plain name",
  ]);
});

test.after(() => rmSync(directory, { recursive: true }));

/** [service web] with these lines more. */
const webWith = (lines: string): Record<number, string> => ({ 9: `ports = 80\n${lines}` });

reports('what checks cannot be asked', GENERAL, webWith('check = ping\ncheck_interval = 50ms\nrise = 0\nfall = 101'), [
  "lb.conf:10: [service web] check: 'ping' is unknown; write off, tcp or http",
  'lb.conf:11: [service web] check_interval: 50ms is too short; a time is 100ms..1h',
  'lb.conf:12: [service web] rise: 0 is too small; a number of checks is 1..100',
  'lb.conf:13: [service web] fall: 101 is too large; a number of checks is 1..100',
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
reports('what one worker can', GENERAL, { 7: RULED, 8: 'mode = dr\nfragments = forward', 9: null }, []);
reports('networks of clients', GENERAL, webWith('accept_proxy = 10.0.0.1/8, 10.0.0.0/33, ten'), [
  'lb.conf:10: [service web] accept_proxy: 10.0.0.1/8 has bits beyond its prefix; write 10.0.0.0/8',
  "lb.conf:10: [service web] accept_proxy: '10.0.0.0/33' is not a network; write networks and addresses, as in 10.1.0.0/16, 192.168.100.77",
  "lb.conf:10: [service web] accept_proxy: 'ten' is not a network; write networks and addresses, as in 10.1.0.0/16, 192.168.100.77",
]);
reports('a backup that is a server already', GENERAL, webWith('backup = 192.168.100.11:80:1:00:00:00:00:00:00'), [
  'lb.conf:10: [service web] backup: duplicate server 192.168.100.11:80, first in line 12; keep one, with the sum of the weights',
]);

test.run();
