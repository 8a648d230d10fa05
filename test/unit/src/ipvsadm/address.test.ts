/** Addresses as the C library reads and prints them. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  type Address,
  formatAddress,
  isUnicast,
  parseIpv4Loosely,
  parseIpv6,
} from '../../../../src/ipvsadm/address.ts';

const read = (text: string): string | null => {
  const address = parseIpv4Loosely(text);
  return address === null ? null : formatAddress(address);
};

test('IPv4 is read in short, octal and hexadecimal forms', () => {
  assert.is(read('10.0.1.100'), '10.0.1.100');
  assert.is(read('010.0.1.100'), '8.0.1.100');
  assert.is(read('0x0a.0.1.0x64'), '10.0.1.100');
  assert.is(read('10.1'), '10.0.0.1');
  assert.is(read('10.1.256'), '10.1.1.0');
  assert.is(read('24'), '0.0.0.24');
  assert.is(read('4294967295'), '255.255.255.255');
});

test('what overflows its part, or is no number, is no IPv4 address', () => {
  for (const text of [
    '',
    '.',
    '256.1.1.1',
    '1.2.3.256',
    '1.2.65536',
    '4294967296',
    '08.1.1.1',
    '1.2.3.4.5',
    '1..2',
    'a.b',
  ])
    assert.is(read(text), null, text);
});

test('IPv6 is printed with its longest run of zeros as ::, mapped addresses with their IPv4', () => {
  const printed = (text: string): string => formatAddress(parseIpv6(text) as Address);
  assert.is(printed('FD00:1:0:0:0:0:0:100'), 'fd00:1::100');
  assert.is(printed('1:0:0:2:0:0:0:3'), '1:0:0:2::3');
  assert.is(printed('1:0:2:3:4:5:6:7'), '1:0:2:3:4:5:6:7');
  assert.is(printed('::'), '::');
  assert.is(printed('1::'), '1::');
  assert.is(printed('::ffff:a00:164'), '::ffff:10.0.1.100');
  assert.is(printed('::1.2.3.4'), '::1.2.3.4');
  for (const text of ['fe80::1%eth0', 'fd00::zz', '1:2:3', '10.0.0.1']) assert.is(parseIpv6(text), null, text);
});

test('any IPv6 address printed is read back as the same', () => {
  const int32 = fc.oneof(fc.constant(0), fc.integer());
  fc.assert(
    fc.property(fc.tuple(int32, int32, int32, int32), (words) => {
      assert.equal(parseIpv6(formatAddress({ family: 6, words })), { family: 6, words });
    }),
  );
});

test('broadcast, multicast, unspecified and link-local addresses are no servers', () => {
  const fits = (text: string): boolean => isUnicast((parseIpv6(text) ?? parseIpv4Loosely(text)) as Address);
  for (const text of ['10.0.0.1', '127.0.0.1', '240.0.0.1', '::1', 'fd00::1', '2001:db8::1'])
    assert.ok(fits(text), text);
  for (const text of ['0.0.0.0', '0.1.2.3', '224.0.0.1', '255.255.255.255', '::', 'ff02::1', 'fe80::1'])
    assert.not(fits(text), text);
});

test.run();
