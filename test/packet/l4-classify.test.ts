/** Which service a packet is for: marks before addresses, ports before all ports, matches last; ICMP services. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Match } from '../../lb/classify.ts';
import * as c from '../../lb/conn-row.ts';
import type { L4Service, Persistence } from '../../lb/l4.ts';
import { PROTO_MARK, PROTO_MATCH } from '../../lb/service.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { MODE_NAMES, MODES } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  get16,
  icmpBytes,
  ipPacket,
  L4Rig,
  LOCAL,
  SERVER,
  type Sent,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const NO_DATA = new Uint8Array(0);
/** Servers of the services added here; the rig's own has SERVER. */
const B = ip('10.0.0.22');
const C = ip('10.0.0.23');
const last = (addr: number): number => addr & 255;

const NAT = layer4Service(c.NAT);
const REMEMBER: Persistence = { timeoutMs: 60_000, netmask: -1, expireQuiescent: false };

function add(
  rig: L4Rig,
  proto: number,
  vip: number,
  port: number,
  servers: readonly [number, number][],
  service: Partial<L4Service> = {},
): number {
  const id = rig.services.add({ proto, vip, port, scheduler: 'rr' });
  rig.services.setDests(
    id,
    servers.map(([addr, rport]) => ({ addr, port: rport, weight: 1 })),
  );
  for (const [addr] of servers) if (addr !== 0) rig.host.neigh.nud.setStatic(addr, 1, 0x0200, last(addr));
  rig.l4.setService(id, { ...NAT, ...service });
  return id;
}

const tcp = (dst: number, dport: number, sport = CPORT, src = CLIENT): Uint8Array =>
  ipPacket(
    src,
    dst,
    PROTO_TCP,
    tcpBytes({ src, dst, sport, dport, seq: 1, ack: 0, flags: 'S', win: 9, data: NO_DATA }),
  );
const udp = (dst: number, dport: number, sport = CPORT): Uint8Array =>
  ipPacket(CLIENT, dst, PROTO_UDP, udpBytes(CLIENT, dst, sport, dport, NO_DATA));

/** Last byte of the server's address and the port asked for; the drop's name where it went nowhere. */
function ask(rig: L4Rig, packet: Uint8Array): [number, number] | string {
  const [sent] = rig.feed(packet);
  return rig.fate === 'sent' ? [last(sent!.dst), get16(sent!.l4, 2)] : rig.fate;
}

const to = (low: number, high = low, lowPort = 0, highPort = 65535): Match => ({
  proto: 0,
  from: null,
  to: { low, high, lowPort, highPort },
  iif: 0,
  oif: 0,
});

test('a service for all ports takes what no other has, and keeps or translates the port as LVS does', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const all = add(rig, PROTO_TCP, VIP, 0, [[B, 0]]);
  assert.equal(ask(rig, tcp(VIP, VPORT)), [last(SERVER), 8080]);
  assert.equal(ask(rig, tcp(VIP, 8443)), [last(B), 8443]);
  assert.is(ask(rig, udp(VIP, 8443)), 'udp_no_port');
  rig.services.setDests(all, [{ addr: B, port: 90, weight: 1 }]);
  assert.equal(ask(rig, tcp(VIP, 8444)), [last(B), 90]);
  rig.l4.setService(all, { ...NAT, persistence: REMEMBER });
  assert.equal(ask(rig, tcp(VIP, 8445)), [last(B), 8445], 'persistent clients may have asked for any');
});

test('a persistent service for all ports remembers one server for all of them', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  add(
    rig,
    PROTO_TCP,
    VIP,
    0,
    [
      [B, 0],
      [C, 0],
    ],
    { persistence: REMEMBER },
  );
  const first = ask(rig, tcp(VIP, 443)) as [number, number];
  assert.equal(
    [20, 21, 22].map((port) => ask(rig, tcp(VIP, port))),
    [20, 21, 22].map((port) => [first[0], port]),
  );
  assert.is(rig.l4.templates.table.size(), 1);
});

test('a mark comes before the address, holds for all protocols, and one no service has is as none', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const marked = add(rig, PROTO_MARK, 7, 0, [[B, 0]]);
  rig.l4.core.classifier.setMarked([[7, marked]]);
  assert.equal(ask(rig, tcp(VIP, VPORT)), [last(SERVER), 8080]);
  rig.l4.core.classifier.setMarks([
    [9, to(VIP, VIP, 500, 600)],
    [7, to(VIP, VIP, 80, 443)],
  ]);
  assert.equal(ask(rig, tcp(VIP, VPORT, CPORT + 1)), [last(B), VPORT]);
  assert.equal(ask(rig, tcp(VIP, 443)), [last(B), 443]);
  assert.equal(ask(rig, udp(VIP, 443)), [last(B), 443]);
  assert.is(ask(rig, tcp(VIP, 444)), 'tcp_no_socket');
  assert.is(ask(rig, tcp(VIP, 500)), 'tcp_no_socket');
  rig.l4.core.classifier.setMarked([]);
  assert.equal(ask(rig, tcp(VIP, VPORT, CPORT + 2)), [last(SERVER), 8080]);
});

