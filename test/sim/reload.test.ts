/** Changes while transfers run: connections go on byte for byte, new ones follow what is new, and a refused batch leaves no trace. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AVAILABLE } from '../../lb/dest.ts';
import { applyTo } from '../../src/config/actions.ts';
import { diff } from '../../src/config/diff.ts';
import type { Config, DestConfig, ServiceConfig } from '../../src/config/model.ts';
import { Applier } from '../../src/workers/apply.ts';
import type { Command } from '../../src/workers/commands.ts';
import { MAX_DESTS } from '../../src/workers/plan.ts';
import type { Context } from '../../stack/context.ts';
import { listNeighbours } from '../../stack/neigh/snapshot.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import * as st from '../../stack/tcp/state.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import { BalancedNetwork, type BalancerOptions, server, VIP } from '../lib/balancer.ts';
import { Endpoint, type EndpointPlan, listen } from '../lib/endpoint.ts';
import { seeded } from '../lib/random.ts';
import { ip, outstanding } from '../lib/sim.ts';

type Closing = EndpointPlan['closeAfter'];

const dest = (i: number, more: Partial<DestConfig> = {}): DestConfig => ({
  ...{ name: `server${i + 1}`, af: 4, ip: server(i), port: 80, weight: 1, mac: null },
  ...more,
});

/** Five milliseconds each way: a transfer lasts long enough to be met in the middle. */
const slow = (device: Device, ctx: Context): Device => {
  const rules = { ...NO_FAULTS, delayMicros: 5000 };
  return new Fault(ctx, device, { rx: rules, tx: rules, capacity: 4096 }, seeded(1));
};

/** A balancer whose configuration is changed as the control thread would change it. */
class Rig extends BalancedNetwork {
  /** What holds now. */
  current: Config;
  readonly applier: Applier;
  readonly accepted: Endpoint[][];

  constructor(options: BalancerOptions = {}, send = 0, closeAfter: Closing = 'sending') {
    super({ wrap: slow, ...options });
    this.current = this.config;
    this.applier = new Applier(this.balancer, this.config);
    this.accepted = this.servers.map(({ host }, i) =>
      listen(host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send, closeAfter })),
    );
  }

  /** The commands as they come out of the rings. */
  send(commands: readonly Command[]): void {
    const version = this.applier.version + 1;
    this.applier.apply({ version, commands: JSON.parse(JSON.stringify(commands)) as Command[] });
  }

  change(make: (config: Config) => Partial<Config>): void {
    const { actions, refused } = diff(this.current, { ...this.current, ...make(this.current) }, { layer4: true });
    assert.equal(refused, []);
    this.send(actions);
    this.current = applyTo(this.current, actions);
  }

  /** Changes the first service. */
  edit(change: Partial<ServiceConfig>): void {
    this.change(({ services: [first, ...others] }) => ({ services: [{ ...first!, ...change }, ...others] }));
  }

  /** A state for a server of the first service. */
  state(i: number, state: 'ready' | 'drain' | 'maint'): void {
    this.send([{ do: 'setState', at: this.current.services[0]!, server: dest(i), state }]);
  }

  request(send: number, closeAfter: Closing = 'sending', port = 80, vip = VIP): Endpoint {
    const e = new Endpoint(this.client.host, { salt: 1, peerSalt: 2, send, closeAfter });
    e.tcb = this.connect(e, port, vip);
    return e;
  }

  /** Connections each server has got. */
  get counts(): number[] {
    return this.accepted.map((each) => each.length);
  }

  isLocal(addr: number): boolean {
    return this.balancer.host.addresses.isLocal(addr);
  }

  /** A second passes, and with it the look for addresses that nobody uses. */
  sweep(): void {
    this.run(1100);
    this.applier.sweep(this.ctx.nowMs);
  }
}

function assertWhole(client: Endpoint, sent: number, received: number): void {
  assert.equal([client.end, client.received, client.wrong], [st.END_NORMAL, received, 0]);
  assert.is(client.sent, sent);
}

