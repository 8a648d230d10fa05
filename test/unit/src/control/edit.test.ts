/** Services, servers and local addresses as the control socket changes them: by the keys of lb.conf, whole or not at all. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { type ErrorReply, localPath, PATHS, serverPath, servicePath } from '../../../../src/control/api.ts';
import { routeList } from '../../../../src/control/network.ts';
import { askPorts } from '../../../../src/control/ports.ts';
import { RunningConfig } from '../../../../src/control/running-config.ts';
import { respond } from '../../../../src/control/server.ts';
import { askWhy } from '../../../../src/control/why.ts';
import type { Batch } from '../../../../src/workers/commands.ts';
import type { Asking } from '../../../../src/workers/questions.ts';
import { CONF, config, fabricate } from './memory.ts';

type Reply = { status: number; body: ErrorReply & Record<string, unknown> };

class Rig {
  readonly batches: Batch[] = [];
  readonly running: RunningConfig;
  readonly snapshot = fabricate().snapshot;

  constructor() {
    const quiet = { info() {}, warn() {}, error() {} };
    this.running = new RunningConfig(config(), {
      file: 'lb.conf',
      load: (file) => load(CONF, file),
      worker: { apply: async (batch) => void this.batches.push(batch) },
      layer4: true,
      log: quiet,
      follow: () => {},
    });
  }

  async ask(method: string, path: string, body?: unknown): Promise<Reply> {
    const text = body === undefined ? '' : typeof body === 'string' ? body : JSON.stringify(body);
    return (await respond(method, path, text, this.snapshot, this.running)) as Reply;
  }

  /** Fails unless it is done. */
  async done(method: string, path: string, body?: unknown): Promise<void> {
    const reply = await this.ask(method, path, body);
    assert.is(reply.status, 200, JSON.stringify(reply.body));
    this.assertShown();
  }

  service(name: string): Config['services'][number] | undefined {
    return this.running.config.services.find((one) => one.name === name);
  }

  /** What is shown loads to what holds. */
  private assertShown(): void {
    const loaded = load(this.running.show().text, 'shown');
    assert.ok('model' in loaded, JSON.stringify(loaded));
    assert.equal({ ...loaded.model, global: null }, { ...this.running.config, global: null });
  }
}

const DNS = {
  ...{ ip: '10.0.0.20', ports: 53, proto: 'udp', mode: 'nat', scheduler: 'wrr', expire_quiescent: true },
  servers: [
    { address: '10.0.0.21:53', weight: 3, upper: 100, lower: 50 },
    { address: '10.0.0.22:53', mac: '02:00:00:00:00:22', name: 'second', mode: 'nat' },
  ],
};

test('a service by the keys of lb.conf: made, replaced, changed, removed', async () => {
  const rig = new Rig();
  await rig.done('PUT', servicePath('dns'), DNS);
  const made = rig.service('dns')!;
  assert.equal([made.proto, made.mode, made.scheduler, made.expireQuiescent], ['udp', 'nat', 'wrr', 'on']);
  assert.equal(
    made.dests.map(({ name, weight, mac, mode, upper, lower }) => [name, weight, mac, mode, upper, lower]),
    [
      ['10.0.0.21:53', 3, null, undefined, 100, 50],
      ['second', 1, '02:00:00:00:00:22', 'nat', undefined, undefined],
    ],
  );
  await rig.done('PATCH', servicePath('dns'), { scheduler: 'rr', expire_quiescent: null });
  assert.equal([rig.service('dns')!.scheduler, rig.service('dns')!.expireQuiescent], ['rr', 'off']);
  assert.equal(rig.service('dns')!.dests, made.dests);
  await rig.done('PUT', servicePath('dns'), { ip: '10.0.0.20', ports: 53, proto: 'udp', mode: 'nat' });
  assert.equal(rig.service('dns')!.dests, []);
  await rig.done('DELETE', servicePath('dns'));
  assert.is(rig.service('dns'), undefined);
  assert.is(rig.running.version, 5);
});

test('servers: added first or last, limits, removed', async () => {
  const rig = new Rig();
  await rig.done('POST', `${servicePath('web')}/servers`, { address: '10.0.0.13:8000', weight: 2 });
  await rig.done('POST', `${servicePath('web')}/servers`, { address: '10.0.0.14:8000', name: 'new', place: 'first' });
  const names = (): string[] => rig.service('web')!.dests.map(({ name }) => name);
  assert.equal(names(), ['new', 'server1', 'server2', '10.0.0.13:8000']);
  const { status } = await rig.ask('PUT', serverPath('web', 'server2'), { upper: 10, lower: 7, weight: 5 });
  assert.is(status, 200);
  const { upper, lower, weight } = rig.service('web')!.dests[2]!;
  assert.equal([upper, lower, weight], [10, 7, 5]);
  await rig.done('DELETE', serverPath('web', 'server1'));
  assert.equal(names(), ['new', 'server2', '10.0.0.13:8000']);
});

