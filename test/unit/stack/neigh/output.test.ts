import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LINK_DOWN, NEIGH_FAILED, NEIGH_QUEUE_FULL, NEIGH_TABLE_FULL, PORT_CLOSED } from '../../../../stack/drop.ts';
import { DROP, STOLEN } from '../../../../stack/verdict.ts';
import {
  advance,
  assertConserved,
  entry,
  hear,
  ip,
  OUR_MAC,
  PEER,
  PEER_MAC,
  packet,
  reply,
  rig,
  send,
  state,
  takeArps,
  takePackets,
} from '../../../lib/neigh-rig.ts';

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, i) => from + i);

test('frames that wait are sent in order when the address is known', () => {
  const r = rig();
  for (let tag = 0; tag < 128; tag++) assert.is(send(r, PEER, tag), STOLEN);
  assert.is(entry(r)!.queued, 128);
  assertConserved(r);
  reply(r);
  assert.equal(
    takePackets(r).map((p) => p.tag),
    range(0, 128),
  );
  assert.is(r.ctx.pool.inUse, 0);
  assertConserved(r);
});

test('a full queue drops its oldest frame and keeps the latest', () => {
  const r = rig();
  for (let tag = 0; tag < 130; tag++) assert.is(send(r, PEER, tag), STOLEN);
  assert.is(r.ctx.drops[NEIGH_QUEUE_FULL], 2);
  reply(r);
  assert.equal(
    takePackets(r).map((p) => p.tag),
    range(2, 130),
  );
  assertConserved(r);
});

test('all queues together are bounded, and no entry displaces the frames of another', () => {
  const r = rig({ queueTotal: 10 });
  const other = ip(10, 0, 0, 10);
  for (let tag = 0; tag < 10; tag++) send(r, PEER, tag);
  assert.is(send(r, other), DROP | NEIGH_QUEUE_FULL);
  assert.is(send(r, PEER, 10), STOLEN);
  assert.is(r.ctx.drops[NEIGH_QUEUE_FULL], 2);
  assert.is(r.ctx.pool.inUse, 10);
  reply(r);
  assert.equal(
    takePackets(r).map((p) => p.tag),
    range(1, 11),
  );
  assert.is(send(r, other), STOLEN);
  assertConserved(r);
});

test('when nobody answers, each sender is told before its frame is dropped', () => {
  const r = rig();
  for (let tag = 0; tag < 3; tag++) send(r, PEER, tag);
  advance(r, 3_000);
  assert.equal(r.unreachable, [PEER, PEER, PEER]);
  assert.is(r.ctx.drops[NEIGH_FAILED], 3);
  assert.is(r.ctx.pool.inUse, 0);
  assertConserved(r);
});

test('one request goes out however many frames wait', () => {
  const r = rig();
  for (let tag = 0; tag < 50; tag++) send(r, PEER, tag);
  assert.is(takeArps(r).length, 1);
});

test('entries are apart by port', () => {
  const r = rig();
  send(r);
  reply(r);
  const f = packet(r);
  const v = r.neigh.output.output(f, 2, PEER);
  r.ctx.settle(f, v);
  assert.is(v, STOLEN);
  assert.is(entry(r, PEER, 2)!.queued, 1);
  assert.is(entry(r, PEER, 1)!.queued, 0);
});

test('multicast goes to the mapped group address (RFC 1112 §6.4)', () => {
  const r = rig();
  const cases = [
    [ip(224, 0, 0, 18), 0x5e000012],
    [ip(239, 255, 255, 250), 0x5e7ffffa],
    [ip(224, 128, 0, 1), 0x5e000001],
  ] as const;
  for (const [group, lo] of cases) {
    const f = packet(r);
    r.ctx.settle(f, r.neigh.output.outputMulticast(f, 1, group));
    assert.equal(takePackets(r)[0]!.dst, [0x0100, lo]);
  }
});

test('broadcast goes to everybody', () => {
  const r = rig();
  const f = packet(r);
  r.ctx.settle(f, r.neigh.output.outputBroadcast(f, 1));
  assert.equal(takePackets(r)[0]!.dst, [0xffff, -1]);
});

