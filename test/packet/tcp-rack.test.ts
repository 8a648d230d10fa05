/**
 * Recovery that does not wait for time-outs, to the millisecond: RACK-TLP (RFC 8985), PRR (RFC 6937), D-SACK (RFC 2883),
 * undo (RFC 3522, RFC 4015). The path takes 20 ms there and back; times count from the flight in question.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cubic } from '../../stack/tcp/congestion/cubic.ts';
import { reno } from '../../stack/tcp/congestion/reno.ts';
import { CA_LOSS, CA_OPEN, CA_RECOVERY } from '../../stack/tcp/tcb.ts';
import { type Conversation, pattern, type Recorder, type RigOptions, TcpRig } from '../lib/tcp-peer.ts';

const MSS = 1000;
const RTT = 20;
/** When the first flight leaves: a handshake and one segment have told how long the path takes. */
const T0 = 2 * RTT;
/** PTO = 2 SRTT, rounded up by a tick. */
const PTO = 2 * RTT + 1;

const at = (segment: number): number => 1 + segment * MSS;
const sacks = (...blocks: [number, number][]) => blocks.map(([l, r]) => [at(l), at(r)] as const);

/** Segment 0 of those counted by `at` is the next to be sent. */
function connection(options: RigOptions & { ts?: boolean } = {}): [TcpRig, Conversation, Recorder] {
  const rig = new TcpRig({ ...options, iss: (options.iss ?? 7000) - MSS, tcp: { congestion: reno, ...options.tcp } });
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.win = 60_000;
  c.send({ flags: 'S', mss: options.ts ? MSS + 12 : MSS, wscale: 4, sackOk: true, ...(options.ts && { ts: [1, 0] }) });
  c.expect({ flags: 'SA' });
  c.ts = options.ts === true;
  rig.advance(RTT);
  c.send({ flags: 'A' });
  owner.write(pattern(MSS));
  c.expect({ seq: 1, len: MSS });
  rig.advance(RTT);
  c.send({ flags: 'A' });
  // From here on numbers are relative to the end of that segment.
  c.hostIss = (c.hostIss + MSS) | 0;
  c.ack = 1;
  assert.is(owner.tcb!.srtt, RTT * 1000);
  assert.is(owner.tcb!.minRtt, RTT * 1000);
  return [rig, c, owner];
}

/** Sends `n` segments, unseen; returns the timestamp of the first. */
function flight(c: Conversation, owner: Recorder, n: number): number {
  owner.write(pattern(n * MSS));
  const sent = c.take();
  assert.is(sent.length, n);
  return sent[0]!.ts?.[0] ?? 0;
}

// Tail loss probes

test('a lost tail is repaired two round trips later, without a time-out', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 6);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(3) });
  rig.advance(PTO - 1);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(5), len: MSS, at: T0 + RTT + PTO });
  c.expectNone();
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(3), sack: sacks([5, 6]) });
  c.expect({ seq: at(3), len: MSS, at: T0 + RTT + PTO + RTT });
  c.expect({ seq: at(4), len: MSS });
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(6) });
  assert.is(owner.tcb!.caState, CA_OPEN);
  assert.is(rig.host.tcp.stats.timeouts, 0);
  assert.is(rig.host.tcp.stats.lossProbes, 1);
  rig.advance(100_000);
  c.expectNone();
});

test('the probe is new data where there is some, one segment beyond cwnd', () => {
  const [rig, c, owner] = connection();
  const { cwnd } = owner.tcb!;
  owner.write(pattern(20 * MSS));
  const n = c.take().length;
  assert.is(n * MSS, cwnd - (cwnd % MSS));
  rig.advance(PTO);
  c.expect({ seq: at(n), len: MSS, at: T0 + PTO });
  c.expectNone();
  assert.is(rig.host.tcp.stats.retransSegs, 0);
});

test('the probe of a closed window is none: the last segment goes again', () => {
  const [rig, c, owner] = connection();
  c.win = (5 * MSS) >> 4;
  c.send({ flags: 'A' });
  owner.write(pattern(8 * MSS));
  const sent = c.take();
  assert.is(sent.length, 4, 'what fits in 4992 bytes');
  rig.advance(PTO);
  c.expect({ seq: at(3), len: MSS, at: T0 + PTO });
});

test('a probe nobody answers is followed by the time-out, with the oldest segment; there is one probe per RTT sample', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 4);
  rig.advance(PTO);
  c.expect({ seq: at(3), at: T0 + PTO });
  rig.advance(199);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(0), len: MSS, at: T0 + PTO + 200 });
  c.expectNone();
  rig.advance(399);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(0), len: MSS, at: T0 + PTO + 600 });
  assert.is(rig.host.tcp.stats.lossProbes, 1);
  assert.is(rig.host.tcp.stats.timeouts, 2);
});

