/** Data, windows and acknowledgments: RFC 9293 §3.7-3.8, RFC 7323, RFC 5681 §4, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  TCP_CHECKSUM,
  TCP_MALFORMED,
  TCP_OFO_FULL,
  TCP_OUT_OF_WINDOW,
  TCP_PAWS,
  TCP_WINDOW_FULL,
} from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { Conversation, Recorder, RigOptions } from '../lib/tcp-peer.ts';
import { ascii, pattern, TcpRig } from '../lib/tcp-peer.ts';

const FULL = { mss: 1460, wscale: 4, sackOk: true, ts: [100_000, 0] as const };

function connection(options: RigOptions = {}, syn: object = {}): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig(options);
  const [c, owner] = rig.accept({ mss: 1460, ...syn });
  return [rig, c, owner];
}

/** Uses up the immediate acknowledgments of a young connection. */
function settle(rig: TcpRig, c: Conversation): void {
  for (let i = 0; i < 8; i++) {
    c.send({ flags: 'A', data: 'x' });
    rig.advance(40);
  }
  c.take();
}

// Sending

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

test('the peer’s window is never exceeded', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'A', win: 4000 });
  owner.write(pattern(10_000));
  c.expect({ seq: 1, len: 1460 });
  c.expect({ seq: 1461, len: 1460 });
  c.expectNone();
  c.send({ flags: 'A', ack: 2921, win: 4000 });
  c.expect({ seq: 2921, len: 1460 });
  c.expect({ seq: 4381, len: 1460 });
  c.expectNone();
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

// The peer's window shut

test('zero window: probes of one byte after 200, 600, 1400 ms ...; reopening resumes at once and unslowed', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.write(pattern(4000));
  c.expectNone();
  for (const at of [200, 600, 1400, 3000]) {
    rig.advance(at - rig.t);
    c.expect({ seq: 1, len: 1, at });
    c.expectNone();
    c.send({ flags: 'A', ack: 1, win: 0 });
    c.expectNone();
  }
  assert.is(rig.host.tcp.stats.zeroWindowProbes, 4);
  const { cwnd, ssthresh } = owner.tcb!;
  c.send({ flags: 'A', ack: 1, win: 65535 });
  assert.is(owner.tcb!.cwnd, cwnd);
  assert.is(owner.tcb!.ssthresh, ssthresh, 'a closed window is no congestion');
  const all = c.take();
  assert.equal(
    all.flatMap((s) => [...s.data]),
    [...pattern(4000)],
  );
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
});

test('zero window: a probe that is taken counts as data', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.write(pattern(100));
  rig.advance(200);
  c.expect({ seq: 1, len: 1 });
  c.send({ flags: 'A', ack: 2, win: 0 });
  rig.advance(200);
  c.expect({ seq: 2, len: 1, at: 400 });
  c.send({ flags: 'A', ack: 3, win: 1000 });
  c.expect({ seq: 3, len: 98 });
});

test('zero window: probing goes on for hours while the peer answers', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.write(pattern(100));
  for (let t = 0; t < 120; t++) {
    rig.advance(60_000);
    if (c.queue.length > 0) {
      c.take();
      c.send({ flags: 'A', ack: 1, win: 0 });
    }
  }
  assert.is(owner.state, 'ESTABLISHED');
  rig.advance(20 * 60_000);
  assert.is(owner.log.at(-1), 'closed:timeout');
  rig.assertEmpty();
});

test('zero window: a FIN is probed with, and a window update that comes unasked lets it out', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.shutdown();
  c.expectNone();
  rig.advance(200);
  c.expect({ flags: 'FA', seq: 1, len: 0, at: 200 });
  c.send({ flags: 'A', ack: 1, win: 100 });
  c.expect({ flags: 'FA', seq: 1 });
  c.send({ flags: 'A', ack: 2 });
  assert.is(owner.state, 'FIN-WAIT-2');
});

test('an ACK sent while a probe is under way lies inside the peer’s window', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.write(pattern(100));
  rig.advance(200);
  c.expect({ seq: 1, len: 1 });
  c.send({ flags: 'A', ack: 1, win: 0, data: 'hello' });
  rig.advance(40);
  c.expect({ flags: 'A', seq: 1, ack: 6, len: 0 });
});

