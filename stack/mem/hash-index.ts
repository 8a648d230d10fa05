/**
 * From a hash to whatever carries the key: the index of tables whose rows hold their own keys. @hot
 * A slot is 8 bytes, the whole hash and a value: half of a FlowTable4 slot, for any key width. The search for a key goes
 * by the hash, and who searches compares the key in the row, which it is about to read anyway:
 *
 *   for (let s = index.start(h); (value = index.slots[s + 1]) !== 0; s += 2)
 *     if (index.slots[s] === h && sameKey(value)) return value;
 *
 * Open addressing with linear probing by the upper bits of the hash. The last cluster runs into spare slots instead of
 * around the end, so that a larger table has everything in the same order and doubling is a walk from the top
 * down, in place, of which each insertion does a few steps: no insertion ever pauses for the size of the table.
 *
 *   0          moving                2 * moving        slots         slots + SPARE
 *   | not moved |  empty             | moved            | last cluster |     entry h: at h >>> (shift + 1) if that
 *                                                                            is below `moving`, else at h >>> shift
 *
 * Deletion shifts entries back; there are no tombstones. The hash must be keyed and even in its upper bits (hsiphash).
 * The memory must be zero; room for `maxSlots` is reserved, and slots of sizes not reached are never touched. Owned by
 * one thread, never attached to by another. Called by lb/conn.ts.
 *
 * Measured, filling to a million connections of two entries (Node 20.20, 2-core virtual machine shared with other work, best of 4 runs step
 * by step): no sixteen connections took longer than 70 us, page faults included. Doubling at once would stand still for 100 ms.
 */
import { demand, isPowerOfTwo, LINE_BYTES, toLines } from './block.ts';

/** Slots behind the last one, for the last cluster. At three quarters full, 1 in 10^16 tables would need more. */
const SPARE = 1024;
/** Slots of the old size that each insertion moves while the table doubles. */
const STEP = 16;

export type HashIndexConfig = {
  /** Slots to start with and at most: powers of two from 1024; three quarters can be in use. */
  readonly slots: number;
  readonly maxSlots: number;
};

/** The smallest number of slots that takes `entries`. */
export function indexSlotsFor(entries: number): number {
  let slots = 1024;
  while (limitOf(slots) < entries) slots *= 2;
  return slots;
}

function limitOf(slots: number): number {
  return (slots >>> 2) * 3;
}

export class HashIndex {
  /** Pairs of hash and value; value 0 = empty. To be read by searches only. */
  readonly slots: Int32Array;
  private readonly maxSlots: number;
  private count: number;
  private limit: number;
  /** The last slot in use at most: the one behind it stays empty, so that every search ends. */
  private last: number;
  /** 32 - log2 of the slots. */
  private shift: number;
  /** Homes below this one, of the old size, are still to be moved; 0 = none. */
  private moving: number;

  private constructor(slots: Int32Array, cfg: HashIndexConfig) {
    this.slots = slots;
    this.maxSlots = cfg.maxSlots;
    this.count = 0;
    this.limit = limitOf(cfg.slots);
    this.last = cfg.slots + SPARE - 2;
    this.shift = Math.clz32(cfg.slots) + 1;
    this.moving = 0;
  }

  static bytes(cfg: HashIndexConfig): number {
    const { slots, maxSlots } = cfg;
    demand(isPowerOfTwo(slots) && slots >= 1024, `${slots} index slots is not a power of two from 1024`);
    demand(isPowerOfTwo(maxSlots) && maxSlots >= slots, `at most ${maxSlots} index slots, starting with ${slots}`);
    return toLines((maxSlots + SPARE) * 8);
  }

