/** SNAT packet by packet: hosts behind the director talk to the world from a pool of addresses, and get their answers and errors. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Match } from '../../lb/classify.ts';
import * as c from '../../lb/conn-row.ts';
import type { L4Service } from '../../lb/l4.ts';
import { PROTO_MATCH } from '../../lb/service.ts';
import { SCOPE_LINK } from '../../stack/route/route4.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import {
  GATEWAY,
  get16,
  get32,
  icmpBytes,
  ipPacket,
  L4Rig,
  LOCAL as POOL,
  type Sent,
  udpBytes,
  VIP,
  CLIENT as WORLD,
} from '../lib/l4-rig.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { NullDevice } from '../lib/null-device.ts';
import { type DecodedSegment, decodeSegment, etherFrame, type Segment, tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const NO_DATA = new Uint8Array(0);
const HOST = ip('10.0.0.50');
const OTHER_HOST = ip('10.0.0.51');
const SPORT = 5555;

const INSIDE = { low: ip('10.0.0.48'), high: ip('10.0.0.63'), lowPort: 0, highPort: 65535 };
const ANY: Match = { proto: 0, from: INSIDE, to: null, iif: 0, oif: 0 };
const SNAT = layer4Service(c.SNAT, { localAddresses: [POOL], inTurn: false });

interface SnatRig extends L4Rig {
  readonly snat: number;
}

function rigOf(match: Match = ANY, service: Partial<L4Service> = {}, mtu = 1500): SnatRig {
  const rig = new L4Rig({ mode: 'NAT', mtu });
  for (const host of [HOST, OTHER_HOST]) rig.host.neigh.nud.setStatic(host, 1, 0x0200, host & 255);
  const snat = rig.services.add({ proto: PROTO_MATCH, vip: 1, port: 0, scheduler: 'rr' });
  rig.services.setDests(snat, [{ addr: POOL, port: 0, weight: 1 }]);
  rig.l4.setService(snat, { ...SNAT, ...service });
  rig.l4.core.classifier.setMatches([[snat, match]]);
  return Object.assign(rig, { snat });
}

const tcpFrom = (src: number, dst: number, s: Partial<Segment>): Uint8Array => {
  const whole = { src, dst, sport: 0, dport: 0, seq: 1000, ack: 0, flags: 'A', win: 500, data: NO_DATA };
  return ipPacket(src, dst, PROTO_TCP, tcpBytes({ ...whole, ...s }));
};
const segment = (sent: Sent[]): DecodedSegment => {
  assert.is(sent.length, 1);
  return decodeSegment(etherFrame(sent[0]!.ip));
};
const out = (s: Partial<Segment> = {}): Uint8Array => tcpFrom(HOST, WORLD, { sport: SPORT, dport: 443, ...s });
const stateOf = (rig: L4Rig): number => rig.word(c.META) & c.STATE_MASK;

test('TCP: out from an address and a port of the pool, answers back to the host; TTL one less each way', () => {
  const rig = rigOf();
  const packet = out({ flags: 'S', mss: 1460, ts: [5, 0] });
  const [sent] = rig.feed(packet);
  const s = segment([sent!]);
  const port = rig.word(c.CVPORTS) & 0xffff;
  assert.equal([s.src, s.sport, s.dst, s.dport, sent!.to], [POOL, port, WORLD, 443, GATEWAY & 255]);
  assert.equal([s.seq, s.flags, s.mss, s.ts], [1000, 'S', 1460, [5, 0]], 'nothing else changes');
  assert.is(sent!.ip[8], packet[8]! - 1);
  assert.is(rig.fate, 'sent');
  assert.is(stateOf(rig), 2, 'SYN_SENT');

  const answer = tcpFrom(WORLD, POOL, { sport: 443, dport: port, flags: 'SA', seq: 70_000, ack: 1001, mss: 1460 });
  const [back] = rig.feed(answer);
  const b = segment([back!]);
  assert.equal([b.src, b.sport, b.dst, b.dport, back!.to], [WORLD, 443, HOST, SPORT, HOST & 255]);
  assert.equal([b.seq, b.ack], [70_000, 1001]);
  assert.is(stateOf(rig), 1, 'ESTABLISHED');
  const dest = rig.services.destIds(rig.snat)[0]!;
  assert.equal([rig.dests.activeConns[dest], rig.dests.outPkts[dest], rig.dests.inPkts[dest]], [1, 1, 1]);
});

test('TCP: an established connection that falls silent is reset at both ends, and its port comes back', () => {
  const rig = rigOf();
  rig.feed(out({ flags: 'S' }));
  const port = rig.word(c.CVPORTS) & 0xffff;
  rig.feed(tcpFrom(WORLD, POOL, { sport: 443, dport: port, flags: 'SA', seq: 70_000, ack: 1001 }));
  rig.feed(out({ seq: 1001, ack: 70_001 }));
  assert.is(rig.l4.pools.find(POOL)!.used, 1);
  const resets: DecodedSegment[] = [];
  for (let i = 0; i < 920; i++) for (const one of rig.step(100_000)) resets.push(decodeSegment(etherFrame(one.ip)));
  assert.equal(
    resets.map(({ src, sport, dst, dport, flags, seq }) => [src, sport, dst, dport, flags, seq]),
    [
      [POOL, port, WORLD, 443, 'RA', 1001],
      [WORLD, 443, HOST, SPORT, 'RA', 70_001],
    ],
  );
  assert.is(rig.l4.pools.find(POOL)!.used, 0);
});

test('a fresh SYN of the host takes over what is over, and gets another port; one of the world does not', () => {
  const rig = rigOf();
  rig.feed(out({ flags: 'S' }));
  const port = rig.word(c.CVPORTS) & 0xffff;
  rig.feed(out({ flags: 'R', seq: 1001 }));
  rig.feed(tcpFrom(WORLD, POOL, { sport: 443, dport: port, flags: 'RA', seq: 1, ack: 1001 }));
  assert.is(rig.l4.core.stats.reused, 0);
  rig.feed(tcpFrom(WORLD, POOL, { sport: 443, dport: port, flags: 'S', seq: 9 }));
  assert.is(rig.l4.core.stats.reused, 0);
  rig.feed(out({ flags: 'RA', seq: 1001 }));
  rig.feed(out({ flags: 'S', seq: 5 }));
  assert.is(rig.l4.open, 1);
});

test('UDP: one way until the world answers', () => {
  const rig = rigOf();
  const data = Uint8Array.of(1, 2, 3);
  const [sent] = rig.feed(ipPacket(HOST, WORLD, PROTO_UDP, udpBytes(HOST, WORLD, SPORT, 53, data)));
  const port = rig.word(c.CVPORTS) & 0xffff;
  assert.equal([sent!.src, sent!.dst, get16(sent!.l4, 0), get16(sent!.l4, 2)], [POOL, WORLD, port, 53]);
  assert.is(stateOf(rig), 1);
  const [back] = rig.feed(ipPacket(WORLD, POOL, PROTO_UDP, udpBytes(WORLD, POOL, 53, port, data)));
  assert.equal([back!.src, back!.dst, get16(back!.l4, 0), get16(back!.l4, 2)], [WORLD, HOST, 53, SPORT]);
  assert.equal(back!.l4.subarray(8), data);
  assert.is(stateOf(rig), 2);
});

const ping = (src: number, id: number, type = 8, dst = WORLD): Uint8Array =>
  ipPacket(src, dst, PROTO_ICMP, icmpBytes(type, 0, (id << 16) | 7, Uint8Array.of(1, 2, 3)));

test('ping: two hosts with one identifier do not meet', () => {
  const rig = rigOf();
  const [a] = rig.feed(ping(HOST, 77));
  const [b] = rig.feed(ping(OTHER_HOST, 77));
  const [idA, idB] = [get16(a!.l4, 4), get16(b!.l4, 4)];
  assert.equal([a!.src, b!.src, get16(a!.l4, 6)], [POOL, POOL, 7]);
  assert.is.not(idA, idB);
  const [backB] = rig.feed(ping(WORLD, idB, 0, POOL));
  assert.equal([backB!.src, backB!.dst, get16(backB!.l4, 4), get16(backB!.l4, 6)], [WORLD, OTHER_HOST, 77, 7]);
  const [backA] = rig.feed(ping(WORLD, idA, 0, POOL));
  assert.equal([backA!.dst, get16(backA!.l4, 4)], [HOST, 77]);
  assert.is(rig.l4.icmp.size(), 2);
});

/** What a router of the world, or a host, says of a packet it got. */
const errorAbout = (from: number, quoted: Uint8Array, bytes = 28, type = 11): Uint8Array =>
  ipPacket(from, get32(quoted, 12), PROTO_ICMP, icmpBytes(type, 0, 0, quoted.subarray(0, bytes)));

