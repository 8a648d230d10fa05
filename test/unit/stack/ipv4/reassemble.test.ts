import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../../../../stack/context.ts';
import {
  FRAG_DUPLICATE,
  FRAG_LIMIT,
  FRAG_MALFORMED,
  FRAG_OVERLAP,
  FRAG_TIMEOUT,
  PORT_CLOSED,
} from '../../../../stack/drop.ts';
import { DEFAULT_REASSEMBLY, Reassembler, type ReassemblyLimits } from '../../../../stack/ipv4/reassemble.ts';
import { F_L2_BROADCAST, F_REASSEMBLED } from '../../../../stack/mem/frame-pool.ts';
import type { Verdict } from '../../../../stack/types.ts';
import { DELIVERED, DROP, STOLEN } from '../../../../stack/verdict.ts';
import {
  assertConserved,
  bytesOf,
  dropsOf,
  HandTimers,
  ipv4Packet,
  makeContext,
  type PacketFields,
  pattern,
  receive,
} from '../../../lib/ip-bench.ts';

interface Bench {
  ctx: Context;
  timers: HandTimers;
  r: Reassembler;
  /** Bytes of the first fragments reported as timed out. */
  timeouts: Uint8Array[];
  /** Datagrams completed. */
  whole: Uint8Array[];
  /** Receives a fragment, settles it, and returns the verdict. */
  give(p: PacketFields, flags?: number): Verdict;
}

function bench(limits: Partial<ReassemblyLimits> = {}, slots = 512, bigSlots = 4): Bench {
  const ctx = makeContext(slots, bigSlots);
  const timers = new HandTimers();
  const timeouts: Uint8Array[] = [];
  const whole: Uint8Array[] = [];
  const r = new Reassembler(ctx, timers, (f) => timeouts.push(bytesOf(ctx, f)), { ...DEFAULT_REASSEMBLY, ...limits });
  const give = (p: PacketFields, flags = 0): Verdict => {
    const f = receive(ctx, ipv4Packet(p), flags);
    const verdict = r.input(f);
    ctx.settle(f, verdict);
    if (r.outFrame !== 0) {
      whole.push(bytesOf(ctx, r.outFrame));
      ctx.settle(r.outFrame, DELIVERED);
    }
    return verdict;
  };
  return { ctx, timers, r, timeouts, whole, give };
}

const data = pattern(4000);
/** Fragment of `data`: bytes [from, to), MF unless it ends at 4000. */
const piece = (from: number, to: number, more: PacketFields = {}): PacketFields => ({
  offset: from,
  mf: to < 4000,
  payload: data.slice(from, to),
  ...more,
});

test('two fragments in order make the datagram', () => {
  const { ctx, timers, r, whole, give } = bench();
  assert.is(give({ mf: true, payload: data.slice(0, 1000), id: 99, tos: 0x28 }), STOLEN);
  assert.is(r.held, 1);
  assert.is(timers.armed, 1);
  assert.is(give({ offset: 1000, payload: data.slice(1000, 1500), id: 99, tos: 0x28 }), DELIVERED);
  assert.equal(whole, [ipv4Packet({ payload: data.slice(0, 1500), id: 99, tos: 0x28 })]);
  assert.is(r.held, 0);
  assert.is(r.heldBytes, 0);
  assert.is(r.datagrams, 0);
  assert.is(timers.armed, 0);
  assertConserved(ctx, 0);
});

test('every order of four fragments makes the same datagram', () => {
  const cuts = [piece(0, 800), piece(800, 1600), piece(1600, 3200), piece(3200, 4000)];
  let orders = 0;
  for (let a = 0; a < 4; a++)
    for (let b = 0; b < 4; b++)
      for (let c = 0; c < 4; c++) {
        const d = 6 - a - b - c;
        if (new Set([a, b, c, d]).size < 4) continue;
        const { ctx, whole, give } = bench({}, 32, 1);
        for (const i of [a, b, c, d]) give(cuts[i]!);
        assert.equal(whole, [ipv4Packet({ payload: data })]);
        assertConserved(ctx, 0);
        orders++;
      }
  assert.is(orders, 24);
});

