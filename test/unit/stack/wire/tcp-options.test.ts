/** TCP options: read as others write them, written as others read them, and never read beyond their end. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TcpOptions, writeSack, writeSyn, writeTimestamp } from '../../../../stack/wire/tcp-options.ts';
import { decodeSegment, etherFrame, ipPacket, tcpBytes } from '../../../lib/segment.ts';

const NONE = { src: 1, dst: 2, sport: 3, dport: 4, seq: 5, ack: 6, flags: 'A', win: 7, data: new Uint8Array() };

function parse(bytes: readonly number[]): [boolean, TcpOptions] {
  const o = new TcpOptions();
  // What an option left behind must not be seen by the next segment.
  o.parse(Uint8Array.of(2, 4, 1, 1, 3, 3, 1, 4, 2, 5, 10, 0, 0, 0, 1, 0, 0, 0, 2, 0), 0, 19);
  const buf = Uint8Array.from([9, ...bytes, 9]);
  return [o.parse(buf, 1, 1 + bytes.length), o];
}

test('reads each option', () => {
  const [ok, o] = parse([2, 4, 5, 0xb4, 1, 3, 3, 7, 4, 2, 8, 10, 255, 255, 255, 255, 0, 0, 1, 0]);
  assert.ok(ok);
  assert.equal([o.mss, o.wscale, o.sackPermitted, o.hasTimestamp, o.tsVal, o.tsEcr], [1460, 7, true, true, -1, 256]);
});

test('without options nothing is left of the segment before', () => {
  const [ok, o] = parse([]);
  assert.ok(ok);
  assert.equal([o.mss, o.wscale, o.sackPermitted, o.hasTimestamp, o.sackBlocks], [0, -1, false, false, 0]);
});

test('the aligned timestamp is read on its short way, too', () => {
  const [ok, o] = parse([1, 1, 8, 10, 0, 0, 0, 5, 0x80, 0, 0, 0]);
  assert.ok(ok && o.hasTimestamp);
  assert.equal([o.tsVal, o.tsEcr, o.mss, o.sackBlocks], [5, -0x80000000, 0, 0]);
});

test('up to four SACK blocks', () => {
  for (let n = 1; n <= 4; n++) {
    const edges = Array.from({ length: n * 8 }, (_, i) => i);
    const [ok, o] = parse([1, 1, 5, 2 + n * 8, ...edges]);
    assert.ok(ok);
    assert.is(o.sackBlocks, n);
    assert.is(o.sack[2 * n - 1], ((8 * n - 4) << 24) | ((8 * n - 3) << 16) | ((8 * n - 2) << 8) | (8 * n - 1));
  }
});

test('known kinds of a wrong length are skipped, unknown kinds too (RFC 9293 MUST-6)', () => {
  const [ok, o] = parse([2, 3, 9, 3, 4, 9, 9, 4, 3, 9, 8, 4, 9, 9, 253, 2, 99, 5, 0, 0, 0, 2, 4, 2, 0]);
  assert.ok(ok);
  assert.equal([o.mss, o.wscale, o.sackPermitted, o.hasTimestamp], [512, -1, false, false]);
});

test('the end-of-list option ends the walk', () => {
  const [ok, o] = parse([0, 2, 0, 99]);
  assert.ok(ok);
  assert.is(o.mss, 0);
});

test('impossible lengths are reported', () => {
  for (const bytes of [[2], [2, 0], [2, 1], [2, 4, 5], [1, 1, 8, 10, 0, 0, 0, 0, 0], [77, 30, 0, 0]])
    assert.not(parse(bytes)[0], `${bytes}`);
});

test('anything at all: no exception, nothing read beyond the end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 40 }), (bytes) => {
      const padded = [0, 0xff].map((fill) => {
        const buf = new Uint8Array(bytes.length + 16).fill(fill);
        buf.set(bytes);
        const o = new TcpOptions();
        return [
          o.parse(buf, 0, bytes.length),
          o.mss,
          o.wscale,
          o.sackPermitted,
          o.hasTimestamp,
          o.tsVal,
          o.tsEcr,
          o.sackBlocks,
          ...o.sack,
        ];
      });
      assert.equal(padded[0], padded[1]);
    }),
    { numRuns: 3000, seed: 3 },
  );
});

function decode(options: Uint8Array): ReturnType<typeof decodeSegment> {
  const t = tcpBytes({ ...NONE, data: options });
  t[12] = (20 + options.length) << 2;
  // The data became options: only the checksum has to follow.
  const before = 5 << 4;
  const after = t[12]!;
  let sum = (t[16]! << 8) | t[17]!;
  sum = (~sum & 0xffff) + (after << 8) + (~(before << 8) & 0xffff);
  sum = (sum & 0xffff) + (sum >> 16);
  sum = ~((sum & 0xffff) + (sum >> 16)) & 0xffff;
  t[16] = sum >> 8;
  t[17] = sum;
  return decodeSegment(etherFrame(ipPacket(1, 2, 6, t)));
}

test('a SYN’s options, in every combination, are as long as said and read back', () => {
  for (const wscale of [-1, 0, 14])
    for (const sack of [false, true])
      for (const ts of [false, true]) {
        const buf = new Uint8Array(40).fill(0xee);
        const n = writeSyn(buf, 0, 1460, wscale, sack, ts, -5, 77);
        assert.is(n % 4, 0);
        const s = decode(buf.slice(0, n));
        assert.is(s.mss, 1460);
        assert.is(s.wscale, wscale < 0 ? undefined : wscale);
        assert.is(s.sackOk ?? false, sack);
        assert.equal(s.ts, ts ? [-5, 77] : undefined);
        assert.is(buf[n], 0xee);
      }
});

test('timestamps and SACK blocks read back, and fit together', () => {
  const buf = new Uint8Array(40);
  let n = writeTimestamp(buf, 0, 1, -2);
  n += writeSack(buf, n, Int32Array.of(-10, -5, 100, 200, 5, 6), 3);
  assert.is(n, 40);
  const s = decode(buf);
  assert.equal(s.ts, [1, -2]);
  assert.equal(s.sack, [
    [-10, -5],
    [100, 200],
    [5, 6],
  ]);
});

test.run();
