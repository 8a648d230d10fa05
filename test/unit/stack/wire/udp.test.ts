import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { UDP_CHECKSUM, UDP_MALFORMED } from '../../../../stack/drop.ts';
import * as udp from '../../../../stack/wire/udp.ts';

const memory = new ArrayBuffer(4096);
const buf = new Uint8Array(memory);
const i32 = new Int32Array(memory);

// 10.0.0.1:12345 -> 10.0.0.2:53, "hello". The words of pseudo-header, header and data add up to 1886d, folded 886e.
const SRC = 0x0a000001;
const DST = 0x0a000002;
const hello = Uint8Array.of(0x30, 0x39, 0, 53, 0, 13, 0, 0, 0x68, 0x65, 0x6c, 0x6c, 0x6f);

function sumOf(bytes: Uint8Array): number {
  let s = 0x0a00 + 1 + 0x0a00 + 2 + 17 + bytes.length;
  for (let i = 0; i < bytes.length; i++) s += i % 2 === 0 ? bytes[i]! * 256 : bytes[i]!;
  while (s > 0xffff) s = (s & 0xffff) + (s >> 16);
  return s;
}

test('fields are read where RFC 768 has them', () => {
  buf.set([0x12, 0x34, 0x56, 0x78, 0x00, 0x0a, 0xbe, 0xef], 100);
  assert.is(udp.srcPort(buf, 100), 0x1234);
  assert.is(udp.dstPort(buf, 100), 0x5678);
  assert.is(udp.length(buf, 100), 10);
  assert.is(udp.checksum(buf, 100), 0xbeef);
});

test('emit and the getters agree', () => {
  fc.assert(
    fc.property(fc.nat(65535), fc.nat(65535), fc.nat(65535), fc.nat(65535), (from, to, len, sum) => {
      udp.emit(buf, 64, from, to, len, sum);
      assert.equal([udp.srcPort(buf, 64), udp.dstPort(buf, 64)], [from, to]);
      assert.equal([udp.length(buf, 64), udp.checksum(buf, 64)], [len, sum]);
    }),
  );
});

test('the checksum equals the sum by hand', () => {
  buf.set(hello, 64);
  udp.fillChecksum(buf, i32, 64, SRC, DST);
  assert.is(udp.checksum(buf, 64), 0x7791);
  assert.is(udp.checkSum(buf, i32, 64, SRC, DST), 0);
});

test('truncation at every byte is malformed', () => {
  buf.set(hello, 64);
  for (let end = 0; end < hello.length; end++) assert.is(udp.check(buf, 64, 64 + end), UDP_MALFORMED);
  assert.is(udp.check(buf, 64, 64 + hello.length), 0);
});

test('a length below the header is malformed, padding behind the datagram is not', () => {
  for (let len = 0; len < 8; len++) {
    udp.emit(buf, 64, 1, 2, len, 0);
    assert.is(udp.check(buf, 64, 200), UDP_MALFORMED);
  }
  udp.emit(buf, 64, 1, 2, 8, 0);
  assert.is(udp.check(buf, 64, 200), 0);
});

test('a changed byte anywhere, addresses included, fails the checksum', () => {
  buf.set(hello, 64);
  udp.fillChecksum(buf, i32, 64, SRC, DST);
  for (let i = 0; i < hello.length; i++) {
    if (i === 4 || i === 5) continue; // the length itself: `check` is for it
    buf[64 + i]! ^= 0x10;
    assert.is(udp.checkSum(buf, i32, 64, SRC, DST), UDP_CHECKSUM, `byte ${i}`);
    buf[64 + i]! ^= 0x10;
  }
  assert.is(udp.checkSum(buf, i32, 64, SRC ^ 256, DST), UDP_CHECKSUM);
  assert.is(udp.checkSum(buf, i32, 64, SRC, DST ^ 1), UDP_CHECKSUM);
});

test('a checksum of zero means none', () => {
  buf.set(hello, 64);
  assert.is(udp.checkSum(buf, i32, 64, SRC, DST), 0);
});

test('a sum that comes out as zero is written as ffff, and is right', () => {
  buf.set(hello.slice(0, 12), 64);
  udp.emit(buf, 64, 0, 53, 12, 0);
  // Choose the source port so that all else adds up to ffff.
  udp.emit(buf, 64, 0xffff - sumOf(buf.slice(64, 76)), 53, 12, 0);
  udp.fillChecksum(buf, i32, 64, SRC, DST);
  assert.is(udp.checksum(buf, 64), 0xffff);
  assert.is(udp.checkSum(buf, i32, 64, SRC, DST), 0);
});

test.run();
