/**
 * What a host takes for its own and what it answers: RFC 1122 §3.2 and §3.3, RFC 791 and RFC 792, packet in and packet
 * out, through the whole stack.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ICMP_CHECKSUM,
  ICMP_IGNORED,
  IP_CHECKSUM,
  IP_DESTINATION,
  IP_NOT_LOCAL,
  IP_OPTIONS,
  IP_PROTOCOL,
  IP_SOURCE,
  IP_VERSION,
  NOT_FOR_US,
} from '../../stack/drop.ts';
import { ipv4Packet, type PacketFields, pattern } from '../lib/ip-bench.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { etherFrame, ipPacket, segmentFrame } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';
import { HOST, PEER, TcpRig } from '../lib/tcp-peer.ts';

/** The peer's packet reaches the host. */
function give(rig: TcpRig, fields: PacketFields, change: (frame: Uint8Array) => void = () => {}): void {
  const frame = etherFrame(ipv4Packet({ src: PEER, dst: HOST, ...fields }));
  change(frame);
  rig.inject(frame);
  rig.pump();
}

function icmp(type: number, code: number, data: Uint8Array): Uint8Array {
  const m = new Uint8Array(8 + data.length);
  m[0] = type;
  m[1] = code;
  m.set([0x12, 0x34, 0, 1], 4);
  m.set(data, 8);
  new DataView(m.buffer).setUint16(2, naiveChecksum(m));
  return m;
}

const echo = (data: Uint8Array = pattern(56)): PacketFields => ({ proto: 1, payload: icmp(8, 0, data) });

/** The IP packets that came out since, as type, code and rest of their ICMP message. */
const answers = (rig: TcpRig): number[][] =>
  rig.others.splice(0).map((f) => [f[34]!, f[35]!, new DataView(f.buffer, f.byteOffset).getInt32(38)]);

/** Dropped for `reason`, and nothing said. */
function silently(rig: TcpRig, reason: number, what: string): void {
  assert.is(rig.dropped(reason), 1, what);
  assert.equal(answers(rig), [], what);
  assert.equal(rig.sent, [], what);
  rig.assertEmpty();
}

test('an echo request is answered from the address it asked, with the same data, identifier and TOS', () => {
  const rig = new TcpRig();
  for (const size of [0, 1, 56, 1472]) {
    const data = pattern(size);
    give(rig, { ...echo(data), tos: 0x20 });
    const [frame] = rig.others.splice(0);
    assert.equal(frame!.slice(14 + 28), data);
    assert.equal([...frame!.slice(34, 36), ...frame!.slice(38, 42)], [0, 0, 0x12, 0x34, 0, 1]);
    assert.equal([frame![15], frame![22]], [0x20, 64]);
    assert.equal([...frame!.slice(26, 34)], [10, 0, 0, 1, 10, 0, 0, 2]);
    assert.is(naiveChecksum(frame!.subarray(34)), 0);
  }
  rig.assertEmpty();
});

test('TTL: what is for us is taken whatever is left of it; the configured one is sent', () => {
  const rig = new TcpRig({ ttl: 33 });
  for (const ttl of [0, 1, 255]) {
    give(rig, { ...echo(), ttl });
    assert.is(rig.others.splice(0)[0]?.[22], 33, `TTL ${ttl}`);
  }
  rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  assert.is(c.expect({ flags: 'SA' }).ttl, 33);
});

test('a source that no other host can have is dropped in silence, SYNs too', () => {
  const data = new Uint8Array();
  const sources = ['0.0.0.0', '0.1.2.3', '127.0.0.1', '224.0.0.1', '240.0.0.1', '255.255.255.255', '10.0.0.255'];
  for (const source of [...sources, '10.0.0.1']) {
    const src = ip(source);
    const rig = new TcpRig();
    rig.listen(80);
    give(rig, { ...echo(), src });
    silently(rig, IP_SOURCE, source);
    rig.inject(segmentFrame({ src, dst: HOST, sport: 1, dport: 80, seq: 1, ack: 0, flags: 'S', win: 100, data }));
    rig.pump();
    assert.is(rig.dropped(IP_SOURCE), 2, source);
    assert.equal(rig.sent, [], source);
    rig.assertEmpty();
  }
});

test('a destination that is not ours, or no host’s, is dropped in silence', () => {
  for (const [destination, reason] of [
    ['10.0.0.3', IP_NOT_LOCAL],
    ['192.0.2.1', IP_NOT_LOCAL],
    ['0.0.0.0', IP_DESTINATION],
    ['127.0.0.1', IP_DESTINATION],
    ['240.0.0.1', IP_DESTINATION],
  ] as const) {
    const rig = new TcpRig();
    give(rig, { ...echo(), dst: ip(destination) });
    silently(rig, reason, destination);
  }
});

test('another version, a wrong header checksum, a wrong ICMP checksum: dropped in silence', () => {
  for (const [what, reason, change] of [
    ['version 6', IP_VERSION, (f: Uint8Array) => f.fill(0x65, 14, 15)],
    ['checksum', IP_CHECKSUM, (f: Uint8Array) => f.fill(f[24]! ^ 1, 24, 25)],
    ['ICMP', ICMP_CHECKSUM, (f: Uint8Array) => f.fill(f[60]! ^ 1, 60, 61)],
  ] as const) {
    const rig = new TcpRig();
    give(rig, echo(), change);
    silently(rig, reason, what);
  }
});