test('local addresses: one by one', async () => {
  const rig = new Rig();
  await rig.done('PUT', servicePath('fast'), { ip: '10.0.0.20', ports: 80, mode: 'fnat', local_address: 'none' });
  await rig.done('PUT', localPath('fast', '10.0.0.30'));
  await rig.done('PUT', localPath('fast', '10.0.0.31'));
  assert.is(rig.service('fast')!.localAddresses.length, 2);
  await rig.done('DELETE', localPath('fast', '10.0.0.30'));
  assert.is(rig.service('fast')!.localAddresses.length, 1);
  assert.is((await rig.ask('DELETE', localPath('fast', '10.0.0.30'))).status, 404);
  assert.is((await rig.ask('PUT', localPath('fast', '10.0.0.20'))).status, 422, 'a VIP');
});

test('a whole configuration: put as text, or as it was shown', async () => {
  const rig = new Rig();
  await rig.done('PUT', PATHS.config, CONF.replace('scheduler = rr', 'scheduler = wlc'));
  assert.is(rig.service('web')!.scheduler, 'wlc');
  const { text } = rig.running.show();
  await rig.done('PUT', PATHS.config, { text: text.replace('scheduler = wlc', 'scheduler = lc') });
  assert.is(rig.service('web')!.scheduler, 'lc');
  const bad = await rig.ask('PUT', PATHS.config, CONF.replace('scheduler = rr', 'scheduler = rrr'));
  assert.equal([bad.status, bad.body.code], [422, 'INVALID']);
  assert.match(bad.body.errors![0]!, /^request:\d+: \[service web\] scheduler: 'rrr' is unknown; did you mean/);
});

test('what cannot be is refused with every reason, and changes nothing', async () => {
  const refused = async (method: string, path: string, body: unknown, status: number, words: RegExp): Promise<void> => {
    const rig = new Rig();
    const reply = await rig.ask(method, path, body);
    assert.is(reply.status, status, JSON.stringify(reply.body));
    assert.match(JSON.stringify(reply.body), words);
    assert.equal([rig.batches, rig.running.config], [[], config()]);
  };
  await refused('PUT', servicePath('dns'), { ...DNS, ip: '10.9.0.1' }, 422, /10\.9\.0\.1 is outside the network/);
  await refused('PUT', servicePath('dns'), { ...DNS, shceduler: 'rr' }, 422, /did you mean 'scheduler'/);
  await refused('PUT', servicePath('x]\n[global'), DNS, 422, /is not a name/);
  await refused('PUT', servicePath('dns'), { ...DNS, scheduler: 'rr\nmode = dr' }, 422, /several lines/);
  await refused('PUT', servicePath('web'), { ...DNS, servers: 3 }, 400, /not understood/);
  await refused('PATCH', servicePath('wbe'), { scheduler: 'lc' }, 404, /did you mean 'web'/);
  await refused('DELETE', servicePath('wbe'), undefined, 404, /did you mean/);
  await refused('POST', `${servicePath('web')}/servers`, { address: '10.0.0.11:8000' }, 409, /already/);
  await refused('POST', `${servicePath('web')}/servers`, { address: 'nowhere' }, 422, /ip:port/);
  const service = { kind: 'address', protocol: 'tcp', address: { family: 4, words: [1] }, port: 80 };
  for (const mutation of [
    {},
    { op: 'x' },
    { op: 'add-service' },
    { op: 'delete-service', service: { ...service, port: -1 } },
  ]) {
    await refused('POST', PATHS.ipvs, { mutations: [mutation] }, 400, /not understood/);
  }
  await refused('POST', PATHS.addresses, { address: '10.1.0.2/24', link: 'wan' }, 404, /no link is called 'wan'/);
  await refused('POST', PATHS.routes, { prefix: '10.5.0.0/16', via: '10.77.0.1' }, 422, /router|network/);
  await refused('DELETE', PATHS.routes, { prefix: '0.0.0.0/0' }, 404, /no default route/);
});

test('routes have the MTU that their link has now, local addresses the ports of all workers', async () => {
  const mtus = routeList(config(), [{ name: 'lan', mtu: 1300 }]).routes.map(({ mtu }) => mtu);
  assert.equal([...new Set(mtus)], [1300]);
  const worker: Asking = {
    ask: (_question, w) => Promise.resolve([{ addr: 0x0a000032, used: 3 + w, size: 1000, misses: w }] as never),
    captureMemory: () => [],
    ended: Promise.resolve(),
  };
  assert.equal(await askPorts(worker, 2), { addresses: [{ address: '10.0.0.50', used: 7, free: 993, misses: 1 }] });
});