  /** Throws RangeError when it does not fit. Precondition: the memory is zero. */
  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: HashIndexConfig): HashIndex {
    demand(byteOffset % LINE_BYTES === 0, `index at ${byteOffset}: not on a cache line`);
    return new HashIndex(new Int32Array(sab, byteOffset, HashIndex.bytes(cfg) >> 2), cfg);
  }

  /** Entries. */
  size(): number {
    return this.count;
  }

  /** Where the search for `h` begins, as an index into `slots`. */
  start(h: number): number {
    return this.home(h) << 1;
  }

  /** Loads from where the search for each of `hashes[0..n)` begins. The result means nothing, but use it. */
  touchAll(hashes: Int32Array, n: number): number {
    const { slots } = this;
    let sink = 0;
    for (let i = 0; i < n; i++) sink ^= slots[this.home(hashes[i]) << 1];
    return sink;
  }

  /** The first value under `h`, 0 when there is none. */
  first(h: number): number {
    const { slots } = this;
    for (let s = this.home(h) << 1; ; s += 2) {
      const value = slots[s + 1];
      if (value === 0 || slots[s] === h) return value;
    }
  }

  /** Adds an entry, also when there are others under `h`. False: no room, nothing changed. */
  insert(h: number, value: number): boolean {
    if (value <= 0) throw new RangeError(`index: value ${value}`);
    if (this.moving !== 0) this.move();
    if (this.count >= this.limit) {
      if (limitOf(this.maxSlots) <= this.limit) return false;
      this.grow();
    }
    if (!this.place(h | 0, value)) return false;
    this.count++;
    return true;
  }

  /** Takes the entry out; false when there is none like it. */
  remove(h: number, value: number): boolean {
    const { slots } = this;
    let hole = this.home(h);
    while (slots[2 * hole] !== h || slots[2 * hole + 1] !== value) {
      if (slots[2 * hole + 1] === 0) return false;
      hole++;
    }
    for (let s = hole + 1; slots[2 * s + 1] !== 0; s++) {
      if (this.home(slots[2 * s]) > hole) continue;
      slots[2 * hole] = slots[2 * s];
      slots[2 * hole + 1] = slots[2 * s + 1];
      hole = s;
    }
    slots[2 * hole] = 0;
    slots[2 * hole + 1] = 0;
    this.count--;
    return true;
  }

  private home(h: number): number {
    const s = h >>> this.shift;
    return s >>> 1 < this.moving ? s >>> 1 : s;
  }

  private place(h: number, value: number): boolean {
    const { slots } = this;
    let s = this.home(h);
    while (slots[2 * s + 1] !== 0) s++;
    if (s > this.last) return false;
    slots[2 * s] = h;
    slots[2 * s + 1] = value;
    return true;
  }

  /** Doubles: from now on everything is still to be moved. Precondition: nothing else is. */
  private grow(): void {
    const slots = 2 ** (32 - this.shift);
    this.shift--;
    this.limit = limitOf(slots * 2);
    this.last = slots * 2 + SPARE - 2;
    this.moving = slots;
    this.move();
  }

  /**
   * Moves the topmost STEP slots and the cluster they begin in. Between two calls one entry at most has been added, so that
   * what is not moved ends at `moving` + 1 and what is moved begins at 2 * `moving`: an empty slot is always between.
   */
  private move(): void {
    const { slots } = this;
    let top = this.moving;
    while (slots[2 * top + 1] !== 0) top++;
    let from = this.moving - STEP;
    while (from > 0 && slots[2 * from - 1] !== 0) from--;
    if (from <= STEP) from = 0;
    this.moving = from;
    if (2 * from >= top) {
      this.rehome(slots, from, top);
      return;
    }
    // Source and target overlap: at the very end, or in a cluster as long as all that is left.
    const taken = slots.slice(2 * from, 2 * top);
    slots.fill(0, 2 * from, 2 * top);
    this.rehome(taken, 0, top - from);
  }

  private rehome(source: Int32Array, from: number, top: number): void {
    for (let s = from; s < top; s++) {
      const h = source[2 * s];
      const value = source[2 * s + 1];
      if (value === 0) continue;
      source[2 * s] = 0;
      source[2 * s + 1] = 0;
      if (!this.place(h, value)) throw new Error('index: a cluster longer than the spare slots');
    }
  }
}
