import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_CHECKSUM, IP_HEADER_LENGTH, IP_TRUNCATED, IP_VERSION } from '../../../../stack/drop.ts';
import * as ip from '../../../../stack/wire/ipv4.ts';
import { naiveChecksum, naiveSum } from '../../../lib/naive-checksum.ts';
import { hex, memory } from './memory.ts';

const OFF = 16;
/** UDP from 192.168.0.1 to 192.168.0.199, don't fragment, 115 bytes of which the header is here. */
const HEADER = hex('45 00 00 73 00 00 40 00 40 11 b8 61 c0 a8 00 01 c0 a8 00 c7');
const PACKET = Uint8Array.from([...HEADER, ...new Uint8Array(95)]);

const check = (bytes: Uint8Array, length = bytes.length): number => {
  const { buf, i32 } = memory(bytes);
  return ip.check(buf, i32, OFF, OFF + length);
};

/** The packet with some bytes changed and its header checksum made right again. */
function changed(at: number, ...values: number[]): Uint8Array {
  const bytes = Uint8Array.from(PACKET);
  bytes.set(values, at);
  const header = Math.max(20, (bytes[0]! & 15) * 4);
  bytes.set([0, 0], 10);
  const c = naiveChecksum(bytes.subarray(0, header));
  bytes.set([c >> 8, c & 255], 10);
  return bytes;
}

test('reads the fields of a known header', () => {
  const { buf } = memory(PACKET);
  assert.is(check(PACKET), 0);
  assert.is(ip.headerLength(buf, OFF), 20);
  assert.is(ip.tos(buf, OFF), 0);
  assert.is(ip.totalLength(buf, OFF), 115);
  assert.is(ip.id(buf, OFF), 0);
  assert.is(ip.fragmentField(buf, OFF), ip.DF);
  assert.is(ip.fragmentOffset(buf, OFF), 0);
  assert.not.ok(ip.isFragment(buf, OFF));
  assert.is(ip.ttl(buf, OFF), 64);
  assert.is(ip.proto(buf, OFF), ip.PROTO_UDP);
  assert.is(ip.checksum(buf, OFF), 0xb861);
  assert.is(ip.src(buf, OFF), 0xc0a80001 | 0);
  assert.is(ip.dst(buf, OFF), 0xc0a800c7 | 0);
});

test('writes what it reads, with a right checksum, and nothing around it', () => {
  const u16 = fc.nat(65535);
  const u8 = fc.nat(255);
  fc.assert(
    fc.property(
      u8,
      fc.integer({ min: 20, max: 65535 }),
      u16,
      u16,
      u8,
      u8,
      fc.integer(),
      fc.integer(),
      (tos, total, id, fragment, ttl, proto, src, dst) => {
        const { buf, i32 } = memory([]);
        ip.emit(buf, OFF, tos, total, id, fragment, ttl, proto, src, dst);
        assert.is(ip.check(buf, i32, OFF, OFF + total), 0);
        assert.is(naiveSum(buf.subarray(OFF, OFF + 20)), 0xffff);
        assert.equal(
          [ip.headerLength(buf, OFF), ip.tos(buf, OFF), ip.totalLength(buf, OFF), ip.id(buf, OFF)],
          [20, tos, total, id],
        );
        assert.equal([ip.fragmentField(buf, OFF), ip.ttl(buf, OFF), ip.proto(buf, OFF)], [fragment, ttl, proto]);
        assert.equal([ip.src(buf, OFF), ip.dst(buf, OFF)], [src, dst]);
        assert.is(buf[OFF - 1], 0xa5);
        assert.is(buf[OFF + 20], 0xa5);
      },
    ),
    { seed: 791, numRuns: 500 },
  );
});

test('a packet cut at any byte is truncated', () => {
  for (let length = 0; length < PACKET.length; length++) assert.is(check(PACKET, length), IP_TRUNCATED, `${length}`);
});

test('bytes behind the total length do not matter', () => {
  assert.is(check(Uint8Array.from([...PACKET, 1, 2, 3])), 0);
});

test('only version 4 is IPv4', () => {
  for (let version = 0; version < 16; version++) {
    assert.is(check(changed(0, (version << 4) | 5)), version === 4 ? 0 : IP_VERSION);
  }
});

test('the header is 20 bytes at least and fits into the total length', () => {
  for (let words = 0; words < 5; words++) assert.is(check(changed(0, 0x40 | words)), IP_HEADER_LENGTH);
  for (let words = 5; words < 16; words++) assert.is(check(changed(0, 0x40 | words)), 0, `${words} words`);
  for (let total = 0; total < 20; total++) assert.is(check(changed(2, 0, total)), IP_HEADER_LENGTH);
  assert.is(check(changed(2, 0, 20)), 0);
  const long = changed(0, 0x4f);
  long.set(changed(0, 0x4f, 0, 0, 59).subarray(0, 60));
  assert.is(check(long), IP_HEADER_LENGTH);
});

test('one wrong bit anywhere in the header is noticed', () => {
  for (let bit = 0; bit < 160; bit++) {
    const bytes = Uint8Array.from(PACKET);
    bytes[bit >> 3]! ^= 1 << (bit & 7);
    assert.is.not(check(bytes), 0, `bit ${bit}`);
  }
  assert.is(check(Uint8Array.from(PACKET).fill(1, 12, 13)), IP_CHECKSUM);
});

test('fragments are those with an offset or more to come', () => {
  for (const [field, isFragment, offset] of [
    [ip.DF, false, 0],
    [0x8000, false, 0],
    [ip.MF, true, 0],
    [1, true, 8],
    [ip.MF | 185, true, 1480],
    [ip.OFFSET_MASK, true, 65528],
  ] as const) {
    const { buf } = memory(PACKET);
    ip.setFragmentField(buf, OFF, field);
    assert.is(ip.isFragment(buf, OFF), isFragment);
    assert.is(ip.fragmentOffset(buf, OFF), offset);
  }
});

test('a changed header is right again after fillChecksum, options included', () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 60, maxLength: 60 }), fc.integer({ min: 5, max: 15 }), (bytes, words) => {
      bytes[0] = 0x40 | words;
      const { buf, i32 } = memory(bytes);
      ip.setTotalLength(buf, OFF, 60);
      ip.setId(buf, OFF, 4711);
      ip.fillChecksum(buf, i32, OFF);
      assert.is(ip.check(buf, i32, OFF, OFF + 60), 0);
      assert.is(ip.id(buf, OFF), 4711);
    }),
    { seed: 791 },
  );
});

test('each hop takes one from the time to live and keeps the checksum right', () => {
  const { buf, i32 } = memory(changed(8, 255));
  for (let ttl = 254; ttl >= 0; ttl--) {
    ip.decrementTtl(buf, OFF);
    assert.is(ip.ttl(buf, OFF), ttl);
    assert.is(ip.proto(buf, OFF), ip.PROTO_UDP);
    assert.is(ip.check(buf, i32, OFF, OFF + 115), 0);
  }
});

test.run();