test('a segment alone may wait for a delayed acknowledgment: it is probed for when the time-out is due', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 1);
  const { cwnd } = owner.tcb!;
  rig.advance(199);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(0), len: MSS, at: T0 + 200 });
  assert.is(rig.host.tcp.stats.timeouts, 0);
  assert.is(owner.tcb!.cwnd, cwnd, 'not collapsed');
});

test('data that goes on being sent puts the probe off, but not the time-out', () => {
  const [rig, c, owner] = connection();
  for (let i = 0; i < 6; i++) {
    flight(c, owner, 1);
    rig.advance(30);
  }
  c.expectNone();
  rig.advance(11);
  c.expect({ seq: at(5), at: T0 + 5 * 30 + PTO });
  rig.advance(200);
  c.expect({ seq: at(0), at: T0 + 5 * 30 + PTO + 200 });
});

test('a loss that the probe repaired alone costs a reduction, once the peer is known to have had one copy only', () => {
  for (const dsack of [false, true]) {
    const [rig, c, owner] = connection();
    flight(c, owner, 2);
    rig.advance(RTT);
    c.send({ flags: 'A', ack: at(1) });
    rig.advance(200);
    c.expect({ seq: at(1), at: T0 + RTT + 200 });
    rig.advance(RTT);
    c.send({ flags: 'A', ack: at(2) });
    if (dsack) c.send({ flags: 'A', ack: at(2), sack: sacks([1, 2]) });
    assert.is(owner.tcb!.ssthresh, 0x7fffffff);
    owner.write(pattern(8 * MSS));
    c.take();
    rig.advance(RTT);
    c.send({ flags: 'A', ack: at(10) });
    assert.is(owner.tcb!.ssthresh, dsack ? 0x7fffffff : 4000);
  }
});

test('the tail of a GSO-sized descriptor is its last segment', () => {
  const [rig, c, owner] = connection({ wire: { txChecksum: true, rxChecksum: true, tso: true, scatter: true } });
  owner.write(pattern(4 * MSS + 300));
  c.take();
  rig.advance(PTO);
  c.expect({ seq: at(4), data: pattern(300, 4 * MSS), at: T0 + PTO });
});

test('a lost FIN is probed for', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 3);
  owner.shutdown();
  c.expect({ flags: 'FA', seq: at(3) });
  rig.advance(PTO);
  c.expect({ flags: 'FA', seq: at(3), len: 0, at: T0 + PTO });
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(3) + 1 });
  assert.is(owner.state, 'FIN-WAIT-2');
});

// RACK

test('a lost retransmission is sent again as soon as something sent after it arrives', () => {
  const [rig, c, owner] = connection();
  owner.write(pattern(10 * MSS));
  const n = c.take().length;
  owner.write(pattern(20 * MSS));
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([1, n]) });
  c.expect({ seq: at(0), len: MSS, at: T0 + RTT });
  assert.ok(c.take().length > 0, 'new data goes with it');
  rig.advance(RTT);
  const { ssthresh } = owner.tcb!;
  c.send({ flags: 'A', ack: at(0), sack: sacks([1, n + 1]) });
  c.expect({ seq: at(0), len: MSS, at: T0 + 2 * RTT });
  assert.ok(owner.tcb!.ssthresh < ssthresh, 'a second sign of congestion (RFC 5681 §4.3)');
  assert.is(rig.host.tcp.stats.timeouts, 0);
  assert.is(rig.host.tcp.stats.fastRecoveries, 1);
});

test('one segment overtaken: RACK waits a quarter of the RTT; when it comes nothing was sent again', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 8);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([1, 3]) });
  rig.advance(4);
  c.send({ flags: 'A', ack: at(3) });
  rig.advance(1);
  c.send({ flags: 'A', ack: at(8) });
  rig.advance(100_000);
  c.expectNone();
  assert.is(rig.host.tcp.stats.retransSegs, 0);
  assert.is(rig.host.tcp.stats.fastRecoveries, 0);
  assert.is(owner.tcb!.reoSeen, 1);
});

test('two SACKed segments suffice when the reordering window has passed', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 3);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([1, 3]) });
  rig.advance(5);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(0), len: MSS, at: T0 + RTT + 6 });
  assert.is(rig.host.tcp.stats.timeouts, 0);
  assert.is(owner.tcb!.caState, CA_RECOVERY);
});

