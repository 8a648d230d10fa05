/** From one configuration to another: applying the difference gives the other, and what needs a restart is refused. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { describeAction, describeRefusal } from '../../../../src/config/action-words.ts';
import { type Action, applyTo } from '../../../../src/config/actions.ts';
import { parseIpv4 } from '../../../../src/config/address.ts';
import { diff } from '../../../../src/config/diff.ts';
import { load } from '../../../../src/config/load.ts';
import { type Config, type DestConfig, EXPIRE_QUIESCENT, type ServiceConfig } from '../../../../src/config/model.ts';
import { ownAddresses } from '../../../../src/config/own-addresses.ts';

const ip = (text: string): number => parseIpv4(text) as number;

const TEXT = `
[link lan]
kind = tap
device = tap0
mac = 02:00:00:00:00:01
[network]
gateway = 10.0.0.1
netmask = 255.255.255.0
[service web]
ip = 10.0.0.10
ports = 80
scheduler = rr
count = 2
server1 = 10.0.0.11:80:1:00:00:00:00:00:00
server2 = 10.0.0.12:80:1:00:00:00:00:00:00
`;

function read(text: string): Config {
  const loaded = load(text, 'lb.conf');
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded.errors));
  return loaded.model;
}

const BASE = read(TEXT);

/** The difference between the file above and the same with some text replaced, in words. */
function words(...replacements: readonly (readonly [string, string])[]): { actions: string[]; refused: string[] } {
  const after = read(replacements.reduce((text, [from, to]) => text.replace(from, to), TEXT));
  const { actions, refused } = diff(BASE, after);
  return { actions: actions.map(describeAction), refused: refused.map(describeRefusal) };
}

// Few values, so that services and servers often are the same ones in both configurations.
const server: fc.Arbitrary<DestConfig> = fc.record({
  name: fc.constantFrom('server1', 'server2', 'server3'),
  af: fc.constant(4 as const),
  ip: fc.constantFrom(...['10.0.0.21', '10.0.0.22', '10.0.0.23'].map(ip)),
  port: fc.constantFrom(80, 81),
  weight: fc.integer({ min: 0, max: 2 }),
  mac: fc.constantFrom(null, '02:00:00:00:00:77'),
});
const service: fc.Arbitrary<ServiceConfig> = fc
  .record({
    name: fc.constantFrom('a', 'b', 'c'),
    proto: fc.constantFrom('tcp' as const, 'udp' as const),
    vip: fc.constantFrom(ip('10.0.0.10'), ip('10.0.0.11')),
    port: fc.constantFrom(80, 443),
    mode: fc.constantFrom('proxy' as const, 'fnat' as const, 'dr' as const),
    scheduling: fc.constantFrom(
      { scheduler: 'rr' as const, schedOptions: {} },
      { scheduler: 'conhash' as const, schedOptions: { key: '5tuple' } },
      { scheduler: 'conhash' as const, schedOptions: { key: 'source' } },
    ),
    timeouts: fc.record({
      connectMs: fc.constantFrom(1000, 2000),
      clientMs: fc.constantFrom(0, 1000),
      serverMs: fc.constant(0),
      finMs: fc.constantFrom(0, 500),
    }),
    retries: fc.integer({ min: 0, max: 1 }),
    localAddresses: fc.subarray([ip('10.0.0.30'), ip('10.0.0.31')]),
    mssClamp: fc.constantFrom(0, 1400),
    timestamps: fc.constantFrom('strip' as const, 'translate' as const),
    connTimeoutMs: fc.constantFrom(0, 30_000),
    expireQuiescent: fc.constantFrom(...EXPIRE_QUIESCENT),
    persistence: fc.constantFrom(null, { timeoutMs: 60_000, netmask: -256, expireQuiescent: true }),
    dests: fc.uniqueArray(server, { minLength: 1, maxLength: 6, selector: (one) => `${one.ip}:${one.port}` }),
  })
  .map(({ scheduling, ...rest }) => ({ ...BASE.services[0]!, ...rest, ...scheduling }));
const config: fc.Arbitrary<Config> = fc
  .record({
    services: fc.uniqueArray(service, {
      maxLength: 5,
      selector: (one) => `${one.proto} ${one.vip} ${one.port}`,
    }),
    gateway: fc.constantFrom(null, ip('10.0.0.1'), ip('10.0.0.2')),
    localAddresses: fc.subarray([ip('10.0.0.31'), ip('10.0.0.32'), ip('10.0.0.10')]),
    global: fc.record({
      mode: fc.constantFrom('proxy' as const, 'nat' as const),
      logLevel: fc.constantFrom('info' as const, 'warn' as const),
      drainTimeoutMs: fc.constantFrom(0, 1000),
      xmitTtl: fc.boolean(),
      connTimeouts: fc.record({
        tcpMs: fc.constantFrom(null, 60_000),
        tcpFinMs: fc.constantFrom(null, 5000),
        udpMs: fc.constantFrom(null, 7000),
      }),
    }),
  })
  .map(({ services, gateway, localAddresses, global }) => ({
    ...BASE,
    global: { ...BASE.global, ...global },
    network: { ...BASE.network, gateway, localAddresses },
    services,
  }))
  // fast-check makes some objects without a prototype.
  .map((made) => structuredClone(made));

test('applying the difference of a and b to a gives b, and its addresses; from b to b there is none', () => {
  fc.assert(
    fc.property(config, config, (a, b) => {
      const { actions, refused } = diff(a, b, { layer4: true });
      assert.equal(refused, []);
      assert.equal(applyTo(a, actions), b);
      assert.equal(diff(b, b, { layer4: true }).actions, []);

      const addresses = ownAddresses(a);
      for (const action of actions) {
        if (action.do === 'addAddress') addresses.set(action.addr, action.role);
        if (action.do === 'removeAddress') addresses.delete(action.addr);
      }
      assert.equal([...addresses].sort(), [...ownAddresses(b)].sort());
    }),
    { numRuns: 500 },
  );
});

