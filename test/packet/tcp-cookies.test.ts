/** SYN cookies (RFC 4987): what they carry, how long they last, what becomes of guesses. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_NO_ROUTE_BACK, TCP_NO_SOCKET, TCP_TABLE_FULL } from '../../stack/drop.ts';
import { ArrivedSegment } from '../../stack/tcp/arrived.ts';
import { makeCookie, markTimestamp, readCookie } from '../../stack/tcp/cookie.ts';
import { Secrets } from '../../stack/tcp/isn.ts';
import { seeded } from '../lib/random.ts';
import { type Conversation, HOST, pattern, type Recorder, type RigOptions, TcpRig } from '../lib/tcp-peer.ts';

/** A rig whose only place in the backlog is taken, and a conversation that is to get a cookie. */
function crowded(options: RigOptions = {}): { rig: TcpRig; owner: Recorder; c: Conversation; first: Conversation } {
  const rig = new TcpRig(options);
  const owner = rig.listen(80, 1);
  const first = rig.talk(80, 39999);
  first.send({ flags: 'S', mss: 1460 });
  first.expect({ flags: 'SA' });
  return { rig, owner, first, c: rig.talk(80, 40000, 0x12345678) };
}

for (const [mss, carried] of [
  [undefined, 536],
  [40, 64],
  [500, 64],
  [536, 536],
  [1000, 536],
  [1360, 1300],
  [1459, 1440],
  [1460, 1460],
  [9000, 8960],
] as const)
  for (const wscale of [undefined, 0, 7, 14])
    for (const sackOk of [false, true])
      test(`a cookie carries MSS ${mss}, wscale ${wscale}, SACK ${sackOk} of a peer with timestamps`, () => {
        const { rig, owner, c } = crowded();
        c.send({
          flags: 'S',
          ts: [5000, 0],
          sackOk,
          ...(mss !== undefined && { mss }),
          ...(wscale !== undefined && { wscale }),
        });
        c.expect({
          flags: 'SA',
          ack: 1,
          mss: 1460,
          ts: true,
          tsEcr: 5000,
          sackOk,
          wscale: wscale === undefined ? null : 4,
          win: 65535,
        });
        assert.is(rig.host.tcp.open, 1, 'nothing is kept');
        rig.advance(300);
        c.ts = true;
        c.send({ flags: 'A', win: 1000 });
        assert.equal(owner.log, ['established']);
        const { tcb } = owner;
        assert.is(tcb!.peerMss, carried);
        assert.is(tcb!.mss, Math.min(carried, 1460) - 12);
        assert.is(tcb!.sndWscale, wscale ?? 0);
        assert.is(tcb!.rcvWscale, wscale === undefined ? 0 : 4);
        assert.is(tcb!.sackOk, sackOk ? 1 : 0);
        assert.is(tcb!.sndWnd, 1000 << (wscale ?? 0));
        assert.is(rig.host.tcp.stats.cookiesSent, 1);
        assert.is(rig.host.tcp.stats.cookiesAccepted, 1);
        const echoed = c.lastHostTs;
        c.send({ flags: 'A', win: 65535, data: 'hello' });
        const segment = Math.min(carried, 1460) - 12;
        owner.write(pattern(segment));
        c.expect({ len: segment, seq: 1, ack: 6, ts: true });
        assert.ok(((c.lastHostTs - echoed) | 0) > 0, 'timestamps rise');
        assert.is(owner.text, 'hello');
      });

test('without timestamps a cookie carries the MSS only: neither scaling nor SACK is offered', () => {
  const { owner, c } = crowded();
  c.send({ flags: 'S', mss: 1300, wscale: 7, sackOk: true });
  c.expect({ flags: 'SA', mss: 1460, wscale: null, sackOk: false, ts: false });
  c.send({ flags: 'A', win: 1000 });
  const { tcb } = owner;
  assert.is(tcb!.sndWnd, 1000);
  assert.equal([tcb!.peerMss, tcb!.sackOk, tcb!.tsOk, tcb!.rcvWscale], [1300, 0, 0, 0]);
});

