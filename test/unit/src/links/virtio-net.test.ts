import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LinkError } from '../../../../src/links/syscall.ts';
import { openTap } from '../../../../src/links/tap-open.ts';
import { readHeader, VNET_HDR_LEN, writeHeader } from '../../../../src/links/virtio-net.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, F_LOCAL, GSO_NONE, GSO_TCPV4 } from '../../../../stack/mem/frame-pool.ts';
import { newContext, tcpFrame, testFrame } from '../../../contract/device.ts';

const ctx = newContext();
const { pool } = ctx;

function header(f: number): number[] {
  const at = pool.off[f]! - VNET_HDR_LEN;
  pool.buf.fill(0xee, at, at + VNET_HDR_LEN);
  writeHeader(pool, f, at);
  return [...pool.buf.subarray(at, at + VNET_HDR_LEN)];
}

test('a finished frame has a header of zeros', () => {
  assert.equal(header(testFrame(ctx, 60, 1)), new Array(12).fill(0));
});

test('a large segment has the header the kernel itself would write', () => {
  // NEEDS_CSUM, TCPv4, 54 bytes of headers, 1448 per segment, checksum from 34 at 16.
  assert.equal(header(tcpFrame(ctx, 30000, 1448)), [1, 1, 54, 0, 0xa8, 5, 34, 0, 16, 0, 0, 0]);
  assert.equal(header(tcpFrame(ctx, 100, 0)), [1, 0, 0, 0, 0, 0, 34, 0, 16, 0, 0, 0]);
});

test('a segment with CWR is marked, so that only its first part keeps it', () => {
  const f = tcpFrame(ctx, 3000, 1000);
  pool.buf[pool.off[f]! + 34 + 13]! |= 0x80;
  assert.is(header(f)[1], 0x81);
});

test('what was written is read back', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1900 }), fc.nat(3), (size, pushed) => {
      const f = tcpFrame(ctx, 0, size);
      pool.off[f]! -= pushed * 4;
      pool.len[f]! += pushed * 4;
      const at = pool.off[f]! - VNET_HDR_LEN;
      writeHeader(pool, f, at);
      const before = [pool.csumStart[f], pool.csumOff[f], pool.gsoType[f], pool.gsoSize[f]];
      pool.flags[f] = 0;
      for (const column of [pool.csumStart, pool.csumOff, pool.gsoType, pool.gsoSize]) column[f] = 0;
      readHeader(pool, f, at);
      assert.equal([pool.csumStart[f], pool.csumOff[f], pool.gsoType[f], pool.gsoSize[f]], before);
      assert.is(pool.flags[f], F_CSUM_PARTIAL);
      ctx.sent(f);
    }),
  );
});

test('a verified checksum is taken over, other flags are kept, ECN is not part of the type', () => {
  const f = testFrame(ctx, 60, 1);
  const at = pool.off[f]! - VNET_HDR_LEN;
  pool.buf.set([2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], at);
  readHeader(pool, f, at);
  assert.is(pool.flags[f], F_LOCAL | F_CSUM_VALID);
  assert.is(pool.gsoType[f], GSO_NONE);
  pool.buf[at + 1] = 0x81;
  pool.buf[at + 4] = 100;
  assert.ok(readHeader(pool, f, at));
  assert.is(pool.gsoType[f], GSO_TCPV4);
});

test('a name that cannot be an interface is refused before anything is loaded', () => {
  for (const name of ['', 'a b', 'a/b', '..', 'sixteen-letters-']) {
    assert.throws(
      () => openTap({ name, offload: true }),
      (error: unknown) => error instanceof LinkError && error.code === 'EINVAL',
    );
  }
});

test('a header that contradicts the frame is refused, and nothing outside the frame is pointed at', () => {
  const f = tcpFrame(ctx, 100, 0);
  const at = pool.off[f]! - VNET_HDR_LEN;
  const read = (...bytes: number[]): boolean => {
    pool.buf.fill(0, at, at + VNET_HDR_LEN);
    pool.buf.set(bytes, at);
    pool.flags[f] = 0;
    return readHeader(pool, f, at);
  };
  const end = pool.len[f]!;
  assert.ok(read(1, 0, 0, 0, 0, 0, end - 18, 0, 16, 0), 'the last two bytes');
  assert.not(read(1, 0, 0, 0, 0, 0, end - 17, 0, 16, 0), 'one byte beyond');
  assert.not(read(1, 0, 0, 0, 0, 0, 0xd0, 7, 0x10, 0x27));
  assert.not(read(1, 1, 54, 0, 0, 0, 34, 0, 16, 0), 'segments of no bytes');
  assert.not(read(1, 5, 54, 0, 100, 0, 34, 0, 16, 0), 'UDP segments, which nobody asked for');
  assert.is(pool.flags[f]! & F_CSUM_VALID, 0);
});

test.run();
