/** A host that forwards, between two networks: 10.0.0.0/24 with A, 10.0.1.0/24 with B, the router at .254 of both. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_NO_ROUTE, IP_NOT_LOCAL, IP_TOO_BIG, IP_TTL } from '../../stack/drop.ts';
import { memoryWire, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { DatagramSocket } from '../../stack/socket/datagram.ts';
import * as icmp from '../../stack/wire/icmp4.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { pattern } from '../lib/ip-bench.ts';
import { ip, makeHost, outstanding, Sim, type SimHost } from '../lib/sim.ts';

const A = ip('10.0.0.1');
const B = ip('10.0.1.1');

interface Net {
  readonly a: SimHost;
  readonly b: SimHost;
  readonly router: SimHost;
  readonly sim: Sim;
}

function network(forwarding = true, mtuB = 1500): Net {
  const [a, b, router] = [makeHost(1), makeHost(2), makeHost(3)];
  const [a0, r0] = memoryWire(a.ctx, router.ctx, PLAIN_WIRE);
  const [b0, r1] = memoryWire(b.ctx, router.ctx, { ...PLAIN_WIRE, mtu: mtuB });
  const join = (h: SimHost, device: typeof a0, mac: number, addr: string, gateway: string | null): void => {
    const port = h.host.addPort(device, 0x0200, mac);
    h.host.addresses.add({ addr: ip(addr), prefixLen: 24, port: port.id, flags: 1 });
    if (gateway === null) return;
    const route = { prefix: 0, len: 0, gateway: ip(gateway), port: port.id, metric: 0, src: 0, mtu: 0 };
    h.host.routes.add({ ...route, scope: SCOPE_GLOBAL });
  };
  join(a, a0, 1, '10.0.0.1', '10.0.0.254');
  join(b, b0, 2, '10.0.1.1', '10.0.1.254');
  join(router, r0, 3, '10.0.0.254', null);
  join(router, r1, 4, '10.0.1.254', null);
  if (forwarding) router.host.enableForwarding();
  return { a, b, router, sim: new Sim([a, b, router]) };
}

function clean(net: Net): void {
  for (const h of [net.a, net.b, net.router]) assert.is(outstanding(h.ctx), h.ctx.pool.inUse);
}

test('a connection passes through the router, one hop less', () => {
  const net = network();
  const accepted = listen(net.b.host, B, 80, () => ({ salt: 2, peerSalt: 1, send: 200_000, closeAfter: 'peer' }));
  const client = new Endpoint(net.a.host, { salt: 1, peerSalt: 2, send: 100_000 });
  net.a.host.tcp.connect(A, 0, B, 80, client, 0);
  assert.ok(net.sim.run(10_000, () => client.done && accepted[0]?.done === true));
  assert.is(client.received, 200_000);
  assert.is(accepted[0]!.received, 100_000);
  assert.is(client.wrong + accepted[0]!.wrong, 0);
  clean(net);
});

test('a host that does not forward drops what is for others', () => {
  const net = network(false);
  new DatagramSocket(net.a.ctx, net.a.host.udp).sendTo(pattern(10), B, 7);
  net.sim.run(100);
  assert.is(net.router.ctx.drops[IP_NOT_LOCAL], 1);
  clean(net);
});

/** Sends one UDP-like packet from A by hand, so that its header can be chosen. */
function raw(net: Net, dst: number, ttl: number, size: number, df: boolean): void {
  const { ctx, host } = net.a;
  const { pool } = ctx;
  const f = ctx.create();
  const off = pool.off[f]! + 14;
  pool.off[f] = off;
  pool.len[f] = ipv4.IPV4_LEN + size;
  ipv4.emit(pool.buf, off, 0, ipv4.IPV4_LEN + size, 1, df ? ipv4.DF : 0, ttl, 253, A, dst);
  ctx.settle(f, host.ip.route(f, dst));
}

/** ICMP errors A hears, as [type, code, rest]. */
function hear(net: Net): number[][] {
  const heard: number[][] = [];
  net.a.host.icmp.onError(253, { icmpError: (type, code, rest) => heard.push([type, code, rest]) });
  return heard;
}

test('a packet whose time runs out is reported to its sender', () => {
  const net = network();
  const heard = hear(net);
  raw(net, B, 1, 20, false);
  net.sim.run(100);
  assert.is(net.router.ctx.drops[IP_TTL], 1);
  assert.equal(heard, [[icmp.TIME_EXCEEDED, icmp.EXCEEDED_TTL, 0]]);
  clean(net);
});

test('a packet without a route is reported to its sender', () => {
  const net = network();
  const heard = hear(net);
  raw(net, ip('192.0.2.1'), 64, 20, false);
  net.sim.run(100);
  assert.is(net.router.ctx.drops[IP_NO_ROUTE], 1);
  assert.equal(heard, [[icmp.UNREACHABLE, icmp.UNREACH_NET, 0]]);
  clean(net);
});

test('a packet too big for the next link is cut, or reported with the MTU when it must not be', () => {
  const net = network(true, 600);
  const heard = hear(net);
  raw(net, B, 64, 1000, true);
  net.sim.run(100);
  assert.is(net.router.ctx.drops[IP_TOO_BIG], 1);
  assert.equal(heard, [[icmp.UNREACHABLE, icmp.UNREACH_FRAG_NEEDED, 600]]);
  const server = new DatagramSocket(net.b.ctx, net.b.host.udp);
  server.bind(0, 7);
  new DatagramSocket(net.a.ctx, net.a.host.udp).sendTo(pattern(1400), B, 7);
  net.sim.run(100);
  assert.equal(server.tryReceive()?.data, pattern(1400));
  clean(net);
});

test('TCP lowers its segments when a link on the way is smaller', () => {
  const net = network(true, 900);
  const accepted = listen(net.b.host, B, 80, () => ({ salt: 2, peerSalt: 1, send: 0, closeAfter: 'peer' }));
  const client = new Endpoint(net.a.host, { salt: 1, peerSalt: 2, send: 300_000 });
  net.a.host.tcp.connect(A, 0, B, 80, client, 0);
  assert.ok(net.sim.run(30_000, () => client.done && accepted[0]?.done === true));
  assert.is(accepted[0]!.received, 300_000);
  assert.is(accepted[0]!.wrong, 0);
  clean(net);
});

test.run();