test('the first data may bring the cookie, when the bare ACK was lost; a FIN, too', () => {
  const { rig, owner, c } = crowded();
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'FA', data: 'hello' });
  assert.equal(owner.log, ['established', 'fin']);
  assert.is(owner.text, 'hello');
  c.expect({ flags: 'A', ack: 7 });
  owner.close();
  c.expect({ flags: 'FA', seq: 1 });
  c.send({ flags: 'A' });
  assert.is(rig.host.tcp.open, 1, 'only the half-open one is left');
});

test('a cookie is good for 64 s and up to 128 s, then answered with a reset', () => {
  for (const [ms, good] of [
    [63_999, true],
    [128_000, false],
  ] as const) {
    const { rig, owner, c } = crowded();
    c.send({ flags: 'S', mss: 1460 });
    c.expect({ flags: 'SA' });
    rig.ignoreStrangers = true;
    rig.advance(ms);
    c.send({ flags: 'A' });
    if (good) assert.equal(owner.log.at(-1), 'established');
    else c.expect({ flags: 'R', seq: 1 });
    assert.is(rig.host.tcp.stats.cookiesAccepted, good ? 1 : 0);
  }
});

test('a wrong cookie is answered with a reset; in quiet times none is looked for', () => {
  const { rig, c, first } = crowded();
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA' });
  // The lowest bits are the index of the MSS: the few values beside it would name another.
  for (const ack of [-20, 20, 1 + (1 << 24), 1 - (1 << 24)]) {
    c.send({ flags: 'A', ack });
    c.expect({ flags: 'R', seq: ack });
  }
  c.send({ flags: 'A', seq: 2 });
  c.expect({ flags: 'R', seq: 1 });
  assert.is(rig.host.tcp.stats.cookiesFailed, 5);
  assert.is(rig.dropped(TCP_NO_SOCKET), 5);
  const other = rig.talk(80, 40001, 0x12345678);
  other.hostIss = c.hostIss;
  other.send({ flags: 'A', seq: 1, ack: 1 });
  other.expect({ flags: 'R' });
  assert.is(rig.host.tcp.stats.cookiesFailed, 6, 'another port of the same peer');
  first.send({ flags: 'R' });
  rig.advance(200_000);
  c.send({ flags: 'A', seq: 1, ack: 1 });
  c.expect({ flags: 'R', seq: 1 });
  assert.is(rig.host.tcp.stats.cookiesFailed, 6);
  assert.is(rig.host.tcp.stats.cookiesAccepted, 0);
  rig.assertEmpty();
});

test('SYN+ACK, RST and FIN without ACK open nothing, cookies about or not', () => {
  const { rig, c } = crowded();
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'SA', seq: 1 });
  c.expect({ flags: 'R' });
  c.send({ flags: 'RA', seq: 1 });
  c.send({ flags: 'F', seq: 1 });
  c.expectNone();
  assert.is(rig.host.tcp.open, 1);
});

test('a cookie that no route leads back from is dropped for that', () => {
  const { rig, c } = crowded();
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA' });
  for (const route of rig.host.routes.list()) rig.host.routes.delete(route);
  c.send({ flags: 'A' });
  assert.is(rig.dropped(TCP_NO_ROUTE_BACK), 1);
  assert.is(rig.host.tcp.open, 1);
});

test('a cookie that finds no control block is dropped without a word; the next segment may have luck', () => {
  const { rig, owner, c, first } = crowded({ tcp: { maxConnections: 1 } });
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'A' });
  c.expectNone();
  assert.is(rig.dropped(TCP_TABLE_FULL), 1);
  first.send({ flags: 'R', seq: 1 });
  c.send({ flags: 'A', data: 'late' });
  assert.is(owner.text, 'late');
});

