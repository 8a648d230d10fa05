/** Peers that take without giving: what they can hold is bounded, and the others hardly notice. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BalancedNetwork, server } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { TcpRig } from '../lib/tcp-peer.ts';

const client = (net: BalancedNetwork, paused: boolean): Endpoint => {
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 10, closeAfter: 'never', paused });
  e.tcb = net.connect(e);
  return e;
};

test('readers that do not read hold a bounded share, and an honest download goes on beside them', () => {
  const net = new BalancedNetwork({ servers: 2 });
  for (const [i, s] of net.servers.entries()) {
    listen(s.host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 2_000_000, closeAfter: 'never' }));
  }
  const { pool } = net.ctx;
  for (let i = 0; i < 60; i++) {
    client(net, true);
    net.run(20);
  }
  net.run(8000);
  assert.ok(pool.freeSmallCount >= pool.config.slots >> 3, `${pool.freeSmallCount} of ${pool.config.slots} free`);
  const { evicted } = net.balancer.proxy.stats;
  assert.ok(evicted > 0 && evicted < 60, `${evicted} of 60 evicted`);
  const honest = client(net, false);
  assert.ok(
    net.run(20_000, () => honest.received === 2_000_000),
    `${honest.received} bytes in 20 s`,
  );
  assert.is(honest.wrong, 0);
});

test('a connection is given more as it moves data: 64 KB at first, the whole buffer later', () => {
  const net = new BalancedNetwork({ servers: 1 });
  listen(net.servers[0]!.host, server(0), 80, () => ({ salt: 2, peerSalt: 1, send: 3_000_000, closeAfter: 'never' }));
  const e = client(net, false);
  assert.ok(net.run(10, () => e.established));
  const toServer = net.balancer.host.tcp.blocks.find((b) => b !== null && b.raddr === server(0))!;
  assert.ok(net.run(20_000, () => e.received === 3_000_000));
  assert.is(toServer.rcvLimit, toServer.rcvBuf);
});

test('a fresh connection offers 64 KB, whatever the buffer', () => {
  const rig = new TcpRig({ tcp: { bufStart: 65536 } });
  const [c] = rig.accept({ mss: 1460, wscale: 7 });
  c.send({ flags: 'A', data: 'x' });
  rig.advance(5);
  const offered = (c.take().at(-1)?.win ?? 0) << 4;
  assert.ok(offered > 60_000 && offered <= 65_536, `${offered}`);
});

test('a client that sends single bytes to a server that does not read holds few slots', () => {
  const net = new BalancedNetwork({ servers: 1 });
  listen(net.servers[0]!.host, server(0), 80, () => ({
    salt: 2,
    peerSalt: 1,
    send: 0,
    closeAfter: 'never',
    paused: true,
  }));
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 400_000, closeAfter: 'never' });
  e.tcb = net.connect(e);
  net.run(3000); // the server's window is shut now
  const before = net.ctx.pool.inUse;
  const tcb = e.tcb!;
  tcb.mss = 1;
  net.run(20_000);
  assert.ok(net.ctx.pool.inUse < before + 64, `${net.ctx.pool.inUse - before} more slots`);
});

test('a peer that SACKs every other byte does not multiply descriptors', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept({ mss: 1460, wscale: 7, sackOk: true });
  const { tcp } = rig.host;
  owner.write(new Uint8Array(400_000));
  // Let the congestion window grow, so that much is in flight.
  for (let i = 0; i < 12; i++) {
    const last = c.take().at(-1);
    if (last !== undefined) c.send({ flags: 'A', ack: last.seq + last.data.length, win: 8191 });
  }
  const flight = (owner.tcb!.sndNxt - owner.tcb!.sndUna) | 0;
  const una = owner.tcb!.sndUna - owner.tcb!.iss;
  for (let at = una + 1; at + 8 < una + flight; at += 8) {
    c.send({
      flags: 'A',
      ack: una,
      win: 8191,
      sack: [
        [at, at + 1],
        [at + 2, at + 3],
        [at + 4, at + 5],
      ],
    });
    c.take();
    if (at > una + 20_000) break;
  }
  assert.ok(tcp.segments.used <= Math.ceil(400_000 / 1460) + 8, `${tcp.segments.used} descriptors`);
});

test.run();