test('on a path that reorders, three and more SACKed segments no longer mean loss; the window grows with D-SACKs', () => {
  const [rig, c, owner] = connection();
  owner.tcb!.reoSeen = 1;
  flight(c, owner, 8);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([1, 7]) });
  rig.advance(5);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(0), at: T0 + RTT + 6 });
  c.send({ flags: 'A', ack: at(7) });
  c.send({ flags: 'A', ack: at(8), sack: sacks([0, 1]) });
  assert.is(owner.tcb!.reoMult, 2);
  const t = rig.t;
  assert.ok(owner.tcb!.cwnd >= 4 * MSS, 'undone');
  flight(c, owner, 4);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(8), sack: sacks([9, 12]) });
  // Half an RTT now.
  rig.advance(10);
  c.expectNone();
  rig.advance(1);
  c.expect({ seq: at(8), at: t + RTT + 11 });
});

test('what was sent within the last round trip is not lost by a time-out (RFC 8985 §6.3)', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 2);
  rig.advance(PTO);
  c.expect({ seq: at(1) });
  rig.advance(195);
  flight(c, owner, 2);
  rig.advance(5);
  c.expect({ seq: at(0), at: T0 + PTO + 200 });
  assert.is(owner.tcb!.lostOut, 2 * MSS);
  c.expectNone();
});

// PRR

test('PRR: the window halves over the round, a segment for every second that arrives', () => {
  const [rig, c, owner] = connection();
  owner.tcb!.cwnd = 20 * MSS;
  flight(c, owner, 20);
  owner.write(pattern(40 * MSS));
  rig.advance(RTT);
  const sent: number[] = [];
  for (let i = 2; i <= 20; i++) {
    c.send({ flags: 'A', ack: at(0), sack: sacks([1, i]) });
    sent.push(c.take().length);
  }
  // Limited transmit for two; then the loss itself; from there half of what is delivered.
  assert.equal(sent.slice(0, 3), [1, 1, 1]);
  const { ssthresh, prrDelivered, prrOut, prrFlight } = owner.tcb!;
  assert.is(prrFlight, 22 * MSS);
  assert.is(ssthresh, 10 * MSS, 'what limited transmit sent does not count');
  assert.is(prrDelivered, 17 * MSS);
  assert.ok(Math.abs(prrOut - prrDelivered / 2) <= MSS, `${prrOut} sent for ${prrDelivered}`);
  // No silence at first and no burst later; once pipe is down at ssthresh, one for one.
  assert.is(Math.max(...sent), 1);
  assert.not.match(sent.join(''), /0000/);
  assert.match(sent.join(''), /01010/);
});

test('PRR-SSRB: below ssthresh at most one segment more than was delivered', () => {
  const [rig, c, owner] = connection();
  owner.tcb!.cwnd = 20 * MSS;
  flight(c, owner, 20);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([17, 20]) });
  assert.is(owner.tcb!.lostOut, 17 * MSS);
  assert.is(c.take().length, 4, 'three delivered and one');
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(1), sack: sacks([17, 20]) });
  assert.is(c.take().length, 2);
  assert.is(owner.tcb!.caState, CA_RECOVERY);
});

// D-SACK

test('duplicates are reported: old ones below the acknowledgment, out-of-order ones before their block', () => {
  const [, c] = connection();
  c.send({ flags: 'A', data: 'abcdef' });
  c.take();
  c.send({ flags: 'A', seq: 1, data: 'abc' });
  c.expect({ ack: 7, sack: [[1, 4]], len: 0 });
  c.send({ flags: 'A', seq: 4, data: 'defghi' });
  c.expect({ ack: 10, sack: [[4, 7]] });
  c.send({ flags: 'A', seq: 20, data: 'xyz' });
  c.expect({ ack: 10, sack: [[20, 23]] });
  c.send({ flags: 'A', seq: 20, data: 'xyz' });
  c.expect({
    ack: 10,
    sack: [
      [20, 23],
      [20, 23],
    ],
  });
  c.send({ flags: 'A', seq: 10, data: 'j' });
  c.expect({ ack: 11, sack: [[20, 23]] });
});

test('a D-SACK of a window ago, or beyond what was sent, says nothing', () => {
  const [, c, owner] = connection();
  flight(c, owner, 2);
  c.send({ flags: 'A', ack: at(2), sack: [[at(0) - 2_000_000, at(1) - 2_000_000]] });
  c.send({ flags: 'A', ack: at(2), sack: sacks([4, 5]) });
  assert.is(owner.tcb!.reoMult, 1);
  c.send({ flags: 'A', ack: at(2), sack: sacks([1, 2]) });
  assert.is(owner.tcb!.reoMult, 2);
});

