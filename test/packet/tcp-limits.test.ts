/** How long a connection waits for a peer: the user timeout (RFC 5482), and what ICMP said meanwhile (RFC 5927). */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { keepAlive } from '../../stack/tcp/socket.ts';
import { ascii, pattern, TcpRig } from '../lib/tcp-peer.ts';

const USER_TIMEOUT = { tcp: { userTimeoutMs: 5000 } };

test('user timeout: data unacknowledged for so long ends the connection, to the millisecond', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.accept();
  rig.advance(777);
  owner.write(ascii('x'));
  rig.advance(4999);
  assert.is(owner.state, 'ESTABLISHED');
  rig.advance(1);
  assert.equal(owner.log, ['established', 'closed:timeout']);
  assert.ok(c.take().length >= 4, 'it was sent again until then');
  rig.assertEmpty();
});

test('user timeout: each acknowledgment of something new begins it again; an idle connection has none', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.accept();
  rig.advance(60_000);
  owner.write(pattern(2000));
  rig.advance(4000);
  c.take();
  c.send({ flags: 'A', ack: 1001 });
  rig.advance(4900);
  assert.is(owner.state, 'ESTABLISHED');
  c.take();
  c.send({ flags: 'A', ack: 2001 });
  rig.advance(60_000);
  assert.is(owner.state, 'ESTABLISHED');
});

test('user timeout: a peer that keeps its window shut for so long is given up, too', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.accept();
  c.send({ flags: 'A', win: 0 });
  c.win = 0;
  owner.write(ascii('x'));
  for (let i = 0; i < 100 && owner.tcb !== null; i++) {
    rig.advance(100);
    for (const s of c.take()) if (s.data.length > 0 || s.flags !== 'R') c.send({ flags: 'A', ack: 1 });
  }
  assert.is(owner.log.at(-1), 'closed:timeout');
  assert.ok(rig.t >= 5000 && rig.t < 5200, `${rig.t}`);
});

test('user timeout: holds for opening, both ways', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.connect();
  rig.listen(80);
  const d = rig.talk(80);
  d.send({ flags: 'S' });
  rig.advance(4999);
  assert.is(rig.host.tcp.open, 2);
  rig.advance(1);
  assert.equal(owner.log, ['closed:timeout']);
  assert.is(rig.host.tcp.stats.attemptFails, 2);
  assert.equal(
    c.take().map((s) => s.flags),
    ['S', 'S', 'S'],
  );
  d.take();
  rig.assertEmpty();
});

test('user timeout: one connection may have its own', () => {
  const rig = new TcpRig();
  const [, owner] = rig.accept();
  owner.tcb!.userTimeoutMs = 1000;
  owner.write(ascii('x'));
  rig.advance(1000);
  assert.is(owner.log.at(-1), 'closed:timeout');
});

for (const [type, code, name] of [
  [3, 0, 'net unreachable'],
  [3, 1, 'host unreachable'],
  [3, 3, 'port unreachable'],
  [3, 13, 'administratively prohibited'],
  [11, 0, 'time exceeded'],
  [12, 0, 'parameter problem'],
] as const)
  test(`ICMP ${name}: ends no established connection, but is what a time-out is put down to`, () => {
    const rig = new TcpRig(USER_TIMEOUT);
    const [c, owner] = rig.accept();
    owner.write(ascii('x'));
    rig.icmp(type, code, 0, c.expect({ data: 'x' }).frame);
    assert.is(owner.state, 'ESTABLISHED');
    rig.advance(5000);
    assert.is(owner.log.at(-1), 'closed:unreachable');
  });

test('ICMP: what was heard before there was progress is forgotten; forged numbers are not heard', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.accept();
  owner.write(ascii('x'));
  const s = c.expect({ data: 'x' });
  rig.icmp(3, 1, 0, s.frame);
  c.send({ flags: 'A' });
  owner.write(ascii('y'));
  rig.icmp(3, 1, 0, s.frame);
  rig.advance(5000);
  assert.is(owner.log.at(-1), 'closed:timeout');
});

test('ICMP time exceeded and source quench end no attempt; a silent one is then put down to the former', () => {
  const rig = new TcpRig(USER_TIMEOUT);
  const [c, owner] = rig.connect();
  const syn = c.expect({ flags: 'S' });
  rig.icmp(4, 0, 0, syn.frame);
  rig.icmp(11, 0, 0, syn.frame);
  assert.is(owner.state, 'SYN-SENT');
  rig.advance(5000);
  assert.equal(owner.log, ['closed:unreachable']);
});

test('ICMP about a half-open connection does not end it: the error may be forged, the SYN, too', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  rig.icmp(3, 3, 0, c.expect({ flags: 'SA' }).frame);
  c.send({ flags: 'A' });
  assert.equal(owner.log, ['established']);
});

test('keepalive: off unless asked for', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  rig.advance(24 * 3600 * 1000);
  c.expectNone();
  assert.is(owner.state, 'ESTABLISHED');
});

test('keepalive: a probe without data after the silence asked for; an answer begins it anew, four unanswered end it', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  keepAlive(rig.host.tcp, owner.tcb!, { idleMs: 60_000, intervalMs: 15_000, count: 4 });
  rig.advance(59_999);
  c.expectNone();
  rig.advance(1);
  c.expect({ flags: 'A', seq: 0, ack: 1, len: 0, at: 60_000 });
  c.send({ flags: 'A' });
  rig.advance(40_000);
  c.send({ flags: 'A', data: 'x' });
  rig.advance(59_000);
  c.expect({ flags: 'A', seq: 1, ack: 2 });
  c.expectNone();
  rig.advance(60_000);
  assert.equal(
    c.take().map((s) => (s.seq - c.hostIss) | 0),
    [0, 0, 0, 0],
  );
  assert.is(owner.state, 'ESTABLISHED');
  rig.advance(15_000);
  assert.equal(owner.log, ['established', 'closed:timeout']);
});

test('keepalive: not while anything is unacknowledged; switched off it stays silent', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  keepAlive(rig.host.tcp, owner.tcb!, { idleMs: 1000, intervalMs: 15_000, count: 4 });
  owner.write(pattern(100));
  c.take();
  rig.advance(30_000);
  assert.ok(c.take().every((s) => s.data.length === 100));
  c.send({ flags: 'A' });
  keepAlive(rig.host.tcp, owner.tcb!, null);
  rig.advance(600_000);
  c.expectNone();
  assert.is(owner.state, 'ESTABLISHED');
});

test('keepalive takes no answer that acknowledges what was never sent, such as that of an older connection in TIME-WAIT', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  keepAlive(rig.host.tcp, owner.tcb!, { idleMs: 1000, intervalMs: 1000, count: 4 });
  for (let second = 0; second < 8 && owner.log.at(-1) !== 'closed:timeout'; second++) {
    rig.advance(1000);
    c.take();
    c.send({ flags: 'A', ack: c.ack + 310 });
  }
  assert.is(owner.log.at(-1), 'closed:timeout');
});

test.run();
