import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Adjacencies, HEADER, KEY, MTU, PORT, SRC } from '../../../../stack/neigh/adjacency.ts';
import { DELAY, REACHABLE, STALE } from '../../../../stack/neigh/state.ts';
import { STATE, USED } from '../../../../stack/neigh/table.ts';
import { SCOPE_GLOBAL } from '../../../../stack/route/route4.ts';
import { CLIENT, GATEWAY, L4Rig, SERVER } from '../../../lib/l4-rig.ts';
import { ip } from '../../../lib/sim.ts';

function made(): { rig: L4Rig; ways: Adjacencies; find: (to: number) => number } {
  const rig = new L4Rig({ mode: 'DR' });
  const { ctx, host } = rig;
  const ways = new Adjacencies(ctx, host.routes, host.addresses, host.neigh.table, host.netif);
  const hops = new Int32Array(1);
  const find = (to: number): number => {
    ways.findAll(Int32Array.of(to), hops, 1);
    return hops[0]!;
  };
  return { rig, ways, find };
}

/** The Ethernet header as bytes: what the words are on the wire, without the two bytes before the frame. */
const header = (ways: Adjacencies, at: number): number[] =>
  [...new Uint8Array(ways.words.slice(at + HEADER, at + HEADER + 4).buffer)].slice(2);

test('a neighbour on the link: its port, MTU and whole header', () => {
  const { ways, find } = made();
  const at = find(SERVER);
  assert.ok(at > 0);
  assert.equal(
    [KEY, PORT, MTU, SRC].map((w) => ways.words[at + w]),
    [SERVER, 1, 1500, 0],
  );
  assert.equal(header(ways, at), [2, 0, 0, 0, 0, 21, 2, 0, 0, 0, 0, 1, 8, 0]);
});

test('behind a gateway the header is the gateway’s', () => {
  const { ways, find } = made();
  assert.equal(header(ways, find(CLIENT)).slice(0, 6), [2, 0, 0, 0, 0, 254]);
});

test('no way: no route, nobody known, or one who may have gone', () => {
  const { rig, find } = made();
  const { host } = rig;
  assert.is(find(ip('10.0.0.99')), 0, 'nobody has said where that is');
  host.routes.delete({ prefix: 0, len: 0, gateway: GATEWAY, port: 1, metric: 0 });
  assert.is(find(CLIENT), 0, 'no route');
  const peer = ip('10.0.0.77');
  host.neigh.nud.heard(peer, 1, 0x0200, 77, true);
  const i = host.neigh.table.find(peer, 1);
  assert.is(host.neigh.table.state(i), STALE);
  assert.is(find(peer), 0, 'output asks whether it is still there');
  host.neigh.nud.used(i);
  assert.is(host.neigh.table.state(i), DELAY);
  assert.ok(find(peer) > 0);
});

test('what is kept is forgotten when routes or neighbours change', () => {
  const { rig, ways, find } = made();
  const { host } = rig;
  find(SERVER);
  host.neigh.nud.setStatic(SERVER, 1, 0x0200, 42);
  assert.is(header(ways, find(SERVER))[5], 42);
  const route = { prefix: SERVER, len: 32, port: 1, metric: 0, src: 7, mtu: 900, scope: SCOPE_GLOBAL };
  host.routes.add({ ...route, gateway: GATEWAY });
  const at = find(SERVER);
  assert.equal([ways.words[at + MTU], ways.words[at + SRC], header(ways, at)[5]], [900, 7, 254]);
});

test('a neighbour that is used is marked as used', () => {
  const { rig, find } = made();
  const { table } = rig.host.neigh;
  const row = table.find(SERVER, 1) << 4;
  find(SERVER);
  rig.step(5_000_000);
  find(SERVER);
  assert.is(table.words[row + USED], rig.ctx.nowMs);
  assert.is(table.words[row + STATE], REACHABLE);
});

test('two addresses of one place: the later one has it, and the key tells', () => {
  const { ways } = made();
  // Behind one gateway there are enough addresses for every place to be taken many times.
  const to = Int32Array.from({ length: 4000 }, (_, i) => (CLIENT + i) | 0);
  const hops = new Int32Array(to.length);
  ways.findAll(to, hops, to.length);
  assert.ok(hops.every((at) => at > 0));
  const mine = to.filter((key, i) => ways.words[hops[i]! + KEY] === key).length;
  assert.ok(mine > 100 && mine < 600, `${mine} still have their place`);
});

test.run();