test('transfers run on, byte for byte, while servers, weights, scheduler, timeouts and services change', () => {
  const rig = new Rig({ servers: 4, service: { dests: [dest(0), dest(1)] } }, 300_000);
  const early = Array.from({ length: 6 }, () => rig.request(200_000));
  assert.ok(rig.run(1000, () => rig.accepted.flat().length === 6 && early.every((e) => e.received > 0)));
  assert.ok(
    early.every((e) => !e.done),
    'in the middle of it',
  );
  assert.equal(rig.counts, [3, 3, 0, 0]);

  rig.change(({ services: [web] }) => ({
    services: [
      {
        ...{ ...web!, scheduler: 'wrr', retries: 1, timeouts: { ...web!.timeouts, clientMs: 60_000 } },
        dests: [dest(1, { weight: 2 }), dest(2), dest(3)],
      },
      { ...web!, name: 'second', port: 8080, dests: [dest(3)] },
    ],
  }));
  const late = Array.from({ length: 8 }, () => rig.request(10));
  const second = rig.request(10, 'sending', 8080);
  assert.ok(rig.run(30_000, () => [...early, ...late, second].every((e) => e.done)));
  for (const e of early) assertWhole(e, 200_000, 300_000);
  for (const e of [...late, second]) assertWhole(e, 10, 300_000);
  assert.equal(rig.counts, [3, 3 + 4, 2, 2 + 1], 'new connections follow weights 2, 1, 1; the first server got none');
  for (const e of rig.accepted.flat()) assert.is(e.wrong, 0);
  rig.run(100);
  assert.is(rig.balancer.proxy.open, 0);
  assert.is(outstanding(rig.ctx), rig.ctx.pool.inUse);
});

test('counters stay: of a server that is edited, one that comes back, a service that comes back', () => {
  const rig = new Rig({ servers: 2 }, 100);
  const done = Array.from({ length: 4 }, () => rig.request(10));
  assert.ok(rig.run(5000, () => done.every((e) => e.done)));
  const { dests, services } = rig.balancer;
  const conns = (): number[] => [0, 1].map((i) => dests.conns[dests.find(1, server(i), 80)]!);
  assert.equal(conns(), [2, 2]);
  rig.edit({ dests: [dest(0, { weight: 9 })] });
  assert.equal(conns(), [2, 2]);
  rig.edit({ dests: [dest(0), dest(1)] });
  assert.equal(conns(), [2, 2]);
  const [web] = rig.current.services;
  rig.change(() => ({ services: [] }));
  rig.change(() => ({ services: [web!] }));
  assert.equal(conns(), [2, 2]);
  assert.is(services.columns.conns[services.lookup(PROTO_TCP, VIP, 80)], 4);
});

test('slow start: a server that is added, or comes back from drain, gets its share step by step', () => {
  const slowStart: BalancerOptions['service'] = { scheduler: 'wrr', slowStartMs: 10_000, dests: [dest(0), dest(1)] };
  const rig = new Rig({ servers: 3, service: slowStart }, 5, 'never');
  const part = (i: number): number => {
    const before = rig.counts;
    const clients = Array.from({ length: 60 }, () => rig.request(5, 'never'));
    rig.run(50);
    for (const client of clients) client.abort();
    rig.run(50);
    return rig.counts[i]! - before[i]!;
  };
  assert.equal([part(0), part(1)], [30, 30], 'who is there from the start has its share');
  rig.edit({ dests: [dest(0), dest(1), dest(2)] });
  assert.ok(part(2) <= 2);
  rig.run(5000);
  assert.ok(part(2) >= 10 && part(2) <= 14, 'a fifth');
  rig.run(5000);
  assert.is(part(2), 20);
  rig.state(0, 'drain');
  assert.is(part(0), 0);
  rig.state(0, 'ready');
  assert.ok(part(0) <= 2);
  rig.edit({ slowStartMs: 0 });
  rig.run(200);
  assert.is(part(0), 20);
});

test('a removed server keeps its session until it ends; then nobody holds its row', () => {
  const rig = new Rig({ servers: 2, service: { dests: [dest(0)] } }, 0, 'peer');
  const old = rig.request(1000, 'never');
  assert.ok(rig.run(2000, () => rig.accepted[0]![0]?.received === 1000));
  rig.edit({ dests: [dest(1)] });
  const row = rig.balancer.dests.find(1, server(0), 80);
  assert.is(rig.balancer.dests.refs[row], 1);
  const next = rig.request(5, 'never');
  assert.ok(rig.run(2000, () => rig.accepted[1]![0]?.received === 5));
  assert.not.ok(old.done);
  old.abort();
  next.abort();
  rig.run(200);
  assert.is(rig.balancer.dests.refs[row], 0);
});

