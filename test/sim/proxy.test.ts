/** The TCP proxy between simulated clients and servers: what each side sees when the other behaves, or does not. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readSessions } from '../../lb/l7/session.ts';
import type { SessionLog } from '../../lb/l7/session-log.ts';
import type { Context } from '../../stack/context.ts';
import { OFFLOAD_WIRE } from '../../stack/netif/memory.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import * as st from '../../stack/tcp/state.ts';
import { BalancedNetwork, CLIENT, server, VIP } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { seeded } from '../lib/random.ts';
import { outstanding } from '../lib/sim.ts';

const conserved = (ctx: Context): void => assert.is(outstanding(ctx), ctx.pool.inUse);

/** Nothing is left: sessions, sockets, frames, server counts. */
function assertClean(net: BalancedNetwork): void {
  const { proxy, host, dests } = net.balancer;
  assert.is(proxy.open, 0, 'sessions open');
  assert.is(host.tcp.open, 0, 'control blocks open');
  assert.is(host.tcp.segments.used, 0, 'segment descriptors in use');
  assert.is(proxy.stats.accepted, proxy.stats.finished, 'every session finished');
  for (let i = 0; i < net.servers.length; i++) {
    const id = dests.find(1, server(i), 80);
    assert.is(dests.activeConns[id]! + dests.inactConns[id]!, 0, `connections counted at server ${i + 1}`);
  }
  conserved(net.ctx);
  assert.is(net.ctx.pool.inUse, 0, `frames held: ${JSON.stringify(host.held())}`);
}

const request = (
  net: BalancedNetwork,
  send: number,
  closeAfter: 'sending' | 'peer' | 'never' = 'sending',
): Endpoint => {
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send, closeAfter });
  e.tcb = net.connect(e);
  return e;
};

const serve = (
  net: BalancedNetwork,
  send: number,
  closeAfter: 'sending' | 'peer' | 'never' = 'sending',
): Endpoint[][] =>
  net.servers.map((s, i) => listen(s.host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send, closeAfter })));

for (const [name, wire] of [
  ['plain wires', undefined],
  ['offload wires', OFFLOAD_WIRE],
] as const) {
  test(`data passes both ways byte for byte and both ends close in order, ${name}`, () => {
    const net = new BalancedNetwork(wire === undefined ? {} : { wire });
    const accepted = serve(net, 300_000);
    const client = request(net, 200_000);
    assert.ok(net.run(20_000, () => client.done && accepted.flat().length === 1 && accepted.flat()[0]!.done));
    const [far] = accepted.flat();
    assert.is(far!.received, 200_000);
    assert.is(client.received, 300_000);
    assert.is(far!.wrong + client.wrong, 0);
    assert.is(client.end, st.END_NORMAL);
    assert.is(far!.end, st.END_NORMAL);
    net.run(100);
    assertClean(net);
    const { services } = net.balancer;
    const dest = services.destIds(1).find((d) => net.balancer.dests.conns[d]! > 0)!;
    assert.is(net.balancer.dests.inBytes[dest], 200_000);
    assert.is(net.balancer.dests.outBytes[dest], 300_000);
  });
}

test('connections are shared out by the scheduler, and leave from the VIP', () => {
  const net = new BalancedNetwork({ servers: 3 });
  const accepted = serve(net, 10);
  const clients = Array.from({ length: 9 }, () => request(net, 5));
  assert.ok(net.run(5000, () => clients.every((c) => c.done)));
  assert.equal(
    accepted.map((a) => a.length),
    [3, 3, 3],
  );
  assert.is(
    clients.reduce((sum, c) => sum + c.received, 0),
    90,
  );
  assertClean(net);
});

test('a local address is used instead of the VIP when one is configured', () => {
  const local = server(200);
  const net = new BalancedNetwork({ servers: 1, localAddresses: [local] });
  const seen: number[] = [];
  const [accepted] = serve(net, 0, 'never');
  request(net, 1, 'never');
  assert.ok(net.run(2000, () => accepted!.length === 1));
  seen.push(accepted![0]!.tcb!.raddr);
  assert.equal(seen, [local]);
});