test('the newest segment’s window counts, not an older one’s', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'A', seq: 6, data: 'fghij', win: 5000 });
  c.send({ flags: 'A', seq: 1, data: 'abcde', win: 20 });
  assert.is(owner.tcb!.sndWnd, 5000);
});

// Our own window

test('our window shuts as the buffer fills and opens again when half a buffer or a segment is free', () => {
  const [rig, c, owner] = connection({ tcp: { rcvBuf: 4000 } });
  owner.autoRead = false;
  c.send({ flags: 'A', data: pattern(1000) });
  rig.advance(4);
  c.expect({ ack: 1001, win: 3000 });
  c.send({ flags: 'A', data: pattern(1000) });
  rig.advance(4);
  c.expect({ ack: 2001, win: 2000 });
  c.send({ flags: 'A', data: pattern(2000).subarray(0, 1460) });
  c.send({ flags: 'A', data: pattern(540) });
  rig.advance(50);
  c.take();
  assert.is(owner.tcb!.rcvAdv, owner.tcb!.rcvNxt);
  owner.read(500);
  rig.pump();
  c.expectNone();
  owner.read(959);
  rig.pump();
  c.expectNone();
  owner.read(1);
  rig.pump();
  c.expect({ flags: 'A', ack: 4001, win: 1460 });
});

test('a shut window refuses text, but takes the ACK of a probe', () => {
  const [rig, c, owner] = connection({ tcp: { rcvBuf: 1000 } });
  owner.autoRead = false;
  c.send({ flags: 'A', data: pattern(1000) });
  rig.advance(50);
  c.take();
  owner.write('question');
  c.expect({ data: 'question', win: 0 });
  c.send({ flags: 'A', ack: 9, seq: 1001, data: 'z' });
  c.expect({ flags: 'A', ack: 1001, win: 0 });
  assert.is(owner.tcb!.sndUna, owner.tcb!.sndNxt, 'acknowledged');
  assert.is(rig.dropped(TCP_WINDOW_FULL), 1);
  // The peer has advanced over the probe it sent, and acknowledges from there.
  owner.write('again');
  c.expect({ data: 'again' });
  c.send({ flags: 'A', ack: 14, seq: 1002 });
  assert.is(owner.tcb!.sndUna, owner.tcb!.sndNxt, 'acknowledged from beyond the probe');
});

test('an ACK from the right edge of our window counts', () => {
  const [, c, owner] = connection({ tcp: { rcvBuf: 5000 } });
  owner.write('hello');
  c.expect({ data: 'hello', win: 5000 });
  c.send({ flags: 'A', seq: 1 + 5000, ack: 6 });
  assert.is(owner.tcb!.sndUna, owner.tcb!.sndNxt);
});

test('what exceeds the window is cut off', () => {
  const [rig, c, owner] = connection({ tcp: { rcvBuf: 1000 } });
  owner.autoRead = false;
  c.send({ flags: 'FA', data: pattern(1200) });
  rig.advance(4);
  c.expect({ ack: 1001, win: 0 });
  assert.is(sock.readable(owner.tcb!), 1000);
  assert.is(owner.state, 'ESTABLISHED', 'the FIN lay beyond');
});

test('with window scaling the right edge never moves left, and tiny segments cannot push it on for ever', () => {
  const [rig, c, owner] = connection({ tcp: { rcvBuf: 1 << 17 } }, FULL);
  owner.autoRead = false;
  let edge = -1;
  const look = (): void => {
    for (const { segment } of c.queue.splice(0)) {
      const right = ((segment.ack - c.iss) | 0) + (segment.win << 2);
      assert.ok(right >= edge - 3, `right edge ${right} after ${edge}`);
      edge = Math.max(edge, right);
    }
  };
  for (let i = 0; i < 100; i++) c.send({ flags: 'A', data: pattern(1301) });
  look();
  for (let i = 0; i < 3000; i++) {
    c.send({ flags: 'A', data: 'x' });
    rig.advance(40);
  }
  look();
  const most = (1 << 17) + (1 << 11) + 4;
  assert.ok(sock.readable(owner.tcb!) <= most, `${sock.readable(owner.tcb!)} bytes in a buffer of ${1 << 17}`);
});

// Acknowledging