test('a removed service: its session goes on, new connections are refused, its address goes with the last session', () => {
  const vip2 = ip('10.0.0.12');
  const rig = new Rig({ servers: 1, more: [{ name: 'second', vip: vip2 }] }, 50_000, 'peer');
  const old = rig.request(40_000, 'sending', 80, vip2);
  assert.ok(rig.run(1000, () => old.received > 0));
  assert.not.ok(old.done);
  rig.change(({ services }) => ({ services: services.slice(0, 1) }));
  const refused = rig.request(1, 'sending', 80, vip2);
  assert.ok(rig.run(1000, () => refused.done));
  assert.is(refused.end, st.END_REFUSED);
  const keeps = rig.request(1, 'never');
  assert.ok(rig.run(5000, () => old.done));
  assertWhole(old, 40_000, 50_000);
  assert.not.ok(keeps.done);
  rig.run(200);
  rig.sweep();
  assert.not.ok(rig.isLocal(vip2));
  assert.ok(rig.isLocal(VIP));
});

test('an address in use stays; one that is wanted again before it went stays for good', () => {
  const vip2 = ip('10.0.0.12');
  const rig = new Rig({ servers: 1, more: [{ name: 'second', vip: vip2 }] }, 10, 'never');
  const { services } = rig.current;
  const idle = rig.request(10, 'never', 80, vip2);
  assert.ok(rig.run(1000, () => idle.received === 10));
  rig.change(() => ({ services: services.slice(0, 1) }));
  rig.sweep();
  assert.ok(rig.isLocal(vip2));
  rig.change(() => ({ services }));
  idle.abort();
  rig.run(100);
  rig.sweep();
  assert.ok(rig.isLocal(vip2));
  const again = rig.request(10, 'never', 80, vip2);
  assert.ok(rig.run(1000, () => again.received === 10));
});

test('who was halfway through the handshake of a removed service is refused; so is who sought another server', () => {
  const rig = new Rig({
    servers: 2,
    service: { retries: 3, timeouts: { connectMs: 500, clientMs: 0, serverMs: 0, finMs: 0 } },
  });
  const silent = ip('10.0.0.99');
  rig.edit({ dests: [dest(0, { ip: silent, mac: '02:00:00:00:00:99' })] });
  const seeking = rig.request(1, 'never');
  rig.run(100);
  assert.is(rig.balancer.proxy.open, 1);
  const half = rig.request(1, 'never');
  for (let i = 0; i < 3; i++) rig.stepOnce();
  rig.change(() => ({ services: [] }));
  assert.ok(rig.run(3000, () => seeking.done && half.done));
  assert.not.equal([seeking.end, half.end], [st.END_NORMAL, st.END_NORMAL]);
  assert.is(rig.balancer.proxy.open, 0);
});

test('a drained server finishes what it has, gets nothing new, and comes back; its weight is untouched', () => {
  const rig = new Rig({ servers: 2 }, 200_000);
  const old = [rig.request(100_000), rig.request(100_000)];
  assert.ok(rig.run(1000, () => rig.accepted.flat().length === 2));
  rig.state(0, 'drain');
  const during = Array.from({ length: 4 }, () => rig.request(10));
  assert.ok(rig.run(20_000, () => [...old, ...during].every((e) => e.done)));
  for (const e of old) assertWhole(e, 100_000, 200_000);
  for (const e of during) assertWhole(e, 10, 200_000);
  assert.equal(rig.counts, [1, 5]);
  assert.is(rig.balancer.dests.weight[rig.balancer.dests.find(1, server(0), 80)], 1);

  rig.edit({ dests: [dest(0, { weight: 3 }), dest(1)] });
  const still = rig.request(10);
  assert.ok(rig.run(5000, () => still.done));
  assert.equal(rig.counts, [1, 6], 'a reload does not end it');
  rig.state(0, 'ready');
  const after = Array.from({ length: 4 }, () => rig.request(10));
  assert.ok(rig.run(20_000, () => after.every((e) => e.done)));
  assert.equal(rig.counts, [3, 8]);
});

