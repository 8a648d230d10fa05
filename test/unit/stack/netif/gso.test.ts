/** Segmentation and checksums in software: every piece is judged by the naive decoder. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context } from '../../../../stack/context.ts';
import { OVERSIZE, POOL_EMPTY } from '../../../../stack/drop.ts';
import {
  F_CSUM_PARTIAL,
  FramePool,
  GSO_NONE,
  GSO_TCPV4,
  HEADROOM,
  L4_HEADROOM,
} from '../../../../stack/mem/frame-pool.ts';
import { gather } from '../../../../stack/netif/copy.ts';
import type { Device } from '../../../../stack/netif/device.ts';
import { finishChecksum, fitSegments, linearize, packetBytes, Segmenter } from '../../../../stack/netif/gso.ts';
import { Port } from '../../../../stack/netif/port.ts';
import type { FrameId, Verdict } from '../../../../stack/types.ts';
import { DELIVERED, DROP, STOLEN } from '../../../../stack/verdict.ts';
import { naiveSum } from '../../../lib/naive-checksum.ts';
import { seeded } from '../../../lib/random.ts';
import { type DecodedSegment, decodeSegment, type Segment, segmentFrame } from '../../../lib/segment.ts';
import { outstanding } from '../../../lib/sim.ts';

interface Rig {
  ctx: Context;
  out: DecodedSegment[];
  port: Port;
  segmenter: Segmenter;
  transmit(f: FrameId): Verdict;
}

function rig(mtu = 1500, slots = 128): Rig {
  const pool = FramePool.create({ slots, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 });
  const ctx = new Context(pool, seeded(1));
  const out: DecodedSegment[] = [];
  const device = { caps: { mtu } } as unknown as Device;
  return {
    ctx,
    out,
    port: new Port(1, device, 0x0200, 1),
    segmenter: new Segmenter(ctx),
    transmit(f) {
      if ((pool.flags[f]! & F_CSUM_PARTIAL) !== 0) finishChecksum(pool, f);
      if (pool.frag[f] !== 0) linearize(ctx, f);
      const bytes = new Uint8Array(pool.wireLength(f));
      gather(pool, f, bytes, 0);
      out.push(decodeSegment(bytes));
      ctx.settle(f, DELIVERED);
      return STOLEN;
    },
  };
}

const noise = (n: number, seed: number): Uint8Array => {
  const r = seeded(seed);
  return Uint8Array.from({ length: n }, () => r.next());
};

const BASE: Segment = {
  src: 0x0a000001,
  dst: 0x0a000002,
  sport: 80,
  dport: 40000,
  seq: 0x7ffffff0,
  ack: -77,
  flags: 'FPCA',
  win: 1234,
  data: new Uint8Array(),
};

/** A GSO frame as TCP builds it: headers in a small frame, payload in a slice at an offset of `skew`. */
function large(r: Rig, s: Segment, mss: number, skew: number, known: boolean): FrameId {
  const { pool } = r.ctx;
  const bytes = segmentFrame(s);
  const headers = bytes.length - s.data.length;
  const tcpLength = bytes.length - 34;
  // The partial checksum: the pseudo-header's sum, length of the whole included.
  const pseudo = new Uint8Array(12);
  pseudo.set(bytes.subarray(26, 34));
  pseudo[9] = 6;
  new DataView(pseudo.buffer).setUint16(10, tcpLength);
  new DataView(bytes.buffer).setUint16(50, naiveSum(pseudo));
  const f = r.ctx.create();
  const at = pool.base(f) + L4_HEADROOM - 34;
  pool.buf.set(bytes.subarray(0, headers), at);
  pool.off[f] = at;
  pool.len[f] = headers;
  pool.l3[f] = at + 14;
  pool.l4[f] = at + 34;
  pool.flags[f]! |= F_CSUM_PARTIAL;
  pool.csumStart[f] = at + 34;
  pool.csumOff[f] = 16;
  pool.gsoType[f] = GSO_TCPV4;
  pool.gsoSize[f] = mss;
  const p = r.ctx.createBig();
  const from = pool.base(p) + HEADROOM + skew;
  pool.buf.set(s.data, from);
  pool.off[p] = from;
  pool.len[p] = s.data.length;
  if (known) pool.paySum[p] = naiveSum(s.data);
  pool.frag[f] = p;
  pool.fragOff[f] = from;
  pool.fragLen[f] = s.data.length;
  return f;
}

