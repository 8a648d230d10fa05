import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as icmp from '../../../../lb/proto/icmp.ts';

const PAIRS = [
  [8, 0],
  [13, 14],
  [15, 16],
  [17, 18],
] as const;

test('the ports of a reply are those of its request, reversed', () => {
  for (const [request, reply] of PAIRS) {
    for (const id of [0, 1, 0x1234, 0xffff]) {
      const there = icmp.ports(request, 0, id);
      const back = icmp.ports(reply, 0, id);
      assert.is(there >>> 16, id);
      assert.is(there & 0xffff, request << 8);
      assert.is((back >>> 16) | ((back & 0xffff) << 16) | 0, there | 0);
    }
  }
});

test('the code is part of the port', () => {
  assert.is(icmp.ports(8, 3, 7), (7 << 16) | 0x0803);
  assert.is(icmp.ports(0, 3, 7), (0x0803 << 16) | 7);
});

test('every type is a request, a reply, or not to be tracked', () => {
  const requests = PAIRS.map(([request]) => request as number);
  const replies = PAIRS.map(([, reply]) => reply as number);
  for (let type = 0; type < 256; type++) {
    assert.is(icmp.isRequest(type), requests.includes(type), `${type}`);
    assert.is(icmp.isReply(type), replies.includes(type), `${type}`);
    assert.is(icmp.isQuery(type), requests.includes(type) || replies.includes(type), `${type}`);
  }
});

test('the inverse of the inverse is the type', () => {
  for (const [request, reply] of PAIRS) {
    assert.is(icmp.inverse(request), reply);
    assert.is(icmp.inverse(reply), request);
  }
});

test.run();
