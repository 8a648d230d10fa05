import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_NO_ROUTE, IP_TOO_BIG, POOL_EMPTY } from '../../../../stack/drop.ts';
import { Fragmenter } from '../../../../stack/ipv4/fragment.ts';
import { DEFAULT_REASSEMBLY, Reassembler } from '../../../../stack/ipv4/reassemble.ts';
import { F_CSUM_PARTIAL, F_L2_BROADCAST, GSO_NONE } from '../../../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../../../stack/types.ts';
import { DELIVERED, DROP, STOLEN } from '../../../../stack/verdict.ts';
import {
  assertConserved,
  bytesOf,
  CLIENT,
  HandTimers,
  ipv4Packet,
  makeContext,
  pattern,
  receive,
  SERVER,
} from '../../../lib/ip-bench.ts';
import { naiveChecksum } from '../../../lib/naive-checksum.ts';

const ctx = makeContext(256, 4);
const { pool } = ctx;
const fragmenter = new Fragmenter(ctx);

/** Splits a packet and returns the fragments' bytes. The first `linear` bytes stand in the frame, the rest in a slice. */
function split(packet: Uint8Array, mtu: number, linear = packet.length): Uint8Array[] {
  let f: FrameId;
  if (linear === packet.length) f = receive(ctx, packet);
  else {
    const payload = receive(ctx, packet.slice(linear));
    f = receive(ctx, packet.slice(0, linear));
    pool.frag[f] = payload;
    pool.fragOff[f] = pool.off[payload]!;
    pool.fragLen[f] = packet.length - linear;
  }
  const out: Uint8Array[] = [];
  const verdict = fragmenter.fragment(f, mtu, (g) => {
    assert.is(pool.l3[g], pool.off[g]);
    assert.is(pool.l4[g]! - pool.l3[g]!, (pool.buf[pool.l3[g]!]! & 15) * 4);
    assert.is(pool.gsoType[g], GSO_NONE);
    out.push(bytesOf(ctx, g));
    return DELIVERED;
  });
  assert.is(verdict, DELIVERED);
  ctx.settle(f, DELIVERED);
  assertConserved(ctx, 0);
  return out;
}

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.length);
const headerOf = (b: Uint8Array): number => (b[0]! & 15) * 4;
const fieldOf = (b: Uint8Array): number => view(b).getUint16(6);

test('a packet of 2000 data bytes on an Ethernet MTU becomes two fragments', () => {
  const payload = pattern(2000);
  assert.equal(split(ipv4Packet({ payload, id: 5, tos: 8, ttl: 9 }), 1500), [
    ipv4Packet({ payload: payload.slice(0, 1480), id: 5, tos: 8, ttl: 9, mf: true }),
    ipv4Packet({ payload: payload.slice(1480), id: 5, tos: 8, ttl: 9, offset: 1480 }),
  ]);
});

test('fragments carry a multiple of eight bytes where the MTU does not', () => {
  const sizes = split(ipv4Packet({ payload: pattern(300) }), 127).map((b) => b.length - 20);
  assert.equal(sizes, [104, 104, 92]);
});

test('a fragment is split further: offsets add up, MF stays', () => {
  const out = split(ipv4Packet({ payload: pattern(1600), offset: 4000, mf: true }), 820);
  assert.equal(out.map(fieldOf), [0x2000 | (4000 / 8), 0x2000 | (4800 / 8)]);
  const last = split(ipv4Packet({ payload: pattern(1600), offset: 4000 }), 820);
  assert.equal(last.map(fieldOf), [0x2000 | (4000 / 8), 4800 / 8]);
});

test('later fragments repeat the copied options only', () => {
  // Router alert has the copied flag, record route has not.
  const options = [7, 7, 4, 0, 0, 0, 0, 1, 148, 4, 0, 0];
  const out = split(ipv4Packet({ payload: pattern(200), options }), 100);
  const optionsOf = (b: Uint8Array): number[] => [...b.slice(20, headerOf(b))];
  assert.equal(out.map(optionsOf), [options, [148, 4, 0, 0], [148, 4, 0, 0]]);
  assert.equal(
    out.map((b) => b.length - headerOf(b)),
    [64, 72, 64],
  );
});

test('copied options are padded to a whole number of words', () => {
  const out = split(ipv4Packet({ payload: pattern(200), options: [222, 6, 1, 2, 3, 4, 1, 0] }), 100);
  assert.equal([...out[1]!.slice(20, headerOf(out[1]!))], [222, 6, 1, 2, 3, 4, 0, 0]);
});

test('on a jumbo link fragments keep within a small frame', () => {
  const out = split(ipv4Packet({ payload: pattern(20_000) }), 9000);
  assert.ok(out.every((b) => b.length <= 2048 - 144));
});