test('a session can be watched from outside while it lives', () => {
  const net = new BalancedNetwork({ servers: 1 });
  serve(net, 7, 'never');
  const client = request(net, 11, 'never');
  net.run(500);
  const [s, ...others] = readSessions(net.balancer.proxy.sessions.share);
  assert.is(others.length, 0);
  assert.is(s!.state, 'relaying');
  assert.equal([s!.clientAddr, s!.vip, s!.vport, s!.serverAddr], [CLIENT, VIP, 80, server(0)]);
  assert.equal([s!.toServer, s!.toClient], [11, 7]);
  client.abort();
  net.run(500);
  assert.equal(readSessions(net.balancer.proxy.sessions.share), []);
});

test('the configured MTU bounds what is sent, although the link could carry more', () => {
  const net = new BalancedNetwork({ servers: 1, mtu: 700 });
  const [accepted] = serve(net, 0, 'never');
  request(net, 10, 'never');
  net.run(500);
  assert.is(accepted![0]!.tcb!.peerMss, 660);
});

test('the client may close its half and still read a long answer', () => {
  const net = new BalancedNetwork({ servers: 1 });
  const [accepted] = serve(net, 500_000, 'peer');
  const client = request(net, 1000);
  assert.ok(net.run(20_000, () => client.done && accepted![0]!.done));
  assert.is(client.received, 500_000);
  assert.is(client.wrong, 0);
  assertClean(net);
});

test('the server may close its half and still read a long upload', () => {
  const net = new BalancedNetwork({ servers: 1 });
  const [accepted] = serve(net, 10);
  const client = request(net, 600_000, 'peer');
  assert.ok(net.run(20_000, () => client.done && accepted![0]!.done));
  assert.is(accepted![0]!.received, 600_000);
  assert.is(accepted![0]!.wrong, 0);
  assertClean(net);
});

test('a reader that stops is waited for with bounded memory, and gets everything when it goes on', () => {
  const net = new BalancedNetwork({ servers: 1 });
  const [accepted] = net.servers.map((s, i) =>
    listen(s.host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 0, closeAfter: 'peer', paused: true })),
  );
  const total = 8_000_000;
  const client = request(net, total);
  net.run(3000);
  const { tcp } = net.balancer.host;
  const bound = tcp.config.sndBuf + tcp.config.rcvBuf + 2 * 65536;
  const [s] = readSessions(net.balancer.proxy.sessions.share);
  assert.ok(net.ctx.pool.inUse * 1000 < bound * 2, `${net.ctx.pool.inUse} frames held`);
  assert.ok(client.sent < total, 'the client is held back');
  assert.ok(s!.toServer < total);
  net.run(70_000); // zero-window probes keep the connection alive
  assert.is(client.end, -1);
  accepted![0]!.resume();
  assert.ok(
    net.run(60_000, () => client.done && accepted![0]!.done),
    'finished after the pause',
  );
  assert.is(accepted![0]!.received, total);
  assert.is(accepted![0]!.wrong, 0);
  assertClean(net);
});

test('everything is delivered although the sender closes long before the reader reads', () => {
  // The server's half is closed first, so that the client's FIN ends the client's connection with data unread.
  const net = new BalancedNetwork({ servers: 1 });
  const [accepted] = net.servers.map((s, i) =>
    listen(s.host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 3, paused: true })),
  );
  const total = 1_500_000;
  const client = request(net, total, 'sending');
  net.run(4000);
  accepted![0]!.resume();
  assert.ok(net.run(60_000, () => client.done && accepted![0]!.done));
  assert.is(accepted![0]!.received, total);
  assert.is(accepted![0]!.wrong, 0);
  assertClean(net);
});

