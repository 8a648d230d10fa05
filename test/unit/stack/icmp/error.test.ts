import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_NO_ROUTE } from '../../../../stack/drop.ts';
import { IcmpError } from '../../../../stack/icmp/error.ts';
import { RateLimit } from '../../../../stack/icmp/ratelimit.ts';
import { F_L2_BROADCAST, F_L2_MULTICAST } from '../../../../stack/mem/frame-pool.ts';
import type { FrameId, Verdict } from '../../../../stack/types.ts';
import { DELIVERED, DROP } from '../../../../stack/verdict.ts';
import {
  assertConserved,
  bytesOf,
  CLIENT,
  ipv4Packet,
  makeContext,
  type PacketFields,
  pattern,
  receive,
  receiveL4,
  SERVER,
} from '../../../lib/ip-bench.ts';
import { naiveChecksum } from '../../../lib/naive-checksum.ts';

const ROUTER = 0x0a0000fe;
const SUBNET_BROADCAST = 0x0a0000ff;

interface Sent {
  src: number;
  dst: number;
  proto: number;
  df: boolean;
  tos: number;
  bytes: Uint8Array;
}

function bench(outcome: Verdict = DELIVERED, slots = 32) {
  const ctx = makeContext(slots, 1);
  const sent: Sent[] = [];
  const addrs = {
    isLocal: (a: number) => a === SERVER || a === ROUTER,
    isBroadcast: (a: number, port: number) => a === -1 || (a === SUBNET_BROADCAST && port === 1),
    sourceFor: (_dst: number, port: number) => (port === 1 ? ROUTER : 0),
  };
  const output = {
    output(f: FrameId, src: number, dst: number, proto: number, df: boolean, tos: number) {
      sent.push({ src, dst, proto, df, tos, bytes: bytesOf(ctx, f) });
      return outcome;
    },
  };
  const rate = { perSecond: 1000, burst: 3, hostPerSecond: 1000, hostBurst: 100 };
  const limit = new RateLimit(ctx.random, 0, rate);
  const error = new IcmpError(ctx, addrs, output, limit);
  return { ctx, sent, error, limit };
}

const datagram = pattern(20);

test('an error quotes the packet, with its type, code, rest and checksum', () => {
  const { ctx, sent, error } = bench();
  const packet = ipv4Packet({ payload: datagram });
  const f = receive(ctx, packet);
  assert.is(error.send(f, 3, 4, 1400), true);
  ctx.settle(f, DELIVERED);
  assert.is(sent.length, 1);
  const { bytes, ...way } = sent[0]!;
  assert.equal(way, { src: SERVER, dst: CLIENT, proto: 1, df: false, tos: 0xc0 });
  assert.equal([...bytes.slice(0, 2)], [3, 4]);
  assert.equal([...bytes.slice(4, 8)], [0, 0, 1400 >> 8, 1400 & 255]);
  assert.is(naiveChecksum(bytes), 0);
  assert.equal(bytes.slice(8), packet);
  assert.is(error.sent, 1);
  assertConserved(ctx, 0);
});

test('the quote is cut so that the error has 576 bytes', () => {
  for (const [size, quoted] of [
    [527, 547],
    [528, 548],
    [529, 548],
    [1480, 548],
  ] as const) {
    const { ctx, sent, error } = bench();
    const packet = ipv4Packet({ payload: pattern(size) });
    const f = receive(ctx, packet);
    error.send(f, 11, 0, 0);
    assert.equal(sent[0]!.bytes.slice(8), packet.slice(0, quoted));
    assert.is(naiveChecksum(sent[0]!.bytes), 0);
  }
});

test('Ethernet padding behind the packet is not quoted', () => {
  const { ctx, sent, error } = bench();
  const packet = ipv4Packet({ payload: pattern(5) });
  const f = receive(ctx, packet);
  ctx.pool.len[f]! += 21;
  error.send(f, 3, 3, 0);
  assert.is(sent[0]!.bytes.length, 8 + 25);
});

test('the IP header is quoted also when the frame has moved on to layer 4', () => {
  const { ctx, sent, error } = bench();
  const packet = ipv4Packet({ payload: datagram, options: [148, 4, 0, 0] });
  error.send(receiveL4(ctx, packet), 3, 3, 0);
  assert.equal(sent[0]!.bytes.slice(8), packet);
});

test('a payload slice is quoted behind the linear part', () => {
  const { ctx, sent, error } = bench();
  const packet = ipv4Packet({ payload: pattern(900) });
  const f = receive(ctx, packet.slice(0, 40));
  const slice = receive(ctx, packet.slice(40));
  ctx.pool.frag[f] = slice;
  ctx.pool.fragOff[f] = ctx.pool.off[slice]!;
  ctx.pool.fragLen[f] = 880;
  error.send(f, 3, 1, 0);
  assert.equal(sent[0]!.bytes.slice(8), packet.slice(0, 548));
});

test('a packet in transit is answered from an address of the port it came by', () => {
  const { ctx, sent, error } = bench();
  error.send(receive(ctx, ipv4Packet({ dst: 0x08080808 })), 11, 0, 0);
  assert.is(sent[0]!.src, ROUTER);
});

