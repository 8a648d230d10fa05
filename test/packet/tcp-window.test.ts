/** Windows of both sides: shut, probed, shrinking, scaled: RFC 9293 §3.8, RFC 7323 §2, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_WINDOW_FULL } from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { connection, FULL } from '../lib/tcp-connection.ts';
import { pattern, TcpRig } from '../lib/tcp-peer.ts';

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

test.run();