test('delayed ACK: a lone segment after 40 ms, the second full one at once', () => {
  const [rig, c] = connection();
  settle(rig, c);
  const t0 = rig.t;
  c.send({ flags: 'A', data: pattern(1460) });
  rig.advance(39);
  c.expectNone();
  rig.advance(1);
  c.expect({ flags: 'A', ack: c.seq, at: t0 + 40 });
  c.send({ flags: 'A', data: pattern(1460) });
  c.expectNone();
  c.send({ flags: 'A', data: pattern(1460) });
  c.expect({ flags: 'A', ack: c.seq, at: t0 + 40 });
  rig.advance(1000);
  c.expectNone();
});

test('delayed ACK: every second segment of a peer that sends smaller ones than we do', () => {
  const [rig, c] = connection({}, { mss: 9000 });
  settle(rig, c);
  for (let i = 0; i < 6; i++) c.send({ flags: 'A', data: pattern(536) });
  assert.is(c.take().length, 3);
});

test('delayed ACK: an answer carries it', () => {
  const [rig, c, owner] = connection();
  settle(rig, c);
  c.send({ flags: 'A', data: 'ping' });
  c.expectNone();
  owner.write('pong');
  c.expect({ ack: c.seq, data: 'pong' });
  rig.advance(100);
  c.expectNone();
});

test('a young connection acknowledges its first segments after 4 ms', () => {
  const [rig, c] = connection();
  c.send({ flags: 'A', data: 'x' });
  rig.advance(3);
  c.expectNone();
  rig.advance(1);
  c.expect({ flags: 'A', ack: 2, at: 4 });
});

test('several segments of one burst are acknowledged together', () => {
  const [rig, c] = connection();
  for (let i = 0; i < 10; i++) c.put({ flags: 'A', data: pattern(1460) });
  rig.pump();
  c.expect({ flags: 'A', ack: 14601 });
  c.expectNone();
});

test('old data and data out of order are acknowledged at once', () => {
  const [rig, c] = connection();
  settle(rig, c);
  c.send({ flags: 'A', seq: 1, data: 'xx' });
  c.expect({ flags: 'A', ack: 9 });
  assert.is(rig.dropped(TCP_OUT_OF_WINDOW), 1);
  c.send({ flags: 'A', seq: 20, data: 'later' });
  c.expect({ flags: 'A', ack: 9 });
  c.send({ flags: 'A', seq: 9, data: '01234567890' });
  c.expect({ flags: 'A', ack: 25 });
});

test('duplicate ACKs go out beside data of ours, one per segment to a peer without SACK', () => {
  const [rig, c, owner] = connection();
  sock.write(rig.host.tcp, owner.tcb!, ascii('data'), 0, 4);
  for (const seq of [2001, 3001, 4001]) c.put({ flags: 'A', seq, data: pattern(1000) });
  rig.pump();
  const all = c.take();
  assert.equal(
    all.map((s) => s.data.length),
    [0, 0, 0, 4],
  );
});

// Out of order, SACK

test('SACK: newest block first, then those that were first before; three beside timestamps, four without', () => {
  for (const ts of [true, false]) {
    const [, c] = connection({}, { sackOk: true, ...(ts && { ts: [1, 0] }) });
    const at = [4000, 2000, 8000, 10_000, 6000];
    for (const seq of at) c.send({ flags: 'A', seq, data: pattern(100) });
    const blocks = c.take().map((s) => s.sack!.map(([l]) => (l - c.iss) | 0));
    assert.equal(blocks[0], [4000]);
    assert.equal(blocks[1], [2000, 4000]);
    assert.equal(blocks[2], [8000, 2000, 4000]);
    assert.equal(blocks[3], [10_000, 8000, 2000, ...(ts ? [] : [4000])]);
    assert.equal(blocks[4], [6000, 10_000, 8000, ...(ts ? [] : [2000])]);
    // What joins two blocks is reported as one.
    c.send({ flags: 'A', seq: 2100, data: pattern(1000) });
    c.take();
    c.send({ flags: 'A', seq: 3100, data: pattern(900) });
    c.expect({ sack: [[2000, 4100], [6000, 6100], [10_000, 10_100], ...(ts ? [] : [[8000, 8100] as const])] });
    c.send({ flags: 'A', seq: 1, data: pattern(1000) });
    c.send({ flags: 'A', seq: 1001, data: pattern(999) });
    const last = c.take().at(-1)!;
    assert.is((last.ack - c.iss) | 0, 4100);
    assert.equal(
      last.sack!.map(([l]) => (l - c.iss) | 0),
      [6000, 10_000, 8000],
    );
  }
});