test('the datagram looks received: port, flags, header offsets, no local mark', () => {
  const { ctx, r } = bench();
  const { pool } = ctx;
  const f = receive(ctx, ipv4Packet(piece(0, 1000, { options: [1, 1, 1, 0] })));
  pool.port[f] = 3;
  ctx.settle(f, r.input(f));
  const g = receive(ctx, ipv4Packet({ offset: 1000, payload: data.slice(0, 10) }), F_L2_BROADCAST);
  ctx.settle(g, r.input(g));
  const whole = r.outFrame;
  assert.is.not(whole, 0);
  assert.is(pool.port[whole], 3);
  assert.is(pool.flags[whole], F_REASSEMBLED | F_L2_BROADCAST);
  assert.is(pool.off[whole], pool.l3[whole]);
  assert.is(pool.l4[whole]! - pool.l3[whole]!, 24);
  assert.is(pool.l3[whole]! & 3, 0, 'IP header on a 4-byte boundary');
  ctx.settle(whole, DELIVERED);
  assertConserved(ctx, 0);
});

test('the options of the first fragment are those of the datagram', () => {
  const { whole, give } = bench();
  give({ offset: 800, payload: data.slice(800, 1000), options: [148, 4, 0, 0] });
  give({ mf: true, payload: data.slice(0, 800), options: [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0] });
  assert.equal(whole, [ipv4Packet({ payload: data.slice(0, 1000), options: [148, 4, 0, 0, 7, 7, 4, 0, 0, 0, 0, 0] })]);
});

for (const [field, other] of [
  ['src', { src: 5 }],
  ['dst', { dst: 5 }],
  ['id', { id: 8 }],
  ['proto', { proto: 18 }],
] as const) {
  test(`fragments that differ in ${field} belong to different datagrams`, () => {
    const { ctx, r, give } = bench();
    give(piece(0, 1600));
    assert.is(give({ offset: 1600, payload: data.slice(0, 8), ...other }), STOLEN);
    assert.is(r.datagrams, 2);
    r.clear();
    assertConserved(ctx, 0);
  });
}

test('an exact copy of a fragment is ignored, wherever it stands', () => {
  for (const copy of [piece(0, 800), piece(800, 1600), piece(3200, 4000)]) {
    const { ctx, whole, give } = bench();
    for (const p of [piece(0, 800), piece(800, 1600), piece(3200, 4000)]) give(p);
    assert.is(give(copy), DROP | FRAG_DUPLICATE);
    give(piece(1600, 3200));
    assert.equal(whole, [ipv4Packet({ payload: data })]);
    assert.is(dropsOf(ctx, FRAG_DUPLICATE), 1);
    assertConserved(ctx, 0);
  }
});

test('a copy with one other byte is an overlap', () => {
  const { give } = bench();
  give(piece(0, 800));
  const forged = data.slice(0, 800);
  forged[799]! ^= 1;
  assert.is(give(piece(0, 800, { payload: forged })), DROP | FRAG_OVERLAP);
});

test('a copy with another MF bit is an overlap', () => {
  const { give } = bench();
  give(piece(0, 800));
  assert.is(give(piece(0, 800, { mf: false })), DROP | FRAG_OVERLAP);
});

