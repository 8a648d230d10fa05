/** The layer-4 director, packet by packet: mode x protocol x direction, checksums judged by a naive decoder. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { MODE_NAMES, type ModeName } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  GATEWAY,
  get16,
  get32,
  ipPacket,
  L4Rig,
  LOCAL,
  l4Sum,
  RPORT,
  SERVER,
  type Sent,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { fromClient, fromServer, ISN, SERVER_ISN } from '../lib/l4-segments.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { naiveChecksum, naiveSum } from '../lib/naive-checksum.ts';
import { type DecodedSegment, decodeSegment, etherFrame, fragmentable } from '../lib/segment.ts';

const NO_DATA = new Uint8Array(0);
const rewrites = (mode: ModeName): boolean => mode === 'FNAT' || mode === 'NAT';
const last = (address: number): number => address & 255;

/** The only packet sent, its TCP segment decoded, every checksum verified. */
function segment(sent: Sent[]): DecodedSegment {
  assert.is(sent.length, 1);
  return decodeSegment(etherFrame(sent[0]!.ip), sent[0]!.partial);
}

/** A connection with its handshake done; the difference between the numbers of client and server. */
function established(rig: L4Rig): number {
  rig.feed(fromClient({ flags: 'S', mss: 1460 }));
  const delta = rig.word(c.SEQ_DELTA);
  rig.feed(fromServer(rig, { flags: 'SA', ack: (ISN + 1 + delta) | 0, mss: 1460 }));
  rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  return delta;
}

for (const mode of MODE_NAMES) {
  test(`${mode}: a SYN goes to the server`, () => {
    const rig = new L4Rig({ mode });
    const packet = fromClient({ flags: 'S', mss: 1460, ts: [5, 0], wscale: 7, sackOk: true });
    const sent = rig.feed(packet);
    assert.is(rig.fate, 'sent');
    assert.is(sent.length, 1);
    assert.is(sent[0]!.to, last(SERVER));
    if (mode === 'TUN') {
      assert.is(sent[0]!.proto, 4);
      assert.is(sent[0]!.dst, SERVER);
      assert.equal(sent[0]!.l4, packet);
      return;
    }
    if (mode === 'DR') {
      assert.equal(sent[0]!.ip, packet);
      return;
    }
    const s = segment(sent);
    assert.equal([s.src, s.sport], mode === 'FNAT' ? [LOCAL, rig.lport] : [CLIENT, CPORT]);
    assert.equal([s.dst, s.dport, s.flags, s.mss, s.wscale, s.sackOk], [SERVER, RPORT, 'S', 1460, 7, true]);
    assert.equal(s.ts, mode === 'FNAT' ? undefined : [5, 0], 'timestamps of many clients would mix');
    if (mode === 'NAT') assert.is(s.seq, ISN);
    else assert.is(s.seq, (ISN + rig.word(c.SEQ_DELTA)) | 0);
  });

  test(`${mode}: UDP both ways, with and without a checksum, whole or left to the link`, () => {
    for (const [sum, partial] of [
      [true, false],
      [false, false],
      [true, true],
    ] as const) {
      const rig = new L4Rig({ mode, udp: true, tso: partial });
      const data = Uint8Array.from({ length: 101 }, (_, i) => i);
      const up = ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, data, sum));
      if (partial) toPartial(up);
      const [sent] = rig.feed(up, { partial });
      assert.is(rig.fate, 'sent');
      if (mode === 'TUN') assert.equal(sent!.l4, up);
      if (mode === 'DR') assert.equal(sent!.ip, up);
      if (!rewrites(mode)) continue;
      assert.equal([sent!.dst, get16(sent!.l4, 2)], [SERVER, RPORT]);
      assert.equal(sent!.l4.subarray(8), data);
      if (!sum) assert.is(get16(sent!.l4, 6), 0);
      const dst = rig.word(c.LADDR);
      const down = ipPacket(SERVER, dst, 17, udpBytes(SERVER, dst, RPORT, rig.lport, data, sum));
      if (partial) toPartial(down);
      const [answer] = rig.feed(down, { partial });
      assert.equal([answer!.src, answer!.dst, answer!.to], [VIP, CLIENT, last(GATEWAY)]);
      assert.equal([get16(answer!.l4, 0), get16(answer!.l4, 2)], [VPORT, CPORT]);
      assert.equal(answer!.l4.subarray(8), data);
    }
  });
}

