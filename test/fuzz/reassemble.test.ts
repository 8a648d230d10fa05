/**
 * Reassembly against generated traffic: any way to cut, mix and copy datagrams gives them back byte for byte; any overlap
 * gives nothing; no flood exceeds the limits; and whatever comes, every frame has an end.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DEFAULT_REASSEMBLY, Reassembler, type ReassemblyLimits } from '../../stack/ipv4/reassemble.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import {
  assertConserved,
  bytesOf,
  HandTimers,
  ipv4Packet,
  makeContext,
  type PacketFields,
  pattern,
  receive,
} from '../lib/ip-bench.ts';

// A failure prints its seed; `seed` here repeats it.
const runs = { numRuns: 300 };

// One context for all runs: pools are large. Each run must leave it empty. Pieces beyond 1.9 KB take a big slot each: four
// datagrams of 12,000 bytes can hold 24 of them, and there are to be enough.
const ctx = makeContext(1024, 64);

function bench(limits: Partial<ReassemblyLimits> = {}) {
  const timers = new HandTimers();
  const timeouts: Uint8Array[] = [];
  const whole: Uint8Array[] = [];
  const r = new Reassembler(ctx, timers, (f) => timeouts.push(bytesOf(ctx, f)), { ...DEFAULT_REASSEMBLY, ...limits });
  const give = (packet: Uint8Array): void => {
    const f = receive(ctx, packet);
    ctx.settle(f, r.input(f));
    if (r.outFrame === 0) return;
    whole.push(bytesOf(ctx, r.outFrame));
    ctx.settle(r.outFrame, DELIVERED);
  };
  const end = (): void => timers.advance(ctx, ctx.nowMs + 30_000);
  return { timers, timeouts, whole, r, give, end };
}

interface Piece {
  from: number;
  to: number;
}

/** Where to cut a datagram of this many bytes: positions in units of eight. */
const cutsOf = (size: number): fc.Arbitrary<Piece[]> =>
  fc
    .uniqueArray(fc.integer({ min: 1, max: Math.max(1, Math.ceil(size / 8) - 1) }), { minLength: 1, maxLength: 40 })
    .map((cuts) => {
      const edges = [0, ...cuts.map((c) => c * 8).sort((a, b) => a - b), size].filter((e) => e <= size);
      const pieces: Piece[] = [];
      for (let i = 1; i < edges.length; i++)
        if (edges[i - 1]! < edges[i]!) pieces.push({ from: edges[i - 1]!, to: edges[i]! });
      return pieces;
    });

interface Sliced {
  id: number;
  size: number;
  pieces: Piece[];
}

const sliced: fc.Arbitrary<Sliced> = fc
  .record({ id: fc.integer({ min: 0, max: 0xffff }), size: fc.integer({ min: 9, max: 12_000 }) })
  .chain(({ id, size }) => cutsOf(size).map((pieces) => ({ id, size, pieces })));

function fragment(d: Sliced, p: Piece, change: PacketFields = {}): Uint8Array {
  const payload = pattern(d.size, d.id).slice(p.from, p.to);
  return ipv4Packet({ id: d.id, offset: p.from, mf: p.to < d.size, payload, ...change });
}

test('random cuts, mixed and copied, of several datagrams come back byte for byte', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(sliced, { minLength: 1, maxLength: 4, selector: (d) => d.id }),
      fc.infiniteStream(fc.integer({ min: 0, max: 0x7fffffff })),
      (datagrams, dice) => {
        const roll = (n: number): number => dice.next().value % n;
        const { whole, r, give, end } = bench();
        const traffic = datagrams.flatMap((d) => d.pieces.map((p) => ({ d, p })));
        for (let i = traffic.length - 1; i > 0; i--) {
          const j = roll(i + 1);
          [traffic[i], traffic[j]] = [traffic[j]!, traffic[i]!];
        }
        const left = new Map(datagrams.map((d) => [d.id, d.pieces.length]));
        for (const { d, p } of traffic) {
          give(fragment(d, p));
          left.set(d.id, left.get(d.id)! - 1);
          // Copies while the datagram is incomplete; later ones would rightly start a new one.
          if (left.get(d.id)! > 0 && roll(3) === 0) give(fragment(d, p));
        }
        const want = datagrams.map((d) => ipv4Packet({ id: d.id, payload: pattern(d.size, d.id) }));
        const key = (b: Uint8Array): number => b[4]! * 256 + b[5]!;
        assert.equal(
          whole.sort((a, b) => key(a) - key(b)),
          want.sort((a, b) => key(a) - key(b)),
        );
        assert.is(r.held, 0);
        end();
        assertConserved(ctx, 0);
      },
    ),
    runs,
  );
});

