/** Addresses, netmasks and MACs as text and as numbers. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  formatIpv4,
  formatNetwork,
  isGroupMac,
  macBytes,
  macFromIpv4,
  netmaskOf,
  notAHost,
  parseIpv4,
  parseMac,
  prefixLenOf,
  reservedRole,
} from '../../../../src/config/address.ts';

const ip = (text: string): number => parseIpv4(text) as number;

test('every int32 is an address that prints and reads back', () => {
  fc.assert(
    fc.property(fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }), (n) => assert.is(parseIpv4(formatIpv4(n)), n)),
  );
  assert.is(ip('192.168.0.1'), 0xc0a80001 | 0);
});

test('what is not four plain numbers is no address', () => {
  for (const text of [
    '',
    '1.2.3',
    '1.2.3.4.5',
    '1.2.3.256',
    '01.2.3.4',
    '1.2.3.4 ',
    '1.2.3.-4',
    '1.2.3.4e0',
    '0x1.2.3.4',
    '1..2.3',
  ]) {
    assert.is(parseIpv4(text), null, text);
  }
});

test('netmasks and prefix lengths are inverse', () => {
  for (let n = 0; n <= 32; n++) assert.is(prefixLenOf(netmaskOf(n)), n);
  for (const mask of ['255.0.255.0', '0.0.0.1', '255.255.225.0', '127.255.255.255'])
    assert.is(prefixLenOf(ip(mask)), -1);
  assert.is(formatNetwork(ip('192.168.100.10'), 24), '192.168.100.0/24');
});

test('special addresses are told apart', () => {
  assert.is(notAHost(ip('223.255.255.254')), '');
  assert.match(notAHost(ip('239.0.0.1')), 'multicast');
  assert.is(reservedRole(ip('10.0.0.0'), 8), 'network');
  assert.is(reservedRole(ip('10.255.255.255'), 8), 'broadcast');
  assert.is(reservedRole(ip('10.0.0.1'), 8), '');
  assert.is(reservedRole(ip('10.0.0.0'), 31), '');
  assert.is(reservedRole(ip('10.0.0.0'), 32), '');
});

test('MAC addresses have one spelling', () => {
  assert.is(parseMac('02:00:00:64:00:0A'), '02:00:00:64:00:0a');
  for (const text of [
    '',
    '02:00:00:64:00',
    '02:00:00:64:00:0a:00',
    '02-00-00-64-00-0a',
    '2:0:0:64:0:a',
    '02:00:00:64:00:0g',
  ]) {
    assert.is(parseMac(text), null, text);
  }
  assert.equal(macBytes('02:00:00:64:00:0a'), [2, 0, 0, 0x64, 0, 10]);
  assert.ok(isGroupMac('ff:ff:ff:ff:ff:ff'));
  assert.not(isGroupMac('02:00:00:00:00:00'));
  assert.is(macFromIpv4(ip('192.168.100.10')), '02:00:c0:a8:64:0a');
});

test.run();
