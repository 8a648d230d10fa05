/** Resets and blind attacks: RFC 9293 §3.5.3, RFC 5961, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_NO_ACK, TCP_OUT_OF_WINDOW, TCP_RESET_BLIND, TCP_SYN_BLIND } from '../../stack/drop.ts';
import { connection } from '../lib/tcp-connection.ts';
import type { Conversation, Recorder } from '../lib/tcp-peer.ts';
import { pattern } from '../lib/tcp-peer.ts';

const TS = { mss: 1460, ts: [100_000, 0] as const };

/** Brings a connection into each synchronised state. */
const STATES: Record<string, (c: Conversation, owner: Recorder) => void> = {
  ESTABLISHED: () => {},
  'FIN-WAIT-1': (_, o) => o.shutdown(),
  'FIN-WAIT-2': (c, o) => {
    o.shutdown();
    c.take();
    c.send({ flags: 'A' });
  },
  'CLOSE-WAIT': (c) => c.send({ flags: 'FA' }),
  CLOSING: (c, o) => {
    o.shutdown();
    c.send({ flags: 'FA', ack: 1 });
  },
  'LAST-ACK': (c, o) => {
    c.send({ flags: 'FA' });
    c.take();
    o.shutdown();
  },
};

for (const [state, enter] of Object.entries(STATES)) {
  test(`${state}: RST with exactly the next number ends the connection`, () => {
    const [rig, c, owner] = connection();
    enter(c, owner);
    c.take();
    assert.is(owner.state, state);
    c.send({ flags: 'R' });
    assert.is(owner.log.at(-1), 'closed:reset');
    c.expectNone();
    rig.assertEmpty();
    assert.is(rig.host.tcp.timeWait.size, 0);
  });

  test(`${state}: blind RST, SYN and ACK change nothing (RFC 5961)`, () => {
    const [rig, c, owner] = connection();
    enter(c, owner);
    c.take();
    rig.advance(1);
    const next = c.ack;
    c.send({ flags: 'R', seq: c.seq + 1 });
    c.expect({ flags: 'A', seq: next, ack: c.seq });
    assert.is(rig.dropped(TCP_RESET_BLIND), 1);
    rig.advance(100);
    c.send({ flags: 'R', seq: c.seq + 100 });
    c.send({ flags: 'S', seq: c.seq + 100 });
    c.send({ flags: 'A', seq: c.seq, ack: next + 100_000 });
    for (const s of c.take()) assert.is(s.flags, 'FA', 'challenges are rate limited; only a FIN may be repeated');
    assert.is(rig.dropped(TCP_SYN_BLIND), 1);
    c.send({ flags: 'R', seq: c.seq - 1 });
    c.send({ flags: 'R', seq: c.seq + 1_000_000 });
    assert.is(rig.dropped(TCP_OUT_OF_WINDOW), 2);
    assert.is(owner.state, state);
  });
}

test('a reset outside the window is dropped without a word', () => {
  const [rig, c, owner] = connection();
  for (const offset of [-1, -100_000, 1_000_000]) {
    rig.advance(1000);
    c.send({ flags: 'R', seq: c.seq + offset });
    c.send({ flags: 'RA', seq: c.seq + offset });
    c.expectNone();
  }
  assert.is(rig.dropped(TCP_OUT_OF_WINDOW), 6);
  assert.is(owner.state, 'ESTABLISHED');
});

test('a blind SYN, in or out of the window, is challenged', () => {
  for (const offset of [-500, 0, 500, 1_000_000]) {
    const [, c, owner] = connection();
    c.send({ flags: 'S', seq: 1 + offset });
    c.expect({ flags: 'A', seq: 1, ack: 1 });
    c.expectNone();
    assert.is(owner.state, 'ESTABLISHED');
  }
});

test('challenge ACKs: at most one in 500 ms', () => {
  const [rig, c] = connection();
  for (let t = 0; t < 2000; t += 100) {
    c.send({ flags: 'R', seq: 2 });
    rig.advance(100);
  }
  assert.equal(
    c.queue.map((q) => q.at),
    [0, 500, 1000, 1500],
  );
  assert.is(rig.host.tcp.stats.challengeAcks, 4);
});

test('ACK of data never sent, and of the distant past, is challenged and its text not taken', () => {
  for (const ack of [2, 100_000, -70_000]) {
    const [, c, owner] = connection();
    c.send({ flags: 'A', seq: 1, ack, data: 'forged' });
    c.expect({ flags: 'A', seq: 1, ack: 1 });
    assert.is(owner.text, '');
  }
});

test('a segment without ACK, SYN or RST is dropped', () => {
  const [rig, c] = connection();
  c.send({ flags: 'F' });
  c.send({ flags: '', data: 'x', seq: 1 });
  c.expectNone();
  assert.is(rig.dropped(TCP_NO_ACK), 2);
});

test('an RST with data or other flags set counts by its number alone', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'RFPA', data: 'why', seq: 1 });
  assert.is(owner.log.at(-1), 'closed:reset');
});

test('an RST ends a connection whose window is shut', () => {
  const [rig, c, owner] = connection({ tcp: { rcvBuf: 1000 } });
  owner.autoRead = false;
  c.send({ flags: 'A', data: pattern(1000) });
  rig.advance(50);
  c.take();
  assert.is(owner.tcb!.rcvAdv, owner.tcb!.rcvNxt);
  c.send({ flags: 'R' });
  assert.is(owner.log.at(-1), 'closed:reset');
  rig.assertEmpty();
});

test('unread data is dropped by a reset', () => {
  const [rig, c, owner] = connection();
  owner.autoRead = false;
  c.send({ flags: 'A', data: pattern(1000) });
  c.send({ flags: 'R' });
  assert.equal(owner.log, ['established', 'closed:reset']);
  rig.assertEmpty();
});

test('the reset of an abort carries the timestamp where both sides have it (RFC 7323 §3.2)', () => {
  for (const [syn, ts, tsEcr] of [
    [TS, true, 100_000],
    [{ mss: 1460 }, false, -1],
  ] as const) {
    const [rig, c, owner] = connection({}, syn);
    owner.abort();
    c.expect({ flags: 'RA', seq: 1, ack: 1, ts, tsEcr });
    rig.assertEmpty();
  }
});

test.run();
