/** Segments merged on their way out: by which rules, and that cutting gives back every byte. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FATE_CREATED, FATE_DELIVERED, FATE_RECEIVED, FATE_SENT } from '../../../../stack/context.ts';
import { F_CSUM_PARTIAL, GSO_TCPV4 } from '../../../../stack/mem/frame-pool.ts';
import { naiveChecksum } from '../../../lib/naive-checksum.ts';
import { decodeSegment, type Segment } from '../../../lib/segment.ts';
import { CUTS_TOO, data, type Fed, type Left, PLAIN, segment, TrainRig } from '../../../lib/train-rig.ts';

const SIZE = 1000;
const TS = [77, 88] as const;

/** The `n`th segment of a stream, of SIZE bytes. */
const nth = (n: number, s: Partial<Segment> = {}, change?: (frame: Uint8Array) => void): Uint8Array =>
  segment({ seq: n * SIZE, data: data(SIZE, n * SIZE), ts: TS, ...s }, n, change);

const fed = (...frames: Uint8Array[]): Fed[] => frames.map((frame) => ({ frame }));
const sizes = (left: readonly Left[]): number[] => left.map(({ frame }) => frame.length - 66);
const hex = (frames: readonly Uint8Array[]): string[] => frames.map((frame) => Buffer.from(frame).toString('hex'));

/** Feeds a burst; what was cut is what was fed, in this order. Returns the payload of each frame that left. */
function through(burst: readonly Fed[], rig = new TrainRig()): number[] {
  const left = rig.burst(burst);
  assert.equal(hex(rig.cut()), hex(burst.map(({ frame }) => frame)));
  assert.is(rig.ctx.pool.inUse, 0);
  return sizes(left);
}

test('segments that follow each other leave as one frame, which is cut into what they were', () => {
  assert.equal(through(fed(nth(0), nth(1), nth(2))), [3000]);
});

test('the frame is one that a device cuts: partial checksum, size of a segment', () => {
  const rig = new TrainRig();
  const seen: number[][] = [];
  const { pool } = rig.ctx;
  rig.netif.transmitTap = {
    prepare: (f) => {
      seen.push([
        pool.gsoType[f]!,
        pool.gsoSize[f]!,
        pool.flags[f]!,
        pool.csumStart[f]! - pool.off[f]!,
        pool.csumOff[f]!,
      ]);
      seen.push([pool.l3[f]! - pool.off[f]!, pool.l4[f]! - pool.off[f]!, pool.len[f]!, pool.fragLen[f]!]);
    },
    commit: () => {},
    forget: () => {},
  };
  const [train] = rig.burst([...fed(nth(0)), { frame: nth(1), vouched: true }]);
  assert.equal(seen, [
    [GSO_TCPV4, SIZE, F_CSUM_PARTIAL, 34, 16],
    [14, 34, 66, 2 * SIZE],
  ]);
  const { flags, seq, win, ts, ...rest } = decodeSegment(train!.frame, true);
  assert.equal([flags, seq, win, ts], ['A', 0, 512, TS]);
  assert.equal(rest.data, data(2 * SIZE));
});

test('merged segments are delivered, what carries their payload is created, and the books balance', () => {
  const rig = new TrainRig();
  rig.receive(fed(nth(0), nth(1), nth(2)));
  const { fate, pool } = rig.ctx;
  assert.is(pool.inUse, 2);
  assert.equal([fate[FATE_RECEIVED], fate[FATE_CREATED], fate[FATE_SENT], fate[FATE_DELIVERED]], [3, 1, 0, 2]);
  assert.is(rig.netif.merged, 2);
  rig.devices[1]!.room = 0;
  assert.equal(rig.flush(), []);
  rig.devices[1]!.room = 1;
  assert.is(rig.flush().length, 1);
  assert.is(pool.inUse, 0);
});

test('a shorter segment is the last', () => {
  const short = nth(2, { data: data(10, 2 * SIZE) });
  assert.equal(
    through(fed(nth(0), nth(1), short, segment({ seq: 2 * SIZE + 10, ts: TS, data: data(10) }, 3))),
    [2010, 10],
  );
});

