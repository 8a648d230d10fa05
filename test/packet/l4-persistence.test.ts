/**
 * Persistence templates in the director: the rules of LVS, as its recorded listings show them (test/golden/ipvsadm, cases
 * 40 and 42), and one-packet scheduling.
 */
import { suite, test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import type { Persistence } from '../../lb/l4.ts';
import { PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import type { ModeName } from '../lib/l4-net.ts';
import {
  CPORT,
  get16,
  ipPacket,
  L4Rig,
  type RigOptions,
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
const OTHERS = [ip('10.0.0.22'), ip('10.0.0.23')];
const A = ip('198.51.100.7');
const B = ip('198.51.100.8');
const FAR = ip('203.0.113.9');

const MINUTE: Persistence = { timeoutMs: 60_000, netmask: -1, expireQuiescent: false };

/** Three servers in turn. */
function rigOf(options: Partial<RigOptions> = {}, persistence: Persistence | null = MINUTE): L4Rig {
  const rig = new L4Rig({ mode: 'NAT', ...options, service: { persistence, ...options.service } });
  for (const addr of OTHERS) {
    rig.services.addDest(rig.service, { addr, port: rig.rport, weight: 1 });
    rig.host.neigh.nud.setStatic(addr, 1, 0x0200, addr & 255);
  }
  rig.l4.setService(rig.service, rig.wanted);
  return rig;
}

/** A SYN, or a datagram; the last byte of the server's address, 0 = it went nowhere. */
function ask(rig: L4Rig, client: number, sport: number, dport = VPORT, udp = false): number {
  const l4 = udp
    ? udpBytes(client, VIP, sport, dport, NO_DATA)
    : tcpBytes({ src: client, dst: VIP, sport, dport, seq: 1, ack: 0, flags: 'S', win: 9, data: NO_DATA });
  const sent = rig.feed(ipPacket(client, VIP, udp ? PROTO_UDP : PROTO_TCP, l4));
  return rig.fate === 'sent' ? sent[0]!.to : 0;
}

function wait(rig: L4Rig, seconds: number): void {
  for (let i = 0; i < seconds * 10; i++) rig.step(100_000);
}

/** Client, its port, virtual port, server and its port of each template; `x` for one that matches no more. */
function templates(rig: L4Rig): string[] {
  const { table } = rig.l4.templates;
  const list: string[] = [];
  for (let row = table.next(0); row !== 0; row = table.next(row)) {
    const w = (i: number): number => table.rows[(row << c.ROW_SHIFT) + i]!;
    const invalid = (w(c.META) & c.F_INVALID) !== 0;
    const text = `${w(c.CADDR) & 255}>${w(c.CVPORTS) & 0xffff}>${w(c.RADDR) & 255}:${w(c.RLPORTS) >>> 16}`;
    list.push(invalid ? `${text} x` : text);
  }
  return list.sort();
}

const persistent = (rig: L4Rig): number[] =>
  rig.services.destIds(rig.service).map((dest) => rig.dests.persistent[dest]!);

for (const mode of ['FNAT', 'NAT', 'DR', 'TUN'] as ModeName[])
  test(`${mode}: a client comes to its server again, another one to the next`, () => {
    const rig = rigOf({ mode });
    const first = ask(rig, A, CPORT);
    assert.is(ask(rig, A, CPORT + 1), first);
    const second = ask(rig, B, CPORT);
    assert.is.not(second, first);
    assert.equal([ask(rig, A, CPORT + 2), ask(rig, B, CPORT + 1), ask(rig, A, CPORT + 3)], [first, second, first]);
    assert.equal(templates(rig), [`7>80>${first}:${rig.rport}`, `8>80>${second}:${rig.rport}`]);
    assert.equal(persistent(rig), [1, 1, 0]);
    assert.is(rig.l4.core.stats.persisted, 4);
  });

test('UDP is remembered as TCP is, but not together with it', () => {
  const rig = rigOf({ udp: true });
  const first = ask(rig, A, CPORT, VPORT, true);
  assert.equal(
    [1, 2, 3].map((i) => ask(rig, A, CPORT + i, VPORT, true)),
    [first, first, first],
  );
});

test('everyone behind the mask is one client', () => {
  const rig = rigOf({}, { ...MINUTE, netmask: -256 });
  const first = ask(rig, A, CPORT);
  assert.is(ask(rig, B, CPORT), first);
  assert.is.not(ask(rig, FAR, CPORT), first);
  assert.equal(
    templates(rig).map((text) => text.slice(0, 2)),
    ['0>', '0>'],
  );
});

test('a template of which no connection is left ends in its time, and is renewed by each connection', () => {
  const rig = rigOf({}, { ...MINUTE, timeoutMs: 20_000 });
  const first = ask(rig, A, CPORT);
  wait(rig, 15);
  assert.is(ask(rig, A, CPORT + 1), first);
  wait(rig, 15);
  assert.is(templates(rig).length, 1, 'renewed');
  // A SYN that is never answered is given up after 30 s: until then the template lives on with it, by a minute at a time.
  wait(rig, 32);
  assert.is(rig.l4.open, 0);
  assert.is(templates(rig).length, 1);
  wait(rig, 40);
  assert.equal(templates(rig), []);
  assert.equal(persistent(rig), [0, 0, 0]);
  for (const dest of rig.services.destIds(rig.service)) assert.is(rig.dests.refs[dest], 0);
});

const weight = (rig: L4Rig, last: number, to: number): number =>
  rig.services.editDest(rig.service, { addr: (VIP & ~255) | last, port: rig.rport, weight: to });

test('a server of weight 0 gets its clients back', () => {
  const rig = rigOf();
  const first = ask(rig, A, CPORT);
  weight(rig, first, 0);
  assert.is(ask(rig, A, CPORT + 1), first);
});

test('unless templates of quiescent servers expire: then the client gets a new one, and the old is shown as invalid', () => {
  const rig = rigOf({}, { ...MINUTE, expireQuiescent: true });
  const first = ask(rig, A, CPORT);
  weight(rig, first, 0);
  const second = ask(rig, A, CPORT + 1);
  assert.is.not(second, first);
  assert.is(ask(rig, A, CPORT + 2), second);
  assert.equal(templates(rig), [`7>80>${first}:${rig.rport} x`, `7>80>${second}:${rig.rport}`].sort());
  assert.is(rig.l4.core.stats.templatesInvalid, 1);
});

for (const [what, change] of [
  ['removed', (rig: L4Rig, last: number) => rig.services.removeDest(rig.service, (VIP & ~255) | last, rig.rport)],
  [
    'failing',
    (rig, last) => rig.dests.setHealth(rig.dests.find(rig.service, (VIP & ~255) | last, rig.rport), false, 0),
  ],
  [
    'in maintenance',
    (rig, last) => rig.dests.setState(rig.dests.find(rig.service, (VIP & ~255) | last, rig.rport), 'maint'),
  ],
] as [string, (rig: L4Rig, last: number) => void][])
  test(`a server that is ${what} gets nobody back`, () => {
    const rig = rigOf();
    const first = ask(rig, A, CPORT);
    change(rig, first);
    const second = ask(rig, A, CPORT + 1);
    assert.ok(second !== 0 && second !== first);
    assert.is(ask(rig, A, CPORT + 2), second);
  });

test('the limit of connections does not hold for those who come back', () => {
  const rig = rigOf();
  const first = ask(rig, A, CPORT);
  const dest = rig.dests.find(rig.service, (VIP & ~255) | first, rig.rport);
  rig.dests.edit(dest, { addr: 0, port: 0, weight: 1, upper: 1 });
  assert.is(ask(rig, A, CPORT + 1), first);
});

test('a full table of templates refuses nobody', () => {
  const rig = rigOf({ limits: { tcp: 64, udp: 4, icmp: 4, templates: 1 } });
  ask(rig, A, CPORT);
  assert.ok(ask(rig, B, CPORT) !== 0);
  assert.is(rig.l4.core.stats.templatesFull, 1);
});

test('persistence that is switched off holds nobody any more', () => {
  const rig = rigOf();
  const first = ask(rig, A, CPORT);
  rig.l4.setService(rig.service, layer4Service(c.NAT));
  assert.is.not(ask(rig, A, CPORT + 1), first);
});

const removal = suite('UDP flows of a removed server');
const remove = (rig: L4Rig, last: number): void => rig.services.removeDest(rig.service, (VIP & ~255) | last, rig.rport);

for (const [expireQuiescent, ends] of [
  ['off', false],
  ['removed', true],
  ['on', true],
] as const)
  removal(
    `expire_quiescent ${expireQuiescent}: the flow ${ends ? 'begins anew elsewhere, without loss' : 'is kept'}`,
    () => {
      const rig = rigOf({ udp: true, service: { expireQuiescent } }, null);
      const first = ask(rig, A, CPORT, VPORT, true);
      remove(rig, first);
      const second = ask(rig, A, CPORT, VPORT, true);
      assert.is(rig.fate, 'sent');
      assert.is(second !== first, ends);
      assert.is(rig.l4.udp.size(), 1);
    },
  );

removal('expire_quiescent removed: a drained server keeps its flows', () => {
  const rig = rigOf({ udp: true, service: { expireQuiescent: 'removed' } }, null);
  const first = ask(rig, A, CPORT, VPORT, true);
  weight(rig, first, 0);
  assert.is(ask(rig, A, CPORT, VPORT, true), first);
});
removal.run();

const ops = suite('one-packet scheduling');
for (const mode of ['NAT', 'DR', 'TUN'] as ModeName[])
  ops(`${mode}: each datagram of one flow is scheduled, and nothing is left of it`, () => {
    const rig = rigOf({ mode, udp: true, service: { onePacket: true } }, null);
    const servers = [1, 2, 3].map(() => ask(rig, A, CPORT, VPORT, true));
    assert.is(new Set(servers).size, 3);
    assert.is(rig.l4.open, 0);
    const counts = rig.services
      .destIds(rig.service)
      .map((dest) => [rig.dests.conns[dest], rig.dests.inPkts[dest], rig.dests.refs[dest]]);
    assert.equal(counts, [
      [1, 1, 0],
      [1, 1, 0],
      [1, 1, 0],
    ]);
  });

ops('NAT: answers are translated by the address and port of the server alone', () => {
  const rig = rigOf({ udp: true, service: { onePacket: true } }, null);
  ask(rig, A, CPORT, VPORT, true);
  const answer = udpBytes(SERVER, A, rig.rport, CPORT, Uint8Array.of(1, 2, 3));
  const [sent] = rig.feed(ipPacket(SERVER, A, PROTO_UDP, answer)) as [Sent];
  assert.equal([sent.src, sent.dst, get16(sent.l4, 0), get16(sent.l4, 2)], [VIP, A, VPORT, CPORT]);
  assert.equal([...sent.l4.subarray(8)], [1, 2, 3]);
  const other = udpBytes(SERVER, A, 999, CPORT, NO_DATA);
  assert.equal(rig.feed(ipPacket(SERVER, A, PROTO_UDP, other)), []);
  assert.is(rig.fate, 'ip_not_local');
});

ops('with persistence, the datagrams of a client stay together', () => {
  const rig = rigOf({ udp: true, service: { onePacket: true } });
  const first = ask(rig, A, CPORT, VPORT, true);
  assert.equal([ask(rig, A, CPORT, VPORT, true), ask(rig, A, CPORT + 1, VPORT, true)], [first, first]);
  assert.is(rig.l4.open, 0);
  assert.is(templates(rig).length, 1);
});
ops.run();

test.run();
