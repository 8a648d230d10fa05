/** Health checks on a simulated network: servers that work, fail, hang and lie, and who gets connections meanwhile. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FAILING, HEALTHY } from '../../lb/dest.ts';
import * as result from '../../lb/health/result.ts';
import type { CheckConfig } from '../../src/config/model.ts';
import type { Host } from '../../stack/host.ts';
import * as sock from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { BalancedNetwork, server, VIP } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { outstanding } from '../lib/sim.ts';

const TCP_CHECK: CheckConfig = {
  ...{ port: null, intervalMs: 2000, timeoutMs: 1000, rise: 2, fall: 3 },
  ...{ start: 'up', passive: false, http: null },
};
const HTTP_CHECK: CheckConfig = {
  ...TCP_CHECK,
  http: { method: 'GET', path: '/health', host: null, status: [{ from: 200, to: 299 }], body: '' },
};

/** A web server on the simulated stack whose answer can be changed while it runs. */
class Web implements SocketOwner {
  /** Null: accepts and says nothing. */
  answer: string | null = 'HTTP/1.0 200 OK\r\n\r\nfine';
  /** Requests as they came, and when, in ms. */
  readonly requests: string[] = [];
  readonly times: number[] = [];
  readonly sources: number[] = [];
  private readonly host: Host;

  constructor(host: Host, addr: number, port = 80) {
    this.host = host;
    host.tcp.listeners.add(addr, port, 64, this, 0);
  }

  onEstablished(tcb: Tcb): void {
    this.times.push(this.host.ctx.nowMs);
    this.sources.push(tcb.raddr);
  }

  onReadable(tcb: Tcb): void {
    const buffer = new Uint8Array(4096);
    const n = sock.read(this.host.tcp, tcb, buffer, 0, buffer.length);
    if (n === 0) return;
    this.requests.push(Buffer.from(buffer.subarray(0, n)).toString());
    if (this.answer === null) return;
    const bytes = Buffer.from(this.answer);
    sock.write(this.host.tcp, tcb, bytes, 0, bytes.length);
    sock.shutdown(this.host.tcp, tcb);
  }

  onWritable(): void {}

  onFin(tcb: Tcb): void {
    sock.shutdown(this.host.tcp, tcb);
  }

  onClosed(): void {}
}

const withCheck = (check: CheckConfig, servers = 1): BalancedNetwork =>
  new BalancedNetwork({ servers, service: { check } });
const destOf = (net: BalancedNetwork, i: number): number => net.balancer.dests.find(1, server(i), 80);
const codes = (net: BalancedNetwork): string[] =>
  net.reports.health.map(({ dest, up, why }) => `${dest} ${up ? 'up' : 'down'} ${why & 0xff}`);

/** Nothing of the checks is left but the row of TIME_WAIT. */
function assertQuiet(net: BalancedNetwork): void {
  net.balancer.health.stop();
  net.run(3000);
  assert.is(net.balancer.host.tcp.open, 0, 'control blocks');
  assert.is(net.balancer.host.tcp.segments.used, 0, 'segments');
  assert.is(outstanding(net.ctx), net.ctx.pool.inUse);
  assert.is(net.ctx.pool.inUse, 0, 'frames');
}

test('a server that works stays in service and is asked once per interval, from the VIP', () => {
  const net = withCheck(HTTP_CHECK);
  const web = new Web(net.servers[0]!.host, server(0));
  net.run(20_500);
  assert.equal(net.reports.health, []);
  const { dests, health } = net.balancer;
  assert.is(dests.health[destOf(net, 0)], HEALTHY);
  assert.is(dests.checkResult[destOf(net, 0)], result.withStatus(result.PASSED, 200));
  assert.ok(web.times.length >= 10 && web.times.length <= 11, `${web.times.length} checks`);
  for (let i = 1; i < web.times.length; i++) {
    assert.ok(Math.abs(web.times[i]! - web.times[i - 1]! - 2000) < 20, 'one interval apart');
  }
  assert.ok(web.sources.every((source) => source === VIP));
  assert.is(
    web.requests[0],
    'GET /health HTTP/1.0\r\nHost: 10.0.0.21\r\nUser-Agent: tsvs-check\r\nAccept: */*\r\nConnection: close\r\n\r\n',
  );
  assert.is(health.stats.failed, 0);
  assertQuiet(net);
});