test('a reset from the client resets the server, and the other way round', () => {
  for (const side of ['client', 'server'] as const) {
    const net = new BalancedNetwork({ servers: 1 });
    const [accepted] = serve(net, 100, 'never');
    const client = request(net, 100, 'never');
    assert.ok(net.run(2000, () => accepted!.length === 1 && accepted![0]!.received === 100));
    if (side === 'client') client.abort();
    else accepted![0]!.abort();
    assert.ok(
      net.run(2000, () => client.done && accepted![0]!.done),
      side,
    );
    assert.is(side === 'client' ? accepted![0]!.end : client.end, st.END_RESET);
    net.run(100);
    assertClean(net);
    const { clientAborts, serverAborts } = net.balancer.proxy.stats;
    assert.equal([clientAborts, serverAborts], side === 'client' ? [1, 0] : [0, 1]);
  }
});

test('a server that refuses costs nothing: the next one is tried', () => {
  const net = new BalancedNetwork({ servers: 3 });
  const accepted = listen(net.servers[2]!.host, server(2), 80, () => ({ salt: 2, peerSalt: 1, send: 50 }));
  const clients = Array.from({ length: 6 }, () => request(net, 20));
  assert.ok(net.run(5000, () => clients.every((c) => c.done)));
  assert.is(accepted.length, 6);
  for (const c of clients) assert.equal([c.received, c.wrong, c.end], [50, 0, st.END_NORMAL]);
  assert.ok(net.reports.failures.every((f) => f.end === st.END_REFUSED && f.retry));
  assertClean(net);
});

test('a silent server is given up after connect_timeout, and the next one is tried', () => {
  const net = new BalancedNetwork({
    servers: 2,
    service: { timeouts: { connectMs: 700, clientMs: 0, serverMs: 0, finMs: 0 } },
  });
  // Server 1 resolves, but its TCP answers nothing: a static neighbour nobody has.
  net.balancer.host.neigh.nud.setStatic(server(0), 1, 0x0200, 0x77);
  listen(net.servers[1]!.host, server(1), 80, () => ({ salt: 2, peerSalt: 1, send: 50 }));
  const clients = [request(net, 20), request(net, 20)];
  const start = net.now;
  assert.ok(net.run(10_000, () => clients.every((c) => c.done)));
  assert.ok(net.now - start < 2_500_000, 'within the connect limit and some');
  for (const c of clients) assert.is(c.received, 50);
  assert.equal(net.reports.failures, [{ dest: 1, end: st.END_TIMEOUT, retry: true }]);
  assertClean(net);
});

test('an address nobody answers ARP for is given up too', () => {
  const net = new BalancedNetwork({
    servers: 1,
    service: { retries: 0, timeouts: { connectMs: 9000, clientMs: 0, serverMs: 0, finMs: 0 } },
  });
  net.servers.length = 0; // the server's host no longer turns: it is gone from the segment
  const client = request(net, 20);
  assert.ok(net.run(20_000, () => client.done));
  assert.is(client.end, st.END_RESET);
  net.run(10_000);
  assert.is(net.balancer.proxy.open, 0);
  conserved(net.ctx);
});

test('when every server refuses, the client is reset', () => {
  const net = new BalancedNetwork({ servers: 2 });
  const client = request(net, 20);
  assert.ok(net.run(5000, () => client.done));
  assert.is(client.end, st.END_RESET);
  assert.equal(
    net.reports.failures.map((f) => f.retry),
    [true, true],
  );
  net.run(100);
  assertClean(net);
});

test('with retries = 0 the first refusal is the last word', () => {
  const net = new BalancedNetwork({ servers: 2, service: { retries: 0 } });
  listen(net.servers[1]!.host, server(1), 80, () => ({ salt: 2, peerSalt: 1, send: 50 }));
  const first = request(net, 1);
  assert.ok(net.run(3000, () => first.done));
  assert.is(first.end, st.END_RESET);
  const second = request(net, 1);
  assert.ok(net.run(3000, () => second.done));
  assert.is(second.received, 50);
  assertClean(net);
});

