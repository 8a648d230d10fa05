/** Mistakes in the form of a configuration file (names, lines, what is missing), each with the message it gets. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import { edit, errorsOf, GENERAL, PLAIN, reports } from './mistakes.ts';

test('the files the cases start from are valid', () => {
  assert.equal(errorsOf(PLAIN), []);
  assert.equal(errorsOf(GENERAL), []);
});

// Names
reports('unknown key', PLAIN, { 5: 'prots = 80' }, ["lb.conf:5: [vip] prots: unknown key; did you mean 'ports'?"]);
reports('unknown server key', PLAIN, { 10: 'servre2 = 1.2.3.4:1:1:00:00:00:00:00:00' }, [
  'lb.conf:8: [realserver] server2: key is missing; count = 2 asks for server1 to server2',
  "lb.conf:10: [realserver] servre2: unknown key; did you mean 'server2'?",
]);
reports('key of another section', PLAIN, { 6: 'gateway = 192.168.100.1' }, [
  'lb.conf:6: [vip] gateway: unknown key; it belongs to [network]',
]);
reports('key like no other', PLAIN, { 6: 'colour = blue' }, [
  'lb.conf:6: [vip] colour: unknown key; known keys: ip, ports, mac',
]);
reports('unknown section', PLAIN, { 7: '[realservers]' }, [
  'lb.conf:7: [realservers]: unknown section; did you mean [realserver]?',
]);
reports('unknown section of a named kind', GENERAL, { 1: '[lnk lan]' }, [
  'lb.conf:1: [lnk lan]: unknown section; did you mean [link NAME]?',
]);
reports('section like no other', PLAIN, { 1: '[elsewhere]\n[global]' }, [
  'lb.conf:1: [elsewhere]: unknown section; known sections: [global], [tcp], [vip], [realserver], [network], [link NAME], [mark NAME], [service NAME]',
]);
reports('mistakes inside a mistyped section', PLAIN, { 1: '[gobal]', 2: 'mode = prox' }, [
  'lb.conf:1: [gobal]: unknown section; did you mean [global]?',
  "lb.conf:2: [gobal] mode: 'prox' is unknown; did you mean 'proxy'?",
]);
reports('duplicate key', PLAIN, { 6: 'ip = 192.168.100.99' }, [
  'lb.conf:6: [vip] ip: duplicate key, first in line 4; keep one of them',
]);
reports('duplicate section', PLAIN, { 6: '[vip]\nmac = 02:00:00:64:00:0a' }, [
  'lb.conf:6: [vip]: duplicate section, first in line 3; put all its keys in one place',
]);
reports('duplicate section that differs in spaces', GENERAL, { 12: '[service  web]' }, [
  'lb.conf:12: [service web]: duplicate section, first in line 7; put all its keys in one place',
  'lb.conf:13: [service web] ip: duplicate key, first in line 8; keep one of them',
  'lb.conf:14: [service web] ports: duplicate key, first in line 9; keep one of them',
  'lb.conf:15: [service web] count: duplicate key, first in line 10; keep one of them',
  'lb.conf:16: [service web] server1: duplicate key, first in line 11; keep one of them',
]);
reports('section without the name it needs', GENERAL, { 12: '[service]' }, [
  'lb.conf:12: [service]: has no name; write [service NAME]',
]);
reports('section with a name it does not take', PLAIN, { 11: '[network lan]' }, [
  'lb.conf:11: [network lan]: takes no name; write [network]',
]);
reports('section name of odd characters', GENERAL, { 12: '[service a/b]' }, [
  "lb.conf:12: [service a/b]: 'a/b' is not a name; use up to 64 letters, digits and . _ : -",
]);
reports('section names with dots are whole', GENERAL, { 12: '[service db.example]' }, []);
reports('names that objects have are nothing special', PLAIN, { 6: '__proto__ = 1\n[constructor]' }, [
  'lb.conf:6: [vip] __proto__: unknown key; known keys: ip, ports, mac',
  'lb.conf:7: [constructor]: unknown section; known sections: [global], [tcp], [vip], [realserver], [network], [link NAME], [mark NAME], [service NAME]',
]);

// Lines
reports('line without =', PLAIN, { 5: 'ports 80' }, [
  'lb.conf:3: [vip] ports: key is missing; add ports = 80,8080',
  "lb.conf:5: [vip] ports 80: has no '='; write key = value",
]);
reports('line with = in its comment only', PLAIN, { 6: 'mac # = 1' }, [
  "lb.conf:6: [vip] mac: has no '='; write key = value",
]);
reports('line without a key', PLAIN, { 6: '= 5' }, ["lb.conf:6: [vip]: has no key before '='; write key = value"]);
reports('key above the first section', PLAIN, { 1: 'mode = proxy\n[global]', 2: null }, [
  'lb.conf:1: mode: stands before the first section; put a line such as [global] above it',
]);
reports('section that is not closed', PLAIN, { 1: '[global', 2: null }, [
  "lb.conf:1: '[global' is not a section; write [name] on a line of its own",
]);

// What must be there
reports('missing key', PLAIN, { 4: null }, ['lb.conf:3: [vip] ip: key is missing; add ip = 192.168.100.10']);
reports('missing netmask', PLAIN, { 13: null }, [
  'lb.conf:11: [network] netmask: key is missing; add netmask = 255.255.255.0',
]);
reports('missing count', PLAIN, { 8: null }, ['lb.conf:7: [realserver] count: key is missing; add count = 2']);
reports('missing [network]', PLAIN, { 11: null, 12: null, 13: null }, [
  'lb.conf:10: [network]: section is missing; add [network] with gateway and netmask',
]);
reports('missing [realserver]', PLAIN, { 7: null, 8: null, 9: null, 10: null }, [
  'lb.conf:9: [realserver]: section is missing; add [realserver] with the servers behind [vip]',
]);
reports('missing [vip]', PLAIN, { 3: null, 4: null, 5: null, 6: null }, [
  'lb.conf:9: [vip]: section is missing; add [vip] with the address that clients connect to',
]);

test('an empty file lacks everything', () => {
  assert.equal(errorsOf(''), [
    'lb.conf:1: [vip]: section is missing; add [vip] and [realserver], or a [service NAME]',
    'lb.conf:1: [network]: section is missing; add [network] with gateway and netmask',
  ]);
});

reports('key without a value', PLAIN, { 4: 'ip =   # none' }, [
  'lb.conf:4: [vip] ip: has no value; write one, as in 192.168.100.10',
]);

test('every error of a file is listed, from top to bottom', () => {
  const text = edit(PLAIN, { 2: 'mode = nta', 4: 'ip = 1.2.3', 5: 'prots = 80', 10: null, 13: 'netmask = x' });
  assert.equal(
    errorsOf(text).map((line) => line.split(': ').slice(0, 2).join(': ')),
    [
      'lb.conf:2: [global] mode',
      'lb.conf:4: [vip] ip',
      'lb.conf:5: [vip] prots',
      'lb.conf:8: [realserver] server2',
      'lb.conf:12: [network] netmask',
    ],
  );
});

test('an error carries its parts', () => {
  const loaded = load(edit(PLAIN, { 5: '  prots = 80' }), 'etc/lb.conf');
  assert.equal('errors' in loaded && loaded.errors, [
    {
      file: 'etc/lb.conf',
      line: 5,
      column: 3,
      section: 'vip',
      key: 'prots',
      message: 'unknown key',
      hint: "did you mean 'ports'?",
    },
  ]);
});

test('long garbage is cut in messages', () => {
  for (const line of errorsOf(
    `${PLAIN}${'x'.repeat(5000)}\n${'y'.repeat(5000)} = 1\ngateway2 = ${'z'.repeat(5000)}\n`,
  )) {
    assert.ok(line.length < 250, line);
  }
});

test.run();
