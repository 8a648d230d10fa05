import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../../../../../stack/context.ts';
import { FATE_CREATED, FATE_DROPPED, FATE_RECEIVED } from '../../../../../stack/context.ts';
import { FAULT_LOSS, FAULT_RATE, PORT_CLOSED } from '../../../../../stack/drop.ts';
import { F_CSUM_PARTIAL } from '../../../../../stack/mem/frame-pool.ts';
import type { Device } from '../../../../../stack/netif/device.ts';
import { memoryWire, OFFLOAD_WIRE } from '../../../../../stack/netif/memory.ts';
import { DueHeap } from '../../../../../stack/netif/middleware/due-heap.ts';
import { Fault, type FaultRules, NO_FAULTS } from '../../../../../stack/netif/middleware/fault.ts';
import { DELIVERED } from '../../../../../stack/verdict.ts';
import { check, setTos, tos } from '../../../../../stack/wire/ipv4.ts';
import {
  assertConserved,
  bytesOf,
  newContext,
  SeededRandom,
  tcpChecksumIsRight,
  tcpFrame,
  testFrame,
} from '../../../../contract/device.ts';

interface Scene {
  readonly a: Device;
  readonly b: Device;
  readonly ctxA: Context;
  readonly ctxB: Context;
}

/** A wire whose end B misbehaves as told when it receives, or whose end A does when it sends. */
function scene(rules: Partial<FaultRules>, side: 'rx' | 'tx', seed = 7, capacity = 512): Scene {
  const ctxA = newContext();
  const ctxB = newContext();
  const [a, b] = memoryWire(ctxA, ctxB, { ...OFFLOAD_WIRE, ring: 512 });
  const all = { ...NO_FAULTS, ...rules };
  const random = new SeededRandom(seed);
  if (side === 'rx') {
    return { a, b: new Fault(ctxB, b, { rx: all, tx: NO_FAULTS, capacity }, random), ctxA, ctxB };
  }
  return { a: new Fault(ctxA, a, { rx: NO_FAULTS, tx: all, capacity }, random), b, ctxA, ctxB };
}

/** Sets both clocks, lets A work, and gives the lengths of what B receives. */
function at(s: Scene, now: number): number[] {
  s.ctxA.tick(now);
  s.ctxB.tick(now);
  const out = new Int32Array(256);
  s.a.rx(out, 256);
  const lengths: number[] = [];
  for (;;) {
    const n = s.b.rx(out, 256);
    if (n === 0) break;
    s.ctxB.fate[FATE_RECEIVED]! += n;
    for (const f of out.subarray(0, n)) {
      lengths.push(s.ctxB.pool.len[f]!);
      s.ctxB.settle(f, DELIVERED);
    }
  }
  assertConserved(s.ctxA, `A at ${now}`);
  assertConserved(s.ctxB, `B at ${now}`);
  return lengths;
}

function send(s: Scene, ...lengths: number[]): void {
  const frames = Int32Array.from(lengths, (len, i) => testFrame(s.ctxA, len, i));
  assert.is(s.a.tx(frames, 0, frames.length), frames.length);
}

const numbered = (count: number): number[] => Array.from({ length: count }, (_, i) => 60 + i);