/** Leaves the sum of the pseudo-header in the checksum field, as a kernel does for a link that finishes it. */
function toPartial(packet: Uint8Array): void {
  const l4 = packet.subarray(20);
  const field = packet[9] === 6 ? 16 : 6;
  const pseudo = [...packet.subarray(12, 20), 0, packet[9]!, l4.length >> 8, l4.length & 255];
  const sum = naiveSum(pseudo);
  l4[field] = sum >> 8;
  l4[field + 1] = sum & 255;
}

for (const mode of ['FNAT', 'NAT'] as const) {
  for (const partial of [false, true]) {
    test(`${mode}: the server's answers come from the VIP, numbers and SACK shifted back, partial ${partial}`, () => {
      const rig = new L4Rig({ mode, tso: partial });
      rig.feed(fromClient({ flags: 'S', mss: 1460 }));
      const delta = rig.word(c.SEQ_DELTA);
      const inServersEyes = (n: number): number => (n + delta) | 0;
      const synAck = fromServer(rig, { flags: 'SA', ack: inServersEyes(ISN + 1), mss: 1400 });
      if (partial) toPartial(synAck);
      const first = segment(rig.feed(synAck, { partial }));
      assert.equal([first.src, first.dst, first.sport, first.dport], [VIP, CLIENT, VPORT, CPORT]);
      assert.equal([first.seq, first.ack, first.flags, first.mss], [SERVER_ISN, ISN + 1, 'SA', 1400]);

      const data = Uint8Array.from({ length: 333 }, (_, i) => i * 7);
      const up = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data, flags: 'PA' });
      if (partial) toPartial(up);
      const request = segment(rig.feed(up, { partial }));
      assert.equal([request.seq, request.ack, request.flags], [inServersEyes(ISN + 1), SERVER_ISN + 1, 'PA']);
      assert.equal(request.data, data);

      const sack = [
        [inServersEyes(ISN + 50), inServersEyes(ISN + 60)],
        [inServersEyes(ISN + 70), inServersEyes(ISN + 90)],
      ] as const;
      const down = fromServer(rig, { seq: SERVER_ISN + 1, ack: inServersEyes(ISN + 20), sack, data });
      if (partial) toPartial(down);
      const answer = segment(rig.feed(down, { partial }));
      assert.equal([answer.seq, answer.ack], [SERVER_ISN + 1, ISN + 20]);
      assert.equal(answer.sack, [
        [ISN + 50, ISN + 60],
        [ISN + 70, ISN + 90],
      ]);
      assert.equal(answer.data, data);
      assert.is(delta !== 0, mode === 'FNAT');
    });
  }

  test(`${mode}: options at odd places keep the checksum right`, () => {
    const rig = new L4Rig({ mode, service: { mss: 1000 } });
    // NOP, MSS, NOP NOP, timestamp, padding: everything begins at an odd distance.
    const options = [1, 2, 4, 5, 180, 1, 1, 8, 10, 1, 2, 3, 4, 0, 0, 0, 0, 1, 1, 1];
    const s = segment(rig.feed(withOptions(fromClient({ flags: 'S' }), options)));
    assert.equal([s.mss, s.ts], [1000, mode === 'FNAT' ? undefined : [0x01020304, 0]]);
    const delta = rig.word(c.SEQ_DELTA);
    const edge = (n: number): number[] => [24, 16, 8, 0].map((shift) => ((n + delta) >>> shift) & 255);
    const sack = [1, 5, 10, ...edge(ISN + 5), ...edge(ISN + 9), 1];
    const back = withOptions(fromServer(rig, { ack: (ISN + 1 + delta) | 0, seq: SERVER_ISN + 1 }), sack);
    assert.equal(segment(rig.feed(back)).sack, [[ISN + 5, ISN + 9]]);
  });

  test(`${mode}: a wrong checksum stays wrong`, () => {
    const rig = new L4Rig({ mode });
    established(rig);
    const packet = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data: Uint8Array.of(1, 2, 3, 4) });
    packet[41]! ^= 0x10;
    rig.judging = false;
    const [sent] = rig.feed(packet);
    assert.is.not(l4Sum(sent!.src, sent!.dst, 6, sent!.l4), 0xffff);
  });

  test(`${mode}: the segment size in SYN and SYN-ACK is clamped`, () => {
    const rig = new L4Rig({ mode, service: { mss: 1200 } });
    assert.is(segment(rig.feed(fromClient({ flags: 'S', mss: 1460 }))).mss, 1200);
    const ack = (ISN + 1 + rig.word(c.SEQ_DELTA)) | 0;
    assert.is(segment(rig.feed(fromServer(rig, { flags: 'SA', ack, mss: 1460 }))).mss, 1200);
  });

  test(`${mode}: a GSO frame passes in one piece where the link can, in segments where it cannot`, () => {
    const data = Uint8Array.from({ length: 5000 }, (_, i) => (i * 31) >> 3);
    for (const tso of [true, false]) {
      const rig = new L4Rig({ mode, tso });
      const delta = established(rig);
      const up = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data, flags: 'PA' });
      toPartial(up);
      const sent = rig.feed(up, { partial: true, gsoSize: 1448 });
      assert.is(sent.length, tso ? 1 : 4);
      const segments = sent.map((one) => decodeSegment(etherFrame(one.ip), one.partial));
      assert.equal(
        segments.flatMap((s) => [...s.data]),
        [...data],
      );
      assert.is(segments[0]!.seq, (ISN + 1 + delta) | 0);
      for (const s of segments) assert.equal([s.dst, s.dport, s.ack], [SERVER, RPORT, SERVER_ISN + 1]);
    }
  });
}

