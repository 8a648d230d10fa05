/**
 * Loss and recovery: RFC 6298, RFC 5681, RFC 6582, RFC 2018, RFC 6675, RFC 1191, segment by segment, with Reno's window.
 * RACK, probes, rate reduction and undo have tcp-rack.test.ts.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { reno } from '../../stack/tcp/congestion/reno.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { CA_LOSS, CA_OPEN, CA_RECOVERY } from '../../stack/tcp/tcb.ts';
import type { Conversation, Recorder, RigOptions } from '../lib/tcp-peer.ts';
import { ascii, pattern, TcpRig } from '../lib/tcp-peer.ts';

const MSS = 1000;

/** An established connection whose segments are 1000 bytes; `sack` = the peer permits it. */
function connection(sack: boolean, options: RigOptions = {}): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig({ ...options, tcp: { congestion: reno, ...options.tcp } });
  const [c, owner] = rig.accept({ mss: MSS, wscale: 4, ...(sack && { sackOk: true }) });
  c.win = 20_000;
  c.send({ flags: 'A' });
  // As a handshake that took any time would have told: no tail loss probe in the first 40 ms.
  owner.tcb!.srtt = 20_000;
  return [rig, c, owner];
}

/** Sends `n` segments, which the peer got unseen. */
function flight(c: Conversation, owner: Recorder, n: number): void {
  owner.write(pattern(n * MSS));
  assert.is(c.take().length, n);
}

const at = (segment: number): number => 1 + segment * MSS;

// Time-outs

test('RTO: doubles from 200 ms, sends the oldest segment alone, gives up in the end', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 3);
  let due = 0;
  for (let i = 0, rto = 200; i < 12; i++, rto = Math.min(rto * 2, 60_000)) {
    due += rto;
    rig.advance(due - rig.t - 1);
    c.expectNone();
    rig.advance(1);
    // In the end it may be the size that is wrong with them (pmtu.ts).
    const size = i < 4 ? MSS : 536;
    c.expect({ seq: 1, len: size, at: due });
    c.expectNone();
    assert.is(owner.tcb!.cwnd, size);
  }
  rig.advance(60_000);
  assert.is(owner.log.at(-1), 'closed:timeout');
  assert.ok(rig.t > 100_000, 'R2 is at least 100 s (RFC 9293 §3.8.3)');
  rig.assertEmpty();
});

test('RTO: after it, slow start sends everything again that was not SACKed', () => {
  for (const sack of [true, false]) {
    const [rig, c, owner] = connection(sack);
    flight(c, owner, 6);
    rig.advance(10);
    // What RACK sends again is lost, too.
    if (sack) c.send({ flags: 'A', ack: at(0), sack: [[at(3), at(4)]] });
    rig.advance(189);
    c.take();
    rig.advance(1);
    c.expect({ seq: at(0), len: MSS });
    c.send({ flags: 'A', ack: at(1) });
    c.expect({ seq: at(1), len: MSS });
    c.expect({ seq: at(2), len: MSS });
    c.expectNone();
    c.send({ flags: 'A', ack: sack ? at(4) : at(3) });
    if (!sack) c.expect({ seq: at(3) });
    c.expect({ seq: at(4) });
    c.expect({ seq: at(5) });
    assert.is(owner.tcb!.caState, CA_LOSS);
    c.send({ flags: 'A', ack: at(6) });
    assert.is(owner.tcb!.caState, CA_OPEN);
    assert.is(rig.ctx.pool.inUse, 0);
  }
});

test('RTO: a second one holds ssthresh (RFC 5681 §3.1)', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 10);
  rig.advance(200);
  assert.is(owner.tcb!.ssthresh, 5000);
  rig.advance(400);
  assert.is(owner.tcb!.ssthresh, 5000);
  assert.is(rig.host.tcp.stats.timeouts, 2);
});

test('RTO: data sent during recovery and lost with it is covered by the next time-out', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 2);
  rig.advance(200);
  c.expect({ seq: at(0) });
  owner.write(pattern(3 * MSS, 2 * MSS));
  c.send({ flags: 'A', ack: at(1) });
  c.take();
  rig.advance(1000);
  c.take();
  c.send({ flags: 'A', ack: at(2) });
  const left = c.take();
  assert.ok(left.length >= 1, 'the third is sent again without another time-out');
  for (let i = 3; i <= 5; i++) c.send({ flags: 'A', ack: at(i) });
  assert.is(owner.tcb!.sndUna, owner.tcb!.sndEnd);
});