for (const [what, packet] of [
  ['TCP', out({ flags: 'S' })],
  ['UDP', ipPacket(HOST, WORLD, PROTO_UDP, udpBytes(HOST, WORLD, SPORT, 53, NO_DATA))],
  ['ICMP', ping(HOST, 77)],
] as const)
  for (const bytes of [28, 200])
    test(`${what}: an error of a router on the way reaches the host, as from that router (${bytes} bytes quoted)`, () => {
      const rig = rigOf();
      const router = ip('203.0.113.1');
      const [sent] = rig.feed(packet);
      const quote = sent!.ip;
      const [error] = rig.feed(errorAbout(router, quote, bytes));
      assert.is(rig.fate, 'sent');
      assert.equal([error!.src, error!.dst, error!.l4[0]], [router, HOST, 11]);
      const inner = error!.l4.subarray(8);
      // The host sees the packet it had sent, but for the hop it has taken.
      const want = Uint8Array.from(packet.subarray(0, Math.min(bytes, packet.length)));
      want[8] = want[8]! - 1;
      want.set(inner.subarray(10, 12), 10);
      assert.equal(inner, want);
    });

test('an error of the host about an answer goes to the world as from the pool', () => {
  const rig = rigOf();
  rig.feed(ipPacket(HOST, WORLD, PROTO_UDP, udpBytes(HOST, WORLD, SPORT, 53, NO_DATA)));
  const port = rig.word(c.CVPORTS) & 0xffff;
  const answer = ipPacket(WORLD, POOL, PROTO_UDP, udpBytes(WORLD, POOL, 53, port, NO_DATA));
  const [back] = rig.feed(answer);
  const quoted = back!.ip;
  const [error] = rig.feed(ipPacket(HOST, WORLD, PROTO_ICMP, icmpBytes(3, 3, 0, quoted.subarray(0, 28))));
  assert.equal([error!.src, error!.dst, error!.l4[0]], [POOL, WORLD, 3]);
  const inner = error!.l4.subarray(8);
  assert.equal([get32(inner, 12), get32(inner, 16), get16(inner, 20), get16(inner, 22)], [WORLD, POOL, 53, port]);
});

