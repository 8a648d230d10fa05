import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type BlockKind, isPowerOfTwo, openBlock, writeBlock } from '../../../../stack/mem/block.ts';
import { MpmcRing } from '../../../../stack/mem/mpmc-ring.ts';
import { pageAligned, planRegion } from '../../../../stack/mem/region.ts';
import { Slab } from '../../../../stack/mem/slab.ts';
import { SpscRing } from '../../../../stack/mem/spsc-ring.ts';

const KIND: BlockKind = { name: 'thing', magic: 0x7468696e, version: 2 };
const code = (want: string) => (e: unknown) => (e as { code?: string }).code === want;

test('a block is re-opened with the size and the numbers it was written with', () => {
  const sab = new SharedArrayBuffer(512);
  writeBlock(sab, 64, KIND, 192, [7, 8]);
  const words = openBlock(sab, 64, KIND);
  assert.is(words.length, 48);
  assert.is(words.byteOffset, 64);
  assert.equal([...words.subarray(3, 5)], [7, 8]);
});

test('another magic, another version and a block that sticks out are refused', () => {
  const sab = new SharedArrayBuffer(512);
  writeBlock(sab, 64, KIND, 192, []);
  assert.throws(() => openBlock(sab, 128, KIND), code('EBLOCK_MAGIC'));
  assert.throws(() => openBlock(sab, 64, { ...KIND, version: 3 }), code('EBLOCK_VERSION'));
  assert.throws(() => openBlock(sab, 32, KIND), code('EBLOCK_RANGE'));
  assert.throws(() => openBlock(sab, 512, KIND), code('EBLOCK_RANGE'));
  assert.throws(() => writeBlock(sab, 448, KIND, 128, []), code('EBLOCK_RANGE'));
  new Int32Array(sab)[16 + 2] = 1024;
  assert.throws(() => openBlock(sab, 64, KIND), code('EBLOCK_RANGE'));
});

test('a ring is not a slab', () => {
  const cfg = { capacity: 4, words: 1 };
  const sab = new SharedArrayBuffer(SpscRing.bytes(cfg));
  SpscRing.create(sab, 0, cfg);
  assert.throws(() => Slab.attach(sab, 0), code('EBLOCK_MAGIC'));
  assert.throws(() => MpmcRing.attach(sab, 0), code('EBLOCK_MAGIC'));
});

test('powers of two are told from other numbers', () => {
  for (const n of [1, 2, 1024, 0x40000000]) assert.ok(isPowerOfTwo(n), String(n));
  for (const n of [0, -2, 3, 1.5, 0x80000000, Number.NaN]) assert.not(isPowerOfTwo(n), String(n));
});

test('a region lays blocks out one after the other on 64-byte lines', () => {
  const plan = planRegion({ a: 1, b: 64, c: 65, none: 0, d: 8 });
  assert.equal(plan.at, { a: 0, b: 64, c: 128, none: 256, d: 256 });
  assert.is(plan.bytes, 320);
  const more = planRegion({ e: 100 }, plan.bytes - 1);
  assert.equal(more, { at: { e: 320 }, bytes: 448 });
  assert.throws(() => planRegion({ a: -1 }), code('EBLOCK_CONFIG'));
  assert.throws(() => planRegion({ a: Number.NaN }), code('EBLOCK_CONFIG'));
});

test('page-aligned memory is shared, zero and long enough for the blocks laid out in it', () => {
  for (const bytes of [1, 65536, 65537, 200_000]) {
    const memory = pageAligned(bytes);
    assert.instance(memory, SharedArrayBuffer);
    assert.ok(memory.byteLength >= bytes && memory.byteLength < bytes + 65536);
    assert.ok(new Int32Array(memory).every((word) => word === 0));
  }
});

test.run();