test('first checks are spread over the interval', () => {
  const net = withCheck(HTTP_CHECK, 8);
  const webs = net.servers.map(({ host }, i) => new Web(host, server(i)));
  net.run(2100);
  const first = webs.map((web) => web.times[0]!).sort((a, b) => a - b);
  assert.is(new Set(first).size, 8, `at ${first}`);
  assert.ok(first.at(-1)! - first[0]! > 700, `at ${first}`);
});

test('fall failures take a server out, rise passes bring it back, each told once', () => {
  const net = withCheck(HTTP_CHECK, 2);
  const webs = net.servers.map(({ host }, i) => new Web(host, server(i)));
  const { dests } = net.balancer;
  const dest = destOf(net, 0);
  net.run(4100);
  webs[0]!.answer = 'HTTP/1.0 503 Busy\r\n\r\n';
  const failedAt = webs[0]!.times.length;
  assert.ok(net.run(10_000, () => net.reports.health.length === 1));
  assert.is(webs[0]!.times.length - failedAt, 3, 'the third failure decides');
  assert.is(dests.health[dest], FAILING);
  assert.is(dests.checkResult[dest], result.withStatus(result.WRONG_STATUS, 503));
  net.run(20_000);
  assert.is(net.reports.health.length, 1);
  webs[0]!.answer = 'HTTP/1.1 204 No Content\r\n\r\n';
  const passedAt = webs[0]!.times.length;
  assert.ok(net.run(10_000, () => net.reports.health.length === 2));
  assert.is(webs[0]!.times.length - passedAt, 2, 'the second pass decides');
  assert.equal(codes(net), [`${dest} down ${result.WRONG_STATUS}`, `${dest} up ${result.PASSED}`]);
  assert.is(dests.health[dest], HEALTHY);
  assertQuiet(net);
});

test('a server that flaps between checks changes its state only after that many in a row', () => {
  const net = withCheck(HTTP_CHECK);
  const web = new Web(net.servers[0]!.host, server(0));
  const step = (passes: boolean): void => {
    web.answer = passes ? 'HTTP/1.0 200 OK\r\n\r\n' : 'HTTP/1.0 500 No\r\n\r\n';
    const n = web.times.length;
    assert.ok(net.run(3000, () => web.times.length > n));
    net.run(50);
  };
  for (const passes of [true, false, false, true, false, false, true, false, true]) step(passes);
  assert.equal(codes(net), []);
  for (const passes of [false, false, false]) step(passes);
  assert.is(net.reports.health.length, 1);
  for (const passes of [true, false, true, false, false]) step(passes);
  assert.is(net.reports.health.length, 1, 'never two passes in a row');
  for (const passes of [true, true]) step(passes);
  assert.is(net.reports.health.length, 2);
});

test('what goes wrong is told apart', () => {
  const body = { ...HTTP_CHECK, http: { ...HTTP_CHECK.http!, body: 'all fine' } };
  const cases: [string, CheckConfig, (net: BalancedNetwork) => unknown, number][] = [
    ['nobody listens', TCP_CHECK, () => {}, result.REFUSED],
    [
      'silent host',
      TCP_CHECK,
      (net) => net.balancer.host.neigh.nud.setStatic(server(0), 1, 0x0200, 0x77),
      result.TIMEOUT,
    ],
    ['no answer', HTTP_CHECK, (net) => answering(net, null), result.TIMEOUT],
    ['no HTTP', HTTP_CHECK, (net) => answering(net, 'SSH-2.0-OpenSSH\r\n'), result.MALFORMED],
    ['an empty answer', HTTP_CHECK, (net) => answering(net, ''), result.CLOSED],
    ['half a status line', HTTP_CHECK, (net) => answering(net, 'HTTP/1.0 20'), result.CLOSED],
    ['another status', HTTP_CHECK, (net) => answering(net, 'HTTP/1.0 302 Found\r\n\r\n'), result.WRONG_STATUS],
    ['another body', body, (net) => answering(net, 'HTTP/1.0 200 OK\r\n\r\nall is lost'), result.WRONG_BODY],
  ];
  for (const [name, check, prepare, expected] of cases) {
    const net = withCheck(check);
    prepare(net);
    assert.ok(
      net.run(12_000, () => net.reports.health.length === 1),
      name,
    );
    assert.is(result.codeOf(net.reports.health[0]!.why), expected, name);
    assertQuiet(net);
  }
});

