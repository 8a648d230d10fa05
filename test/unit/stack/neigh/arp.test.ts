import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARP_CONFLICT, ARP_MALFORMED, ARP_NOT_OURS } from '../../../../stack/drop.ts';
import { DELIVERED, DROP } from '../../../../stack/verdict.ts';
import { REPLY, REQUEST } from '../../../../stack/wire/arp.ts';
import {
  advance,
  assertConserved,
  BROADCAST_MAC,
  entry,
  hear,
  hearBytes,
  ip,
  type Mac,
  OTHER_MAC,
  OUR_MAC,
  PEER,
  PEER_MAC,
  reply,
  rig,
  send,
  state,
  takeArps,
  US,
} from '../../../lib/neigh-rig.ts';

test('a request for our address is answered to the asker alone', () => {
  const r = rig();
  assert.is(hear(r, { op: REQUEST, targetMac: [0, 0] }), DELIVERED);
  const [answer, ...more] = takeArps(r);
  assert.is(more.length, 0);
  assert.equal(answer, {
    dst: [...PEER_MAC],
    src: [...OUR_MAC],
    op: REPLY,
    senderMac: [...OUR_MAC],
    sender: US,
    targetMac: [...PEER_MAC],
    target: PEER,
    atMs: r.ctx.nowMs,
  });
  assertConserved(r);
});

test('a request for the address of another port is not answered', () => {
  const r = rig();
  assert.is(hear(r, { op: REQUEST, target: ip(10, 0, 2, 1) }), DROP | ARP_NOT_OURS);
  assert.is(hear(r, { op: REQUEST, target: US, port: 2 }), DROP | ARP_NOT_OURS);
  assert.is(r.sent.length, 0);
});

test('a request for another host is not answered and teaches nothing', () => {
  const r = rig();
  assert.is(hear(r, { op: REQUEST, target: ip(10, 0, 0, 50) }), DROP | ARP_NOT_OURS);
  assert.is(state(r), 'none');
  send(r);
  takeArps(r);
  assert.is(hear(r, { op: REQUEST, target: ip(10, 0, 0, 50) }), DROP | ARP_NOT_OURS);
  assert.is(state(r), 'incomplete');
});

test('an address that was removed is no longer answered for', () => {
  const r = rig();
  r.addresses.remove(US, 1);
  assert.is(hear(r, { op: REQUEST }), DROP | ARP_NOT_OURS);
});

test('a probe for our address is answered and teaches nothing (RFC 5227 §1.1)', () => {
  const r = rig();
  assert.is(hear(r, { op: REQUEST, sender: 0 }), DELIVERED);
  const [answer] = takeArps(r);
  assert.is(answer!.op, REPLY);
  assert.is(answer!.sender, US);
  assert.is(answer!.target, 0);
  assert.equal(answer!.dst, PEER_MAC);
  assert.is(entry(r, 0), undefined);
  assert.is(hear(r, { op: REQUEST, sender: 0, target: PEER }), DROP | ARP_NOT_OURS);
  assert.is(hear(r, { op: REPLY, sender: 0 }), DROP | ARP_NOT_OURS);
});

test('sender addresses no host can have are refused', () => {
  const bad: readonly (readonly [string, Mac, number])[] = [
    ['multicast MAC', [0x0100, 0x5e000001], PEER],
    ['broadcast MAC', BROADCAST_MAC, PEER],
    ['zero MAC', [0, 0], PEER],
    ['multicast IP', PEER_MAC, ip(224, 0, 0, 1)],
    ['broadcast IP', PEER_MAC, -1],
    ['loopback IP', PEER_MAC, ip(127, 0, 0, 1)],
    ['zero net', PEER_MAC, ip(0, 1, 2, 3)],
  ];
  for (const [what, mac, sender] of bad) {
    for (const op of [REQUEST, REPLY]) {
      const r = rig();
      send(r);
      takeArps(r);
      assert.is(hear(r, { op, mac, sender }), DROP | ARP_MALFORMED, what);
      assert.is(r.neigh.table.count, 1, what);
      assert.is(state(r), 'incomplete', what);
      assert.is(r.sent.length, 0, what);
    }
  }
});

test('what we sent ourselves and hear again is no conflict', () => {
  const r = rig();
  assert.is(hear(r, { op: REQUEST, mac: OUR_MAC, sender: US, target: US }), DROP | ARP_NOT_OURS);
  // Both ports on one segment: port 1 hears port 2's announcement.
  assert.is(hear(r, { op: REQUEST, mac: [0x0200, 2], sender: ip(10, 0, 2, 1), target: US }), DROP | ARP_NOT_OURS);
  assert.is(r.conflicts.length, 0);
  assert.is(r.neigh.table.count, 0);
});