test('actions survive the way to the worker: they are plain data', () => {
  fc.assert(
    fc.property(config, config, (a, b) => {
      const { actions } = diff(a, b, { layer4: true });
      assert.equal(JSON.parse(JSON.stringify(actions)) as Action[], actions);
    }),
  );
});

test('[tcp]: what can change while connections exist, and what cannot', () => {
  const head = '\n[link lan]';
  assert.equal(words([head, `\n[tcp]\necn = off\ntime_wait = 5s\nkeepalive_idle = 9s${head}`]), {
    actions: [
      'tcp: ecn passive -> off, keepalive_idle 2m -> 9s, time_wait 1m -> 5s',
      'service web: keepalive_idle 2m -> 9s',
    ],
    refused: [],
  });
  assert.equal(words([head, `\n[tcp]\ncongestion = reno${head}`]), {
    actions: [],
    refused: ['[tcp] congestion = reno (now cubic): is fixed while tsvs runs: restart it'],
  });
});

test('what does not change is not spoken of: sessions, counters and health of the others stay', () => {
  assert.equal(words(['server1 = 10.0.0.11:80:1', 'server1 = 10.0.0.11:80:5']), {
    actions: ['service web: server1 10.0.0.11:80: weight 1 -> 5'],
    refused: [],
  });
});

test('each kind of change in words', () => {
  assert.equal(
    words(
      ['count = 2', 'count = 2\nretries = 1\nclient_timeout = 5m'],
      ['scheduler = rr', 'scheduler = mh'],
      ['10.0.0.12:80:1:00:00', '10.0.0.13:80:4:00:00'],
      ['gateway = 10.0.0.1', 'gateway = 10.0.0.254\nlocal_address = 10.0.0.30'],
      ['[link lan]', '[global]\ndrain_timeout = 1m\n[link lan]'],
    ).actions,
    [
      'global: drain_timeout 10s -> 1m',
      'network: gateway 10.0.0.1 -> 10.0.0.254, local_address (none) -> 10.0.0.30',
      'local address 10.0.0.30 added',
      'service web: scheduler rr -> mh, client_timeout 0 -> 5m, retries 3 -> 1, ' +
        'mh_port (none) -> off, mh_fallback (none) -> off, mh_table (none) -> 4093',
      'service web: server2 10.0.0.12:80 removed: its sessions go on',
      'service web: server2 10.0.0.13:80 added, weight 4',
    ],
  );
});

test('a port more is a service more; an address that goes waits for its sessions', () => {
  assert.equal(
    words(['ports = 80', 'ports = 80,81']).actions,
    [
      'service web:81 10.0.0.10:81 added: proxy, rr over 10.0.0.11:80, 10.0.0.12:80',
      'service web: name web -> web:80',
    ].toReversed(),
  );
  assert.equal(words(['ip = 10.0.0.10', 'ip = 10.0.0.20']).actions, [
    'VIP 10.0.0.20 added',
    'service web 10.0.0.10:80 removed: its sessions go on',
    'service web 10.0.0.20:80 added: proxy, rr over 10.0.0.11:80, 10.0.0.12:80',
    'VIP 10.0.0.10 removed, once no session uses it',
  ]);
});

test('the order of servers is told when only that differs', () => {
  assert.equal(
    words(['10.0.0.11:80', '10.0.0.99:80'], ['10.0.0.12:80', '10.0.0.11:80'], ['10.0.0.99:80', '10.0.0.12:80']).actions,
    [
      'service web: server1 10.0.0.12:80: name server2 -> server1',
      'service web: server2 10.0.0.11:80: name server1 -> server2',
      'service web: order of servers server1, server2',
    ],
  );
});

test('what needs a restart is refused with the key, and nothing else is done', () => {
  const { actions, refused } = words(
    ['device = tap0', 'device = tap1\nmtu = 1400'],
    ['255.255.255.0', '255.255.0.0'],
    ['[link lan]', '[global]\ncontrol_socket = /run/x.sock\n[link lan]'],
    ['server1 = 10.0.0.11:80:1', 'server1 = 10.0.0.11:80:5'],
  );
  assert.equal(actions, []);
  const why = 'is fixed while tsvs runs: restart it';
  assert.equal(refused, [
    `[link lan] device = tap1 (now tap0): ${why}`,
    `[link lan] mtu = 1400 (now 1500): ${why}`,
    `[global] control_socket = /run/x.sock: ${why}`,
    `[network] netmask = 255.255.0.0 (now 255.255.255.0): ${why}`,
  ]);
});

test('layer 4 is refused where the worker has none', () => {
  const { refused } = words(['scheduler = rr', 'scheduler = rr\nmode = nat']);
  assert.equal(refused, [
    '[service web] mode = nat: needs a restart: tsvs was started without layer 4 ([global] layer4 = on has it always)',
  ]);
});

test('actions that speak of what is not there change nothing', () => {
  const at = { ...BASE.services[0]!, name: 'nothing', port: 99 };
  const [dest] = BASE.services[0]!.dests;
  const bad: Action[] = [
    { do: 'removeService', at },
    { do: 'addService', service: BASE.services[0]! },
    { do: 'addServer', at: BASE.services[0]!, server: dest! },
    { do: 'removeServer', at: BASE.services[0]!, server: { ...dest!, port: 9 } },
    { do: 'orderServers', at: BASE.services[0]!, servers: [dest!] },
  ];
  for (const action of bad) assert.throws(() => applyTo(BASE, [action]), /there|order/, action.do);
});

test.run();
