/** TIME_WAIT, and what may open a connection in it: RFC 9293 §3.6.1, RFC 6191, RFC 1337, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_OLD_DUPLICATE } from '../../stack/drop.ts';
import { connection } from '../lib/tcp-connection.ts';
import type { Conversation, Recorder } from '../lib/tcp-peer.ts';
import { HOST, PEER, TcpRig } from '../lib/tcp-peer.ts';

const TS = { mss: 1460, ts: [100_000, 0] as const };

/** A connection that we closed first, now in TIME_WAIT. */
function timeWait(options = {}, syn = {}): [TcpRig, Conversation, Recorder] {
  const [rig, c, owner] = connection(options, syn);
  owner.shutdown();
  c.expect({ flags: 'FA' });
  c.send({ flags: 'FA' });
  c.expect({ flags: 'A', ack: 2 });
  assert.is(rig.host.tcp.timeWait.size, 1);
  return [rig, c, owner];
}

test('TIME_WAIT: ends after 60 s', () => {
  const [rig] = timeWait();
  rig.advance(59_999);
  assert.is(rig.host.tcp.timeWait.size, 1);
  rig.advance(1);
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: a retransmitted FIN is acknowledged and restarts the wait', () => {
  const [rig, c] = timeWait();
  rig.advance(30_000);
  c.send({ flags: 'FA', seq: 1 });
  c.expect({ flags: 'A', seq: 2, ack: 2 });
  assert.is(rig.dropped(TCP_OLD_DUPLICATE), 1);
  rig.advance(59_999);
  assert.is(rig.host.tcp.timeWait.size, 1);
  rig.advance(1);
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: a wait restarted does not hold back those behind it', () => {
  const [rig, c] = timeWait();
  rig.advance(1000);
  const [d, other] = rig.accept({ mss: 1460 }, 81, 40001);
  other.shutdown();
  d.expect({ flags: 'FA' });
  d.send({ flags: 'FA' });
  rig.advance(50_000);
  c.send({ flags: 'FA', seq: 1 });
  rig.advance(10_000);
  assert.is(rig.host.tcp.timeWait.size, 1, 'the second has left in time');
  c.take();
  c.send({ flags: 'FA', seq: 1 });
  c.expect({ flags: 'A', ack: 2 });
  rig.advance(120_000);
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: resets are ignored (RFC 1337)', () => {
  const [rig, c] = timeWait();
  c.send({ flags: 'R', seq: 2 });
  c.send({ flags: 'RA', seq: 2 });
  c.expectNone();
  assert.is(rig.host.tcp.timeWait.size, 1);
});

test('TIME_WAIT: data and numbers out of place are acknowledged, ACKs in place are not', () => {
  const [rig, c] = timeWait({}, TS);
  c.send({ flags: 'A', seq: 2 });
  c.expectNone();
  c.send({ flags: 'A', seq: 1, data: 'x' });
  c.expect({ flags: 'A', seq: 2, ack: 2, ts: true });
  // Once in half a second: two ends that disagree would otherwise never stop (RFC 5961 §7).
  c.send({ flags: 'A', seq: 500 });
  c.expectNone();
  rig.advance(500);
  c.send({ flags: 'A', seq: 500 });
  c.expect({ flags: 'A', seq: 2, ack: 2 });
});

test('TIME_WAIT: only the FIN of the old connection restarts it', () => {
  const [rig, c] = timeWait();
  for (let t = 0; t < 5; t++) {
    rig.advance(11_000);
    c.send({ flags: 'FA', seq: 7000 + t });
    c.take();
  }
  assert.is(rig.host.tcp.timeWait.size, 1);
  rig.advance(6_000);
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: a SYN with FIN opens nothing and leaves no mark on the next connection', () => {
  const [rig, c] = timeWait({}, TS);
  c.send({ flags: 'SF', seq: 5_000_000 });
  c.take();
  assert.is(rig.host.tcp.timeWait.size, 1);
  const other = rig.talk(80, 41000);
  const before = rig.host.tcp.secrets.isn(rig.ctx.now, HOST, 80, PEER, 41000);
  other.send({ flags: 'S', mss: 1460 });
  const tcb = rig.host.tcp.blocks.find((b) => b !== null && b.rport === 41000)!;
  assert.ok(Math.abs((tcb.iss - before) | 0) < 1000, 'its number is the clock’s and the secret’s, not the old row’s');
});