for (const side of ['rx', 'tx'] as const) {
  const inScene = (s: Scene): Context => (side === 'rx' ? s.ctxB : s.ctxA);

  test(`${side}: the same seed gives the same faults, another seed others`, () => {
    const run = (seed: number): string => {
      const s = scene({ loss: 0.2, duplicate: 0.2, reorder: 0.2, reorderMicros: 300, jitterMicros: 500 }, side, seed);
      const log: number[][] = [];
      for (let t = 0; t < 20; t++) {
        send(s, ...numbered(10));
        log.push(at(s, t * 100));
      }
      return JSON.stringify(log);
    };
    assert.is(run(1), run(1));
    assert.is.not(run(1), run(2));
  });

  test(`${side}: frames are lost at the rate asked for and counted`, () => {
    const s = scene({ loss: 0.1 }, side);
    let got = 0;
    for (let t = 0; t < 100; t++) {
      send(s, ...numbered(100));
      got += at(s, t).length;
    }
    const lost = inScene(s).drops[FAULT_LOSS]!;
    assert.is(got + lost, 10_000);
    // Six standard deviations of the binomial distribution: sqrt(10000 * 0.1 * 0.9) = 30.
    assert.ok(Math.abs(lost - 1000) < 180, `lost ${lost}`);
  });

  test(`${side}: certain loss loses all`, () => {
    const s = scene({ loss: 1 }, side);
    send(s, 60, 61, 62);
    assert.equal(at(s, 0), []);
    assert.is(inScene(s).fate[FATE_DROPPED], 3);
  });

  test(`${side}: duplicates are counted as created and follow their original`, () => {
    const s = scene({ duplicate: 1 }, side);
    const created = inScene(s).fate[FATE_CREATED]!;
    send(s, 60, 61);
    assert.equal(at(s, 0), [60, 60, 61, 61]);
    assert.is(inScene(s).fate[FATE_CREATED]! - created, side === 'rx' ? 2 : 4);
  });

  test(`${side}: a delayed frame comes when it is due, in order`, () => {
    const s = scene({ delayMicros: 5000 }, side);
    const fault = side === 'rx' ? s.b : s.a;
    send(s, 60, 61);
    assert.is(at(s, 0).length, 0);
    assert.is(fault.nextDueMs, 5);
    s.ctxA.tick(3000);
    s.ctxB.tick(3000);
    send(s, 62);
    assert.equal(at(s, 4999), []);
    assert.is(fault.nextDueMs, 1);
    assert.equal(at(s, 5000), [60, 61]);
    // Received frames entered when B first asked, sent ones when A sent them.
    assert.equal(at(s, 7999), []);
    assert.equal(at(s, side === 'rx' ? 9999 : 8000), [62]);
    assert.is(fault.nextDueMs, -1);
  });

  test(`${side}: jitter stays within its bound and reorders`, () => {
    const s = scene({ delayMicros: 1000, jitterMicros: 1000 }, side);
    send(s, ...numbered(100));
    assert.equal(at(s, 0), []);
    assert.equal(at(s, 999), []);
    const early = at(s, 1500);
    const late = at(s, 2000);
    assert.ok(early.length > 20 && late.length > 20, `${early.length} early, ${late.length} late`);
    assert.equal(
      [...early, ...late].sort((x, y) => x - y),
      numbered(100),
    );
    assert.ok(early.some((len, i) => i > 0 && len < early[i - 1]!));
  });

  test(`${side}: a reordered frame is overtaken by those behind it`, () => {
    const s = scene({ reorder: 0.5, reorderMicros: 1000 }, side);
    send(s, ...numbered(40));
    const first = at(s, 0);
    const held = at(s, 1000);
    assert.ok(first.length > 5 && held.length > 5);
    assert.equal(
      [...first, ...held].sort((x, y) => x - y),
      numbered(40),
    );
  });

  test(`${side}: the rate limit spaces frames and drops what its queue cannot hold`, () => {
    // 1000 bytes per millisecond.
    const s = scene({ bitsPerSecond: 8e6, queueBytes: 2500 }, side);
    send(s, 1000, 1000, 1000, 1000, 1000);
    assert.equal(at(s, 0), []);
    assert.is(inScene(s).drops[FAULT_RATE], 2);
    assert.equal(at(s, 999), []);
    assert.equal(at(s, 1000), [1000]);
    assert.equal(at(s, 3000), [1000, 1000]);
    send(s, 500);
    assert.equal(at(s, 3499), []);
    assert.equal(at(s, 4000), [500]);
  });

  test(`${side}: of the packets that know ECN some are marked, with a right header checksum; others never`, () => {
    const s = scene({ mark: 0.5 }, side);
    const seen = [0, 0, 0, 0];
    for (let i = 0; i < 400; i++) {
      const f = tcpFrame(s.ctxA, 100, 0);
      setTos(s.ctxA.pool.buf, s.ctxA.pool.off[f]! + 14, 0xb8 | (i & 1 ? 2 : 0));
      s.a.tx(Int32Array.of(f), 0, 1);
      const out = new Int32Array(1);
      assert.is(s.b.rx(out, 1), 1);
      const { buf, i32, off, len } = s.ctxB.pool;
      const ip = off[out[0]!]! + 14;
      assert.is(check(buf, i32, ip, ip + len[out[0]!]! - 14), 0);
      assert.is(tos(buf, ip) & 0xfc, 0xb8);
      seen[tos(buf, ip) & 3]! += 1;
      s.ctxB.settle(out[0]!, DELIVERED);
    }
    assert.equal([seen[0], seen[1], seen[2]! + seen[3]!], [200, 0, 200]);
    // Six standard deviations of the binomial distribution: sqrt(200 / 4) = 7.
    assert.ok(Math.abs(seen[3]! - 100) < 43, `${seen[3]} marked`);
  });

  test(`${side}: what was injected is counted, in its direction`, () => {
    const always = { loss: 0, duplicate: 1, corrupt: 1, reorder: 1, reorderMicros: 10, mark: 1 };
    const s = scene({ ...always, bitsPerSecond: 8e6, queueBytes: 200 }, side);
    const frames = Int32Array.from([0, 0], () => tcpFrame(s.ctxA, 400, 0));
    for (const f of frames) setTos(s.ctxA.pool.buf, s.ctxA.pool.off[f]! + 14, 2);
    s.a.tx(frames, 0, 2);
    at(s, 0);
    const { rxCounts, txCounts } = (side === 'rx' ? s.b : s.a) as Fault;
    const [counts, others] = side === 'rx' ? [rxCounts, txCounts] : [txCounts, rxCounts];
    assert.equal(counts, { lost: 0, duplicated: 2, corrupted: 2, reordered: 1, marked: 2, overRate: 3 });
    assert.ok(Object.values(others).every((n) => n === 0));
  });

  test(`${side}: close gives back what is held`, () => {
    const s = scene({ delayMicros: 1e6 }, side);
    send(s, 60, 61, 62);
    assert.equal(at(s, 0), []);
    assert.is(inScene(s).pool.inUse, 3);
    s.a.close();
    s.b.close();
    assert.is(inScene(s).drops[PORT_CLOSED], 3);
    assert.is(inScene(s).pool.inUse, 0);
    assertConserved(s.ctxA, 'A');
    assertConserved(s.ctxB, 'B');
  });
}