/** What is held before, and what then clashes with it. */
const clashes: readonly (readonly [string, readonly PacketFields[], PacketFields])[] = [
  ['same start, longer', [piece(800, 1600)], piece(800, 1608)],
  ['same start, shorter', [piece(800, 1600)], piece(800, 1592)],
  ['same end, earlier start', [piece(800, 1600)], piece(792, 1600)],
  ['same end, later start', [piece(800, 1600)], piece(808, 1600)],
  ['tail reaches into the next', [piece(800, 1600)], piece(0, 808)],
  ['head reaches into the one before', [piece(800, 1600)], piece(1592, 2400)],
  ['inside of another (teardrop)', [piece(0, 1600)], piece(800, 1200)],
  ['around another', [piece(800, 1200)], piece(0, 1600)],
  ['inside the tail of three', [piece(0, 800), piece(800, 1600), piece(1600, 3200)], piece(2400, 2408)],
  ['over the gap and one neighbour', [piece(0, 800), piece(1600, 2400)], piece(800, 1608)],
  ['behind the last fragment', [piece(3200, 4000)], { offset: 4000, mf: true, payload: data.slice(0, 8) }],
  ['a second last fragment, later', [piece(3200, 4000)], { offset: 4000, payload: data.slice(0, 8) }],
  ['a second last fragment, earlier', [piece(3200, 4000)], { offset: 800, payload: data.slice(0, 8) }],
  ['a last fragment before one that is held', [piece(1600, 2400)], { offset: 800, payload: data.slice(0, 8) }],
];
for (const [name, before, clash] of clashes) {
  test(`overlap drops the whole datagram: ${name}`, () => {
    const { ctx, timers, r, whole, give } = bench();
    for (const p of before) assert.is(give(p), STOLEN);
    assert.is(give(clash), DROP | FRAG_OVERLAP);
    assert.is(r.held, 0);
    assertConserved(ctx, 0);
    // What still comes of it is dropped as well, and cannot complete it.
    for (let from = 0; from < 4000; from += 800) assert.is(give(piece(from, from + 800)), DROP | FRAG_OVERLAP);
    assert.equal(whole, []);
    assert.is(dropsOf(ctx, FRAG_OVERLAP), before.length + 6);
    // Once its time is over the same id serves a new datagram.
    timers.advance(ctx, 30_000);
    assert.is(r.datagrams, 0);
    for (let from = 0; from < 4000; from += 800) give(piece(from, from + 800));
    assert.is(whole.length, 1);
    assertConserved(ctx, 0);
  });
}

test('an empty fragment is malformed', () => {
  const { give, r } = bench();
  assert.is(give({ mf: true }), DROP | FRAG_MALFORMED);
  assert.is(give({ offset: 8 }), DROP | FRAG_MALFORMED);
  assert.is(r.datagrams, 0);
});

test('a fragment that is not the last must be a multiple of eight', () => {
  const { give } = bench();
  for (let n = 1; n < 32; n++) {
    const verdict = give({ mf: true, id: n, payload: data.slice(0, n) });
    assert.is(verdict, n % 8 === 0 ? STOLEN : DROP | FRAG_MALFORMED);
  }
});

test('ping of death: a fragment beyond 65535 bytes is dropped and kills nothing', () => {
  const { ctx, whole, give } = bench();
  give(piece(0, 800));
  assert.is(give({ offset: 65528, payload: data.slice(0, 8) }), DROP | FRAG_MALFORMED);
  assert.is(give({ offset: 65512, payload: data.slice(0, 8) }), DROP | FRAG_MALFORMED);
  assert.is(give({ offset: 65104, mf: true, payload: data.slice(0, 800) }), DROP | FRAG_MALFORMED);
  give(piece(800, 4000, { payload: data.slice(800, 4000) }));
  assert.is(whole.length, 1);
  assertConserved(ctx, 0);
});

test('the largest datagram, 65535 bytes, is made; one byte more through the first header is not', () => {
  const big = pattern(65515);
  for (const options of [[], [1, 1, 1, 0]]) {
    const { ctx, whole, give } = bench();
    let verdict = 0;
    for (let from = 65515 - (65515 % 1480); from >= 0; from -= 1480) {
      const to = Math.min(from + 1480, 65515);
      const first = from === 0 ? { options } : {};
      verdict = give({ offset: from, mf: to < 65515, payload: big.slice(from, to), ...first });
    }
    if (options.length === 0) assert.equal(whole, [ipv4Packet({ payload: big })]);
    else assert.is(verdict, DROP | FRAG_MALFORMED);
    assertConserved(ctx, 0);
  }
});

