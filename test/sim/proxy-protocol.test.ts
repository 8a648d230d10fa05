/** Who the client is: told to servers, and told by proxies in front of us; and what the access log is given of it all. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Endpoints, header } from '../../lb/l7/proxy-protocol.ts';
import { readSessions } from '../../lb/l7/session.ts';
import { LOG_RING, SessionLog, SessionLogReader, type SessionRecord } from '../../lb/l7/session-log.ts';
import type { Context } from '../../stack/context.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import * as sock from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { BalancedNetwork, type BalancerOptions, CLIENT, server, VIP } from '../lib/balancer.ts';
import { seeded } from '../lib/random.ts';
import { ip, type SimHost } from '../lib/sim.ts';

/** An end that says what it is told to, remembers what it hears, and closes when told or when the other does. */
class Talker implements SocketOwner {
  heard = Buffer.alloc(0);
  end = -1;
  tcb: Tcb | null = null;
  private readonly at: SimHost;
  private readonly greeting: Uint8Array;
  private readonly closes: boolean;

  constructor(at: SimHost, greeting: Uint8Array | string = '', closes = false) {
    this.at = at;
    this.greeting = Buffer.from(greeting as string);
    this.closes = closes;
  }

  onEstablished(tcb: Tcb): void {
    this.tcb = tcb;
    this.say(this.greeting);
    if (this.closes) sock.shutdown(this.at.host.tcp, tcb);
  }

  say(bytes: Uint8Array | string): void {
    const all = Buffer.from(bytes as string);
    if (all.length > 0) sock.write(this.at.host.tcp, this.tcb!, all, 0, all.length);
  }

  onReadable(tcb: Tcb): void {
    const buffer = new Uint8Array(65536);
    const n = sock.read(this.at.host.tcp, tcb, buffer, 0, buffer.length);
    this.heard = Buffer.concat([this.heard, buffer.subarray(0, n)]);
  }

  onWritable(): void {}

  onFin(tcb: Tcb): void {
    sock.shutdown(this.at.host.tcp, tcb);
  }

  onClosed(tcb: Tcb, end: number): void {
    this.onReadable(tcb);
    this.end = end;
  }
}

/** Listens with a talker for each connection. */
function serve(at: SimHost, addr: number, greeting = ''): Talker[] {
  const talkers: Talker[] = [];
  const byTcb = new Map<Tcb, Talker>();
  const owner: SocketOwner = {
    onEstablished(tcb) {
      const talker = new Talker(at, greeting);
      byTcb.set(tcb, talker);
      talkers.push(talker);
      talker.onEstablished(tcb);
    },
    onReadable: (tcb) => byTcb.get(tcb)?.onReadable(tcb),
    onWritable: () => {},
    onFin: (tcb) => byTcb.get(tcb)?.onFin(tcb),
    onClosed(tcb, end) {
      byTcb.get(tcb)?.onClosed(tcb, end);
      byTcb.delete(tcb);
    },
  };
  at.host.tcp.listeners.add(addr, 80, 64, owner, 0);
  return talkers;
}

function dial(net: BalancedNetwork, greeting: Uint8Array | string = '', closes = false): Talker {
  const talker = new Talker(net.client, greeting, closes);
  talker.tcb = net.connect(talker);
  return talker;
}

const headerOf = (version: 'v1' | 'v2', sport: number, src = CLIENT, dst = VIP, dport = 80): Buffer =>
  Buffer.from(header(version, Object.assign(new Endpoints(), { src, sport, dst, dport })));

for (const version of ['v1', 'v2'] as const) {
  test(`${version}: a server hears who the client is before anything else, also from a client that is silent`, () => {
    const net = new BalancedNetwork({ servers: 1, service: { proxyProtocol: version } });
    const accepted = serve(net.servers[0]!, server(0), 'welcome');
    const silent = dial(net);
    const eager = dial(net, 'hello');
    assert.ok(net.run(1000, () => silent.heard.length === 7 && eager.heard.length === 7));
    net.run(100);
    assert.equal(
      accepted.map((a) => a.heard.toString('hex')),
      [
        headerOf(version, silent.tcb!.lport).toString('hex'),
        Buffer.concat([headerOf(version, eager.tcb!.lport), Buffer.from('hello')]).toString('hex'),
      ],
    );
    const [session] = readSessions(net.balancer.proxy.sessions.share);
    assert.is(session!.toServer, 0, "the header is not the client's data");
  });
}

test('each server that is tried hears it once', () => {
  const net = new BalancedNetwork({ servers: 3, service: { proxyProtocol: 'v1' } });
  const accepted = serve(net.servers[2]!, server(2));
  const clients = [dial(net, 'a'), dial(net, 'b')];
  net.run(1000);
  assert.equal(
    accepted.map((a) => a.heard.toString()).sort(),
    clients.map((c, i) => `${headerOf('v1', c.tcb!.lport)}${'ab'[i]}`).sort(),
  );
});

