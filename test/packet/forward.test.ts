/** The short cut of forwarding sends, drops and counts what the long way does, byte for byte. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FORWARD, POST_ROUTING, PRE_ROUTING } from '../../stack/hook.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID } from '../../stack/mem/frame-pool.ts';
import { CONFIRMED, IP, MAC_HI, MAC_LO, PORT, PROBES, STATE, USED } from '../../stack/neigh/table.ts';
import { PASS } from '../../stack/verdict.ts';
import { ipv4Packet, pattern } from '../lib/ip-bench.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { type Fed, RouterRig } from '../lib/router-rig.ts';
import { decodeSegment, segmentFrame } from '../lib/segment.ts';
import { ip, outstanding } from '../lib/sim.ts';

/** Addresses of every kind: behind gateways that are there, one that is silent, on the links, ours, of many, of nobody. */
const HOSTS = [
  ...['198.51.100.7', '198.51.100.8', '172.16.0.1', '172.16.9.9', '100.64.0.1', '192.168.0.1', '203.0.113.5'],
  ...['10.0.1.7', '10.0.2.7', '10.0.1.99', '10.0.0.254', '10.0.1.254', '10.0.0.255', '10.0.1.255', '10.0.2.0'],
  ...['255.255.255.255', '224.0.0.5', '240.0.0.1', '127.0.0.1', '0.0.0.0', '0.1.2.3'],
].map(ip);
const SENDERS = ['10.0.0.7', '10.0.0.8', '198.51.100.7'].map(ip);

function router(watched: boolean): RouterRig {
  const rig = new RouterRig(watched);
  const { nud } = rig.host.neigh;
  rig.route('0.0.0.0', 0, '10.0.0.9', 1);
  rig.route('172.16.0.0', 12, '10.0.1.9', 2);
  rig.route('100.64.0.0', 10, '10.0.2.8', 3, 300);
  rig.route('192.168.0.0', 16, '10.0.2.6', 3);
  rig.route('203.0.113.0', 24, '10.0.2.8', 1);
  nud.setStatic(ip('10.0.0.9'), 1, 0x0200, 109);
  nud.setStatic(ip('10.0.1.9'), 2, 0x0200, 119);
  nud.setStatic(ip('10.0.1.7'), 2, 0x0200, 117);
  nud.setStatic(ip('10.0.1.255'), 2, 0x0200, 118);
  nud.setStatic(ip('10.0.1.254'), 2, 0x0200, 120);
  nud.setStatic(ip('10.0.2.8'), 1, 0x0200, 108);
  nud.heard(ip('10.0.2.8'), 3, 0x0200, 128, true);
  nud.heard(ip('10.0.2.7'), 3, 0x0200, 127, true);
  return rig;
}

const USUAL: Frame = {
  packet: {
    src: SENDERS[0]!,
    dst: ip('172.16.0.1'),
    id: 1,
    proto: 17,
    tos: 0,
    ttl: 64,
    df: false,
    mf: false,
    offset: 0,
    options: [],
    size: 26,
  },
  ...{ mac: 0, type: 0x0800, spoilt: null, tail: 0, flags: 0, gsoSize: 0, shift: 0 },
};
const usualFrame = (ttl: number, id = 1): Uint8Array =>
  fed({ ...USUAL, packet: { ...USUAL.packet, ttl, id: id & 0xffff } }, 1).bytes;

const rarely = <T>(value: fc.Arbitrary<T>, usual: T): fc.Arbitrary<T> =>
  fc.oneof({ weight: 24, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: value });

const packet = fc.record({
  src: fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom(...SENDERS) },
    { weight: 1, arbitrary: fc.constantFrom(...HOSTS) },
  ),
  dst: fc.oneof(
    { weight: 3, arbitrary: fc.constantFrom(...HOSTS.slice(0, 9)) },
    { weight: 1, arbitrary: fc.constantFrom(...HOSTS) },
  ),
  id: fc.integer({ min: 0, max: 65535 }),
  proto: fc.constantFrom(6, 17, 1, 50),
  tos: fc.integer({ min: 0, max: 255 }),
  ttl: fc.constantFrom<number>(64, 64, 64, 255, 128, 2, 1, 0),
  df: fc.boolean(),
  mf: rarely(fc.boolean(), false),
  offset: rarely(fc.constantFrom(0, 8, 1480), 0),
  options: rarely(fc.constantFrom<number[]>([1, 1, 1, 0], [7, 7, 4, 0, 0, 0, 0, 0], [131, 3, 9, 0]), []),
  size: fc.oneof(fc.integer({ min: 0, max: 60 }), fc.constantFrom(279, 280, 281, 579, 580, 581, 1400)),
});

