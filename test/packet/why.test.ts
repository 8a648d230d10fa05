/**
 * What `why` says of a packet, and what then becomes of it: ask, feed, compare. Asking leaves every byte of the director as it
 * was, and uses no randomness.
 */
import { createHash } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import type { L4Service } from '../../lb/l4.ts';
import { CLOSE, TIME_WAIT } from '../../lb/proto/tcp.ts';
import { type SchedOptions, schedulers } from '../../lb/sched/index.ts';
import { PROTO_MARK, PROTO_MATCH } from '../../lb/service.ts';
import { why } from '../../lb/why/index.ts';
import type { Answer, Asked, Step } from '../../lb/why/steps.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { Routes4 } from '../../stack/route/route4.ts';
import type { SocketOwner } from '../../stack/tcp/tcb.ts';
import { MODE_NAMES, MODES, type ModeName } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  GATEWAY,
  get16,
  icmpBytes,
  ipPacket,
  L4Rig,
  LOCAL,
  type RigOptions,
  RPORT,
  SERVER,
  type Sent,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { seeded } from '../lib/random.ts';
import { tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const NOBODY = ip('10.0.0.99');
const DEAF: SocketOwner = { onEstablished() {}, onReadable() {}, onWritable() {}, onFin() {}, onClosed() {} };
const PROTO = { tcp: 6, udp: 17, icmp: 1 } as const;
type Proto = keyof typeof PROTO;

/** All that can be reached from a director, as a hash; registers that hold the last answer of a lookup apart. */
function fingerprint(rig: L4Rig): string {
  const hash = createHash('sha1');
  const seen = new Set<object>();
  const walk = (value: unknown): void => {
    if (typeof value !== 'object' || value === null) {
      if (typeof value !== 'function') hash.update(`${String(value)};`);
      return;
    }
    if (seen.has(value)) return;
    seen.add(value);
    if (ArrayBuffer.isView(value)) {
      // Once, however many views there are.
      if (!seen.has(value.buffer)) hash.update(new Uint8Array(value.buffer));
      seen.add(value.buffer);
      return;
    }
    if (value instanceof Map || value instanceof Set) {
      for (const entry of value) walk(entry);
      return;
    }
    for (const [key, field] of Object.entries(value)) if (!(value instanceof Routes4 && /^out/.test(key))) walk(field);
  };
  walk([rig.host, rig.l4, rig.services, rig.dests, rig.ctx]);
  return hash.digest('hex');
}

const ASKED: Asked = {
  ...{ proto: 6, src: CLIENT, dst: VIP, sport: CPORT, dport: VPORT },
  ...{ kind: 'auto', iif: 0, bytes: 40, df: false, ttl: 64 },
};

/** A fingerprint takes some 20 ms: it is taken of every so manyth question. */
const FINGERPRINT_EVERY = 6;
let questions = 0;

/** Asks, and sees to it that nothing has changed by that. */
function ask(rig: L4Rig, asked: Partial<Asked>): Answer {
  const before = questions++ % FINGERPRINT_EVERY === 0 ? fingerprint(rig) : null;
  const { random } = rig.ctx;
  const { next } = random;
  random.next = () => {
    throw new Error('a question used up randomness');
  };
  try {
    return why({ host: rig.host, services: rig.services, l4: rig.l4 }, { ...ASKED, ...asked });
  } finally {
    random.next = next;
    if (before !== null) assert.is(fingerprint(rig), before, 'asking changes nothing');
  }
}

function packetOf(asked: Asked, first: boolean): Uint8Array {
  const { proto, src, dst, sport, dport, bytes, df, ttl } = asked;
  const data = new Uint8Array(Math.max(0, bytes - (proto === PROTO.tcp ? 40 : 28)));
  const segment = {
    src,
    dst,
    sport,
    dport,
    seq: 1000,
    ack: first ? 0 : 5000,
    flags: first ? 'S' : 'A',
    win: 500,
    data,
  };
  const l4 =
    proto === PROTO.tcp
      ? tcpBytes(segment)
      : proto === PROTO.udp
        ? udpBytes(src, dst, sport, dport, data)
        : icmpBytes(first ? 8 : 0, 0, sport << 16, data);
  const packet = ipPacket(src, dst, proto, l4);
  const header = new DataView(packet.buffer);
  header.setUint16(6, df ? 0x4000 : 0);
  packet[8] = ttl;
  header.setUint16(10, 0);
  header.setUint16(10, naiveChecksum(packet.subarray(0, 20)));
  return packet;
}

const find = <A extends Step['at']>(answer: Answer, at: A): Extract<Step, { at: A }> | undefined =>
  answer.steps.find((step) => step.at === at) as Extract<Step, { at: A }> | undefined;

/** Asks about a packet, feeds it, and compares; what was said. */
function compare(rig: L4Rig, asked: Partial<Asked> = {}): Answer {
  const answer = ask(rig, asked);
  const { outcome } = answer;
  const first = find(answer, 'arrival')!.kind === 'first';
  const fates = rig.fates.length;
  const sent = rig.feed(packetOf(answer.asked, first));
  const said = JSON.stringify(answer);
  const fate = rig.fates.length > fates ? rig.fate : 'held';
  if (outcome.end === 'sent') {
    assert.is(fate, find(answer, 'route')?.fragments ? 'delivered' : 'sent', said);
    compareSent(answer, sent[0]!);
  } else if (outcome.end === 'waits') assert.is(fate, 'held', said);
  else if (outcome.end === 'local') assert.is(fate, outcome.what === 'echo' ? 'sent' : 'delivered', said);
  else assert.is(fate, outcome.end === 'drop' ? DROP_REASONS[outcome.reason]!.name : '', said);
  return answer;
}

function compareSent(answer: Answer, sent: Sent): void {
  const said = JSON.stringify(answer);
  const neighbour = find(answer, 'neighbour')!;
  assert.is(sent.to, neighbour.macLo & 255, said);
  const { after, outer } = find(answer, 'rewrite')!;
  if (outer !== null) assert.equal([sent.src, sent.dst, sent.proto], [outer.src, outer.dst, 4], said);
  const inner = outer === null ? sent.ip : sent.l4;
  const view = new DataView(inner.buffer, inner.byteOffset);
  assert.equal([view.getInt32(12), view.getInt32(16)], [after.src, after.dst], said);
  if (answer.asked.proto === PROTO.icmp || (view.getUint16(6) & 0x1fff) !== 0) return;
  const [sport, dport] = [get16(inner, 20), get16(inner, 22)];
  // What chance decides is said to be unknown.
  if (after.sport !== 0) assert.equal([sport, dport], [after.sport, after.dport], said);
  else assert.is(dport, after.dport, said);
}

/** A director with one service of a protocol; ICMP's is for echo requests to the VIP. */
function rigOf(mode: ModeName, proto: Proto, more: Partial<RigOptions> = {}): L4Rig {
  const rig = new L4Rig({ mode, udp: proto === 'udp', ...more });
  if (proto === 'icmp') {
    const id = rig.services.add({ proto: 1, vip: VIP, port: 0, scheduler: 'rr' });
    rig.services.setDests(id, [{ addr: SERVER, port: 0, weight: 1 }]);
    rig.l4.setService(id, serviceOf(mode));
  }
  return rig;
}

const serviceOf = (mode: ModeName): L4Service => layer4Service(MODES[mode], { localAddresses: [LOCAL], inTurn: false });

for (const mode of MODE_NAMES) {
  for (const proto of ['tcp', 'udp', 'icmp'] as const) {
    test(`${mode}, ${proto}: new and known, from the client and from the server, it goes as was said`, () => {
      const rig = rigOf(mode, proto);
      const of = { proto: PROTO[proto] };
      const first = compare(rig, of);
      assert.is(find(first, 'connection')!.conn, null);
      assert.is(find(first, 'service')!.rule, proto === 'icmp' ? 'all ports' : 'address and port');
      assert.is(find(first, 'scheduler')!.servers.length, 1);
      const known = compare(rig, { ...of, kind: proto === 'icmp' ? 'first' : 'auto' });
      const { conn } = find(known, 'connection')!;
      assert.equal([conn!.mode, conn!.direction, conn!.packetsIn], [mode, 'in', 1]);
      assert.is(find(known, 'scheduler'), undefined);
      const second = compare(rig, { ...of, sport: CPORT + 1 });
      assert.is(second.outcome.end, 'sent');
      if (!c.seesReplies(MODES[mode])) return;
      const table = rig.l4[proto];
      const at = table.next(0) << c.ROW_SHIFT;
      const rl = table.rows[at + c.RLPORTS]!;
      const back = { src: SERVER, dst: table.rows[at + c.LADDR]!, sport: rl >>> 16, dport: rl & 0xffff };
      const answer = compare(rig, { ...of, ...back, ...(proto === 'icmp' ? { sport: rl & 0xffff, dport: 0 } : {}) });
      assert.is(find(answer, 'connection')!.conn!.direction, 'out');
      assert.is(find(answer, 'neighbour')!.ip, GATEWAY);
      // From a server nobody talks to.
      compare(rig, { ...of, src: SERVER, dst: CLIENT, sport: RPORT, dport: 7 });
    });
  }

  test(`${mode}: no server, and which it would be but for its state`, () => {
    const rig = rigOf(mode, 'tcp');
    const [dest] = rig.services.destIds(rig.service) as [number];
    const said = (): string | null => find(compare(rig), 'scheduler')!.servers[0]!.keptOut;
    rig.services.setWeight(dest, 0);
    assert.is(said(), 'weight 0');
    rig.services.setWeight(dest, 1);
    rig.dests.setHealth(dest, false, 0);
    assert.is(said(), 'down');
    rig.dests.setHealth(dest, true, 0);
    for (const state of ['drain', 'maint'] as const) {
      rig.services.setState(dest, state);
      assert.is(said(), state);
    }
    rig.services.setState(dest, 'ready');
    assert.is(said(), null);
    rig.services.editDest(rig.service, { addr: SERVER, port: rig.rport, weight: 1, upper: 1 });
    assert.is(find(compare(rig, { sport: 1 }), 'scheduler')!.servers[0]!.keptOut, 'overloaded');
  });

  test(`${mode}: no route, a packet too large, with DF and without, and neighbours in each state`, () => {
    const rig = rigOf(mode, 'tcp');
    compare(rig);
    const known = { kind: 'next' } as const;
    assert.is(find(compare(rig, { ...known, bytes: 1500 }), 'route')!.fragments, mode === 'TUN');
    if (mode === 'TUN') compare(rig, { ...known, bytes: 1490, df: true });
    const port = rig.host.routes.routeTo(SERVER)!.port;
    const { nud } = rig.host.neigh;
    nud.remove(SERVER, port);
    for (let i = 0; i < 2; i++) assert.is(compare(rig, known).outcome.end, 'waits');
    for (let i = 0; i < 4; i++) rig.step(1_000_100);
    assert.equal(find(compare(rig, known), 'neighbour')!.state, 1, 'failed');
    nud.remove(SERVER, port);
    nud.heard(SERVER, port, 0x0200, SERVER & 255, true);
    for (const state of [3, 4]) assert.is(find(compare(rig, known), 'neighbour')!.state, state, 'stale, then delay');
    rig.services.setDests(rig.service, [{ addr: ip('203.0.113.1'), port: rig.rport, weight: 1 }]);
    compare(rig, { sport: 5 });
    for (const route of rig.host.routes.list().filter(({ len }) => len === 0)) rig.host.routes.delete(route);
    assert.is(compare(rig, { sport: 6 }).outcome.end, 'drop');
  });

  test(`${mode}: TTL counts where it is decremented`, () => {
    const rig = rigOf(mode, 'tcp', { options: { decrementTtl: true } });
    assert.is(compare(rig, { ttl: 1 }).outcome.end, 'drop');
    assert.is(compare(rig, { ttl: 2 }).outcome.end, 'sent');
  });

  test(`${mode}: what is drained ends or stays, as the service says; a SYN takes what is over`, () => {
    for (const expireQuiescent of ['off', 'removed', 'on'] as const) {
      for (const proto of ['tcp', 'udp'] as const) {
        const rig = rigOf(mode, proto, { service: { expireQuiescent } });
        const of = { proto: PROTO[proto] };
        compare(rig, of);
        const [dest] = rig.services.destIds(rig.service) as [number];
        rig.services.setState(dest, 'drain');
        const drained = compare(rig, { ...of, kind: 'next' });
        assert.is(find(drained, 'end of connection') !== undefined, expireQuiescent === 'on');
        compare(rig, of);
        rig.services.removeDest(rig.service, SERVER, rig.rport);
        compare(rig, { ...of, kind: 'next' });
        compare(rig, of);
      }
    }
    const rig = rigOf(mode, 'tcp');
    compare(rig);
    const table = rig.l4.tcp;
    table.step(table.next(0), TIME_WAIT, 60_000);
    const answer = compare(rig, { kind: 'first' });
    assert.is(find(answer, 'end of connection')?.why, 'reused');
    assert.is(answer.outcome.end, 'sent');
  });
}

test('limits: no row, no local port, another with the same tuple', () => {
  const full = rigOf('NAT', 'tcp', { limits: { tcp: 1, udp: 1, icmp: 1, templates: 1 } });
  compare(full);
  assert.is(compare(full, { sport: 9 }).outcome.end, 'drop');
  const none = rigOf('FNAT', 'tcp', { service: { localAddresses: [] } });
  assert.is(compare(none).outcome.end, 'drop');
  const clash = rigOf('NAT', 'tcp');
  compare(clash);
  const second = clash.services.add({ proto: 6, vip: VIP, port: 81, scheduler: 'rr' });
  clash.services.setDests(second, [{ addr: SERVER, port: RPORT, weight: 1 }]);
  clash.l4.setService(second, serviceOf('NAT'));
  assert.is(compare(clash, { dport: 81 }).outcome.end, 'drop');
  clash.l4.tcp.step(clash.row, CLOSE, 10_000);
  assert.is(compare(clash, { dport: 81 }).outcome.end, 'sent', 'one that is over gives way');
});

test('persistence: the template decides while it holds', () => {
  const persistence = { timeoutMs: 60_000, netmask: -256, expireQuiescent: false };
  const rig = rigOf('NAT', 'tcp', { service: { persistence } });
  const other = ip('10.0.0.22');
  rig.services.setDests(rig.service, [
    { addr: SERVER, port: RPORT, weight: 1 },
    { addr: other, port: RPORT, weight: 1 },
  ]);
  rig.host.neigh.nud.setStatic(other, 1, 0x0200, 22);
  const dest = find(compare(rig), 'scheduler')!.dest;
  const again = compare(rig, { sport: 2, src: CLIENT + 1 });
  assert.equal([find(again, 'persistence')!.dest, find(again, 'scheduler')], [dest, undefined]);
  rig.dests.setHealth(dest, false, 0);
  const moved = compare(rig, { sport: 3 });
  assert.equal([find(moved, 'persistence')!.holds, find(moved, 'scheduler')!.dest === dest], [false, false]);
});

test('one-packet service: what its server answers has no connection, and is translated', () => {
  const rig = rigOf('NAT', 'udp', { service: { onePacket: true } });
  const of = { proto: PROTO.udp };
  for (let i = 0; i < 2; i++) assert.is(find(compare(rig, of), 'connection')!.conn, null);
  const back = compare(rig, { ...of, src: SERVER, dst: CLIENT, sport: RPORT, dport: CPORT });
  assert.is(find(back, 'rewrite')!.after.src, VIP);
});

test('SNAT: what hosts behind us ask leaves from the pool, and answers find back', () => {
  for (const proto of ['tcp', 'udp'] as const) {
    const rig = rigOf('NAT', 'tcp');
    const id = rig.services.add({ proto: PROTO_MATCH, vip: 1, port: 0, scheduler: 'rr' });
    rig.services.setDests(id, [{ addr: LOCAL, port: 0, weight: 1 }]);
    rig.l4.setService(id, { ...serviceOf('NAT'), mode: c.SNAT });
    const inside = { low: SERVER, high: SERVER, lowPort: 0, highPort: 65535 };
    rig.l4.core.classifier.setMatches([[id, { proto: 0, from: inside, to: null, iif: 0, oif: 0 }]]);
    const out = { proto: PROTO[proto], src: SERVER, dst: CLIENT, sport: 5000, dport: 53 };
    for (let i = 0; i < 2; i++) assert.is(find(compare(rig, out), 'rewrite')!.after.src, LOCAL);
    assert.is(find(compare(rig, { ...out, sport: 5001 }), 'service')!.rule, 'match');
    const table = rig.l4[proto];
    const lport = table.rows[(table.next(0) << c.ROW_SHIFT) + c.CVPORTS]! & 0xffff;
    const back = { proto: PROTO[proto], src: CLIENT, dst: LOCAL, sport: 53, dport: lport, kind: 'next' } as const;
    assert.is(find(compare(rig, back), 'rewrite')!.after.dst, SERVER);
    assert.is(compare(rig, { ...out, ttl: 1 }).outcome.end, 'drop', 'a router counts');
  }
});

test('the stack: nobody listens, not for us, groups, sources that cannot be, ping', () => {
  const rig = rigOf('DR', 'tcp');
  const ends = (asked: Partial<Asked>): string => {
    const { outcome } = compare(rig, asked);
    return outcome.end === 'drop' ? DROP_REASONS[outcome.reason]!.name : outcome.end;
  };
  assert.is(ends({ dport: 81 }), 'tcp_no_socket');
  assert.is(ends({ dport: 81, kind: 'next' }), 'tcp_no_socket');
  assert.is(ends({ kind: 'next' }), 'tcp_no_socket');
  assert.is(ends({ proto: 17, dport: 81 }), 'udp_no_port');
  assert.is(ends({ dst: NOBODY }), 'ip_not_local');
  assert.is(ends({ dst: ip('240.0.0.1') }), 'ip_destination');
  assert.is(ends({ src: VIP }), 'ip_source');
  assert.is(ends({ src: ip('224.0.0.1') }), 'ip_source');
  assert.is(ends({ proto: 17, dst: ip('224.0.0.9') }), 'udp_no_port');
  const echo = ask(rig, { proto: 1, kind: 'first' });
  assert.equal(echo.outcome, { end: 'local', what: 'echo' });
  rig.feed(packetOf({ ...ASKED, proto: 1 }, true));
  assert.is(rig.fate, 'sent');
  rig.host.tcp.listeners.add(VIP, 82, 1, DEAF, rig.service);
  for (const route of rig.host.routes.list().filter(({ len }) => len === 0)) rig.host.routes.delete(route);
  assert.is(ends({ dport: 82, src: ip('203.0.113.1') }), 'tcp_no_route_back');
});

test('without layer 4 there are no steps of it', () => {
  const { host, services } = rigOf('DR', 'tcp');
  const { steps, outcome } = why({ host, services, l4: null }, { ...ASKED, dport: 81 });
  assert.equal(
    steps.map(({ at }) => at),
    ['arrival'],
  );
  assert.is(outcome.end === 'drop' && DROP_REASONS[outcome.reason]!.name, 'tcp_no_socket');
});

test('drained: no new connections, those that are there go on', () => {
  const rig = rigOf('NAT', 'tcp');
  compare(rig);
  rig.l4.drain();
  assert.is(compare(rig).outcome.end, 'sent');
  assert.is(compare(rig, { sport: 4 }).outcome.end, 'drop');
});

test('a link shared with the host: what is not ours is the host', () => {
  const rig = rigOf('NAT', 'tcp');
  const { device } = rig.host.netif.port(1)!;
  device.brings = (dst) => dst === VIP;
  assert.equal(ask(rig, { dst: NOBODY }).outcome, { end: 'host', port: 1 });
  assert.is(compare(rig).outcome.end, 'sent');
});

test('a mark decides before address and port; a service for all ports after them', () => {
  const rig = rigOf('NAT', 'tcp');
  const { classifier } = rig.l4.core;
  const add = (proto: number, vip: number): number => {
    const id = rig.services.add({ proto, vip, port: 0, scheduler: 'rr' });
    rig.services.setDests(id, [{ addr: SERVER, port: RPORT, weight: 1 }]);
    rig.l4.setService(id, serviceOf('NAT'));
    return id;
  };
  const rule = (asked: Partial<Asked>): string => find(compare(rig, asked), 'service')!.rule;
  add(PROTO.tcp, VIP);
  assert.equal([rule({ sport: 1 }), rule({ sport: 2, dport: 8081 })], ['address and port', 'all ports']);
  classifier.setMarks([[7, { proto: PROTO.tcp, from: null, to: null, iif: 0, oif: 0 }]]);
  classifier.setMarked([[7, add(PROTO_MARK, 7)]]);
  const marked = find(compare(rig, { sport: 3 }), 'service')!;
  assert.equal([marked.rule, marked.value], ['mark', 7]);
});

test('slow start and a backup: who is turned away, and who steps in', () => {
  const rig = rigOf('NAT', 'tcp');
  const other = ip('10.0.0.22');
  rig.host.neigh.nud.setStatic(other, 1, 0x0200, 22);
  rig.services.setDests(rig.service, [
    { addr: SERVER, port: RPORT, weight: 1 },
    { addr: other, port: RPORT, weight: 1 },
  ]);
  const [first] = rig.services.destIds(rig.service) as [number];
  rig.dests.ramp[first] = 2;
  for (let i = 0; i < 12; i++) compare(rig, { sport: 100 + i });
  rig.dests.ramp[first] = 0;
  rig.services.setBackup(rig.service, { addr: ip('10.0.0.23'), port: RPORT, weight: 1 });
  rig.host.neigh.nud.setStatic(ip('10.0.0.23'), 1, 0x0200, 23);
  for (const dest of rig.services.destIds(rig.service)) rig.services.setState(dest, 'drain');
  const { dest, servers } = find(compare(rig, { sport: 200 }), 'scheduler')!;
  assert.equal(
    servers.map(({ backup }) => backup),
    [false, false, true],
  );
  assert.is(servers[2]!.dest, dest);
});

const SEED = 0x5eed;

for (const { name, options } of schedulers()) {
  if (name === 'twos') continue;
  const mode = MODE_NAMES[name.length % MODE_NAMES.length]!;
  const last = Object.entries(options).map(([key, values]) => [key, key === 'table' ? '251' : values.at(-1)!]);
  const chosen: SchedOptions = Object.fromEntries(last);
  test(`${name}: random clients, loads and states, ${mode}: every packet goes as was said (seed ${SEED})`, () => {
    const rig = rigOf(mode, 'tcp');
    rig.services.edit(rig.service, name, chosen);
    const addrs = [SERVER, ...['10.0.0.22', '10.0.0.23', '10.0.0.24'].map(ip)];
    rig.services.setDests(
      rig.service,
      addrs.map((addr, i) => ({ addr, port: rig.rport, weight: i + 1 })),
    );
    for (const addr of addrs) rig.host.neigh.nud.setStatic(addr, 1, 0x0200, addr & 255);
    const ids = rig.services.destIds(rig.service);
    const { next } = seeded(SEED);
    const below = (n: number): number => (next() >>> 0) % n;
    for (let i = 0; i < 25; i++) {
      const id = ids[below(4)]!;
      rig.dests.activeConns[id] = below(6);
      rig.services.setState(id, below(4) === 0 ? 'drain' : 'ready');
      const kind = (['auto', 'first', 'next'] as const)[below(3)]!;
      compare(rig, { src: CLIENT + below(40), sport: 1000 + below(4), kind });
    }
  });
}

test('twos: it says that chance decides', () => {
  const rig = rigOf('NAT', 'tcp');
  rig.services.edit(rig.service, 'twos');
  assert.is(find(ask(rig, {}), 'scheduler')!.byChance, true);
});

test.run();
