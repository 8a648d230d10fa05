/** What [tcp] and the keys of a service about TCP do to the connections of the proxy, from the start and by a reload. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { applyTo } from '../../src/config/actions.ts';
import { diff } from '../../src/config/diff.ts';
import type { Config, TcpSettings } from '../../src/config/model.ts';
import { Applier } from '../../src/workers/apply.ts';
import type { Command } from '../../src/workers/commands.ts';
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import type { TcpTuning } from '../../stack/tcp/config.ts';
import * as st from '../../stack/tcp/state.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import { BalancedNetwork, type BalancerOptions, server } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { seeded } from '../lib/random.ts';
import type { SimHost } from '../lib/sim.ts';

/** Five milliseconds each way. */
const distant = (device: Device, ctx: Context): Device => {
  const rules = { ...NO_FAULTS, delayMicros: 5000 };
  return new Fault(ctx, device, { rx: rules, tx: rules, capacity: 4096 }, seeded(1));
};

type Closing = 'sending' | 'peer' | 'never';

/** One client, one server, which sends so many bytes. */
class Rig extends BalancedNetwork {
  readonly accepted: Endpoint[];
  private readonly applier: Applier;
  private current: Config;

  constructor(options: BalancerOptions = {}, send = 5, closeAfter: Closing = 'never') {
    super({ servers: 1, ...options });
    this.accepted = listen(this.servers[0]!.host, server(0), 80, () => ({ salt: 2, peerSalt: 1, send, closeAfter }));
    this.applier = new Applier(this.balancer, this.config);
    this.current = this.config;
  }

  request(send = 5, closeAfter: Closing = 'never'): Endpoint {
    const e = new Endpoint(this.client.host, { salt: 1, peerSalt: 2, send, closeAfter });
    e.tcb = this.connect(e);
    return e;
  }

  /** Changes [tcp] as a reload does. */
  reload(tcp: Partial<TcpSettings>): void {
    const { actions, refused } = diff(this.current, { ...this.current, tcp: { ...this.current.tcp, ...tcp } });
    assert.equal(refused, []);
    const commands = JSON.parse(JSON.stringify(actions)) as Command[];
    this.applier.apply({ version: this.applier.version + 1, commands });
    this.current = applyTo(this.current, actions);
  }

  get clientEnd(): Tcb {
    return tcbs(this.client)[0]!;
  }

  get serverEnd(): Tcb {
    return tcbs(this.servers[0]!)[0]!;
  }

  get cookies(): number {
    return this.balancer.host.tcp.stats.cookiesSent;
  }
}

const tcbs = ({ host }: SimHost): Tcb[] =>
  host.tcp.blocks.filter((tcb): tcb is Tcb => tcb !== null && tcb.state !== st.CLOSED);

/** A client or server that is set otherwise than hosts are here. */
function tune({ host }: SimHost, change: Partial<TcpTuning>): void {
  host.tcp.tune({ ...host.tcp.config, ...change });
}

for (const [word, withClient, withServer] of [
  ['off', 0, 0],
  ['passive', 1, 0],
  ['on', 1, 1],
] as const) {
  test(`ecn = ${word}: with a client that asks ${withClient ? 'yes' : 'no'}, with the server ${withServer ? 'yes' : 'no'}`, () => {
    const rig = new Rig({ tcp: { ecn: word } });
    tune(rig.client, { ecn: 'on' });
    rig.request();
    rig.run(500);
    assert.equal([rig.clientEnd.ecnOk, rig.serverEnd.ecnOk], [withClient, withServer]);
  });
}

test('congestion: what is chosen runs the connections', () => {
  for (const congestion of ['cubic', 'reno'] as const) {
    const rig = new Rig({ tcp: { congestion } });
    assert.is(rig.balancer.host.tcp.config.congestion.name, congestion);
    rig.request();
    rig.run(200);
    // Half of what is in flight is left after a loss, or seven tenths: RFC 5681 §3.1, RFC 9438 §4.6.
    const [tcb] = tcbs({ host: rig.balancer.host } as SimHost);
    const left = rig.balancer.host.tcp.config.congestion.ssthresh(tcb!, 100_000, false);
    assert.is(left, congestion === 'reno' ? 50_000 : 70_000);
  }
});

test('mss_clamp: neither end is sent larger segments, nor told that it may send them; a reload changes it', () => {
  const rig = new Rig({ tcp: { mssClamp: 900 } }, 20_000);
  const client = rig.request(20_000);
  rig.run(1000);
  assert.equal([rig.clientEnd.peerMss, rig.serverEnd.peerMss], [900, 900]);
  assert.is(client.received, 20_000);
  assert.ok(rig.clientEnd.rcvMss <= 900, `segments of ${rig.clientEnd.rcvMss}`);
  rig.reload({ mssClamp: 0 });
  rig.request();
  rig.run(500);
  assert.equal(
    tcbs(rig.client).map((tcb) => tcb.peerMss),
    [900, 1460],
  );
});

