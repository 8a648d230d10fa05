/** The PROXY protocol byte for byte: what is written, what is read, what is not. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Endpoints, HEADER_MAX, header, INCOMPLETE, MALFORMED, parse } from '../../../../lb/l7/proxy-protocol.ts';
import { ip } from '../../../lib/sim.ts';

function endpoints(src: string, dst: string, sport: number, dport: number): Endpoints {
  return Object.assign(new Endpoints(), { src: ip(src), dst: ip(dst), sport, dport, known: true });
}

const CLIENT = endpoints('192.0.2.1', '198.51.100.10', 40000, 443);
const V1 = 'PROXY TCP4 192.0.2.1 198.51.100.10 40000 443\r\n';
const V2 = '0d0a0d0a000d0a515549540a2111000cc0000201c633640a9c4001bb';
const SIGNATURE = '0d0a0d0a000d0a515549540a';

const read = (bytes: Uint8Array): [number, Endpoints] => {
  const out = new Endpoints();
  return [parse(bytes, bytes.length, out), out];
};
const text = (line: string): Uint8Array => Buffer.from(line, 'latin1');
const hex = (digits: string): Uint8Array => Buffer.from(digits.replaceAll(' ', ''), 'hex');

test('v1 is one line of text', () => {
  assert.is(Buffer.from(header('v1', CLIENT)).toString(), V1);
  const longest = endpoints('255.255.255.255', '255.255.255.255', 65535, 65535);
  assert.is(header('v1', longest).length, 56);
});

test('v2 is 28 bytes', () => {
  assert.is(Buffer.from(header('v2', CLIENT)).toString('hex'), V2);
});

test('what is written is read, and whatever follows is left', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('v1' as const, 'v2' as const),
      ...[fc.integer(), fc.integer(), fc.nat(65535), fc.nat(65535), fc.uint8Array({ maxLength: 50 })],
      (version, src, dst, sport, dport, rest) => {
        const e = Object.assign(new Endpoints(), { src, dst, sport, dport, known: true });
        const head = header(version, e);
        assert.equal(read(Uint8Array.from([...head, ...rest])), [head.length, e]);
      },
    ),
  );
});

for (const [name, whole] of [
  ['v1', text(V1)],
  ['v2', hex(V2)],
  ['v2 with TLVs', hex(`${SIGNATURE} 21 11 0013 c0000201 c633640a 9c40 01bb 04 0004 00000000`)],
] as const) {
  test(`${name}: cut at any byte it is incomplete, never wrong, never read`, () => {
    for (let n = 0; n < whole.length; n++) {
      assert.is(read(whole.subarray(0, n))[0], INCOMPLETE, `${n} bytes`);
      // Bytes beyond what has arrived do not count, whatever they are.
      assert.is(parse(whole, n, new Endpoints()), INCOMPLETE, `${n} bytes of more`);
    }
    assert.equal(read(whole), [whole.length, CLIENT]);
  });

  test(`${name}: another byte anywhere is refused, waited with, or another client`, () => {
    for (let at = 0; at < whole.length; at++) {
      const bytes = Uint8Array.from(whole);
      bytes[at] ^= 0x40;
      const [n] = read(bytes);
      if (at < 12 && name !== 'v1') assert.is(n, MALFORMED, `byte ${at}`);
      assert.ok(n === MALFORMED || n === INCOMPLETE || n <= whole.length, `byte ${at}: ${n}`);
    }
  });
}

test('headers that name nobody are accepted: the connection counts', () => {
  const unnamed: [string, Uint8Array][] = [
    ['UNKNOWN', text('PROXY UNKNOWN\r\n')],
    ['UNKNOWN with addresses', text('PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n')],
    ['TCP6', text('PROXY TCP6 2001:db8::1 ::ffff:192.0.2.1 40000 443\r\n')],
    ['TCP6 at its longest', text(`PROXY TCP6 ${'ffff:'.repeat(7)}ffff ${'ffff:'.repeat(7)}ffff 65535 65535\r\n`)],
    ['LOCAL', hex(`${SIGNATURE} 20 00 0000`)],
    ['LOCAL with an address to be ignored', hex(`${SIGNATURE} 20 11 000c c0000201 c633640a 9c40 01bb`)],
    ['unspecified', hex(`${SIGNATURE} 21 00 0000`)],
    ['IPv6', hex(`${SIGNATURE} 21 21 0024 ${'00'.repeat(36)}`)],
    ['datagrams', hex(`${SIGNATURE} 21 12 000c ${'00'.repeat(12)}`)],
    ['unix', hex(`${SIGNATURE} 21 31 00d8 ${'00'.repeat(216)}`)],
  ];
  for (const [name, bytes] of unnamed) {
    const [n, { known }] = read(bytes);
    assert.equal([n, known], [bytes.length, false], name);
    for (let cut = 0; cut < bytes.length; cut++)
      assert.is(read(bytes.subarray(0, cut))[0], INCOMPLETE, `${name} ${cut}`);
  }
});

test('everything else is refused', () => {
  const wrong: [string, Uint8Array][] = [
    ['no header', text('GET / HTTP/1.0\r\n')],
    ['lower case', text('proxy TCP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['TLS', hex('16030100')],
    ['line feed alone', text('PROXY TCP4 192.0.2.1 192.0.2.2 1 2\n')],
    ['UDP', text('PROXY UDP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['two blanks', text('PROXY  TCP4 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['blank at the end', text('PROXY TCP4 192.0.2.1 192.0.2.2 1 2 \r\n')],
    ['a port missing', text('PROXY TCP4 192.0.2.1 192.0.2.2 1\r\n')],
    ['leading zero in a port', text('PROXY TCP4 192.0.2.1 192.0.2.2 01 2\r\n')],
    ['port too large', text('PROXY TCP4 192.0.2.1 192.0.2.2 65536 2\r\n')],
    ['signed port', text('PROXY TCP4 192.0.2.1 192.0.2.2 +1 2\r\n')],
    ['leading zero in an address', text('PROXY TCP4 192.0.02.1 192.0.2.2 1 2\r\n')],
    ['three parts', text('PROXY TCP4 192.0.2 192.0.2.2 1 2\r\n')],
    ['256', text('PROXY TCP4 192.0.2.256 192.0.2.2 1 2\r\n')],
    ['IPv6 in TCP4', text('PROXY TCP4 ::1 ::2 1 2\r\n')],
    ['IPv4 in TCP6', text('PROXY TCP6 192.0.2.1 192.0.2.2 1 2\r\n')],
    ['two runs of zeros', text('PROXY TCP6 1::2::3 ::1 1 2\r\n')],
    ['nine groups', text('PROXY TCP6 1:2:3:4:5:6:7:8:9 ::1 1 2\r\n')],
    ['seven groups', text('PROXY TCP6 1:2:3:4:5:6:7 ::1 1 2\r\n')],
    ['no end within 107 bytes', text(`PROXY UNKNOWN ${'x'.repeat(93)}`)],
    ['version 1 in binary', hex(`${SIGNATURE} 11 11 000c ${'00'.repeat(12)}`)],
    ['unknown command', hex(`${SIGNATURE} 22 11 000c ${'00'.repeat(12)}`)],
    ['unknown family', hex(`${SIGNATURE} 21 41 000c ${'00'.repeat(12)}`)],
    ['unknown transport', hex(`${SIGNATURE} 21 13 000c ${'00'.repeat(12)}`)],
    ['addresses cut short', hex(`${SIGNATURE} 21 11 000b ${'00'.repeat(11)}`)],
    ['IPv6 addresses cut short', hex(`${SIGNATURE} 21 21 0023 ${'00'.repeat(35)}`)],
    ['too long', hex(`${SIGNATURE} 21 11 ${(HEADER_MAX - 15).toString(16).padStart(4, '0')}`)],
  ];
  for (const [name, bytes] of wrong) assert.is(read(bytes)[0], MALFORMED, name);
});

test('any bytes are read without harm, within what has arrived', () => {
  fc.assert(
    fc.property(
      fc.constantFrom('', 'PROXY ', 'PROXY TCP4 ', SIGNATURE),
      fc.uint8Array({ maxLength: 300 }),
      (start, tail) => {
        const head = start === SIGNATURE ? hex(start) : text(start);
        const bytes = Uint8Array.from([...head, ...tail]);
        const [n] = read(bytes);
        assert.ok(n >= MALFORMED && n <= bytes.length);
      },
    ),
  );
});

test.run();