test('what no rule is for is not translated: other hosts, other protocols, other ports, other interfaces, our own addresses', () => {
  const syn = (src: number, dst: number, dport = 443): Uint8Array =>
    tcpFrom(src, dst, { sport: SPORT, dport, flags: 'S' });
  const fateOf = (match: Partial<Match>, packet: Uint8Array): string => {
    const rig = rigOf({ ...ANY, ...match });
    rig.feed(packet);
    return rig.fate;
  };
  assert.is(fateOf({}, syn(HOST, WORLD)), 'sent');
  assert.is(fateOf({}, syn(ip('10.0.0.70'), WORLD)), 'ip_not_local');
  assert.is(fateOf({ proto: PROTO_UDP }, syn(HOST, WORLD)), 'ip_not_local');
  assert.is(fateOf({ from: { ...INSIDE, highPort: 5000 } }, syn(HOST, WORLD)), 'ip_not_local');
  assert.is(fateOf({ to: { low: WORLD, high: WORLD, lowPort: 80, highPort: 80 } }, syn(HOST, WORLD)), 'ip_not_local');
  assert.is(fateOf({ to: { low: WORLD, high: WORLD, lowPort: 80, highPort: 80 } }, syn(HOST, WORLD, 80)), 'sent');
  assert.is(fateOf({ iif: 1, oif: 1 }, syn(HOST, WORLD)), 'sent');
  assert.is(fateOf({ iif: 2 }, syn(HOST, WORLD)), 'ip_not_local');
  assert.is(fateOf({ oif: 2 }, syn(HOST, WORLD)), 'ip_not_local');
  // The VIP has a service on this port, and none on the other.
  assert.is(fateOf({}, syn(HOST, VIP, 80)), 'sent');
  assert.is(fateOf({}, syn(HOST, VIP, 81)), 'tcp_no_socket');
  assert.is(fateOf({}, syn(HOST, ip('240.0.0.1'))), 'ip_destination');
});

