/** Slots lent to a device: neither free nor in use until they come back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FramePool, HEADROOM } from '../../../../stack/mem/frame-pool.ts';

const pool = (): FramePool => FramePool.create({ slots: 8, slotBytes: 2048, bigSlots: 1, bigSlotBytes: 4096 });

test('a lent slot is not in use, and becomes a frame when it is filled', () => {
  const p = pool();
  const f = p.lend();
  assert.equal([p.freeSmallCount, p.inUse], [6, 0]);
  p.flags[f] = 99;
  p.receive(f);
  assert.equal([p.freeSmallCount, p.inUse], [6, 1]);
  assert.equal([p.off[f], p.flags[f], p.refs[f]], [p.base(f) + HEADROOM, 0, 1]);
  p.release(f);
  assert.equal([p.freeSmallCount, p.inUse], [7, 0]);
});

test('a lent slot that comes back unused is free again; when all are out there is none', () => {
  const p = pool();
  const slots = Array.from({ length: 7 }, () => p.lend());
  assert.is(new Set(slots).size, 7);
  assert.is(p.lend(), 0);
  assert.is(p.alloc(), 0);
  assert.is(p.inUse, 0);
  for (const f of slots) p.takeBack(f);
  assert.is(p.freeSmallCount, 7);
});

test.run();