test('it is said once over a link that loses, doubles and reorders, and data follows whole', () => {
  const rules = { ...NO_FAULTS, loss: 0.1, duplicate: 0.1, reorder: 0.1, reorderMicros: 3000 };
  const wrap = (device: Device, ctx: Context): Device =>
    new Fault(ctx, device, { rx: rules, tx: rules, capacity: 1024 }, seeded(5));
  const net = new BalancedNetwork({ servers: 1, seed: 5, wrap, service: { proxyProtocol: 'v2' } });
  const accepted = serve(net.servers[0]!, server(0));
  const data = Buffer.from(Array.from({ length: 20_000 }, (_, i) => i & 255));
  const clients = Array.from({ length: 10 }, () => dial(net, data, true));
  assert.ok(net.run(200_000, () => accepted.length === 10 && accepted.every((a) => a.end >= 0)));
  const heads = clients.map((c) => headerOf('v2', c.tcb!.lport).toString('hex')).sort();
  assert.equal(accepted.map((a) => a.heard.subarray(0, 28).toString('hex')).sort(), heads);
  for (const { heard } of accepted) assert.ok(heard.subarray(28).equals(data));
});

const REAL = ip('203.0.113.9');
const ORIGINAL = ip('198.51.100.1');
const trusting = (more: BalancerOptions['service'] = {}): BalancerOptions => ({
  servers: 1,
  service: { acceptProxy: [{ network: ip('10.0.0.0'), prefixLen: 29 }], ...more },
});

for (const version of ['v1', 'v2'] as const) {
  test(`${version}: the announced client is the one that counts; its data goes on to the server`, () => {
    const net = new BalancedNetwork(trusting({ proxyProtocol: 'v2' }));
    const accepted = serve(net.servers[0]!, server(0));
    const head = headerOf(version, 4444, REAL, ORIGINAL, 8443);
    dial(net, Buffer.concat([head, Buffer.from('data')]));
    net.run(500);
    const [session] = readSessions(net.balancer.proxy.sessions.share);
    assert.equal([session!.clientAddr, session!.clientPort, session!.toServer], [REAL, 4444, 4]);
    const told = Buffer.concat([headerOf('v2', 4444, REAL, ORIGINAL, 8443), Buffer.from('data')]);
    assert.is(accepted[0]!.heard.toString('hex'), told.toString('hex'));
  });

  test(`${version}: the header may come byte by byte`, () => {
    const net = new BalancedNetwork(trusting());
    const accepted = serve(net.servers[0]!, server(0));
    const bytes = Buffer.concat([headerOf(version, 4444, REAL), Buffer.from('xy')]);
    const client = dial(net);
    net.run(20);
    bytes.forEach((_, i) => {
      assert.is(accepted.length, i >= bytes.length - 2 ? 1 : 0, `before byte ${i}`);
      client.say(bytes.subarray(i, i + 1));
      net.run(3);
    });
    net.run(20);
    assert.is(accepted[0]!.heard.toString(), 'xy');
  });
}

test('a header that names nobody leaves the connection its addresses', () => {
  const net = new BalancedNetwork(trusting());
  serve(net.servers[0]!, server(0));
  const client = dial(net, 'PROXY UNKNOWN\r\n');
  net.run(500);
  const [session] = readSessions(net.balancer.proxy.sessions.share);
  assert.equal([session!.clientAddr, session!.clientPort], [CLIENT, client.tcb!.lport]);
});

test('without a correct header, or not in time, a client is reset and no server hears of it', () => {
  const timeouts = { connectMs: 700, clientMs: 0, serverMs: 0, finMs: 0 };
  for (const [greeting, closes] of [
    ['GET / HTTP/1.0\r\n\r\n', false],
    ['PROXY TCP4 1.2.3.4 5.6.7.8 1 99999\r\n', false],
    ['PROXY TCP4 1.2.3', false],
    ['PROXY TCP4 1.2.3', true],
    ['', false],
  ] as const) {
    const net = new BalancedNetwork(trusting({ timeouts }));
    const accepted = serve(net.servers[0]!, server(0));
    const client = dial(net, greeting, closes);
    assert.ok(
      net.run(1000, () => client.end >= 0),
      greeting,
    );
    assert.is(client.end, st.END_RESET);
    assert.is(net.balancer.proxy.stats.badHeaders, 1);
    net.run(50);
    assert.equal([accepted.length, net.balancer.proxy.open, net.ctx.pool.inUse], [0, 0, 0]);
  }
});

test('who is not trusted is reset, header or not', () => {
  const net = new BalancedNetwork(trusting({ acceptProxy: [{ network: ip('10.0.0.2'), prefixLen: 32 }] }));
  const accepted = serve(net.servers[0]!, server(0));
  const client = dial(net, headerOf('v1', 4444, REAL));
  assert.ok(net.run(500, () => client.end >= 0));
  assert.equal([client.end, accepted.length, net.balancer.proxy.stats.untrusted], [st.END_RESET, 0, 1]);
  assert.is(net.balancer.proxy.open, 0);
});