test('tx: one byte of each corrupted frame differs', () => {
  const s = scene({ corrupt: 1 }, 'tx');
  const f = testFrame(s.ctxA, 200, 3);
  const before = bytesOf(s.ctxA, f);
  s.a.tx(Int32Array.of(f), 0, 1);
  const out = new Int32Array(1);
  assert.is(s.b.rx(out, 1), 1);
  const after = bytesOf(s.ctxB, out[0]!);
  assert.is(after.filter((byte, i) => byte !== before[i]).length, 1);
});

test('tx: a frame that somebody else still needs is damaged in a copy', () => {
  const s = scene({ corrupt: 1 }, 'tx');
  const f = testFrame(s.ctxA, 200, 3);
  const before = bytesOf(s.ctxA, f);
  s.ctxA.retain(f);
  s.a.tx(Int32Array.of(f), 0, 1);
  assert.equal(bytesOf(s.ctxA, f), before);
  assert.is(s.ctxA.pool.refs[f], 1);
  assertConserved(s.ctxA, 'A');
  const out = new Int32Array(1);
  assert.is(s.b.rx(out, 1), 1);
  assert.not.equal(bytesOf(s.ctxB, out[0]!), before);
});

test('tx: a frame that somebody else still needs is marked in a copy; what is no IPv4 packet is left alone', () => {
  const s = scene({ mark: 1 }, 'tx');
  const f = tcpFrame(s.ctxA, 0, 0);
  setTos(s.ctxA.pool.buf, s.ctxA.pool.off[f]! + 14, 1);
  s.ctxA.retain(f);
  const short = testFrame(s.ctxA, 33, 0);
  const other = testFrame(s.ctxA, 60, 3);
  const before = [f, short, other].map((one) => bytesOf(s.ctxA, one));
  s.a.tx(Int32Array.of(f, short, other), 0, 3);
  assert.equal(bytesOf(s.ctxA, f), before[0]);
  const out = new Int32Array(3);
  assert.is(s.b.rx(out, 3), 3);
  assert.is(bytesOf(s.ctxB, out[0]!)[15], 3);
  assert.equal([bytesOf(s.ctxB, out[1]!), bytesOf(s.ctxB, out[2]!)], before.slice(1));
  assertConserved(s.ctxA, 'A');
});

