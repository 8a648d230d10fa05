/** Opening: RFC 9293 §3.5 and the options of the SYN, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  TCP_BACKLOG,
  TCP_BAD_ACK,
  TCP_FLAGS,
  TCP_NO_ROUTE_BACK,
  TCP_NO_SOCKET,
  TCP_RESET_BLIND,
} from '../../stack/drop.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { ip } from '../lib/sim.ts';
import { ascii, HOST, PEER, pattern, Recorder, TcpRig } from '../lib/tcp-peer.ts';

test('passive open: SYN, SYN-ACK, ACK; the owner hears of it once', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA', seq: 0, ack: 1, mss: 1460, at: 0 });
  assert.equal(owner.log, []);
  c.send({ flags: 'A' });
  c.expectNone();
  assert.equal(owner.log, ['established']);
  assert.is(owner.state, 'ESTABLISHED');
});

test('active open: SYN with every option, then ESTABLISHED', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S', seq: 0, mss: 1460, wscale: 4, sackOk: true, ts: true, win: 65535 });
  assert.is(owner.state, 'SYN-SENT');
  c.send({ flags: 'SA', mss: 1460 });
  c.expect({ flags: 'A', seq: 1, ack: 1 });
  assert.is(owner.state, 'ESTABLISHED');
  assert.equal(owner.log, ['established']);
});

test('the ACK that completes the handshake may carry data and the FIN', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'FA', data: 'hello' });
  c.expect({ flags: 'A', seq: 1, ack: 7 });
  assert.is(owner.text, 'hello');
  assert.equal(owner.log, ['established', 'fin']);
  assert.is(owner.state, 'CLOSE-WAIT');
});

for (const mss of [undefined, 536, 1000, 1460, 9000])
  for (const wscale of [undefined, 0, 7, 14])
    for (const ts of [false, true])
      for (const sackOk of [false, true]) {
        const name = `mss ${mss}, wscale ${wscale}, timestamps ${ts}, SACK ${sackOk}`;
        const syn = {
          ...(mss !== undefined && { mss }),
          ...(wscale !== undefined && { wscale }),
          ...(ts && { ts: [5000, 0] as const }),
          ...(sackOk && { sackOk }),
        };
        const segment = Math.min(mss ?? 536, 1460) - (ts ? 12 : 0);
        test(`passive open answers ${name}`, () => {
          const rig = new TcpRig();
          const owner = rig.listen(80);
          const c = rig.talk(80);
          c.send({ flags: 'S', ...syn });
          c.expect({
            flags: 'SA',
            mss: 1460,
            wscale: wscale === undefined ? null : 4,
            ts,
            sackOk,
            tsEcr: ts ? 5000 : -1,
          });
          c.ts = ts;
          c.send({ flags: 'A', win: 1000 });
          assert.is(owner.tcb!.sndWnd, 1000 << (wscale ?? 0));
          c.send({ flags: 'A', win: 65535 });
          owner.write(pattern(segment + 10));
          c.expect({ len: segment, ts });
          c.expect({ len: 10, ts });
        });
        test(`active open takes ${name}`, () => {
          const rig = new TcpRig();
          const [c, owner] = rig.connect();
          c.expect({ flags: 'S' });
          c.ts = ts;
          c.send({ flags: 'SA', win: 30000, ...syn });
          // The window of a SYN is never scaled; ours is, from now on, if both sides said so.
          c.expect({ flags: 'A', ts, tsEcr: ts ? 5000 : -1, win: wscale === undefined ? 65535 : (1 << 19) >> 4 });
          assert.is(owner.tcb!.sndWnd, 30000);
          c.send({ flags: 'A', win: 2000 });
          assert.is(owner.tcb!.sndWnd, 2000 << (wscale ?? 0));
          owner.write(pattern(segment + 10));
          c.expect({ len: segment });
        });
      }

test('a window shift above 14 is used as 14, an MSS below 64 as 64', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept({ wscale: 200, mss: 8 });
  assert.is(owner.tcb!.sndWscale, 14);
  owner.write(pattern(100));
  c.expect({ len: 64 });
});

test('a SYN is sent again after 1, 2, 4, 8, 16 s and given up after 63 s', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  for (const at of [0, 1000, 3000, 7000, 15000, 31000]) {
    rig.advance(at - rig.t);
    c.expect({ flags: 'S', seq: 0, at });
    c.expectNone();
  }
  rig.advance(63000 - rig.t - 1);
  assert.is(owner.state, 'SYN-SENT');
  rig.advance(1);
  assert.equal(owner.log, ['closed:timeout']);
  c.expectNone();
  rig.assertEmpty();
});

test('a SYN-ACK is sent again after 1, 2, 4, 8, 16 s; then the half-open connection goes', () => {
  const rig = new TcpRig();
  rig.listen(80, 1);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  for (const at of [0, 1000, 3000, 7000, 15000, 31000]) {
    rig.advance(at - rig.t);
    c.expect({ flags: 'SA', seq: 0, ack: 1, at });
  }
  rig.advance(63001 - rig.t);
  c.expectNone();
  rig.assertEmpty();
  // Its place in the backlog is free again.
  const d = rig.talk(80, 40001);
  d.send({ flags: 'S' });
  d.expect({ flags: 'SA' });
});

test('a repeated SYN is answered with the same SYN-ACK', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', mss: 1000 });
  c.expect({ flags: 'SA', seq: 0, ack: 1 });
  rig.advance(100);
  c.send({ flags: 'S', seq: 0, mss: 1000 });
  c.expect({ flags: 'SA', seq: 0, ack: 1, at: 100 });
  c.expectNone();
  c.send({ flags: 'A' });
  assert.equal(owner.log, ['established']);
});

test('data on a SYN is not taken; the peer sends it again', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', data: 'early' });
  c.expect({ flags: 'SA', ack: 1 });
  c.send({ flags: 'A', seq: 1, data: 'early' });
  assert.is(owner.text, 'early');
});

test('data on a SYN-ACK is taken whole', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'SA', data: 'banner' });
  c.expect({ flags: 'A', ack: 7 });
  assert.is(owner.text, 'banner');
});

test('a FIN on a SYN-ACK closes the peer’s half', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'SFA', data: 'x' });
  c.expect({ flags: 'A', ack: 3 });
  assert.is(owner.text, 'x');
  assert.is(owner.state, 'CLOSE-WAIT');
});

test('without cookies a SYN beyond the backlog is dropped; a completed handshake makes room', () => {
  const rig = new TcpRig({ tcp: { synCookies: 'off' } });
  rig.listen(80, 2);
  const [a, b, c] = [1, 2, 3].map((i) => rig.talk(80, 40000 + i));
  a!.send({ flags: 'S' });
  b!.send({ flags: 'S' });
  a!.expect({ flags: 'SA' });
  b!.expect({ flags: 'SA' });
  c!.send({ flags: 'S' });
  c!.expectNone();
  assert.is(rig.dropped(TCP_BACKLOG), 1);
  assert.is(rig.host.tcp.stats.listenDrops, 1);
  a!.send({ flags: 'A' });
  c!.send({ flags: 'S', seq: 0 });
  c!.expect({ flags: 'SA' });
});

test('a SYN that no route leads back from is dropped for that, cookies or not', () => {
  for (const synCookies of ['auto', 'always', 'off'] as const) {
    const rig = new TcpRig({ tcp: { synCookies } });
    rig.listen(80, 1);
    rig.talk(80, 39999).send({ flags: 'S' });
    for (const route of rig.host.routes.list()) rig.host.routes.delete(route);
    const c = rig.talk(80);
    c.send({ flags: 'S' });
    c.expectNone();
    assert.is(rig.dropped(TCP_NO_ROUTE_BACK), 1, synCookies);
    assert.is(rig.host.tcp.stats.listenDrops, 0, 'there was room');
  }
});

test('a reset takes a half-open connection away and makes room in the backlog', () => {
  const rig = new TcpRig();
  rig.listen(80, 1);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'R', seq: 1 });
  rig.assertEmpty();
  const d = rig.talk(80, 40001);
  d.send({ flags: 'S' });
  d.expect({ flags: 'SA' });
});

test('SYN_RECEIVED: an ACK of something else is answered with a reset', () => {
  const rig = new TcpRig();
  rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'A', ack: 5000 });
  c.expect({ flags: 'R', seq: 5000 });
  assert.is(rig.dropped(TCP_BAD_ACK), 1);
  c.send({ flags: 'A', ack: 1 });
  assert.is(rig.host.tcp.open, 1);
});

test('SYN_SENT: an ACK of something else is answered with a reset, and opening goes on', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'A', seq: 77, ack: 500 });
  c.expect({ flags: 'R', seq: 500 });
  c.send({ flags: 'SA', seq: 0, ack: 0 });
  c.expect({ flags: 'R', seq: 0 });
  assert.is(rig.dropped(TCP_BAD_ACK), 2);
  assert.is(owner.state, 'SYN-SENT');
  c.send({ flags: 'SA' });
  assert.is(owner.state, 'ESTABLISHED');
});

test('SYN_SENT: RST with an acceptable ACK refuses, other resets are ignored', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'R', seq: 0 });
  assert.is(rig.dropped(TCP_RESET_BLIND), 1);
  c.send({ flags: 'RA', seq: 0, ack: 99 });
  c.expectNone();
  assert.is(owner.state, 'SYN-SENT');
  c.send({ flags: 'RA', seq: 0, ack: 1 });
  assert.equal(owner.log, ['closed:refused']);
  c.expectNone();
  rig.assertEmpty();
});

test('SYN_SENT: a segment with neither SYN nor RST is ignored', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'A', ack: 1, data: 'x' });
  c.expectNone();
  assert.is(rig.dropped(TCP_FLAGS), 1);
  assert.is(owner.state, 'SYN-SENT');
});

test('simultaneous open ends in ESTABLISHED on the peer’s SYN-ACK', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA', seq: 0, ack: 1 });
  assert.is(owner.state, 'SYN-RECEIVED');
  c.send({ flags: 'SA', seq: 0, ack: 1, mss: 1460 });
  assert.is(owner.state, 'ESTABLISHED');
  assert.equal(owner.log, ['established']);
  // Nothing that would make the peer answer without end.
  assert.ok(c.take().length <= 1);
  c.send({ flags: 'A', data: 'hi' });
  assert.is(owner.text, 'hi');
});

test('simultaneous open ends in ESTABLISHED on a bare ACK, too, and needs no listener', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.send({ flags: 'A', ack: 1 });
  assert.is(owner.state, 'ESTABLISHED');
  c.expectNone();
});

test('simultaneous open whose SYN-ACK is lost sends it again', () => {
  const rig = new TcpRig();
  const [c] = rig.connect();
  c.expect({ flags: 'S' });
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  rig.advance(1000);
  c.expect({ flags: 'SA', seq: 0, ack: 1, at: 1000 });
});

test('closing in SYN_SENT and in SYN_RECEIVED ends the attempt', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  owner.close();
  assert.equal(owner.log, ['closed:aborted']);
  c.expectNone();
  const [d, other] = rig.connect();
  d.expect({ flags: 'S' });
  d.send({ flags: 'S' });
  d.expect({ flags: 'SA' });
  other.close();
  d.expect({ flags: 'RA', seq: 1, ack: 1 });
  assert.equal(other.log, ['closed:aborted']);
  rig.assertEmpty();
});

test('no socket: SYN is answered RST+ACK, ACK with RST of its number, RST with nothing', () => {
  const rig = new TcpRig();
  const c = rig.talk(81);
  c.send({ flags: 'S', seq: 10, data: 'abc' });
  c.expect({ flags: 'RA', seq: 0, ack: 14 });
  c.send({ flags: 'A', seq: 10, ack: 4321 });
  c.expect({ flags: 'R', seq: 4321 });
  c.send({ flags: 'R', seq: 1 });
  c.send({ flags: 'RA', seq: 1, ack: 1 });
  c.expectNone();
  assert.is(rig.dropped(TCP_NO_SOCKET), 2);
});

test('a listener answers an ACK with a reset and ignores RST, SYN+FIN and nothing at all', () => {
  const rig = new TcpRig();
  rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'A', ack: 9 });
  c.expect({ flags: 'R', seq: 9 });
  c.send({ flags: 'R' });
  c.send({ flags: 'SF' });
  c.send({ flags: '' });
  c.expectNone();
  assert.is(rig.host.tcp.open, 0);
});

test('ICMP: unreachable ends an attempt, port unreachable as refused', () => {
  for (const [code, end] of [
    [1, 'unreachable'],
    [3, 'refused'],
  ] as const) {
    const rig = new TcpRig();
    const [c, owner] = rig.connect();
    const syn = c.expect({ flags: 'S' });
    rig.icmp(3, code, 0, syn.frame);
    assert.equal(owner.log, [`closed:${end}`]);
    rig.assertEmpty();
  }
});

test('ICMP that quotes a number never sent is ignored', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  const syn = c.expect({ flags: 'S' });
  const forged = syn.frame.slice();
  forged[14 + 20 + 7]! ^= 1;
  rig.icmp(3, 3, 0, forged);
  assert.is(owner.state, 'SYN-SENT');
});

test('ports: the same four-tuple cannot be opened twice; another peer port can', () => {
  const rig = new TcpRig();
  const [, owner] = rig.connect(1000, 5555);
  assert.is(rig.host.tcp.connect(HOST, 5555, PEER, 80, owner, 0), null);
  assert.ok(rig.host.tcp.connect(HOST, 5555, PEER, 81, owner, 0) !== null);
  assert.is(rig.host.tcp.connect(HOST, 0, ip('192.0.2.1'), 80, owner, 0), null, 'no route');
});

test('ephemeral ports stay in their range and run out', () => {
  const rig = new TcpRig({ tcp: { portMin: 2000, portMax: 2003 } });
  const owner = rig.listen(1);
  const ports = [0, 0, 0, 0].map((p) => rig.host.tcp.connect(HOST, p, PEER, 80, owner, 0)!.lport).sort();
  assert.equal(ports, [2000, 2001, 2002, 2003]);
  assert.is(rig.host.tcp.connect(HOST, 0, PEER, 80, owner, 0), null);
});

test('a window scale is offered only as large as the buffer needs', () => {
  for (const [rcvBuf, wscale] of [
    [65535, 0],
    [65536, 1],
    [1 << 20, 5],
    [0x7fffffff, 14],
  ] as const) {
    const rig = new TcpRig({ tcp: { rcvBuf } });
    const [c] = rig.connect();
    c.expect({ flags: 'S', wscale });
  }
});

test('after a SYN sent twice the first data waits three seconds for its acknowledgment', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.connect();
  c.expect({ flags: 'S' });
  rig.advance(1000);
  c.expect({ flags: 'S' });
  c.send({ flags: 'SA' });
  c.expect({ flags: 'A' });
  owner.write(ascii('x'));
  c.expect({ data: 'x' });
  rig.advance(2999);
  c.expectNone();
  rig.advance(1);
  c.expect({ data: 'x', at: 4000 });
});

test('connect: an address that is no one host’s is refused, without a segment', () => {
  const rig = new TcpRig();
  rig.host.routes.add({ prefix: 0, len: 0, gateway: PEER, port: 1, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL });
  const owner = new Recorder(rig);
  for (const to of ['0.0.0.0', '10.0.0.255', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255'])
    assert.is(rig.host.tcp.connect(HOST, 0, ip(to), 80, owner, 0), null, to);
  rig.pump();
  assert.equal(rig.sent, []);
  assert.equal(owner.log, []);
  rig.assertEmpty();
});

test('a port may be listened on while a connection from it opens; a second listener is refused and harms nothing', () => {
  const rig = new TcpRig();
  const [c, out] = rig.connect(1000, 80);
  c.expect({ flags: 'S' });
  const owner = rig.listen(80);
  assert.throws(() => rig.listen(80), /has a listener already/);
  const d = rig.talk(80, 40000);
  d.open({ mss: 1460 });
  assert.equal(owner.log, ['established']);
  c.send({ flags: 'SA', mss: 1460 });
  c.expect({ flags: 'A', seq: 1, ack: 1 });
  assert.equal(out.log, ['established']);
  d.expectNone();
});

test.run();
