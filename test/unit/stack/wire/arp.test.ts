import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARP_MALFORMED } from '../../../../stack/drop.ts';
import * as arp from '../../../../stack/wire/arp.ts';
import { hex, memory } from './memory.ts';

const OFF = 16;
/** "who has 10.0.0.1, tell 10.0.0.9" as a Linux host sends it. */
const REQUEST = hex('00 01 08 00 06 04 00 01 02 10 00 00 00 09 0a 00 00 09 00 00 00 00 00 00 0a 00 00 01');

const check = (bytes: Uint8Array, length = bytes.length): number => arp.check(memory(bytes).buf, OFF, OFF + length);

test('writes what it reads', () => {
  const { buf } = memory(REQUEST);
  assert.is(check(REQUEST), 0);
  assert.is(arp.operation(buf, OFF), arp.REQUEST);
  assert.is(arp.senderHi(buf, OFF), 0x0210);
  assert.is(arp.senderLo(buf, OFF), 9);
  assert.is(arp.senderIp(buf, OFF), 0x0a000009);
  assert.is(arp.targetHi(buf, OFF), 0);
  assert.is(arp.targetLo(buf, OFF), 0);
  assert.is(arp.targetIp(buf, OFF), 0x0a000001);
  const copy = memory([]);
  arp.emit(copy.buf, OFF, arp.REQUEST, 0x0210, 9, 0x0a000009, 0, 0, 0x0a000001);
  assert.equal(copy.buf, buf);
});

test('a packet cut at any byte is malformed; what follows it does not matter', () => {
  for (let length = 0; length < REQUEST.length; length++) assert.is(check(REQUEST, length), ARP_MALFORMED);
  assert.is(check(REQUEST, 46), 0);
});

test('any other hardware, protocol, length or operation is malformed', () => {
  for (let at = 0; at < 8; at++) {
    for (let value = 0; value < 256; value++) {
      const bytes = Uint8Array.from(REQUEST);
      bytes[at] = value;
      const isReply = at === 7 && value === arp.REPLY;
      assert.is(check(bytes), value === REQUEST[at] || isReply ? 0 : ARP_MALFORMED, `byte ${at} = ${value}`);
    }
  }
});

test.run();
