/** The short cut for connections sends, counts and remembers what the long way does, byte for byte. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import * as tcp from '../../lb/proto/tcp.ts';
import { POST_ROUTING } from '../../stack/hook.ts';
import { Adjacencies } from '../../stack/neigh/adjacency.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PASS } from '../../stack/verdict.ts';
import { MODE_NAMES, type ModeName } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  DIRECTOR,
  GATEWAY,
  get16,
  ipPacket,
  L4Rig,
  LOCAL,
  SERVER,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import * as segments from '../lib/l4-segments.ts';
import { decodeSegment, etherFrame, fragmentable, type Segment } from '../lib/segment.ts';

const ISN = -3;
const SERVER_ISN = 2 ** 31 - 20;
const rewrites = (mode: ModeName): boolean => mode === 'FNAT' || mode === 'NAT';
const NO_DATA = new Uint8Array(0);

const fromClient = (s: Partial<Segment>, ident?: number): Uint8Array => segments.fromClient({ seq: ISN, ...s }, ident);
const fromServer = (rig: L4Rig, s: Partial<Segment>): Uint8Array => segments.fromServer(rig, { seq: SERVER_ISN, ...s });

/** A rig with the connection's SYN behind it, or all of its handshake. */
function rig(mode: ModeName, long: boolean, handshake = true): L4Rig {
  const made = new L4Rig({ mode, service: { mss: 1200 } });
  // Somebody who wants to see every packet that leaves rules the short cut out.
  if (long) made.host.hooks.register(POST_ROUTING, 0, { packet: () => PASS });
  made.feed(fromClient({ flags: 'S' }));
  if (!handshake) return made;
  const ack = (ISN + 1 + made.word(c.SEQ_DELTA)) | 0;
  if (rewrites(mode)) made.feed(fromServer(made, { flags: 'SA', ack }));
  made.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  return made;
}

const number = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
/** Believed numbers are near those that were acknowledged (lb/heard.ts). */
const near = fc.integer({ min: ISN - 20, max: ISN + 20 });
const segment = {
  up: fc.boolean(),
  win: fc.integer({ min: 0, max: 65535 }),
  data: fc.uint8Array({ maxLength: 60 }),
  ts: fc.option(fc.tuple(number, number), { nil: undefined }),
  sack: fc.option(fc.array(fc.tuple(number, number), { minLength: 1, maxLength: 2 }), { nil: undefined }),
};
const step = fc.record({
  ...segment,
  seq: number,
  ack: number,
  flags: fc.constantFrom('A', 'PA', 'A', 'PA', 'AU', 'AEC', '', 'P'),
  us: fc.integer({ min: 1, max: 2_000_000 }),
});

const given = <T extends object>(s: T): { [K in keyof T]: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(s).filter(([, value]) => value !== undefined)) as never;

/** What a row says, and its server's and service's counts. */
function known(r: L4Rig): number[] {
  const { dests, services } = r;
  const dest = dests.find(r.service, SERVER, r.rport);
  const columns = ['inPkts', 'inBytes', 'outPkts', 'outBytes'] as const;
  return [
    ...r.l4.tcp.rows.subarray(r.row << c.ROW_SHIFT, (r.row + 1) << c.ROW_SHIFT),
    ...columns.flatMap((column) => [dests[column][dest]!, services.columns[column][r.service]!]),
    dests.activeConns[dest]!,
    dests.inactConns[dest]!,
    r.l4.open,
    r.host.timers.nextDue(r.ctx.nowMs, 1e6),
  ];
}

for (const mode of MODE_NAMES)
  test(`${mode}: short cut and long way agree`, () => {
    let short = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const [a, b] = [rig(mode, false), rig(mode, true)];
        for (const { up, us, ...rest } of steps) {
          const packet = up || !rewrites(mode) ? fromClient(given(rest)) : fromServer(a, given(rest));
          a.now += us;
          b.now += us;
          assert.equal(a.feed(packet), b.feed(packet));
          assert.is(a.fate, b.fate);
        }
        assert.equal(known(a), known(b));
        assert.is(b.l4.fast.packets, 0);
        short += a.l4.fast.packets;
      }),
      { numRuns: 60, seed: 7 },
    );
    assert.ok(short > 120, `${short} packets took the short cut`);
  });