test('hairpin: a host behind the director reaches another one of its network through the pool', () => {
  const rig = rigOf();
  const [sent] = rig.feed(tcpFrom(HOST, OTHER_HOST, { sport: SPORT, dport: 22, flags: 'S' }));
  const s = segment([sent!]);
  assert.equal([s.src, s.dst, sent!.to], [POOL, OTHER_HOST, OTHER_HOST & 255]);
  const [back] = rig.feed(tcpFrom(OTHER_HOST, POOL, { sport: 22, dport: s.sport, flags: 'SA', seq: 4, ack: 1001 }));
  const b = segment([back!]);
  assert.equal([b.src, b.dst, b.dport], [OTHER_HOST, HOST, SPORT]);
});

test('fragments of a host are put together, translated, and cut again to the MTU', () => {
  const rig = rigOf(ANY, {}, 600);
  const data = Uint8Array.from({ length: 1000 }, (_, i) => i);
  const l4 = udpBytes(HOST, WORLD, SPORT, 53, data);
  const piece = (from: number, to: number, more: boolean): Uint8Array => {
    const p = ipPacket(HOST, WORLD, PROTO_UDP, l4.subarray(from, to));
    return fragment(p, from, more);
  };
  assert.equal(rig.feed(piece(0, 512, true)), []);
  const sent = rig.feed(piece(512, 1008, false));
  assert.is(sent.length, 2);
  for (const one of sent) {
    assert.equal([one.src, one.dst], [POOL, WORLD]);
    assert.ok(one.ip.length <= 600);
  }
  const whole = new Uint8Array(1008);
  for (const one of sent) whole.set(one.l4, (get16(one.ip, 6) & 0x1fff) * 8);
  assert.equal(whole.subarray(8), data);
});

const fragment = (packet: Uint8Array, offset: number, more: boolean): Uint8Array =>
  withField(packet, (more ? 0x2000 : 0) | (offset >> 3));

/** Another word of DF, MF and offset; the header checksum is made anew. */
function withField(packet: Uint8Array, field: number): Uint8Array {
  const p = Uint8Array.from(packet);
  const v = new DataView(p.buffer);
  v.setUint16(4, 4242);
  v.setUint16(6, field);
  v.setUint16(10, 0);
  v.setUint16(10, naiveChecksum(p.subarray(0, 20)));
  return p;
}

test('a packet too long for the link and not to be fragmented is answered with the MTU', () => {
  const rig = rigOf(ANY, {}, 600);
  const long = withField(out({ data: new Uint8Array(800), flags: 'S' }), 0x4000);
  const [error] = rig.feed(long);
  assert.equal([error!.dst, error!.l4[0], error!.l4[1], get16(error!.l4, 6)], [HOST, 3, 4, 600]);
});

test('a packet whose hops are used up is answered', () => {
  const rig = rigOf();
  const last = out({ flags: 'S' });
  last[8] = 1;
  const [error] = rig.feed(withField(last, 0));
  assert.equal([error!.dst, error!.l4[0], rig.fate], [HOST, 11, 'ip_ttl']);
});

test('a pool without ports refuses, and says so', () => {
  const rig = rigOf(ANY, { localAddresses: [] });
  rig.feed(out({ flags: 'S' }));
  assert.is(rig.fate, 'lb_no_local_port');
});

/** A pool of two addresses, chosen by the scheduler; the source addresses of the next `n` connections of HOST. */
function rigOfTwo(scheduler: string, options: Record<string, string> = {}) {
  const rig = rigOf();
  const second = POOL + 100;
  rig.services.edit(rig.snat, scheduler, options);
  rig.services.setDests(
    rig.snat,
    [POOL, second].map((addr) => ({ addr, port: 0, weight: 1 })),
  );
  rig.l4.setService(rig.snat, { ...SNAT, localAddresses: [POOL, second] });
  let sport = 1000;
  const sources = (n: number, host = HOST): number[] =>
    Array.from({ length: n }, () => {
      const sent = rig.feed(tcpFrom(host, WORLD, { sport: ++sport, dport: 443, flags: 'S' }));
      return sent.length === 0 ? 0 : segment(sent).src;
    });
  return { rig, second, sources };
}

test('the scheduler chooses among the addresses of the pool: in turn, or one for each host', () => {
  const inTurn = rigOfTwo('rr');
  assert.equal(inTurn.sources(4), [POOL, inTurn.second, POOL, inTurn.second]);
  const bySource = rigOfTwo('conhash', { key: 'source' });
  for (const host of [HOST, OTHER_HOST]) assert.is(new Set(bySource.sources(6, host)).size, 1);
});

