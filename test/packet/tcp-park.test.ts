/** Parking: a quiet connection lives on without a control block, and nobody outside can tell. */
import { isDeepStrictEqual } from 'node:util';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { CongestionControl } from '../../stack/tcp/congestion/index.ts';
import { reno } from '../../stack/tcp/congestion/reno.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import { seeded } from '../lib/random.ts';
import { type Conversation, pattern, type Recorder, type RigOptions, type Sent, TcpRig } from '../lib/tcp-peer.ts';

const QUIET_MS = 1500;
const ALL_OPTIONS: Partial<Sent> = { mss: 1400, wscale: 7, sackOk: true, ts: [77, 0] };

/** An open connection whose owner allows parking, with its id. */
function parkable(
  syn: Partial<Sent> = ALL_OPTIONS,
  options: RigOptions = {},
): [TcpRig, Conversation, Recorder, number] {
  const rig = new TcpRig(options);
  const [c, owner] = rig.accept(syn);
  const { id } = owner.tcb!;
  sock.allowParking(rig.host.tcp, owner.tcb!);
  return [rig, c, owner, id];
}

test('a connection is parked when it has been quiet for a quarter to half a second, and counts as open', () => {
  const [rig, , , id] = parkable();
  const { tcp } = rig.host;
  rig.advance(249);
  assert.is(tcp.parking.parked, 0);
  rig.advance(300);
  assert.is(tcp.parking.parked, 1);
  assert.is(tcp.open, 1);
  assert.is(tcp.blocks[id], null);
});

test('without the leave of its owner a connection keeps its block', () => {
  const rig = new TcpRig();
  const [, owner] = rig.accept();
  rig.advance(60_000);
  assert.is(rig.host.tcp.parking.parked, 0);
  assert.is(rig.host.tcp.blocks[owner.tcb!.id], owner.tcb);
});

test('what the block says is the same before and after, but for what idling makes void', () => {
  const [rig, c, owner, id] = parkable();
  c.send({ flags: 'PA', data: pattern(1300) });
  owner.write(pattern(5000));
  rig.advance(50);
  c.take();
  c.send({ flags: 'A', ack: 5001 });
  rig.advance(100);
  c.take();
  Object.assign(owner.tcb!, { reoSeen: 1, reoMult: 5, reoPersist: 16 });
  const before: Record<string, unknown> = { ...owner.tcb! };
  rig.advance(QUIET_MS);
  assert.is(rig.host.tcp.parking.parked, 1);
  const after: Record<string, unknown> = { ...rig.host.tcp.block(id)! };
  // Where in a round, a curve or a recovery the sender was, and what is written anew whenever something is sent.
  const free =
    /^(rack(Xmit|End|Fack)|tlpEnd|hy|cubic(K|Epoch|Reno|Ack|Undo)|undo|prior|prr|reo(Round|InRound)|rto?Due|rexmit|cwndAcked|cwndLimited|ackRtt|stuck|synRetries|end$|dsack[LR]|ofoRecent|finSeq|recover|ecnEnd|listener|sndUna|reducedAt|rcvHead)/;
  for (const key of Object.keys(before)) if (!free.test(key)) assert.is(after[key], before[key], key);
  assert.is(after['sndUna'], before['sndNxt']);
});

test('data, and only what is under way, keeps it from being parked', () => {
  for (const [name, act] of Object.entries<(c: Conversation, owner: Recorder) => void>({
    'unread data': (c, owner) => {
      owner.autoRead = false;
      c.send({ flags: 'PA', data: 'x' });
    },
    'a hole': (c) => c.send({ flags: 'PA', seq: c.seq + 10, data: 'x' }),
    'the peer has closed': (c) => c.send({ flags: 'FA' }),
    'the owner has closed': (c, owner) => {
      owner.shutdown();
      c.take();
      c.send({ flags: 'A', ack: 2 });
    },
    'unacknowledged data': (_c, owner) => owner.write('x'),
  })) {
    const [rig, c, owner] = parkable();
    act(c, owner);
    rig.advance(5000);
    assert.is(rig.host.tcp.parking.parked, 0, name);
  }
});

