/** UDP between two whole stacks on one wire: fragments, errors and losses as they really meet. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FRAG_TIMEOUT } from '../../stack/drop.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { DatagramSocket } from '../../stack/socket/datagram.ts';
import { pattern } from '../lib/ip-bench.ts';
import { ip, outstanding, pair, Sim, type SimHost } from '../lib/sim.ts';

const A = ip('10.0.0.1');
const B = ip('10.0.0.2');

const open = ({ host, ctx }: SimHost): DatagramSocket => new DatagramSocket(ctx, host.udp);

function assertConserved(hosts: readonly SimHost[]): void {
  for (const { host, ctx } of hosts) {
    const held = Object.values(host.held()).reduce((sum, n) => sum + n, 0);
    assert.is(ctx.pool.inUse, held);
    assert.is(outstanding(ctx), held);
  }
}

for (const [name, wire] of [
  ['plain Ethernet', PLAIN_WIRE],
  ['offloads', OFFLOAD_WIRE],
  ['an MTU of 576', { ...PLAIN_WIRE, mtu: 576 }],
] as const) {
  test(`datagrams of any size go there and back: ${name}`, () => {
    const hosts = pair(1, wire);
    const [a, b] = hosts;
    const sim = new Sim(hosts);
    const server = open(b);
    server.bind(0, 7);
    const client = open(a);
    for (const size of [0, 1, 548, 1472, 1473, 1900, 2961, 8192, 40_000, 65_507]) {
      client.sendTo(pattern(size), B, 7);
      sim.run(50);
      const question = server.tryReceive();
      assert.equal(question, { data: pattern(size), addr: A, port: client.port, localAddr: B }, `${size} there`);
      server.sendTo(question!.data, question!.addr, question!.port);
      sim.run(50);
      assert.equal(client.tryReceive()?.data, pattern(size), `${size} back`);
    }
    assertConserved(hosts);
  });
}

test('a closed port reports back to the sender, also for a datagram in fragments', () => {
  const hosts = pair(3);
  const [a] = hosts;
  const sim = new Sim(hosts);
  const client = open(a);
  const seen: number[][] = [];
  client.onUnreachable = (...about) => seen.push(about);
  client.sendTo(pattern(10), B, 99);
  client.sendTo(pattern(4000), B, 98);
  sim.run(50);
  assert.equal(seen, [
    [B, 99, 3, 3],
    [B, 98, 3, 3],
  ]);
  assertConserved(hosts);
});

test('a flood to closed ports draws no more errors than the rate allows', () => {
  const hosts = pair(5);
  const [a, b] = hosts;
  const sim = new Sim(hosts);
  const client = open(a);
  client.sendTo(pattern(1), B, 99); // resolves the neighbour
  sim.run(50);
  const before = b.host.icmpError.sent;
  for (let i = 0; i < 200; i++) client.sendTo(pattern(10), B, 99);
  sim.run(10);
  const sent = b.host.icmpError.sent - before;
  assert.ok(sent >= 9 && sent <= 11, `${sent} errors to one host at once`);
  assertConserved(hosts);
});

test('a datagram that lost a fragment ends after 30 seconds', () => {
  let drop = false;
  const hosts = pair(7, PLAIN_WIRE, (device, ctx, side) => {
    if (side === 0) return device;
    const rx = device.rx.bind(device);
    // Loses the last fragment of each datagram while told to.
    device.rx = (out, max) => {
      const n = rx(out, max);
      let kept = 0;
      for (let i = 0; i < n; i++) {
        const f = out[i]!;
        const at = ctx.pool.off[f]! + 14;
        const field = (ctx.pool.buf[at + 6]! << 8) | ctx.pool.buf[at + 7]!;
        const last = (field & 0x2000) === 0 && (field & 0x1fff) !== 0;
        if (drop && last) {
          ctx.pool.release(f);
        } else out[kept++] = f;
      }
      return kept;
    };
    return device;
  });
  const [a, b] = hosts;
  const sim = new Sim(hosts);
  const server = open(b);
  server.bind(0, 7);
  const client = open(a);
  client.sendTo(pattern(1), B, 7);
  sim.run(50);
  server.tryReceive();
  drop = true;
  client.sendTo(pattern(4000), B, 7);
  sim.run(50);
  assert.is(b.host.reassembler.held, 2);
  assertConserved(hosts);
  sim.run(29_900);
  assert.is(b.host.reassembler.held, 2);
  sim.run(200);
  assert.is(b.host.reassembler.held, 0);
  assert.is(b.ctx.drops[FRAG_TIMEOUT], 2);
  assert.is(b.host.icmpError.sent, 1, 'time exceeded about the first fragment');
  assert.is(server.tryReceive(), null);
  assertConserved(hosts);
});

test.run();