test('TIME_WAIT: a SYN with a higher number opens a new connection, beyond the old numbers', () => {
  const [rig, c, owner] = timeWait({ iss: 5 });
  c.send({ flags: 'S', seq: 100, mss: 1460 });
  const sa = c.expect({ flags: 'SA', ack: 101 });
  assert.is(c.hostIss, 5 + 2 + 65536, 'the clock had not moved: the floor counts');
  assert.is(rig.host.tcp.timeWait.size, 0);
  c.ack = 1;
  c.send({ flags: 'A', seq: 101, ack: 1 });
  assert.is(owner.state, 'ESTABLISHED');
  assert.ok(sa);
});

test('TIME_WAIT: a SYN with an old number is acknowledged as any old segment', () => {
  const [rig, c] = timeWait();
  c.send({ flags: 'S', seq: 0 });
  c.expect({ flags: 'A', seq: 2, ack: 2 });
  assert.is(rig.host.tcp.timeWait.size, 1);
});

test('TIME_WAIT: with timestamps a newer one opens, whatever the number; an older one does not', () => {
  const [rig, c] = timeWait({}, TS);
  c.send({ flags: 'S', seq: -5000, ts: [99_000, 0] });
  c.expect({ flags: 'A', ack: 2 });
  c.send({ flags: 'S', seq: -5000, ts: [100_001, 0] });
  c.expect({ flags: 'SA', ack: -4999 });
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: with equal timestamps the number decides', () => {
  const [, c] = timeWait({}, TS);
  c.send({ flags: 'S', seq: 1, ts: [100_000, 0] });
  c.expect({ flags: 'A', ack: 2 });
  c.send({ flags: 'S', seq: 3, ts: [100_000, 0] });
  c.expect({ flags: 'SA', ack: 4 });
});

test('TIME_WAIT: a full table gives up its oldest row', () => {
  const rig = new TcpRig({ tcp: { maxTimeWait: 3 } });
  const owner = rig.listen(80);
  const talks = [0, 1, 2, 3, 4].map((i) => rig.talk(80, 40000 + i));
  for (const c of talks) {
    rig.advance(10);
    c.open({ mss: 1460 });
    owner.shutdown();
    c.expect({ flags: 'FA' });
    c.send({ flags: 'FA' });
    c.expect({ flags: 'A' });
  }
  assert.is(rig.host.tcp.timeWait.size, 3);
  assert.is(rig.host.tcp.timeWait.recycled, 2);
  // The first is forgotten, the last is not.
  talks[0]!.send({ flags: 'FA', seq: 1 });
  talks[0]!.expect({ flags: 'R' });
  talks[4]!.send({ flags: 'FA', seq: 1 });
  talks[4]!.expect({ flags: 'A' });
  rig.advance(130_000);
  assert.is(rig.host.tcp.timeWait.size, 0);
});

test('TIME_WAIT: our own connect takes a row over after a second, with timestamps, and not otherwise', () => {
  for (const ts of [false, true]) {
    const rig = new TcpRig({ iss: 7 });
    const [c, owner] = rig.connect(1000, 5555);
    c.expect({ flags: 'S' });
    c.send({ flags: 'SA', ...(ts && { ts: [100_000, 0] as const }) });
    c.expect({ flags: 'A' });
    c.ts = ts;
    owner.shutdown();
    c.expect({ flags: 'FA' });
    c.send({ flags: 'FA' });
    c.expect({ flags: 'A' });
    assert.is(rig.host.tcp.timeWait.size, 1);
    rig.advance(1000);
    assert.is(rig.host.tcp.connect(HOST, 5555, PEER, 80, owner, 0), null, 'too early');
    rig.advance(1);
    const again = rig.host.tcp.connect(HOST, 5555, PEER, 80, owner, 0);
    assert.is(again !== null, ts);
    if (again === null) continue;
    assert.is(rig.host.tcp.timeWait.size, 0);
    assert.ok(((again.iss - (7 + 2)) | 0) > 0, 'its numbers lie beyond the old ones');
  }
});

test('the ISN floor is for the connection that replaces a row, not for the next stranger', () => {
  const [rig, c] = timeWait({ iss: 5 });
  c.send({ flags: 'R', seq: 2 });
  c.send({ flags: 'S', seq: 0 });
  c.take();
  const d = rig.talk(80, 40009);
  d.send({ flags: 'S' });
  d.expect({ flags: 'SA' });
  assert.is(d.hostIss, 5);
});

test.run();