test('many listeners share one bound on half-open connections', () => {
  const rig = new TcpRig({ tcp: { maxHalfOpen: 3 } });
  for (const port of [80, 81, 82, 83]) rig.listen(port);
  const talks = [80, 81, 82, 83].map((port) => rig.talk(port));
  for (const c of talks) {
    c.send({ flags: 'S', mss: 1460 });
    c.expect({ flags: 'SA' });
  }
  assert.is(rig.host.tcp.open, 3);
  assert.is(rig.host.tcp.stats.cookiesSent, 1);
  for (const c of talks) c.send({ flags: 'A' });
  assert.is(rig.host.tcp.open, 4);
  assert.is(rig.host.tcp.listeners.halfOpen, 0);
  const next = rig.talk(80, 40001);
  next.send({ flags: 'S', mss: 1460 });
  next.expect({ flags: 'SA' });
  assert.is(rig.host.tcp.stats.cookiesSent, 1, 'there is room again');
});

test('while cookies are sent a half-open connection is given up after 7 s', () => {
  const { rig, first, c } = crowded();
  for (const at of [1000, 3000]) {
    rig.advance(at - rig.t);
    c.send({ flags: 'S', seq: 0 });
    c.expect({ flags: 'SA' });
    first.expect({ flags: 'SA', seq: 0, at });
  }
  rig.advance(7000 - rig.t);
  first.expectNone();
  rig.assertEmpty();
  assert.is(rig.host.tcp.listeners.halfOpen, 0);
});

test('the numbers of a cookie connection wrap like any other', () => {
  const { owner, c } = crowded();
  const far = c.rig.talk(80, 40002, -1);
  c.rig.pump();
  far.send({ flags: 'S', mss: 1460 });
  far.expect({ flags: 'SA', ack: 1 });
  far.send({ flags: 'A', data: 'over the edge' });
  assert.is(owner.text, 'over the edge');
});

const secrets = new Secrets(seeded(7));

function segment(f: { src: number; sport: number; dport: number; seq: number; mss: number }): ArrivedSegment {
  const seg = new ArrivedSegment();
  Object.assign(seg, { src: f.src, dst: HOST, sport: f.sport, dport: f.dport, seq: f.seq });
  seg.options.mss = f.mss;
  return seg;
}

const peers = fc.record({
  src: fc.integer(),
  sport: fc.integer({ min: 0, max: 65535 }),
  dport: fc.integer({ min: 0, max: 65535 }),
  seq: fc.integer(),
  mss: fc.integer({ min: 64, max: 65535 }),
});

test('every cookie is read back in its slot and the next, with an MSS the peer takes', () => {
  fc.assert(
    fc.property(peers, fc.nat(1e12), fc.nat(64e6), (peer, now, later) => {
      const seg = segment(peer);
      const cookie = makeCookie(secrets, now, seg);
      seg.seq = (seg.seq + 1) | 0;
      seg.ack = (cookie + 1) | 0;
      const mss = readCookie(secrets, now + later, seg);
      assert.ok(mss >= 64 && mss <= peer.mss, `${mss} of ${peer.mss}`);
      for (const old of [128e6, 192e6, 64e6 * 254]) assert.is(readCookie(secrets, now + old, seg), 0);
    }),
  );
});

test('of a million guesses at most one is taken', () => {
  const seg = segment({ src: 1, sport: 2, dport: 80, seq: 3, mss: 1460 });
  const random = seeded(8);
  let taken = 0;
  for (let i = 0; i < 1_000_000; i++) {
    seg.ack = random.next();
    if (readCookie(secrets, 1e9, seg) !== 0) taken++;
  }
  assert.ok(taken <= 1, `${taken}`);
});

test('a marked timestamp is never ahead of the clock and less than 64 ms behind', () => {
  fc.assert(
    fc.property(
      fc.integer(),
      fc.integer({ min: -1, max: 14 }),
      fc.boolean(),
      fc.boolean(),
      (clock, wscale, sack, ecn) => {
        const marked = markTimestamp(clock, wscale, sack, ecn);
        const behind = (clock - marked) | 0;
        assert.ok(behind >= 0 && behind < 64, `${behind}`);
        assert.is(marked & 15, wscale < 0 ? 15 : wscale);
        assert.is((marked & 16) !== 0, sack);
        assert.is((marked & 32) !== 0, ecn);
      },
    ),
  );
});

test.run();
