import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RUNT } from '../../../../stack/drop.ts';
import * as ethernet from '../../../../stack/wire/ethernet.ts';
import { hex, memory } from './memory.ts';

const FRAME = hex('01 00 5e 00 00 12 02 aa bb cc dd ee 08 06');

test('writes what it reads', () => {
  const { buf } = memory(FRAME);
  assert.is(ethernet.dstHi(buf, 16), 0x0100);
  assert.is(ethernet.dstLo(buf, 16), 0x5e000012);
  assert.is(ethernet.srcHi(buf, 16), 0x02aa);
  assert.is(ethernet.srcLo(buf, 16), 0xbbccddee | 0);
  assert.is(ethernet.type(buf, 16), ethernet.ETHERTYPE_ARP);
  const copy = memory([]);
  ethernet.emit(copy.buf, 16, 0x0100, 0x5e000012, 0x02aa, 0xbbccddee | 0, ethernet.ETHERTYPE_ARP);
  assert.equal(copy.buf, buf);
});

test('a frame cut at any byte of the header is a runt', () => {
  for (let end = 0; end < FRAME.length; end++) assert.is(ethernet.check(16, 16 + end), RUNT);
  assert.is(ethernet.check(16, 16 + FRAME.length), 0);
});

test('multicast is the lowest bit of the first byte, broadcast all bits', () => {
  for (const [first, isMulticast] of [
    [0x00, false],
    [0x01, true],
    [0x02, false],
    [0x33, true],
    [0xfe, false],
    [0xff, true],
  ] as const) {
    const { buf } = memory(Uint8Array.of(first, 0, 0, 0, 0, 1));
    assert.is(ethernet.isMulticast(buf, 16), isMulticast);
    assert.not.ok(ethernet.isBroadcast(buf, 16));
  }
  for (let bit = 0; bit < 48; bit++) {
    const mac = new Uint8Array(6).fill(0xff);
    assert.ok(ethernet.isBroadcast(memory(mac).buf, 16));
    mac[bit >> 3]! ^= 1 << (bit & 7);
    assert.not.ok(ethernet.isBroadcast(memory(mac).buf, 16));
  }
});

test.run();