// Undo

test('Eifel: a time-out proved spurious by an old echo is undone before anything else is sent again', () => {
  for (const congestion of [reno, cubic]) {
    const [rig, c, owner] = connection({ ts: true, tcp: { congestion } });
    const stamp = flight(c, owner, 8);
    const { cwnd } = owner.tcb!;
    rig.advance(PTO + 200);
    assert.equal(
      c.take().map((s) => s.data.length),
      [MSS, MSS],
      'probe and time-out',
    );
    assert.is(owner.tcb!.caState, CA_LOSS);
    assert.is(owner.tcb!.cwnd, MSS);
    rig.advance(10);
    // The originals arrive, after a pause of the path.
    c.send({ flags: 'A', ack: at(2), ts: [c.tsBase + Math.floor(rig.t), stamp] });
    c.expectNone();
    assert.is(owner.tcb!.caState, CA_OPEN);
    assert.is(owner.tcb!.lostOut, 0);
    assert.ok(owner.tcb!.cwnd >= 8 * MSS && owner.tcb!.cwnd <= cwnd + 2 * MSS, `cwnd ${owner.tcb!.cwnd}, was ${cwnd}`);
    assert.is(owner.tcb!.ssthresh, 0x7fffffff);
    assert.is(rig.host.tcp.stats.undos, 1);
    c.send({ flags: 'A', ack: at(8), ts: [c.tsBase + Math.floor(rig.t), stamp] });
    rig.advance(100_000);
    c.expectNone();
  }
});

test('Eifel: the echo of the retransmission proves nothing', () => {
  const [rig, c, owner] = connection({ ts: true });
  flight(c, owner, 8);
  rig.advance(PTO + 200);
  const again = c.take().at(-1)!;
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(1), ts: [c.tsBase + Math.floor(rig.t), again.ts![0]] });
  assert.is(owner.tcb!.caState, CA_LOSS);
  assert.is(rig.host.tcp.stats.undos, 0);
  assert.ok(c.take().length >= 1);
});

test('D-SACK: a recovery whose every retransmission was a duplicate is undone', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 10);
  const { cwnd } = owner.tcb!;
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(0), sack: sacks([2, 8]) });
  c.expect({ seq: at(0) });
  c.expect({ seq: at(1) });
  rig.advance(3);
  c.send({ flags: 'A', ack: at(10) });
  assert.is(owner.tcb!.caState, CA_OPEN);
  assert.ok(owner.tcb!.cwnd < cwnd);
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(10), sack: sacks([0, 1]) });
  assert.is(rig.host.tcp.stats.undos, 0, 'the other may have been needed');
  c.send({ flags: 'A', ack: at(10), sack: sacks([1, 2]) });
  assert.is(rig.host.tcp.stats.undos, 1);
  assert.is(owner.tcb!.ssthresh, 0x7fffffff);
});

test('D-SACK: a spurious time-out is undone for a peer without timestamps', () => {
  const [rig, c, owner] = connection();
  flight(c, owner, 2);
  rig.advance(PTO + 200);
  c.take();
  c.send({ flags: 'A', ack: at(1) });
  c.expect({ seq: at(1) });
  c.send({ flags: 'A', ack: at(2) });
  rig.advance(RTT);
  c.send({ flags: 'A', ack: at(2), sack: sacks([0, 1]) });
  assert.is(owner.tcb!.ssthresh, 2 * MSS);
  c.send({ flags: 'A', ack: at(2), sack: sacks([1, 2]) });
  assert.is(rig.host.tcp.stats.undos, 1);
  assert.is(owner.tcb!.ssthresh, 0x7fffffff);
});

test('numbers that wrap do not disturb it: probe, RACK and D-SACK across 2^31 and 2^32', () => {
  for (const iss of [0x7fffffff - 2500, -2500]) {
    const [rig, c, owner] = connection({ iss });
    flight(c, owner, 6);
    rig.advance(PTO);
    c.expect({ seq: at(5) });
    rig.advance(RTT);
    c.send({ flags: 'A', ack: at(1), sack: sacks([5, 6]) });
    c.expect({ seq: at(1), at: T0 + PTO + RTT });
    c.expect({ seq: at(2), at: T0 + PTO + RTT });
    c.send({ flags: 'A', ack: at(6), sack: sacks([2, 3]) });
    assert.is(owner.tcb!.reoMult, 2);
    assert.is(rig.host.tcp.stats.timeouts, 0);
  }
});

test.run();
