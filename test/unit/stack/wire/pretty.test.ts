import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describe, ipText, macText } from '../../../../stack/wire/pretty.ts';

/** A frame of hex digits; blanks are ignored. */
const hex = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text.replace(/\s/g, ''), 'hex'));

const ETH = '0200000000020200000000010800';
const ip = (proto: string, len: number, flags = '4000'): string =>
  `4500 ${(20 + len).toString(16).padStart(4, '0')} 1234 ${flags} 40${proto} 0000 0a000001 0a000002`;

const text = (frame: string): string => {
  const bytes = hex(frame);
  return describe(bytes, 0, bytes.length);
};

const cases: [string, string, string][] = [
  [
    'an ARP request',
    'ffffffffffff 020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000002',
    'ARP, Request who-has 10.0.0.2 tell 10.0.0.1, length 28',
  ],
  [
    'an ARP announcement',
    'ffffffffffff 020000000001 0806 0001080006040001 020000000001 0a000001 000000000000 0a000001',
    'ARP, Announcement 10.0.0.1, length 28',
  ],
  [
    'an ARP reply',
    '020000000001 020000000002 0806 0001080006040002 020000000002 0a000002 020000000001 0a000001',
    'ARP, Reply 10.0.0.2 is-at 02:00:00:00:00:02, length 28',
  ],
  [
    'a ping',
    `${ETH} ${ip('01', 8)} 0800 0000 0007 0009`,
    'IP 10.0.0.1 > 10.0.0.2: ICMP echo request, id 7, seq 9, length 8',
  ],
  [
    'a demand for fragmentation',
    `${ETH} ${ip('01', 8)} 0304 0000 0000 0578`,
    'IP 10.0.0.1 > 10.0.0.2: ICMP need to frag unreachable (mtu 1400), length 8',
  ],
  [
    'a UDP datagram',
    `${ETH} ${ip('11', 12)} 0035 c000 000c 0000 61626364`,
    'IP 10.0.0.1.53 > 10.0.0.2.49152: UDP, length 4',
  ],
  [
    'a SYN with options',
    `${ETH} ${ip('06', 40)} c000 0050 ffffffff 00000000 a0c2 faf0 0000 0000 020405b4 0402 080a 00000001 80000000 01 030307`,
    'IP 10.0.0.1.49152 > 10.0.0.2.80: Flags [SEW], seq 4294967295, win 64240, options [mss 1460,sackOK,TS val 1 ecr 2147483648,nop,wscale 7], length 0',
  ],
  [
    'data over the end of the sequence space, with SACK',
    `${ETH} ${ip('06', 34)} 0050 c000 fffffffe 00000010 8018 0100 0000 0000 0101 050a 00000020 00000030 6162`,
    'IP 10.0.0.1.80 > 10.0.0.2.49152: Flags [P.], seq 4294967294:0, ack 16, win 256, options [nop,nop,sack 1 {32:48}], length 2',
  ],
  [
    'a first fragment',
    `${ETH} ${ip('11', 16, '2000')} 0035 c000 0100 0000 6162636465666768`,
    'IP 10.0.0.1.53 > 10.0.0.2.49152: UDP, length 8 (frag 4660:16@0+)',
  ],
  [
    'a last fragment',
    `${ETH} ${ip('11', 8, '0002')} 6162636465666768`,
    'IP 10.0.0.1 > 10.0.0.2: ip-proto-17 (frag 4660:8@16)',
  ],
  ['a cut TCP header', `${ETH} ${ip('06', 20)} c000 0050 0000`, 'IP 10.0.0.1 > 10.0.0.2: [|tcp]'],
  ['a cut IP header', `${ETH} 4500 0020`, 'IP [|ip]'],
  ['a runt', '0200', '[|ether], length 2'],
  [
    'a TCP option that ends beyond its header',
    `${ETH} ${ip('06', 24)} c000 0050 00000000 00000000 6002 0000 0000 0000 01 01 02 04`,
    'IP 10.0.0.1.49152 > 10.0.0.2.80: Flags [S], seq 0, win 0, options [nop,nop,[|opt]], length 0',
  ],
  [
    'another protocol',
    '020000000001 020000000002 86dd 60000000',
    '02:00:00:00:00:02 > 02:00:00:00:00:01: IPv6, length 18',
  ],
];

for (const [name, frame, line] of cases) {
  test(`describes ${name}`, () => {
    assert.is(text(frame), line);
  });
}

test('any bytes give one line without undefined or NaN', () => {
  const start = fc.constantFrom(...cases.map(([, frame]) => hex(frame)));
  fc.assert(
    fc.property(
      start,
      fc.array(fc.tuple(fc.nat(80), fc.nat(255)), { maxLength: 6 }),
      fc.nat(90),
      (frame, changes, end) => {
        const bytes = frame.slice(0, end);
        for (const [at, byte] of changes) if (at < bytes.length) bytes[at] = byte;
        const line = describe(bytes, 0, bytes.length);
        assert.not.match(line, /undefined|NaN|\n/);
      },
    ),
    { numRuns: 1000 },
  );
});

test('addresses', () => {
  assert.is(ipText(0xc0a80001 | 0), '192.168.0.1');
  assert.is(macText(hex('00ff000a0b0c'), 0), '00:ff:00:0a:0b:0c');
});

test.run();
