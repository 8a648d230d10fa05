/** Neighbour states in a working host: what traffic does to them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listNeighbours } from '../../stack/neigh/snapshot.ts';
import { STATE_NAMES } from '../../stack/neigh/state.ts';
import { write } from '../../stack/tcp/socket.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { ip, pair, Sim, type SimHost } from '../lib/sim.ts';

const stateOf = (h: SimHost, addr: number): string =>
  STATE_NAMES[listNeighbours(h.host.neigh.table.words).find((n) => n.ip === addr)?.state ?? 0]!;

test('a neighbour that a busy connection talks to is never probed', () => {
  const [a, b] = pair(5);
  const sim = new Sim([a, b], 20_000);
  listen(b.host, ip('10.0.0.2'), 80, () => ({ salt: 1, peerSalt: 2, send: 0, closeAfter: 'never' }));
  const client = new Endpoint(a.host, { salt: 2, peerSalt: 1, send: 1, closeAfter: 'never' });
  a.host.tcp.connect(ip('10.0.0.1'), 0, ip('10.0.0.2'), 80, client, 0);
  // Far beyond ReachableTime (at most 45 s) and the delay before probing.
  let seen = '';
  for (let s = 0; s < 120; s++) {
    sim.run(1000);
    write(a.host.tcp, client.tcb!, new Uint8Array(100), 0, 100);
    const state = stateOf(a, ip('10.0.0.2'));
    if (!seen.endsWith(state)) seen += ` ${state}`;
  }
  assert.not.match(seen, /probe/i);
  assert.match(seen, /reachable/i);
});

test('an idle neighbour becomes stale, is doubted when used again, and trusted when TCP hears from it', () => {
  const [a, b] = pair(6);
  const sim = new Sim([a, b], 20_000);
  const client = new Endpoint(a.host, { salt: 2, peerSalt: 1, send: 1, closeAfter: 'never' });
  listen(b.host, ip('10.0.0.2'), 80, () => ({ salt: 1, peerSalt: 2, send: 0, closeAfter: 'never' }));
  a.host.tcp.connect(ip('10.0.0.1'), 0, ip('10.0.0.2'), 80, client, 0);
  sim.run(60_000);
  assert.is(stateOf(a, ip('10.0.0.2')), 'stale');
  write(a.host.tcp, client.tcb!, new Uint8Array(1), 0, 1);
  a.host.turn(sim.now); // sends; the answer has not come yet
  assert.is(stateOf(a, ip('10.0.0.2')), 'delay');
  sim.run(100);
  assert.is(stateOf(a, ip('10.0.0.2')), 'reachable', 'the acknowledgment of the byte is proof enough');
});

test.run();