test('maintenance: the sessions that are left are reset when it is due, those of others are not', () => {
  const rig = new Rig({ servers: 2 }, 10, 'never');
  const sessions = [rig.request(10, 'never'), rig.request(10, 'never')];
  assert.ok(rig.run(1000, () => sessions.every((e) => e.received === 10)));
  rig.state(0, 'maint');
  rig.run(500);
  assert.ok(sessions.every((e) => !e.done));
  rig.send([{ do: 'resetServer', at: rig.current.services[0]!, server: dest(0) }]);
  rig.run(100);
  assert.equal(sessions.map((e) => e.end).sort(), [-1, st.END_RESET]);
  assert.ok(rig.accepted[0]![0]!.done);
  assert.not.ok(rig.accepted[1]![0]!.done);
});

test('local addresses: sessions keep the old one, new ones leave from the new one', () => {
  const [one, other] = [server(200), server(201)];
  const rig = new Rig({ servers: 1, localAddresses: [one] }, 10, 'never');
  const old = rig.request(10, 'never');
  assert.ok(rig.run(1000, () => old.received === 10));
  rig.change(({ network }) => ({ network: { ...network, localAddresses: [other] } }));
  const late = rig.request(10, 'never');
  assert.ok(rig.run(1000, () => late.received === 10));
  assert.equal(
    rig.accepted[0]!.map((e) => e.tcb!.raddr),
    [one, other],
  );
  rig.sweep();
  assert.ok(rig.isLocal(one));
  old.abort();
  rig.run(100);
  rig.sweep();
  assert.not.ok(rig.isLocal(one));
});

for (const mode of ['fnat'] as const) {
  test(`layer 4, ${mode}: connections of a removed server and of a removed service go on`, () => {
    const rig = new Rig({ servers: 2, service: { mode, localAddresses: [server(200)], dests: [dest(0)] } }, 300_000);
    const old = rig.request(200_000);
    assert.ok(rig.run(1000, () => old.received > 0));
    rig.edit({ dests: [dest(1)] });
    const next = rig.request(200_000);
    assert.ok(rig.run(1000, () => next.received > 0));
    assert.equal(rig.counts, [1, 1]);
    rig.change(() => ({ services: [] }));
    const refused = rig.request(1);
    rig.sweep();
    assert.ok(rig.run(30_000, () => old.done && next.done && refused.done));
    for (const e of [old, next]) assertWhole(e, 200_000, 300_000);
    assert.is(refused.end, st.END_REFUSED);
  });
}

test('a service changes from the proxy to layer 4 and back: sessions go on, new connections go the new way', () => {
  const rig = new Rig({ servers: 1 }, 300_000);
  const l4 = rig.balancer.l4!;
  const first = rig.request(2_000_000);
  assert.ok(rig.run(1000, () => first.received > 0));
  rig.edit({ mode: 'fnat', localAddresses: [server(200)] });
  const second = rig.request(200_000);
  assert.ok(rig.run(1000, () => second.received > 0));
  assert.equal([l4.tcp.size(), rig.balancer.proxy.open], [1, 1]);
  rig.edit({ mode: 'proxy', localAddresses: [] });
  const third = rig.request(200_000);
  assert.ok(rig.run(30_000, () => [first, second, third].every((e) => e.done)));
  assertWhole(first, 2_000_000, 300_000);
  for (const e of [second, third]) assertWhole(e, 200_000, 300_000);
  assert.equal([rig.balancer.proxy.stats.accepted, l4.core.stats.opened], [2, 1]);
});

test('persistence is switched on and off: new connections follow it, those that are open go on', () => {
  const service = { mode: 'fnat', localAddresses: [server(200)] } as const;
  const rig = new Rig({ servers: 3, service }, 1000);
  const ask = (): number => {
    const before = rig.counts;
    const e = rig.request(1000);
    assert.ok(rig.run(5000, () => e.done));
    assertWhole(e, 1000, 1000);
    return rig.counts.findIndex((n, i) => n > before[i]!);
  };
  assert.is(new Set([ask(), ask(), ask()]).size, 3);
  rig.edit({ persistence: { timeoutMs: 60_000, netmask: -1, expireQuiescent: false } });
  const chosen = ask();
  assert.equal([ask(), ask()], [chosen, chosen]);
  assert.is(rig.balancer.l4!.templates.table.size(), 1);
  rig.edit({ persistence: null });
  assert.is(new Set([ask(), ask(), ask()]).size, 3);
});

