/** The short cut for established connections sends, counts and remembers what the long way does, byte for byte. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { POST_ROUTING } from '../../stack/hook.ts';
import { PASS } from '../../stack/verdict.ts';
import { MODE_NAMES, type ModeName } from '../lib/l4-net.ts';
import { CLIENT, CPORT, GATEWAY, ipPacket, L4Rig, SERVER, udpBytes, VIP, VPORT } from '../lib/l4-rig.ts';
import { type Segment, tcpBytes } from '../lib/segment.ts';

const ISN = -3;
const SERVER_ISN = 2 ** 31 - 20;
const rewrites = (mode: ModeName): boolean => mode === 'FNAT' || mode === 'NAT';
const NO_DATA = new Uint8Array(0);

const fromClient = (s: Partial<Segment>): Uint8Array => {
  const whole = {
    src: CLIENT,
    dst: VIP,
    sport: CPORT,
    dport: VPORT,
    seq: ISN,
    ack: 0,
    flags: 'A',
    win: 9,
    data: NO_DATA,
  };
  return ipPacket(CLIENT, VIP, 6, tcpBytes({ ...whole, ...s }));
};
const fromServer = (rig: L4Rig, s: Partial<Segment>): Uint8Array => {
  const dst = rig.word(c.LADDR);
  const ports = { sport: rig.rport, dport: rig.lport };
  const whole = { src: SERVER, dst, ...ports, seq: SERVER_ISN, ack: 0, flags: 'A', win: 9, data: NO_DATA };
  return ipPacket(SERVER, dst, 6, tcpBytes({ ...whole, ...s }));
};

function rig(mode: ModeName, long: boolean): L4Rig {
  const made = new L4Rig({ mode });
  // Somebody who wants to see every packet that leaves rules the short cut out.
  if (long) made.host.hooks.register(POST_ROUTING, 0, { packet: () => PASS });
  made.feed(fromClient({ flags: 'S' }));
  const ack = (ISN + 1 + made.word(c.SEQ_DELTA)) | 0;
  if (rewrites(mode)) made.feed(fromServer(made, { flags: 'SA', ack }));
  made.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  return made;
}

const number = fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 });
const step = fc.record({
  up: fc.boolean(),
  seq: number,
  ack: number,
  win: fc.integer({ min: 0, max: 65535 }),
  flags: fc.constantFrom('A', 'PA', 'A', 'PA', 'AU', 'AEC', '', 'P'),
  data: fc.uint8Array({ maxLength: 60 }),
  ts: fc.option(fc.tuple(number, number)),
  sack: fc.option(fc.array(fc.tuple(number, number), { minLength: 1, maxLength: 2 })),
  us: fc.integer({ min: 1, max: 2_000_000 }),
});

for (const mode of MODE_NAMES)
  test(`${mode}: short cut and long way agree`, () => {
    let short = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const [a, b] = [rig(mode, false), rig(mode, true)];
        for (const { up, us, ts, sack, ...rest } of steps) {
          const s = { ...rest, ...(ts !== null && { ts }), ...(sack !== null && { sack }) };
          const packet = up || !rewrites(mode) ? fromClient(s) : fromServer(a, s);
          a.now += us;
          b.now += us;
          assert.equal(a.feed(packet), b.feed(packet));
          assert.is(a.fate, b.fate);
        }
        const row = (r: L4Rig): number[] => [
          ...r.l4.tcp.rows.subarray(r.row << c.ROW_SHIFT, (r.row + 1) << c.ROW_SHIFT),
        ];
        assert.equal(row(a), row(b));
        const dest = a.dests.find(a.service, SERVER, a.rport);
        for (const column of ['inPkts', 'inBytes', 'outPkts', 'outBytes'] as const) {
          assert.is(a.dests[column][dest], b.dests[column][dest]);
          assert.is(a.services.columns[column][a.service], b.services.columns[column][b.service]);
        }
        assert.is(b.l4.fast.packets, 0);
        short += a.l4.fast.packets;
      }),
      { numRuns: 60, seed: 7 },
    );
    assert.ok(short > 120, `${short} packets took the short cut`);
  });

const datagram = fc.record({
  up: fc.boolean(),
  data: fc.uint8Array({ maxLength: 60 }),
  summed: fc.boolean(),
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
        for (const { up, us, data, summed } of steps) {
          const packet = up || !rewrites(mode) ? out(data, summed) : back(data, summed);
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

test('what is not plain goes the long way', () => {
  const r = rig('FNAT', false);
  const before = r.l4.fast.packets;
  r.feed(fromClient({ flags: 'FA', seq: ISN + 1, ack: SERVER_ISN + 1 }));
  assert.is(r.l4.fast.packets, before);
  r.feed(fromClient({ seq: ISN + 2, ack: SERVER_ISN + 1 }));
  assert.is(r.l4.fast.packets, before, 'the connection is closing');
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

test.run();