test('a client that leaves while its server is sought leaves nothing behind', () => {
  const net = new BalancedNetwork({ servers: 1 });
  net.balancer.host.neigh.nud.setStatic(server(0), 1, 0x0200, 0x77);
  const client = request(net, 20, 'never');
  net.run(300);
  assert.is(net.balancer.proxy.open, 1);
  client.abort();
  net.run(300);
  assertClean(net);
});

test('a session whose client vanished without a word ends by itself, a silent one that is alive does not', () => {
  for (const vanished of [true, false]) {
    const net = new BalancedNetwork({ servers: 1 });
    const [accepted] = serve(net, 5, 'never');
    const client = request(net, 5, 'never');
    net.run(500);
    if (vanished) net.unplugClient();
    net.run(400_000);
    assert.is(net.balancer.proxy.open, vanished ? 0 : 1);
    assert.is(accepted![0]!.end, vanished ? st.END_RESET : -1);
    assert.is(client.end, -1);
    conserved(net.ctx);
  }
});

test('a client that vanished after closing its half does not keep the session for ever', () => {
  const net = new BalancedNetwork({ servers: 1 });
  serve(net, 5, 'sending');
  request(net, 5, 'never');
  net.run(500); // the server is done, the client has our FIN and says nothing more
  net.unplugClient();
  net.run(400_000);
  assert.is(net.balancer.proxy.open, 0);
  assert.is(net.balancer.host.tcp.open, 0);
});

test('answers to keepalives do not count against an idle limit', () => {
  const timeouts = { connectMs: 3000, clientMs: 200_000, serverMs: 0, finMs: 0 };
  const net = new BalancedNetwork({ servers: 1, service: { timeouts } });
  serve(net, 5, 'never');
  const client = request(net, 5, 'never');
  assert.ok(net.run(260_000, () => client.done));
  assert.is(net.balancer.proxy.stats.timeouts, 1);
});

test('idle limits end a session, and only an idle one', () => {
  const timeouts = { connectMs: 3000, clientMs: 2000, serverMs: 0, finMs: 0 };
  const net = new BalancedNetwork({ servers: 1, service: { timeouts } });
  serve(net, 5, 'never');
  const client = request(net, 5, 'never');
  net.run(1500);
  assert.is(client.end, -1);
  assert.ok(net.run(3000, () => client.done));
  assert.is(client.end, st.END_RESET);
  net.run(100);
  assert.is(net.balancer.proxy.stats.timeouts, 1);
  assertClean(net);
});

test('after stopListening a SYN is refused, and open sessions go on to their end', () => {
  const net = new BalancedNetwork({ servers: 1 });
  const [accepted] = serve(net, 400_000, 'peer');
  const old = request(net, 400_000);
  net.run(5);
  net.balancer.proxy.stopListening();
  const late = request(net, 1);
  assert.ok(net.run(20_000, () => old.done && late.done));
  assert.is(late.end, st.END_REFUSED);
  assert.is(old.received, 400_000);
  assert.is(accepted![0]!.received, 400_000);
  net.run(100);
  assertClean(net);
});

test('abortAll resets both ends of what is left', () => {
  const net = new BalancedNetwork({ servers: 2 });
  const accepted = serve(net, 10, 'never');
  const clients = Array.from({ length: 4 }, () => request(net, 10, 'never'));
  net.run(500);
  net.balancer.proxy.stopListening();
  net.balancer.proxy.abortAll();
  assert.ok(net.run(2000, () => clients.every((c) => c.done) && accepted.flat().every((a) => a.done)));
  for (const e of [...clients, ...accepted.flat()]) assert.is(e.end, st.END_RESET);
  net.run(100);
  assert.is(net.balancer.proxy.stats.drained, 4);
  assertClean(net);
});

