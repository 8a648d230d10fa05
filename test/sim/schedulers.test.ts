/** Every scheduler behind the proxy: connections of a client, one after the other, all held open. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { checkScheduler } from '../../lb/sched/index.ts';
import { SCHEDULERS, type ServiceConfig } from '../../src/config/model.ts';
import { BalancedNetwork, server } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';

const dests: ServiceConfig['dests'] = [4, 3, 2].map((weight, i) => ({
  name: `server${i + 1}`,
  af: 4,
  ip: server(i),
  port: 80,
  weight,
  mac: null,
}));

/** Which server each of `count` connections reached; `-` = refused. */
function sequence(service: Partial<ServiceConfig>, count: number): string {
  const net = new BalancedNetwork({ servers: 3, service: { dests, ...service } });
  const plan = { salt: 2, peerSalt: 1, send: 10, closeAfter: 'peer' } as const;
  const accepted = net.servers.map((s, i) => listen(s.host, server(i), 80, () => plan));
  const reached = Array.from({ length: count }, () => {
    const before = accepted.map((a) => a.length);
    const client = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5, closeAfter: 'never' });
    client.tcb = net.connect(client);
    assert.ok(net.run(2000, () => client.done || client.received === 10));
    const at = accepted.findIndex((a, i) => a.length > before[i]!);
    return at < 0 ? '-' : String(at + 1);
  });
  return reached.join(' ');
}

/** By connections and weights alone, whatever the client's ports. */
const EXACT: Readonly<Record<string, string>> = {
  rr: '1 2 3 1 2 3 1 2 3 1 2 3',
  wrr: '1 1 2 1 2 3 1 2 3 1 1 2',
  lc: '1 2 3 1 2 3 1 2 3 1 2 3',
  wlc: '1 2 3 1 2 1 3 2 1 1 2 3',
  sed: '1 2 1 3 2 1 1 2 3 1 2 1',
  nq: '1 2 3 1 2 1 1 2 3 1 2 1',
  fo: '1 1 1 1 1 1 1 1 1 1 1 1',
  ovf: '1 1 1 1 1 2 2 2 2 3 3 3',
  lblc: '1 1 1 1 1 2 2 2 2 3 3 3',
  lblcr: '1 1 1 1 1 2 2 2 2 3 3 3',
};

for (const scheduler of SCHEDULERS) {
  test(`${scheduler} shares out the proxy's connections`, () => {
    const { options } = checkScheduler(scheduler, {});
    const schedOptions = Object.fromEntries(Object.entries(options).map(([name, [value]]) => [name, value!]));
    const reached = sequence({ scheduler, schedOptions }, 12);
    if (EXACT[scheduler]) assert.is(reached, EXACT[scheduler]);
    else if (['sh', 'mh', 'dh'].includes(scheduler)) assert.is(new Set(reached.split(' ')).size, 1, reached);
    else assert.ok(new Set(reached.split(' ')).size > 1, reached);
    assert.not.match(reached, '-');
  });
}

test('ovf refuses the client when every server is full', () => {
  assert.is(sequence({ scheduler: 'ovf', schedOptions: {} }, 14), '1 1 1 1 1 2 2 2 2 3 3 3 - -');
});

test('sh and mh with their port option spread the connections of one client', () => {
  for (const scheduler of ['sh', 'mh'] as const) {
    const reached = sequence({ scheduler, schedOptions: { port: 'on' } }, 12);
    assert.ok(new Set(reached.split(' ')).size > 1, `${scheduler}: ${reached}`);
  }
});

test.run();