test('a persistent mark keeps a client at one server for all ports and both protocols, listed under the mark', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const marked = add(
    rig,
    PROTO_MARK,
    9,
    0,
    [
      [B, 0],
      [C, 0],
    ],
    { persistence: REMEMBER },
  );
  rig.l4.core.classifier.setMarked([[9, marked]]);
  rig.l4.core.classifier.setMarks([[9, to(VIP)]]);
  const [server] = ask(rig, tcp(VIP, 443)) as [number, number];
  assert.equal(
    [ask(rig, tcp(VIP, 80)), ask(rig, udp(VIP, 443))],
    [
      [server, 80],
      [server, 443],
    ],
  );
  const { table } = rig.l4.templates;
  const at = table.next(0) << c.ROW_SHIFT;
  assert.equal([table.size(), table.rows[at + c.VADDR], table.rows[at + c.CVPORTS]], [1, 9, 0]);
});

test('a match takes what is routed through us, not what is for us; the first that fits counts', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const far = ip('203.0.113.10');
  const first = add(rig, PROTO_MATCH, 1, 0, [[B, 0]]);
  const second = add(rig, PROTO_MATCH, 2, 0, [[C, 0]]);
  rig.l4.core.classifier.setMatches([
    [first, { ...to(far, far + 10, 80, 80), proto: PROTO_TCP }],
    [second, to(ip('0.0.0.0'), -1)],
  ]);
  assert.equal(ask(rig, tcp(far, 80)), [last(B), 80]);
  assert.equal(ask(rig, tcp(far + 10, 80, 2)), [last(B), 80]);
  assert.equal(ask(rig, tcp(far + 11, 80, 3)), [last(C), 80]);
  assert.equal(ask(rig, tcp(far, 81, 4)), [last(C), 81]);
  assert.equal(ask(rig, udp(far, 80)), [last(C), 80]);
  assert.is(ask(rig, tcp(VIP, 81)), 'tcp_no_socket');
});

const echo = (src: number, dst: number, type: number, id: number): Uint8Array =>
  ipPacket(src, dst, PROTO_ICMP, icmpBytes(type, 0, (id << 16) | 3, Uint8Array.of(9, 8, 7)));

for (const mode of MODE_NAMES)
  test(`${mode}: an echo through the VIP goes to a server, and its reply comes back`, () => {
    const rig = new L4Rig({ mode });
    add(rig, PROTO_ICMP, VIP, 0, [[B, 0]], { mode: MODES[mode], localAddresses: mode === 'FNAT' ? [LOCAL] : [] });
    const request = echo(CLIENT, VIP, 8, 500);
    const [sent] = rig.feed(request) as [Sent];
    assert.is(rig.fate, 'sent');
    assert.is(sent.to, last(B));
    if (mode === 'DR') assert.equal(sent.ip, request);
    if (mode === 'TUN') assert.equal(sent.l4, request);
    if (mode === 'DR' || mode === 'TUN') return;
    const id = get16(sent.l4, 4);
    assert.equal([sent.src, sent.dst, sent.l4[0], get16(sent.l4, 6)], [mode === 'FNAT' ? LOCAL : CLIENT, B, 8, 3]);
    assert.is(id === 500, mode === 'NAT');
    const [back] = rig.feed(echo(B, sent.src, 0, id)) as [Sent];
    assert.equal([back.src, back.dst, back.l4[0], get16(back.l4, 4), get16(back.l4, 6)], [VIP, CLIENT, 0, 500, 3]);
    assert.equal([...back.l4.subarray(8)], [9, 8, 7]);
    assert.is(rig.l4.icmp.size(), 1);
  });

test('an echo whose server is drained goes on with another one, where the service does not wait', () => {
  for (const expireQuiescent of ['off', 'on'] as const) {
    const rig = new L4Rig({ mode: 'NAT' });
    const id = add(
      rig,
      PROTO_ICMP,
      VIP,
      0,
      [
        [B, 0],
        [C, 0],
      ],
      { expireQuiescent },
    );
    const [first] = rig.feed(echo(CLIENT, VIP, 8, 500)) as [Sent];
    rig.services.setState(rig.services.destIds(id).find((dest) => rig.dests.addr[dest] === first.dst)!, 'drain');
    const [second] = rig.feed(echo(CLIENT, VIP, 8, 500)) as [Sent];
    assert.is(second.dst !== first.dst, expireQuiescent === 'on');
    assert.is(rig.l4.icmp.size(), 1);
  }
});

test('an echo without such a service is answered by the VIP; a wrong checksum goes nowhere', () => {
  const rig = new L4Rig({ mode: 'NAT' });
  const [answer] = rig.feed(echo(CLIENT, VIP, 8, 500));
  assert.equal([answer!.src, answer!.dst, answer!.l4[0]], [VIP, CLIENT, 0]);
  add(rig, PROTO_ICMP, VIP, 0, [[B, 0]]);
  const wrong = echo(CLIENT, VIP, 8, 501);
  wrong[27]! ^= 1;
  assert.equal(rig.feed(wrong), []);
  assert.is(rig.fate, 'icmp_malformed');
  assert.equal(rig.feed(echo(CLIENT, VIP, 0, 500)), [], 'a reply opens nothing');
});

test('an ICMP flow of a VIP is forgotten in its time', () => {
  const rig = new L4Rig({ mode: 'FNAT', options: { profile: 'lvs' } });
  add(rig, PROTO_ICMP, VIP, 0, [[B, 0]], { mode: c.FNAT, localAddresses: [LOCAL] });
  rig.feed(echo(CLIENT, VIP, 8, 1));
  for (let i = 0; i < 62 * 10; i++) rig.step(100_000);
  assert.equal([rig.l4.icmp.size(), rig.l4.pools.find(LOCAL)!.used], [0, 0]);
});

test.run();