const moving = fc.record({
  ...segment,
  seq: fc.oneof(near, near, number),
  ack: fc.oneof(near, number),
  flags: fc.constantFrom('A', 'A', 'PA', 'SA', 'FA', 'FA', 'FPA', 'S', 'RA', 'R', 'F', ''),
  mss: fc.option(fc.integer({ min: 500, max: 1500 }), { nil: undefined }),
  /** It arrives together with those before it. */
  together: fc.boolean(),
  us: fc.oneof(fc.integer({ min: 1, max: 4_000_000 }), fc.integer({ min: 1, max: 28_000_000 })),
});

/** Segments that go the long way are carried after those of their burst that do not. */
const isCutShort = (up: boolean, flags: string): boolean =>
  flags.includes('A') && !flags.includes('R') && !(up && flags.includes('S'));

for (const mode of MODE_NAMES)
  test(`${mode}: they agree on the states a connection goes through`, () => {
    let short = 0;
    let states = 0;
    fc.assert(
      fc.property(fc.array(moving, { minLength: 1, maxLength: 16 }), fc.boolean(), (steps, handshake) => {
        const [a, b] = [rig(mode, false, handshake), rig(mode, true, handshake)];
        let burst: Uint8Array[] = [];
        const arrive = (): void => {
          if (burst.length > 0) assert.equal(a.feedAll(burst), b.feedAll(burst));
          burst = [];
          assert.equal(known(a), known(b));
          states |= 1 << (a.word(c.META) & c.STATE_MASK);
        };
        for (const { up, us, together, ...rest } of steps) {
          const inward = up || !rewrites(mode);
          if (!together || !isCutShort(inward, rest.flags)) {
            arrive();
            a.now += us;
            b.now += us;
          }
          burst.push(inward ? fromClient(given(rest)) : fromServer(a, given(rest)));
          if (!isCutShort(inward, rest.flags)) arrive();
        }
        arrive();
        assert.equal(a.fates, b.fates);
        assert.is(a.ctx.random.next(), b.ctx.random.next(), 'timers were moved as often');
        assert.is(b.l4.fast.packets, 0);
        short += a.l4.fast.packets;
      }),
      { numRuns: 60, seed: 7 },
    );
    assert.ok(short > 180, `${short} packets took the short cut`);
    const all = [tcp.ESTABLISHED, tcp.SYN_RECV, tcp.FIN_WAIT, tcp.TIME_WAIT, tcp.CLOSE];
    if (rewrites(mode)) all.push(tcp.SYN_SENT, tcp.CLOSE_WAIT);
    assert.is(
      states,
      all.reduce((bits, state) => bits | (1 << state), 0),
      'all states that a client can bring about',
    );
  });

const datagram = fc.record({
  up: fc.boolean(),
  data: fc.uint8Array({ maxLength: 60 }),
  summed: fc.boolean(),
  df: fc.boolean(),
  us: fc.integer({ min: 1, max: 2_000_000 }),
});

for (const mode of MODE_NAMES)
  test(`${mode}: short cut and long way agree on datagrams`, () => {
    let short = 0;
    fc.assert(
      fc.property(fc.array(datagram, { minLength: 1, maxLength: 12 }), (steps) => {
        const [a, b] = [new L4Rig({ mode, udp: true }), new L4Rig({ mode, udp: true })];
        b.host.hooks.register(POST_ROUTING, 0, { packet: () => PASS });
        const out = (data: Uint8Array, summed: boolean): Uint8Array =>
          ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, data, summed));
        const back = (data: Uint8Array, summed: boolean): Uint8Array => {
          const to = a.word(c.LADDR);
          return ipPacket(SERVER, to, 17, udpBytes(SERVER, to, a.rport, a.lport, data, summed));
        };
        assert.equal(a.feed(out(NO_DATA, true)), b.feed(out(NO_DATA, true)));
        for (const { up, us, data, summed, df } of steps) {
          const whole = up || !rewrites(mode) ? out(data, summed) : back(data, summed);
          const packet = df ? whole : fragmentable(whole);
          a.now += us;
          b.now += us;
          assert.equal(a.feed(packet), b.feed(packet));
          assert.is(a.fate, b.fate);
        }
        const row = (r: L4Rig): number[] => [
          ...r.l4.udp.rows.subarray(r.row << c.ROW_SHIFT, (r.row + 1) << c.ROW_SHIFT),
        ];
        assert.equal(row(a), row(b));
        assert.is(b.l4.fast.packets, 0);
        short += a.l4.fast.packets;
      }),
      { numRuns: 60, seed: 7 },
    );
    assert.ok(short > 120, `${short} packets took the short cut`);
  });

