/** Limits of connections per server, and who waits for room. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as st from '../../stack/tcp/state.ts';
import { BalancedNetwork, type BalancerOptions, server } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';

const limited = (service: BalancerOptions['service']): BalancedNetwork => {
  const net = new BalancedNetwork({ servers: 2, service: { maxConnections: 2, queueTimeoutMs: 2000, ...service } });
  net.servers.forEach(({ host }, i) => {
    listen(host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 5, closeAfter: 'peer' }));
  });
  return net;
};

/** A client that has its answer and stays. */
const stay = (net: BalancedNetwork): Endpoint => {
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5, closeAfter: 'never' });
  e.tcb = net.connect(e);
  return e;
};

const served = (clients: readonly Endpoint[]): boolean[] => clients.map((c) => c.received === 5);

test('a server gets no more than its limit; who comes then waits, first come, first served', () => {
  const net = limited({});
  const clients: Endpoint[] = [];
  for (let i = 0; i < 7; i++) {
    clients.push(stay(net));
    net.run(20);
  }
  const { dests, proxy } = net.balancer;
  assert.equal(served(clients), [true, true, true, true, false, false, false]);
  assert.equal([dests.activeConns[1], dests.activeConns[2], proxy.stats.queued], [2, 2, 3]);
  clients[1]!.abort();
  net.run(20);
  assert.equal(served(clients).slice(4), [true, false, false]);
  clients[5]!.abort();
  clients[0]!.abort();
  net.run(20);
  assert.equal(served(clients).slice(4), [true, false, true], 'who gave up is passed over');
  assert.ok(clients[6]!.end === -1 && net.reports.noServer === 0);
});

test('who waits in vain is reset when the time is over, not before', () => {
  const net = limited({});
  const clients = Array.from({ length: 5 }, () => stay(net));
  net.run(1900);
  assert.is(clients.filter((c) => c.done).length, 0);
  net.run(200);
  const [late, ...others] = clients.filter((c) => c.done);
  assert.equal([late!.end, others.length, net.balancer.proxy.stats.queueTimeouts], [st.END_RESET, 0, 1]);
  assert.is(net.balancer.proxy.open, 4);
});

test('without queue_timeout nobody waits; a server that comes back is room for those that do', () => {
  const refusing = limited({ queueTimeoutMs: 0 });
  const clients = Array.from({ length: 5 }, () => stay(refusing));
  refusing.run(100);
  assert.is(clients.filter((c) => c.end === st.END_RESET).length, 1);

  const net = limited({ maxConnections: 1 });
  net.balancer.services.setState(2, 'maint');
  const waiting = [stay(net), stay(net)];
  net.run(500);
  assert.is(served(waiting).filter(Boolean).length, 1);
  net.balancer.services.setState(2, 'ready');
  net.run(200);
  assert.equal(served(waiting), [true, true]);
});

test('a service whose servers are down is not worth waiting for', () => {
  const net = limited({});
  for (const dest of [1, 2]) net.balancer.services.setState(dest, 'drain');
  const client = stay(net);
  assert.ok(net.run(100, () => client.done));
  assert.is(client.end, st.END_RESET);
});

test('many clients through few connections: all are served in the end, nothing is left', () => {
  const net = limited({ queueTimeoutMs: 60_000 });
  const clients = Array.from({ length: 60 }, () => {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5 });
    e.tcb = net.connect(e);
    return e;
  });
  const done = net.run(60_000, () => clients.every((c) => c.done));
  assert.ok(done);
  assert.equal(served(clients).filter(Boolean).length, 60);
  assert.ok(net.balancer.proxy.stats.queued >= 56);
  net.run(100);
  assert.equal([net.balancer.proxy.open, net.ctx.pool.inUse], [0, 0]);
});

test.run();
