/** Fragments for services of layer 4: put together, forwarded as they come, dropped. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Match } from '../../lb/classify.ts';
import { PROTO_MARK, PROTO_MATCH } from '../../lb/service.ts';
import { PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { MODES, type ModeName } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  get16,
  get32,
  ipPacket,
  L4Rig,
  SERVER,
  type Sent,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const DATA = Uint8Array.from({ length: 1000 }, (_, i) => i * 7);
const L4 = udpBytes(CLIENT, VIP, CPORT, VPORT, DATA);
const CUT = 512;
/** Port and address of services by rule. */
const RULED = 4500;
const ELSEWHERE = ip('10.0.0.99');

/** Bytes `from` to `to` of layer 4 as a fragment. */
function piece(from: number, to: number, id = 99, l4 = L4, proto = PROTO_UDP, dst = VIP): Uint8Array {
  const p = ipPacket(CLIENT, dst, proto, l4.subarray(from, to));
  const v = new DataView(p.buffer, p.byteOffset);
  v.setUint16(4, id);
  v.setUint16(6, (to < l4.length ? 0x2000 : 0) | (from >> 3));
  v.setUint16(10, 0);
  v.setUint16(10, naiveChecksum(p.subarray(0, 20)));
  return p;
}
/** Another datagram's, otherwise the same. */
function withId(packet: Uint8Array, id: number): Uint8Array {
  const p = packet.slice();
  const v = new DataView(p.buffer);
  v.setUint16(4, id);
  v.setUint16(10, 0);
  v.setUint16(10, naiveChecksum(p.subarray(0, 20)));
  return p;
}
const first = piece(0, CUT);
const second = piece(CUT, L4.length);

const rigOf = (mode: ModeName, fragments: 'reassemble' | 'forward' | 'drop', mtu = 1500): L4Rig => {
  const rig = new L4Rig({ mode, udp: true, mtu, service: { fragments } });
  rig.judging = false;
  return rig;
};

/** What the server gets: the packet itself, out of its tunnel. */
function arrives(mode: ModeName, sent: Sent[]): Uint8Array {
  assert.is(sent.length, 1);
  const [one] = sent as [Sent];
  assert.is(one.to, SERVER & 255);
  if (mode === 'DR') return one.ip;
  assert.equal([one.proto, one.dst, get16(one.ip, 6) & 0x3fff], [4, SERVER, 0], 'the outer packet is whole');
  return one.l4;
}

for (const mode of ['DR', 'TUN'] as const) {
  test(`${mode}: each fragment is forwarded as it comes, behind the first`, () => {
    const rig = rigOf(mode, 'forward');
    assert.equal(arrives(mode, rig.feed(first)), first);
    assert.equal(arrives(mode, rig.feed(second)), second);
    assert.is(rig.host.reassembler.held, 0);
    const dest = rig.dests.find(rig.service, SERVER, rig.rport);
    assert.equal([rig.dests.conns[dest], rig.dests.inPkts[dest]], [1, 2]);
  });

  test(`${mode}: one that comes before the first, or belongs to another datagram, is dropped`, () => {
    const rig = rigOf(mode, 'forward');
    assert.equal(rig.feed(second), []);
    assert.is(rig.fate, 'lb_fragment');
    rig.feed(first);
    assert.equal(rig.feed(piece(CUT, L4.length, 100)), []);
    assert.is(rig.fate, 'lb_fragment');
    assert.equal(arrives(mode, rig.feed(second)), second);
  });

  test(`${mode}: a way is forgotten after half a minute`, () => {
    const rig = rigOf(mode, 'forward');
    rig.feed(first);
    rig.step(31_000_000);
    assert.equal(rig.feed(second), []);
    assert.is(rig.fate, 'lb_fragment');
  });
}

test('a fragment that is too long for the link is cut again', () => {
  const rig = rigOf('DR', 'forward', 300);
  const sent = rig.feed(first);
  const whole = new Uint8Array(CUT);
  for (const one of sent) {
    assert.ok(one.ip.length <= 300);
    assert.is(get16(one.ip, 6) & 0x2000, 0x2000, 'more follow');
    whole.set(one.l4, (get16(one.ip, 6) & 0x1fff) * 8);
  }
  assert.equal(whole, L4.subarray(0, CUT));
});

