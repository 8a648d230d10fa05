/** SNAT with two arms: hosts of a network behind the director talk to the world through its other link. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { PROTO_MATCH } from '../../lb/service.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { DatagramSocket } from '../../stack/socket/datagram.ts';
import * as st from '../../stack/tcp/state.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { pattern } from '../lib/ip-bench.ts';
import { L4Network, LOCALS, CLIENT as WORLD } from '../lib/l4-net.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { ip, outstanding, type SimHost } from '../lib/sim.ts';

const INSIDE = ip('10.1.0.50');
const HTTPS = 443;

interface Arms {
  readonly net: L4Network;
  readonly inside: SimHost;
}

function arms(wire: WireOptions = PLAIN_WIRE): Arms {
  const net = new L4Network({ mode: 'NAT', servers: 1, wire });
  const { inside, port } = net.addArm(ip('10.1.0.2'), INSIDE, wire);
  const snat = net.services.add({ proto: PROTO_MATCH, vip: 1, port: 0, scheduler: 'rr' });
  net.services.setDests(
    snat,
    LOCALS.map((addr) => ({ addr, port: 0, weight: 1 })),
  );
  net.l4.setService(snat, layer4Service(c.SNAT, { localAddresses: LOCALS }));
  net.l4.core.classifier.setMatches([[snat, { proto: 0, from: null, to: null, iif: port, oif: 0 }]]);
  return { net, inside };
}

function conserved({ net, inside }: Arms): void {
  for (const { ctx } of [net.client, net.director, inside]) assert.is(outstanding(ctx), ctx.pool.inUse);
  assert.is(net.director.ctx.pool.inUse, 0, JSON.stringify(net.director.host.held()));
}

for (const [name, wire] of [
  ['plain wires', PLAIN_WIRE],
  ['offload wires', OFFLOAD_WIRE],
] as const)
  test(`streams pass both ways byte for byte, under addresses of the pool: ${name}`, () => {
    const made = arms(wire);
    const { net, inside } = made;
    const plan = { closeAfter: 'sending' } as const;
    const accepted = listen(net.client.host, WORLD, HTTPS, () => ({ salt: 2, peerSalt: 1, send: 300_000, ...plan }));
    const clients = Array.from({ length: 4 }, () => {
      const e = new Endpoint(inside.host, { salt: 1, peerSalt: 2, send: 200_000, ...plan });
      e.tcb = inside.host.tcp.connect(INSIDE, 0, WORLD, HTTPS, e, 0);
      return e;
    });
    const peers = new Set<number>();
    const done = (): boolean => {
      const { rows } = net.l4.tcp;
      for (let row = net.l4.tcp.next(0); row !== 0; row = net.l4.tcp.next(row)) {
        peers.add(rows[(row << c.ROW_SHIFT) + c.VADDR]!);
      }
      return clients.every((e) => e.done) && accepted.filter((e) => e.done).length === 4;
    };
    assert.ok(net.run(20_000, done), JSON.stringify(clients.map(({ sent, received, end }) => [sent, received, end])));
    for (const e of clients) assert.equal([e.received, e.wrong, e.end], [300_000, 0, st.END_NORMAL]);
    for (const e of accepted) assert.equal([e.received, e.wrong], [200_000, 0]);
    assert.equal([...peers].sort(), [...LOCALS].sort());
    net.run(100);
    conserved(made);
    assert.is(
      net.run(20_000, () => net.l4.tcp.size() === 0),
      true,
      'connections and ports are given back',
    );
    assert.equal(
      LOCALS.map((addr) => net.l4.pools.find(addr)?.used),
      [0, 0],
    );
  });

test('datagrams, also in fragments, go out from the pool, and their answers come back', () => {
  const made = arms();
  const { net, inside } = made;
  const world = new DatagramSocket(net.client.ctx, net.client.host.udp);
  world.bind(WORLD, 53);
  const host = new DatagramSocket(inside.ctx, inside.host.udp);
  for (const size of [0, 1, 1472, 1473, 8192]) {
    host.sendTo(pattern(size), WORLD, 53);
    net.run(50);
    const question = world.tryReceive();
    assert.ok(question, `${size} out`);
    assert.ok(LOCALS.includes(question.addr), `${size} from the pool`);
    world.sendTo(question.data, question.addr, question.port);
    net.run(50);
    const answer = host.tryReceive();
    assert.equal([answer?.data, answer?.addr, answer?.port], [pattern(size), WORLD, 53], `${size} back`);
  }
  conserved(made);
});

test('the world reaches nobody inside that did not ask', () => {
  const made = arms();
  const { net, inside } = made;
  const host = new DatagramSocket(inside.ctx, inside.host.udp);
  host.bind(INSIDE, 7);
  const world = new DatagramSocket(net.client.ctx, net.client.host.udp);
  for (const addr of LOCALS) world.sendTo(pattern(9), addr, 7);
  net.run(100);
  assert.is(host.tryReceive(), null);
  assert.is(net.l4.open, 0);
});

test.run();