test('an MTU too small for a header and eight bytes is refused', () => {
  const f = receive(ctx, ipv4Packet({ payload: pattern(100) }));
  const verdict = fragmenter.fragment(f, 27, () => DELIVERED);
  assert.is(verdict, DROP | IP_TOO_BIG);
  ctx.settle(f, verdict);
  assertConserved(ctx, 0);
});

test('a partial checksum is finished over the whole packet first, slice included', () => {
  for (const linear of [1028, 29, 1001]) {
    const payload = pattern(1000);
    const segment = new Uint8Array(1008);
    const v = view(segment);
    v.setUint16(0, 1111);
    v.setUint16(2, 53);
    v.setUint16(4, 1008);
    const pseudo = new Uint8Array([10, 0, 0, 1, 10, 0, 0, 2, 0, 17, 0x03, 0xf0]);
    v.setUint16(6, 0xffff - naiveChecksum(pseudo));
    segment.set(payload, 8);
    const packet = ipv4Packet({ payload: segment, src: CLIENT, dst: SERVER });
    const rest = receive(ctx, packet.slice(linear));
    const f = receive(ctx, packet.slice(0, linear));
    if (linear < packet.length) {
      pool.frag[f] = rest;
      pool.fragOff[f] = pool.off[rest]!;
      pool.fragLen[f] = packet.length - linear;
    } else ctx.settle(rest, DELIVERED);
    pool.flags[f] = F_CSUM_PARTIAL | F_L2_BROADCAST;
    pool.csumStart[f] = pool.l4[f]!;
    pool.csumOff[f] = 6;
    const data: number[] = [];
    fragmenter.fragment(f, 500, (g) => {
      assert.is(pool.flags[g]! & F_CSUM_PARTIAL, 0);
      data.push(...bytesOf(ctx, g).slice(20));
      return DELIVERED;
    });
    ctx.settle(f, DELIVERED);
    assert.is(naiveChecksum(Uint8Array.from([...pseudo, ...data])), 0, `linear ${linear}`);
    assert.equal(data.slice(8), [...payload]);
    assertConserved(ctx, 0);
  }
});

test('when a fragment is dropped the rest is not sent, and the reason comes back', () => {
  const f = receive(ctx, ipv4Packet({ payload: pattern(3000) }));
  let calls = 0;
  const verdict = fragmenter.fragment(f, 576, () => (++calls < 3 ? DELIVERED : DROP | IP_NO_ROUTE));
  assert.is(verdict, DROP | IP_NO_ROUTE);
  assert.is(calls, 3);
  ctx.settle(f, verdict);
  assertConserved(ctx, 0);
});

test('an empty pool drops the packet; fragments that left stay with their taker', () => {
  const small = makeContext(4, 1);
  const f = receive(small, ipv4Packet({ payload: pattern(3000) }));
  const taken: FrameId[] = [];
  const verdict = new Fragmenter(small).fragment(f, 576, (g) => {
    taken.push(g);
    return STOLEN;
  });
  assert.is(verdict, DROP | POOL_EMPTY);
  small.settle(f, verdict);
  assert.is(taken.length, 3);
  assertConserved(small, 3);
  for (const g of taken) small.settle(g, DELIVERED);
  assertConserved(small, 0);
});

test('any packet, however it lies in frames, is put together again from its fragments', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 100, max: 9000 }),
      fc.integer({ min: 68, max: 1500 }),
      fc.constantFrom([], [148, 4, 0, 0], [7, 7, 4, 0, 0, 0, 0, 0], [1, 222, 7, 1, 2, 3, 4, 5]),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (size, mtu, options, share) => {
        const packet = ipv4Packet({ payload: pattern(size), options, id: size });
        const header = 20 + options.length;
        const linear = header + Math.floor((packet.length - header) * share);
        const parts = split(packet, mtu, linear);
        for (const p of parts) {
          assert.ok(p.length <= mtu);
          assert.is(naiveChecksum(p.slice(0, headerOf(p))), 0);
          assert.is(view(p).getUint16(2), p.length);
        }
        const r = new Reassembler(ctx, new HandTimers(), () => {}, { ...DEFAULT_REASSEMBLY, fragments: 1000 });
        for (const p of parts) {
          const f = receive(ctx, p);
          // A packet that fits comes back as its only part, which is no fragment.
          if (parts.length > 1) ctx.settle(f, r.input(f));
          else ctx.settle(f, DELIVERED);
        }
        const whole = parts.length > 1 ? bytesOf(ctx, r.outFrame) : parts[0]!;
        if (parts.length > 1) ctx.settle(r.outFrame, DELIVERED);
        assert.equal(whole, packet);
        assertConserved(ctx, 0);
      },
    ),
    { numRuns: 200 },
  );
});

test.run();