test('SACK: each block is reported three times at least, though there are many and some grow', () => {
  const [, c] = connection({}, { sackOk: true, ts: [1, 0] });
  const told = new Map<number, number>();
  for (let i = 1; i <= 30; i++) {
    // Two of five lie side by side.
    const seq = i % 5 < 2 ? 20_000 + i * 100 : ((i * 7) % 30) * 200 + 2000;
    c.send({ flags: 'A', seq, data: pattern(100) });
    for (const [l] of c.expect({ flags: 'A' }).sack!) told.set((l - c.iss) | 0, (told.get((l - c.iss) | 0) ?? 0) + 1);
  }
  const late = [...told].filter(([, times]) => times < 3);
  assert.ok(late.length <= 2, `only the last two may be told of less: ${JSON.stringify(late)}`);
});

test('without SACK permitted none is sent', () => {
  const [, c] = connection();
  c.send({ flags: 'A', seq: 2000, data: pattern(100) });
  assert.is(c.expect({ flags: 'A', ack: 1 }).sack, undefined);
});

test('the out-of-order queue has a bound, and a tighter one for small pieces', () => {
  for (const [size, most] of [
    [1, 64],
    [255, 64],
    [256, 512],
  ] as const) {
    const [rig, c, owner] = connection({ wire: { ring: 2048 } }, { wscale: 7 });
    for (let i = 0; i < 600; i++) c.put({ flags: 'A', seq: 1000 + i * 2 * size, data: pattern(size) });
    rig.pump();
    assert.is(owner.tcb!.ofoCount, most, `${size} bytes`);
    assert.is(rig.dropped(TCP_OFO_FULL), 600 - most);
  }
});

test('a piece whose neighbours cover it between them holds no slot', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', seq: 11, data: pattern(10) });
  c.send({ flags: 'A', seq: 21, data: pattern(10) });
  const held = rig.ctx.pool.inUse;
  c.send({ flags: 'A', seq: 16, data: pattern(10) });
  assert.is(owner.tcb!.ofoCount, 2);
  assert.is(rig.ctx.pool.inUse, held);
});

test('a FIN below data that came before it ends the connection there', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', seq: 11, data: 'beyond the end' });
  c.send({ flags: 'FA', seq: 1, data: '0123456789' });
  assert.is(owner.text, '0123456789');
  assert.is(owner.state, 'CLOSE-WAIT');
  c.take();
  c.send({ flags: 'A', seq: 12 });
  assert.is(owner.tcb!.rcvNxt, owner.tcb!.irs + 12);
  assert.is(rig.host.tcp.heldUnread(), 0);
});

test('a pool running short refuses what is out of order before what is in order', () => {
  const [rig, c, owner] = connection({ pool: { slots: 64, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 } });
  for (let i = 0; i < 62; i++) c.send({ flags: 'A', seq: 2000 + i * 1000, data: pattern(900) });
  assert.ok(rig.dropped(TCP_OFO_FULL) > 0);
  c.send({ flags: 'A', seq: 1, data: pattern(1999, 0).subarray(0, 1400) });
  c.send({ flags: 'A', seq: 1401, data: pattern(599) });
  assert.is(owner.bytes.length, 1999 + 900);
});

test('small segments share a frame until they are read', () => {
  const [rig, c, owner] = connection();
  owner.autoRead = false;
  for (let i = 0; i < 100; i++) c.put({ flags: 'A', data: pattern(15, i * 15) });
  rig.pump();
  assert.is(rig.host.tcp.heldUnread(), 1);
  assert.equal([...ascii(owner.read())], [...pattern(1500)]);
});

// Timestamps

test('PAWS: an old timestamp is dropped and acknowledged; RST is exempt', () => {
  const [rig, c, owner] = connection({}, FULL);
  c.send({ flags: 'A', data: 'new' });
  rig.advance(4);
  c.expect({ ack: 4 });
  c.send({ flags: 'A', data: 'old', seq: 4, ts: [99_999, 0] });
  c.expect({ flags: 'A', ack: 4 });
  assert.is(rig.dropped(TCP_PAWS), 1);
  assert.is(owner.text, 'new');
  c.send({ flags: 'R', seq: 4, ts: [99_999, 0] });
  assert.is(owner.log.at(-1), 'closed:reset');
});