test('half-open connections are refused while draining, and reset at the end', () => {
  const net = new BalancedNetwork({ servers: 1 });
  serve(net, 10, 'never');
  const late = request(net, 10, 'never');
  net.balancer.host.netif.receive(net.balancer.ports[0]!); // nothing yet: the SYN is on its way
  net.client.host.turn(net.now);
  net.balancer.proxy.stopListening();
  net.run(2000, () => late.done);
  assert.ok(late.done);
  const half = new BalancedNetwork({ servers: 1 });
  half.connect(new Endpoint(half.client.host, { salt: 1, peerSalt: 2, send: 1 }));
  for (let i = 0; i < 50 && half.balancer.host.tcp.open === 0; i++) half.stepOnce();
  assert.is(half.balancer.host.tcp.open, 1);
  half.balancer.host.tcp.abortAll();
  half.balancer.host.turn(half.now);
  assert.is(half.balancer.host.tcp.open, 0);
  assert.is(half.balancer.host.tcp.stats.outRsts, 1);
});

test('a client that dies half open was never a session: nothing is counted, logged or leaked, nobody else is touched', () => {
  const ended: number[] = [];
  const sessionLog = { lost: 0, finished: (_table: unknown, id: number) => ended.push(id) } as unknown as SessionLog;
  const net = new BalancedNetwork({ servers: 1, sessionLog });
  serve(net, 10, 'never');
  const other = request(net, 10, 'never');
  assert.ok(net.run(1000, () => other.received === 10));
  // The connection's tag is that of its listener still: the number of the service, and of the other's session.
  const { host, proxy } = net.balancer;
  for (const dies of ['by a reset', 'without a word'] as const) {
    const half = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 1 });
    half.tcb = net.connect(half);
    for (let i = 0; i < 50 && host.tcp.listeners.halfOpen === 0; i++) net.stepOnce();
    assert.is(host.tcp.listeners.halfOpen, 1, dies);
    if (dies === 'by a reset') half.abort();
    else {
      half.abort();
      net.unplugClient();
    }
    net.run(dies === 'by a reset' ? 1000 : 70_000);
    assert.equal([host.tcp.listeners.halfOpen, host.tcp.open, proxy.open], [0, 2, 1], dies);
  }
  assert.equal([proxy.stats.accepted, proxy.stats.finished, proxy.stats.clientAborts], [1, 0, 0]);
  assert.equal(ended, []);
  assert.is(other.end, -1);
  assert.is(host.tcp.stats.attemptFails, 2);
  conserved(net.ctx);
});

test('a full session table refuses the next client and harms no other', () => {
  const net = new BalancedNetwork({ servers: 1, maxSessions: 3 });
  serve(net, 10, 'never');
  const clients = Array.from({ length: 4 }, () => request(net, 10, 'never'));
  net.run(1000);
  assert.is(clients.filter((c) => c.done).length, 1);
  assert.is(clients.filter((c) => c.received === 10).length, 3);
  assert.is(net.balancer.proxy.stats.tableFull, 1);
});

for (const seed of [11, 12, 13]) {
  test(`forty sessions over a lossy, duplicating, reordering link are byte-exact (seed ${seed})`, () => {
    const rules = { ...NO_FAULTS, loss: 0.02, duplicate: 0.02, reorder: 0.02, reorderMicros: 3000 };
    const net = new BalancedNetwork({
      servers: 3,
      seed,
      wrap: (device, ctx) => new Fault(ctx, device, { rx: rules, tx: rules, capacity: 1024 }, seeded(seed)),
    });
    // Every other client waits for the server to close first.
    const accepted = net.servers.map((s, i) =>
      listen(s.host, server(i), 80, (n) => ({
        salt: 2,
        peerSalt: 1,
        send: 30_000,
        closeAfter: n % 2 === 0 ? 'peer' : 'sending',
      })),
    );
    const clients = Array.from({ length: 40 }, (_, i) => request(net, 10_000 + i * 100));
    assert.ok(net.run(200_000, () => clients.every((c) => c.done) && accepted.flat().every((a) => a.done)));
    assert.is(accepted.flat().length, 40);
    for (const e of [...clients, ...accepted.flat()]) assert.is(e.wrong, 0);
    for (const c of clients) assert.is(c.received, 30_000);
    net.run(60_000, () => net.balancer.proxy.open === 0);
    net.run(5_000);
    assert.is(net.balancer.proxy.open, 0);
    conserved(net.ctx);
  });
}

test.run();