/** What the host says in a random conversation with pauses, with time and numbers. */
function conversation(seed: number, park: boolean): { said: unknown[]; heard: string; parkings: number } {
  const random = seeded(seed);
  const upTo = (n: number): number => (random.next() >>> 0) % n;
  const syn = [ALL_OPTIONS, { mss: 536 }, { mss: 1460, sackOk: true }, { mss: 9000, wscale: 14 }][upTo(4)]!;
  const rig = new TcpRig({ iss: upTo(2) === 0 ? -2000 : 5000 });
  const [c, owner] = rig.accept(syn);
  const { id } = owner.tcb!;
  const { tcp } = rig.host;
  if (park) sock.allowParking(tcp, owner.tcb!);
  if (upTo(2) === 0) sock.keepAlive(tcp, owner.tcb!, { idleMs: 3000, intervalMs: 15_000, count: 4 });
  let written = 0;
  let parkings = 0;
  for (let step = 0; step < 30; step++) {
    const before = tcp.parking.parked;
    rig.advance([1, 30, 700, 2500, 9000][upTo(5)]!);
    if (tcp.parking.parked > before) parkings++;
    c.take();
    switch (upTo(5)) {
      case 0:
        c.send({ flags: 'PA', data: pattern(1 + upTo(1400)) });
        break;
      case 1: {
        owner.tcb = tcp.block(id);
        written += owner.write(pattern(1 + upTo(20_000)));
        break;
      }
      case 2:
        c.win = 1000 + upTo(60_000);
        c.send({ flags: 'A' });
        break;
      case 3:
        c.send({ flags: 'A', seq: c.seq - 1 }); // a keepalive of the peer's
        break;
      default:
    }
    for (let round = 0; round < 40; round++) {
      rig.advance(20);
      c.take();
      const { sndNxt, sndUna, iss } = tcp.block(id)!;
      if (sndNxt === sndUna) break;
      c.send({ flags: 'A', ack: (sndNxt - iss) | 0 });
    }
  }
  c.send({ flags: 'R' });
  assert.is(owner.log.at(-1), 'closed:reset');
  assert.ok(written >= 0);
  return { said: rig.sent.map(({ at, segment }) => ({ at, ...segment })), heard: owner.text, parkings };
}

test('a peer cannot tell: with and without parking every segment is the same, to the millisecond', () => {
  let parkings = 0;
  for (let seed = 1; seed <= 40; seed++) {
    const plain = conversation(seed, false);
    const parked = conversation(seed, true);
    assert.equal(parked.said, plain.said, `seed ${seed}`);
    assert.is(parked.heard, plain.heard, `seed ${seed}`);
    assert.is(plain.parkings, 0);
    parkings += parked.parkings;
  }
  assert.ok(parkings > 100, `${parkings} parkings in 40 conversations`);
});

/** Reno that stands still above ssthresh: where it was in avoidance is what parking may forget. */
const still: CongestionControl = {
  ...reno,
  onAck(tcb, acked, nowMs, rttUs) {
    if (tcb.cwnd < tcb.ssthresh) reno.onAck(tcb, acked, nowMs, rttUs);
  },
};

