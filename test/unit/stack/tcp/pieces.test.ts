/** The small parts of TCP: descriptors, time-outs, numbers, Reno. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context } from '../../../../stack/context.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { reno } from '../../../../stack/tcp/congestion/reno.ts';
import { Secrets } from '../../../../stack/tcp/isn.ts';
import { backOff, baseRto, RTO_MAX_MS, sampleRtt } from '../../../../stack/tcp/rtt.ts';
import { S_FIN, S_LOST, S_SENT, SegmentTable } from '../../../../stack/tcp/segments.ts';
import { Tcb } from '../../../../stack/tcp/tcb.ts';
import { seeded } from '../../../lib/random.ts';

function table(capacity = 16): [Context, SegmentTable] {
  const ctx = new Context(FramePool.create({ slots: 16, slotBytes: 2048, bigSlots: 0, bigSlotBytes: 2048 }), seeded(1));
  return [ctx, new SegmentTable(ctx, capacity)];
}

test('a descriptor is split without copying, and its frame lives as long as either half', () => {
  const [ctx, segments] = table();
  const f = ctx.create();
  const s = segments.alloc(-10, f, 500, 30);
  segments.flags[s] = S_FIN | S_SENT | S_LOST;
  segments.sentAt[s] = 77;
  const rest = segments.split(s, 12);
  assert.equal([segments.seq[s], segments.len[s], segments.off[s], segments.flags[s]], [-10, 12, 500, S_SENT | S_LOST]);
  assert.equal(
    [segments.seq[rest], segments.len[rest], segments.off[rest], segments.flags[rest], segments.sentAt[rest]],
    [2, 18, 512, S_FIN | S_SENT | S_LOST, 77],
  );
  assert.is(segments.next[s], rest);
  assert.is(segments.end(s), 2);
  assert.is(segments.end(rest), 21, 'the FIN takes a number');
  assert.is(segments.size(rest), 19);
  segments.free(s);
  assert.is(ctx.pool.inUse, 1);
  segments.free(rest);
  assert.is(ctx.pool.inUse, 0);
  assert.is(segments.used, 0);
});

test('a FIN is split off its data as a descriptor of its own', () => {
  const [ctx, segments] = table();
  const s = segments.alloc(0, ctx.create(), 500, 30);
  segments.flags[s] = S_FIN;
  const fin = segments.split(s, 30);
  assert.equal([segments.len[fin], segments.size(fin), segments.size(s)], [0, 1, 30]);
  segments.free(s);
  segments.free(fin);
  assert.is(ctx.pool.inUse, 0);
});

test('trimming moves the left edge', () => {
  const [ctx, segments] = table();
  const s = segments.alloc(0x7ffffffe, ctx.create(), 500, 30);
  segments.trim(s, 4);
  assert.equal([segments.seq[s], segments.len[s], segments.off[s]], [-0x7ffffffe, 26, 504]);
});

test('the last eighth of the descriptors is kept for splitting', () => {
  const [, segments] = table(16);
  for (let i = 0; i < 13; i++) segments.alloc(0, 0, 0, 1);
  assert.not(segments.scarce);
  segments.alloc(0, 0, 0, 1);
  assert.ok(segments.scarce);
  assert.ok(segments.alloc(0, 0, 0, 1) !== 0 && segments.alloc(0, 0, 0, 1) !== 0);
  assert.is(segments.alloc(0, 0, 0, 1), 0);
});

test('RTO follows RFC 6298: the first sample, smoothing, bounds, backoff', () => {
  const t = new Tcb(1);
  assert.is(baseRto(t), 1000);
  sampleRtt(t, 400_000);
  assert.equal([t.srtt, t.rttvar, t.rtoMs], [400_000, 200_000, 1200]);
  sampleRtt(t, 480_000);
  assert.equal([t.srtt, t.rttvar, t.rtoMs], [410_000, 170_000, 1090]);
  for (let i = 0; i < 100; i++) sampleRtt(t, 100);
  assert.is(t.rtoMs, 200, 'the minimum');
  for (let i = 0; i < 12; i++) backOff(t);
  assert.is(t.rtoMs, RTO_MAX_MS);
  assert.is(t.backoff, 12);
  sampleRtt(t, 0);
  assert.is(t.backoff, 0);
  sampleRtt(t, 200_000_000);
  assert.is(t.rtoMs, RTO_MAX_MS);
});

test('ISN: rises by one every 4 us, differs by four-tuple and by host', () => {
  const s = new Secrets(seeded(5));
  const isn = s.isn(1_000_000, 1, 2, 3, 4);
  assert.is((s.isn(1_000_400, 1, 2, 3, 4) - isn) | 0, 100);
  const seen = new Set([
    isn,
    s.isn(1_000_000, 9, 2, 3, 4),
    s.isn(1_000_000, 1, 9, 3, 4),
    s.isn(1_000_000, 1, 2, 9, 4),
    s.isn(1_000_000, 1, 2, 3, 9),
    new Secrets(seeded(6)).isn(1_000_000, 1, 2, 3, 4),
  ]);
  assert.is(seen.size, 6);
  assert.is(s.timestampOffset(1, 2), s.timestampOffset(1, 2));
  assert.is.not(s.timestampOffset(1, 2), s.timestampOffset(1, 3));
});

test('Reno: doubles in slow start, then a segment per window; half of what was in flight on loss', () => {
  const t = new Tcb(1);
  t.mss = 1000;
  t.sndBuf = 1 << 20;
  t.ssthresh = 20_000;
  t.cwndLimited = 1;
  reno.init(t);
  assert.is(t.cwnd, 10_000);
  reno.onAck(t, 10_000, 0, -1);
  assert.is(t.cwnd, 20_000);
  reno.onAck(t, 19_999, 0, -1);
  assert.is(t.cwnd, 20_000);
  reno.onAck(t, 1, 0, -1);
  assert.is(t.cwnd, 21_000);
  assert.is(reno.ssthresh(t, 20_000, false), 10_000);
  assert.is(reno.ssthresh(t, 1000, false), 2000, 'two segments at least');
});

test.run();
