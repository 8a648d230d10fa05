/** Closing, from either side or both: RFC 9293 §3.6, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_AFTER_CLOSE } from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { CLOSED } from '../../stack/tcp/state.ts';
import { connection } from '../lib/tcp-connection.ts';
import type { Recorder } from '../lib/tcp-peer.ts';
import { pattern, TcpRig } from '../lib/tcp-peer.ts';

test('ESTABLISHED -> FIN_WAIT_1 -> FIN_WAIT_2 -> TIME_WAIT when we close first', () => {
  const [rig, c, owner] = connection();
  owner.shutdown();
  c.expect({ flags: 'FA', seq: 1, ack: 1 });
  assert.is(owner.state, 'FIN-WAIT-1');
  c.send({ flags: 'A' });
  assert.is(owner.state, 'FIN-WAIT-2');
  c.send({ flags: 'A', data: 'still talking' });
  assert.is(owner.text, 'still talking');
  rig.advance(4); // the first acknowledgments of a connection are delayed by little
  c.expect({ flags: 'A', ack: 14 });
  c.send({ flags: 'FA' });
  c.expect({ flags: 'A', seq: 2, ack: 15 });
  assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
  assert.is(rig.host.tcp.timeWait.size, 1);
  rig.assertEmpty();
});

test('ESTABLISHED -> CLOSE_WAIT -> LAST_ACK -> CLOSED when the peer closes first', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'FA' });
  c.expect({ flags: 'A', ack: 2 });
  assert.is(owner.state, 'CLOSE-WAIT');
  assert.equal(owner.log, ['established', 'fin']);
  owner.write('bye');
  c.expect({ flags: 'A', data: 'bye', seq: 1 });
  owner.shutdown();
  c.expect({ flags: 'FA', seq: 4 });
  assert.is(owner.state, 'LAST-ACK');
  c.send({ flags: 'A' });
  assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
  assert.is(rig.host.tcp.timeWait.size, 0);
  rig.assertEmpty();
});

test('FIN_WAIT_1 -> CLOSING -> TIME_WAIT when both close at once', () => {
  const [rig, c, owner] = connection();
  owner.shutdown();
  c.expect({ flags: 'FA', seq: 1 });
  c.send({ flags: 'FA', ack: 1 });
  c.expect({ flags: 'A', seq: 2, ack: 2 });
  assert.is(owner.state, 'CLOSING');
  c.send({ flags: 'A', ack: 2 });
  assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
  assert.is(rig.host.tcp.timeWait.size, 1);
  // Two ends in TIME_WAIT do not answer each other's acknowledgments.
  c.send({ flags: 'A', ack: 2 });
  c.expectNone();
});

test('FIN_WAIT_1 -> TIME_WAIT when the FIN acknowledges ours', () => {
  const [rig, c, owner] = connection();
  owner.shutdown();
  c.expect({ flags: 'FA' });
  c.send({ flags: 'FA' });
  c.expect({ flags: 'A', seq: 2, ack: 2 });
  assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
  assert.is(rig.host.tcp.timeWait.size, 1);
});

test('the FIN rides on the last data, and is acknowledged apart from it', () => {
  const [rig, c, owner] = connection();
  sock.write(rig.host.tcp, owner.tcb!, pattern(10), 0, 10);
  owner.shutdown();
  c.expect({ flags: 'FPA', seq: 1, len: 10 });
  c.send({ flags: 'A', ack: 11 });
  assert.is(owner.state, 'FIN-WAIT-1');
  rig.advance(300);
  c.expect({ flags: 'FA', seq: 11, len: 0 });
  c.send({ flags: 'A' });
  assert.is(owner.state, 'FIN-WAIT-2');
});

test('a lost FIN is sent again after the time-out', () => {
  const [rig, c, owner] = connection();
  owner.shutdown();
  c.expect({ flags: 'FA', seq: 1, at: 0 });
  rig.advance(200);
  c.expect({ flags: 'FA', seq: 1, at: 200 });
  rig.advance(400);
  c.expect({ flags: 'FA', seq: 1, at: 600 });
  rig.advance(800);
  c.expect({ flags: 'FA', seq: 1, at: 1400 });
  c.expectNone();
  c.send({ flags: 'A' });
  assert.is(owner.state, 'FIN-WAIT-2');
  rig.advance(10_000);
  c.expectNone();
});

test('a FIN waits until the window has room for its number', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 10 });
  sock.write(rig.host.tcp, owner.tcb!, pattern(10), 0, 10);
  owner.shutdown();
  c.expect({ flags: 'A', len: 10 });
  c.expectNone();
  c.send({ flags: 'A', win: 100 });
  c.expect({ flags: 'FA', seq: 11, len: 0 });
});

test('FIN with data: data first, then the FIN', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'FPA', data: 'the end' });
  c.expect({ flags: 'A', ack: 9 });
  assert.is(owner.text, 'the end');
  assert.is(owner.state, 'CLOSE-WAIT');
});

test('a FIN out of order counts once the hole is filled', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'FA', seq: 6, data: 'world' });
  c.expect({ flags: 'A', ack: 1 });
  assert.is(owner.state, 'ESTABLISHED');
  c.send({ flags: 'A', seq: 1, data: 'hello' });
  c.expect({ flags: 'A', ack: 12 });
  assert.is(owner.text, 'helloworld');
  assert.is(owner.state, 'CLOSE-WAIT');
});

test('a lone FIN beyond a hole counts once the hole is filled', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'FA', seq: 6 });
  c.expect({ flags: 'A', ack: 1 });
  c.send({ flags: 'A', seq: 1, data: 'hello' });
  c.expect({ flags: 'A', ack: 7 });
  assert.is(owner.text, 'hello');
  assert.is(owner.state, 'CLOSE-WAIT');
});

test('data beyond the peer’s own FIN is not delivered', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', seq: 20, data: 'beyond' });
  c.send({ flags: 'FA', seq: 6 });
  c.send({ flags: 'A', seq: 1, data: 'hello, and more' });
  assert.is(owner.text, 'hello');
  assert.is(owner.state, 'CLOSE-WAIT');
  c.take();
  c.send({ flags: 'A', seq: 7, data: 'x' });
  assert.is(rig.dropped(TCP_AFTER_CLOSE), 1);
  assert.is(rig.ctx.pool.inUse, 0);
});

test('a retransmitted FIN in CLOSE_WAIT is acknowledged again', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'FA' });
  c.expect({ flags: 'A', ack: 2 });
  c.send({ flags: 'FA', seq: 1 });
  c.expect({ flags: 'A', ack: 2 });
  assert.is(owner.state, 'CLOSE-WAIT');
});

test('data after close is answered with a reset, and the owner hears of it', () => {
  const [rig, c, owner] = connection();
  owner.close();
  c.expect({ flags: 'FA', seq: 1 });
  c.send({ flags: 'A' });
  assert.is(owner.state, 'FIN-WAIT-2');
  c.send({ flags: 'A', data: 'anyone?' });
  c.expect({ flags: 'RA', seq: 2, ack: 1 });
  assert.equal(owner.log, ['established', 'closed:aborted']);
  rig.assertEmpty();
});

test('old data after close is acknowledged, not reset', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', data: 'hello' });
  rig.advance(4);
  c.expect({ flags: 'A', ack: 6 });
  owner.close();
  c.expect({ flags: 'FA' });
  c.send({ flags: 'A', seq: 1, data: 'hello' });
  c.expect({ flags: 'A', ack: 6 });
  assert.is(owner.state, 'FIN-WAIT-1');
});

test('close with unread data resets', () => {
  const [rig, c, owner] = connection();
  owner.autoRead = false;
  c.send({ flags: 'A', data: 'unread' });
  c.take();
  owner.close();
  c.expect({ flags: 'RA', seq: 1, ack: 7 });
  assert.equal(owner.log, ['established', 'closed:aborted']);
  rig.assertEmpty();
});

test('abort resets and drops what was queued', () => {
  const [rig, c, owner] = connection();
  owner.write(pattern(100_000));
  const sent = c.take().length;
  assert.ok(sent > 0);
  owner.abort();
  c.expect({ flags: 'RA', ack: 1 });
  assert.equal(owner.log, ['established', 'closed:aborted']);
  rig.assertEmpty();
});

test('the reset of an abort lies in the peer’s window even with a probe under way', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', win: 0 });
  owner.write(pattern(100));
  rig.advance(200);
  c.expect({ seq: 1, len: 1 });
  owner.abort();
  c.expect({ flags: 'RA', seq: 1 });
});

test('late reading: the end is told when what was received has been read', () => {
  const [rig, c, owner] = connection();
  owner.autoRead = false;
  owner.shutdown();
  c.expect({ flags: 'FA' });
  c.send({ flags: 'FA', data: pattern(100) });
  c.expect({ flags: 'A', ack: 102 });
  assert.equal(owner.log, ['established', 'fin']);
  assert.is(owner.tcb!.state, CLOSED);
  assert.is(sock.readable(owner.tcb!), 100);
  owner.read(40);
  rig.pump();
  assert.equal(owner.log, ['established', 'fin']);
  owner.read(60);
  rig.pump();
  assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
  rig.assertEmpty();
});

test('late reading: close and abort discard what is left, once', () => {
  for (const how of ['close', 'abort'] as const) {
    const [rig, c, owner] = connection();
    owner.autoRead = false;
    owner.shutdown();
    c.expect({ flags: 'FA' });
    c.send({ flags: 'FA', data: pattern(100) });
    c.take();
    const tcb = owner.tcb!;
    owner[how]();
    assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
    // The owner's last words come too late to do harm.
    if (how === 'close') sock.close(rig.host.tcp, tcb);
    else sock.abort(rig.host.tcp, tcb);
    rig.pump();
    assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
    c.expectNone();
    rig.assertEmpty();
  }
});

test('FIN_WAIT_2 of a closed socket ends after a minute; of a half-closed one never', () => {
  const [rig, c, owner] = connection();
  owner.close();
  c.expect({ flags: 'FA' });
  c.send({ flags: 'A' });
  rig.advance(59_999);
  assert.is(owner.state, 'FIN-WAIT-2');
  rig.advance(1);
  assert.equal(owner.log, ['established', 'closed:timeout']);
  rig.assertEmpty();
  const [rig2, c2, owner2] = connection();
  owner2.shutdown();
  c2.expect({ flags: 'FA' });
  c2.send({ flags: 'A' });
  rig2.advance(3_600_000);
  assert.is(owner2.state, 'FIN-WAIT-2');
  owner2.close();
  rig2.advance(60_000);
  assert.equal(owner2.log, ['established', 'closed:timeout']);
});

for (const [how, act] of Object.entries<(rig: TcpRig, owner: Recorder) => void>({
  'given up': (rig, owner) => sock.abort(rig.host.tcp, owner.tcb!),
  read: (_rig, owner) => owner.read(),
})) {
  for (const order of ['before', 'after']) {
    test(`what is unread is ${how} in the burst of both FINs, ${order} the owner's own turn: the end is told`, () => {
      const rig = new TcpRig();
      const [c, owner] = rig.accept();
      owner.autoRead = false;
      c.send({ flags: 'PA', data: 'unread' });
      owner.shutdown();
      rig.advance(100);
      c.take();
      // What another connection says makes the owner of both act on the one above.
      const [other, first] = rig.accept({ mss: 1460 }, 81, 40001);
      first.onFin = () => act(rig, owner);
      if (order === 'before') other.put({ flags: 'FA' });
      c.put({ flags: 'FA', ack: 2 });
      if (order === 'after') other.put({ flags: 'FA' });
      rig.pump();
      assert.equal(owner.log, ['established', 'fin', 'closed:normal']);
      assert.is(rig.host.tcp.heldUnread(), 0);
      first.abort();
      rig.assertEmpty();
    });
  }
}

test.run();
