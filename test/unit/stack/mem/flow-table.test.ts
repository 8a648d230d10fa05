/** One contract for both key widths. Keys of the tests are three words; the IPv6 adapter spreads them over nine. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { FlowTable4, FlowTable6, type FlowTableConfig, slotsFor } from '../../../../stack/mem/flow-table.ts';
import { NaiveFlowTable } from '../../../lib/naive-flow-table.ts';

type Key = readonly [number, number, number];
type Table = {
  hash(k: Key): number;
  find(k: Key): number;
  insert(k: Key, value: number): boolean;
  remove(k: Key): number;
  touch(h: number): number;
  touchAll(hashes: Int32Array, n: number): number;
  size(): number;
  slots(): number;
};
type Make = (cfg: FlowTableConfig) => { table: Table; reopen: () => Table };

const AT = 64;

const of4 = (t: FlowTable4, hashed: boolean): Table => ({
  hash: (k) => t.hash(...k),
  find: (k) => (hashed ? t.findHashed(t.hash(...k), ...k) : t.find(...k)),
  insert: (k, v) => (hashed ? t.insertHashed(t.hash(...k), ...k, v) : t.insert(...k, v)),
  remove: (k) => (hashed ? t.removeHashed(t.hash(...k), ...k) : t.remove(...k)),
  touch: (h) => t.touch(h),
  touchAll: (hashes, n) => t.touchAll(hashes, n),
  size: () => t.size(),
  slots: () => t.slots(),
});

/** The words of `k` in places that differ from key to key only there; offset 2 shows that `off` is obeyed. */
const wide = (k: Key) => Int32Array.of(77, 78, 0x20010db8, 0, k[0], 1, 0x20010db8, k[1], 0, 2, k[2], 79);

const of6 = (t: FlowTable6, hashed: boolean): Table => ({
  hash: (k) => t.hash(wide(k), 2),
  find: (k) => (hashed ? t.findHashed(t.hash(wide(k), 2), wide(k), 2) : t.find(wide(k), 2)),
  insert: (k, v) => (hashed ? t.insertHashed(t.hash(wide(k), 2), wide(k), 2, v) : t.insert(wide(k), 2, v)),
  remove: (k) => (hashed ? t.removeHashed(t.hash(wide(k), 2), wide(k), 2) : t.remove(wide(k), 2)),
  touch: (h) => t.touch(h),
  touchAll: (hashes, n) => t.touchAll(hashes, n),
  size: () => t.size(),
  slots: () => t.slots(),
});

const make4 =
  (hashed: boolean): Make =>
  (cfg) => {
    const sab = new SharedArrayBuffer(AT + FlowTable4.bytes(cfg));
    new Int32Array(sab).fill(-1);
    const table = of4(FlowTable4.create(sab, AT, cfg), hashed);
    return { table, reopen: () => of4(FlowTable4.attach(sab, AT), hashed) };
  };
const make6 =
  (hashed: boolean): Make =>
  (cfg) => {
    const sab = new SharedArrayBuffer(AT + FlowTable6.bytes(cfg));
    new Int32Array(sab).fill(-1);
    const table = of6(FlowTable6.create(sab, AT, cfg), hashed);
    return { table, reopen: () => of6(FlowTable6.attach(sab, AT), hashed) };
  };

const makes: Record<string, Make> = {
  'IPv4 flow table': make4(false),
  'IPv4 flow table, hash given': make4(true),
  'IPv6 flow table': make6(false),
  'IPv6 flow table, hash given': make6(true),
};

const fixed = (slots: number): FlowTableConfig => ({ slots, maxSlots: slots, seed0: 0x12345678, seed1: -0x70605040 });

/** The first `n` keys whose search begins at slot `home`. */
function keysAt(table: Table, home: number, n: number): Key[] {
  const keys: Key[] = [];
  for (let i = 1; keys.length < n; i++) {
    const key: Key = [i, -i, (i << 16) | 443];
    if ((table.hash(key) & (table.slots() - 1)) === home) keys.push(key);
  }
  return keys;
}