const cases = [1, 2, 535, 536, 1447, 1448, 1449, 2895, 2896, 2897, 10_001, 65_000];

for (const bytes of cases)
  for (const mss of [536, 1447, 1448])
    test(`${bytes} bytes in segments of ${mss}: checksums, numbers, flags`, () => {
      for (const skew of [0, 1, 2, 3])
        for (const ts of [false, true]) {
          const r = rig();
          const data = noise(bytes, bytes + skew);
          const s: Segment = { ...BASE, data, ...(ts && { ts: [5, -6] as const }) };
          const f = large(r, s, mss, skew, skew === 1);
          const verdict = r.segmenter.segment(f, r.port, { transmit: (g) => r.transmit(g) });
          assert.is(verdict, STOLEN);
          assert.is(r.out.length, Math.ceil(bytes / mss));
          let at = 0;
          r.out.forEach((piece, i) => {
            const last = i === r.out.length - 1;
            assert.is(
              piece.flags,
              `${last ? 'FP' : ''}${i === 0 ? 'C' : ''}A`,
              'FIN and PSH on the last only, CWR on the first',
            );
            assert.is(piece.seq, (BASE.seq + at) | 0);
            assert.is(piece.ack, BASE.ack);
            assert.is(piece.win, BASE.win);
            assert.is(piece.ipId, (7 + i) & 0xffff, 'identifications count up');
            assert.ok(piece.df);
            assert.equal(piece.ts, s.ts);
            assert.is(piece.data.length, last ? bytes - at : mss);
            assert.equal(piece.data, data.slice(at, at + piece.data.length));
            at += piece.data.length;
          });
          assert.is(r.ctx.pool.inUse, 0);
          assert.is(outstanding(r.ctx), 0);
        }
    });

test('a large frame whose payload is linear, as a link receives it', () => {
  const r = rig();
  const { pool } = r.ctx;
  const data = noise(5000, 9);
  const f = large(r, { ...BASE, data }, 1448, 0, false);
  const g = r.ctx.createBig();
  pool.off[g] = pool.base(g) + HEADROOM;
  pool.len[g] = gather(pool, f, pool.buf, pool.off[g]!);
  for (const column of [pool.flags, pool.gsoType, pool.gsoSize, pool.csumOff]) column[g] = column[f]!;
  pool.csumStart[g] = pool.off[g]! + 34;
  r.ctx.settle(f, DELIVERED);
  assert.is(r.segmenter.segment(g, r.port, { transmit: (x) => r.transmit(x) }), STOLEN);
  assert.equal(
    r.out.flatMap((s) => [...s.data]),
    [...data],
  );
  assert.is(pool.inUse, 0);
});

test('segments larger than the MTU are refused whole', () => {
  const r = rig(1400);
  const f = large(r, { ...BASE, data: noise(5000, 1) }, 1448, 0, false);
  assert.is(r.segmenter.segment(f, r.port, { transmit: (x) => r.transmit(x) }), DROP | OVERSIZE);
  assert.is(r.out.length, 0);
  r.ctx.settle(f, DROP | OVERSIZE);
  assert.is(r.ctx.pool.inUse, 0);
});

test('segments without payload are refused whole', () => {
  for (const size of [0, -1, -1460]) {
    const r = rig();
    const f = large(r, { ...BASE, data: noise(5000, 1) }, size, 0, false);
    assert.is(r.segmenter.segment(f, r.port, { transmit: (x) => r.transmit(x) }), DROP | OVERSIZE);
    assert.is(r.out.length, 0);
    r.ctx.settle(f, DROP | OVERSIZE);
    assert.is(r.ctx.pool.inUse, 0);
  }
});

