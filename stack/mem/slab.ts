/**
 * Hands out the ids 1..n and takes them back: the free list behind every table whose rows are named by an int. @hot
 * Last in, first out, so that the row handed out is the one most likely still in the cache. Nothing is allocated, and creation touches
 * no row: ids never used yet lie behind a high-water mark. Owned by one thread; another may attach after that one has ended.
 *
 *   line 0  header: magic, version, size, n, first free id, high-water mark, ids in use
 *   line 1+ per id: the next free id, 0 at the end of the list, or USED
 */
import { type BlockKind, demand, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';

const KIND: BlockKind = { name: 'slab', magic: 0x534c4142, version: 1 };
const FIRST = OWN + 1;
const MARK = OWN + 2;
const IN_USE = OWN + 3;
/** Link of id i stands at LINKS + i; ids start at 1. */
const LINKS = LINE_WORDS - 1;
const USED = -1;

export type SlabConfig = {
  /** Ids handed out at most: 1..ids. */
  readonly ids: number;
};

export class Slab {
  /** Ids are 1..max. */
  readonly max: number;
  private readonly mem: Int32Array;

  private constructor(mem: Int32Array) {
    this.max = mem[OWN];
    this.mem = mem;
  }

  static bytes(cfg: SlabConfig): number {
    demand(Number.isInteger(cfg.ids) && cfg.ids > 0 && cfg.ids < 0x10000000, `a slab of ${cfg.ids} ids`);
    return toLines((LINE_WORDS + cfg.ids) * 4);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: SlabConfig): Slab {
    return new Slab(writeBlock(sab, byteOffset, KIND, Slab.bytes(cfg), [cfg.ids, 0, 0, 0]));
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): Slab {
    return new Slab(openBlock(sab, byteOffset, KIND));
  }

  /** An id nobody holds, 0 when all are in use. */
  alloc(): number {
    const mem = this.mem;
    let id = mem[FIRST];
    if (id !== 0) mem[FIRST] = mem[LINKS + id];
    else {
      id = mem[MARK] + 1;
      if (id > this.max) return 0;
      mem[MARK] = id;
    }
    mem[LINKS + id] = USED;
    mem[IN_USE]++;
    return id;
  }

  /** Takes `id` back. Throws when it is not in use: its owner is broken, and going on would give one row to two owners. */
  free(id: number): void {
    if (!this.isUsed(id)) throw unused(id);
    const mem = this.mem;
    mem[LINKS + id] = mem[FIRST];
    mem[FIRST] = id;
    mem[IN_USE]--;
  }

  /** True from `alloc` to `free`; false for any other number. */
  isUsed(id: number): boolean {
    return id > 0 && id <= this.mem[MARK] && this.mem[LINKS + id] === USED;
  }

  /** Ids in use. */
  used(): number {
    return this.mem[IN_USE];
  }

  /** Highest id ever handed out: rows above it were never touched. Bound for loops over all rows. */
  highest(): number {
    return this.mem[MARK];
  }
}

/** Apart: made where it is thrown, its text was made, and allocated, for each id given back that a caller checked in the same way. */
function unused(id: number): Error {
  return new Error(`slab: id ${id} is not in use`);
}