test('a frame refused by the link is dropped for that reason, waiting ones too', () => {
  const r = rig();
  send(r);
  r.up = false;
  reply(r);
  assert.is(r.ctx.drops[LINK_DOWN], 1);
  assert.is(send(r), DROP | LINK_DOWN);
  assertConserved(r);
});

test('removing an entry drops what waits for it', () => {
  const r = rig();
  send(r);
  assert.ok(r.neigh.nud.remove(PEER, 1));
  assert.not.ok(r.neigh.nud.remove(PEER, 1));
  assert.is(r.ctx.drops[PORT_CLOSED], 1);
  assertConserved(r);
});

test('a full table gives up its failed entries, then its oldest stale ones', () => {
  const r = rig({ maxNeighbours: 4 });
  const host = (n: number): number => ip(10, 0, 0, 10 + n);
  const ask = (n: number): number => hear(r, { op: 1, sender: host(n), mac: [0x0210, n] });
  for (const n of [0, 1, 2]) {
    ask(n);
    advance(r, 10);
  }
  send(r, host(3));
  advance(r, 3_000);
  assert.is(state(r, host(3)), 'failed');
  ask(4);
  assert.equal(
    [0, 1, 2, 3, 4].map((n) => state(r, host(n))),
    ['stale', 'stale', 'stale', 'none', 'stale'],
  );
  // Used, so no longer idle: the next oldest goes.
  send(r, host(0));
  ask(5);
  assert.equal(
    [0, 1, 2, 4, 5].map((n) => state(r, host(n))),
    ['delay', 'none', 'stale', 'stale', 'stale'],
  );
  assertConserved(r);
});

test('a table whose entries are all wanted takes no more', () => {
  const r = rig({ maxNeighbours: 2 });
  r.neigh.nud.setStatic(PEER, 1, ...PEER_MAC);
  r.neigh.nud.setStatic(ip(10, 0, 0, 20), 1, ...PEER_MAC);
  assert.is(send(r, ip(10, 0, 0, 21)), DROP | NEIGH_TABLE_FULL);
  assert.not.ok(r.neigh.nud.setStatic(ip(10, 0, 0, 22), 1, ...PEER_MAC));
  assertConserved(r);
});

test('addresses nobody answers for cannot lock out one that exists', () => {
  const r = rig({ maxNeighbours: 4 });
  r.neigh.nud.setStatic(PEER, 1, ...PEER_MAC);
  for (let i = 20; i < 23; i++) assert.is(send(r, ip(10, 0, 0, i)), STOLEN);
  // Full of entries under resolution: each new one takes the place of one of them, whose frame is dropped by name.
  for (let i = 30; i < 36; i++) assert.is(send(r, ip(10, 0, 0, i)), STOLEN);
  assert.is(state(r, ip(10, 0, 0, 35)), 'incomplete');
  assert.is(r.ctx.drops[PORT_CLOSED], 6);
  assert.is(send(r, PEER), STOLEN);
  assertConserved(r);
});

test('the generation of an entry changes with its address and with its owner', () => {
  const r = rig({ maxNeighbours: 1 });
  r.neigh.nud.setStatic(PEER, 1, ...PEER_MAC);
  const first = entry(r)!.generation;
  r.neigh.nud.setStatic(PEER, 1, ...PEER_MAC);
  assert.is(entry(r)!.generation, first);
  r.neigh.nud.setStatic(PEER, 1, ...OUR_MAC);
  const second = entry(r)!.generation;
  assert.is.not(second, first);
  r.neigh.nud.remove(PEER, 1);
  r.neigh.nud.setStatic(PEER, 1, ...OUR_MAC);
  assert.is.not(entry(r)!.generation, second);
});

test('telling a sender may use the neighbour layer again', () => {
  const r = rig({ maxNeighbours: 1 });
  const source = ip(10, 0, 0, 77);
  // The callback sends a packet of its own, which takes the only row from the entry that is failing.
  const push = r.unreachable.push.bind(r.unreachable);
  r.unreachable.push = (hop: number): number => {
    if (hop === PEER) send(r, source);
    return push(hop);
  };
  send(r, PEER, 1);
  send(r, PEER, 2);
  advance(r, 3_000);
  assert.equal(r.unreachable, [PEER, PEER]);
  assert.is(entry(r, source)!.queued, 2);
  assertConserved(r);
});

test.run();
