import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context, FATE_CREATED, FATE_DELIVERED, FATE_SENT } from '../../../stack/context.ts';
import { FramePool } from '../../../stack/mem/frame-pool.ts';
import { seeded } from '../../lib/random.ts';

const made = (slots: number): Context =>
  new Context(FramePool.create({ slots, slotBytes: 2048, bigSlots: 2, bigSlotBytes: 69632 }), seeded(1));

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
