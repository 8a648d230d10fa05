/** The layer-4 director between whole hosts: real TCP streams and datagrams through it, in each mode. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import * as st from '../../stack/tcp/state.ts';
import { Endpoint, type EndpointPlan, listen } from '../lib/endpoint.ts';
import { CLIENT, L4Network, MODE_NAMES, PORT, VIP } from '../lib/l4-net.ts';
import { outstanding } from '../lib/sim.ts';

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

test.run();
