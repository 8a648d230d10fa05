import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LocalAddresses, maskOf } from '../../../../stack/inetaddr/addr.ts';
import { ConnectedRoutes } from '../../../../stack/route/connected.ts';
import { type Route4, Routes4, SCOPE_GLOBAL, SCOPE_HOST, SCOPE_LINK } from '../../../../stack/route/route4.ts';

const ip = (a: number, b: number, c: number, d: number): number => (a << 24) | (b << 16) | (c << 8) | d;

const GATEWAY = ip(10, 0, 0, 254);
const route = (prefix: number, len: number, more: Partial<Route4> = {}): Route4 => ({
  prefix,
  len,
  gateway: 0,
  port: 1,
  metric: 0,
  src: 0,
  mtu: 0,
  scope: SCOPE_GLOBAL,
  ...more,
});

/** Ports are up unless named in `down`; port n has an MTU of 1400 + n. */
class Ports {
  readonly down = new Set<number>();
  isUp(port: number): boolean {
    return !this.down.has(port);
  }
  mtu(port: number): number {
    return 1400 + port;
  }
  /** Even ports cut segments. */
  tso(port: number): boolean {
    return port % 2 === 0;
  }
}

function setUp(...routes: Route4[]): { table: Routes4; ports: Ports } {
  const ports = new Ports();
  const table = new Routes4(ports, 256);
  for (const r of routes) table.add(r);
  return { table, ports };
}

/** The port a destination leaves through, 0 = no route. */
const via = (t: Routes4, dst: number): number => (t.lookup(dst) ? t.outPort : 0);

test('an empty table leads nowhere', () => {
  const { table } = setUp();
  assert.not.ok(table.lookup(ip(10, 0, 0, 1)));
});

test('the longest prefix wins, whatever the order and the metric', () => {
  const { table } = setUp(
    route(0, 0, { port: 1, gateway: GATEWAY }),
    route(ip(10, 1, 2, 3), 32, { port: 5, metric: 900 }),
    route(ip(10, 0, 0, 0), 8, { port: 2 }),
    route(ip(10, 1, 2, 0), 24, { port: 4, metric: 50 }),
    route(ip(10, 1, 0, 0), 16, { port: 3 }),
  );
  assert.equal(
    [ip(10, 1, 2, 3), ip(10, 1, 2, 4), ip(10, 1, 3, 3), ip(10, 2, 2, 3), ip(11, 1, 2, 3), -1].map((d) => via(table, d)),
    [5, 4, 3, 2, 1, 1],
  );
});

test('addresses above 127 are no exception', () => {
  const { table } = setUp(route(ip(128, 0, 0, 0), 1, { port: 2 }), route(0, 1, { port: 1 }));
  assert.equal(
    [ip(127, 255, 255, 255), ip(128, 0, 0, 0), -1, 0].map((d) => via(table, d)),
    [1, 2, 2, 1],
  );
});

test('the next hop is the gateway, or the destination itself', () => {
  const { table } = setUp(route(0, 0, { gateway: GATEWAY }), route(ip(10, 0, 0, 0), 24, { scope: SCOPE_LINK }));
  assert.ok(table.lookup(ip(8, 8, 8, 8)));
  assert.equal([table.outNextHop, table.outScope], [GATEWAY, SCOPE_GLOBAL]);
  assert.ok(table.lookup(ip(10, 0, 0, 7)));
  assert.equal([table.outNextHop, table.outScope], [ip(10, 0, 0, 7), SCOPE_LINK]);
});

test('the MTU is the smaller of route and port; the source is as the route says', () => {
  const { table } = setUp(
    route(ip(10, 0, 0, 0), 8),
    route(ip(11, 0, 0, 0), 8, { mtu: 1300, src: ip(10, 0, 0, 1) }),
    route(ip(12, 0, 0, 0), 8, { mtu: 9000 }),
  );
  const answer = (dst: number): number[] => (table.lookup(dst) ? [table.outMtu, table.outSrc] : []);
  assert.equal(answer(ip(10, 0, 0, 1)), [1401, 0]);
  assert.equal(answer(ip(11, 0, 0, 1)), [1300, ip(10, 0, 0, 1)]);
  assert.equal(answer(ip(12, 0, 0, 1)), [1401, 0]);
});

