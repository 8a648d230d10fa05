/** Events as log lines, and log lines as people and programs see them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PASSED, TIMEOUT, withStatus } from '../../../../lb/health/result.ts';
import type { LogFormat } from '../../../../src/log/format.ts';
import { createLogger } from '../../../../src/log/logger.ts';
import { describe, queueWords } from '../../../../src/log/words.ts';
import type { WorkerEvent } from '../../../../src/workers/events.ts';
import { END_REFUSED, END_TIMEOUT, END_UNREACHABLE } from '../../../../stack/tcp/state.ts';

const names = { serviceName: () => 'web:80', serverAddress: () => '10.0.0.11:80' };
const words = (event: WorkerEvent): string => describe(event, names)?.message ?? '';

test('a server that fails', () => {
  const event = { type: 'connectFailed', service: 1, dest: 2, end: END_REFUSED, retry: true, count: 1 } as const;
  assert.equal(describe(event, names), {
    level: 'warn',
    fields: { service: 'web:80', server: '10.0.0.11:80', reason: 'refused', retry: true, count: 1 },
    message: 'server 10.0.0.11:80 of web:80 refused; trying another',
  });
  assert.is(
    words({ ...event, end: END_TIMEOUT, retry: false }),
    'server 10.0.0.11:80 of web:80 did not answer; no retry left, the client was reset',
  );
  assert.is(
    words({ ...event, end: END_UNREACHABLE, count: 57 }),
    'server 10.0.0.11:80 of web:80 is unreachable (57 times); trying another',
  );
});

test('an address conflict', () => {
  const event = { type: 'conflict', port: 1, ip: 0x0a00000a, macHi: 0x0200, macLo: 0x0000ff01 | 0, count: 1 } as const;
  assert.is(words(event), 'another host claims 10.0.0.10: 02:00:00:00:ff:01');
  assert.is(words({ ...event, count: 3 }), 'another host claims 10.0.0.10: 02:00:00:00:ff:01 (3 times)');
});

test('a service without servers, a link that has gone', () => {
  assert.match(words({ type: 'noServer', service: 1, count: 1 }), /^web:80 has no server that takes connections;/);
  assert.match(words({ type: 'linkGone', name: 'tap:tap0' }), /^link tap:tap0 is gone/);
  assert.match(words({ type: 'linkDown', name: 'packet:eth0' }), /^link packet:eth0 is down: .* until it is back$/);
  assert.is(words({ type: 'linkUp', name: 'packet:eth0' }), 'link packet:eth0 is up');
  assert.is(words({ type: 'linkNotice', name: 'packet:eth0', notice: 'hm' }), 'link packet:eth0: hm');
});

test('an MTU that has changed: followed, bounded by the configuration, or less than IPv4 can do with', () => {
  const said = (mtu: number, used: number): string => words({ type: 'mtuChanged', name: 'tap:tap0', mtu, used });
  const start = 'link tap:tap0: the MTU of its interface is now';
  assert.is(said(1400, 1400), `${start} 1400 bytes: packets have at most 1400 from now on`);
  assert.is(said(9000, 1500), `${start} 9000 bytes: packets have at most 1500 from now on, as its \`mtu\` says`);
  const lost = 'as IPv4 needs: what is larger than the interface takes is lost';
  assert.is(said(60, 68), `${start} 60 bytes: packets have at most 68 from now on, ${lost}`);
});

test('a server that health checks take out of service and put back', () => {
  const event = { type: 'healthChanged', service: 1, dest: 2, up: false, why: TIMEOUT } as const;
  assert.equal(describe(event, names), {
    level: 'warn',
    fields: { service: 'web:80', server: '10.0.0.11:80', state: 'down', check: 'timed out' },
    message: 'server 10.0.0.11:80 of web:80 is down: it gets no new connections (last check: timed out)',
  });
  const back = { ...event, up: true, why: withStatus(PASSED, 204) };
  assert.is(words(back), 'server 10.0.0.11:80 of web:80 is up again (last check: passed 204)');
});

test('a bound that was met, with the link where there is one', () => {
  const event = { type: 'strain', what: 'port.missed', link: 'packet:eth0', count: 4711 } as const;
  assert.equal(describe(event, names), {
    level: 'warn',
    fields: { what: 'port.missed', count: 4711, link: 'packet:eth0' },
    message: 'link packet:eth0: 4,711 frames came faster than they are read and were lost (port.missed)',
  });
  assert.is(
    words({ ...event, what: 'pool_empty', link: '', count: 1 }),
    'no frame was free for 1 packet, which was dropped (pool_empty)',
  );
});

test('what is no news is no line', () => {
  assert.is(describe({ type: 'running' }, names), null);
  assert.is(describe({ type: 'stopped' }, names), null);
});

function logged(format: LogFormat, fields: object): string {
  let text = '';
  const sink = { write: (line: string) => (text += line) };
  const log = createLogger(format, 'info', sink, false);
  log.debug('not this');
  log.warn(fields, 'words');
  return text;
}

const FIELDS = { server: '10.0.0.11:80' };

test('pretty is the words', () => {
  assert.match(logged('pretty', FIELDS), /^\[\d\d:\d\d:\d\d\.\d{3}\] WARN: words\n$/);
});

test('an error shows where it came from', () => {
  assert.match(logged('pretty', { err: new Error('broken') }), /WARN: words\nError: broken\n +at .*words\.test/);
});

test('json has the fields', () => {
  const { level, server, msg } = JSON.parse(logged('json', FIELDS));
  assert.equal({ level, server, msg }, { level: 40, server: '10.0.0.11:80', msg: 'words' });
});

test('a pool of ports that is running out', () => {
  const event = { type: 'portsScarce', address: 0x0a000014, used: 51609, size: 64511, count: 1 } as const;
  assert.is(
    words(event),
    'local address 10.0.0.20 has 51609 of its 64511 ports towards a server in use: add another local_address',
  );
});

test('a link with fewer queues than workers', () => {
  const link = { kind: 'memif', device: '/run/lb.sock', exception: null } as const;
  assert.is(
    queueWords(link, 1, 4),
    'memif:/run/lb.sock has queues for 1 of 4 workers, which receive and send for the others: memif_queues, and the other side, set how many there are',
  );
  assert.match(queueWords({ ...link, exception: 'host0' }, 1, 2), /: a link with exception has one$/);
  assert.match(queueWords({ ...link, kind: 'pcap' }, 1, 2), /for the others$/);
});

test.run();
