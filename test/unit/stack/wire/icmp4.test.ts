import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ICMP_CHECKSUM, ICMP_MALFORMED } from '../../../../stack/drop.ts';
import * as icmp from '../../../../stack/wire/icmp4.ts';
import { naiveChecksum, naiveSum } from '../../../lib/naive-checksum.ts';
import { hex, memory } from './memory.ts';

const OFF = 16;
/** Echo request, id 0x1234, sequence 7, "abcdefgh", and its checksum worked out by hand. */
const ECHO = hex('08 00 54 2f 12 34 00 07 61 62 63 64 65 66 67 68');

const check = (bytes: Uint8Array, length = bytes.length, off = OFF): number => {
  const { buf, i32 } = memory(bytes, off);
  return icmp.check(buf, i32, off, off + length);
};

test('reads a known echo request', () => {
  const { buf } = memory(ECHO);
  assert.is(icmp.checksum(buf, OFF), naiveChecksum([8, 0, 0, 0, ...ECHO.subarray(4)]));
  assert.is(check(ECHO), 0);
  assert.is(icmp.type(buf, OFF), icmp.ECHO_REQUEST);
  assert.is(icmp.code(buf, OFF), 0);
  assert.is(icmp.echoId(buf, OFF), 0x1234);
  assert.is(icmp.echoSeq(buf, OFF), 7);
  assert.is(icmp.rest(buf, OFF), 0x12340007);
});

test('a message cut within the header is malformed, later its checksum is wrong', () => {
  for (let length = 0; length < ECHO.length; length++) {
    assert.is(check(ECHO, length), length < icmp.ICMP_LEN ? ICMP_MALFORMED : ICMP_CHECKSUM, `${length}`);
  }
});

test('one wrong bit anywhere is noticed, at any alignment', () => {
  for (const off of [16, 17, 18, 19]) {
    assert.is(check(ECHO, ECHO.length, off), 0);
    for (let bit = 0; bit < ECHO.length * 8; bit++) {
      const bytes = Uint8Array.from(ECHO);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      assert.is(check(bytes, bytes.length, off), ICMP_CHECKSUM);
    }
  }
});

test('writes what it reads, with a right checksum, and nothing around it', () => {
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(255),
      fc.integer(),
      fc.uint8Array({ maxLength: 100, size: 'max' }),
      (t, c, rest, data) => {
        const { buf, i32 } = memory([...new Uint8Array(8), ...data]);
        const length = icmp.ICMP_LEN + data.length;
        icmp.emit(buf, i32, OFF, t, c, rest, length);
        assert.is(icmp.check(buf, i32, OFF, OFF + length), 0);
        assert.is(naiveSum(buf.subarray(OFF, OFF + length)), 0xffff);
        assert.equal([icmp.type(buf, OFF), icmp.code(buf, OFF), icmp.rest(buf, OFF)], [t, c, rest]);
        assert.equal(buf.slice(OFF + 8, OFF + length), data);
        assert.is(buf[OFF - 1], 0xa5);
        assert.is(buf[OFF + length], 0xa5);
      },
    ),
    { seed: 792, numRuns: 500 },
  );
});

test('a request becomes a reply in place, its checksum as if computed anew', () => {
  fc.assert(
    fc.property(
      fc.nat(255),
      fc.nat(255),
      fc.integer(),
      fc.uint8Array({ maxLength: 60, size: 'max' }),
      (code, to, rest, data) => {
        const length = icmp.ICMP_LEN + data.length;
        const made = memory([...new Uint8Array(8), ...data]);
        icmp.emit(made.buf, made.i32, OFF, icmp.ECHO_REQUEST, code, rest, length);
        icmp.setType(made.buf, OFF, to);
        assert.is(icmp.type(made.buf, OFF), to);
        assert.is(icmp.code(made.buf, OFF), code);
        const isAllZero = to === 0 && code === 0 && rest === 0 && data.every((b) => b === 0);
        if (!isAllZero) assert.is(icmp.check(made.buf, made.i32, OFF, OFF + length), 0);
      },
    ),
    { seed: 792, numRuns: 500 },
  );
});

test('the next-hop MTU stands in the low half of the second word (RFC 1191 §4)', () => {
  const { buf, i32 } = memory(new Uint8Array(8));
  icmp.emit(buf, i32, OFF, icmp.UNREACHABLE, icmp.UNREACH_FRAG_NEEDED, 1400, 8);
  assert.is(icmp.nextHopMtu(buf, OFF), 1400);
});

test('errors are the five types that quote a packet (RFC 1122 §3.2.2)', () => {
  const errors = Array.from({ length: 256 }, (_, t) => t).filter(icmp.isError);
  assert.equal(errors, [3, 4, 5, 11, 12]);
});

test.run();
