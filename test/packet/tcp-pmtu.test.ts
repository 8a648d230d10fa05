/** Path MTU (RFC 1191): told by routers, found out in silence, shared between connections, clamped by configuration. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { ChangingCapabilities } from '../../stack/netif/device.ts';
import { portMtu } from '../../stack/netif/port.ts';
import { PathMtus } from '../../stack/tcp/pmtu.ts';
import { makeHost } from '../lib/sim.ts';
import { type Conversation, HOST, PEER, pattern, type Recorder, TcpRig } from '../lib/tcp-peer.ts';

/** The sizes of the data segments that came out. */
const sizes = (c: Conversation): number[] =>
  c
    .take()
    .map((s) => s.data.length)
    .filter((n) => n > 0);

function acceptMore(rig: TcpRig, port: number, syn: object = { mss: 1460 }): [Conversation, Recorder] {
  return rig.accept(syn, port, 41000 + port);
}

test('what a router said of the path holds for connections to come, the offer stays that of the link', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(1460));
  const first = c.expect({ len: 1460 });
  rig.icmp(3, 4, 1000, first.frame);
  assert.equal(sizes(c), [960, 500]);
  const [d, other] = acceptMore(rig, 81);
  other.write(pattern(1920));
  assert.equal(sizes(d), [960, 960]);
  const [e] = rig.connect(1000, 5000);
  e.expect({ flags: 'S', mss: 1460 });
});

test('timestamps take their twelve bytes from a path’s segments, too', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(1460));
  rig.icmp(3, 4, 1000, c.expect({ len: 1460 }).frame);
  sizes(c);
  const [d, other] = acceptMore(rig, 81, { mss: 1460, ts: [1, 0] });
  other.write(pattern(948));
  d.expect({ len: 948, ts: true });
});

test('a link set to less than IPv4 has to get leaves segments of some bytes', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept({ mss: 1460, ts: [1, 0] });
  const { netif, routes, tcp } = rig.host;
  const port = netif.ports[1]!;
  (port.device.caps as ChangingCapabilities).mtu = 50;
  port.mtu = portMtu(port.device, 1500);
  routes.refresh();
  tcp.followLinks();
  owner.write(pattern(48));
  assert.equal(sizes(c), [16, 16, 16]);
  const [d, other] = acceptMore(rig, 81, { mss: 1460, ts: [1, 0] });
  other.write(pattern(32));
  assert.equal(sizes(d), [16, 16]);
});

test('after ten minutes a path is tried anew', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(1460));
  rig.icmp(3, 4, 1000, c.expect({ len: 1460 }).frame);
  c.take();
  c.send({ flags: 'A' });
  rig.advance(599_000);
  const [d, old] = acceptMore(rig, 81);
  old.write(pattern(1460));
  assert.equal(sizes(d), [960, 500]);
  d.send({ flags: 'A' });
  rig.advance(1001);
  const [e, fresh] = acceptMore(rig, 82);
  fresh.write(pattern(1460));
  assert.equal(sizes(e), [1460]);
});

test('a connection whose segments vanish learns from the table what another was told', () => {
  const rig = new TcpRig();
  const [d, other] = acceptMore(rig, 81);
  const [c, owner] = rig.accept();
  owner.write(pattern(1460));
  other.write(pattern(1460));
  rig.icmp(3, 4, 1000, c.expect({ len: 1460 }).frame);
  assert.equal(sizes(d), [1460]);
  rig.advance(1500);
  assert.is(sizes(d)[0], 960);
});

test('black hole: after three time-outs full-sized segments shrink to 1220, after five to 536', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(14600));
  assert.is(sizes(c).length, 10);
  const seen: number[] = [];
  while (rig.t < 60_000 && seen.at(-1) !== 536) {
    rig.advance(50);
    seen.push(...sizes(c));
  }
  const shrunk = seen.filter((n, i) => n !== seen[i - 1]);
  assert.equal(shrunk, [1460, 1220, 536]);
  assert.is(seen.indexOf(1220), 2, 'two time-outs may be congestion');
  assert.is(rig.host.tcp.stats.blackHoles, 2);
});

test('black hole: once smaller segments pass, all goes on with them, and new connections begin with 1220', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(20_000));
  c.take();
  // The path swallows what is larger than 1400 bytes.
  let got = 1;
  for (let i = 0; i < 400 && got < 20_001; i++) {
    rig.advance(50);
    let progress = false;
    for (const s of c.take()) {
      const seq = (s.seq - c.hostIss) | 0;
      if (s.data.length > 1400 || seq !== got) continue;
      got += s.data.length;
      progress = true;
    }
    if (progress) c.send({ flags: 'A', ack: got });
  }
  assert.is(got, 20_001);
  assert.is(rig.host.tcp.stats.blackHoles, 1);
  const [d, other] = acceptMore(rig, 81);
  other.write(pattern(1460));
  assert.equal(sizes(d), [1220, 240]);
});

test('an outage is no black hole: small segments that are lost shrink nothing, nor do losses between SACKs', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(500));
  c.take();
  rig.advance(10_000);
  assert.is(rig.host.tcp.stats.blackHoles, 0);
  const [d, other] = acceptMore(rig, 81, { mss: 1460, sackOk: true });
  other.write(pattern(4380));
  d.take();
  d.send({ flags: 'A', ack: 1, sack: [[1461, 2921]] });
  rig.advance(10_000);
  assert.is(rig.host.tcp.stats.blackHoles, 0);
});

test('the clamp bounds the MSS offered and the segments sent', () => {
  const rig = new TcpRig({ tcp: { mssClamp: 1200 } });
  rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', mss: 1460 });
  c.expect({ flags: 'SA', mss: 1200 });
  const [d, owner] = rig.connect();
  d.expect({ flags: 'S', mss: 1200 });
  d.send({ flags: 'SA', mss: 1460 });
  d.take();
  owner.write(pattern(2400));
  assert.equal(sizes(d), [1200, 1200]);
});

test('a SYN cookie keeps to the path, too', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept();
  owner.write(pattern(1460));
  rig.icmp(3, 4, 1000, c.expect({ len: 1460 }).frame);
  const other = rig.listen(81, 0);
  const d = rig.talk(81);
  d.open({ mss: 1460 });
  other.write(pattern(960));
  d.expect({ len: 960 });
  assert.is(rig.host.tcp.stats.cookiesAccepted, 1);
});

test('the table: a path never rises, is bounded, and forgets', () => {
  const { ctx, host } = makeHost(1);
  ctx.tick(5_000_000);
  const paths = new PathMtus(ctx, host.tcp.secrets);
  assert.is(paths.get(PEER, 1500), 1500);
  paths.lower(PEER, 1400);
  paths.lower(PEER, 1300);
  paths.lower(PEER, 1350);
  assert.is(paths.get(PEER, 1500), 1300);
  assert.is(paths.get(PEER, 1280), 1280, 'the link is narrower still');
  assert.is(paths.get(HOST, 1500), 1500);
  for (let i = 0; i < 100_000; i++) paths.lower(i, 1000);
  let known = 0;
  for (let i = 0; i < 100_000; i++) if (paths.get(i, 1500) === 1000) known++;
  assert.is(known, 1024);
  ctx.tick(5_000_000 + 600_000_000);
  for (let i = 0; i < 100_000; i++) assert.is(paths.get(i, 1500), 1500);
});

test.run();
