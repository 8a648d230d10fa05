import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HashIndex, type HashIndexConfig, indexSlotsFor } from '../../../../stack/mem/hash-index.ts';
import { hsiphash3 } from '../../../../stack/mem/hsiphash.ts';

const AT = 128;

function make(cfg: HashIndexConfig): HashIndex {
  return HashIndex.create(new SharedArrayBuffer(AT + HashIndex.bytes(cfg)), AT, cfg);
}

const fixed = (slots: number): HashIndex => make({ slots, maxSlots: slots });
const hashOf = (i: number): number => hsiphash3(1, 2, i, 3, 4);

/** All values under `h`, in the order of the search. */
function valuesOf(index: HashIndex, h: number): number[] {
  const found: number[] = [];
  for (let s = index.start(h); index.slots[s + 1] !== 0; s += 2) {
    if (index.slots[s] === h) found.push(index.slots[s + 1]!);
  }
  return found;
}

test('finds what was inserted under a hash, and nothing under others', () => {
  const index = fixed(1024);
  assert.ok(index.insert(-5, 77));
  assert.is(index.first(-5), 77);
  assert.is(index.first(-4), 0);
  assert.equal(valuesOf(index, -5), [77]);
  assert.is(index.size(), 1);
});

test('values under one hash live side by side', () => {
  const index = fixed(1024);
  for (const value of [1, 2, 3]) assert.ok(index.insert(9, value));
  assert.ok(index.remove(9, 2));
  assert.not(index.remove(9, 2));
  assert.equal(valuesOf(index, 9).sort(), [1, 3]);
});

test('a full index refuses and keeps what it has', () => {
  const index = fixed(1024);
  for (let i = 1; i <= 768; i++) assert.ok(index.insert(hashOf(i), i));
  assert.not(index.insert(hashOf(769), 769));
  assert.is(index.size(), 768);
  for (let i = 1; i <= 768; i++) assert.is(index.first(hashOf(i)), i);
});

test('the last cluster uses the spare slots, and then is full', () => {
  const index = fixed(2048);
  let fitted = 0;
  while (index.insert(-1, fitted + 1)) fitted++;
  assert.is(fitted, 1024, 'the last slot and the spare ones, but the one that ends every search');
  assert.is(valuesOf(index, -1).length, 1024);
  assert.ok(index.insert(0, 5), 'elsewhere there is room');
  for (let i = 1; i <= fitted; i++) assert.ok(index.remove(-1, i));
  assert.equal(index.slots.filter((word) => word !== 0).length, 1, 'only the value under hash 0 is left');
});

test('grows from the smallest size to its largest, losing nothing on the way', () => {
  const index = make({ slots: 1024, maxSlots: 1 << 16 });
  for (let i = 1; i <= 49152; i++) {
    assert.ok(index.insert(hashOf(i), i));
    // One look at random per insertion meets every phase of every move.
    const j = (Math.imul(i, 0x9e3779b1) >>> 0) % i;
    if (j > 0) assert.is(index.first(hashOf(j)), j);
  }
  for (let i = 1; i <= 49152; i++) assert.is(index.first(hashOf(i)), i);
  assert.not(index.insert(1, 1));
  for (let i = 1; i <= 49152; i++) assert.ok(index.remove(hashOf(i), i));
  assert.ok(index.slots.every((word) => word === 0));
});

test('growing with everything in one cluster at the bottom still works', () => {
  const index = make({ slots: 1024, maxSlots: 4096 });
  for (let i = 1; i <= 1500; i++) assert.ok(index.insert(i & 3, i));
  assert.is(index.size(), 1500);
  for (const h of [0, 1, 2, 3]) assert.is(valuesOf(index, h).length, 375);
});

test('agrees with a map of sets under random operations while it grows', () => {
  const op = fc.record({ add: fc.nat(9), key: fc.nat(1500) });
  fc.assert(
    fc.property(fc.integer(), fc.nat(2), fc.array(op, { minLength: 200, maxLength: 400 }), (seed, spread, ops) => {
      const index = make({ slots: 1024, maxSlots: 8192 });
      const naive = new Map<number, Set<number>>();
      // Hashes as they are, crowded into a sixteenth of the table, or few and shared.
      const hash = (i: number): number => {
        const h = hsiphash3(seed, 0, i, 0, 0);
        return spread === 0 ? h : spread === 1 ? h >> 4 : h & 0x70000001;
      };
      let value = 0;
      let size = 0;
      const add = (key: number): void => {
        const h = hash(key);
        assert.ok(index.insert(h, ++value));
        if (!naive.has(h)) naive.set(h, new Set());
        naive.get(h)!.add(value);
        size++;
      };
      for (let i = 0; i < 700; i++) add(i);
      for (const { add: what, key } of ops) {
        const h = hash(key);
        const values = naive.get(h) ?? new Set();
        if (what < 6) add(key);
        else {
          const [some] = values;
          assert.is(index.remove(h, some ?? 1), some !== undefined);
          if (values.delete(some!)) size--;
        }
        assert.is(index.size(), size);
        assert.equal(valuesOf(index, h).sort(), [...(naive.get(h) ?? [])].sort());
      }
      for (const [h, values] of naive) assert.equal(valuesOf(index, h).sort(), [...values].sort());
    }),
    { numRuns: 60 },
  );
});

test('touchAll reads where each search begins', () => {
  const index = fixed(1024);
  index.insert(0x7fffffff, 1);
  index.insert(5, 2);
  assert.is(index.touchAll(Int32Array.of(0x7fffffff, 5, 0x7fffffff), 2), 0x7fffffff ^ 5);
});

test('a value that means none and a size that is no power of two are refused', () => {
  assert.throws(() => fixed(1024).insert(1, 0), RangeError);
  assert.throws(() => fixed(1000), /power of two/);
  assert.throws(() => make({ slots: 2048, maxSlots: 1024 }), /at most/);
  assert.equal([0, 768, 769, 1536, 2_000_000].map(indexSlotsFor), [1024, 1024, 2048, 2048, 4194304]);
});

test.run();
