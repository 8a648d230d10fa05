/** F-Stack's config.ini beside lb.conf: what is taken from it, what is named as unused, what contradicts. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatIpv4 } from '../../../../src/config/address.ts';
import { formatError } from '../../../../src/config/error.ts';
import { type Loaded, loadFile, loadWithFstack } from '../../../../src/config/load.ts';

const SAMPLE = new URL('../../../../config/lb.conf', import.meta.url);
const lbConf = readFileSync(SAMPLE, 'utf8');

const FSTACK = `[dpdk]
# Hexadecimal bitmask of cores to run on.
lcore_mask=1
channel=4
port_list=0

[pcap]
enable=0

[port0]
addr=192.168.100.20
netmask=255.255.255.0
broadcast=192.168.100.255
gateway=192.168.100.1
lcore_list=0

[freebsd.boot]
hz=100

[freebsd.sysctl]
net.inet.tcp.sack.enable=1
net.inet.tcp.cc.algorithm=cubic
`;

const together = (fstack: string, lb = lbConf): Loaded => loadWithFstack(lb, 'lb.conf', fstack, 'config.ini');
const errorsOf = (loaded: Loaded): string[] => ('errors' in loaded ? loaded.errors.map(formatError) : []);

function network(loaded: Loaded): { gateway: string | null; prefixLen: number; localAddresses: string[] } {
  if (!('model' in loaded)) throw new Error(errorsOf(loaded).join('\n'));
  const { gateway, prefixLen, localAddresses } = loaded.model.network;
  return {
    gateway: gateway === null ? null : formatIpv4(gateway),
    prefixLen,
    localAddresses: localAddresses.map(formatIpv4),
  };
}

const HOME = { gateway: '192.168.100.1', prefixLen: 24, localAddresses: ['192.168.100.20'] };

test('addr becomes the local address', () => {
  assert.equal(network(together(FSTACK)), HOME);
});

test('netmask and gateway fill what lb.conf leaves out', () => {
  assert.equal(network(together(FSTACK, lbConf.replace(/^(gateway|netmask).*$/gm, ''))), HOME);
  assert.equal(network(together(FSTACK, lbConf.replace(/\[network\][\s\S]*$/, ''))), HOME);
});

test('every other key is named in one warning, broadcast is not', () => {
  const expected =
    'config.ini: these keys have no effect here: [dpdk] lcore_mask, channel, port_list; [pcap] enable; [port0] lcore_list; ' +
    '[freebsd.boot] hz; [freebsd.sysctl] net.inet.tcp.sack.enable, net.inet.tcp.cc.algorithm';
  assert.equal(together(FSTACK).warnings, [expected]);
});

test('nothing unused, no warning', () => {
  const bare = '[port0]\naddr=192.168.100.20\nnetmask=255.255.255.0\nbroadcast=192.168.100.255\n';
  assert.equal(together(bare).warnings, []);
});

test('each port adds its address', () => {
  const two = `${FSTACK}[port1]\naddr=192.168.100.21\nnetmask=255.255.255.0\n`;
  assert.equal(network(together(two)).localAddresses, ['192.168.100.20', '192.168.100.21']);
});

test('the address may be the VIP', () => {
  assert.equal(network(together(FSTACK.replace('addr=192.168.100.20', 'addr=192.168.100.10'))).localAddresses, [
    '192.168.100.10',
  ]);
});

test('local_address of lb.conf stays when it names the port as well', () => {
  const lb = `${lbConf}local_address = 192.168.100.22, 192.168.100.20\n`;
  assert.equal(network(together(FSTACK, lb)).localAddresses, ['192.168.100.22', '192.168.100.20']);
});

const lineOf = (text: string, start: string): number =>
  text.split('\n').findIndex((line) => line.startsWith(start)) + 1;

test('contradictions are errors in lb.conf that name the other file', () => {
  const lb = `${lbConf}local_address = 192.168.100.22\n`;
  const fstack = FSTACK.replace('gateway=192.168.100.1', 'gateway=192.168.100.2').replace(
    'netmask=255.255.255.0',
    'netmask=255.255.0.0',
  );
  assert.equal(errorsOf(together(fstack, lb)), [
    `lb.conf:${lineOf(lb, 'gateway')}: [network] gateway: 192.168.100.1 differs from 192.168.100.2 of [port0] (config.ini:14); make them agree, or leave one out`,
    `lb.conf:${lineOf(lb, 'netmask')}: [network] netmask: /24 differs from /16 of [port0] (config.ini:12); make them agree, or leave one out`,
    `lb.conf:${lineOf(lb, 'local_address')}: [network] local_address: the list lacks 192.168.100.20, addr of [port0] (config.ini:11); add it, or leave local_address out`,
  ]);
});

test('ports in different networks are refused', () => {
  const two = `${FSTACK}[port1]\naddr=192.168.100.21\nnetmask=255.255.0.0\ngateway=192.168.100.9\n`;
  assert.equal(errorsOf(together(two)), [
    'config.ini:25: [port1] netmask: /16 differs from /24 of [port0] (line 12); ports in different networks are not supported yet',
    'config.ini:26: [port1] gateway: 192.168.100.9 differs from 192.168.100.1 of [port0] (line 14); ports in different networks are not supported yet',
  ]);
});

test('bad values are errors in their own file, and nobody asks lb.conf for a netmask then', () => {
  const lb = lbConf.replace(/^netmask.*$/gm, '');
  assert.equal(
    errorsOf(together(FSTACK.replace('255.255.255.0', '255.255.225.0').replace('addr=192', 'addr=392'), lb)),
    [
      "config.ini:11: [port0] addr: '392.168.100.20' is not an IPv4 address; write four numbers 0..255 without leading zeros, as in 192.168.100.10",
      'config.ini:12: [port0] netmask: 255.255.225.0 is not contiguous: its one bits must all come first; as in 255.255.255.0',
    ],
  );
});

test('an address outside the network is reported where it stands', () => {
  assert.equal(errorsOf(together(FSTACK.replace('addr=192.168.100.20', 'addr=10.0.0.20'))), [
    'config.ini:11: [port0] addr: 10.0.0.20 is outside the network 192.168.100.0/24; VIPs, gateway and local addresses share one network: correct the address or the netmask, or give a link its network or the address as a /32',
  ]);
});

test('a port without addr, and no port at all', () => {
  assert.equal(errorsOf(together('[port0]\nnetmask=255.255.255.0\n')), [
    'config.ini:1: [port0] addr: key is missing; add addr = 192.168.100.20',
  ]);
  assert.equal(errorsOf(together('[dpdk]\nchannel=4\n')), [
    'config.ini:2: [port0]: section is missing; add [port0] with addr, netmask and gateway',
  ]);
});

test('lines of other sections are not judged, those of ports are', () => {
  assert.equal(errorsOf(together(`${FSTACK}what is this\n`)), []);
  assert.equal(errorsOf(together(FSTACK.replace('lcore_list=0', 'lcore_list'))), [
    "config.ini:15: [port0] lcore_list: has no '='; write key = value",
  ]);
});

test('errors of both files are listed', () => {
  const found = errorsOf(
    together(FSTACK.replace('addr=192', 'addr=392'), lbConf.replace('mode = proxy', 'mode = nta')),
  );
  assert.equal(
    found.map((line) => line.split(': ').slice(0, 2).join(': ')),
    [`lb.conf:${lineOf(lbConf, 'mode')}: [global] mode`, 'config.ini:11: [port0] addr'],
  );
});

test('a missing config.ini is an error', () => {
  assert.equal(errorsOf(loadFile(SAMPLE.pathname, '/nonexistent/config.ini')), [
    '/nonexistent/config.ini: there is no such file; check the path; config/lb.conf is a sample to start from',
  ]);
});

test.run();