test('tiny fragments of TCP are dropped: a first one without flags, a second one with them', () => {
  const { give } = bench();
  assert.is(give({ proto: 6, mf: true, payload: data.slice(0, 8) }), DROP | FRAG_MALFORMED);
  assert.is(give({ proto: 6, offset: 8, mf: true, payload: data.slice(0, 8) }), DROP | FRAG_MALFORMED);
  assert.is(give({ proto: 6, mf: true, payload: data.slice(0, 16) }), STOLEN);
  assert.is(give({ proto: 6, offset: 16, mf: true, payload: data.slice(0, 8) }), STOLEN);
  assert.is(give({ proto: 17, mf: true, payload: data.slice(0, 8) }), STOLEN);
});

test('congestion experienced on any fragment marks the datagram', () => {
  const { whole, give } = bench();
  give(piece(0, 800, { tos: 2 }));
  give(piece(800, 1600, { tos: 3 }));
  give(piece(1600, 4000, { tos: 2 }));
  assert.equal(whole, [ipv4Packet({ payload: data, tos: 3 })]);
});

test('congestion experienced beside not-ECN-capable drops the datagram', () => {
  const { ctx, whole, give } = bench();
  give(piece(0, 800, { tos: 0 }));
  give(piece(800, 1600, { tos: 3 }));
  assert.is(give(piece(1600, 4000, { tos: 0 })), DROP | FRAG_MALFORMED);
  assert.equal(whole, []);
  assertConserved(ctx, 0);
});

test('timeout drops the fragments and reports the first one, counted from the first arrival', () => {
  const { ctx, timers, r, timeouts, give } = bench();
  give(piece(800, 1600));
  timers.advance(ctx, 20_000);
  give(piece(0, 800));
  timers.advance(ctx, 29_999);
  assert.is(r.held, 2);
  assertConserved(ctx, 2);
  timers.advance(ctx, 30_000);
  assert.equal(timeouts, [ipv4Packet(piece(0, 800))]);
  assert.is(r.held, 0);
  assert.is(r.datagrams, 0);
  assert.is(r.timedOut, 1);
  assert.is(dropsOf(ctx, FRAG_TIMEOUT), 2);
  assertConserved(ctx, 0);
});

test('timeout without the first fragment reports nothing', () => {
  const { ctx, timers, timeouts, give } = bench();
  give(piece(800, 1600));
  timers.advance(ctx, 30_000);
  assert.equal(timeouts, []);
  assert.is(dropsOf(ctx, FRAG_TIMEOUT), 1);
  assertConserved(ctx, 0);
});

test('timeout works across the wrap of the tick counter', () => {
  const { ctx, timers, r, give } = bench();
  const justBefore = 2 ** 31 - 10_000;
  ctx.tick(justBefore * 1000);
  give(piece(0, 800));
  timers.advance(ctx, justBefore + 29_999);
  assert.is(r.held, 1);
  timers.advance(ctx, justBefore + 30_000);
  assert.is(r.held, 0);
});

test('a datagram of too many fragments is dropped with what follows', () => {
  const { ctx, r, give } = bench({ fragments: 4 });
  for (let i = 0; i < 4; i++) assert.is(give(piece(i * 8, i * 8 + 8)), STOLEN);
  assert.is(give(piece(32, 40)), DROP | FRAG_LIMIT);
  assert.is(give(piece(40, 48)), DROP | FRAG_LIMIT);
  assert.is(r.held, 0);
  assert.is(dropsOf(ctx, FRAG_LIMIT), 6);
  assertConserved(ctx, 0);
});

test('exactly the allowed number of fragments is completed', () => {
  const { whole, give } = bench({ fragments: 5 });
  for (let from = 0; from < 4000; from += 800) give(piece(from, from + 800));
  assert.is(whole.length, 1);
});