test('marks and services for them come and go: new connections follow, those that are open go on', () => {
  const rig = new Rig({ servers: 2, service: { mode: 'fnat', localAddresses: [server(200)], dests: [dest(0)] } }, 1000);
  const ask = (port: number): Endpoint => {
    const e = rig.request(1000, 'sending', port);
    rig.run(5000, () => e.done);
    return e;
  };
  const to = { low: VIP, high: VIP, lowPort: 80, highPort: 90 };
  const rule = { name: 'web', mark: 7, match: { proto: 'tcp' as const, from: null, to, iif: null, oif: null } };
  const service = {
    ...rig.current.services[0]!,
    name: 'marked',
    proto: 'mark' as const,
    vip: 7,
    port: 0,
    dests: [dest(1)],
  };
  rig.change(({ services }) => ({ marks: [rule], services: [...services, service] }));
  assertWhole(ask(80), 1000, 1000);
  assertWhole(ask(88), 1000, 1000);
  assert.equal(rig.counts, [0, 2]);
  rig.change(() => ({ marks: [] }));
  assertWhole(ask(80), 1000, 1000);
  assert.equal(rig.counts, [1, 2]);
  assert.is(ask(88).end, st.END_REFUSED);
});

test('SNAT is switched on: hosts behind the balancer reach the world by its pool', () => {
  const rig = new Rig({ servers: 2, service: { mode: 'nat', dests: [dest(0)] } }, 1000);
  const from = { low: ip('10.0.0.1'), high: ip('10.0.0.1'), lowPort: 0, highPort: 65535 };
  const match = { proto: 'tcp' as const, from, to: null, iif: null, oif: null };
  const pool = ip('10.0.0.99');
  const snat = {
    mode: 'snat' as const,
    proto: 'match' as const,
    vip: 1,
    port: 0,
    match,
    localAddresses: [pool],
    dests: [],
  };
  rig.change(({ services }) => ({ services: [...services, { ...services[0]!, ...snat, name: 'out' }] }));
  // The client asks the balancer for the way to the server.
  const route = { len: 32, port: 1, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
  rig.client.host.routes.add({ ...route, prefix: server(1), gateway: VIP });
  const e = rig.request(1000, 'sending', 80, server(1));
  assert.ok(rig.run(5000, () => e.done));
  assertWhole(e, 1000, 1000);
  assert.is(rig.balancer.l4!.pools.find(pool)!.used, 1);
  rig.change(({ services }) => ({ services: services.slice(0, 1) }));
  const refused = rig.request(1000, 'sending', 80, server(1));
  rig.run(500, () => refused.done);
  assert.is(refused.received, 0);
});

test('a batch that cannot be has changed nothing', () => {
  const rig = new Rig({ servers: 2 });
  const { services, dests, host } = rig.balancer;
  const state = (): string =>
    JSON.stringify([
      ...[services.ids(), services.destIds(1), services.schedulerName(1), host.addresses.list(), host.routes.list()],
      ...[[...dests.weight], [...dests.flags], rig.applier.version],
    ]);
  const before = state();
  const [web] = rig.current.services;
  const many = Array.from({ length: MAX_DESTS + 1 }, (_, i) => dest(i, { port: 1 + (i % 60_000), ip: server(i >> 8) }));
  const refused: [Command[], RegExp][] = [
    [
      diff(rig.current, { ...rig.current, services: [{ ...web!, dests: many }] }).actions as Command[],
      /no room .* servers/,
    ],
    [
      diff(rig.current, {
        ...rig.current,
        services: Array.from({ length: 257 }, (_, i) => ({ ...web!, name: `s${i}`, port: 1000 + i, dests: [dest(0)] })),
      }).actions as Command[],
      /no room .* services/,
    ],
    [
      [
        { do: 'addAddress', addr: ip('10.0.0.77'), role: 'vip' },
        { do: 'addAddress', addr: ip('224.0.0.1'), role: 'vip' },
      ],
      /address cannot be added/,
    ],
    [[{ do: 'removeServer', at: web!, server: dest(7) }], /no server/],
    [[{ do: 'setState', at: web!, server: dest(7), state: 'drain' }], /no server/],
    [
      [{ do: 'editService', at: web!, settings: { ...web!, scheduler: 'best' as never }, changes: [] }],
      /unknown scheduler/,
    ],
  ];
  for (const [commands, why] of refused) {
    const edit: Command = { do: 'editServer', at: web!, server: dest(0, { weight: 9 }), changes: [] };
    const whole = why.source.includes('server') && commands.length > 100 ? commands : [edit, ...commands];
    assert.throws(() => rig.send(whole), why, `${why}`);
    assert.is(state(), before, `${why}`);
  }
  assert.throws(() => rig.applier.apply({ version: 7, commands: [] }), /does not follow/);
  rig.edit({ dests: [dest(0, { weight: 9 }), dest(1)] });
  assert.is(dests.weight[dests.find(1, server(0), 80)], 9, 'and the next one is taken');
});

// Whatever way led there, the tables say what they would say had tsvs been started so.

const someServer = fc.record({
  i: fc.integer({ min: 0, max: 3 }),
  weight: fc.integer({ min: 0, max: 3 }),
  mac: fc.constantFrom(null, '02:00:00:00:00:71', '02:00:00:00:00:72'),
});
const someService = fc.record({
  vip: fc.constantFrom(VIP, ip('10.0.0.12')),
  port: fc.constantFrom(80, 81),
  mode: fc.constantFrom('proxy' as const, 'fnat' as const),
  scheduler: fc.constantFrom('rr' as const, 'wlc' as const),
  spare: fc.option(fc.integer({ min: 0, max: 3 })),
  servers: fc.uniqueArray(someServer, { minLength: 1, maxLength: 4, selector: ({ i }) => i }),
});
const someConfig = fc.record({
  services: fc.uniqueArray(someService, { maxLength: 4, selector: ({ vip, port }) => `${vip}:${port}` }),
  gateway: fc.constantFrom(null, ip('10.0.0.253'), ip('10.0.0.254')),
  locals: fc.subarray([server(200), server(201)]),
});

test('after any changes the tables are those of a fresh start', () => {
  fc.assert(
    fc.property(fc.array(someConfig, { minLength: 1, maxLength: 5 }), (steps) => {
      const rig = new Rig({ servers: 1 });
      for (const { services, gateway, locals } of steps) {
        const [base] = rig.config.services;
        rig.change(({ network }) => ({
          network: { ...network, gateway, localAddresses: locals },
          services: services.map(({ servers, spare, ...rest }, n) => ({
            ...{ ...base!, ...rest, name: `s${n}` },
            localAddresses: rest.mode === 'fnat' ? [server(210)] : [],
            dests: servers.map(({ i, weight, mac }) => dest(i, { weight, mac })),
            backup: spare === null || servers.some(({ i }) => i === spare) ? null : dest(spare, { name: 'backup' }),
          })),
        }));
      }
      rig.sweep();
      const fresh = new Rig({ servers: 1, config: rig.current });
      assert.equal(tables(rig), tables(fresh));
    }),
    { numRuns: 40 },
  );
});

/** What the data plane decides by, in an order of its own. */
function tables({ balancer }: Rig): object {
  const { services, dests, host, l4 } = balancer;
  const listed = services.ids().map((id) => {
    const { vip, port } = services.columns;
    const servers = services.destIds(id).map((d) => [dests.addr[d], dests.port[d], dests.weight[d], dests.flags[d]]);
    const found = host.tcp.listeners.find(vip[id]!, port[id]!) !== null;
    const held = [...dests.service.keys()].filter(
      (d) => dests.service[d] === id && (dests.flags[d]! & AVAILABLE) !== 0,
    );
    const all = held.map((d) => `${dests.addr[d]}:${dests.port[d]}`).sort();
    const way = [l4!.core.mode[id], l4!.locals.addresses(id), found];
    return [vip[id], port[id], services.schedulerName(id), servers, all, way];
  });
  const text = (one: unknown): string => JSON.stringify(one);
  const macs = listNeighbours(host.neigh.table.words).filter((row) => row.isStatic);
  return {
    services: listed.map(text).sort(),
    addresses: host.addresses.list().map(text).sort(),
    routes: host.routes.list().map(text).sort(),
    neighbours: macs.map(({ ip: addr, macLo }) => text([addr, macLo])).sort(),
  };
}

test.run();