test('PAWS: after 24 days of silence any timestamp is taken', () => {
  const [rig, c, owner] = connection({}, FULL);
  rig.advance(24 * 24 * 3600 * 1000 + 1);
  c.send({ flags: 'A', data: 'hello', ts: [99_000, 0] });
  assert.is(owner.text, 'hello');
});

test('the echoed timestamp is that of the segment at the left edge (RFC 7323 §4.3)', () => {
  const [rig, c] = connection({}, FULL);
  settle(rig, c);
  c.send({ flags: 'A', data: 'a', ts: [200_001, 0] });
  c.send({ flags: 'A', data: 'b', ts: [200_002, 0] });
  rig.advance(40);
  c.expect({ ack: 11, tsEcr: 200_001 });
  c.send({ flags: 'A', seq: 12, data: 'd', ts: [200_005, 0] });
  c.expect({ ack: 11, tsEcr: 200_001 });
  c.send({ flags: 'A', seq: 11, data: 'c', ts: [200_007, 0] });
  c.expect({ ack: 13, tsEcr: 200_007 });
});

test('our timestamps run in milliseconds, with an offset', () => {
  const [rig, c, owner] = connection({}, FULL);
  owner.write('a');
  const a = c.expect({ data: 'a' }).ts![0];
  rig.advance(100);
  owner.write('b');
  const b = c.expect({ data: 'b' }).ts![0];
  assert.is((b - a) | 0, 100);
});

// Malformed

test('a wrong checksum, a header too long and broken options are dropped', () => {
  const [rig, c, owner] = connection();
  const bad = c.frame({ flags: 'A', seq: 1, data: 'damaged' });
  bad[bad.length - 1]! ^= 1;
  rig.inject(bad);
  rig.pump();
  assert.is(rig.dropped(TCP_CHECKSUM), 1);
  c.sendRaw({ flags: 'A', seq: 1, data: 'x' }, (t) => {
    t[12] = 0xf0;
  });
  c.sendRaw({ flags: 'A', seq: 1, data: 'x' }, (t) => {
    t[12] = 0x40;
  });
  assert.is(rig.dropped(TCP_MALFORMED), 2);
  c.sendRaw({ flags: 'A', seq: 1, ts: [1, 2] }, (t) => {
    t[21] = 60;
  });
  assert.is(rig.dropped(TCP_MALFORMED), 3);
  c.expectNone();
  assert.is(owner.text, '');
});

test('urgent data is data (RFC 6093); unknown options are skipped', () => {
  const [, c, owner] = connection();
  c.sendRaw({ flags: 'UPA', data: 'urgent', ts: [1, 2] }, (t) => {
    t[20] = 0xfd;
    new DataView(t.buffer).setUint16(18, 3);
  });
  assert.is(owner.text, 'urgent');
});

// Numbers that wrap

for (const wrap of [0x7fffffff, -1]) {
  test(`sequence numbers pass ${wrap >>> 0} in both directions`, () => {
    const rig = new TcpRig({ iss: (wrap - 3000) | 0 });
    const recorder = rig.listen(80);
    const c = rig.talk(80, 40000, (wrap - 2500) | 0);
    c.open(FULL);
    recorder.write(pattern(8000));
    assert.equal(
      c.take().flatMap((s) => [...s.data]),
      [...pattern(8000)],
    );
    // The second segment was lost.
    for (let i = 2; i < 6; i++) c.send({ flags: 'A', ack: 1449, sack: [[2897, 1 + 1448 * i]] });
    c.expect({ seq: 1449, len: 1448, data: pattern(1448, 1448) });
    c.send({ flags: 'A', ack: 8001 });
    assert.is(recorder.tcb!.sndUna, recorder.tcb!.sndNxt);
    c.send({ flags: 'A', seq: 3001, data: pattern(1000, 3000) });
    c.send({ flags: 'A', seq: 2001, data: pattern(1000, 2000) });
    c.send({ flags: 'A', seq: 1, data: pattern(1000) });
    c.send({ flags: 'A', seq: 1001, data: pattern(1000, 1000) });
    assert.equal(recorder.bytes, [...pattern(4000)]);
    recorder.shutdown();
    c.take();
    c.send({ flags: 'FA', seq: 4001 });
    assert.is(recorder.log.at(-1), 'closed:normal');
  });
}