// What the log is given

function logged(options: BalancerOptions = {}): { net: BalancedNetwork; take(): SessionRecord[] } {
  const memory = new SharedArrayBuffer(SpscRing.bytes(LOG_RING));
  const sessionLog = new SessionLog(SpscRing.create(memory, 0, LOG_RING));
  sessionLog.epochMs = 1_700_000_000_000;
  const reader = new SessionLogReader(SpscRing.attach(memory, 0));
  const take = (): SessionRecord[] => {
    const records: SessionRecord[] = [];
    for (let r = reader.next(); r !== null; r = reader.next()) records.push(r);
    return records;
  };
  return { net: new BalancedNetwork({ servers: 1, ...options, sessionLog }), take };
}

test('a session that ended well is logged with its times, bytes and addresses', () => {
  const { net, take } = logged(trusting());
  serve(net.servers[0]!, server(0), 'welcome');
  const client = dial(net, `${headerOf('v1', 4444, REAL)}ask`);
  net.run(1500);
  assert.equal(take(), []);
  sock.shutdown(net.client.host.tcp, client.tcb!);
  assert.ok(net.run(500, () => client.end >= 0));
  net.run(20);
  const [record, ...others] = take();
  assert.is(others.length, 0);
  const { endedMs, durationMs, connectMs, localPort, ...rest } = record!;
  assert.ok(durationMs >= 1500 && durationMs < 1600, `${durationMs}`);
  assert.ok(connectMs >= 0 && connectMs < 20, `${connectMs}`);
  assert.ok(Math.abs(endedMs - 1_700_000_000_000 - net.now / 1000) < 100);
  assert.ok(localPort > 1024);
  assert.equal(rest, {
    ...{ service: 1, dest: 1, clientAddr: REAL, clientPort: 4444, vip: VIP, vport: 80, localAddr: VIP },
    ...{ serverAddr: server(0), serverPort: 80, toServer: 3, toClient: 7, retries: 0, end: 'normal' },
  });
});

test('a log that nobody reads loses records, counts them, and harms nothing', () => {
  const small = { ...LOG_RING, capacity: 2 };
  const sessionLog = new SessionLog(SpscRing.create(new SharedArrayBuffer(SpscRing.bytes(small)), 0, small));
  const net = new BalancedNetwork({ servers: 1, sessionLog });
  serve(net.servers[0]!, server(0));
  for (let i = 0; i < 5; i++) {
    const client = dial(net, 'x', true);
    assert.ok(net.run(500, () => client.end === st.END_NORMAL));
  }
  net.run(20);
  assert.is(net.balancer.proxy.stats.logLost, 3);
});

test('how each session ended is told apart', () => {
  const silent = (net: BalancedNetwork): unknown => net.balancer.host.neigh.nud.setStatic(server(0), 1, 0x0200, 0x77);
  const up = (net: BalancedNetwork): Talker[] => serve(net.servers[0]!, server(0));
  const cases: [string, BalancerOptions, (net: BalancedNetwork) => void, number][] = [
    [
      'no_server',
      {},
      (net) => {
        net.balancer.services.setState(1, 'maint');
        dial(net);
      },
      0,
    ],
    ['connect_failed', {}, (net) => dial(net), 1],
    [
      'client_left',
      {},
      (net) => {
        silent(net);
        const client = dial(net);
        net.run(100);
        sock.abort(net.client.host.tcp, client.tcb!);
      },
      0,
    ],
    [
      'client_reset',
      {},
      (net) => {
        up(net);
        const client = dial(net, 'x');
        net.run(100);
        sock.abort(net.client.host.tcp, client.tcb!);
      },
      0,
    ],
    [
      'server_reset',
      {},
      (net) => {
        const accepted = up(net);
        dial(net, 'x');
        net.run(100);
        sock.abort(net.servers[0]!.host.tcp, accepted[0]!.tcb!);
      },
      0,
    ],
    [
      'idle',
      { service: { timeouts: { connectMs: 500, clientMs: 300, serverMs: 0, finMs: 0 } } },
      (net) => {
        up(net);
        dial(net);
      },
      0,
    ],
    [
      'drained',
      {},
      (net) => {
        up(net);
        dial(net);
        net.run(50);
        net.balancer.proxy.abortAll();
      },
      0,
    ],
    ['bad_proxy_header', trusting(), (net) => dial(net, 'GET /'), 0],
    ['untrusted_proxy', trusting({ acceptProxy: [{ network: 0x01020304, prefixLen: 32 }] }), (net) => dial(net), 0],
  ];
  for (const [end, options, act, retries] of cases) {
    const { net, take } = logged(options);
    act(net);
    net.run(2000);
    const records = take();
    assert.equal(
      records.map((r) => [r.end, r.retries]),
      [[end, retries]],
      end,
    );
  }
});

test.run();