/** The packet with these bytes as TCP options, sums made anew. */
function withOptions(packet: Uint8Array, options: number[]): Uint8Array {
  assert.is(options.length % 4, 0);
  const tcp = [...packet.subarray(20, 40), ...options, ...packet.subarray(40)];
  tcp[12] = (20 + options.length) << 2;
  tcp[16] = 0;
  tcp[17] = 0;
  const sum = naiveChecksum([...packet.subarray(12, 20), 0, 6, tcp.length >> 8, tcp.length & 255, ...tcp]);
  tcp[16] = sum >> 8;
  tcp[17] = sum & 255;
  return ipPacket(get32(packet, 12), get32(packet, 16), 6, tcp);
}

test('FNAT: a SYN sent again keeps its number; another connection gets another', () => {
  const rig = new L4Rig({ mode: 'FNAT' });
  const first = segment(rig.feed(fromClient({ flags: 'S' })));
  rig.now += 1_000_000;
  assert.is(segment(rig.feed(fromClient({ flags: 'S' }))).seq, first.seq);
  const other = segment(rig.feed(fromClient({ flags: 'S', sport: CPORT + 1 })));
  assert.is.not(other.sport, first.sport);
  assert.is.not((other.seq - ISN) | 0, (first.seq - ISN) | 0);
});

test('TUN: a GSO frame is cut before it enters the tunnel', () => {
  const data = Uint8Array.from({ length: 5000 }, (_, i) => i >> 2);
  const rig = new L4Rig({ mode: 'TUN', tso: true });
  rig.feed(fromClient({ flags: 'S' }));
  const up = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data, flags: 'PA' });
  toPartial(up);
  const sent = rig.feed(up, { partial: true, gsoSize: 1400 });
  assert.is(sent.length, 4);
  const segments = sent.map((one) => decodeSegment(etherFrame(one.l4), one.partial));
  assert.equal(
    segments.flatMap((s) => [...s.data]),
    [...data],
  );
  for (const one of sent) assert.ok(one.ip.length <= 1500);
});

