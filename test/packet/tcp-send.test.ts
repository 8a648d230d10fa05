/** What is sent and in how many segments: MSS, initial window, silly windows, Nagle, relayed data: RFC 9293 §3.7-3.8, RFC 5681, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as sock from '../../stack/tcp/socket.ts';
import { connection } from '../lib/tcp-connection.ts';
import type { RigOptions } from '../lib/tcp-peer.ts';
import { ascii, pattern, TcpRig } from '../lib/tcp-peer.ts';

test('data is cut at the MSS, each segment carries the ACK, the last one PSH', () => {
  const [, c, owner] = connection();
  owner.write(pattern(3000));
  c.expect({ flags: 'A', seq: 1, ack: 1, data: pattern(1460) });
  c.expect({ flags: 'A', seq: 1461, data: pattern(1460, 1460) });
  c.expect({ flags: 'PA', seq: 2921, data: pattern(80, 2920) });
  c.expectNone();
});

test('the initial window is ten segments; each ACK lets out twice what it acknowledges', () => {
  const [, c, owner] = connection();
  owner.write(pattern(60_000));
  assert.is(c.take().length, 10);
  c.send({ flags: 'A', ack: 1 + 2920 });
  assert.is(c.take().length, 4);
});

test('silly window: a sliver of window is left alone, half of the largest window is used', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 1000 });
  c.send({ flags: 'A', win: 100 });
  owner.tcb!.maxSndWnd = 1000;
  owner.write(pattern(5000));
  c.expectNone();
  c.send({ flags: 'A', win: 499 });
  c.expectNone();
  c.send({ flags: 'A', win: 500 });
  c.expect({ seq: 1, len: 500 });
  assert.is(rig.t, 0);
});

test('silly window: after a time-out what fits is sent all the same', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 100 });
  owner.write(pattern(5000));
  c.expectNone();
  rig.advance(200);
  c.expect({ seq: 1, len: 100, at: 200 });
});

test('Nagle: with data in flight a small piece waits; without Nagle it goes', () => {
  for (const noDelay of [0, 1]) {
    const [, c, owner] = connection();
    owner.tcb!.noDelay = noDelay;
    owner.write('a');
    c.expect({ data: 'a' });
    owner.write('b');
    if (noDelay === 1) c.expect({ data: 'b' });
    owner.write('c');
    if (noDelay === 1) c.expect({ data: 'c' });
    c.expectNone();
    c.send({ flags: 'A' });
    if (noDelay === 0) {
      c.send({ flags: 'A', ack: 2 });
      c.expect({ seq: 2, data: 'bc' });
    }
    c.expectNone();
  }
});

test('Nagle: full segments go at once, and so does the rest once a FIN follows', () => {
  const [rig, c, owner] = connection();
  owner.tcb!.noDelay = 0;
  owner.write(pattern(1460 + 5));
  c.expect({ len: 1460 });
  c.expectNone();
  owner.shutdown();
  c.expect({ flags: 'FA', len: 5 });
  assert.is(rig.t, 0);
});

test('small writes of one burst leave as one segment', () => {
  const [rig, c, owner] = connection();
  for (const s of ['one ', 'two ', 'three']) sock.write(rig.host.tcp, owner.tcb!, ascii(s), 0, s.length);
  rig.pump();
  c.expect({ flags: 'PA', data: 'one two three' });
  c.expectNone();
});

test('frames relayed from another connection are sent again as they were', () => {
  const rig = new TcpRig();
  const [a, from] = rig.accept({ mss: 1460 }, 80);
  const [b, to] = rig.accept({ mss: 1460 }, 81, 40001);
  from.autoRead = false;
  for (let i = 0; i < 5; i++) a.put({ flags: 'A', data: pattern(1100, i * 1100) });
  rig.pump();
  assert.is(sock.move(rig.host.tcp, from.tcb!, to.tcb!), 5500);
  rig.pump();
  const sent = b.take().flatMap((s) => [...s.data]);
  assert.equal(sent, [...pattern(5500)]);
  rig.advance(200);
  b.expect({ seq: 1, data: pattern(1460) });
  b.send({ flags: 'A', ack: 5501 });
  assert.is(rig.ctx.pool.inUse, 0);
});

/** Hands `sizes` bytes each from one connection to another in one burst, as a relay does; returns the lengths sent. */
function relayed(
  sizes: readonly number[],
  wire: RigOptions['wire'],
  set: { noDelay?: number; fin?: boolean; mss?: number } = {},
) {
  const rig = new TcpRig({ wire: { txChecksum: true, rxChecksum: true, scatter: true, ...wire } });
  const [a, from] = rig.accept({ mss: 1460 }, 80);
  const [b, to] = rig.accept({ mss: set.mss ?? 1460 }, 81, 40001);
  const total = sizes.reduce((sum, n) => sum + n, 0);
  from.autoRead = false;
  to.tcb!.noDelay = set.noDelay ?? 1;
  let at = 0;
  for (const n of sizes) {
    a.put({ flags: 'A', data: pattern(n, at) });
    at += n;
  }
  rig.pump();
  sock.move(rig.host.tcp, from.tcb!, to.tcb!);
  if (set.fin) sock.shutdown(rig.host.tcp, to.tcb!);
  rig.pump();
  const sent = b.take();
  const lengths = sent.map((s) => s.data.length);
  const bytes = sent.flatMap((s) => [...s.data]);
  assert.equal(bytes, [...pattern(total)].slice(0, bytes.length));
  return { rig, b, total, sent, lengths };
}

