/** The replies of the control socket, made of shared memory alone. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WRONG_STATUS, withStatus } from '../../../../lb/health/result.ts';
import { weightText } from '../../../../src/cli/stats.ts';
import { COMMAND, DRAIN, STATUS, STOPPED } from '../../../../src/workers/plan.ts';
import { PROTO_TCP } from '../../../../stack/wire/ipv4.ts';
import { fabricate, ip } from './memory.ts';

test('stats: frames add up, what is not accounted for is held', () => {
  const { frames } = fabricate().snapshot.stats();
  assert.equal(frames, { received: 1000, created: 500, sent: 900, delivered: 590, dropped: 7, held: 3 });
});

test('stats: a service with its servers, by the names of the configuration', () => {
  const { services, version, pid, uptimeMs, sessions } = fabricate().snapshot.stats();
  assert.equal({ version, pid, uptimeMs, sessions }, { version: '1.2.3', pid: 42, uptimeMs: 60_000, sessions: 1 });
  const traffic = { conns: 1, active: 0, inactive: 0, toServers: 0, toClients: 0, connectFailures: 0 };
  const bytes = { toServers: 1500, toClients: 2_500_000 };
  assert.equal(services, [
    {
      ...{ name: 'web', address: '10.0.0.10:80', scheduler: 'rr', noServer: 0 },
      ...{ ...traffic, ...bytes, conns: 2, active: 1, inactive: 1, connectFailures: 1 },
      servers: [
        {
          ...traffic,
          ...bytes,
          name: 'server1',
          address: '10.0.0.11:8000',
          weight: 1,
          weightNow: 1,
          state: 'up',
          active: 1,
          health: null,
        },
        {
          ...{ ...traffic, name: 'server2', address: '10.0.0.12:8000', weight: 3, weightNow: 3, state: 'up' },
          ...{ inactive: 1, connectFailures: 1, health: null },
        },
      ],
    },
  ]);
});

test('stats: counters have their names', () => {
  assert.is(fabricate().snapshot.stats().counters['proxy.accepted'], 12);
});

test('stats: running, draining, stopped', () => {
  const { snapshot, control } = fabricate();
  assert.is(snapshot.stats().state, 'running');
  control[COMMAND] = DRAIN;
  assert.is(snapshot.stats().state, 'draining');
  control[STATUS] = STOPPED;
  assert.is(snapshot.stats().state, 'stopped');
});

test('stats: a server says why it gets no connections', () => {
  const { snapshot, dests, services } = fabricate();
  const states = (): string[] => snapshot.stats().services[0]!.servers.map((server) => server.state);
  const id = services.lookup(PROTO_TCP, ip('10.0.0.10'), 80);
  services.editDest(id, { addr: ip('10.0.0.11'), port: 8000, weight: 0 });
  assert.equal(states(), ['weight 0', 'up']);
  services.editDest(id, { addr: ip('10.0.0.12'), port: 8000, weight: 3, upper: 1 });
  assert.equal(states(), ['weight 0', 'overloaded']);
  dests.inhibit(1, true);
  assert.equal(states(), ['inhibited', 'overloaded']);
  services.removeDest(id, ip('10.0.0.11'), 8000);
  assert.equal(states(), ['removed', 'overloaded'], 'a connection still holds it');
  dests.connClose(1, true);
  assert.equal(states(), ['overloaded']);
});

test('stats: what a server in slow start has of its weight', () => {
  const { snapshot, dests } = fabricate();
  const text = (): string => weightText(snapshot.stats().services[0]!.servers[1]!);
  assert.is(text(), '3');
  dests.ramp[2] = 5;
  assert.is(text(), '0.75/3');
});

test('stats: what health checks say, and what the operator wants', () => {
  const { snapshot, dests } = fabricate();
  const server = () => snapshot.stats().services[0]!.servers[0]!;
  dests.setHealth(1, true, 90_000);
  assert.equal(server().health, { up: true, sinceMs: 10_000, lastCheck: 'not checked yet', checkedMs: null });
  dests.setHealth(1, false, 95_000);
  dests.checkResult[1] = withStatus(WRONG_STATUS, 503);
  dests.checkMs[1] = 99_000;
  assert.is(server().state, 'down');
  assert.equal(server().health, { up: false, sinceMs: 5000, lastCheck: 'unexpected status 503', checkedMs: 1000 });
  dests.setState(1, 'drain');
  assert.is(server().state, 'drain');
  dests.setState(1, 'maint');
  assert.is(server().state, 'maint');
  dests.setState(1, 'ready');
  assert.is(server().state, 'down');
  dests.clearHealth(1);
  assert.equal([server().state, server().health], ['up', null]);
});

test('stats: a service the configuration does not know goes by its address', () => {
  const { snapshot, services } = fabricate();
  services.add({ proto: PROTO_TCP, vip: ip('10.0.0.99'), port: 8443, scheduler: 'rr' });
  assert.is(snapshot.stats().services[1]?.name, '10.0.0.99:8443');
});

test('sessions: both connections, age by the clock of the worker', () => {
  assert.equal(fabricate().snapshot.sessions(), {
    sessions: [
      {
        id: 1,
        state: 'relaying',
        service: 'web',
        client: '10.0.0.1:40000',
        vip: '10.0.0.10:80',
        server: 'server1',
        serverAddress: '10.0.0.11:8000',
        local: '10.0.0.10:50000',
        ageMs: 3500,
        toServer: 1500,
        toClient: 2_500_000,
      },
    ],
  });
});

test('sessions: without a server as long as none is chosen; the oldest comes first; closed ones are gone', () => {
  const { snapshot, sessions } = fabricate();
  sessions.open(1, ip('10.0.0.1'), 40001, ip('10.0.0.10'), 80, 50_000);
  const [first, second] = snapshot.sessions().sessions;
  assert.is(first?.client, '10.0.0.1:40001');
  assert.equal([first?.server, first?.serverAddress, first?.local], [null, null, null]);
  assert.is(second?.id, 1);
  sessions.close(1);
  assert.is(snapshot.sessions().sessions.length, 1);
});

test('sessions: a session younger than the clock that was told has age 0', () => {
  const { snapshot, sessions } = fabricate();
  sessions.open(1, ip('10.0.0.1'), 40001, ip('10.0.0.10'), 80, 100_050);
  assert.is(snapshot.sessions().sessions[1]?.ageMs, 0);
});

test('sessions: a month is a month', () => {
  const { snapshot, sessions } = fabricate();
  const monthMs = 30 * 24 * 3600 * 1000;
  sessions.open(1, ip('10.0.0.1'), 40001, ip('10.0.0.10'), 80, (100_000 - monthMs) | 0);
  assert.is(snapshot.sessions().sessions[0]?.ageMs, monthMs);
});

test('drops: reasons that occurred, most frequent first, with their sentences', () => {
  const { total, drops } = fabricate().snapshot.drops();
  assert.is(total, 7);
  assert.equal(
    drops.map(({ name, kind, count }) => `${name} ${kind} ${count}`),
    ['tcp_no_socket peer 5', 'tcp_paws peer 2'],
  );
  assert.match(drops[0]!.sentence, 'No TCP socket');
});

test('neigh: sorted by address; no MAC while nobody has answered', () => {
  assert.equal(fabricate().snapshot.neigh(), {
    neighbours: [
      {
        ...{ address: '10.0.0.2', link: 'lan', mac: null, state: 'incomplete', static: false },
        ...{ confirmedMs: null, queued: 3 },
      },
      {
        ...{ address: '10.0.0.11', link: 'lan', mac: '02:00:0a:0b:0c:0d', state: 'reachable', static: false },
        ...{ confirmedMs: 2000, queued: 0 },
      },
    ],
  });
});

test.run();