const frame = fc.record({
  packet,
  mac: rarely(fc.constantFrom(0x99, -1, 0x0100), 0),
  type: rarely(fc.constantFrom(0x0806, 0x86dd, 0x8100), 0x0800),
  /** A byte that is not what it was, and what may be behind or missing. */
  spoilt: rarely(fc.tuple(fc.integer({ min: 14, max: 34 }), fc.integer({ min: 1, max: 255 })), null),
  tail: rarely(fc.constantFrom(7, 40, -3, -30), 0),
  flags: rarely(fc.constantFrom(F_CSUM_VALID, F_CSUM_PARTIAL), 0),
  gsoSize: rarely(fc.constant(500), 0),
  shift: rarely(fc.constantFrom(1, 2), 0),
});
type Frame = typeof frame extends fc.Arbitrary<infer T> ? T : never;

/** As it arrives at a port. */
function fed({ packet: p, mac, type, spoilt, tail, ...rest }: Frame, port: number): Fed {
  const body = ipv4Packet({ ...p, payload: pattern(p.size, p.id) });
  const bytes = new Uint8Array(Math.max(14 + body.length + tail, 14));
  const last = mac === 0 ? port : mac;
  const to = mac === -1 ? [255, 255, 255, 255, 255, 255] : mac === 0x0100 ? [1, 0, 94, 0, 0, 5] : [2, 0, 0, 0, 0, last];
  bytes.set([...to, 2, 0, 0, 0, 0, 77, type >> 8, type & 255]);
  bytes.set(body.subarray(0, bytes.length - 14), 14);
  if (spoilt !== null && spoilt[0] < bytes.length) bytes[spoilt[0]]! ^= spoilt[1];
  return { ...rest, bytes };
}

/** What changes between bursts. */
const CHANGES: Record<string, (rig: RouterRig) => void> = {
  nothing: () => {},
  'a neighbour moves': ({ host }) => host.neigh.nud.setStatic(ip('10.0.1.9'), 2, 0x0200, 19),
  'a neighbour speaks': ({ host }) => host.neigh.nud.heard(ip('10.0.2.6'), 3, 0x0200, 126, true),
  'a neighbour is confirmed': ({ host }) => host.neigh.nud.confirm(ip('10.0.2.8'), 3),
  'another way': (rig) => rig.route('172.16.0.0', 16, '10.0.2.7', 3),
  'no way': ({ host }) => {
    host.routes.delete({ prefix: 0, len: 0, gateway: ip('10.0.0.9'), port: 1, metric: 0 });
  },
  'an address becomes ours': ({ host }) =>
    host.addresses.add({ addr: ip('198.51.100.7'), prefixLen: 32, port: 1, flags: 0 }),
  'a subnet comes': ({ host }) => host.addresses.add({ addr: ip('172.16.9.1'), prefixLen: 28, port: 2, flags: 0 }),
  'a link fails': ({ host, devices }) => {
    devices[1]!.up = false;
    host.routes.refresh();
  },
  'a link fails unnoticed': ({ devices }) => void (devices[2]!.up = false),
};

const step = fc.record({
  port: fc.constantFrom(1, 1, 2, 3),
  frames: fc.array(frame, { minLength: 1, maxLength: 24 }),
  us: fc.constantFrom(100, 100, 100, 1_000_000, 20_000_000),
});
const story = fc.record({
  steps: fc.array(step, { minLength: 2, maxLength: 5 }),
  changes: fc.uniqueArray(fc.constantFrom(...Object.keys(CHANGES)), { minLength: 1, maxLength: 4 }),
});

/** What is known of each neighbour, but for the frames that wait for it: their numbers depend on who was freed first. */
const neighbours = ({ host }: RouterRig): readonly number[][] => {
  const { words, max } = host.neigh.table;
  const known = [STATE, IP, PORT, MAC_HI, MAC_LO, CONFIRMED, USED, PROBES];
  return Array.from({ length: max }, (_, i) => known.map((word) => words[((i + 1) << 4) + word]!));
};

test('short cut and long way agree, whatever comes and whatever changes', () => {
  let short = 0;
  fc.assert(
    fc.property(story, ({ steps, changes }) => {
      const [a, b] = [router(false), router(true)];
      for (const [i, { port, frames, us }] of steps.entries()) {
        const burst = frames.map((one) => fed(one, port));
        assert.equal(a.feed(port, burst, us), b.feed(port, burst, us));
        assert.equal(a.counts, b.counts);
        const change = CHANGES[changes[i] ?? 'nothing']!;
        change(a);
        change(b);
      }
      assert.equal(a.turn(30_000_000), b.turn(30_000_000));
      assert.equal(a.counts, b.counts);
      assert.equal(neighbours(a), neighbours(b));
      assert.is(outstanding(a.ctx), a.ctx.pool.inUse);
      assert.is(b.host.shortCut!.packets, 0);
      short += a.host.shortCut!.packets;
    }),
    { numRuns: 400, seed: 7 },
  );
  assert.ok(short > 2000, `${short} packets took the short cut`);
});

