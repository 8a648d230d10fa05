import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FATE_DROPPED } from '../../../../stack/context.ts';
import { LINK_ERROR, RUNT } from '../../../../stack/drop.ts';
import { duplicate } from '../../../../stack/netif/copy.ts';
import { finishChecksum } from '../../../../stack/netif/gso.ts';
import { memoryWire, OFFLOAD_WIRE, PLAIN_WIRE } from '../../../../stack/netif/memory.ts';
import {
  assertConserved,
  bytesOf,
  newContext,
  tcpChecksumIsRight,
  tcpFrame,
  testFrame,
} from '../../../contract/device.ts';

test('a plain wire refuses what it does not offer, and says what', () => {
  const ctx = newContext();
  const [a] = memoryWire(ctx, newContext(), PLAIN_WIRE);
  const partial = tcpFrame(ctx, 0, 0);
  const gso = tcpFrame(ctx, 5000, 1000);
  const sliced = testFrame(ctx, 60, 1);
  ctx.pool.frag[sliced] = testFrame(ctx, 60, 1);
  ctx.pool.fragLen[sliced] = 10;
  assert.is(a.tx(Int32Array.of(partial, gso, sliced, testFrame(ctx, 13, 1)), 0, 4), 4);
  assert.is(ctx.drops[LINK_ERROR], 3);
  assert.is(ctx.drops[RUNT], 1);
  assert.equal(a.stats.errors, { 'no checksum offload': 1, 'no tso': 1, 'no scatter': 1 });
  assert.is(ctx.fate[FATE_DROPPED], 4);
  assertConserved(ctx, 'A');
  assert.is(ctx.pool.inUse, 0);
});

test('frames in flight are held by the receiver, who takes the loss when it closes', () => {
  const ctxA = newContext();
  const ctxB = newContext();
  const [a, b] = memoryWire(ctxA, ctxB, PLAIN_WIRE);
  a.tx(Int32Array.of(testFrame(ctxA, 60, 1)), 0, 1);
  assert.equal([ctxA.pool.inUse, ctxB.pool.inUse], [0, 1]);
  assertConserved(ctxB, 'B');
  b.close();
  assert.equal([ctxB.pool.inUse, a.up], [0, false]);
  assertConserved(ctxB, 'B');
});

test('contradictory options are refused', () => {
  const make = (options: object) => () => memoryWire(newContext(), newContext(), { ...PLAIN_WIRE, ...options });
  assert.throws(make({ tso: true, txChecksum: true }), /tso needs/);
  assert.throws(make({ ring: 100 }), /power of two/);
});

test('two ends may share one pool', () => {
  const ctx = newContext();
  const [a, b] = memoryWire(ctx, ctx, OFFLOAD_WIRE);
  const f = tcpFrame(ctx, 3000, 1000);
  const bytes = bytesOf(ctx, f);
  a.tx(Int32Array.of(f), 0, 1);
  const out = new Int32Array(1);
  assert.is(b.rx(out, 1), 1);
  assert.equal(bytesOf(ctx, out[0]!), bytes);
  assert.is(ctx.pool.inUse, 1);
});

test('a duplicate is linear and carries the metadata relative to itself', () => {
  const ctx = newContext();
  const { pool } = ctx;
  const f = tcpFrame(ctx, 2500, 1000);
  const g = duplicate(ctx, f);
  assert.equal(bytesOf(ctx, g), bytesOf(ctx, f));
  assert.is(pool.frag[g], 0);
  assert.equal([pool.flags[g], pool.gsoType[g], pool.gsoSize[g]], [pool.flags[f], pool.gsoType[f], 1000]);
  assert.is(pool.csumStart[g]! - pool.off[g]!, 34);
});

test('a finished checksum is right for even and odd lengths', () => {
  const ctx = newContext();
  for (const payload of [0, 1, 2, 3, 1459, 1460]) {
    const f = duplicate(ctx, tcpFrame(ctx, payload, 0));
    assert.not(tcpChecksumIsRight(ctx, f));
    finishChecksum(ctx.pool, f);
    assert.ok(tcpChecksumIsRight(ctx, f), `payload ${payload}`);
  }
});

test.run();