test('whether TCP segments may be left to the port is the port’s to say', () => {
  const { table } = setUp(route(ip(10, 0, 0, 0), 8), route(ip(11, 0, 0, 0), 8, { port: 2 }));
  const tso = (dst: number): number => (table.lookup(dst) ? table.outTso : -1);
  assert.equal([ip(10, 0, 0, 1), ip(11, 0, 0, 1), ip(12, 0, 0, 1)].map(tso), [0, 1, -1]);
});

test('among equal prefixes the lowest metric wins, then the first added', () => {
  const { table } = setUp(
    route(0, 0, { port: 1, metric: 10 }),
    route(0, 0, { port: 2, metric: 5 }),
    route(0, 0, { port: 3, metric: 5 }),
  );
  assert.is(via(table, 1), 2);
  assert.ok(table.delete(route(0, 0, { port: 2, metric: 5 })));
  assert.is(via(table, 1), 3);
});

test('routes of a port that is down are skipped: the next metric, the next prefix, nothing', () => {
  const { table, ports } = setUp(
    route(ip(10, 0, 0, 0), 8, { port: 1 }),
    route(ip(10, 0, 0, 0), 8, { port: 2, metric: 7 }),
    route(0, 0, { port: 3 }),
  );
  const expected = [1, 2, 3, 0];
  for (const port of [0, 1, 2, 3]) {
    ports.down.add(port);
    table.refresh();
    assert.is(via(table, ip(10, 0, 0, 1)), expected[port]);
  }
  ports.down.clear();
  table.refresh();
  assert.is(via(table, ip(10, 0, 0, 1)), 1);
});

test('our own addresses stay ours when their port is down', () => {
  const { table, ports } = setUp(route(ip(10, 0, 0, 1), 32, { scope: SCOPE_HOST }));
  ports.down.add(1);
  table.refresh();
  assert.is(via(table, ip(10, 0, 0, 1)), 1);
});

test('replace takes the place of all of the same prefix and metric', () => {
  const { table } = setUp(route(0, 0, { port: 1 }), route(0, 0, { port: 2 }), route(0, 0, { port: 3, metric: 9 }));
  table.replace(route(0, 0, { port: 4 }));
  assert.is(via(table, 1), 4);
  assert.equal(
    table.list().map((r) => r.port),
    [4, 3],
  );
});

test('the same route twice is refused, deleting what is not there says so', () => {
  const { table } = setUp(route(0, 0));
  assert.throws(() => table.add(route(0, 0, { mtu: 1300 })), /exists/);
  assert.not.ok(table.delete(route(0, 0, { port: 2 })));
  assert.ok(table.delete(route(0, 0)));
  assert.not.ok(table.lookup(1));
});

test('routes that cannot be are refused', () => {
  const { table } = setUp();
  const bad: Route4[] = [
    route(ip(10, 0, 0, 1), 24),
    route(1, 0),
    route(0, 33),
    route(0, -1),
    route(0, 0, { port: 0 }),
    route(0, 0, { metric: -1 }),
    route(0, 0, { mtu: 67 }),
    route(0, 0, { mtu: 65536 }),
  ];
  for (const r of bad) assert.throws(() => table.add(r), RangeError);
  assert.is(table.list().length, 0);
});

test('several routes are added together, or none of them', () => {
  const { table } = setUp();
  table.add(route(0, 0), route(ip(10, 0, 0, 0), 8, { port: 2 }));
  assert.is(via(table, ip(10, 0, 0, 1)), 2);
  assert.throws(() => table.add(route(ip(11, 0, 0, 0), 8), route(0, 0)), /exists/);
  assert.is(table.list().length, 2);
});

test('more prefixes than there is room for are refused, and the table stays as it was', () => {
  const table = new Routes4(new Ports(), 4);
  table.add(route(ip(10, 0, 0, 1), 32, { port: 2 }));
  assert.throws(() => table.add(route(ip(11, 0, 0, 1), 32)), /no room/);
  assert.is(via(table, ip(10, 0, 0, 1)), 2);
  assert.is(via(table, ip(11, 0, 0, 1)), 0);
  assert.is(table.list().length, 1);
});

