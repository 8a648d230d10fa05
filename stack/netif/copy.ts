/**
 * Copies of whole frames: into another pool (the in-memory wire), beside the original (a duplicate), or as plain bytes
 * (capture). Used by devices and middleware only; the stack proper moves frames, it does not copy them.
 * @hot
 */
import type { Context } from '../context.ts';
import type { FramePool } from '../mem/frame-pool.ts';
import { HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId } from '../types.ts';
import { finish, sum } from '../wire/checksum.ts';

/** From here on a temporary view and the engine's memmove beat a loop. */
const LOOP_MAX = 256;

/** Offset of the checksum field in a UDP header, where zero means "none" (RFC 768). */
const UDP_CHECKSUM = 6;

/** Copies `from[start, start+len)` to `to[at..]`; the two may be the same memory. */
export function copyBytes(from: Uint8Array, start: number, len: number, to: Uint8Array, at: number): void {
  if (len <= LOOP_MAX) {
    for (let i = 0; i < len; i++) to[at + i] = from[start + i]!;
    return;
  }
  to.set(from.subarray(start, start + len), at);
}

/** Writes the frame as it is on the wire, linear part and payload slice, to `to[at..]`; returns its length. */
export function gather(pool: FramePool, f: FrameId, to: Uint8Array, at: number): number {
  const len = pool.len[f]!;
  copyBytes(pool.buf, pool.off[f]!, len, to, at);
  const fragLen = pool.fragLen[f]!;
  if (fragLen !== 0) copyBytes(pool.buf, pool.fragOff[f]!, fragLen, to, at + len);
  return len + fragLen;
}

/** A slot of `pool` for `bytes` behind the headroom: small when it fits. 0 when there is none. */
export function allocFor(pool: FramePool, bytes: number): FrameId {
  if (bytes <= pool.config.slotBytes - HEADROOM) return pool.alloc();
  return bytes <= pool.config.bigSlotBytes - HEADROOM ? pool.allocBig() : 0;
}

/** Makes the fresh frame `g` of pool `to` a linear copy of `f`, with its flags, checksum and segmentation metadata. */
export function copyFrame(from: FramePool, f: FrameId, to: FramePool, g: FrameId): void {
  const shift = to.off[g]! - from.off[f]!;
  to.len[g] = gather(from, f, to.buf, to.off[g]!);
  to.flags[g] = from.flags[f]!;
  to.port[g] = from.port[f]!;
  to.hash[g] = from.hash[f]!;
  to.gsoType[g] = from.gsoType[f]!;
  to.gsoSize[g] = from.gsoSize[f]!;
  to.l3[g] = from.l3[f]! + shift;
  to.l4[g] = from.l4[f]! + shift;
  to.csumStart[g] = from.csumStart[f]! + shift;
  to.csumOff[g] = from.csumOff[f]!;
}

/** A second frame with the content of `f`, counted as created; 0 when the pool has no slot. */
export function duplicate(ctx: Context, f: FrameId): FrameId {
  const pool = ctx.pool;
  const small = pool.wireLength(f) <= pool.config.slotBytes - HEADROOM;
  const g = small ? ctx.create() : ctx.createBig();
  if (g !== 0) copyFrame(pool, f, pool, g);
  return g;
}

/** Finishes the layer-4 checksum of a linear frame with F_CSUM_PARTIAL. The caller clears the flag. */
export function completeChecksum(pool: FramePool, f: FrameId): void {
  const start = pool.csumStart[f]!;
  const field = start + pool.csumOff[f]!;
  let value = finish(sum(pool.buf, pool.i32, start, pool.off[f]! + pool.len[f]! - start, 0));
  if (value === 0 && pool.csumOff[f] === UDP_CHECKSUM) value = 0xffff;
  pool.buf[field] = value >> 8;
  pool.buf[field + 1] = value;
}
