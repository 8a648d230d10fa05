/**
 * Copies of whole frames: into another pool (the in-memory wire), beside the original (a duplicate), or as plain bytes
 * (capture). Used by devices and middleware only; the stack proper moves frames, it does not copy them.
 * @hot
 */
import type { Context } from '../context.ts';
import type { FramePool } from '../mem/frame-pool.ts';
import { HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId } from '../types.ts';

/** From here on a temporary view and the engine's memmove beat a loop. */
const LOOP_MAX = 256;

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

/**
 * Copies `len` bytes from one pool to another (or the same), word by word where both ends are aligned alike. A typed
 * array's `set` would be faster for large pieces, but takes a view made for the occasion: garbage for every frame.
 */
function copyAcross(from: FramePool, start: number, len: number, to: FramePool, at: number): void {
  if (from === to) {
    to.buf.copyWithin(at, start, start + len);
    return;
  }
  const src = from.buf;
  const dst = to.buf;
  const end = start + len;
  if (((start ^ at) & 3) === 0) {
    for (; (start & 3) !== 0 && start < end; ) dst[at++] = src[start++]!;
    const shift = (at - start) >> 2;
    const a = from.i32;
    const b = to.i32;
    let w = start >> 2;
    const last = end >> 2;
    for (; w < last; w++) b[w + shift] = a[w]!;
    if (w << 2 > start) {
      at += (w << 2) - start;
      start = w << 2;
    }
  }
  while (start < end) dst[at++] = src[start++]!;
}

/** Makes the fresh frame `g` of pool `to` a linear copy of `f`, with its flags, checksum and segmentation metadata. */
export function copyFrame(from: FramePool, f: FrameId, to: FramePool, g: FrameId): void {
  const shift = to.off[g]! - from.off[f]!;
  const len = from.len[f]!;
  const fragLen = from.fragLen[f]!;
  copyAcross(from, from.off[f]!, len, to, to.off[g]!);
  if (fragLen !== 0) copyAcross(from, from.fragOff[f]!, fragLen, to, to.off[g]! + len);
  to.len[g] = len + fragLen;
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