test('connections are counted at the address that they leave from', () => {
  const { rig, sources } = rigOfTwo('rr');
  sources(3);
  const counts = rig.services.destIds(rig.snat).map((dest) => rig.dests.inactConns[dest]);
  assert.equal(counts, [2, 1]);
});

test('an address without a port for whom it asks is passed over; without any the connection is refused, and counted', () => {
  const { rig, second, sources } = rigOfTwo('rr');
  const pool = rig.l4.pools.find(POOL)!;
  while (pool.acquire(WORLD, 443) !== 0);
  assert.equal(sources(3), [second, second, second]);
  const other = rig.l4.pools.find(second)!;
  while (other.acquire(WORLD, 443) !== 0);
  const [error] = rig.feed(tcpFrom(HOST, WORLD, { sport: 99, dport: 443, flags: 'S' }));
  assert.equal([error!.dst, error!.l4[0], error!.l4[1]], [HOST, 3, 3]);
  assert.is(rig.fate, 'lb_no_local_port');
  assert.equal([rig.l4.core.stats.noLocalPort, rig.l4.locals.refused[rig.snat]], [1, 1]);
});

test('an address that leaves the pool keeps its connections, and gives no new ones', () => {
  const { rig, second, sources } = rigOfTwo('rr');
  assert.equal(sources(1), [POOL]);
  const port = rig.word(c.CVPORTS) & 0xffff;
  rig.services.setDests(rig.snat, [{ addr: second, port: 0, weight: 1 }]);
  rig.l4.setService(rig.snat, { ...SNAT, localAddresses: [second] });
  const [back] = rig.feed(tcpFrom(WORLD, POOL, { sport: 443, dport: port, flags: 'SA', seq: 7, ack: 1001 }));
  assert.is(segment([back!]).dst, HOST);
  assert.equal(sources(2), [second, second]);
});

test('a flow of UDP moves on with the next datagram of its host, where addresses that were removed keep none', () => {
  const { rig, second } = rigOfTwo('rr');
  const service = { ...SNAT, localAddresses: [second], expireQuiescent: 'removed' as const };
  const ask = (): number => {
    const [sent] = rig.feed(ipPacket(HOST, WORLD, PROTO_UDP, udpBytes(HOST, WORLD, SPORT, 53, NO_DATA)));
    return sent!.src;
  };
  assert.is(ask(), POOL);
  const port = rig.l4.udp.rows[(1 << c.ROW_SHIFT) + c.CVPORTS]! & 0xffff;
  rig.services.setDests(rig.snat, [{ addr: second, port: 0, weight: 1 }]);
  rig.l4.setService(rig.snat, service);
  const [back] = rig.feed(ipPacket(WORLD, POOL, PROTO_UDP, udpBytes(WORLD, POOL, 53, port, NO_DATA)));
  assert.is(back?.dst, HOST, 'an answer that is under way arrives');
  assert.is(ask(), second);
  assert.is(rig.l4.udp.size(), 1);
});

test('a source that another link leads to, or none, is not believed', () => {
  const rig = rigOf({ ...ANY, from: null });
  const forged = (src: number): void => void rig.feed(tcpFrom(src, WORLD, { sport: 1, dport: 443, flags: 'S' }));
  forged(HOST);
  assert.is(rig.fate, 'sent');
  const other = rig.host.addPort(new NullDevice(rig.ctx), 0x0200, 2);
  const route = { gateway: 0, metric: 0, src: 0, mtu: 0, scope: SCOPE_LINK };
  rig.host.routes.add({ ...route, prefix: ip('10.7.0.0'), len: 16, port: other.id });
  forged(ip('10.7.0.9'));
  assert.is(rig.fate, 'ip_reverse_path');
  rig.host.routes.delete({ prefix: 0, len: 0, gateway: GATEWAY, port: 1, metric: 0 });
  forged(ip('203.0.113.5'));
  assert.is(rig.fate, 'ip_reverse_path');
  assert.is(rig.l4.open, 1);
});

test('a service of weight 0 takes no new connections', () => {
  const rig = rigOf();
  rig.services.editDest(rig.snat, { addr: POOL, port: 0, weight: 0 });
  rig.feed(out({ flags: 'S' }));
  assert.is(rig.fate, 'lb_no_server');
});

test.run();