test('user_timeout: a client that acknowledges nothing for so long is given up, without it not', () => {
  for (const userTimeoutMs of [5000, 0]) {
    const keepAlive = { idleMs: 0, intervalMs: 1000, count: 1 };
    const rig = new Rig({ wrap: distant, tcp: { userTimeoutMs, keepAlive } }, 1_000_000);
    const client = rig.request();
    assert.ok(rig.run(1000, () => client.received > 0));
    rig.unplugClient();
    rig.run(4000);
    assert.is(rig.balancer.proxy.open, 1);
    rig.run(4000);
    assert.is(rig.balancer.proxy.open, userTimeoutMs === 0 ? 1 : 0, `user timeout ${userTimeoutMs} ms`);
  }
});

test('keepalive: a silent end is asked after idle, count times, an interval apart; then the session ends', () => {
  const keepAlive = { idleMs: 3000, intervalMs: 500, count: 2 };
  const rig = new Rig({ tcp: { keepAlive } });
  rig.request();
  rig.run(1000);
  rig.unplugClient();
  rig.run(2500);
  assert.is(rig.balancer.proxy.open, 1);
  rig.run(1500); // 3000 + 2 x 500 since it was last heard
  assert.is(rig.balancer.proxy.open, 0);
});

test('keepalive: a service has its own, and idle 0 never asks', () => {
  for (const [idleMs, open] of [
    [1000, 0],
    [0, 1],
  ] as const) {
    const rig = new Rig({ service: { keepAlive: { idleMs, intervalMs: 100, count: 1 } } });
    rig.request();
    rig.run(500);
    rig.unplugClient();
    rig.run(600_000);
    assert.is(rig.balancer.proxy.open, open, `idle ${idleMs} ms`);
  }
});

/** Opens three connections at once: their SYNs arrive before any acknowledgment. Returns how many get through. */
function burst(rig: Rig): number {
  const clients = Array.from({ length: 3 }, () => rig.request(5, 'never'));
  rig.run(500);
  return clients.filter((client) => client.received === 5).length;
}

test('max_half_open and syn_cookies: what is beyond is answered with cookies, or dropped', () => {
  for (const [what, options] of [
    ['over all services', { tcp: { maxHalfOpen: 1 } }],
    ['of the service', { service: { maxHalfOpen: 1 } }],
  ] as const) {
    const rig = new Rig(options);
    assert.is(burst(rig), 3, what);
    assert.is(rig.cookies, 2, what);
    const without = new Rig({ ...options, tcp: { ...('tcp' in options && options.tcp), synCookies: 'off' } });
    assert.is(burst(without), 1, `${what}, without cookies: the others will try again`);
    assert.equal([without.cookies, without.balancer.host.tcp.stats.listenDrops], [0, 2], what);
  }
});

test('syn_cookies = always: every SYN is answered so; a reload to auto ends that', () => {
  const rig = new Rig({ tcp: { synCookies: 'always' } });
  assert.is(burst(rig), 3);
  assert.is(rig.cookies, 3);
  rig.reload({ synCookies: 'auto' });
  assert.is(burst(rig), 3);
  assert.is(rig.cookies, 3);
});

test('time_wait: closed connections are remembered for so long; a reload holds for those, too', () => {
  for (const [timeWaitMs, reloaded] of [
    [2000, null],
    [60_000, 2000],
  ] as const) {
    const rig = new Rig({ tcp: { timeWaitMs } }, 5, 'sending');
    const client = rig.request(5, 'sending');
    assert.ok(rig.run(3000, () => client.done));
    if (reloaded !== null) rig.reload({ timeWaitMs: reloaded });
    const { timeWait } = rig.balancer.host.tcp;
    rig.run(1500);
    assert.ok(timeWait.size > 0, 'one of the two connections was closed by us first');
    rig.run(1000);
    assert.is(timeWait.size, 0);
  }
});

test('a reload of ecn, user_timeout and max_half_open holds for what comes; sessions go on', () => {
  const rig = new Rig();
  const old = rig.request();
  rig.run(500);
  rig.reload({ userTimeoutMs: 1000, maxHalfOpen: 1, ecn: 'on' });
  assert.is(burst(rig), 3);
  assert.is(rig.cookies, 2);
  assert.equal(
    tcbs(rig.servers[0]!).map((tcb) => tcb.ecnOk),
    [0, 1, 1, 1],
  );
  assert.equal([old.end, old.received], [-1, 5]);
});

test.run();
