import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Slab } from '../../../../stack/mem/slab.ts';

const make = (ids: number) => Slab.create(new SharedArrayBuffer(Slab.bytes({ ids })), 0, { ids });

test('ids are 1..n, then 0', () => {
  const slab = make(3);
  assert.equal([slab.alloc(), slab.alloc(), slab.alloc(), slab.alloc()], [1, 2, 3, 0]);
  assert.is(slab.used(), 3);
});

test('the id freed last is handed out first', () => {
  const slab = make(4);
  for (let i = 0; i < 4; i++) slab.alloc();
  slab.free(2);
  slab.free(4);
  slab.free(1);
  assert.equal([slab.alloc(), slab.alloc(), slab.alloc(), slab.alloc()], [1, 4, 2, 0]);
});

test('freeing an id that is not in use throws', () => {
  const slab = make(4);
  slab.alloc();
  for (const id of [0, -1, 2, 5, 1e9]) assert.throws(() => slab.free(id), /not in use/);
  slab.free(1);
  assert.throws(() => slab.free(1), /not in use/);
});

test('rows never used are not counted in highest', () => {
  const slab = make(100);
  slab.alloc();
  slab.alloc();
  slab.free(2);
  assert.is(slab.highest(), 2);
});

test('another owner goes on where the first one stopped', () => {
  const sab = new SharedArrayBuffer(64 + Slab.bytes({ ids: 5 }));
  const first = Slab.create(sab, 64, { ids: 5 });
  first.alloc();
  first.alloc();
  first.free(1);
  const second = Slab.attach(sab, 64);
  assert.is(second.max, 5);
  assert.equal([second.used(), second.alloc(), second.alloc()], [1, 1, 3]);
});

test('behaves like a stack over a counter under random use', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 20 }), fc.array(fc.nat(40), { maxLength: 200 }), (ids, ops) => {
      const slab = make(ids);
      const held: number[] = [];
      const freed: number[] = [];
      let mark = 0;
      for (const op of ops) {
        if (op % 2 === 0) {
          const want = freed.pop() ?? (mark < ids ? ++mark : 0);
          assert.is(slab.alloc(), want);
          if (want !== 0) held.push(want);
        } else if (held.length > 0) {
          const [id] = held.splice(op % held.length, 1);
          slab.free(id!);
          freed.push(id!);
        }
        assert.is(slab.used(), held.length);
        for (const id of held) assert.ok(slab.isUsed(id));
      }
    }),
  );
});

test.run();