test('segments are made to fit as far as headers leave them payload', () => {
  const r = rig();
  const { pool } = r.ctx;
  const f = large(r, { ...BASE, data: noise(5000, 1), ts: [5, -6] }, 1448, 0, false);
  assert.is(packetBytes(pool, f), 1500);
  assert.ok(fitSegments(pool, f, 53));
  assert.is(pool.gsoSize[f], 1);
  assert.is(packetBytes(pool, f), 53);
  assert.not(fitSegments(pool, f, 52));
  assert.is(pool.gsoSize[f], 1);
  r.ctx.settle(f, DELIVERED);
});

test('with too few frames the rest is lost as on a wire; with none the frame is refused', () => {
  for (const left of [0, 2]) {
    const r = rig(1500, 16);
    const f = large(r, { ...BASE, data: noise(10_000, 1) }, 1448, 0, false);
    const taken: FrameId[] = [];
    while (r.ctx.pool.freeSmallCount > left) taken.push(r.ctx.create());
    // The port keeps what it is given, as a queue does.
    const kept: FrameId[] = [];
    const verdict = r.segmenter.segment(f, r.port, {
      transmit: (x) => {
        kept.push(x);
        return STOLEN;
      },
    });
    assert.is(verdict, left === 0 ? DROP | POOL_EMPTY : STOLEN);
    assert.is(kept.length, left);
    if (left === 0) r.ctx.settle(f, verdict);
    for (const x of [...taken, ...kept]) r.ctx.settle(x, DELIVERED);
    assert.is(r.ctx.pool.inUse, 0);
    assert.is(outstanding(r.ctx), 0);
  }
});

test('a piece the port refuses is dropped with its reason, the others go on', () => {
  const r = rig();
  const f = large(r, { ...BASE, data: noise(5000, 3) }, 1448, 0, false);
  let n = 0;
  r.segmenter.segment(f, r.port, { transmit: (x) => (n++ === 1 ? DROP | OVERSIZE : r.transmit(x)) });
  assert.is(r.out.length, 3);
  assert.is(r.ctx.drops[OVERSIZE], 1);
  assert.is(r.ctx.pool.inUse, 0);
});

test('finishing a checksum: linear or scattered, odd or even, payload sum known or not', () => {
  for (let linear = 0; linear <= 5; linear++)
    for (let rest = 0; rest <= 5; rest++)
      for (const known of [false, true]) {
        const r = rig();
        const { pool } = r.ctx;
        const data = noise(linear + rest, 17 + linear * 7 + rest);
        const bytes = segmentFrame({ ...BASE, data });
        const pseudo = new Uint8Array(12);
        pseudo.set(bytes.subarray(26, 34));
        pseudo[9] = 6;
        pseudo[11] = bytes.length - 34;
        new DataView(bytes.buffer).setUint16(50, naiveSum(pseudo));
        const f = r.ctx.create();
        const at = pool.off[f]!;
        pool.buf.set(bytes.subarray(0, bytes.length - rest), at);
        pool.len[f] = bytes.length - rest;
        pool.flags[f]! |= F_CSUM_PARTIAL;
        pool.csumStart[f] = at + 34;
        pool.csumOff[f] = 16;
        if (rest > 0) {
          const p = r.ctx.create();
          pool.buf.set(data.subarray(linear), pool.off[p]!);
          pool.len[p] = rest;
          if (known) pool.paySum[p] = naiveSum(data.subarray(linear));
          pool.frag[f] = p;
          pool.fragOff[f] = pool.off[p]!;
          pool.fragLen[f] = rest;
        }
        assert.is(pool.gsoType[f], GSO_NONE);
        r.transmit(f);
        assert.equal(r.out[0]!.data, data);
        assert.is(pool.inUse, 0);
      }
});

test.run();