test('a mistake in a change is told as what it is, without the line of a file that nobody has', async () => {
  const { status, body } = await new Rig().ask('POST', PATHS.routes, { prefix: '10.5.0.0/16', via: '10.77.0.1' });
  assert.is(status, 422);
  assert.equal(body.errors, [
    '[link lan] routes: the router 10.77.0.1 is in no network of this link; correct it, or add an address of its network',
  ]);
});

test('a static neighbour is one host, and only a neighbour can be forgotten', async () => {
  const rig = new Rig();
  const neighbour = { address: '10.0.0.9', link: 'lan', mac: '02:00:00:00:00:09' };
  await rig.done('POST', PATHS.neigh, neighbour);
  await rig.done('DELETE', PATHS.neigh, { address: '10.0.0.11', link: 'lan' });
  for (const [method, more, status, error] of [
    ['POST', { mac: '01:00:5e:00:00:01' }, 400, '01:00:5e:00:00:01 is not the MAC address of one host'],
    ['POST', { mac: '00:00:00:00:00:00' }, 400, '00:00:00:00:00:00 is not the MAC address of one host'],
    ['POST', { address: '224.0.0.1' }, 400, '224.0.0.1 is a multicast address'],
    ['POST', { address: '10.0.0' }, 400, 'address or mac is none'],
    ['DELETE', { address: '10.0.0.99', mac: undefined }, 404, '10.0.0.99 is no neighbour on lan'],
  ] as const) {
    const reply = await rig.ask(method, PATHS.neigh, { ...neighbour, ...more });
    assert.equal([reply.status, reply.body.error], [status, error]);
  }
});

test('questions with values that cannot be say which one', async () => {
  const rig = new Rig();
  for (const [path, error] of [
    [
      `${PATHS.conns}?client=999`,
      'the query is not understood: client is no address: write it as 10.0.0.7 or 10.0.0.7:40000',
    ],
    [
      `${PATHS.conns}?vip=10.0.0.10:65536`,
      'the query is not understood: vip is no address: write it as 10.0.0.7 or 10.0.0.7:40000',
    ],
    [
      `${PATHS.conns}?state=open`,
      'the query is not understood: state is none of NONE, ESTABLISHED, SYN_SENT, SYN_RECV, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK, LISTEN, SYNACK, ONEWAY, NORMAL, ASSURED',
    ],
  ] as const) {
    const reply = await rig.ask('GET', path);
    assert.equal([reply.status, reply.body.error], [400, error]);
  }
  const nobody: Asking = {
    ask: () => Promise.reject(new Error('asked')),
    captureMemory: () => [],
    ended: Promise.resolve(),
  };
  const why = await askWhy('from=10.0.0.1:1&to=10.0.0.10:80&ttl=0', nobody, rig.snapshot, config()).catch(
    (error: Error) => error.message,
  );
  assert.is(why, 'the question is not understood: ttl Too small: expected number to be >=1');
  for (const query of ['client=10.0.0.1', 'vip=10.0.0.10:80', 'state=established', 'state=assured', 'server=server1'])
    assert.is((await rig.ask('GET', `${PATHS.conns}?${query}`)).status, 200, query);
});

test('addresses and routes: what is added is shown, and goes again', async () => {
  const rig = new Rig();
  await rig.done('POST', PATHS.addresses, { address: '10.1.0.2/24', link: 'lan' });
  await rig.done('POST', PATHS.routes, { prefix: '10.5.0.0/16', via: '10.1.0.254' });
  await rig.done('POST', PATHS.routes, { prefix: '0.0.0.0/0', via: '10.0.0.1' });
  const routes = (await rig.ask('GET', PATHS.routes)).body['routes'] as {
    prefix: string;
    via: string;
    scope: string;
  }[];
  assert.equal(
    routes.map(({ prefix, via, scope }) => [prefix, via, scope]),
    [
      ['10.1.0.2', null, 'host'],
      ['10.0.0.10', null, 'host'],
      ['10.1.0.0', null, 'link'],
      ['10.0.0.0', null, 'link'],
      ['10.5.0.0', '10.1.0.254', 'global'],
      ['0.0.0.0', '10.0.0.1', 'global'],
    ],
  );
  const needed = await rig.ask('DELETE', PATHS.addresses, { address: '10.1.0.2', link: 'lan' });
  assert.is(needed.status, 422, 'the router is in its network');
  for (const prefix of ['0.0.0.0/0', '10.5.0.0/16']) await rig.done('DELETE', PATHS.routes, { prefix });
  await rig.done('DELETE', PATHS.addresses, { address: '10.1.0.2', link: 'lan' });
  assert.equal(rig.running.config, { ...config(), global: rig.running.config.global });
});

test.run();
