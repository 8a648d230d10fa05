/** ECN (RFC 3168): who asks, what is marked, how marks are echoed and heeded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { type Conversation, pattern, type Recorder, type Sent, TcpRig } from '../lib/tcp-peer.ts';

const ECT0 = 2;
const CE = 3;

/** Like `send`, as a router left it. */
function marked(c: Conversation, s: Sent, tos = CE): void {
  const frame = c.frame(s);
  frame[15] = tos;
  frame[24] = frame[25] = 0;
  new DataView(frame.buffer).setUint16(24, naiveChecksum(frame.subarray(14, 34)));
  c.rig.inject(frame);
  c.rig.pump();
  c.seq += s.data?.length ?? 0;
}

/** A connection a peer with ECN opened. */
function capable(): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'SEC', mss: 1000, sackOk: true });
  assert.is(c.expect({ flags: 'SAE' }).tos, 0);
  c.send({ flags: 'A' });
  return [rig, c, owner];
}

test('who asks for ECN is granted it; a SYN with only one of the flags does not ask', () => {
  const rig = new TcpRig();
  rig.listen(80);
  let port = 40000;
  for (const [flags, answer] of [
    ['S', 'SA'],
    ['SE', 'SA'],
    ['SC', 'SA'],
    ['SEC', 'SAE'],
  ] as const) {
    const c = rig.talk(80, port++);
    c.send({ flags });
    c.expect({ flags: answer });
  }
});

test('a connect asks only where configured, and only with its first SYN', () => {
  const quiet = new TcpRig();
  quiet.connect()[0].expect({ flags: 'S' });
  for (const [answer, agreed] of [
    ['SA', 0],
    ['SAE', 1],
    ['SAEC', 0], // an echo of our flags by a host that knows nothing of them
  ] as const) {
    const rig = new TcpRig({ tcp: { ecn: 'on' } });
    const [c, owner] = rig.connect();
    assert.is(c.expect({ flags: 'SEC' }).tos, 0);
    rig.advance(1000);
    c.expect({ flags: 'S' });
    c.send({ flags: answer, mss: 1000 });
    assert.is(owner.tcb!.ecnOk, agreed);
    assert.is(c.expect({ flags: 'A' }).tos, 0);
    owner.write(pattern(10));
    assert.is(c.expect({ len: 10 }).tos, agreed ? ECT0 : 0);
  }
});

test('new data is capable; acknowledgments, retransmissions and probes are not', () => {
  const [rig, c, owner] = capable();
  owner.write(pattern(1000));
  assert.is(c.expect({ len: 1000 }).tos, ECT0);
  rig.advance(1100);
  assert.is(c.expect({ len: 1000, seq: 1 }).tos, 0);
  c.take();
  c.send({ flags: 'A', ack: 1001, win: 0 });
  owner.write(pattern(10));
  rig.advance(10_000);
  const probe = c.queue[0]!.segment;
  assert.equal([probe.data.length, probe.tos], [1, 0]);
  c.take();
  c.send({ flags: 'A', ack: 1001 });
  c.take();
  c.send({ flags: 'A', data: pattern(1000) });
  rig.advance(100);
  assert.is(c.expect({ len: 0, ack: 1001 }).tos, 0);
});

test('a mark is echoed on everything until the peer has reduced its window', () => {
  const [rig, c, owner] = capable();
  marked(c, { flags: 'A', data: pattern(100) });
  c.expect({ flags: 'AE', ack: 101 });
  c.send({ flags: 'A', data: pattern(100) });
  rig.advance(100);
  c.expect({ flags: 'AE', ack: 201 });
  owner.write(pattern(10));
  c.expect({ flags: 'AE', len: 10 });
  c.send({ flags: 'AC', data: pattern(100) });
  rig.advance(100);
  c.expect({ flags: 'A', ack: 301 });
  marked(c, { flags: 'AC', data: pattern(100) });
  rig.advance(100);
  c.expect({ flags: 'AE', ack: 401 });
});

test('no mark is echoed to a peer that did not ask, nor one on a bare acknowledgment or outside the window', () => {
  const rig = new TcpRig();
  const [c] = rig.accept();
  marked(c, { flags: 'A', data: pattern(100) });
  rig.advance(100);
  c.expect({ flags: 'A', ack: 101 });
  const [, d, owner] = capable();
  marked(d, { flags: 'A' });
  marked(d, { flags: 'A', seq: 1 << 25, data: pattern(10) });
  d.seq = 1;
  d.take();
  owner.write(pattern(10));
  d.expect({ flags: 'A', len: 10 });
});

test('an echo halves the window once per window of data; CWR tells the peer, once', () => {
  const [rig, c, owner] = capable();
  owner.write(pattern(30_000));
  assert.is(c.take().length, 10);
  const { tcb } = owner;
  c.send({ flags: 'AE', ack: 1001 });
  const reduced = tcb!.cwnd;
  assert.ok(reduced >= 4000 && reduced < 8000, `${reduced}`);
  assert.is(tcb!.ssthresh, reduced);
  assert.is(rig.host.tcp.stats.ecnReductions, 1);
  // Its flight is larger than that: nothing leaves yet. Echoes of the same window change nothing.
  for (let ack = 2001; ack <= 9001; ack += 1000) c.send({ flags: 'AE', ack });
  assert.ok(tcb!.cwnd >= reduced);
  assert.is(rig.host.tcp.stats.ecnReductions, 1);
  const after = c.take();
  assert.ok(after.length > 1);
  assert.equal(
    after.map((s) => s.flags.includes('C')),
    after.map((_, i) => i === 0),
  );
  assert.is(rig.host.tcp.stats.retransSegs, 0);
  // The next window is another matter.
  c.send({ flags: 'AE', ack: 11_001 });
  assert.is(rig.host.tcp.stats.ecnReductions, 2);
});

test('a loss is answered with one reduction, whatever is echoed besides; the peer hears of it', () => {
  const [rig, c, owner] = capable();
  owner.write(pattern(30_000));
  c.take();
  for (let i = 1; i <= 4; i++) c.send({ flags: 'AE', ack: 1, sack: [[1001, 1001 + i * 1000]] });
  const { fastRecoveries, ecnReductions } = rig.host.tcp.stats;
  assert.is(fastRecoveries + ecnReductions >= 1, true);
  assert.ok(ecnReductions <= 1);
  c.send({ flags: 'AE', ack: 10_001 });
  assert.ok(rig.host.tcp.stats.ecnReductions <= 1);
  const first = c.take().find((s) => ((s.seq - c.hostIss) | 0) > 10_000);
  assert.ok(first!.flags.includes('C'));
});

test('a SYN cookie remembers ECN where it has timestamps to put it in', () => {
  for (const ts of [true, false]) {
    const rig = new TcpRig();
    const owner = rig.listen(80, 0);
    const c = rig.talk(80);
    c.send({ flags: 'SEC', mss: 1000, ...(ts && { ts: [1, 0] as const }) });
    c.expect({ flags: ts ? 'SAE' : 'SA' });
    c.ts = ts;
    c.send({ flags: 'A' });
    assert.is(owner.tcb!.ecnOk, ts ? 1 : 0);
  }
});

test.run();
