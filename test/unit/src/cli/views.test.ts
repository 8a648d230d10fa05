/** What people see of the replies: stats, sessions, drops, neigh, and the summary of check. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatSummary } from '../../../../src/cli/check.ts';
import { formatDrops } from '../../../../src/cli/drops.ts';
import { formatNeighbours } from '../../../../src/cli/neigh.ts';
import { formatServer } from '../../../../src/cli/server.ts';
import { formatSessions } from '../../../../src/cli/sessions.ts';
import { formatStats } from '../../../../src/cli/stats.ts';
import { finalCounters } from '../../../../src/cli/summary.ts';
import { config, fabricate } from '../control/memory.ts';

const { snapshot } = fabricate();
const lines = (text: string): string[] => text.split('\n');

test('stats', () => {
  assert.equal(lines(formatStats(snapshot.stats())), [
    'tsvs 1.2.3, process 42, running, up 1 m 00 s, 1 open session',
    '',
    'service    address         scheduler  state  weight  conns  active  inactive  to servers  to clients  failures  last check',
    'web        10.0.0.10:80    rr                            2       1         1     1.50 kB     2.50 MB         1',
    '  server1  10.0.0.11:8000             up          1      1       1         0     1.50 kB     2.50 MB         0',
    '  server2  10.0.0.12:8000             up          3      1       0         1         0 B         0 B         1',
    '',
    'frames  received  created  sent  delivered  dropped  held',
    '           1,000      500   900        590        7     3',
    '',
    'counter         value',
    'proxy.accepted     12',
  ]);
});

test('a server: connections by what they do, where there is a difference', () => {
  const [, server] = snapshot.stats().services[0]!.servers;
  assert.is(
    formatServer('web/server2', server!),
    'web/server2 10.0.0.12:8000: up, weight 3, 0 active and 1 inactive connections',
  );
  const idle = { ...server!, active: 1, inactive: 0 };
  assert.is(formatServer('web/server2', idle), 'web/server2 10.0.0.12:8000: up, weight 3, 1 connection');
});

test('sessions', () => {
  assert.equal(lines(formatSessions(snapshot.sessions())), [
    'service  client          server   address         from             state       age  to server  to client',
    'web      10.0.0.1:40000  server1  10.0.0.11:8000  10.0.0.10:50000  relaying  3.5 s    1.50 kB    2.50 MB',
    '',
    '1 open session',
  ]);
  assert.is(formatSessions({ sessions: [] }), '0 open sessions');
});

test('a session without a server yet', () => {
  const [session] = snapshot.sessions().sessions;
  const waiting = { ...session!, state: 'connecting', server: null, serverAddress: null, local: null };
  assert.match(formatSessions({ sessions: [waiting] }), /10\.0\.0\.1:40000 {2}- {7}- {8}- {5}connecting/);
});

test('drops', () => {
  assert.equal(lines(formatDrops(snapshot.drops())), [
    'reason         frames  kind  meaning',
    'tcp_no_socket       5  peer  No TCP socket for this segment: answered with a reset.',
    'tcp_paws            2  peer  Timestamp older than the last one seen (RFC 7323 §5).',
    '',
    '7 frames dropped',
  ]);
  assert.is(formatDrops({ total: 0, drops: [] }), '0 frames dropped');
});

test('neigh', () => {
  assert.equal(lines(formatNeighbours(snapshot.neigh())), [
    'address    link  mac                state       confirmed  waiting',
    '10.0.0.2   lan   -                  incomplete          -        3',
    '10.0.0.11  lan   02:00:0a:0b:0c:0d  reachable   2.0 s ago        0',
    '',
    '2 neighbours',
  ]);
  assert.is(formatNeighbours({ neighbours: [] }), '0 neighbours');
});

test('check', () => {
  assert.equal(lines(formatSummary('lb.conf', config())), [
    'lb.conf is good: 1 service on tap:tap7',
    '',
    'service  address       scheduler  server   address         weight',
    'web      10.0.0.10:80  rr         server1  10.0.0.11:8000       1',
    '                                  server2  10.0.0.12:8000       3',
  ]);
});

test('the counters at the end', () => {
  const { fields, message } = finalCounters(snapshot);
  assert.equal(fields.sessions, { accepted: 12, finished: 0, aborted: 0, drained: 0 });
  assert.equal(fields.drops, { tcp_no_socket: 5, tcp_paws: 2 });
  assert.is(
    message,
    'frames: received 1,000, created 500, sent 900, delivered 590, dropped 7, held 3; ' +
      'sessions: accepted 12, finished 0, aborted 0, drained 0; drops: tcp_no_socket 5, tcp_paws 2',
  );
});

test.run();