test('a port without address sends no error', () => {
  const { ctx, sent, error } = bench();
  const f = receive(ctx, ipv4Packet({ dst: 0x08080808 }));
  ctx.pool.port[f] = 2;
  assert.is(error.send(f, 11, 0, 0), false);
  assert.is(sent.length, 0);
});

const icmp = (type: number): PacketFields => ({ proto: 1, payload: Uint8Array.of(type, 0, 0, 0, 0, 0, 0, 0) });

const forbidden: readonly (readonly [string, PacketFields, number])[] = [
  ['destination unreachable', icmp(3), 0],
  ['source quench', icmp(4), 0],
  ['redirect', icmp(5), 0],
  ['time exceeded', icmp(11), 0],
  ['parameter problem', icmp(12), 0],
  ['ICMP of unknown type', icmp(99), 0],
  ['ICMP without a type', { proto: 1 }, 0],
  ['a packet to the limited broadcast address', { dst: -1 }, 0],
  ['a packet to the broadcast address of the network', { dst: SUBNET_BROADCAST }, 0],
  ['a packet to a multicast address', { dst: 0xe0000001 | 0 }, 0],
  ['a packet to a reserved address', { dst: 0xf0000001 | 0 }, 0],
  ['a link-layer broadcast', {}, F_L2_BROADCAST | F_L2_MULTICAST],
  ['a link-layer multicast', {}, F_L2_MULTICAST],
  ['a fragment that is not the first', { offset: 8 }, 0],
  ['the last fragment', { offset: 800, mf: false }, 0],
  ['a packet from 0.0.0.0', { src: 0 }, 0],
  ['a packet from loopback', { src: 0x7f000001 }, 0],
  ['a packet from a multicast address', { src: 0xe0000001 | 0 }, 0],
  ['a packet from a reserved address', { src: 0xf0000001 | 0 }, 0],
  ['a packet from the limited broadcast address', { src: -1 }, 0],
  ['a packet from the broadcast address of the network', { src: SUBNET_BROADCAST }, 0],
  ['a packet from ourselves', { src: ROUTER }, 0],
];
for (const [name, fields, flags] of forbidden) {
  test(`no error about: ${name}`, () => {
    const { ctx, sent, error } = bench();
    const f = receive(
      ctx,
      ipv4Packet({ payload: datagram, ...(fields.proto === 1 ? { payload: new Uint8Array() } : {}), ...fields }),
      flags,
    );
    assert.is(error.send(f, 3, 1, 0), false);
    assert.is(sent.length, 0);
    assert.is(error.forbidden, 1);
    ctx.settle(f, DELIVERED);
    assertConserved(ctx, 0);
  });
}

const allowed: readonly (readonly [string, PacketFields])[] = [
  ['an echo request', icmp(8)],
  ['an echo reply', icmp(0)],
  ['a first fragment', { mf: true }],
  ['a TCP segment', { proto: 6 }],
];
for (const [name, fields] of allowed) {
  test(`an error is sent about: ${name}`, () => {
    const { ctx, sent, error } = bench();
    assert.is(error.send(receive(ctx, ipv4Packet({ payload: datagram, ...fields })), 3, 1, 0), true);
    assert.is(sent.length, 1);
  });
}

test('errors beyond the rate are not sent and make no frame', () => {
  const { ctx, sent, error, limit } = bench();
  const f = receive(ctx, ipv4Packet({ payload: datagram }));
  const results = [1, 2, 3, 4, 5].map(() => error.send(f, 3, 3, 0));
  assert.equal(results, [true, true, true, false, false]);
  assert.is(sent.length, 3);
  assert.is(limit.suppressedGlobal, 2);
  ctx.tick(1000);
  assert.is(error.send(f, 3, 3, 0), true, 'one more after a millisecond at 1000 per second');
  ctx.settle(f, DELIVERED);
  assertConserved(ctx, 0);
});

test('a forbidden error takes no token', () => {
  const { ctx, error } = bench();
  const bad = receive(ctx, ipv4Packet({ src: 0 }));
  for (let i = 0; i < 10; i++) error.send(bad, 3, 3, 0);
  assert.is(error.send(receive(ctx, ipv4Packet({})), 3, 3, 0), true);
});

test('an error that IP drops is settled and reported as not sent', () => {
  const { ctx, error } = bench(DROP | IP_NO_ROUTE);
  const f = receive(ctx, ipv4Packet({ payload: datagram }));
  assert.is(error.send(f, 3, 3, 0), false);
  assert.is(ctx.drops[IP_NO_ROUTE], 1);
  assert.is(error.sent, 0);
  ctx.settle(f, DELIVERED);
  assertConserved(ctx, 0);
});

test('an empty pool sends no error', () => {
  const { ctx, error } = bench(DELIVERED, 2);
  const f = receive(ctx, ipv4Packet({ payload: datagram }));
  assert.is(error.send(f, 3, 3, 0), false);
  ctx.settle(f, DELIVERED);
  assertConserved(ctx, 0);
});

test.run();