test('TUN: headers that leave a segment no payload', () => {
  for (const [mtu, sent] of [
    [101, 3],
    [100, 0],
    [68, 0],
  ] as const) {
    const rig = new L4Rig({ mode: 'TUN', tso: true, mtu });
    rig.feed(fromClient({ flags: 'S' }));
    const up = withOptions(
      fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data: new Uint8Array(3), flags: 'A' }),
      new Array(40).fill(1),
    );
    // It may be fragmented.
    up[6] = 0;
    up[10] = up[11] = 0;
    const sum = naiveChecksum(up.subarray(0, 20));
    up[10] = sum >> 8;
    up[11] = sum & 255;
    toPartial(up);
    assert.is(rig.feed(up, { partial: true, gsoSize: 2 }).length, sent, `MTU ${mtu}`);
    assert.is(rig.fate, sent === 0 ? 'ip_too_big' : 'delivered');
  }
});

test('TUN: the outer header has TOS, DF and TTL of the inner one', () => {
  const rig = new L4Rig({ mode: 'TUN' });
  const packet = fromClient({ flags: 'S' });
  packet[1] = 0xb9;
  packet[8] = 33;
  packet[6] = 0;
  packet[10] = packet[11] = 0;
  const sum = naiveChecksum(packet.subarray(0, 20));
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  const [sent] = rig.feed(packet);
  assert.equal([sent!.ip[1], sent!.ip[8], get16(sent!.ip, 6)], [0xb9, 33, 0]);
  assert.equal(sent!.l4, packet);
});

// What is not passed on

test('ping to the VIP is answered by the stack, and a segment of no connection is reset', () => {
  const rig = new L4Rig({ mode: 'FNAT' });
  const echo = Uint8Array.from([8, 0, 0, 0, 0, 1, 0, 1]);
  const sum = naiveChecksum(echo);
  echo[2] = sum >> 8;
  echo[3] = sum & 255;
  const [reply] = rig.feed(ipPacket(CLIENT, VIP, 1, echo));
  assert.equal([reply!.src, reply!.dst, reply!.l4[0]], [VIP, CLIENT, 0]);
  const reset = segment(rig.feed(fromClient({ seq: 5, ack: 77, flags: 'A' })));
  assert.equal([reset.src, reset.flags, reset.seq], [VIP, 'R', 77]);
  assert.is(rig.fate, 'tcp_no_socket');
  assert.is(rig.l4.open, 0);
});

for (const flags of ['SA', 'SF', 'SR', 'A', 'F', 'R'])
  test(`${flags} opens no connection`, () => {
    const rig = new L4Rig({ mode: 'DR' });
    rig.feed(fromClient({ flags }));
    assert.is(rig.l4.open, 0);
  });

for (const udp of [false, true])
  test(`no server: dropped by name, and the client told that the port is unreachable, UDP ${udp}`, () => {
    const rig = new L4Rig({ mode: 'FNAT', weight: 0, udp });
    const packet = udp
      ? ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, NO_DATA))
      : fromClient({ flags: 'S' });
    const [error] = rig.feed(packet);
    assert.is(rig.fate, 'lb_no_server');
    assert.equal([error!.proto, error!.l4[0], error!.l4[1], error!.src, error!.dst], [1, 3, 3, VIP, CLIENT]);
    assert.equal(error!.l4.subarray(8), packet);
  });

test('a full table refuses by name and takes no local port', () => {
  const rig = new L4Rig({ mode: 'FNAT', limits: { tcp: 2, udp: 2, icmp: 2, templates: 2 } });
  for (let i = 0; i < 3; i++) rig.feed(fromClient({ flags: 'S', sport: CPORT + i }));
  assert.equal(rig.fates, ['sent', 'sent', 'lb_conn_full']);
  assert.is(rig.l4.pools.find(LOCAL)!.used, 2);
});

