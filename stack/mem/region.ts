/**
 * Lays several blocks out in one SharedArrayBuffer: where each starts, and how long the whole is. Cold; called by whoever plans the
 * memory of the workers, which then gives each block (buffer, offset).
 *
 *   const plan = planRegion({ ring: SpscRing.bytes(ringCfg), counters: Counters.bytes(names) });
 *   const sab = new SharedArrayBuffer(plan.bytes);
 *   const ring = SpscRing.create(sab, plan.at.ring, ringCfg);
 */
import { demand, toLines } from './block.ts';

export type RegionPlan<K extends string> = {
  /** Byte offset of each block, a multiple of 64. */
  readonly at: Readonly<Record<K, number>>;
  /** End of the last block, a multiple of 64, counted from the start of the buffer. */
  readonly bytes: number;
};

/**
 * Plans blocks in the order in which `sizes` names them.
 *
 * @param sizes bytes of each block, as its `bytes(cfg)` says
 * @param start byte offset of the first one, rounded up to 64; to append to a region already planned
 */
export function planRegion<K extends string>(sizes: Readonly<Record<K, number>>, start = 0): RegionPlan<K> {
  const at = {} as Record<K, number>;
  let end = toLines(start);
  for (const name of Object.keys(sizes) as K[]) {
    const bytes = sizes[name];
    demand(Number.isInteger(bytes) && bytes >= 0, `${name}: ${bytes} is not a size in bytes`);
    at[name] = end;
    end += toLines(bytes);
  }
  return { at, bytes: end };
}

interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}
declare const WebAssembly: { Memory: new (d: { initial: number; maximum: number; shared: true }) => WasmMemory };

/**
 * Zeroed shared memory that begins on a page, at least `bytes` long. A SharedArrayBuffer of its own begins wherever the allocator puts it,
 * 16 bytes into a page when it is large: then no row of 64 bytes is one cache line, but a piece of two. Pages never
 * touched cost nothing.
 */
export function pageAligned(bytes: number): SharedArrayBuffer {
  const pages = Math.max(1, Math.ceil(bytes / 65536));
  return new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
}