test('a host that claims our address is reported, and answered with one announcement per 10 s', () => {
  const r = rig();
  const claims = [
    { op: REQUEST, sender: US, target: US, mac: OTHER_MAC },
    { op: REQUEST, sender: US, target: PEER, mac: OTHER_MAC },
    { op: REPLY, sender: US, target: PEER, mac: OTHER_MAC },
  ];
  for (const claim of claims) assert.is(hear(r, claim), DROP | ARP_CONFLICT);
  assert.is(r.conflicts.length, 3);
  assert.equal(r.conflicts[0], { port: 1, ip: US, mac: OTHER_MAC });
  const [defence, ...more] = takeArps(r);
  assert.is(more.length, 0);
  assert.equal([defence!.dst, defence!.op, defence!.sender, defence!.target], [BROADCAST_MAC, REQUEST, US, US]);
  advance(r, 9_999);
  hear(r, claims[0]!);
  assert.is(takeArps(r).length, 0);
  advance(r, 1);
  hear(r, claims[0]!);
  assert.is(takeArps(r).length, 1);
  assert.is(r.ctx.drops[ARP_CONFLICT], 5);
  assert.is(r.neigh.table.count, 0, 'nothing learned');
  assertConserved(r);
});

test('each address is defended for itself', () => {
  const r = rig();
  r.addresses.add({ addr: ip(10, 0, 0, 2), prefixLen: 24, port: 1, flags: 0 });
  takeArps(r);
  for (const sender of [US, ip(10, 0, 0, 2)]) hear(r, { op: REQUEST, sender, mac: OTHER_MAC });
  assert.is(takeArps(r).length, 2);
});

test('a reply to another host teaches nothing, even if we asked', () => {
  const r = rig();
  send(r);
  assert.is(hear(r, { target: ip(10, 0, 0, 50) }), DROP | ARP_NOT_OURS);
  assert.is(state(r), 'incomplete');
});

test('the second of two answers is ignored', () => {
  const r = rig();
  send(r);
  assert.is(reply(r), DELIVERED);
  assert.is(reply(r, OTHER_MAC), DROP | ARP_NOT_OURS);
  assert.is(entry(r)!.macLo, PEER_MAC[1]);
});

test('a gratuitous reply is heard like a gratuitous request', () => {
  for (const op of [REQUEST, REPLY]) {
    const r = rig();
    assert.is(hear(r, { op, target: PEER, mac: OTHER_MAC }), DROP | ARP_NOT_OURS);
    send(r);
    reply(r);
    assert.is(hear(r, { op, target: PEER, mac: OTHER_MAC }), DELIVERED);
    assert.is(entry(r)!.macLo, OTHER_MAC[1]);
  }
});

test('requests carry an address of the neighbour’s subnet as sender', () => {
  const r = rig();
  r.addresses.add({ addr: ip(192, 168, 7, 1), prefixLen: 24, port: 1, flags: 0 });
  takeArps(r);
  send(r, ip(192, 168, 7, 9));
  assert.is(takeArps(r)[0]!.sender, ip(192, 168, 7, 1));
});

test('a host without an address asks nobody, and the entry fails', () => {
  const r = rig();
  for (const { addr, port } of [...r.addresses.list()]) r.addresses.remove(addr, port);
  send(r);
  assert.is(r.sent.length, 0);
  advance(r, 3_000);
  assert.is(state(r), 'failed');
  assertConserved(r);
});

test('an empty pool costs the answer and nothing else', () => {
  const r = rig();
  const { pool } = r.ctx;
  const taken: number[] = [];
  while (pool.freeSmallCount > 1) taken.push(pool.alloc());
  assert.is(hear(r, { op: REQUEST }), DELIVERED);
  assert.is(r.sent.length, 0);
  assert.is(state(r), 'stale');
  for (const f of taken) pool.release(f);
});

test('a packet cut at any byte is malformed', () => {
  const r = rig();
  for (let len = 0; len < 28; len++) assert.is(hearBytes(r, new Uint8Array(len), 1), DROP | ARP_MALFORMED);
  assertConserved(r);
});

test('an added address is announced twice, 2 s apart (RFC 5227 §2.3)', () => {
  const r = rig();
  const start = r.ctx.nowMs;
  const vip = ip(10, 0, 0, 100);
  r.addresses.add({ addr: vip, prefixLen: 24, port: 1, flags: 0 });
  advance(r, 60_000);
  const arps = takeArps(r);
  assert.equal(
    arps.map((a) => a.atMs - start),
    [0, 2_000],
  );
  for (const a of arps) {
    assert.equal([a.dst, a.op, a.sender, a.target], [BROADCAST_MAC, REQUEST, vip, vip]);
    assert.equal(a.targetMac, [0, 0]);
  }
  assert.is(r.timers.armed, 0);
});

test('an address removed meanwhile is not announced again', () => {
  const r = rig();
  const vip = ip(10, 0, 0, 100);
  r.addresses.add({ addr: vip, prefixLen: 24, port: 1, flags: 0 });
  r.addresses.remove(vip, 1);
  advance(r, 60_000);
  assert.is(takeArps(r).length, 1);
  assert.is(r.timers.armed, 0);
});

test('a takeover is announced five times within a second', () => {
  const r = rig();
  const start = r.ctx.nowMs;
  r.neigh.announcer.takeover(1, US);
  advance(r, 60_000);
  assert.equal(
    takeArps(r).map((a) => a.atMs - start),
    [0, 200, 400, 600, 800],
  );
});

test('more announcements than there are slots are sent once each', () => {
  const r = rig();
  for (let i = 0; i < 300; i++) r.neigh.announcer.announce(1, ip(10, 1, i >> 8, i & 255));
  advance(r, 60_000);
  assert.is(takeArps(r).length, 300 + 256);
  assertConserved(r);
});

test.run();