test('one overlapping fragment anywhere before the end leaves nothing of the datagram', () => {
  fc.assert(
    fc.property(sliced, fc.nat(), fc.nat(), fc.nat(), (d, where, start, length) => {
      const { whole, r, give, end } = bench();
      // All but one piece are there, so that only the overlap can end it.
      const missing = where % d.pieces.length;
      const there = d.pieces.filter((_, i) => i !== missing);
      if (there.length === 0) return;
      for (const p of there) give(fragment(d, p));
      const hit = there[start % there.length]!;
      const from = hit.from + 8 * (start % Math.ceil((hit.to - hit.from) / 8));
      const to = from + 8 * (1 + (length % 100));
      const exact = from === hit.from && to === hit.to;
      if (exact) return void r.clear();
      give(ipv4Packet({ id: d.id, offset: from, mf: true, payload: pattern(to - from) }));
      assert.is(r.held, 0, 'fragments were dropped');
      for (const p of d.pieces) give(fragment(d, p));
      assert.equal(whole, []);
      assert.is(r.held, 0);
      end();
      assert.is(r.datagrams, 0);
      assertConserved(ctx, 0);
    }),
    runs,
  );
});

/** Any fragment at all, often of the same few datagrams. */
const anything: fc.Arbitrary<PacketFields> = fc.record({
  id: fc.integer({ min: 0, max: 3 }),
  src: fc.integer({ min: 1, max: 2 }),
  proto: fc.constantFrom(1, 6, 17),
  tos: fc.integer({ min: 0, max: 3 }),
  mf: fc.boolean(),
  offset: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 0x1fff })).map((n) => n * 8),
  payload: fc.integer({ min: 0, max: 40 }).map((n) => pattern(n)),
  options: fc.constantFrom([], [1, 1, 1, 0]),
});

test('whatever comes, in whatever time, the gauges are right and every frame ends', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(anything, fc.integer({ min: 0, max: 9000 })), { maxLength: 200 }), (traffic) => {
      const { timers, r, give, end } = bench({ datagrams: 5, frames: 12, fragments: 6 });
      for (const [p, laterMs] of traffic) {
        timers.advance(ctx, ctx.nowMs + laterMs);
        give(ipv4Packet(p));
        assert.ok(r.held <= 12);
        assert.ok(r.datagrams <= 5);
        assert.is(r.heldBytes, r.held * 2048);
        assert.is(timers.armed, r.datagrams);
        assertConserved(ctx, r.held);
      }
      end();
      assert.is(r.held, 0);
      assert.is(r.datagrams, 0);
      assertConserved(ctx, 0);
    }),
    runs,
  );
});

test('a flood of datagrams that never end stays within its bounds, and honest traffic still passes', () => {
  const { whole, r, give, end } = bench({ datagrams: 64, frames: 100, bytes: 100 * 2048 });
  const honest: Sliced = { id: 1, size: 3000, pieces: [] };
  for (let i = 0; i < 20_000; i++) {
    give(ipv4Packet({ src: 0x0b000000 + i, id: i & 0xffff, mf: true, offset: (i % 5) * 8, payload: pattern(8) }));
    assert.ok(r.held <= 100 && r.datagrams <= 64);
    if (i % 1000 === 0)
      for (const p of [
        { from: 0, to: 1480 },
        { from: 1480, to: 3000 },
      ])
        give(fragment(honest, p));
  }
  assert.is(whole.length, 20);
  assertConserved(ctx, r.held);
  end();
  assertConserved(ctx, 0);
});

test.run();
