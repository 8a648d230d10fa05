/** Closing, resets and TIME_WAIT: RFC 9293 §3.6, RFC 5961, RFC 6191, RFC 1337. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  TCP_AFTER_CLOSE,
  TCP_NO_ACK,
  TCP_OLD_DUPLICATE,
  TCP_OUT_OF_WINDOW,
  TCP_RESET_BLIND,
  TCP_SYN_BLIND,
} from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { CLOSED } from '../../stack/tcp/state.ts';
import type { Conversation, Recorder } from '../lib/tcp-peer.ts';
import { HOST, PEER, pattern, TcpRig } from '../lib/tcp-peer.ts';

const TS = { mss: 1460, ts: [100_000, 0] as const };

/** An established connection: rig, peer, owner. */
function connection(options = {}, syn = {}): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig(options);
  const [c, owner] = rig.accept({ mss: 1460, ...syn });
  return [rig, c, owner];
}

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

// Resets

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

// TIME_WAIT

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