test('tx: a device that corrupts offers no offload, since damage happens behind it', () => {
  const { caps } = scene({ corrupt: 0.01 }, 'tx').a;
  assert.equal([caps.txChecksum, caps.tso, caps.scatter], [false, false, false]);
  assert.ok(scene({ loss: 0.01 }, 'tx').a.caps.tso);
});

test('rx: a corrupted segment has a finished checksum, and it or the header shows the damage', () => {
  for (let seed = 1; seed < 50; seed++) {
    const s = scene({ corrupt: 1 }, 'rx', seed);
    const f = tcpFrame(s.ctxA, 500, 0);
    const sent = bytesOf(s.ctxA, f);
    s.a.tx(Int32Array.of(f), 0, 1);
    const out = new Int32Array(1);
    assert.is(s.b.rx(out, 1), 1);
    const g = out[0]!;
    assert.not(s.ctxB.pool.flags[g]! & F_CSUM_PARTIAL);
    const got = bytesOf(s.ctxB, g);
    // Damage outside of what the TCP checksum covers shows elsewhere: Ethernet, or the IPv4 header and its checksum.
    const outside = got.subarray(0, 34).some((byte, i) => byte !== sent[i]);
    assert.ok(outside || !tcpChecksumIsRight(s.ctxB, g), `seed ${seed}`);
  }
});

test('rx: a corrupted 64 KB segment is damaged in its IPv4 header', () => {
  const s = scene({ corrupt: 1 }, 'rx');
  const f = tcpFrame(s.ctxA, 30000, 1448);
  const sent = bytesOf(s.ctxA, f);
  s.a.tx(Int32Array.of(f), 0, 1);
  const out = new Int32Array(1);
  s.b.rx(out, 1);
  const got = bytesOf(s.ctxB, out[0]!);
  const damaged = got.findIndex((byte, i) => byte !== sent[i]);
  assert.ok(damaged >= 14 && damaged < 34, `byte ${damaged}`);
});

test('tx: when the inner device is full, due frames wait and the caller is told to come back', () => {
  const ctxA = newContext();
  const ctxB = newContext();
  const [inner, b] = memoryWire(ctxA, ctxB, { ...OFFLOAD_WIRE, ring: 4 });
  const a = new Fault(ctxA, inner, { rx: NO_FAULTS, tx: NO_FAULTS, capacity: 8 }, new SeededRandom(1));
  const s: Scene = { a, b, ctxA, ctxB };
  const frames = Int32Array.from(numbered(20), (len, i) => testFrame(ctxA, len, i));
  const taken = a.tx(frames, 0, 20);
  assert.ok(taken >= 4 && taken < 20, `took ${taken}`);
  assert.is(a.nextDueMs, 1);
  const got = [...at(s, 0), ...at(s, 0), ...at(s, 0)];
  assert.equal(got, numbered(20).slice(0, taken));
});

test('the heap gives frames by time, and in order of arrival at the same time', () => {
  fc.assert(
    fc.property(fc.array(fc.option(fc.integer({ min: 0, max: 5 }), { freq: 3 }), { maxLength: 200 }), (steps) => {
      const heap = new DueHeap(200);
      const model: { f: number; due: number }[] = [];
      let next = 1;
      for (const due of steps) {
        if (due === null) {
          model.sort((x, y) => x.due - y.due || x.f - y.f);
          assert.is(heap.firstDue, model[0]?.due ?? Number.POSITIVE_INFINITY);
          assert.is(heap.first, model[0]?.f ?? 0);
          assert.is(heap.pop(), model.shift()?.f ?? 0);
        } else {
          model.push({ f: next, due });
          heap.push(next++, due);
        }
        assert.is(heap.size, model.length);
      }
    }),
  );
});

test.run();