test('a segment with PSH is the last', () => {
  assert.equal(through(fed(nth(0), nth(1, { flags: 'PA' }), nth(2), nth(3))), [2000, 2000]);
  assert.equal(through(fed(nth(0, { flags: 'PA' }), nth(1), nth(2))), [1000, 2000]);
});

test('segments of every size and alignment', () => {
  for (let size = 512; size < 520; size++)
    for (let last = 1; last <= 5; last++) {
      const s = (n: number, length: number): Uint8Array => segment({ seq: n * size, data: data(length, n * size) }, n);
      const left = new TrainRig().burst(fed(s(0, size), s(1, size), s(2, size), s(3, last)));
      assert.equal(
        left.map(({ frame }) => frame.length - 54),
        [3 * size + last],
      );
      assert.equal(through(fed(s(0, size), s(1, size), s(2, size), s(3, last))).length, 1);
    }
});

test('numbers go round: sequence and identification', () => {
  const s = (n: number): Uint8Array =>
    segment({ seq: (0xffffff00 + n * SIZE) | 0, data: data(SIZE), ts: TS }, (65534 + n) & 0xffff);
  assert.equal(through(fed(s(0), s(1), s(2), s(3))), [4000]);
});

test('flows are merged side by side, each in its own order', () => {
  const a = [0, 1, 2].map((n) => nth(n));
  const b = [0, 1, 2].map((n) => nth(n, { dport: 40001 }));
  const rig = new TrainRig();
  const left = rig.burst(fed(a[0]!, b[0]!, a[1]!, b[1]!, a[2]!, b[2]!));
  assert.equal(sizes(left), [3000, 3000]);
  assert.equal(hex(rig.cut()), hex([...a, ...b]));
});

/** What must not be merged with the segment before it, as the third of four. */
const FORBIDDEN: Record<string, Uint8Array> = {
  'a gap in sequence numbers': nth(2, { seq: 2 * SIZE + 1 }),
  'data sent again': nth(2, { seq: SIZE }),
  'a gap in identifications': nth(2, {}, (f) => f.set([0, 9], 18)),
  'no DF': nth(2, {}, (f) => f.fill(0, 20, 21)),
  'a fragment': nth(2, {}, (f) => f.fill(0x20, 20, 21)),
  'another TOS': nth(2, {}, (f) => f.fill(3, 15, 16)),
  'another TTL': nth(2, {}, (f) => f.fill(63, 22, 23)),
  'another acknowledgment': nth(2, { ack: 6 }),
  'another window': nth(2, { win: 513 }),
  'other timestamps': nth(2, { ts: [78, 88] }),
  'other options': nth(2, { ts: [77, 88], sack: [[1, 2]] }),
  'more payload': nth(2, { data: data(SIZE + 4) }),
  'no payload': nth(2, { data: data(0) }),
  FIN: nth(2, { flags: 'FA' }),
  SYN: nth(2, { flags: 'SA' }),
  RST: nth(2, { flags: 'RA' }),
  URG: nth(2, { flags: 'AU' }),
  ECE: nth(2, { flags: 'AE' }),
  CWR: nth(2, { flags: 'AC' }),
  'a reserved bit': spoilt(nth(2), 46, 1),
  'no ACK': nth(2, { flags: '' }),
  'an urgent pointer': spoilt(nth(2), 53, 1),
  'a wrong checksum': spoilt(nth(2), 700, 1),
  'a checksum wrong in the last byte': spoilt(nth(2, { data: data(SIZE - 1, 2 * SIZE) }), -1, 128),
  'another sender on the link': spoilt(nth(2), 11, 1),
  'another receiver on the link': spoilt(nth(2), 0, 2),
  'another receiver on the link, by its last byte': spoilt(nth(2), 5, 2),
  'another sender on the link, by its first byte': spoilt(nth(2), 6, 4),
};

