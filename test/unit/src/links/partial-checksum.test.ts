/** Recognising checksums that nobody has finished by their value. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { markPartial } from '../../../../src/links/partial-checksum.ts';
import { F_CSUM_PARTIAL } from '../../../../stack/mem/frame-pool.ts';
import { finishChecksum, linearize } from '../../../../stack/netif/gso.ts';
import { newContext, tcpChecksumIsRight, tcpFrame, testFrame } from '../../../contract/device.ts';

/** A linear TCP frame as a link without metadata delivers it. */
function received(payload: number, finished: boolean): { ctx: ReturnType<typeof newContext>; f: number } {
  const ctx = newContext();
  const f = tcpFrame(ctx, payload, 0);
  if (payload > 0) linearize(ctx, f);
  if (finished) finishChecksum(ctx.pool, f);
  ctx.pool.flags[f] = 0;
  return { ctx, f };
}

test('an unfinished checksum is marked, and comes out right when it is finished', () => {
  for (const payload of [0, 1, 700, 1400]) {
    const { ctx, f } = received(payload, false);
    assert.ok(markPartial(ctx.pool, f), `${payload} bytes`);
    assert.is(ctx.pool.flags[f], F_CSUM_PARTIAL);
    finishChecksum(ctx.pool, f);
    assert.ok(tcpChecksumIsRight(ctx, f));
  }
});

test('a finished one is left alone', () => {
  for (const payload of [0, 1, 700]) {
    const { ctx, f } = received(payload, true);
    assert.not(markPartial(ctx.pool, f));
    assert.is(ctx.pool.flags[f], 0);
  }
});

test('other protocols, fragments and damaged frames are left alone', () => {
  const changes: [number, number][] = [
    [12, 0x86], // another Ethernet type
    [14, 0x65], // IP version 6
    [14, 0x43], // a header of 12 bytes
    [14, 0x4f], // one beyond the frame
    [17, 0x10], // an IP length that leaves no header of TCP
    [16, 0x7f], // one beyond the frame
    [20, 0x20], // more fragments
    [23, 47], // GRE
  ];
  for (const [at, value] of changes) {
    const { ctx, f } = received(0, false);
    ctx.pool.buf[ctx.pool.off[f]! + at] = value;
    assert.not(markPartial(ctx.pool, f), `byte ${at}: ${value}`);
  }
});

test('any bytes and any length are read without harm', () => {
  const ctx = newContext();
  const f = testFrame(ctx, 100, 1);
  const { pool } = ctx;
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 100, maxLength: 100 }),
      fc.integer({ min: 0, max: 100 }),
      (bytes, length) => {
        pool.buf.set(bytes, pool.off[f]!);
        pool.buf.set([8, 0, 0x45], pool.off[f]! + 12);
        pool.len[f] = length;
        pool.flags[f] = 0;
        if (!markPartial(pool, f)) return;
        const end = pool.off[f]! + length;
        assert.ok(pool.csumStart[f]! + pool.csumOff[f]! + 2 <= end, 'the field is within the frame');
      },
    ),
  );
});

test.run();
