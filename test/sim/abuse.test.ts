/**
 * Clients and servers that misuse the proxy, each beside an honest client: what they take is bounded and counted, the
 * honest one is served meanwhile, and when they are gone nothing is left. Readers that do not read, single bytes and
 * scoreboards are in fairness.test.ts, waiting for servers in queue.test.ts.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { POOL_EMPTY } from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { BalancedNetwork, server } from '../lib/balancer.ts';
import { Endpoint, type EndpointPlan, listen } from '../lib/endpoint.ts';
import { seeded } from '../lib/random.ts';
import { checkFrames } from '../lib/tcp-laws.ts';

const ANSWER = 300_000;
/** What servers do with honest clients: an answer, then the end. */
const answering: EndpointPlan = { salt: 2, peerSalt: 1, send: ANSWER, closeAfter: 'sending' };

function client(net: BalancedNetwork, plan: Partial<EndpointPlan> = {}): Endpoint {
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 10, closeAfter: 'peer', ...plan });
  e.tcb = net.connect(e);
  return e;
}

/** Both servers do as planned. */
function serve(net: BalancedNetwork, plan: (n: number) => EndpointPlan): void {
  for (const [i, s] of net.servers.entries()) listen(s.host, server(i), 80, plan);
}

/** An honest client comes, and has its answer within `ms`. */
function serveOne(net: BalancedNetwork, ms: number): void {
  const honest = client(net);
  assert.ok(
    net.run(ms, () => honest.done),
    `${honest.received} of ${ANSWER} bytes in ${ms} ms`,
  );
  assert.equal([honest.received, honest.wrong, honest.end], [ANSWER, 0, 0]);
}

/** Nothing is left of anybody, in tsvs. */
function assertRecovered(net: BalancedNetwork): void {
  const { host, proxy } = net.balancer;
  assert.ok(
    net.run(200_000, () => host.tcp.open === 0 && net.ctx.pool.inUse === 0),
    `${host.tcp.open} connections, ${net.ctx.pool.inUse} frames`,
  );
  assert.equal([proxy.open, host.tcp.parking.parked, host.tcp.segments.used], [0, 0, 0]);
  assert.is(proxy.stats.accepted, proxy.stats.finished + proxy.stats.tableFull);
  checkFrames({ host, ctx: net.ctx }, true);
  serveOne(net, 5000);
}

test('slow senders: each costs a frame at a time, and what the session table does not take is counted', () => {
  const net = new BalancedNetwork({ servers: 2, maxSessions: 201 });
  serve(net, (n) => ({
    ...answering,
    send: n < 100 ? 0 : ANSWER,
    closeAfter: n < 100 ? 'peer' : 'sending',
  }));
  const slow = Array.from({ length: 200 }, () => client(net, { send: 0, closeAfter: 'never' }));
  assert.ok(net.run(3000, () => slow.every((e) => e.established)));
  net.run(100);
  const { pool } = net.ctx;
  let worst = 0;
  for (let i = 0; i < 30; i++) {
    for (const e of slow) sock.write(net.client.host.tcp, e.tcb!, Uint8Array.of(32), 0, 1);
    net.run(300);
    worst = Math.max(worst, pool.inUse);
    if (i === 10) serveOne(net, 5000);
  }
  assert.ok(worst < 2 * slow.length, `${worst} frames for ${slow.length} senders`);
  const { stats } = net.balancer.proxy;
  assert.is(stats.tableFull, 0);
  const [last, refused] = [client(net, { send: 0, closeAfter: 'never' }), client(net)];
  net.run(1000);
  assert.ok(!last.done && refused.done);
  assert.is(stats.tableFull, 1);
  for (const e of [...slow, last]) e.abort();
  assertRecovered(net);
});

test('a server that accepts and never reads: its sessions hold a bounded share, those of the other go on', () => {
  const net = new BalancedNetwork({ servers: 2 });
  const stuck = listen(net.servers[0]!.host, server(0), 80, () => ({
    salt: 2,
    peerSalt: 1,
    send: 0,
    closeAfter: 'never',
    paused: true,
  }));
  listen(net.servers[1]!.host, server(1), 80, () => answering);
  const { pool } = net.ctx;
  // Every other one goes to each server, and those to the second one are honest.
  const greedy: Endpoint[] = [];
  for (let i = 0; i < 40; i++) {
    greedy.push(client(net, { send: 2_000_000, closeAfter: 'never' }));
    net.run(20);
    serveOne(net, 5000);
  }
  net.run(5000);
  assert.is(stuck.length, 40);
  assert.ok(pool.freeSmallCount >= pool.config.slots >> 3, `${pool.freeSmallCount} of ${pool.config.slots} free`);
  const { evicted, serverAborts } = net.balancer.proxy.stats;
  assert.ok(evicted < 40, `${evicted} evicted`);
  assert.is(serverAborts, 0);
  for (const e of greedy) e.abort();
  assert.ok(
    net.run(5000, () => net.balancer.proxy.open === 0 && pool.inUse === 0),
    `${pool.inUse} frames left`,
  );
  client(net, { closeAfter: 'never' }); // has the stuck one
  net.run(20);
  serveOne(net, 5000);
});

