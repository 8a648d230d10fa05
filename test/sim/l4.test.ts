/** The layer-4 director between whole hosts: real TCP streams and datagrams through it, in each mode. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LADDR, META, MODE_MASK, MODE_SHIFT, RADDR, MODE_NAMES as ROW_MODES, ROW_SHIFT } from '../../lb/conn-row.ts';
import { FAULT_LOSS, IP_TOO_BIG } from '../../stack/drop.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import { DatagramSocket } from '../../stack/socket/datagram.ts';
import * as st from '../../stack/tcp/state.ts';
import { BalancedNetwork, server } from '../lib/balancer.ts';
import { Endpoint, type EndpointPlan, listen } from '../lib/endpoint.ts';
import { pattern } from '../lib/ip-bench.ts';
import { CLIENT, L4Network, MODE_NAMES, PORT, serverAddress, UDP_PORT, VIP } from '../lib/l4-net.ts';
import { seeded } from '../lib/random.ts';
import { ip, outstanding } from '../lib/sim.ts';

const serve = (net: L4Network, send: number, closeAfter: EndpointPlan['closeAfter'] = 'sending'): Endpoint[][] =>
  net.servers.map(({ host }, i) =>
    listen(host, net.listenAddress(i), net.serverPort, () => ({ salt: 2, peerSalt: 1, send, closeAfter })),
  );

function connect(net: L4Network, send: number, closeAfter: EndpointPlan['closeAfter'] = 'sending'): Endpoint {
  const { host } = net.client;
  const e = new Endpoint(host, { salt: 1, peerSalt: 2, send, closeAfter });
  e.tcb = host.tcp.connect(CLIENT, 0, VIP, PORT, e, 0);
  assert.ok(e.tcb !== null);
  return e;
}

/** Every frame accounted for, everywhere. */
function conserved(net: L4Network): void {
  for (const { ctx } of [net.client, net.director, ...net.servers]) assert.is(outstanding(ctx), ctx.pool.inUse);
  assert.is(net.director.ctx.pool.inUse, 0, JSON.stringify(net.director.host.held()));
}

