/**
 * Flow tables: from a connection's addresses and ports to its row. @hot
 * Open addressing with linear probing in one Int32Array; deletion shifts the entries behind back, so there are no tombstones and a table
 * that has seen a billion flows is as good as a new one. Two key widths, written out twice because a key passed in registers (IPv4) and a
 * key read from an array (IPv6) cost differently; test/unit/stack/mem/flow-table.test.ts holds both to one contract.
 *
 *                 key                                                   slot
 *   FlowTable4    src, dst, sport << 16 | dport      (3 words)          16 bytes: key, value
 *   FlowTable6    src (4), dst (4), sport << 16 | dport   (9 words)     64 bytes: value, hash, key, so one line decides a probe
 *
 * Words are int32. Values are int32 > 0; 0 means none. Addresses compare as they are: one table per protocol and direction is the
 * owner's business. The hash is keyed (seed0, seed1 from a random source), so that nobody outside can choose keys that collide.
 *
 * The block reserves room for `maxSlots` at once (pages nobody touched cost nothing) and starts with `slots`. When three quarters are in
 * use it doubles in place: the only moment this file allocates, and a pause of about 55 ns per entry; start at `maxSlots` to never see it.
 * At `maxSlots` a new key is refused. One thread owns a table; another may attach after that one has ended.
 *
 * Prefetch: hash every frame of the burst, then `touchAll` the hashes, then `findHashed` each. With a million flows a search took 190 ns
 * alone, 190 ns when each hash was followed by its touch (the hashing keeps the loads apart), and 70 ns this way; with a thousand
 * flows 21 to 23 ns either way (Node 20.20, bundled, 2-core virtual machine shared with other work, hash included).
 */