function answering(net: BalancedNetwork, answer: string | null): void {
  new Web(net.servers[0]!.host, server(0)).answer = answer;
}

test('an answer may take as long as the timeout, connecting included, and no longer', () => {
  const net = withCheck({ ...TCP_CHECK, fall: 1 });
  net.balancer.host.neigh.nud.setStatic(server(0), 1, 0x0200, 0x77);
  let begun = 0;
  net.run(2100, () => {
    begun ||= net.balancer.host.tcp.open > 0 ? net.now : 0;
    return net.reports.health.length === 1;
  });
  net.run(1000, () => net.reports.health.length === 1);
  const tookMs = (net.reports.health[0]!.now - begun) / 1000;
  assert.ok(tookMs > 950 && tookMs < 1050, `${tookMs} ms`);
});

test('the text may be anywhere in the first 16 KB of the body, and is not looked for beyond', () => {
  const check = { ...HTTP_CHECK, fall: 1, http: { ...HTTP_CHECK.http!, body: 'aab' } };
  const head = 'HTTP/1.1 200 OK\r\nX: aab\r\n\r\n';
  for (const [filler, passes] of [
    [0, true],
    [16_384 - 3, true],
    [16_384 - 2, false],
    [40_000, false],
  ] as const) {
    const net = withCheck(check);
    answering(net, `${head}${'a'.repeat(filler)}aab and more`);
    assert.ok(net.run(3000, () => net.balancer.health.stats.passed + net.balancer.health.stats.failed === 1));
    assert.is(net.balancer.health.stats.passed === 1, passes, `behind ${filler} bytes`);
    assertQuiet(net);
  }
});

test('a dead server gets no connections, and gets them again when it lives', () => {
  const net = withCheck(TCP_CHECK, 2);
  const alive = listen(net.servers[1]!.host, server(1), 80, () => ({ salt: 2, peerSalt: 1, send: 5 }));
  assert.ok(net.run(10_000, () => net.reports.health.length === 1));
  const checks = alive.length;
  const clients = Array.from({ length: 10 }, () => {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5 });
    e.tcb = net.connect(e);
    return e;
  });
  assert.ok(net.run(1500, () => clients.every((c) => c.done)));
  assert.ok(alive.length - checks >= 10);
  assert.equal(net.reports.failures, [], 'the dead one was not even tried');
  const revived = listen(net.servers[0]!.host, server(0), 80, () => ({ salt: 2, peerSalt: 1, send: 5 }));
  assert.ok(net.run(10_000, () => net.reports.health.length === 2));
  const before = revived.length;
  const late = [0, 1].map(() => {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5 });
    e.tcb = net.connect(e);
    return e;
  });
  assert.ok(net.run(1000, () => late.every((c) => c.done)));
  assert.ok(revived.length > before);
});

test('with every server down clients are refused, and sessions that exist go on', () => {
  const net = withCheck({ ...TCP_CHECK, port: 8080, fall: 1 });
  listen(net.servers[0]!.host, server(0), 80, () => ({ salt: 2, peerSalt: 1, send: 400_000, closeAfter: 'peer' }));
  const old = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 400_000, closeAfter: 'never', paused: true });
  old.tcb = net.connect(old);
  assert.ok(
    net.run(5000, () => net.reports.health.length === 1),
    'nobody listens at check_port',
  );
  const late = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 1 });
  late.tcb = net.connect(late);
  assert.ok(net.run(1000, () => late.done));
  assert.is(late.end, st.END_RESET);
  assert.is(net.reports.noServer, 1);
  old.resume();
  assert.ok(net.run(20_000, () => old.received === 400_000));
  assert.is(old.wrong, 0);
  assert.is(old.end, -1);
});