for (const mode of MODE_NAMES) {
  for (const [name, wire] of [
    ['plain wires', PLAIN_WIRE],
    ['offload wires', OFFLOAD_WIRE],
  ] as const) {
    test(`${mode}: streams pass both ways byte for byte, ${name}`, () => {
      const net = new L4Network({ mode, wire });
      const accepted = serve(net, 300_000);
      const clients = Array.from({ length: 4 }, () => connect(net, 200_000));
      const done = () => clients.every((e) => e.done) && accepted.flat().filter((e) => e.done).length === 4;
      assert.ok(net.run(20_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
      assert.equal(
        accepted.map((one) => one.length),
        [2, 2],
      );
      for (const e of [...clients, ...accepted.flat()]) assert.is(e.wrong, 0);
      for (const e of clients) assert.is(e.received, 300_000);
      for (const e of accepted.flat()) assert.is(e.received, 200_000);
      for (const e of clients) assert.is(e.end, st.END_NORMAL);
      net.run(100);
      conserved(net);
    });
  }
}

for (const mode of MODE_NAMES) {
  test(`${mode}: with one frame in fifty lost, every byte still arrives`, () => {
    const rules = { ...NO_FAULTS, loss: 0.02 };
    const options = { rx: rules, tx: rules, capacity: 256 };
    const net = new L4Network({ mode, wrap: (device, ctx) => new Fault(ctx, device, options, seeded(7)) });
    const accepted = serve(net, 60_000);
    const clients = Array.from({ length: 3 }, () => connect(net, 40_000));
    const done = () => clients.every((e) => e.done) && accepted.flat().every((e) => e.done);
    assert.ok(net.run(120_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [60_000, 0, st.END_NORMAL]);
    for (const e of accepted.flat()) assert.equal([e.received, e.wrong], [40_000, 0]);
    assert.ok(net.director.ctx.drops[FAULT_LOSS]! > 0);
    net.run(100);
    conserved(net);
  });

  test(`${mode}: datagrams go and come, those in fragments as well`, () => {
    const net = new L4Network({ mode });
    const at = (i: number): number => (net.udpServerPort === UDP_PORT ? VIP : serverAddress(i));
    const servers = net.servers.map(({ host, ctx }, i) => {
      const socket = new DatagramSocket(ctx, host.udp);
      socket.bind(at(i), net.udpServerPort);
      return socket;
    });
    const client = new DatagramSocket(net.client.ctx, net.client.host.udp);
    for (const size of [0, 1, 1452, 1473, 2961, 8192, 40_000]) {
      client.sendTo(pattern(size), VIP, UDP_PORT);
      net.run(50);
      const [question, socket] = servers.map((s) => [s.tryReceive(), s] as const).find(([d]) => d !== null) ?? [];
      assert.ok(question, `${size} there`);
      assert.equal(question!.data, pattern(size), `${size} there`);
      socket!.sendTo(question!.data, question!.addr, question!.port);
      net.run(50);
      const answer = client.tryReceive();
      assert.ok(answer, `${size} back`);
      assert.equal([answer!.data, answer!.addr, answer!.port], [pattern(size), VIP, UDP_PORT], `${size} back`);
    }
    // One flow, one server.
    assert.is(net.l4.udp.size(), 1);
    conserved(net);
  });

  test(`${mode}: a server is drained: its connections go on to their end, new ones go elsewhere`, () => {
    const net = new L4Network({ mode });
    const accepted = serve(net, 500_000, 'peer');
    const first = [connect(net, 400_000), connect(net, 400_000)];
    assert.ok(net.run(2000, () => accepted.every((one) => one.length === 1)));
    net.services.editDest(net.tcpService, { addr: serverAddress(0), port: net.serverPort, weight: 0 });
    const later = Array.from({ length: 4 }, () => connect(net, 10));
    assert.ok(net.run(20_000, () => [...first, ...later].every((e) => e.done)));
    assert.equal(
      accepted.map((one) => one.length),
      [1, 5],
    );
    for (const e of [...first, ...later]) assert.equal([e.received, e.wrong, e.end], [500_000, 0, st.END_NORMAL]);
  });

  test(`${mode}: a server is removed while it serves: what it began it finishes`, () => {
    const net = new L4Network({ mode });
    const accepted = serve(net, 500_000, 'peer');
    const clients = [connect(net, 400_000), connect(net, 400_000)];
    assert.ok(net.run(2000, () => accepted.every((one) => one.length === 1)));
    net.services.removeDest(net.tcpService, serverAddress(0), net.serverPort);
    assert.ok(net.run(20_000, () => clients.every((e) => e.done)));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [500_000, 0, st.END_NORMAL]);
  });
}

test('TUN: a client whose segments do not fit into the tunnel learns of it, and sends less at a time', () => {
  const net = new L4Network({ mode: 'TUN' });
  const accepted = serve(net, 1000);
  const client = connect(net, 100_000);
  assert.ok(net.run(20_000, () => client.done));
  assert.equal([accepted.flat()[0]!.received, accepted.flat()[0]!.wrong], [100_000, 0]);
  // The first full segments were refused, by name, and the client told the MTU that fits.
  assert.ok(net.director.ctx.drops[IP_TOO_BIG]! > 0);
});

test('layer 4 and layer 7 side by side on one VIP, over the same servers', () => {
  const fast = { mode: 'fnat', name: 'fast', port: 81, localAddresses: [ip('10.0.0.5')] } as const;
  const net = new BalancedNetwork({ more: [fast] });
  const accepted = net.servers.map((s, i) =>
    listen(s.host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 50_000, closeAfter: 'sending' })),
  );
  const clients = [80, 81, 80, 81].map((port) => {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 30_000 });
    e.tcb = net.connect(e, port);
    return e;
  });
  assert.ok(net.run(20_000, () => clients.every((e) => e.done)));
  for (const e of clients) assert.equal([e.received, e.wrong, e.end], [50_000, 0, st.END_NORMAL]);
  assert.is(accepted.flat().length, 4);
  assert.is(net.balancer.proxy.stats.accepted, 2);
  assert.is(net.balancer.l4!.core.stats.opened, 2);
  net.run(100);
  assert.is(net.ctx.pool.inUse, 0);
});

test('servers with modes of their own: DR and tunnel servers are sent the packet as it is, FullNAT ones from a local address', () => {
  const dests = (['fnat', 'dr', 'nat'] as const).map((own, i) => ({
    ...{ name: `server${i + 1}`, af: 4 as const, ip: server(i), port: 80, weight: 1, mac: null },
    mode: own,
  }));
  const local = ip('10.0.0.5');
  const service = { mode: 'tun', scheduler: 'rr', localAddresses: [local], dests } as const;
  const net = new BalancedNetwork({ servers: 3, service });
  for (let i = 0; i < 3; i++) {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 1 });
    e.tcb = net.connect(e, 80);
  }
  net.run(10);
  const { tcp } = net.balancer.l4!;
  const found: unknown[] = [];
  for (let row = tcp.next(0); row !== 0; row = tcp.next(row)) {
    const at = row << ROW_SHIFT;
    const mode = (tcp.rows[at + META]! & MODE_MASK) >> MODE_SHIFT;
    found.push([ROW_MODES[mode], tcp.rows[at + RADDR], tcp.rows[at + LADDR] === local]);
  }
  assert.equal(found, [
    ['FNAT', server(0), true],
    ['DR', server(1), false],
    ['NAT', server(2), false],
  ]);
});

test.run();
