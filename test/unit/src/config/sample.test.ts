/** The shipped files load, and to what they say. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatIpv4, parseIpv4 } from '../../../../src/config/address.ts';
import { load, loadFile } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { homeOf, ownAddresses } from '../../../../src/config/own-addresses.ts';

const root = new URL('../../../../', import.meta.url);
const read = (path: string): string => readFileSync(new URL(path, root), 'utf8');
const ip = (text: string): number => parseIpv4(text) as number;

function model(text: string): Config {
  const loaded = load(text, 'lb.conf');
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded.errors));
  return loaded.model;
}

const service = (port: number): Config['services'][number] => ({
  name: `vip:${port}`,
  af: 4,
  proto: 'tcp',
  vip: ip('192.168.100.10'),
  port,
  match: null,
  mode: 'proxy',
  scheduler: 'conhash',
  schedOptions: { key: '5tuple' },
  timeouts: { connectMs: 5000, clientMs: 0, serverMs: 0, finMs: 0 },
  keepAlive: { idleMs: 120_000, intervalMs: 15_000, count: 4 },
  maxHalfOpen: 4096,
  retries: 3,
  localAddresses: [],
  mssClamp: 0,
  timestamps: 'strip',
  connTimeoutMs: 0,
  expireQuiescent: 'off',
  persistence: null,
  onePacket: false,
  fragments: 'reassemble',
  check: null,
  slowStartMs: 0,
  maxConnections: 0,
  queueTimeoutMs: 0,
  proxyProtocol: 'off',
  acceptProxy: [],
  backup: null,
  dests: [
    { name: 'server1', af: 4, ip: ip('192.168.100.11'), port: 80, weight: 1, mac: null },
    { name: 'server2', af: 4, ip: ip('192.168.100.12'), port: 80, weight: 1, mac: null },
  ],
});

const SAMPLE: Config = {
  global: {
    mode: 'proxy',
    logLevel: 'info',
    controlSocket: null,
    ...({ controlMode: '0660', controlGroup: null, user: null, group: null, keepCapabilities: false } as const),
    workers: 1,
    polling: 'adaptive',
    drainTimeoutMs: 10_000,
    accessLog: null,
    slowStartMs: 0,
    xmitTtl: false,
    layer4: false,
    ipipFrom: [],
    timeoutProfile: 'dpvs',
    connTimeouts: { tcpMs: null, tcpFinMs: null, udpMs: null },
  },
  tcp: {
    congestion: 'cubic',
    ecn: 'passive',
    mssClamp: 0,
    userTimeoutMs: 0,
    keepAlive: { idleMs: 120_000, intervalMs: 15_000, count: 4 },
    maxHalfOpen: 16384,
    synCookies: 'auto',
    timeWaitMs: 60_000,
  },
  links: [
    {
      ...({ name: 'tap0', kind: 'tap', device: 'tap0', offload: 'on', mac: '02:00:00:64:00:0a', mtu: 1500 } as const),
      ...{ xdpMode: 'auto', addresses: [], routes: [], exception: null },
      memif: { role: 'client', id: 0, secret: '', queues: 1, ring: 1024 },
    },
  ],
  network: { gateway: ip('192.168.100.1'), prefixLen: 24, localAddresses: [] },
  marks: [],
  services: [service(80), service(8080)],
};

test('the sample is one service per port of the VIP', () => {
  assert.equal(model(read('config/lb.conf')), SAMPLE);
});

test('the sample has comments in more than one language and at the end of lines', () => {
  const text = read('config/lb.conf');
  assert.match(text, /= .*# .*[\u4e00-\u9fff]/);
  assert.match(text, /= .*; .*[\u4e00-\u9fff]/);
});

test('byte order mark, CRLF, CR and missing last line end make no difference', () => {
  const text = read('config/lb.conf');
  for (const variant of [
    `\ufeff${text}`,
    text.replaceAll('\n', '\r\n'),
    text.replaceAll('\n', '\r'),
    text.trimEnd(),
    text.replaceAll(' = ', '='),
    text.replaceAll(' = ', '\t =\t '),
  ]) {
    assert.equal(model(variant), SAMPLE);
  }
});

test('comments in an encoding other than UTF-8 do no harm', () => {
  const gbk = Buffer.concat([Buffer.from('# '), Buffer.from([0xb8, 0xba, 0xd4, 0xd8]), Buffer.from('\n')]);
  assert.equal(model(gbk.toString('utf8') + read('config/lb.conf')), SAMPLE);
});

test('the model is plain data that survives the way to a worker', () => {
  const config = model(read('config/samples/proxy-two-services.conf'));
  assert.equal(structuredClone(config), config);
  assert.equal(JSON.parse(JSON.stringify(config)), config);
});

test('the sample with two services has their schedulers, timeouts, link and local address', () => {
  const loaded = loadFile(new URL('config/samples/proxy-two-services.conf', root).pathname);
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded.errors));
  const { services, links, network, global } = loaded.model;
  assert.equal(
    services.map(({ name, scheduler, schedOptions, retries }) => ({ name, scheduler, schedOptions, retries })),
    [
      { name: 'web:80', scheduler: 'conhash', schedOptions: { key: 'source' }, retries: 1 },
      { name: 'web:8080', scheduler: 'conhash', schedOptions: { key: 'source' }, retries: 1 },
      { name: 'db', scheduler: 'rr', schedOptions: {}, retries: 3 },
    ],
  );
  assert.equal(services[0].timeouts, { connectMs: 2000, clientMs: 900_000, serverMs: 900_000, finMs: 120_000 });
  assert.equal(services[2].timeouts, { connectMs: 500, clientMs: 0, serverMs: 0, finMs: 0 });
  assert.equal(services[2].dests[1].mac, '02:00:00:64:00:0e');
  assert.equal(links[0].name, 'lan');
  assert.equal(network.localAddresses.map(formatIpv4), ['192.168.100.20']);
  assert.equal([global.controlSocket, global.drainTimeoutMs], ['/run/tsvs.sock', 30_000]);
});

test('without a mac our own is made of the VIP', () => {
  const text = read('config/lb.conf').replace(/^mac = .*$/m, '');
  assert.is(model(text).links[0].mac, '02:00:c0:a8:64:0a');
});

test('links have networks of their own, and a packet link takes the MAC address of its interface', () => {
  const text = read('config/lb.conf').replace(
    /^\[network\]/m,
    `[link wan]
device = tap0
[link lan]
kind = packet
device = eth1
address = 10.1.0.2/24, 10.2.0.2/16
routes = 10.5.0.0/16 via 10.1.0.254
[network]`,
  );
  const config = model(text);
  const [wan, lan] = config.links;
  assert.equal([wan.kind, wan.mac, wan.addresses], ['tap', '02:00:00:64:00:0a', []]);
  assert.equal([lan.kind, lan.device, lan.mac], ['packet', 'eth1', null]);
  assert.equal(lan.addresses, [
    { ip: ip('10.1.0.2'), prefixLen: 24 },
    { ip: ip('10.2.0.2'), prefixLen: 16 },
  ]);
  assert.equal(lan.routes, [{ network: ip('10.5.0.0'), prefixLen: 16, gateway: ip('10.1.0.254') }]);
  assert.equal(homeOf(config, ip('10.2.7.7')), { link: 1, prefixLen: 16 });
  assert.equal(homeOf(config, ip('192.168.100.10')), { link: 0, prefixLen: 24 });
  assert.equal(ownAddresses(config).get(ip('10.1.0.2')), 'local');
});

test('a single port gives the service the plain name', () => {
  assert.equal(
    model(read('config/lb.conf').replace('80,8080', '80')).services.map(({ name }) => name),
    ['vip'],
  );
});

test.run();