/** What the host says to a peer that forges, loses, reorders and marks, and falls silent now and then. */
function quarrel(seed: number, park: boolean): { said: unknown[]; heard: string; log: string; parkings: number } {
  const random = seeded(seed);
  const upTo = (n: number): number => (random.next() >>> 0) % n;
  const pick = <T>(values: readonly T[]): T => values[upTo(values.length)]!;
  const syn = pick<Partial<Sent>>([ALL_OPTIONS, { mss: 536 }, { mss: 1460, sackOk: true }, { mss: 1000, wscale: 14 }]);
  const userTimeoutMs = pick([0, 5000, 20_000]);
  const rig = new TcpRig({ iss: pick([-2000, 5000]), tcp: { userTimeoutMs, congestion: still } });
  const owner = rig.listen(80);
  const c = rig.talk(80);
  const ecn = upTo(2) === 0;
  c.send({ ...syn, flags: ecn ? 'SEC' : 'S' });
  c.ts = c.expect({ flags: ecn ? 'SAE' : 'SA', ack: 1 }).ts !== undefined;
  c.send({ flags: 'A' });
  const { tcp } = rig.host;
  const { id } = owner.tcb!;
  if (park) sock.allowParking(tcp, owner.tcb!);
  if (upTo(2) === 0) sock.keepAlive(tcp, owner.tcb!, { idleMs: 3000, intervalMs: 15_000, count: 4 });
  let parkings = 0;
  const acts: (() => void)[] = [
    () => c.send({ flags: pick(['PA', 'PA', 'PAC']), data: pattern(1 + upTo(1400)) }),
    () => {
      owner.tcb = tcp.block(id)!;
      owner.write(pattern(1 + upTo(20_000)));
    },
    () => {
      c.win = pick([0, 1000, 20_000, 60_000]);
      c.send({ flags: 'A' });
    },
    () => c.send({ flags: 'A', seq: c.seq - 1 }),
    () => {
      const flags = pick(['A', 'R', 'S', 'FA', 'PA', 'RA', 'SA', 'AE', '']);
      const seq = (c.seq + pick([1, 2, 100, 70_000, -1, -500, 30_000, 1 << 30])) | 0;
      const ack = (c.ack + pick([0, 0, 1, -1, 5000, -70_000])) | 0;
      const ts = pick<Partial<Sent>>([{}, { ts: null }, { ts: [upTo(1000), 5] }]);
      const sack = pick<Partial<Sent>>([{}, { sack: [[c.ack - upTo(300), c.ack + upTo(300)]] }]);
      c.send({ flags, seq, ack, ...ts, ...sack, data: pattern(upTo(2) * upTo(50)) });
    },
    () => {
      const { seq } = c;
      c.send({ flags: 'PA', seq: seq + 100, data: pattern(50) });
      rig.advance(upTo(600));
      c.send({ flags: 'PA', seq, data: pattern(150) });
      c.seq = seq + 150;
    },
    () => {},
  ];
  /** Acknowledges all, part, out of order, twice, or not at all. */
  const respond = (una: number, next: number, honest: boolean): void => {
    const half = una + ((next - una) >> 1);
    const all: Partial<Sent> = { ack: next };
    const rest: (Partial<Sent> | null)[] = [
      { ack: una, sack: [[una + 1000, next]] },
      { ack: next, sack: [[next - 500, next]] },
      { ack: half },
      null,
    ];
    const answer = pick<Partial<Sent> | null>(honest ? [all] : [all, all, ...rest]);
    if (answer !== null) c.send({ flags: pick(['A', 'A', 'A', 'AE']), ...answer });
  };
  for (let step = 0; step < 40; step++) {
    const before = tcp.parking.parked;
    rig.advance(pick([1, 30, 400, 700, 2500, 9000, 30_000]));
    if (tcp.parking.parked > before) parkings++;
    c.take();
    if (tcp.open === 0) break;
    pick(acts)();
    const honest = upTo(3) !== 0;
    for (let round = 0; round < 60; round++) {
      rig.advance(pick([1, 20, 20, 300, 1000]));
      c.take();
      const tcb = tcp.block(id);
      if (tcb === null || tcb.sndNxt === tcb.sndUna) break;
      respond((tcb.sndUna - tcb.iss) | 0, (tcb.sndNxt - tcb.iss) | 0, honest);
    }
  }
  const said = rig.sent.map(({ at, segment }) => ({ at, ...segment }));
  return { said, heard: owner.text, log: owner.log.join(), parkings };
}