test('TUN: identifications count on, and the source follows addresses, routes and neighbours, as the long way has it', () => {
  const [a, b] = [rig('TUN', false), rig('TUN', true)];
  const packet = fragmentable(fromClient({ seq: ISN + 1, ack: 1 }));
  const route = {
    prefix: SERVER,
    len: 32,
    gateway: GATEWAY,
    port: 1,
    metric: 0,
    src: LOCAL,
    mtu: 0,
    scope: SCOPE_GLOBAL,
  };
  const changes: ((r: L4Rig) => void)[] = [
    () => {},
    ({ host }) => host.routes.add(route),
    ({ host }) => void host.routes.delete(route),
    ({ host }) => host.neigh.nud.setStatic(SERVER, 1, 0x0200, 42),
    ({ host }) => void host.addresses.remove(DIRECTOR, 1),
  ];
  const seen = changes.flatMap((change) => {
    for (const r of [a, b]) change(r);
    const sent = [a.feedAll([packet, packet]), a.feed(packet)].flat();
    assert.equal(sent, [b.feedAll([packet, packet]), b.feed(packet)].flat());
    return sent.map(({ ip: outer, src, to }) => ({ id: get16(outer, 4), src, to }));
  });
  assert.equal(
    seen.map(({ src, to }) => [src, to]),
    [
      [DIRECTOR, 21],
      [LOCAL, 254],
      [DIRECTOR, 21],
      [DIRECTOR, 42],
      [LOCAL, 42],
    ].flatMap((one) => [one, one, one]),
  );
  const ids = (src: number): number[] => seen.filter((one) => one.src === src).map(({ id }) => id);
  for (const [i, id] of ids(DIRECTOR).entries()) assert.is(id, (ids(DIRECTOR)[0]! + i) & 0xffff);
  for (const [i, id] of ids(LOCAL).entries()) assert.is(id, (ids(LOCAL)[0]! + i) & 0xffff);
  assert.is(a.l4.fast.packets, 1 + 15);
  assert.is(b.l4.fast.packets, 0);
});

test('frames the stack would drop are left to it to drop', () => {
  const r = rig('FNAT', false);
  const before = r.l4.fast.packets;
  const good = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 });
  const spoilt: [string, (b: Uint8Array) => void, string][] = [
    ['header checksum', (b) => (b[10]! ^= 1), 'ip_checksum'],
    ['version', (b) => (b[0] = 0x65), 'ip_version'],
    ['total length', (b) => (b[2] = 0xff), 'ip_truncated'],
  ];
  for (const [what, spoil, reason] of spoilt) {
    const bad = good.slice();
    spoil(bad);
    assert.equal(r.feed(bad), [], what);
    assert.is(r.fate, reason, what);
  }
  assert.is(r.l4.fast.packets, before);
  assert.is(r.feed(good).length, 1);
  assert.is(r.l4.fast.packets, before + 1);
});

test('a next hop that is not known to be there is asked for, and the packet goes on', () => {
  const r = rig('NAT', false);
  const { nud } = r.host.neigh;
  nud.remove(SERVER, 1);
  const packet = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 });
  assert.equal(
    r.feed(packet).map((s) => s.dst),
    [],
    'it waits for the address',
  );
  nud.setStatic(SERVER, 1, 0x0200, 99);
  assert.equal(
    r.step().map((s) => [s.dst, s.to]),
    [[SERVER, 99]],
  );
  nud.setStatic(SERVER, 1, 0x0200, 77);
  assert.is(r.feed(packet)[0]!.to, 77, 'an address that changes is felt at once');
  nud.setStatic(GATEWAY, 1, 0x0200, 55);
  assert.is(r.feed(fromServer(r, { ack: ISN + 2, seq: SERVER_ISN + 1 }))[0]!.to, 55);
});

/** An address behind the gateway that shares SERVER's place in the cache of adjacencies. */
function sharingPlace({ ctx, host: { routes, addresses, neigh, netif } }: L4Rig): number {
  const adjacencies = new Adjacencies(ctx, routes, addresses, neigh.table, netif);
  const hops = new Int32Array(2);
  for (let addr = (10 << 24) | (9 << 16); ; addr++) {
    adjacencies.findAll(Int32Array.of(SERVER, addr), hops, 2);
    if (hops[0] === hops[1]) return addr;
  }
}