test('start = down: nothing is given to a server before it has passed', () => {
  const net = withCheck({ ...TCP_CHECK, start: 'down' });
  listen(net.servers[0]!.host, server(0), 80, () => ({ salt: 2, peerSalt: 1, send: 5 }));
  const early = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 1 });
  early.tcb = net.connect(early);
  assert.ok(net.run(500, () => early.done));
  assert.is(early.end, st.END_RESET);
  assert.ok(net.run(5000, () => net.reports.health.length === 1));
  assert.equal(codes(net), [`1 up ${result.PASSED}`]);
});

test('sessions that cannot connect count as failures, when asked for, until one can', () => {
  for (const passive of [true, false]) {
    const net = new BalancedNetwork({
      servers: 2,
      service: { check: { ...TCP_CHECK, intervalMs: 600_000, passive } },
    });
    listen(net.servers[1]!.host, server(1), 80, () => ({ salt: 2, peerSalt: 1, send: 5 }));
    const one = (): void => {
      const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5 });
      e.tcb = net.connect(e);
      assert.ok(net.run(1000, () => e.done));
      assert.is(e.received, 5);
    };
    for (let i = 0; i < 12; i++) one();
    assert.equal(codes(net), passive ? [`1 down ${result.SESSION_FAILED}`] : []);
    assert.is(net.reports.failures.length, passive ? 3 : 12);
  }
});

test('a server in maintenance is left in peace and keeps its state; drained ones are checked', () => {
  const net = withCheck(HTTP_CHECK, 2);
  const webs = net.servers.map(({ host }, i) => new Web(host, server(i)));
  net.balancer.services.setState(destOf(net, 0), 'maint');
  net.balancer.services.setState(destOf(net, 1), 'drain');
  net.run(8100);
  assert.is(webs[0]!.times.length, 0);
  assert.ok(webs[1]!.times.length >= 4);
  const refused = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 1 });
  refused.tcb = net.connect(refused);
  assert.ok(net.run(500, () => refused.done));
  assert.is(net.reports.noServer, 1);
  net.balancer.services.setState(destOf(net, 0), 'ready');
  net.run(4100);
  assert.ok(webs[0]!.times.length >= 2);
});

test('a server that leaves is forgotten, one that stays keeps what is known of it', () => {
  const net = withCheck({ ...TCP_CHECK, fall: 1 }, 2);
  assert.ok(net.run(3000, () => net.reports.health.length === 2));
  const { services, dests, health } = net.balancer;
  const stays = destOf(net, 1);
  services.removeDest(1, server(0), 80);
  net.run(4100);
  assert.is(health.watched, 1);
  health.watch(stays, { ...TCP_CHECK, port: 0, startUp: true, http: null });
  assert.is(dests.health[stays], FAILING, 'other numbers are no reason to believe in it');
});

test('the backup gets what no other server can take, and nothing else', () => {
  const backup = { name: 'backup', af: 4, ip: server(2), port: 80, weight: 0, mac: null } as const;
  const dests = [0, 1].map((i) => ({ ...backup, name: `server${i + 1}`, ip: server(i), weight: 1 }));
  const net = new BalancedNetwork({
    servers: 3,
    service: { check: { ...TCP_CHECK, intervalMs: 60_000 }, dests, backup },
  });
  const [first, , sorry] = net.servers.map(({ host }, i) =>
    listen(host, server(i), 80, () => ({ salt: 2, peerSalt: 1, send: 5 })),
  );
  const one = (): void => {
    const e = new Endpoint(net.client.host, { salt: 1, peerSalt: 2, send: 5 });
    e.tcb = net.connect(e);
    assert.ok(net.run(1000, () => e.done));
    assert.is(e.received, 5);
  };
  const seen = sorry!.length;
  one();
  one();
  assert.is(sorry!.length, seen);
  for (const i of [0, 1]) net.balancer.services.setState(destOf(net, i), 'drain');
  const before = first!.filter((e) => e.received > 0).length;
  one();
  assert.is(sorry!.filter((e) => e.received > 0).length, 1);
  assert.is(first!.filter((e) => e.received > 0).length, before);
  assert.is(net.reports.noServer, 0);
});

test.run();
