import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context, FATE_CREATED, FATE_DELIVERED, FATE_SENT } from '../../../stack/context.ts';
import { FramePool, HEADROOM } from '../../../stack/mem/frame-pool.ts';
import { seeded } from '../../lib/random.ts';

const made = (slots: number): Context =>
  new Context(FramePool.create({ slots, slotBytes: 2048, bigSlots: 2, bigSlotBytes: 69632 }), seeded(1));

test('a burst of frames is what as many single ones are', () => {
  const [a, b] = [made(16), made(16)];
  const burst = new Int32Array(8);
  assert.is(a.pool.allocAll(burst, 5), 5);
  const single = Int32Array.from({ length: 5 }, () => b.pool.alloc());
  assert.equal(burst.subarray(0, 5), single);
  for (const column of ['off', 'len', 'flags', 'refs', 'frag', 'gsoSize', 'paySum'] as const) {
    for (const f of single) assert.is(a.pool[column][f], b.pool[column][f], column);
  }
  assert.is(a.pool.off[burst[0]!], a.pool.base(burst[0]!) + HEADROOM);
  assert.is(a.pool.inUse, 5);
});

test('a pool that runs out gives what it has', () => {
  const { pool } = made(4);
  const burst = new Int32Array(8);
  assert.is(pool.allocAll(burst, 8), 3);
  assert.is(pool.allocAll(burst, 8), 0);
  assert.is(pool.alloc(), 0);
});

test('sentAll counts and frees as sent does, payload frames and shared ones too', () => {
  const ctx = made(16);
  const { pool } = ctx;
  const burst = Int32Array.from({ length: 4 }, () => ctx.create());
  const payload = ctx.create();
  pool.frag[burst[1]!] = payload;
  ctx.retain(burst[2]!);
  ctx.sentAll(burst, 1, 4);
  assert.is(ctx.fate[FATE_SENT], 2, 'one is still referred to, one was not of the range');
  assert.is(ctx.fate[FATE_DELIVERED], 1, 'the payload frame has served');
  assert.is(pool.inUse, 2);
  ctx.sentAll(burst, 0, 1);
  ctx.sent(burst[2]!);
  assert.is(pool.inUse, 0);
  assert.is(ctx.fate[FATE_CREATED], ctx.fate[FATE_SENT]! + ctx.fate[FATE_DELIVERED]!);
});

test.run();