/** The frame with bits of one byte turned. Its TCP checksum is made right where the byte is of TCP's header. */
function spoilt(frame: Uint8Array, at: number, bits: number): Uint8Array {
  const i = at < 0 ? frame.length + at : at;
  frame[i]! ^= bits;
  if (i < 34 || i >= 66) return frame;
  const tcp = frame.subarray(34);
  tcp.fill(0, 16, 18);
  const sum = naiveChecksum([...frame.subarray(26, 34), 0, 6, tcp.length >> 8, tcp.length & 255, ...tcp]);
  tcp.set([sum >> 8, sum & 255], 16);
  return frame;
}

for (const [name, frame] of Object.entries(FORBIDDEN))
  test(`not merged: ${name}`, () => {
    const burst = fed(nth(0), nth(1), frame, nth(3));
    const lengths = through(burst);
    assert.is(lengths[0], 2 * SIZE, 'those before it are');
    assert.is(lengths[1], frame.length - 66, 'it goes by itself');
    assert.is(lengths.length, 3);
    assert.is(through(fed(frame, nth(3))).length, 2, 'nothing is merged with it');
  });

/** Streams of which nothing is merged, by what is the same in all their segments. */
const UNFIT: Record<string, (n: number) => Uint8Array> = {
  'no DF': (n) => nth(n, {}, (f) => f.fill(0, 20, 21)),
  fragments: (n) => nth(n, {}, (f) => f.fill(0x60, 20, 21)),
  ECE: (n) => nth(n, { flags: 'AE' }),
  'no ACK': (n) => nth(n, { flags: '' }),
  'a reserved bit': (n) => spoilt(nth(n), 46, 1),
  'a data offset below the least': (n) => spoilt(nth(n, { seq: n * (SIZE + 32) }), 46, 0x80),
};

for (const [name, make] of Object.entries(UNFIT))
  test(`not merged: streams with ${name}`, () => {
    assert.is(through(fed(make(0), make(1), make(2))).length, 3);
  });

test('not merged: what would overtake a segment of its flow that is by itself', () => {
  const bare = nth(2, { data: data(0) });
  assert.equal(through(fed(nth(0), nth(1), bare, nth(2), nth(3))), [2000, 0, 2000]);
});

test('not merged: other addresses or ports', () => {
  for (const s of [{ src: 1 }, { dst: 1 }, { sport: 81 }, { dport: 40001 }])
    assert.equal(through(fed(nth(0), nth(1, s))), [1000, 1000]);
  // Some of them share a place.
  for (let n = 1; n < 200; n++) {
    assert.equal(through(fed(nth(0), nth(1, { dport: n }))), [1000, 1000]);
    assert.equal(through(fed(nth(0), nth(1, { dst: n }))), [1000, 1000]);
  }
});

test('not merged: the first one has a wrong checksum; those behind it are', () => {
  assert.equal(through(fed(spoilt(nth(0), 700, 1), nth(1), nth(2))), [1000, 2000]);
});

test('not merged: segments of a flow that leave by different ports', () => {
  const burst = [{ frame: nth(0) }, { frame: nth(1), port: CUTS_TOO }, { frame: nth(2), port: CUTS_TOO }];
  assert.equal(through(burst), [1000, 2000]);
});

test('not merged: little payload, for which it does not pay', () => {
  const s = (n: number): Uint8Array => segment({ seq: n * 511, data: data(511), ts: TS }, n);
  assert.equal(through(fed(s(0), s(1), s(2))), [511, 511, 511]);
});

test('not merged: where the port does not cut', () => {
  assert.equal(
    through([
      { frame: nth(0), port: PLAIN },
      { frame: nth(1), port: PLAIN },
    ]),
    [1000, 1000],
  );
});

test('not merged: segments of different bursts', () => {
  const rig = new TrainRig();
  rig.receive(fed(nth(0)));
  rig.receive(fed(nth(1), nth(2)));
  rig.receive(fed(nth(0, { dport: 40001 }), nth(3)));
  assert.equal(sizes(rig.flush()), [1000, 2000, 1000, 1000]);
});

test('not merged with what has been sent: the queue was full in the middle of a burst', () => {
  const rig = new TrainRig(8, 2048);
  const bare = (n: number): Uint8Array => nth(0, { dport: n, data: data(0) });
  for (let n = 0; n < 1023; n += 33) rig.receive(fed(...Array.from({ length: 33 }, (_, i) => bare(n + i))));
  rig.receive(fed(nth(0), nth(1), bare(5), nth(2), nth(3)));
  assert.equal(sizes(rig.flush()).slice(1023), [2000, 0, 2000]);
  assert.equal(hex(rig.cut()).slice(1023), hex([nth(0), nth(1), bare(5), nth(2), nth(3)]));
});