test('a server whose place in the cache another one takes within a burst keeps its own MTU', () => {
  for (const mode of MODE_NAMES) {
    const r = new L4Rig({ mode });
    const route = { port: 1, metric: 0, src: 0, scope: SCOPE_GLOBAL };
    r.host.routes.add({ ...route, prefix: SERVER, len: 32, gateway: 0, mtu: 1000 });
    const servers = [SERVER, sharingPlace(r)];
    r.services.setDests(
      r.service,
      servers.map((addr) => ({ addr, port: r.rport, weight: 1 })),
    );
    r.l4.setService(r.service, r.wanted);
    const first = r.feed(fromClient({ flags: 'S' }))[0]!;
    r.feed(fromClient({ sport: CPORT + 1, flags: 'S' }));
    const ports = first.to === (SERVER & 255) ? [CPORT, CPORT + 1] : [CPORT + 1, CPORT];
    const before = r.l4.fast.packets;
    const sent = r.feedAll(
      [1100, 10].map((bytes, k) => fromClient({ sport: ports[k]!, seq: ISN + 1, data: new Uint8Array(bytes) })),
    );
    assert.ok(r.l4.fast.packets > before, mode);
    assert.ok(
      sent.every(({ ip }) => ip.length < 1000),
      mode,
    );
    assert.is(
      sent.filter(({ proto, dst }) => proto === 1 && dst === CLIENT).length,
      1,
      `${mode}: fragmentation needed`,
    );
  }
});

test('all but the first SYN and resets take the short cut', () => {
  const r = rig('FNAT', false);
  const before = r.l4.fast.packets;
  assert.is(before, 2, 'handshake');
  const [seq, ack] = [ISN + 1, SERVER_ISN + 1];
  const state = (): number => r.word(c.META) & c.STATE_MASK;
  r.feed(fromClient({ flags: 'FA', seq, ack }));
  assert.is(state(), tcp.CLOSE_WAIT);
  r.feed(fromServer(r, { flags: 'FA', seq: ack, ack: (seq + 1 + r.word(c.SEQ_DELTA)) | 0 }));
  assert.is(state(), tcp.TIME_WAIT);
  r.feed(fromClient({ seq: seq + 1, ack: ack + 1 }));
  assert.is(r.l4.fast.packets, before + 3);
  r.feed(fromServer(r, { flags: 'R', seq: ack }));
  r.feed(fromClient({ flags: 'SA' }));
  r.feed(fromClient({ flags: 'S' }));
  assert.is(r.l4.fast.packets, before + 3);
});

test('a timestamp does not keep a segment from the short cut, TTL to decrement does', () => {
  const plain = rig('NAT', false);
  plain.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, ts: [1, 2] }));
  assert.ok(plain.l4.fast.packets > 0);
  const hop = new L4Rig({ mode: 'DR', options: { decrementTtl: true } });
  hop.feed(fromClient({ flags: 'S' }));
  hop.feed(fromClient({ seq: ISN + 1 }));
  hop.feed(fromClient({ seq: ISN + 1 }));
  assert.is(hop.l4.fast.packets, 0);
  hop.l4.xmit.way.decrementTtl = false;
  hop.feed(fromClient({ seq: ISN + 1 }));
  assert.is(hop.l4.fast.packets, 1, 'asked anew for each burst');
});

for (const mode of ['FNAT', 'NAT', 'DR'] as const)
  test(`${mode}: segments of a burst leave as one frame where the port cuts, rewritten as each by itself would be`, () => {
    const [whole, single] = [true, false].map((tso) => {
      const made = new L4Rig({ mode, tso });
      made.feed(fromClient({ flags: 'S' }));
      if (rewrites(mode)) made.feed(fromServer(made, { flags: 'SA', ack: (ISN + 1 + made.word(c.SEQ_DELTA)) | 0 }));
      made.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
      const segments = [0, 1, 2].map((n) => {
        const data = Uint8Array.from({ length: 1000 }, (_, i) => i * (n + 3));
        const seq = ISN + 1 + n * 1000;
        return fromClient({ seq, ack: SERVER_ISN + 1, data, flags: n === 2 ? 'PA' : 'A' }, n);
      });
      const sent = made.feedAll(segments);
      assert.equal(made.fates.slice(-3).sort(), tso ? ['delivered', 'delivered', 'sent'] : ['sent', 'sent', 'sent']);
      const dest = made.dests.find(made.service, SERVER, made.rport);
      assert.is(made.dests.inPkts[dest], 5, 'packets are counted one by one');
      return sent;
    });
    assert.is(whole!.length, 1);
    const [train] = whole!.map((one) => decodeSegment(etherFrame(one.ip), one.partial));
    const parts = single!.map((one) => decodeSegment(etherFrame(one.ip)));
    assert.equal(train, { ...parts[0]!, flags: 'PA', data: Uint8Array.from(parts.flatMap(({ data }) => [...data])) });
    assert.equal([whole![0]!.gsoSize, whole![0]!.to], [1000, single![0]!.to]);
  });

test.run();
