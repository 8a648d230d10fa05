/** What a configuration file says, in the model: keys that several sections have, and what may be left out. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { edit, errorsOf, GENERAL, modelOf } from './mistakes.ts';

test('the end of a tunnel needs no service', () => {
  const model = modelOf('[global]\nipip_from = 10.0.0.2, 10.1.0.0/16\n[network]\nnetmask = /24\n');
  assert.equal(model.global.ipipFrom, [
    { network: 0x0a000002, prefixLen: 32 },
    { network: 0x0a010000, prefixLen: 16 },
  ]);
  assert.is(model.global.layer4, false);
});

test('slow_start: of [global], and what a service says instead', () => {
  const text = `[global]\nslow_start = 30s\n${GENERAL.replace('[service db]', 'slow_start = 0\n[service db]')}`;
  const model = modelOf(text);
  assert.equal(
    model.services.map(({ slowStartMs }) => slowStartMs),
    [0, 30_000],
  );
});

test('[tcp]: what it says, and what services say instead', () => {
  const text = `[tcp]
congestion = reno
ecn = off
mss_clamp = 1200
user_timeout = 30s
keepalive_idle = 0
keepalive_count = 9
max_half_open = 99
syn_cookies = always
time_wait = 5s
${GENERAL.replace('[service db]', 'keepalive_idle = 7s\nkeepalive_interval = 1s\nmax_half_open = 11\n[service db]')}`;
  const model = modelOf(text);
  const { tcp, services } = model;
  assert.equal(tcp, {
    congestion: 'reno',
    ecn: 'off',
    mssClamp: 1200,
    userTimeoutMs: 30_000,
    keepAlive: { idleMs: 0, intervalMs: 15_000, count: 9 },
    maxHalfOpen: 99,
    synCookies: 'always',
    timeWaitMs: 5000,
  });
  assert.equal(
    services.map(({ keepAlive, maxHalfOpen }) => ({ ...keepAlive, maxHalfOpen })),
    [
      { idleMs: 7000, intervalMs: 1000, count: 9, maxHalfOpen: 11 },
      { idleMs: 0, intervalMs: 15_000, count: 9, maxHalfOpen: 4096 },
    ],
  );
});

test('an address and port can be two services, one of TCP and one of UDP', () => {
  const dns =
    'server1 = 192.168.100.11:80:1:00:00:00:00:00:00\n[service dns]\nip = 192.168.100.10\nports = 80\nproto = udp\nmode = dr\ncount = 1\nserver1 = 192.168.100.11:80:1:00:00:00:00:00:00';
  assert.equal(errorsOf(edit(GENERAL, { 11: dns })), []);
});

test.run();