test('nor can one who forges, loses, reorders and marks', () => {
  // In none of these does a D-SACK from before a pause undo a reduction, which parking forgets.
  let parkings = 0;
  for (let seed = 1; seed <= 80; seed++) {
    const { parkings: none, ...plain } = quarrel(seed, false);
    const { parkings: some, ...parked } = quarrel(seed, true);
    // The first segment that differs: to compare all of them takes minutes once one does.
    const different = parked.said.findIndex((segment, i) => !isDeepStrictEqual(segment, plain.said[i]));
    if (different >= 0) assert.equal(parked.said[different], plain.said[different], `seed ${seed}`);
    const rest = ({ said, heard, log }: typeof plain): unknown[] => [said.length, heard, log];
    assert.equal(rest(parked), rest(plain), `seed ${seed}`);
    assert.is(none, 0);
    parkings += some;
  }
  assert.ok(parkings > 200, `${parkings} parkings in 80 quarrels`);
});

test('keepalive asks a peer that is parked, and gives it up when it is gone', () => {
  const [rig, c, owner] = parkable();
  sock.keepAlive(rig.host.tcp, owner.tcb!, { idleMs: 10_000, intervalMs: 15_000, count: 4 });
  rig.advance(9000);
  assert.is(rig.host.tcp.parking.parked, 1);
  c.take();
  rig.advance(1000);
  assert.is(c.take().length, 1, 'a probe');
  rig.advance(100_000);
  assert.is(owner.log.at(-1), 'closed:timeout');
  rig.assertEmpty();
  assert.is(rig.host.tcp.parking.parked, 0);
});

test('a reset, a FIN and the end of the host reach a connection that is parked', () => {
  for (const [flags, said] of [
    ['R', 'closed:reset'],
    ['FA', 'fin'],
  ] as const) {
    const [rig, c, owner] = parkable();
    rig.advance(QUIET_MS);
    assert.is(rig.host.tcp.parking.parked, 1);
    c.send({ flags });
    assert.is(owner.log.at(-1), said);
    assert.is(rig.host.tcp.parking.parked, 0);
  }
  const [rig, c, owner] = parkable();
  rig.advance(QUIET_MS);
  c.take();
  rig.host.tcp.abortAll();
  rig.pump();
  c.expect({ flags: 'RA' });
  assert.is(owner.log.at(-1), 'closed:aborted');
  rig.assertEmpty();
});

test('the address is known of a connection that is parked, and asking wakes nobody', () => {
  const [rig, , owner, id] = parkable();
  const { laddr } = owner.tcb!;
  rig.advance(QUIET_MS);
  assert.is(rig.host.tcp.localAddress(id), laddr);
  assert.is(rig.host.tcp.parking.parked, 1);
  assert.is(rig.host.tcp.localAddress(id + 1), 0);
});

test('ids and blocks go their own ways: many connections parked and woken in turn stay themselves', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const talks = Array.from({ length: 20 }, (_, i) => rig.talk(80, 41_000 + i, 1000 * i));
  const ids: number[] = [];
  for (const c of talks) {
    c.open(ALL_OPTIONS);
    ids.push(owner.tcb!.id);
    sock.allowParking(rig.host.tcp, owner.tcb!);
  }
  rig.advance(QUIET_MS);
  assert.is(rig.host.tcp.parking.parked, 20);
  // In another order, so that each gets a block that was another's.
  for (const i of [7, 3, 19, 0, 11, 5]) {
    talks[i]!.send({ flags: 'PA', data: `${i};` });
    const tcb = rig.host.tcp.blocks[ids[i]!] as Tcb;
    assert.is(tcb.rport, 41_000 + i);
    assert.is(tcb.id, ids[i]);
  }
  assert.is(owner.text, '7;3;19;0;11;5;');
  for (const c of talks) c.send({ flags: 'R' });
  rig.assertEmpty();
});

test.run();