test('a usual packet takes the short cut; with somebody at a hook, none does', () => {
  const rig = router(false);
  const usual = [{ bytes: usualFrame(64) }];
  rig.feed(1, usual);
  assert.is(rig.host.shortCut!.packets, 1);
  const seer = { packet: () => PASS };
  for (const point of [PRE_ROUTING, FORWARD, POST_ROUTING]) {
    rig.host.hooks.register(point, 0, seer);
    assert.is(rig.feed(1, usual).flat().length, 1);
    rig.host.hooks.unregister(point, seer);
  }
  assert.is(rig.host.shortCut!.packets, 1);
  rig.feed(1, usual);
  assert.is(rig.host.shortCut!.packets, 2);
});

test('of a GSO frame the segments count: made smaller if they may be, else their sender is told', () => {
  // IP and TCP header, 20 bytes each, and 560 bytes fill what the second link takes.
  const tcp = { ...USUAL.packet, proto: 6 as const, size: 1400 };
  for (const [gsoSize, df, then] of [
    [560, true, 560],
    [561, true, 0],
    [1360, true, 0],
    [561, false, 560],
  ] as const) {
    const rig = router(false);
    rig.host.neigh.nud.setStatic(SENDERS[0]!, 1, 0x0200, 107);
    const one = { ...fed({ ...USUAL, packet: { ...tcp, df } }, 1), gsoSize };
    one.bytes[14 + 20 + 12] = 0x50;
    const [back, sent] = rig.feed(1, [one]);
    assert.equal(
      sent!.map((text) => Number(text.split(' ')[2])),
      then === 0 ? [] : [then],
    );
    const { drops } = rig.counts;
    assert.equal(drops, then === 0 ? { ip_too_big: 1 } : {});
    if (then !== 0) continue;
    const error = Buffer.from(back![0]!, 'hex').subarray(34);
    assert.equal([error[0], error[1], error.readUInt16BE(6)], [3, 4, 600], 'fragmentation needed, and the MTU');
  }
});

test('every time to live and checksum: one hop less, and the sum is right', () => {
  const rig = router(false);
  for (let ttl = 2; ttl < 256; ttl++) {
    const frames = Array.from({ length: 24 }, (_, i) => ({ bytes: usualFrame(ttl, ttl * 257 * i) }));
    const sent = rig.feed(1, frames).flat();
    assert.is(sent.length, 24);
    for (const text of sent) {
      const header = Buffer.from(text, 'hex').subarray(14, 34);
      assert.is(header[8], ttl - 1);
      assert.is(naiveChecksum(header), 0);
    }
  }
  assert.is(rig.host.shortCut!.packets, 254 * 24);
});

test('next hops that share places in the cache', () => {
  const rig = router(false);
  rig.route('172.17.0.0', 16, '0.0.0.0', 2);
  const hosts = Array.from({ length: 240 }, (_, i) => ip(`172.17.${(i * 37) % 256}.${(i * i) % 256}`));
  for (const [i, addr] of hosts.entries()) rig.host.neigh.nud.setStatic(addr, 2, 0x0200, i);
  for (let first = 0; first < 240; first += 60) {
    const frames = hosts.slice(first, first + 60).map((dst) => fed({ ...USUAL, packet: { ...USUAL.packet, dst } }, 1));
    const [, sent] = rig.feed(1, frames);
    const seen = sent!.map((text) => [
      Number.parseInt(text.slice(10, 12), 16),
      Number.parseInt(text.slice(60, 68), 16) | 0,
    ]);
    assert.equal(
      seen,
      hosts.slice(first, first + 60).map((dst, i) => [first + i, dst]),
    );
  }
  const { packets } = rig.host.shortCut!;
  assert.ok(packets > 180 && packets < 240, `${packets} of 240 packets took the short cut`);
});

test('segments of a burst are forwarded as one frame, one hop less', () => {
  const rig = router(false);
  const frames = [0, 1, 2].map((n) => {
    const data = pattern(540, n);
    const base = { src: SENDERS[0]!, dst: ip('172.16.0.1'), sport: 80, dport: 4000, ack: 1, flags: 'A', win: 9 };
    return { bytes: segmentFrame({ ...base, seq: n * 540, data }, n) };
  });
  const ping = { bytes: usualFrame(64) };
  const [, sent] = rig.feed(1, [frames[0]!, frames[1]!, ping, frames[2]!]);
  assert.is(sent!.length, 2);
  const train = sent!.find((text) => text.length > 2000)!;
  assert.match(train, / \d+ 540$/);
  const { ttl, ipId, seq, data } = decodeSegment(Buffer.from(train.split(' ')[0]!, 'hex'), true);
  assert.equal([ttl, ipId, seq, data.length], [63, 0, 0, 1620]);
  assert.is(rig.host.netif.merged, 2);
  assert.is(outstanding(rig.ctx), rig.ctx.pool.inUse);
});

test.run();
