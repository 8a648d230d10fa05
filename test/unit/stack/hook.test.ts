/** Hooks: who is asked, where, in which order, and what their verdict does. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_NOT_LOCAL, IP_TTL } from '../../../stack/drop.ts';
import { FORWARD, type Hook, Hooks, LOCAL_IN, LOCAL_OUT, POST_ROUTING, PRE_ROUTING } from '../../../stack/hook.ts';
import { DatagramSocket } from '../../../stack/socket/datagram.ts';
import { DELIVERED, DROP, PASS } from '../../../stack/verdict.ts';
import * as ipv4 from '../../../stack/wire/ipv4.ts';
import { pattern } from '../../lib/ip-bench.ts';
import { ip, outstanding, pair, Sim } from '../../lib/sim.ts';

const POINTS = { PRE_ROUTING, LOCAL_IN, FORWARD, LOCAL_OUT, POST_ROUTING };

test('hooks of a point are asked by priority until one does not pass', () => {
  const hooks = new Hooks();
  const asked: string[] = [];
  const hook = (name: string, verdict: number): Hook => ({
    packet: () => {
      asked.push(name);
      return verdict;
    },
  });
  const last = hook('last', PASS);
  hooks.register(PRE_ROUTING, 300, last);
  hooks.register(PRE_ROUTING, 100, hook('first', PASS));
  hooks.register(PRE_ROUTING, 200, hook('second', PASS));
  hooks.register(PRE_ROUTING, 200, hook('third', PASS));
  assert.is(hooks.run(PRE_ROUTING, 1), PASS);
  assert.equal(asked.splice(0), ['first', 'second', 'third', 'last']);
  hooks.register(PRE_ROUTING, 150, hook('drops', DROP | IP_TTL));
  assert.is(hooks.run(PRE_ROUTING, 1), DROP | IP_TTL);
  assert.equal(asked.splice(0), ['first', 'drops']);
  assert.is(hooks.run(LOCAL_IN, 1), PASS);
});

test('a point is used while somebody is registered there', () => {
  const hooks = new Hooks();
  const hook = { packet: () => PASS };
  assert.is(hooks.used, 0);
  hooks.register(FORWARD, 1, hook);
  assert.is(hooks.used, 1 << FORWARD);
  hooks.unregister(FORWARD, { packet: () => PASS });
  assert.is(hooks.used, 1 << FORWARD);
  hooks.unregister(FORWARD, hook);
  assert.is(hooks.used, 0);
});

test('a datagram in fragments passes the points of sender and receiver as it should', () => {
  const hosts = pair(1);
  const sim = new Sim(hosts);
  const passed: Record<string, number[]> = {};
  hosts.forEach(({ host, ctx }, i) => {
    for (const [name, point] of Object.entries(POINTS)) {
      host.hooks.register(point, 0, {
        packet: (f) => {
          assert.is(ctx.pool.off[f], ctx.pool.l3[f], name);
          (passed[`${'ab'[i]} ${name}`] ??= []).push(ipv4.totalLength(ctx.pool.buf, ctx.pool.l3[f]!));
          return PASS;
        },
      });
    }
  });
  const [a, b] = hosts.map(({ host, ctx }) => new DatagramSocket(ctx, host.udp));
  b!.bind(0, 7);
  a!.sendTo(pattern(2000), ip('10.0.0.2'), 7);
  sim.run(20);
  assert.equal(b!.tryReceive()?.data, pattern(2000));
  assert.equal(passed, {
    'a LOCAL_OUT': [2028],
    'a POST_ROUTING': [1500, 548],
    'b PRE_ROUTING': [1500, 548],
    'b LOCAL_IN': [2028],
  });
});

test('a forwarded packet passes PRE_ROUTING, FORWARD and POST_ROUTING; without forwarding only the first', () => {
  for (const forwarding of [true, false]) {
    const hosts = pair(2);
    const [a, b] = hosts;
    const sim = new Sim(hosts);
    if (forwarding) b.host.enableForwarding();
    const passed: string[] = [];
    for (const [name, point] of Object.entries(POINTS)) {
      b.host.hooks.register(point, 0, {
        packet: () => {
          passed.push(name);
          return PASS;
        },
      });
    }
    const far = { prefix: ip('10.7.0.0'), len: 16, port: 1, metric: 0, src: 0, mtu: 0, scope: 0 };
    a.host.routes.add({ ...far, gateway: ip('10.0.0.2') });
    b.host.routes.add({ ...far, gateway: ip('10.0.0.9') });
    new DatagramSocket(a.ctx, a.host.udp).sendTo(pattern(10), ip('10.7.0.1'), 7);
    sim.run(20);
    assert.equal(passed, forwarding ? ['PRE_ROUTING', 'FORWARD', 'POST_ROUTING'] : ['PRE_ROUTING']);
    if (!forwarding) assert.is(b.ctx.drops[IP_NOT_LOCAL], 1);
  }
});

for (const [name, point] of Object.entries(POINTS))
  test(`a verdict at ${name} is the packet's`, () => {
    const hosts = pair(3);
    const [a, b] = hosts;
    const sim = new Sim(hosts);
    b.host.enableForwarding();
    const atSender = point === LOCAL_OUT || point === POST_ROUTING;
    const where = atSender ? a : b;
    where.host.hooks.register(point, 0, { packet: () => DROP | IP_TTL });
    const socket = new DatagramSocket(b.ctx, b.host.udp);
    socket.bind(0, 7);
    const to = point === FORWARD ? ip('10.7.0.1') : ip('10.0.0.2');
    if (point === FORWARD) {
      const far = { prefix: ip('10.7.0.0'), len: 16, port: 1, metric: 0, src: 0, mtu: 0, scope: 0 };
      a.host.routes.add({ ...far, gateway: ip('10.0.0.2') });
    }
    const sender = new DatagramSocket(a.ctx, a.host.udp);
    if (atSender) assert.throws(() => sender.sendTo(pattern(10), to, 7), /Time to live/);
    else sender.sendTo(pattern(10), to, 7);
    sim.run(20);
    assert.is(socket.tryReceive(), null);
    assert.is(where.ctx.drops[IP_TTL], 1);
    for (const { ctx } of hosts) assert.is(outstanding(ctx), ctx.pool.inUse);
  });

test('a hook may deliver a packet itself', () => {
  const hosts = pair(4);
  const [a, b] = hosts;
  const sim = new Sim(hosts);
  let seen = 0;
  b.host.hooks.register(LOCAL_IN, 0, {
    packet: () => {
      seen++;
      return DELIVERED;
    },
  });
  new DatagramSocket(a.ctx, a.host.udp).sendTo(pattern(10), ip('10.0.0.2'), 7);
  sim.run(20);
  assert.is(seen, 1);
  assert.is(outstanding(b.ctx), b.ctx.pool.inUse);
});

test.run();