test('RTT: with timestamps the echo tells which sending was received', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept({ mss: MSS, ts: [1, 0] });
  owner.write('x');
  c.expect({ data: 'x' });
  rig.advance(200);
  c.expect({ data: 'x' });
  rig.advance(50);
  c.send({ flags: 'A' });
  assert.ok(owner.tcb!.srtt > 6000 && owner.tcb!.srtt < 7000, `an eighth of 50 ms: ${owner.tcb!.srtt}`);
});

test('Karn: a segment sent again gives no sample, the backed-off time-out stays until there is one', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 1);
  const { srtt } = owner.tcb!;
  rig.advance(200);
  c.expect({ seq: 1 });
  rig.advance(350);
  assert.is(owner.tcb!.rtoMs, 400);
  c.send({ flags: 'A', ack: at(1) });
  assert.is(owner.tcb!.srtt, srtt);
  assert.is(owner.tcb!.rtoMs, 400);
  owner.write('next');
  c.take();
  c.send({ flags: 'A' });
  assert.is(owner.tcb!.rtoMs, 200);
});

test('RTT: the time-out follows the path (RFC 6298 §2)', () => {
  const [rig, c, owner] = connection(true);
  for (let i = 0; i < 30; i++) {
    owner.write(pattern(100));
    c.take();
    rig.advance(300);
    // Before the estimate has learned the first may be sent again.
    c.take();
    c.send({ flags: 'A' });
  }
  assert.ok(owner.tcb!.srtt > 250_000 && owner.tcb!.srtt <= 300_000, `srtt ${owner.tcb!.srtt}`);
  assert.ok(owner.tcb!.rtoMs > 300 && owner.tcb!.rtoMs < 700, `rto ${owner.tcb!.rtoMs}`);
});

test('RTT: no sample from what waited behind a retransmission', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 5);
  rig.advance(10);
  for (let i = 0; i < 3; i++) c.send({ flags: 'A', ack: at(0) });
  c.expect({ seq: at(0) });
  const { srtt } = owner.tcb!;
  rig.advance(150);
  c.send({ flags: 'A', ack: at(5) });
  assert.is(owner.tcb!.srtt, srtt);
});

test('the timer restarts with each acknowledgment of new data and stops with the last', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 3);
  rig.advance(150);
  c.send({ flags: 'A', ack: at(1) });
  rig.advance(199);
  c.expectNone();
  rig.advance(1);
  c.take();
  c.send({ flags: 'A', ack: at(3) });
  rig.advance(100_000);
  c.expectNone();
});

// Fast retransmit

test('three duplicates: the first segment goes again at once, even when cwnd is full', () => {
  for (const sack of [true, false]) {
    const [rig, c, owner] = connection(sack);
    flight(c, owner, 10);
    rig.advance(10);
    const dup = (i: number): void => c.send({ flags: 'A', ack: at(0), ...(sack && { sack: [[at(1), at(1 + i)]] }) });
    dup(1);
    dup(2);
    c.expectNone();
    dup(3);
    c.expect({ seq: at(0), len: MSS, at: 10 });
    c.expectNone();
    assert.is(owner.tcb!.caState, CA_RECOVERY);
    assert.is(owner.tcb!.ssthresh, 5000);
    assert.is(rig.host.tcp.stats.fastRecoveries, 1);
    c.send({ flags: 'A', ack: at(10) });
    assert.is(owner.tcb!.caState, CA_OPEN);
    assert.ok(owner.tcb!.cwnd <= 5000);
  }
});

test('limited transmit: the first two duplicates let new data out (RFC 3042)', () => {
  const [rig, c, owner] = connection(true);
  owner.write(pattern(14 * MSS));
  assert.is(c.take().length, 10);
  const { cwnd } = owner.tcb!;
  rig.advance(10);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(2)]] });
  c.expect({ seq: at(10), len: MSS });
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(3)]] });
  c.expect({ seq: at(11), len: MSS });
  c.expectNone();
  assert.is(owner.tcb!.cwnd, cwnd);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(4)]] });
  assert.is(owner.tcb!.caState, CA_RECOVERY);
  assert.is(owner.tcb!.ssthresh, cwnd / 2, 'half of what was in flight before');
});