test('an address brings a route to itself and one to its subnet', () => {
  const { table } = setUp();
  const addresses = new LocalAddresses();
  new ConnectedRoutes(table, addresses);
  addresses.add({ addr: ip(10, 0, 0, 1), prefixLen: 24, port: 1, flags: 0 });
  assert.ok(table.lookup(ip(10, 0, 0, 1)));
  assert.is(table.outScope, SCOPE_HOST);
  assert.ok(table.lookup(ip(10, 0, 0, 9)));
  assert.is(table.outScope, SCOPE_LINK);
  assert.is(table.outNextHop, ip(10, 0, 0, 9));
  addresses.remove(ip(10, 0, 0, 1), 1);
  assert.is(table.list().length, 0);
});

test('the route to a subnet goes with the last address in it', () => {
  const { table } = setUp();
  const addresses = new LocalAddresses();
  new ConnectedRoutes(table, addresses);
  for (const [last, prefixLen, port] of [
    [1, 24, 1],
    [2, 24, 1],
    [3, 24, 2],
    [4, 32, 1],
    [1, 24, 2],
  ] as const) {
    addresses.add({ addr: ip(10, 0, 0, last), prefixLen, port, flags: 0 });
  }
  const subnetsOf = (): number[] =>
    table
      .list()
      .filter((r) => r.len === 24)
      .map((r) => r.port);
  assert.equal(subnetsOf(), [1, 2]);
  addresses.remove(ip(10, 0, 0, 1), 1);
  assert.equal(subnetsOf(), [1, 2]);
  addresses.remove(ip(10, 0, 0, 2), 1);
  assert.equal(subnetsOf(), [2]);
  assert.is(via(table, ip(10, 0, 0, 77)), 2);
});

test('answers like a list searched naively', () => {
  const prefix = fc
    .tuple(fc.constantFrom(0, 1, 8, 15, 16, 17, 23, 24, 25, 31, 32), fc.integer(), fc.boolean())
    .map(([len, bits, near]) => ({ len, prefix: (near ? (bits & 0xffff) | ip(10, 0, 0, 0) : bits) & maskOf(len) }));
  const one = fc
    .tuple(prefix, fc.integer({ min: 1, max: 5 }), fc.nat(3), fc.nat(2))
    .map(([p, port, metric, gw]) => route(p.prefix, p.len, { port, metric, gateway: gw === 0 ? 0 : GATEWAY + gw }));
  fc.assert(
    fc.property(
      fc.array(one, { maxLength: 60, size: 'max' }),
      fc.array(fc.integer(), { maxLength: 30, size: 'max' }),
      fc.nat(5),
      (list, probes, down) => {
        const { table, ports } = setUp();
        const model: Route4[] = [];
        list.forEach((r, i) => {
          try {
            table.add(r);
            model.push(r);
          } catch {
            assert.ok(table.delete(r));
            model.splice(
              model.findIndex((m) =>
                ['prefix', 'len', 'port', 'metric', 'gateway'].every((k) => m[k as 'len'] === r[k as 'len']),
              ),
              1,
            );
          }
          if (i === 30) {
            ports.down.add(down);
            table.refresh();
          }
        });
        const interesting = list.flatMap((r) => [r.prefix, r.prefix | ~maskOf(r.len), r.prefix - 1, r.prefix + 1]);
        for (const dst of [...probes, ...interesting].map((d) => d | 0)) {
          let best: Route4 | null = null;
          for (const r of model) {
            if (!ports.isUp(r.port) || (dst & maskOf(r.len)) !== r.prefix) continue;
            if (best === null || r.len > best.len || (r.len === best.len && r.metric < best.metric)) best = r;
          }
          assert.is(table.lookup(dst), best !== null);
          if (best === null) continue;
          assert.is(table.outPort, best.port);
          assert.is(table.outNextHop, best.gateway === 0 ? dst : best.gateway);
        }
      },
    ),
    { seed: 1812, numRuns: 300 },
  );
});

test.run();