test('FullNAT without an address, or a port, refuses by name, and tells the client', () => {
  const none = new L4Rig({ mode: 'FNAT', service: { localAddresses: [] } });
  const used = new L4Rig({ mode: 'FNAT' });
  while (used.l4.pools.find(LOCAL)!.acquire(SERVER, RPORT) !== 0);
  for (const rig of [none, used]) {
    const packet = fromClient({ flags: 'S' });
    const [error] = rig.feed(packet);
    assert.is(rig.fate, 'lb_no_local_port');
    assert.equal([error!.proto, error!.l4[0], error!.l4[1], error!.src, error!.dst], [1, 3, 3, VIP, CLIENT]);
    assert.equal(error!.l4.subarray(8), packet);
    assert.equal([rig.l4.open, rig.l4.core.stats.noLocalPort], [0, 1]);
  }
});

test('NAT: the same client port to the same server through two services is refused by name', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const other = rig.services.add({ proto: 6, vip: VIP, port: 81, scheduler: 'rr' });
  rig.services.setDests(other, [{ addr: SERVER, port: RPORT, weight: 1 }]);
  rig.l4.setService(other, layer4Service(c.NAT));
  rig.feed(fromClient({ flags: 'S' }));
  rig.feed(fromClient({ flags: 'S', dport: 81 }));
  assert.equal(rig.fates, ['sent', 'lb_conn_clash']);
  // Refused by the server, the first is over: what is left of it does not keep the second from the server.
  rig.feed(fromServer(rig, { flags: 'RA', ack: ISN + 1 }));
  assert.is(rig.feed(fromClient({ flags: 'S', dport: 81 }))[0]!.dst, SERVER);
  assert.is(rig.l4.core.stats.reused, 1);
  assert.is(rig.l4.tcp.size(), 1);
});

// Timestamps

/** The only segment sent; its timestamps. */
const stamps = (sent: Sent[]): readonly [number, number] | undefined => segment(sent).ts;

test('FNAT, timestamps translated: the server reads our clock, the client the echo of its own', () => {
  const rig = new L4Rig({ mode: 'FNAT', service: { translatesTimestamps: true } });
  const first = stamps(rig.feed(fromClient({ flags: 'S', ts: [0xfffffffe, 0] })))!;
  const ours = first[0];
  assert.is(first[1], 0);
  const of = (theirs: number): number => (ours + theirs - 0xfffffffe) | 0;
  assert.equal(stamps(rig.feed(fromClient({ flags: 'S', ts: [1, 0] }))), [of(2 ** 32 + 1), 0], 'sent again');
  const delta = rig.word(c.SEQ_DELTA);
  const ack = (ISN + 1 + delta) | 0;
  const answer = fromServer(rig, { flags: 'SA', ack, ts: [900, ours] });
  assert.equal(stamps(rig.feed(answer)), [900, -2]);
  const next = fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, ts: [3, 900], data: new Uint8Array(7) });
  assert.equal(stamps(rig.feed(next)), [of(2 ** 32 + 3), 900]);
  const sack = [[SERVER_ISN + 1, SERVER_ISN + 2]] as const;
  const more = fromServer(rig, { seq: SERVER_ISN + 1, ack, ts: [901, of(2 ** 32 + 3)], sack });
  assert.equal(stamps(rig.feed(more)), [901, 3]);
  const plain = segment(rig.feed(fromClient({ seq: ISN + 8, ack: SERVER_ISN + 1, flags: 'A' })));
  assert.is(plain.ts, undefined);
});