test('NewReno: a partial acknowledgment sends the next hole at once; duplicates let new data out', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 10);
  for (let i = 0; i < 3; i++) c.send({ flags: 'A', ack: at(0) });
  c.expect({ seq: at(0), len: MSS });
  c.send({ flags: 'A', ack: at(4) });
  c.expect({ seq: at(4), len: MSS, at: 0 });
  c.expectNone();
  assert.is(owner.tcb!.caState, CA_RECOVERY);
  owner.write(pattern(5 * MSS));
  for (let i = 0; i < 4; i++) c.send({ flags: 'A', ack: at(4) });
  assert.ok(c.take().length >= 1, 'new data while duplicates come');
  c.send({ flags: 'A', ack: at(10) });
  assert.is(owner.tcb!.caState, CA_OPEN);
  assert.is(rig.host.tcp.stats.fastRecoveries, 1);
});

test('NewReno: duplicates of what recovery sent in vain do not start another (RFC 6582 §3.2)', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 6);
  rig.advance(200);
  c.take();
  c.send({ flags: 'A', ack: at(1) });
  c.take();
  c.send({ flags: 'A', ack: at(6) });
  owner.write(pattern(4 * MSS));
  c.take();
  for (let i = 0; i < 4; i++) c.send({ flags: 'A', ack: at(6) });
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
  c.send({ flags: 'A', ack: at(7) });
  owner.write(pattern(4 * MSS));
  for (let i = 0; i < 3; i++) c.send({ flags: 'A', ack: at(7) });
  assert.is(rig.host.tcp.stats.fastRecoveries, 1);
});

test('duplicates must be bare, with the same window and data in flight', () => {
  const [rig, c, owner] = connection(false);
  for (let i = 0; i < 4; i++) c.send({ flags: 'A' });
  flight(c, owner, 5);
  c.send({ flags: 'A', ack: at(0), data: 'a' });
  c.send({ flags: 'A', ack: at(0), win: 20_001 });
  c.send({ flags: 'A', ack: at(0), win: 20_002 });
  c.send({ flags: 'A', ack: at(0), data: 'b', win: 20_002 });
  rig.advance(40);
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
  assert.is(owner.tcb!.dupAcks, 0);
});

// SACK

test('SACK: only the holes are sent again, and all of those known lost at once', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 10);
  rig.advance(10);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(2)]] });
  c.send({
    flags: 'A',
    ack: at(0),
    sack: [
      [at(3), at(4)],
      [at(1), at(2)],
    ],
  });
  c.expectNone();
  c.send({
    flags: 'A',
    ack: at(0),
    sack: [
      [at(5), at(9)],
      [at(3), at(4)],
      [at(1), at(2)],
    ],
  });
  c.expect({ seq: at(0), len: MSS });
  c.expect({ seq: at(2), len: MSS });
  c.expect({ seq: at(4), len: MSS });
  c.expectNone();
  c.send({ flags: 'A', ack: at(10) });
  assert.is(owner.tcb!.sndHead, 0);
});

test('SACK: recovery starts on SACKed bytes, without three duplicates', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 10);
  rig.advance(10);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(3)]] });
  c.expectNone();
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(4)]] });
  c.expect({ seq: at(0) });
  assert.is(rig.host.tcp.stats.fastRecoveries, 1);
});

test('SACK: a partial acknowledgment in recovery means the next hole is lost too', () => {
  const [, c, owner] = connection(true);
  flight(c, owner, 8);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(4)]] });
  c.expect({ seq: at(0) });
  // The last hole has too little beyond it to be deemed lost by SACK alone.
  c.send({ flags: 'A', ack: at(4), sack: [[at(5), at(6)]] });
  c.expect({ seq: at(4), len: MSS, at: 0 });
});

test('SACK: what was lost during recovery starts the next one at once', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 10);
  owner.write(pattern(10 * MSS));
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(10)]] });
  c.expect({ seq: at(0) });
  const more = c.take();
  assert.is(more.length, 4, 'half of ten, less the one sent again');
  // Of those the first is lost, too; both are told with the acknowledgment that ends recovery.
  c.send({ flags: 'A', ack: at(10), sack: [[at(11), at(14)]] });
  c.expect({ seq: at(10), len: MSS });
  assert.is(rig.host.tcp.stats.fastRecoveries, 2);
});