test('a protocol nobody speaks is answered with protocol unreachable, from the address asked', () => {
  const rig = new TcpRig();
  give(rig, { proto: 132, payload: pattern(40) });
  assert.is(rig.dropped(IP_PROTOCOL), 1);
  assert.equal([...rig.others[0]!.slice(26, 34)], [10, 0, 0, 1, 10, 0, 0, 2]);
  assert.equal(answers(rig), [[3, 2, 0]]);
});

test('IP options that say nothing to us are passed over, before ICMP, UDP and TCP alike', () => {
  const security = [130, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const syn = segmentFrame({
    ...{ src: PEER, dst: HOST, sport: 40000, dport: 80, seq: 1, ack: 0, flags: 'S', win: 100 },
    data: new Uint8Array(),
  }).slice(34);
  for (const options of [
    [136, 4, 0, 9],
    security,
    [1, 1, 1, 0],
    [148, 4, 0, 0],
    [94, 4, 1, 2],
    [7, 7, 4, 0, 0, 0, 0, 0],
  ]) {
    const rig = new TcpRig();
    give(rig, { ...echo(), options });
    assert.equal(answers(rig), [[0, 0, 0x12340001]], `${options}`);
    give(rig, { proto: 17, payload: Uint8Array.of(0, 1, 0, 2, 0, 8, 0, 0), options });
    assert.equal(answers(rig), [[3, 3, 0]], `${options}`);
    const owner = rig.listen(80);
    const c = rig.talk(80, 40000, 1);
    give(rig, { proto: 6, payload: syn, options });
    c.expect({ flags: 'SA' });
    assert.is(rig.host.tcp.open, 1);
    assert.equal(owner.log, []);
  }
});

test('source routes are refused with a parameter problem that points at the option', () => {
  for (const type of [131, 137]) {
    const rig = new TcpRig();
    give(rig, { ...echo(), options: [1, type, 7, 8, 10, 0, 0, 9] });
    assert.is(rig.dropped(IP_OPTIONS), 1);
    assert.equal(answers(rig), [[12, 0, 21 << 24]]);
  }
});

test('ICMP of other types, replies, and redirects: dropped in silence, and no route changes', () => {
  const quoted = ipPacket(HOST, PEER, 6, pattern(8));
  for (const type of [0, 1, 2, 9, 10, 13, 14, 15, 16, 17, 18, 30, 255]) {
    const rig = new TcpRig();
    give(rig, { proto: 1, payload: icmp(type, 0, pattern(12)) });
    silently(rig, ICMP_IGNORED, `type ${type}`);
  }
  for (const code of [0, 1, 2, 3]) {
    const rig = new TcpRig();
    const before = rig.host.routes.lookup(PEER) && rig.host.routes.outNextHop;
    give(rig, { proto: 1, payload: icmp(5, code, quoted) });
    assert.is(rig.host.routes.lookup(PEER) && rig.host.routes.outNextHop, before);
    assert.equal(answers(rig), []);
    assert.equal(rig.sent, []);
  }
});

test('broadcasts: echo is not answered, nor is our own address in a frame to everybody', () => {
  const everybody = (f: Uint8Array): unknown => f.fill(255, 0, 6);
  for (const dst of ['255.255.255.255', '10.0.0.255', '224.0.0.1']) {
    const rig = new TcpRig();
    give(rig, { ...echo(), dst: ip(dst) }, everybody);
    silently(rig, ICMP_IGNORED, dst);
  }
  const rig = new TcpRig();
  give(rig, echo(), everybody);
  silently(rig, NOT_FOR_US, 'ours');
});

test('no error answers an error, a broadcast, a later fragment or a stranger’s source', () => {
  const unreachable = icmp(3, 3, ipPacket(HOST, PEER, 17, pattern(8)));
  const cases: [string, PacketFields][] = [
    ['an error about a port', { proto: 1, payload: unreachable }],
    ['a broadcast', { proto: 132, dst: ip('10.0.0.255') }],
    ['a multicast', { proto: 132, dst: ip('224.0.0.5') }],
    ['a later fragment', { proto: 132, offset: 800, payload: pattern(8) }],
    ['a group as source', { proto: 132, src: ip('224.0.0.5') }],
  ];
  for (const [what, fields] of cases) {
    const rig = new TcpRig();
    give(rig, fields);
    assert.equal(answers(rig), [], what);
  }
});

test('a packet that leaves by the port it came by is forwarded without a redirect', () => {
  const rig = new TcpRig();
  const next = ip('10.0.0.9');
  rig.host.enableForwarding();
  rig.host.neigh.nud.setStatic(next, 1, 0x0200, 9);
  give(rig, { ...echo(), dst: next });
  const [frame, ...more] = rig.others;
  assert.equal(more, []);
  assert.equal([...frame!.slice(0, 6), frame![22], ...frame!.slice(30, 35)], [2, 0, 0, 0, 0, 9, 63, 10, 0, 0, 9, 8]);
});

test.run();