for (const mode of ['FNAT', 'NAT', 'DR', 'TUN'] as const) {
  test(`${mode}: fragments are put together by default, dropped when the service says so`, () => {
    const rig = rigOf(mode, 'reassemble');
    assert.equal(rig.feed(first), []);
    const [whole] = rig.feed(second) as [Sent];
    const l4 = mode === 'TUN' ? whole.l4.subarray(20) : whole.l4;
    assert.equal(l4.subarray(8), DATA);
    const strict = rigOf(mode, 'drop');
    for (const one of [first, second]) {
      assert.equal(strict.feed(one), []);
      assert.is(strict.fate, 'lb_fragment');
    }
    const [passed] = strict.feed(
      ipPacket(CLIENT, VIP, PROTO_UDP, udpBytes(CLIENT, VIP, CPORT, VPORT, Uint8Array.of(1))),
    );
    assert.ok(passed !== undefined, 'what is whole passes');
  });
}

test('TCP: a fragmented segment opens a connection with its first fragment', () => {
  const rig = new L4Rig({ mode: 'DR', service: { fragments: 'forward' } });
  rig.judging = false;
  const segment = { src: CLIENT, dst: VIP, sport: CPORT, dport: VPORT, seq: 1, ack: 0, flags: 'S', win: 9, data: DATA };
  const l4 = tcpBytes(segment);
  assert.is(rig.feed(piece(0, CUT, 5, l4, PROTO_TCP)).length, 1);
  assert.is(rig.feed(piece(CUT, l4.length, 5, l4, PROTO_TCP)).length, 1);
  assert.is(rig.l4.tcp.size(), 1);
});

/** The rig's own service puts fragments together; one by mark or match takes those to `dport` and has a policy of its own. */
function ruled(by: 'mark' | 'match', mode: ModeName, fragments: 'reassemble' | 'forward' | 'drop') {
  const rig = rigOf(mode, 'reassemble');
  const proto = by === 'mark' ? PROTO_MARK : PROTO_MATCH;
  const id = rig.services.add({ proto, vip: 7, port: 0, scheduler: 'rr' });
  rig.services.setDests(id, [{ addr: SERVER, port: RULED, weight: 1 }]);
  rig.l4.setService(id, { ...rig.wanted, mode: MODES[mode], fragments });
  const to = by === 'mark' ? VIP : ELSEWHERE;
  const rule: Match = {
    proto: 0,
    from: null,
    to: { low: to, high: to, lowPort: RULED, highPort: RULED },
    iif: 0,
    oif: 0,
  };
  const { classifier } = rig.l4.core;
  if (by === 'mark') classifier.setMarks([[7, rule]]);
  if (by === 'mark') classifier.setMarked([[7, id]]);
  else classifier.setMatches([[id, rule]]);
  const l4 = udpBytes(CLIENT, to, CPORT, RULED, DATA);
  const pieces = [0, CUT].map((from) => piece(from, from === 0 ? CUT : l4.length, 77, l4, PROTO_UDP, to));
  return { rig, id, pieces: pieces as [Uint8Array, Uint8Array] };
}

for (const by of ['mark', 'match'] as const) {
  for (const mode of ['DR', 'TUN'] as const)
    test(`a service by ${by}, ${mode}: fragments are forwarded behind the first, as it says`, () => {
      const { rig, pieces } = ruled(by, mode, 'forward');
      for (const one of pieces) assert.equal(arrives(mode, rig.feed(one)), one);
      assert.is(rig.host.reassembler.held, 0);
    });

  for (const mode of ['NAT', 'DR'] as const)
    test(`a service by ${by}, ${mode}: fragments are dropped, as it says, those of its neighbour put together`, () => {
      const { rig, id, pieces } = ruled(by, mode, 'drop');
      for (const one of pieces) {
        assert.equal(rig.feed(one), []);
        assert.is(rig.fate, 'lb_fragment');
      }
      assert.is(rig.host.reassembler.held, 0);
      rig.feed(first);
      assert.is(rig.feed(second).length, 1);
      rig.l4.setService(id, { ...rig.wanted, mode: MODES[mode], fragments: 'reassemble' });
      const later = pieces.map((one) => withId(one, 78));
      assert.equal(rig.feed(later[0]!), []);
      assert.is(rig.feed(later[1]!).length, 1, 'after a change they are put together');
      assert.is(rig.l4.core.fragments.byRule, 0);
    });
}

test('a service that leaves takes its policy with it', () => {
  const rig = rigOf('DR', 'drop');
  rig.l4.removeService(rig.service);
  rig.services.remove(rig.service);
  rig.feed(first);
  assert.is.not(rig.fate, 'lb_fragment');
  assert.is(rig.host.reassembler.held, 1);
  assert.is(get32(first, 16), VIP);
});

test.run();