test('SACK: a GSO-sized descriptor is cut at the edges of the blocks', () => {
  const [rig, c, owner] = connection(true, { wire: { txChecksum: true, rxChecksum: true, tso: true, scatter: true } });
  owner.write(pattern(10 * MSS));
  c.expect({ seq: 1, len: 10 * MSS });
  c.expectNone();
  rig.advance(10);
  assert.is(owner.tcb!.sndHead, owner.tcb!.sndTail);
  c.send({
    flags: 'A',
    ack: at(0),
    sack: [
      [at(6), at(8)],
      [at(2), at(4)],
    ],
  });
  // Two segments are under way, ssthresh is five: three more, of which the first two lay in one descriptor.
  c.expect({ seq: at(0), data: pattern(2 * MSS) });
  c.expect({ seq: at(4), data: pattern(MSS, 4 * MSS) });
  c.expectNone();
  c.send({ flags: 'A', ack: at(4), sack: [[at(6), at(8)]] });
  c.expect({ seq: at(5), data: pattern(MSS, 5 * MSS) });
  c.expectNone();
  // An odd edge, in the middle of a segment.
  c.send({
    flags: 'A',
    ack: at(4),
    sack: [
      [at(9) + 333, at(10)],
      [at(6), at(8)],
    ],
  });
  c.send({ flags: 'A', ack: at(10) });
  assert.is(owner.tcb!.sndHead, 0);
  assert.is(rig.ctx.pool.inUse, 0);
});

test('SACK: reneging is noticed by the time-out, and everything goes again', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 5);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(5)]] });
  c.expect({ seq: at(0) });
  // The peer takes the first, but has forgotten the others.
  c.send({ flags: 'A', ack: at(1) });
  rig.advance(200);
  c.expect({ seq: at(1), len: MSS });
  assert.is(owner.tcb!.sackedOut, 0);
  c.send({ flags: 'A', ack: at(2) });
  c.expect({ seq: at(2) });
  c.expect({ seq: at(3) });
  c.send({ flags: 'A', ack: at(5) });
});

test('SACK: blocks below SND.UNA (D-SACK), beyond SND.NXT, empty and reversed are ignored', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 4);
  c.send({ flags: 'A', ack: at(2) });
  for (const block of [
    [at(0), at(1)],
    [at(3), at(9)],
    [at(3), at(3)],
    [at(4), at(3)],
    [at(1), at(3)],
    [at(3) + 0x70000000, at(4) + 0x70000000],
  ] as const)
    for (let i = 0; i < 4; i++) c.send({ flags: 'A', ack: at(2), sack: [block] });
  assert.is(owner.tcb!.sackedOut, 0);
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
  c.expectNone();
});

test('SACK: blocks from a peer that did not permit them are ignored', () => {
  const [rig, c, owner] = connection(false);
  flight(c, owner, 6);
  c.send({ flags: 'A', ack: at(0), win: 19_999, sack: [[at(1), at(6)]] });
  assert.is(owner.tcb!.sackedOut, 0);
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
});

test('SACK: a block used again starts from nothing (many connections, one control block)', () => {
  const rig = new TcpRig({ tcp: { maxConnections: 1 } });
  const owner = rig.listen(80);
  for (let i = 0; i < 6; i++) {
    rig.host.tcp.secrets.isn = () => (i * 0x31234567) | 0;
    const c = rig.talk(80, 41000 + i, (i * 0x21111111) | 0);
    c.open({ mss: MSS, sackOk: true });
    c.win = 20_000;
    c.send({ flags: 'A' });
    owner.write(pattern(8 * MSS));
    assert.is(c.take().length, 8);
    c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(4)]] });
    // One hole, one segment: nothing else is deemed lost.
    c.expect({ seq: at(0), len: MSS });
    c.expectNone();
    c.send({ flags: 'R', seq: 1 });
    c.take();
  }
});