test('no local port left: the next client is refused and counted, sessions go on, and ports come back', () => {
  const net = new BalancedNetwork({ servers: 2, ports: [2000, 2019], service: { retries: 1 } });
  serve(net, () => ({ ...answering, closeAfter: 'peer' }));
  const held = Array.from({ length: 40 }, () => client(net, { closeAfter: 'never' }));
  assert.ok(net.run(5000, () => held.every((e) => e.received === ANSWER)));
  const { host, proxy } = net.balancer;
  assert.is(host.tcp.stats.portsExhausted, 0);
  const refused = client(net);
  assert.ok(net.run(1000, () => refused.done));
  assert.is(refused.received, 0);
  assert.is(host.tcp.stats.portsExhausted, 2, 'once for each server');
  assert.is(proxy.stats.connectFailures, 2);
  assert.is(proxy.open, 40);
  // The sessions that there were are still good for something.
  for (const e of held) sock.shutdown(net.client.host.tcp, e.tcb!);
  net.client.host.tcp.flush();
  assert.ok(net.run(5000, () => held.every((e) => e.done)));
  for (const e of held) assert.equal([e.wrong, e.end], [0, 0]);
  const { portsExhausted } = host.tcp.stats;
  net.run(61_000); // TIME_WAIT
  const again = Array.from({ length: 30 }, () => client(net, { closeAfter: 'never' }));
  assert.ok(
    net.run(5000, () => again.every((e) => e.received === ANSWER)),
    'the ports are free again',
  );
  assert.is(host.tcp.stats.portsExhausted, portsExhausted);
});

test('no frame free: what arrives is dropped and counted, and sessions go on where they were when there are some again', () => {
  const net = new BalancedNetwork({ servers: 2 });
  serve(net, () => ({ ...answering, send: 3_000_000 }));
  const { pool, drops } = net.ctx;
  const half = Array.from({ length: 10 }, () => client(net));
  assert.ok(net.run(2000, () => half.every((e) => e.received > 0)));
  const hoard: number[] = [];
  for (let f = pool.alloc(); f !== 0; f = pool.alloc()) hoard.push(f);
  const late = client(net);
  net.run(1000);
  assert.ok(drops[POOL_EMPTY]! > 0);
  assert.not(late.established);
  for (const f of hoard) pool.release(f);
  for (const e of [...half, late]) {
    assert.ok(
      net.run(60_000, () => e.done),
      `${e.received} bytes`,
    );
    assert.equal([e.received, e.wrong, e.end], [3_000_000, 0, 0]);
  }
  const { clientAborts, serverAborts } = net.balancer.proxy.stats;
  assert.equal([clientAborts, serverAborts], [0, 0]);
  checkFrames({ host: net.balancer.host, ctx: net.ctx }, true);
});

test('hundreds of idle sessions are parked, hold no frame, and are byte-exact afterwards', () => {
  const net = new BalancedNetwork({ servers: 2 });
  serve(net, () => ({ salt: 2, peerSalt: 1, send: 3000, closeAfter: 'peer' }));
  const idle = Array.from({ length: 400 }, () => client(net, { send: 500, closeAfter: 'never' }));
  assert.ok(net.run(5000, () => idle.every((e) => e.received === 3000)));
  const { tcp } = net.balancer.host;
  assert.ok(
    net.run(2000, () => tcp.parking.parked === 800),
    `${tcp.parking.parked} of 800 parked`,
  );
  assert.is(net.ctx.pool.inUse, 0);
  // Keepalives pass, both of tsvs and through it.
  net.run(150_000);
  assert.is(net.balancer.proxy.open, 400);
  for (const e of idle) sock.shutdown(net.client.host.tcp, e.tcb!);
  net.client.host.tcp.flush();
  assert.ok(net.run(5000, () => idle.every((e) => e.done)));
  for (const e of idle) assert.equal([e.received, e.wrong, e.end], [3000, 0, 0]);
  const { stats } = net.balancer.proxy;
  assert.equal([stats.finished, stats.clientAborts, stats.serverAborts], [400, 0, 0]);
  assert.is(tcp.parking.parked, 0);
});

test('churn: two thousand clients that come and go in every way leave nothing behind, honest ones notice nothing', () => {
  const seed = 7;
  const random = seeded(seed);
  const upTo = (n: number): number => (random.next() >>> 0) % n;
  const net = new BalancedNetwork({ servers: 2, seed });
  serve(net, () => ({
    ...answering,
    send: [0, 100, 20_000][upTo(3)]!,
    closeAfter: upTo(2) === 0 ? 'sending' : 'peer',
  }));
  let alive: Endpoint[] = [];
  for (let n = 0; n < 2000; n++) {
    const send = [0, 1, 5000][upTo(3)]!;
    alive.push(
      client(net, { send, closeAfter: (['sending', 'peer', 'never'] as const)[upTo(3)]!, paused: upTo(8) === 0 }),
    );
    // Some are gone in the middle of the handshake, others at any time after.
    if (upTo(3) === 0) net.step();
    while (alive.length > 100 || (alive.length > 0 && upTo(4) === 0)) {
      const [e] = alive.splice(upTo(alive.length), 1);
      e!.abort();
    }
    alive = alive.filter((e) => !e.done);
  }
  for (const e of alive) e.abort();
  const { host, proxy } = net.balancer;
  assert.ok(
    net.run(100_000, () => host.tcp.open === 0 && net.ctx.pool.inUse === 0),
    `seed ${seed}: ${host.tcp.open} connections, ${net.ctx.pool.inUse} frames`,
  );
  assert.is(proxy.open, 0);
  assert.is(proxy.stats.finished, proxy.stats.accepted);
  assert.ok(proxy.stats.accepted > 1000, `${proxy.stats.accepted} accepted`);
  assert.ok(host.tcp.blocks.length < 1500, `${host.tcp.blocks.length} ids were needed at once`);
});

test.run();
