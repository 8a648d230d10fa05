/** Plans of the soak: the same for both sides, possible to carry out, and of every kind; streams in which any slip shows. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HEADER, otherSide, planOf, readHeader, StreamBytes, writeHeader } from '../../soak/plan.ts';

const PLANS = { seed: 77, longest: 500_000 };
const many = Array.from({ length: 2000 }, (_, n) => planOf(PLANS, n));

test('seed and number make the plan', () => {
  assert.equal(planOf(PLANS, 12), planOf({ ...PLANS }, 12));
  assert.not.equal(planOf(PLANS, 12), planOf({ ...PLANS, seed: 78 }, 12));
});

test('no plan waits for ever: never do both sides wait for the other to close, nor both reset', () => {
  for (const { n, tsvs, kernel, opener } of many) {
    assert.not(tsvs.closesSecond && kernel.closesSecond, `connection ${n}`);
    assert.not(tsvs.resetAt >= 0 && kernel.resetAt >= 0, `connection ${n}`);
    for (const side of ['tsvs', 'kernel'] as const) {
      const { resetAt, stopAt, send } = { tsvs, kernel }[side];
      const arrives = { tsvs, kernel }[otherSide(side)].send;
      assert.ok(resetAt <= send + arrives && stopAt <= arrives && send <= PLANS.longest + HEADER, `connection ${n}`);
    }
    assert.ok({ tsvs, kernel }[opener].send >= HEADER, `connection ${n}`);
  }
});

test('there are plans of every kind, on both sides', () => {
  for (const side of ['tsvs', 'kernel'] as const) {
    const share = (is: (plan: (typeof many)[number]) => boolean): number => many.filter(is).length / many.length;
    assert.ok(share((p) => p.opener === side) > 0.4);
    assert.ok(share((p) => p[side].resetAt >= 0) > 0.02);
    assert.ok(share((p) => p[side].closesSecond) > 0.1);
    assert.ok(share((p) => p[side].stopAt >= 0) > 0.1);
    assert.ok(share((p) => p[side].sip > 0) > 0.03);
    assert.ok(share((p) => p[side].restEvery > 0) > 0.1);
    assert.ok(share((p) => p[side].send <= HEADER) > 0.05);
  }
  assert.ok(many.some((p) => p.refused));
});

test('a stream begins with the number on the side of the opener, and shows each wrong, missing or repeated byte', () => {
  const plan = many.find((p) => p.opener === 'kernel' && p.kernel.send > 5000 && p.tsvs.send > 5000)!;
  const bytes = new Uint8Array(HEADER);
  writeHeader(bytes, plan.n);
  assert.is(readHeader(bytes), plan.n);
  assert.is(readHeader(new Uint8Array(HEADER)), -1);
  for (const side of ['tsvs', 'kernel'] as const) {
    const stream = new StreamBytes(PLANS.seed, plan, side);
    const all = new Uint8Array(5000);
    for (let at = 0; at < all.length; ) {
      const piece = stream.slice(at, Math.min(700, all.length - at));
      all.set(piece, at);
      at += piece.length;
    }
    assert.is(readHeader(all) === plan.n, side === 'kernel');
    assert.is(stream.difference(all, 0), -1);
    assert.is(stream.difference(all.subarray(3, 1000), 3), -1);
    const damaged = all.slice();
    damaged[4321]! ^= 1;
    assert.is(stream.difference(damaged, 0), 4321);
    assert.ok(stream.difference(all.subarray(1000), 1001) >= 1001, 'one byte is missing');
    assert.ok(new StreamBytes(PLANS.seed, plan, otherSide(side)).difference(all.subarray(1000), 1000) >= 1000);
    assert.ok(
      new StreamBytes(PLANS.seed, { ...plan, n: plan.n + 1 }, side).difference(all.subarray(1000), 1000) >= 1000,
    );
  }
});

test.run();