test('FNAT, timestamps translated: they rise from one connection to the next, whatever the clients say', () => {
  const rig = new L4Rig({ mode: 'FNAT', service: { translatesTimestamps: true } });
  let before = stamps(rig.feed(fromClient({ flags: 'S', ts: [0x70000000, 0] })))![0];
  for (let i = 1; i < 5; i++) {
    rig.step(50_000);
    const [value] = stamps(rig.feed(fromClient({ flags: 'S', sport: CPORT + i, ts: [1000 * i, 0] })))!;
    const risen = (value - before) | 0;
    assert.ok(risen >= 50 && risen <= 52, `${risen} ms`);
    before = value;
  }
});

test('FNAT, timestamps translated: a client without them has none', () => {
  const rig = new L4Rig({ mode: 'FNAT', service: { translatesTimestamps: true } });
  assert.is(stamps(rig.feed(fromClient({ flags: 'S' }))), undefined);
  assert.is(rig.word(c.META) & c.F_TIMESTAMPS, 0);
});

// TTL and MTU

test('TTL is left alone, and decremented only on demand', () => {
  for (const decrementTtl of [false, true]) {
    const rig = new L4Rig({ mode: 'NAT', options: { decrementTtl } });
    const [sent] = rig.feed(fromClient({ flags: 'S' }));
    assert.is(sent!.ip[8], decrementTtl ? 63 : 64);
  }
});

for (const mode of MODE_NAMES) {
  test(`${mode}: too big and DF: dropped, and the VIP tells the MTU that would fit`, () => {
    const rig = new L4Rig({ mode, udp: true });
    rig.host.netif.ports[1]!.mtu = 600;
    rig.host.routes.refresh();
    const packet = ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, new Uint8Array(800)));
    const [error] = rig.feed(packet);
    assert.is(rig.fate, 'ip_too_big');
    assert.equal([error!.src, error!.dst, error!.l4[0], error!.l4[1]], [VIP, CLIENT, 3, 4]);
    assert.is(get16(error!.l4, 6), mode === 'TUN' ? 580 : 600);
    assert.equal(error!.l4.subarray(8, 36), packet.subarray(0, 28), 'quotes what the client sent');
  });

  test(`${mode}: too big without DF: fragments of what it was rewritten to`, () => {
    const rig = new L4Rig({ mode, udp: true });
    rig.host.netif.ports[1]!.mtu = 600;
    rig.host.routes.refresh();
    const data = Uint8Array.from({ length: 1300 }, (_, i) => i);
    const packet = fragmentable(ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, data)));
    const sent = rig.feed(packet);
    assert.is(sent.length, 3);
    for (const one of sent) assert.ok(one.ip.length <= 600 && one.dst === (mode === 'DR' ? VIP : SERVER));
    const whole = Uint8Array.from(sent.flatMap((one) => [...one.l4]));
    if (mode === 'TUN') assert.equal(whole, packet);
    else assert.equal(whole.subarray(8), data);
  });

  test(`${mode}: a datagram in fragments is put together, passed on, and fragmented again`, () => {
    const rig = new L4Rig({ mode, udp: true });
    const data = Uint8Array.from({ length: 2500 }, (_, i) => i * 3);
    const udp = udpBytes(CLIENT, VIP, CPORT, VPORT, data);
    const sent = [0, 1480].flatMap((from) => {
      const piece = ipPacket(CLIENT, VIP, 17, udp.subarray(from, from + 1480));
      const field = (from >> 3) | (from === 0 ? 0x2000 : 0);
      fragmentable(piece);
      piece[6] = field >> 8;
      piece[7] = field & 255;
      piece[10] = piece[11] = 0;
      const sum = naiveChecksum(piece.subarray(0, 20));
      piece[10] = sum >> 8;
      piece[11] = sum & 255;
      return rig.feed(piece);
    });
    assert.ok(sent.length >= 2);
    const whole = Uint8Array.from(sent.flatMap((one) => [...one.l4]));
    const inner = mode === 'TUN' ? whole.subarray(20) : whole;
    assert.equal(inner.subarray(8), data);
    assert.is(rig.l4.open, 1);
  });
}

test.run();