test('a new datagram evicts the one that grew least recently when all rows are taken', () => {
  const { ctx, r, whole, give } = bench({ datagrams: 3 });
  for (const id of [1, 2, 3]) give(piece(0, 800, { id }));
  give(piece(800, 1600, { id: 1 }));
  give(piece(0, 800, { id: 4 })); // evicts 2
  assert.is(r.evicted, 1);
  assert.is(r.datagrams, 3);
  assert.is(r.held, 4);
  assert.is(dropsOf(ctx, FRAG_LIMIT), 1);
  give(piece(1600, 4000, { id: 1 }));
  give(piece(800, 4000, { id: 3 }));
  give(piece(800, 4000, { id: 4 }));
  assert.is(whole.length, 3);
  assertConserved(ctx, 0);
});

test('frames beyond the limit evict the oldest datagram, the newcomer stays', () => {
  const { ctx, r, give } = bench({ frames: 4 });
  for (const id of [1, 2]) for (const from of [0, 800]) give(piece(from, from + 800, { id }));
  assert.is(r.held, 4);
  assert.is(give(piece(0, 800, { id: 3 })), STOLEN);
  assert.is(r.held, 3);
  assert.is(dropsOf(ctx, FRAG_LIMIT), 2);
  assertConserved(ctx, 3);
});

test('bytes beyond the limit count whole slots', () => {
  const { ctx, r, give } = bench({ bytes: 3 * 2048 });
  for (const id of [1, 2, 3]) assert.is(give(piece(0, 8, { id })), STOLEN);
  assert.is(r.heldBytes, 3 * 2048);
  give(piece(0, 8, { id: 4 }));
  assert.is(r.heldBytes, 3 * 2048);
  assert.is(r.evicted, 1);
  assertConserved(ctx, 3);
});

test('a datagram that alone exceeds the limit is dropped', () => {
  const { ctx, r, give } = bench({ frames: 2 });
  give(piece(0, 800));
  give(piece(800, 1600));
  assert.is(give(piece(1600, 2400)), DROP | FRAG_LIMIT);
  assert.is(r.held, 0);
  assertConserved(ctx, 0);
});

test('no frame for the whole datagram: all fragments are dropped', () => {
  const { ctx, whole, give } = bench({}, 512, 0);
  give(piece(0, 1600));
  give(piece(1600, 3200));
  assert.is(give(piece(3200, 4000)), DROP | FRAG_LIMIT);
  assert.equal(whole, []);
  assert.is(dropsOf(ctx, FRAG_LIMIT), 3);
  assertConserved(ctx, 0);
});

test('a datagram that fits takes a small frame, one byte more a big one', () => {
  const room = 2048 - 144 - 20;
  for (const [size, bigs] of [
    [room, 0],
    [room + 1, 1],
  ] as const) {
    const { ctx, r } = bench();
    const f = receive(ctx, ipv4Packet({ mf: true, payload: data.slice(0, 1600) }));
    ctx.settle(f, r.input(f));
    const g = receive(ctx, ipv4Packet({ offset: 1600, payload: data.slice(1600, size) }));
    ctx.settle(g, r.input(g));
    assert.is(4 - ctx.pool.freeBigCount, bigs);
    assert.equal(bytesOf(ctx, r.outFrame), ipv4Packet({ payload: data.slice(0, size) }));
    ctx.settle(r.outFrame, DELIVERED);
    assertConserved(ctx, 0);
  }
});

test('clear drops everything and the object works on', () => {
  const { ctx, timers, r, whole, give } = bench();
  for (let id = 1; id < 20; id++) give(piece(0, 800, { id }));
  r.clear();
  assert.is(r.held, 0);
  assert.is(r.datagrams, 0);
  assert.is(timers.armed, 0);
  assert.is(dropsOf(ctx, PORT_CLOSED), 19);
  assertConserved(ctx, 0);
  give(piece(0, 800));
  give(piece(800, 4000));
  assert.is(whole.length, 1);
});

test.run();