test('after the opening no segment carries MSS, window scale or SACK-permitted; each carries the timestamp', () => {
  const [rig, c, owner] = connection({}, FULL);
  const plain = { mss: null, wscale: null, sackOk: false, ts: true };
  owner.write(pattern(100));
  c.expect({ len: 100, ...plain });
  c.send({ flags: 'A', data: 'x', seq: 3, ack: 1 });
  c.expect({ flags: 'A', len: 0, ...plain });
  rig.advance(400);
  c.expect({ seq: 1, len: 100, ...plain });
  c.take();
  c.send({ flags: 'A' });
  owner.shutdown();
  c.expect({ flags: 'FA', ...plain });
});

test('a segment without the timestamp agreed on is taken, not answered with a reset', () => {
  const [, c, owner] = connection({}, FULL);
  c.send({ flags: 'A', data: 'hello', ts: null });
  assert.is(owner.text, 'hello');
  assert.is(owner.state, 'ESTABLISHED');
});

test('a window that shrinks: nothing new is sent, what is out goes again, shut it is probed; nothing is lost', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 4000 });
  owner.write(pattern(6000));
  assert.equal(
    c.take().map((s) => s.data.length),
    [1460, 1460],
  );
  rig.advance(100);
  // The right edge moves left, below SND.NXT: the usable window is negative.
  c.send({ flags: 'A', ack: 1461, win: 1000 });
  c.expectNone();
  rig.advance(300);
  const again = c.take();
  assert.ok(again.length > 0);
  assert.ok(
    again.every((s) => ((s.seq - c.hostIss) | 0) === 1461),
    'old data only',
  );
  for (let minutes = 0; minutes < 20; minutes++) {
    c.send({ flags: 'A', ack: 2461, win: 0 });
    c.expectNone();
    rig.advance(60_000);
    const probes = c.take();
    assert.ok(probes.length > 0 && probes.every((s) => s.data.length === 1));
  }
  for (let i = 0; i < 5; i++) {
    c.send({ flags: 'A' });
    c.take();
  }
  assert.is(owner.state, 'ESTABLISHED');
  assert.is(c.ack, 6001);
});

test('a window scale outside a SYN changes nothing, nor do timestamps nobody agreed on', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'A', data: 'x', wscale: 14, win: 3000, ts: [1, 1] });
  assert.is(owner.tcb!.sndWnd, 3000);
  owner.write(pattern(5000));
  const sent = c.take();
  assert.is(
    sent.reduce((n, s) => n + s.data.length, 0),
    2920,
  );
  assert.ok(sent.every((s) => s.ts === undefined));
  c.send({ flags: 'A', data: 'y', ts: [0, 0] });
  assert.is(owner.text, 'xy', 'an older one does not make it an old duplicate');
});

test('with window scaling the field is shifted both ways, but not in a SYN', () => {
  const [, c, owner] = connection({}, { mss: 1460, wscale: 3, win: 4000 });
  assert.is(owner.tcb!.maxSndWnd, 65535 << 3);
  assert.is(owner.tcb!.sndWnd, 65535 << 3);
  c.send({ flags: 'A', win: 1000 });
  owner.write(pattern(20_000));
  assert.is(
    c.take().reduce((n, s) => n + s.data.length, 0),
    7300,
  );
  const rig = new TcpRig();
  rig.listen(80);
  const d = rig.talk(80);
  d.send({ flags: 'S', mss: 1460, wscale: 3, win: 4000 });
  d.expect({ flags: 'SA', wscale: 4, win: 65535 });
  assert.is(rig.host.tcp.block(1)!.sndWnd, 4000);
  d.send({ flags: 'A', data: pattern(100) });
  rig.advance(10);
  d.expect({ flags: 'A', win: (rig.host.tcp.block(1)!.rcvAdv - rig.host.tcp.block(1)!.rcvNxt) >> 4 });
});

test('the echo of a timestamp counts for nothing in a segment without ACK', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', mss: 1460, ts: [100_000, 77] });
  c.expect({ flags: 'SA', tsEcr: 100_000 });
  c.ts = true;
  rig.advance(50);
  c.send({ flags: 'A' });
  assert.equal(owner.log, ['established']);
  assert.is(rig.host.tcp.block(1)!.srtt, 50_000, 'measured from the SYN-ACK');
});

test.run();