test('a lost FIN behind SACKed data is sent again by the time-out', () => {
  const [rig, c, owner] = connection(true);
  flight(c, owner, 4);
  owner.shutdown();
  c.expect({ flags: 'FA', seq: at(4), len: 0 });
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(4)]] });
  c.expect({ seq: at(0) });
  c.send({ flags: 'A', ack: at(4) });
  c.take();
  rig.advance(400);
  const again = c.take();
  assert.ok(again.some((s) => s.flags === 'FA'));
  c.send({ flags: 'A', ack: at(4) + 1 });
  assert.is(owner.state, 'FIN-WAIT-2');
});

test('a SACKed FIN is not sent again', () => {
  const [rig, c, owner] = connection(true);
  sock.write(rig.host.tcp, owner.tcb!, pattern(5 * MSS), 0, 5 * MSS);
  owner.shutdown();
  assert.is(c.take().length, 5);
  c.send({ flags: 'A', ack: at(0), sack: [[at(1), at(5) + 1]] });
  c.expect({ seq: at(0), len: MSS });
  c.expectNone();
  c.send({ flags: 'A', ack: at(5) + 1 });
  assert.is(owner.state, 'FIN-WAIT-2');
});

test('small pieces lost together go again together', () => {
  const [rig, c, owner] = connection(false);
  for (const s of ['a', 'bb', 'ccc', 'dddd']) owner.write(s);
  assert.is(c.take().length, 4);
  rig.advance(200);
  c.expect({ seq: 1, data: 'abbcccdddd' });
  c.expectNone();
});

// Path MTU

test('ICMP fragmentation needed: what is in flight goes again in smaller pieces, and cwnd stays', () => {
  const [rig, c, owner] = connection(true, { wire: { mtu: 1500 } });
  owner.write(pattern(3 * MSS));
  const first = c.expect({ len: MSS });
  c.take();
  const { cwnd, ssthresh } = owner.tcb!;
  rig.icmp(3, 4, 640, first.frame);
  assert.is(owner.tcb!.mss, 600);
  assert.equal(
    c.take().map((s) => s.data.length),
    [600, 600, 600, 600, 600],
  );
  assert.is(owner.tcb!.cwnd, cwnd);
  assert.is(owner.tcb!.ssthresh, ssthresh);
  c.send({ flags: 'A', ack: at(3) });
  owner.write(pattern(1000));
  c.expect({ len: 600 });
});

test('ICMP fragmentation needed: below 576 is not believed, nor is what quotes old or future numbers', () => {
  const [rig, c, owner] = connection(true);
  owner.write(pattern(2 * MSS));
  const first = c.expect({ len: MSS });
  c.take();
  c.send({ flags: 'A', ack: at(1) });
  rig.icmp(3, 4, 640, first.frame);
  assert.is(owner.tcb!.mss, MSS, 'acknowledged long since');
  const forged = first.frame.slice();
  new DataView(forged.buffer).setInt32(38, owner.tcb!.sndNxt);
  rig.icmp(3, 4, 640, forged);
  assert.is(owner.tcb!.mss, MSS);
  new DataView(forged.buffer).setInt32(38, owner.tcb!.sndUna);
  rig.icmp(3, 4, 68, forged);
  assert.is(owner.tcb!.mss, 536);
});

test('ICMP unreachable does not end an established connection (RFC 5927)', () => {
  const [rig, c, owner] = connection(true);
  owner.write(ascii('hello'));
  const s = c.expect({ data: 'hello' });
  for (const code of [0, 1, 2, 3, 9, 13]) rig.icmp(3, code, 0, s.frame);
  rig.icmp(11, 0, 0, s.frame);
  assert.is(owner.state, 'ESTABLISHED');
});

// Frames run out

test('without a free frame nothing is lost: data and ACK leave when there are frames again', () => {
  const [rig, c, owner] = connection(true, {
    pool: { slots: 32, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 },
  });
  c.send({ flags: 'A', data: 'question' });
  sock.write(rig.host.tcp, owner.tcb!, ascii('answer'), 0, 6);
  const taken: number[] = [];
  for (let f = rig.ctx.create(); f !== 0; f = rig.ctx.create()) taken.push(f);
  rig.host.turn(rig.t * 1000 + 5_000_000);
  assert.is(c.queue.length, 0);
  for (const f of taken) rig.ctx.settle(f, 0);
  rig.pump();
  c.expect({ ack: 9, data: 'answer', at: 0 });
});

test.run();
