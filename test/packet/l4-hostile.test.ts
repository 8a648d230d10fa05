/** The director against an attacker on the wire, who knows addresses and ports, but not what ends have said. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import * as tcp from '../../lb/proto/tcp.ts';
import { PROTO_MARK } from '../../lb/service.ts';
import { PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { MODE_NAMES } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  DIRECTOR,
  get16,
  icmpBytes,
  ipPacket,
  L4Rig,
  RPORT,
  SERVER,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { fromClient, fromServer, ISN, SERVER_ISN } from '../lib/l4-segments.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { ip } from '../lib/sim.ts';

const NO_DATA = new Uint8Array(0);
/** A number an attacker might guess. */
const BLIND = 0x40000000;

const state = (rig: L4Rig): string => tcp.TCP.states[rig.word(c.META) & c.STATE_MASK]!;

function established(mode: 'FNAT' | 'NAT'): L4Rig {
  const rig = new L4Rig({ mode });
  rig.feed(fromClient({ flags: 'S' }));
  rig.feed(fromServer(rig, { flags: 'SA', ack: (ISN + 1 + rig.word(c.SEQ_DELTA)) | 0 }));
  rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  return rig;
}

for (const mode of ['FNAT', 'NAT'] as const) {
  for (const flags of ['R', 'RA', 'FA'])
    test(`${mode}: ${flags} with a guessed number passes to the server, who will judge it, and ends nothing here`, () => {
      const rig = established(mode);
      const [sent] = rig.feed(fromClient({ flags, seq: BLIND, ack: SERVER_ISN + 1 }));
      assert.is(sent!.dst, SERVER);
      assert.is(state(rig), 'ESTABLISHED');
      rig.feed(fromClient({ flags: 'S', seq: BLIND }));
      assert.equal([state(rig), rig.l4.core.stats.reused], ['ESTABLISHED', 0]);
    });

  test(`${mode}: a client's own reset ends it, also ahead of what the server has acknowledged`, () => {
    const rig = established(mode);
    rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data: new Uint8Array(1000) }));
    rig.feed(fromClient({ flags: 'R', seq: ISN + 1001 }));
    assert.is(state(rig), 'CLOSE');
  });

  test(`${mode}: a client may reset before the server has answered`, () => {
    const rig = new L4Rig({ mode });
    rig.feed(fromClient({ flags: 'S' }));
    rig.feed(fromClient({ flags: 'R', seq: ISN + 1 }));
    const fresh = rig.feed(fromClient({ flags: 'S', seq: BLIND }));
    assert.is(fresh.length, 1);
  });

  test(`${mode}: a SYN whose header is longer than the segment opens nothing`, () => {
    const rig = new L4Rig({ mode });
    const packet = fromClient({ flags: 'S' });
    packet[20 + 12] = 0xf0;
    rig.feed(packet);
    assert.equal([rig.l4.open, rig.fate], [0, 'tcp_malformed']);
  });
}

/** An error of somebody on the way, who quotes a packet of ours inside a tunnel. */
function tunnelError(outerSrc: number, outerDst: number): Uint8Array {
  const quote = ipPacket(outerSrc, outerDst, 4, fromClient({}));
  return ipPacket(ip('203.0.113.1'), DIRECTOR, 1, icmpBytes(3, 4, 600, quote));
}

for (const mode of MODE_NAMES)
  test(`${mode}: a packet for the VIP in a frame to all is not passed on, of a known connection or not`, () => {
    const rig = new L4Rig({ mode });
    assert.equal(rig.feed(fromClient({ flags: 'S' }), { broadcast: true }), []);
    assert.equal([rig.l4.open, rig.fate], [0, 'not_for_us']);
    rig.feed(fromClient({ flags: 'S' }));
    assert.is(rig.fate, 'sent');
    assert.equal(rig.feed(fromClient({ seq: ISN + 1, ack: 1 }), { broadcast: true }), []);
    assert.is(rig.fate, 'not_for_us');
    assert.is(rig.l4.open, 1);
  });

test('TUN: an error about a tunnel that is not the one of the connection tells its client nothing', () => {
  const rig = new L4Rig({ mode: 'TUN' });
  rig.feed(fromClient({ flags: 'S' }));
  assert.equal(rig.feed(tunnelError(DIRECTOR, ip('10.0.0.77'))), []);
  assert.is(rig.feed(tunnelError(DIRECTOR, SERVER))[0]!.dst, CLIENT);
});

test('NAT: an error about a tunnel tells a client nothing, there is none', () => {
  const rig = established('NAT');
  assert.equal(rig.feed(tunnelError(DIRECTOR, SERVER)), []);
});

const ONE_PACKET = layer4Service(c.NAT, { onePacket: true });

function addService(rig: L4Rig, proto: number, vip: number, port: number): number {
  const id = rig.services.add({ proto, vip, port, scheduler: 'rr' });
  rig.services.setDests(id, [{ addr: SERVER, port: RPORT, weight: 1 }]);
  rig.l4.setService(id, ONE_PACKET);
  return id;
}

const ask = (dst: number, port: number): Uint8Array =>
  ipPacket(CLIENT, dst, PROTO_UDP, udpBytes(CLIENT, dst, CPORT, port, NO_DATA));
const answer = (dst: number, dport = CPORT): Uint8Array =>
  ipPacket(SERVER, dst, PROTO_UDP, udpBytes(SERVER, dst, RPORT, dport, NO_DATA));

test('one packet, NAT: who has a server of a firewall mark is answered from the address it asked', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const service = addService(rig, PROTO_MARK, 7, 0);
  rig.l4.core.classifier.setMarks([[7, { proto: PROTO_UDP, from: null, to: null, iif: 0, oif: 0 }]]);
  rig.l4.core.classifier.setMarked([[7, service]]);
  assert.is(rig.feed(ask(VIP, 53))[0]!.dst, SERVER);
  const [sent] = rig.feed(answer(CLIENT));
  assert.equal([sent?.src, sent && get16(sent.l4, 0)], [VIP, 53]);
});

test('one packet, NAT: of two services over one server, each answers its own clients', () => {
  const rig = new L4Rig({ mode: 'NAT', udp: true, service: { onePacket: true } });
  addService(rig, PROTO_UDP, VIP, 99);
  for (const port of [VPORT, 99]) {
    assert.is(rig.feed(ask(VIP, port))[0]!.dst, SERVER);
    const [sent] = rig.feed(answer(CLIENT));
    assert.equal([sent?.src, sent && get16(sent.l4, 0)], [VIP, port], `port ${port}`);
  }
});

test('one packet, NAT: what a server says to us, as when we check it, is not translated', () => {
  const rig = new L4Rig({ mode: 'NAT', udp: true, service: { onePacket: true } });
  const [sent] = rig.feed(answer(DIRECTOR));
  assert.equal([sent?.proto, sent?.src, sent?.dst], [1, DIRECTOR, SERVER], 'port unreachable');
});

test('servers that were removed and have no connections left are no longer those of NAT', () => {
  const rig = established('NAT');
  const { addresses } = rig.l4.core.natServers;
  assert.is(addresses.size, 1);
  rig.services.setDests(rig.service, [{ addr: ip('10.0.0.22'), port: RPORT, weight: 1 }]);
  rig.l4.setService(rig.service, { ...ONE_PACKET, onePacket: false });
  assert.is(addresses.size, 2, 'its connection goes on');
  rig.l4.tcp.close(rig.row, c.END_FLUSHED);
  rig.l4.setService(rig.service, { ...ONE_PACKET, onePacket: false });
  assert.equal([...addresses], [ip('10.0.0.22')]);
});

test.run();
