/**
 * Several workers behind one VIP, and a wire that gives every frame to the wrong one: what belongs to another worker changes over, and
 * every transfer is whole. With links of one queue, worker 0 receives and sends for all.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { followRules } from '../../src/workers/pipeline.ts';
import { FATE_HANDED, FATE_TAKEN } from '../../stack/context.ts';
import { HANDOVER_FULL } from '../../stack/drop.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { DatagramSocket } from '../../stack/socket/datagram.ts';
import * as st from '../../stack/tcp/state.ts';
import { CLIENT, server, VIP } from '../lib/balancer.ts';
import { CrewNetwork, type CrewOptions, FIRST, WRONG } from '../lib/crew-net.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { pattern } from '../lib/ip-bench.ts';
import { outstanding } from '../lib/sim.ts';

function conserved(net: CrewNetwork): void {
  for (const { ctx, pipeline } of net.workers) {
    assert.is(outstanding(ctx), ctx.pool.inUse);
    assert.is(ctx.pool.inUse, 0, JSON.stringify(pipeline.host.held()));
    assert.is(ctx.drops[HANDOVER_FULL], 0);
  }
  assert.is(net.fate(FATE_HANDED), net.fate(FATE_TAKEN), 'handed over by one and taken by another');
}

const serve = (net: CrewNetwork, send: number, port = 80): Endpoint[][] =>
  net.servers.map((s, i) =>
    listen(s.host, server(i), port, () => ({ salt: 2, peerSalt: 1, send, closeAfter: 'sending' })),
  );

function request(net: CrewNetwork, send: number, from = CLIENT): Endpoint {
  const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send, closeAfter: 'sending' });
  e.tcb = net.client.host.tcp.connect(from, 0, VIP, 80, e, 0);
  assert.ok(e.tcb !== null);
  return e;
}

function transfers(options: CrewOptions, count: number, up: number, down: number): CrewNetwork {
  const net = new CrewNetwork(options);
  const accepted = serve(net, down);
  const clients = Array.from({ length: count }, () => request(net, up));
  const done = () => clients.every((e) => e.done) && accepted.flat().filter((e) => e.done).length === count;
  assert.ok(net.run(60_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
  for (const e of clients) assert.equal([e.received, e.wrong, e.end], [down, 0, st.END_NORMAL]);
  for (const e of accepted.flat()) assert.equal([e.received, e.wrong], [up, 0]);
  net.run(100);
  return net;
}

for (const [name, wire] of [
  ['plain wires', PLAIN_WIRE],
  ['offload wires', OFFLOAD_WIRE],
] as const) {
  for (const workers of [2, 3]) {
    test(`proxy: ${workers} workers, every frame at the wrong one, ${name}: all transfers are whole`, () => {
      const net = transfers({ workers, wire, fork: WRONG }, 12, 60_000, 90_000);
      conserved(net);
      const accepted = net.workers.map(({ pipeline }) => pipeline.proxy.stats.accepted);
      assert.is(
        accepted.reduce((a, b) => a + b, 0),
        12,
      );
      assert.ok(
        accepted.every((n) => n > 0),
        `each has some: ${accepted}`,
      );
      assert.ok(net.fate(FATE_HANDED) > 100, 'nearly everything changed over');
    });
  }

  test(`proxy: one queue, worker 0 receives and sends for all, ${name}`, () => {
    conserved(transfers({ wire, fork: FIRST, remote: true }, 8, 60_000, 90_000));
  });
}

for (const mode of ['fnat', 'nat'] as const) {
  test(`${mode}: every frame at the wrong worker, all transfers are whole`, () => {
    const more = mode === 'nat' ? {} : { localAddresses: [VIP] };
    const service = { mode, ...more };
    const net = new CrewNetwork({ service });
    if (mode === 'nat') {
      const route = { len: 32, port: 1, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
      for (const { host } of net.servers) host.routes.add({ ...route, prefix: CLIENT, gateway: VIP });
    }
    const accepted = serve(net, 90_000);
    const clients = Array.from({ length: 12 }, () => request(net, 60_000));
    const done = () => clients.every((e) => e.done) && accepted.flat().filter((e) => e.done).length === 12;
    assert.ok(net.run(60_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [90_000, 0, st.END_NORMAL]);
    net.run(100);
    conserved(net);
    const opened = net.workers.map(({ pipeline }) => pipeline.l4!.core.stats.opened);
    assert.is(
      opened.reduce((a, b) => a + b, 0),
      12,
    );
    assert.ok(
      opened.every((n) => n > 0),
      `each has some: ${opened}`,
    );
  });
}

for (const what of ['servers', 'services'] as const) {
  test(`nat: ${what} that are taken away keep their connections, whichever worker has them`, () => {
    const net = new CrewNetwork({ service: { mode: 'nat' }, workers: 3 });
    const route = { len: 32, port: 1, src: 0, mtu: 0, scope: SCOPE_GLOBAL, metric: 0 };
    for (const { host } of net.servers) host.routes.add({ ...route, prefix: CLIENT, gateway: VIP });
    serve(net, 60_000);
    const clients = Array.from({ length: 12 }, () => request(net, 200_000));
    net.step(16);
    assert.ok(clients.every((e) => e.sent > 0 && !e.done));
    const services = what === 'services' ? [] : net.config.services.map((one) => ({ ...one, dests: [] }));
    for (const { pipeline } of net.workers) followRules(pipeline, { ...net.config, services });
    const done = (): boolean => clients.every((e) => e.done);
    assert.ok(net.run(60_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [60_000, 0, st.END_NORMAL]);
    net.run(100);
    conserved(net);
  });
}

for (const mode of ['nat', 'fnat', 'proxy'] as const) {
  test(`${mode}: a service that is divided anew keeps its connections, whichever worker has them`, () => {
    const more = mode === 'fnat' ? { localAddresses: [VIP] } : {};
    const net = new CrewNetwork({ service: { mode, ...more }, workers: 3 });
    const route = { len: 32, port: 1, src: 0, mtu: 0, scope: SCOPE_GLOBAL, metric: 0 };
    for (const { host } of net.servers) host.routes.add({ ...route, prefix: CLIENT, gateway: VIP });
    serve(net, 60_000);
    const clients = Array.from({ length: 12 }, () => request(net, 200_000));
    net.step(16);
    assert.ok(clients.every((e) => e.sent > 0 && !e.done));
    const persistence = { timeoutMs: 60_000, netmask: -1, expireQuiescent: false };
    const services = net.config.services.map((one) => ({ ...one, mode: 'nat' as const, persistence }));
    for (const { pipeline } of net.workers) followRules(pipeline, { ...net.config, services });
    const done = (): boolean => clients.every((e) => e.done);
    assert.ok(net.run(60_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [60_000, 0, st.END_NORMAL]);
    net.run(100);
    conserved(net);
  });
}

test('fnat: datagrams in fragments are put together at one worker, go on from another, and come back', () => {
  const service = { mode: 'fnat', proto: 'udp', localAddresses: [VIP] } as const;
  const net = new CrewNetwork({ service, workers: 3 });
  const servers = net.servers.map(({ host, ctx }, i) => {
    const socket = new DatagramSocket(ctx, host.udp);
    socket.bind(server(i), 80);
    return socket;
  });
  for (let i = 0; i < 12; i++) {
    const client = new DatagramSocket(net.client.ctx, net.client.host.udp);
    client.bind(CLIENT, 40000 + i);
    const data = pattern(3000 + 500 * i);
    client.sendTo(data, VIP, 80);
    net.run(50);
    const [question, socket] = servers.map((s) => [s.tryReceive(), s] as const).find(([d]) => d !== null) ?? [];
    assert.ok(question, `${i} there`);
    assert.equal(question!.data, data);
    socket!.sendTo(question!.data, question!.addr, question!.port);
    net.run(50);
    assert.equal(client.tryReceive()?.data, data, `${i} back`);
    client.close();
  }
  net.run(100);
  const opened = net.workers.map(({ pipeline }) => pipeline.l4!.core.stats.opened);
  assert.ok(
    opened.every((n) => n > 0),
    `each has some: ${opened}`,
  );
  conserved(net);
});

test('fnat with persistence: all flows of a client meet one worker and one server', () => {
  const persistence = { timeoutMs: 300_000, netmask: -1, expireQuiescent: false };
  const net = new CrewNetwork({ service: { mode: 'fnat', localAddresses: [VIP], persistence }, workers: 3 });
  const accepted = serve(net, 5000);
  const clients = Array.from({ length: 12 }, () => request(net, 5000));
  assert.ok(net.run(60_000, () => clients.every((e) => e.done)));
  for (const e of clients) assert.equal([e.received, e.wrong, e.end], [5000, 0, st.END_NORMAL]);
  assert.equal(accepted.map((list) => list.length).sort(), [0, 12]);
  net.run(100);
  conserved(net);
});

test('persistence with a netmask: all clients behind it meet one worker and one server', () => {
  const persistence = { timeoutMs: 300_000, netmask: -256, expireQuiescent: false };
  const net = new CrewNetwork({ service: { mode: 'fnat', localAddresses: [VIP], persistence }, workers: 3 });
  const accepted = serve(net, 500);
  const addresses = Array.from({ length: 12 }, (_, i) => CLIENT + 100 + i);
  for (const addr of addresses) net.client.host.addresses.add({ addr, prefixLen: 24, port: 1, flags: 1 });
  const clients = addresses.map((addr) => request(net, 500, addr));
  assert.ok(net.run(60_000, () => clients.every((e) => e.done)));
  for (const e of clients) assert.equal([e.received, e.wrong, e.end], [500, 0, st.END_NORMAL]);
  assert.equal(accepted.map((list) => list.length).sort(), [0, 12]);
  net.run(100);
  conserved(net);
});

test('one answers for the VIP: an address is asked for once and answered once', () => {
  const net = transfers({ workers: 3 }, 1, 10, 10);
  const { arp } = net.workers[0]!.pipeline.host.neigh;
  assert.is(arp.speaks, true);
  assert.equal(
    net.workers.slice(1).map(({ pipeline }) => pipeline.host.neigh.arp.speaks),
    [false, false],
  );
  for (const { pipeline } of net.workers)
    assert.ok(pipeline.host.neigh.table.find(CLIENT, 1) !== 0, 'all know the client');
});

test.run();