for (const [name, make] of Object.entries(makes)) {
  const test = suite(name);

  test('finds what was inserted, and nothing else', () => {
    const { table } = make(fixed(16));
    const key: Key = [0x0a000001, -0x3f57ffff, (40000 << 16) | 80];
    assert.is(table.find(key), 0);
    assert.ok(table.insert(key, 0x7fffffff));
    assert.is(table.find(key), 0x7fffffff);
    for (const i of [0, 1, 2]) {
      const other = [...key] as [number, number, number];
      other[i] = (other[i]! + 1) | 0;
      assert.is(table.find(other), 0, `word ${i} differs`);
    }
  });

  test('a key of zeros is a key like any other', () => {
    const { table } = make(fixed(16));
    assert.is(table.find([0, 0, 0]), 0);
    assert.ok(table.insert([0, 0, 0], 5));
    assert.is(table.find([0, 0, 0]), 5);
    assert.is(table.remove([0, 0, 0]), 5);
    assert.is(table.find([0, 0, 0]), 0);
  });

  test('inserting a key again replaces its value, even when the table is full', () => {
    const { table } = make(fixed(4));
    for (let i = 1; i <= 3; i++) assert.ok(table.insert([i, i, i], i));
    assert.ok(table.insert([2, 2, 2], 9));
    assert.is(table.find([2, 2, 2]), 9);
    assert.is(table.size(), 3);
  });

  test('a full table refuses new keys and keeps the old ones', () => {
    const { table } = make(fixed(64));
    for (let i = 1; i <= 48; i++) assert.ok(table.insert([i, 0, 0], i));
    assert.not(table.insert([49, 0, 0], 49));
    assert.is(table.find([49, 0, 0]), 0);
    for (let i = 1; i <= 48; i++) assert.is(table.find([i, 0, 0]), i);
    assert.is(table.remove([7, 0, 0]), 7);
    assert.ok(table.insert([49, 0, 0], 49));
  });

  test('a value that means none is a broken caller', () => {
    const { table } = make(fixed(16));
    assert.throws(() => table.insert([1, 2, 3], 0), RangeError);
    assert.throws(() => table.insert([1, 2, 3], -1), RangeError);
    assert.is(table.size(), 0);
  });

  test('a cluster around the end of the table survives removal in any order', () => {
    const orders = fc.tuple(fc.integer({ min: 1, max: 4 }), fc.shuffledSubarray([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]));
    fc.assert(
      fc.property(orders, ([spread, order]) => {
        const { table } = make(fixed(16));
        const keys: Key[] = [];
        for (let i = 0; i < spread; i++) keys.push(...keysAt(table, (14 + i) & 15, Math.ceil(10 / spread)));
        keys.length = 10;
        for (const [i, key] of keys.entries()) assert.ok(table.insert(key, i + 1));
        const gone = new Set<number>();
        for (const i of order) {
          assert.is(table.remove(keys[i]!), i + 1);
          gone.add(i);
          for (const [j, key] of keys.entries()) assert.is(table.find(key), gone.has(j) ? 0 : j + 1);
        }
      }),
    );
  });

  test('agrees with a map under random operations on few keys', () => {
    const op = fc.record({ what: fc.nat(3), key: fc.nat(40), value: fc.integer({ min: 1, max: 0x7fffffff }) });
    const run = fc.record({
      seed0: fc.integer(),
      seed1: fc.integer(),
      log: fc.integer({ min: 2, max: 5 }),
      grow: fc.nat(3),
      ops: fc.array(op, { maxLength: 300 }),
    });
    fc.assert(
      fc.property(run, ({ seed0, seed1, log, grow, ops }) => {
        const maxSlots = 1 << (log + grow);
        const { table, reopen } = make({ slots: 1 << log, maxSlots, seed0, seed1 });
        const naive = new NaiveFlowTable((maxSlots / 4) * 3);
        for (const { what, key: k, value } of ops) {
          const key: Key = [k, k * 0x01000193, k << 16];
          if (what < 2) assert.is(table.insert(key, value), naive.insert(key, value));
          else if (what === 2) assert.is(table.remove(key), naive.remove(key));
          else assert.is(table.find(key), naive.find(key));
          assert.is(table.size(), naive.size);
        }
        const again = reopen();
        assert.is(again.size(), naive.size);
        for (let k = 0; k <= 40; k++) {
          const key: Key = [k, k * 0x01000193, k << 16];
          assert.is(again.find(key), naive.find(key));
        }
      }),
      { numRuns: 200 },
    );
  });

  test('doubles at three quarters up to its maximum, losing nothing', () => {
    const { table } = make({ slots: 4, maxSlots: 1024, seed0: 3, seed1: 4 });
    for (let i = 1; i <= 768; i++) {
      assert.ok(table.insert([i, i * 7, i << 16], i));
      assert.is(table.slots(), Math.max(4, slotsFor(i)));
    }
    assert.not(table.insert([769, 0, 0], 769));
    assert.is(table.slots(), 1024);
    for (let i = 1; i <= 768; i++) assert.is(table.find([i, i * 7, i << 16]), i);
  });

  test('the hash depends on the seed and on nothing that changes', () => {
    const key: Key = [1, 2, 3];
    const { table, reopen } = make({ slots: 4, maxSlots: 64, seed0: 1, seed1: 2 });
    const h = table.hash(key);
    for (let i = 1; i <= 40; i++) table.insert([i, 0, 0], i);
    assert.is(table.hash(key), h);
    assert.is(reopen().hash(key), h);
    assert.is.not(make({ slots: 4, maxSlots: 64, seed0: 1, seed1: 3 }).table.hash(key), h);
    assert.is.not(make({ slots: 4, maxSlots: 64, seed0: 2, seed1: 2 }).table.hash(key), h);
    assert.is(h, h | 0);
  });

  test('touch reads where the search for a hash begins, touchAll for many at once', () => {
    const { table } = make(fixed(16));
    const keys: Key[] = [1, 2, 3].map((i) => keysAt(table, i, 1)[0]!);
    for (const [i, key] of keys.entries()) table.insert(key, i + 1);
    assert.is.not(table.touch(1), table.touch(2));
    assert.is(table.touch(1 - 16), table.touch(1));
    const hashes = [0, 1, 2, -1, 0x7fffffff, -0x80000000];
    for (const h of hashes) assert.type(table.touch(h), 'number');
    assert.is(
      table.touchAll(Int32Array.from(hashes), 6),
      hashes.map((h) => table.touch(h)).reduce((a, b) => a ^ b),
    );
  });

  test('refuses sizes that are not powers of two', () => {
    assert.throws(() => make(fixed(12)), /power of two/);
    assert.throws(() => make({ ...fixed(16), maxSlots: 8 }), /at most/);
  });

  test.run();
}

const sizes = suite('slotsFor');
sizes('is the smallest power of two that holds the entries', () => {
  assert.equal([0, 3, 4, 6, 7, 768, 769].map(slotsFor), [4, 4, 8, 8, 16, 1024, 2048]);
});
sizes.run();