test('segments relayed in one burst leave as one frame where the port cuts, and are acknowledged and repaired one by one', () => {
  const { rig, b, lengths } = relayed([1460, 1460, 1460, 1460, 1460], { tso: true });
  assert.equal(lengths, [7300]);
  b.send({ flags: 'A', ack: 1 + 2920 });
  rig.advance(2000);
  const again = b.take();
  assert.ok(
    again.length > 0 && again.every((s) => s.seq >= 2921 && s.data.length <= 1460),
    'only what is missing, by the segment',
  );
  b.send({ flags: 'A', ack: 7301 });
  rig.advance(100);
  assert.is(rig.ctx.pool.inUse, 0);
});

test('pieces longer than a segment: whole segments in the one frame, and what is left over behind them', () => {
  const mss = 1400;
  assert.equal(relayed([1460, 1460, 1460], { tso: true }, { mss }).lengths, [4380]);
  assert.equal(relayed([1460, 1460, 1460], { tso: true }, { mss, noDelay: 0 }).lengths, [4200], 'Nagle keeps the rest');
  const { sent, lengths } = relayed([1460, 1460, 1460], { tso: true }, { mss, noDelay: 0, fin: true });
  assert.equal([lengths.reduce((sum, n) => sum + n, 0), sent.at(-1)!.flags.includes('F')], [4380, true]);
});

test('a piece as long as a frame is not copied for the sake of a short one before it', () => {
  const [rig, c, owner] = connection({ wire: { txChecksum: true, rxChecksum: true, scatter: true, tso: true } });
  const { pool } = rig.ctx;
  c.send({ flags: 'A', win: 0 });
  for (const bytes of [pattern(1500), pattern(20_000, 1500)]) {
    const frame = rig.ctx.createBig();
    pool.buf.set(bytes, pool.off[frame]);
    pool.len[frame] = bytes.length;
    assert.ok(sock.send(rig.host.tcp, owner.tcb!, frame, pool.off[frame]!, bytes.length));
  }
  c.expectNone();
  c.send({ flags: 'A', win: 20_000 });
  const lengths = c.take().map((s) => s.data.length);
  assert.equal(lengths, [1460, 1460, 11_680], 'ten segments, the initial window');
});

test('segments relayed in one burst leave as they came where the port does not cut', () => {
  assert.equal(relayed([1460, 1460, 1460], { tso: false }).lengths, [1460, 1460, 1460]);
});

test('a train of segments keeps within the window of the peer', () => {
  const rig = new TcpRig({ wire: { txChecksum: true, rxChecksum: true, scatter: true, tso: true } });
  const [a, from] = rig.accept({ mss: 1460 }, 80);
  const [b, to] = rig.accept({ mss: 1460 }, 81, 40001);
  b.send({ flags: 'A', win: 4000 });
  from.autoRead = false;
  for (let i = 0; i < 6; i++) a.put({ flags: 'A', data: pattern(1460, i * 1460) });
  rig.pump();
  sock.move(rig.host.tcp, from.tcb!, to.tcb!);
  rig.pump();
  b.expect({ seq: 1, len: 2920 });
  b.expectNone();
});

test('idle: after a pause longer than the time-out at most ten segments go at once (RFC 5681 §4.1)', () => {
  const [rig, c, owner] = connection({}, { wscale: 7 });
  for (let i = 0; i < 5; i++) {
    owner.write(pattern(20_000));
    c.take();
    c.send({ flags: 'A' });
    c.take();
    c.send({ flags: 'A' });
  }
  assert.ok(owner.tcb!.cwnd > 40_000, `grown to ${owner.tcb!.cwnd}`);
  rig.advance(1000);
  owner.write(pattern(60_000));
  assert.is(c.take().length, 10);
});

test('writable: told when a full queue has drained to three quarters', () => {
  const [rig, c, owner] = connection({ tcp: { sndBuf: 10_000 } });
  assert.is(owner.write(pattern(20_000)), 10_000);
  c.take();
  c.send({ flags: 'A', ack: 1461 });
  assert.equal(owner.log, ['established']);
  c.send({ flags: 'A', ack: 2921 });
  assert.equal(owner.log, ['established', 'writable']);
  assert.is(sock.writable(rig.host.tcp, owner.tcb!), 2920);
});

test.run();
