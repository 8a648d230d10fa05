/** Every scheduler and each of its options can be asked for in lb.conf, and reaches the balancer. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { createScheduler, schedulers } from '../../../../lb/sched/index.ts';
import { formatError } from '../../../../src/config/error.ts';
import { load } from '../../../../src/config/load.ts';
import { SCHEDULER_KEYS, SCHEDULERS, type ServiceConfig } from '../../../../src/config/model.ts';
import { save } from '../../../../src/config/save.ts';
import { SCHEMA } from '../../../../src/config/schema.ts';
import { rig } from '../../lb/sched/rig.ts';

const file = (keys: string): string => `[network]
netmask = /24
gateway = 192.168.100.1
[service web]
ip = 192.168.100.10
ports = 80
${keys}
count = 1
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
`;

function service(keys: string): ServiceConfig {
  const loaded = load(file(keys), 'lb.conf');
  if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
  return loaded.model.services[0];
}

function complaints(keys: string): string[] {
  const loaded = load(file(keys), 'lb.conf');
  return 'errors' in loaded ? loaded.errors.map(formatError) : [];
}

test('the words of the configuration are the schedulers there are', () => {
  assert.equal(
    [...SCHEDULERS],
    schedulers().map(({ name }) => name),
  );
});

test('each option of each scheduler has one key, with the same values and default', () => {
  const keys = Object.entries(SCHEDULER_KEYS);
  const options = schedulers().flatMap(({ name, options }) =>
    Object.keys(options).map((option) => `${name} ${option}`),
  );
  assert.equal(keys.map(([, { scheduler, option }]) => `${scheduler} ${option}`).sort(), options.sort());
  for (const [key, { scheduler, option }] of keys) {
    const row = SCHEMA.service.rows[key as keyof typeof SCHEDULER_KEYS];
    const words = schedulers().find(({ name }) => name === scheduler)!.options[option];
    assert.is(row.range, words.join(', '), key);
    assert.is(row.default, words[0], key);
  }
});

test("a scheduler has its own options, spelled out, and nobody else's", () => {
  assert.equal(service('scheduler = wlc').schedOptions, {});
  assert.equal(service('scheduler = wrr\nsh_port = on\nhash_key = source').schedOptions, {});
  assert.equal(service('').schedOptions, { key: '5tuple' });
  assert.equal(service('scheduler = sh\nsh_port = on\nmh_port = off').schedOptions, { port: 'on', fallback: 'off' });
  assert.equal(service('scheduler = mh\nmh_fallback = on\nmh_table = 65537').schedOptions, {
    port: 'off',
    fallback: 'on',
    table: '65537',
  });
});

test('every scheduler that the file names can be made', () => {
  const { services } = rig('rr', [1]);
  for (const name of SCHEDULERS) {
    const { scheduler, schedOptions } = service(`scheduler = ${name}`);
    const view = { dests: services.dests, ids: new Int32Array(0), count: 0 };
    const env = { random: { next: () => 0 }, worker: 0, workers: 1 };
    assert.is(createScheduler(scheduler, view, schedOptions, env).name, name);
  }
});

test('what is wrong with an option is said with what would be right', () => {
  assert.equal(complaints('scheduler = wwlc'), [
    "lb.conf:7: [service web] scheduler: 'wwlc' is unknown; did you mean 'wlc'?",
  ]);
  assert.equal(complaints('sh_port = yes'), ["lb.conf:7: [service web] sh_port: 'yes' is unknown; write off or on"]);
  assert.match(complaints('mh_table = 65536').join(), /mh_table: '65536' is unknown; did you mean '655\d+'\?/);
  assert.equal(complaints('sh_prot = on'), ["lb.conf:7: [service web] sh_prot: unknown key; did you mean 'sh_port'?"]);
});

test('a saved service names the options of its scheduler only', () => {
  const loaded = load(file('scheduler = sh\nsh_fallback = on'), 'lb.conf');
  if (!('model' in loaded)) throw new Error('does not load');
  const text = save(loaded.model);
  assert.match(text, /^scheduler = sh\nsh_port = off\nsh_fallback = on\nconnect_timeout/m);
  assert.not.match(text, /hash_key|mh_/);
});

test.run();