test('a link that vouches for checksums is believed', () => {
  const rig = new TrainRig();
  const wrong = spoilt(nth(1), 700, 1);
  assert.equal(sizes(rig.burst([{ frame: nth(0) }, { frame: wrong, vouched: true }])), [2000]);
});

test('a train takes no more than 64 KB, less room for headers', () => {
  const size = 1448;
  const burst = Array.from({ length: 64 }, (_, n) => segment({ seq: n * size, data: data(size, n * size), ts: TS }, n));
  assert.equal(through(fed(...burst)), [45 * size, 19 * size]);
});

test('half of the big frames are left to others', () => {
  const flow = (n: number): Uint8Array[] => [0, 1].map((i) => nth(i, { dport: n }));
  const rig = new TrainRig(4);
  const left = rig.burst(fed(...flow(1), ...flow(2), ...flow(3)));
  assert.equal(sizes(left), [2000, 2000, 1000, 1000]);
});

/** A segment of one of three flows, and what is odd about it. */
const step = fc.record({
  flow: fc.constantFrom(0, 1, 2),
  length: fc.oneof(
    { weight: 6, arbitrary: fc.constant(600) },
    { weight: 1, arbitrary: fc.integer({ min: 0, max: 700 }) },
  ),
  odd: fc.oneof(
    { weight: 12, arbitrary: fc.constant('') },
    {
      weight: 3,
      arbitrary: fc.constantFrom(
        'push',
        'fin',
        'ece',
        'ack',
        'win',
        'ts',
        'gap',
        'id',
        'wrong',
        'tos',
        'ttl',
        'df',
        'vouched',
      ),
    },
  ),
});

test('whatever comes, each flow is cut into what it was, in its order', () => {
  let merged = 0;
  fc.assert(
    fc.property(fc.array(step, { minLength: 20, maxLength: 64 }), fc.boolean(), (steps, stamped) => {
      const rig = new TrainRig();
      const flows = [0, 1, 2].map((n) => ({ seq: 0x7fffff00 + n, ident: 65530, ack: 1, win: 9, tick: 1 }));
      const burst = steps.map(({ flow, length, odd }): Fed => {
        const s = flows[flow]!;
        if (odd === 'ack') s.ack++;
        if (odd === 'win') s.win++;
        if (odd === 'ts') s.tick++;
        if (odd === 'gap') s.seq++;
        if (odd === 'id') s.ident++;
        const flags = odd === 'push' ? 'PA' : odd === 'fin' ? 'FA' : odd === 'ece' ? 'AE' : 'A';
        const { seq, ack, win } = s;
        const ts: Partial<Segment> = stamped ? { ts: [s.tick, 5] } : {};
        const frame = segment(
          { dport: 40000 + flow, seq: seq | 0, ack, win, flags, data: data(length, seq), ...ts },
          s.ident & 0xffff,
          (f) => {
            if (odd === 'tos') f[15] = 1;
            if (odd === 'ttl') f[22] = 9;
            if (odd === 'df') f[20] = 0;
          },
        );
        if (odd === 'wrong') frame[frame.length - 1]! ^= 1;
        s.seq += length;
        s.ident++;
        return { frame, vouched: odd === 'vouched' };
      });
      rig.burst(burst);
      const left = rig.cut();
      const of = (frames: readonly Uint8Array[], n: number): string[] =>
        hex(frames.filter((f) => f[37] === (40000 + n) % 256));
      for (let n = 0; n < 3; n++)
        assert.equal(
          of(left, n),
          of(
            burst.map(({ frame }) => frame),
            n,
          ),
        );
      assert.is(rig.ctx.pool.inUse, 0);
      merged += rig.netif.merged;
    }),
    { numRuns: 300, seed: 11 },
  );
  assert.ok(merged > 1000, `${merged} segments were merged`);
});

test.run();
