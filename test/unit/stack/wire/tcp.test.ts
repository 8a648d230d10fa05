/** The TCP header codec against frames built by hand. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_MALFORMED } from '../../../../stack/drop.ts';
import * as tcp from '../../../../stack/wire/tcp.ts';
import { flagBits, tcpBytes } from '../../../lib/segment.ts';

const SEGMENT = {
  src: 0x0a000001,
  dst: 0x0a000002,
  sport: 54321,
  dport: 80,
  seq: -2,
  ack: 0x7fffffff,
  flags: 'PA',
  win: 0xabcd,
  data: Uint8Array.of(1, 2, 3),
  ts: [1, 2] as const,
};

test('reads every field at any offset', () => {
  for (let off = 0; off < 4; off++) {
    const bytes = tcpBytes(SEGMENT);
    const buf = new Uint8Array(off + bytes.length);
    buf.set(bytes, off);
    assert.is(tcp.check(buf, off, buf.length), 0);
    assert.is(tcp.srcPort(buf, off), 54321);
    assert.is(tcp.dstPort(buf, off), 80);
    assert.is(tcp.ports(buf, off), (54321 << 16) | 80);
    assert.is(tcp.seq(buf, off), -2);
    assert.is(tcp.ack(buf, off), 0x7fffffff);
    assert.is(tcp.dataOffset(buf, off), 32);
    assert.is(tcp.flags(buf, off), tcp.PSH | tcp.ACK);
    assert.is(tcp.window(buf, off), 0xabcd);
    assert.is(tcp.checksum(buf, off), (bytes[16]! << 8) | bytes[17]!);
  }
});

test('names each flag bit', () => {
  const bits = [tcp.FIN, tcp.SYN, tcp.RST, tcp.PSH, tcp.ACK, tcp.URG, tcp.ECE, tcp.CWR];
  assert.equal(bits, [...'FSRPAUEC'].map(flagBits));
});

test('writes what it reads', () => {
  const buf = new Uint8Array(24).fill(0xee);
  tcp.emit(buf, 2, 1, 65535, -1, 0x80000000 | 0, 20, tcp.SYN | tcp.CWR, 65535, 0x1234);
  assert.equal(
    [...buf],
    [0xee, 0xee, 0, 1, 255, 255, 255, 255, 255, 255, 128, 0, 0, 0, 0x50, 0x82, 255, 255, 0x12, 0x34, 0, 0, 0xee, 0xee],
  );
});

test('refuses every truncation and every data offset that does not fit', () => {
  const bytes = tcpBytes({ ...SEGMENT, data: new Uint8Array() });
  for (let n = 0; n < bytes.length; n++) assert.is(tcp.check(bytes, 0, n), TCP_MALFORMED, `${n} bytes`);
  assert.is(tcp.check(bytes, 0, bytes.length), 0);
  for (let words = 0; words < 16; words++) {
    bytes[12] = words << 4;
    assert.is(tcp.check(bytes, 0, bytes.length), words >= 5 && words * 4 <= bytes.length ? 0 : TCP_MALFORMED);
  }
});

test.run();