import { type BlockKind, demand, isPowerOfTwo, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';
import { hsiphash3, hsiphashN } from './hsiphash.ts';

const KIND4: BlockKind = { name: 'IPv4 flow table', magic: 0x464c5434, version: 1 };
const KIND6: BlockKind = { name: 'IPv6 flow table', magic: 0x464c5436, version: 1 };
const BASE = LINE_WORDS;
const SLOTS = OWN;
const SIZE = OWN + 1;
const MAX_SLOTS = OWN + 2;
const SEED0 = OWN + 3;
const SEED1 = OWN + 4;
/** log2 of the words per slot. */
const SHIFT4 = 2;
const SHIFT6 = 4;
const VALUE4 = 3;
const VALUE6 = 0;
const HASH6 = 1;
const KEY6 = 2;
const KEY6_WORDS = 9;

export type FlowTableConfig = {
  /** Slots to start with, a power of two from 4. */
  readonly slots: number;
  /** Slots at most, a power of two; three quarters of them can be in use. */
  readonly maxSlots: number;
  /** Secret key of the hash, two int32. */
  readonly seed0: number;
  readonly seed1: number;
};

/** The smallest number of slots that takes `entries` flows. */
export function slotsFor(entries: number): number {
  let slots = 4;
  while (limitOf(slots) < entries) slots *= 2;
  return slots;
}

function limitOf(slots: number): number {
  return (slots >>> 2) * 3;
}

function bytesFor(cfg: FlowTableConfig, shift: number): number {
  demand(isPowerOfTwo(cfg.slots) && cfg.slots >= 4, `${cfg.slots} slots is not a power of two from 4`);
  demand(
    isPowerOfTwo(cfg.maxSlots) && cfg.maxSlots >= cfg.slots,
    `at most ${cfg.maxSlots} slots, starting with ${cfg.slots}`,
  );
  return toLines((BASE + cfg.maxSlots * 2 ** shift) * 4);
}

function write(
  sab: SharedArrayBuffer,
  byteOffset: number,
  kind: BlockKind,
  cfg: FlowTableConfig,
  shift: number,
): Int32Array {
  const own = [cfg.slots, 0, cfg.maxSlots, cfg.seed0 | 0, cfg.seed1 | 0];
  const mem = writeBlock(sab, byteOffset, kind, bytesFor(cfg, shift), own);
  mem.fill(0, BASE, BASE + (cfg.slots << shift));
  return mem;
}

/** IPv4 flows. */
export class FlowTable4 {
  private readonly mem: Int32Array;
  private readonly seed0: number;
  private readonly seed1: number;
  private mask: number;
  private limit: number;

  private constructor(mem: Int32Array) {
    this.mem = mem;
    this.seed0 = mem[SEED0];
    this.seed1 = mem[SEED1];
    this.mask = mem[SLOTS] - 1;
    this.limit = limitOf(mem[SLOTS]);
  }

  static bytes(cfg: FlowTableConfig): number {
    return bytesFor(cfg, SHIFT4);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: FlowTableConfig): FlowTable4 {
    return new FlowTable4(write(sab, byteOffset, KIND4, cfg, SHIFT4));
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): FlowTable4 {
    return new FlowTable4(openBlock(sab, byteOffset, KIND4));
  }

  /** Flows in the table. */
  size(): number {
    return this.mem[SIZE];
  }

  /** Slots at present. */
  slots(): number {
    return this.mask + 1;
  }

  /** Keyed hash of a flow: int32, the same for as long as the table lives. */
  hash(a: number, b: number, ports: number): number {
    return hsiphash3(this.seed0, this.seed1, a, b, ports);
  }

  /** Loads from the slot where the search for `h` begins. The result means nothing, but use it, or the load is optimised away. */
  touch(h: number): number {
    return this.mem[BASE + ((h & this.mask) << SHIFT4)];
  }

  /** `touch` for `hashes[0..n)`, in a loop tight enough for the loads to overlap. Use the result. */
  touchAll(hashes: Int32Array, n: number): number {
    let sink = 0;
    for (let i = 0; i < n; i++) sink ^= this.touch(hashes[i]);
    return sink;
  }

  /** Value of the flow, 0 when it is not there. */
  find(a: number, b: number, ports: number): number {
    return this.findHashed(this.hash(a, b, ports), a, b, ports);
  }

  /** `find` with `h = hash(a, b, ports)`. */
  findHashed(h: number, a: number, b: number, ports: number): number {
    return this.mem[this.slotOf(h, a, b, ports) + VALUE4];
  }

  /** Stores `value` for the flow, in place of an older one. False: the table is full, nothing changed. */
  insert(a: number, b: number, ports: number, value: number): boolean {
    return this.insertHashed(this.hash(a, b, ports), a, b, ports, value);
  }

  /** `insert` with `h = hash(a, b, ports)`. */
  insertHashed(h: number, a: number, b: number, ports: number, value: number): boolean {
    if (value <= 0) throw new RangeError(`flow table: value ${value}`);
    const mem = this.mem;
    let at = this.slotOf(h, a, b, ports);
    if (mem[at + VALUE4] === 0) {
      if (mem[SIZE] >= this.limit) {
        if (this.mask + 1 >= mem[MAX_SLOTS]) return false;
        this.grow();
        at = this.slotOf(h, a, b, ports);
      }
      mem[SIZE]++;
      mem[at] = a;
      mem[at + 1] = b;
      mem[at + 2] = ports;
    }
    mem[at + VALUE4] = value;
    return true;
  }

  /** Takes the flow out. Returns the value it had, 0 when it was not there. */
  remove(a: number, b: number, ports: number): number {
    return this.removeHashed(this.hash(a, b, ports), a, b, ports);
  }

  /** `remove` with `h = hash(a, b, ports)`. */
  removeHashed(h: number, a: number, b: number, ports: number): number {
    const mem = this.mem;
    const mask = this.mask;
    let hole = this.slotOf(h, a, b, ports);
    const value = mem[hole + VALUE4];
    if (value === 0) return 0;
    mem[SIZE]--;
    // An entry may move back into the hole unless that would put it before the slot its search begins at.
    let holeSlot = (hole - BASE) >> SHIFT4;
    for (let s = (holeSlot + 1) & mask; ; s = (s + 1) & mask) {
      const at = BASE + (s << SHIFT4);
      if (mem[at + VALUE4] === 0) break;
      const home = hsiphash3(this.seed0, this.seed1, mem[at], mem[at + 1], mem[at + 2]) & mask;
      if (((s - home) & mask) < ((s - holeSlot) & mask)) continue;
      mem[hole] = mem[at];
      mem[hole + 1] = mem[at + 1];
      mem[hole + 2] = mem[at + 2];
      mem[hole + VALUE4] = mem[at + VALUE4];
      hole = at;
      holeSlot = s;
    }
    mem[hole + VALUE4] = 0;
    return value;
  }

  /** Where the flow stands, or the empty slot where it would go. */
  private slotOf(h: number, a: number, b: number, ports: number): number {
    const mem = this.mem;
    const mask = this.mask;
    for (let s = h & mask; ; s = (s + 1) & mask) {
      const at = BASE + (s << SHIFT4);
      if (mem[at + VALUE4] === 0 || (mem[at] === a && mem[at + 1] === b && mem[at + 2] === ports)) return at;
    }
  }

  private grow(): void {
    const mem = this.mem;
    const slots = this.mask + 1;
    const old = mem.slice(BASE, BASE + (slots << SHIFT4));
    mem[SLOTS] = slots * 2;
    this.mask = slots * 2 - 1;
    this.limit = limitOf(slots * 2);
    mem.fill(0, BASE, BASE + ((slots * 2) << SHIFT4));
    for (let i = 0; i < old.length; i += 1 << SHIFT4) {
      if (old[i + VALUE4] === 0) continue;
      const at = this.slotOf(this.hash(old[i], old[i + 1], old[i + 2]), old[i], old[i + 1], old[i + 2]);
      for (let k = 0; k < 1 << SHIFT4; k++) mem[at + k] = old[i + k];
    }
  }
}

/** IPv6 flows: as FlowTable4, the key being the nine words `key[off..off + 9)`. */
export class FlowTable6 {
  private readonly mem: Int32Array;
  private readonly seed0: number;
  private readonly seed1: number;
  private mask: number;
  private limit: number;

  private constructor(mem: Int32Array) {
    this.mem = mem;
    this.seed0 = mem[SEED0];
    this.seed1 = mem[SEED1];
    this.mask = mem[SLOTS] - 1;
    this.limit = limitOf(mem[SLOTS]);
  }

  static bytes(cfg: FlowTableConfig): number {
    return bytesFor(cfg, SHIFT6);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: FlowTableConfig): FlowTable6 {
    return new FlowTable6(write(sab, byteOffset, KIND6, cfg, SHIFT6));
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): FlowTable6 {
    return new FlowTable6(openBlock(sab, byteOffset, KIND6));
  }

  /** Flows in the table. */
  size(): number {
    return this.mem[SIZE];
  }

  /** Slots at present. */
  slots(): number {
    return this.mask + 1;
  }

  /** Keyed hash of a flow: int32, the same for as long as the table lives. */
  hash(key: Int32Array, off: number): number {
    return hsiphashN(this.seed0, this.seed1, key, off, KEY6_WORDS);
  }

  /** Loads from the slot where the search for `h` begins. The result means nothing, but use it, or the load is optimised away. */
  touch(h: number): number {
    return this.mem[BASE + ((h & this.mask) << SHIFT6)];
  }

  /** `touch` for `hashes[0..n)`, in a loop tight enough for the loads to overlap. Use the result. */
  touchAll(hashes: Int32Array, n: number): number {
    let sink = 0;
    for (let i = 0; i < n; i++) sink ^= this.touch(hashes[i]);
    return sink;
  }

  /** Value of the flow, 0 when it is not there. */
  find(key: Int32Array, off: number): number {
    return this.findHashed(this.hash(key, off), key, off);
  }

  /** `find` with `h = hash(key, off)`. */
  findHashed(h: number, key: Int32Array, off: number): number {
    return this.mem[this.slotOf(h, key, off) + VALUE6];
  }

  /** Stores `value` for the flow, in place of an older one. False: the table is full, nothing changed. */
  insert(key: Int32Array, off: number, value: number): boolean {
    return this.insertHashed(this.hash(key, off), key, off, value);
  }

  /** `insert` with `h = hash(key, off)`. */
  insertHashed(h: number, key: Int32Array, off: number, value: number): boolean {
    if (value <= 0) throw new RangeError(`flow table: value ${value}`);
    const mem = this.mem;
    let at = this.slotOf(h, key, off);
    if (mem[at + VALUE6] === 0) {
      if (mem[SIZE] >= this.limit) {
        if (this.mask + 1 >= mem[MAX_SLOTS]) return false;
        this.grow();
        at = this.slotOf(h, key, off);
      }
      mem[SIZE]++;
      mem[at + HASH6] = h;
      for (let i = 0; i < KEY6_WORDS; i++) mem[at + KEY6 + i] = key[off + i];
    }
    mem[at + VALUE6] = value;
    return true;
  }

  /** Takes the flow out. Returns the value it had, 0 when it was not there. */
  remove(key: Int32Array, off: number): number {
    return this.removeHashed(this.hash(key, off), key, off);
  }

  /** `remove` with `h = hash(key, off)`. */
  removeHashed(h: number, key: Int32Array, off: number): number {
    const mem = this.mem;
    const mask = this.mask;
    let hole = this.slotOf(h, key, off);
    const value = mem[hole + VALUE6];
    if (value === 0) return 0;
    mem[SIZE]--;
    let holeSlot = (hole - BASE) >> SHIFT6;
    for (let s = (holeSlot + 1) & mask; ; s = (s + 1) & mask) {
      const at = BASE + (s << SHIFT6);
      if (mem[at + VALUE6] === 0) break;
      if (((s - mem[at + HASH6]) & mask) < ((s - holeSlot) & mask)) continue;
      for (let i = 0; i < KEY6 + KEY6_WORDS; i++) mem[hole + i] = mem[at + i];
      hole = at;
      holeSlot = s;
    }
    mem[hole + VALUE6] = 0;
    return value;
  }

  /** Where the flow stands, or the empty slot where it would go. */
  private slotOf(h: number, key: Int32Array, off: number): number {
    const mem = this.mem;
    const mask = this.mask;
    for (let s = h & mask; ; s = (s + 1) & mask) {
      const at = BASE + (s << SHIFT6);
      if (mem[at + VALUE6] === 0) return at;
      if (mem[at + HASH6] !== h) continue;
      let i = 0;
      while (i < KEY6_WORDS && mem[at + KEY6 + i] === key[off + i]) i++;
      if (i === KEY6_WORDS) return at;
    }
  }

  private grow(): void {
    const mem = this.mem;
    const slots = this.mask + 1;
    const old = mem.slice(BASE, BASE + (slots << SHIFT6));
    mem[SLOTS] = slots * 2;
    this.mask = slots * 2 - 1;
    this.limit = limitOf(slots * 2);
    mem.fill(0, BASE, BASE + ((slots * 2) << SHIFT6));
    for (let i = 0; i < old.length; i += 1 << SHIFT6) {
      if (old[i + VALUE6] === 0) continue;
      const at = this.slotOf(old[i + HASH6], old, i + KEY6);
      for (let k = 0; k < KEY6 + KEY6_WORDS; k++) mem[at + k] = old[i + k];
    }
  }
}
