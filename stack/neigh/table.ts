/**
 * The neighbour table: one 64-byte row per (IPv4 address, port) in one shared block, found through an open-addressing
 * index. Storage only: what the states mean is nud.ts, what a frame does is output.ts. Entries are ids 1..max, 0 = none.
 *
 * ```
 *  line 0      header: magic, version, size, max, index slots;   PREV and NEXT of line 0 are the ends of the idle list
 *  line i      row of entry i
 *  behind      index: Int32 per slot, the entry or 0; a power of two, at most half full
 * ```
 *
 * | word       | unit          | written by    | meaning                                                    |
 * | ---------- | ------------- | ------------- | ---------------------------------------------------------- |
 * | VERSION    | count         | table         | odd while STATE .. GENERATION change (readers retry)       |
 * | STATE      | state.ts      | nud           | NONE = row not in use                                      |
 * | IP, PORT   | host order    | table         | the key                                                    |
 * | MAC_HI/LO  | 2 + 4 bytes   | nud           | valid from STALE on                                        |
 * | FLAGS      | bits          | nud           | STATIC                                                     |
 * | GENERATION | count         | table         | changes with the address and when the row changes hands    |
 * | CONFIRMED  | ms ticks      | nud           | last proof that the neighbour hears us                     |
 * | USED       | ms ticks      | output        | last frame sent to it                                      |
 * | PROBES     | count         | nud           | requests sent in this state                                |
 * | Q_HEAD ..  | frames        | queue         | frames that wait for the address                           |
 * | PREV, NEXT | entries       | table         | the idle list; NEXT also links rows not in use             |
 *
 * Threads: one writer, the worker that owns the table. Any thread may read the rows (snapshot.ts). All stores a reader
 * depends on are atomic, hence sequentially consistent; they happen on a change of state, never per frame. It is the
 * protocol of mem/seq-rows.ts, in rows that also hold words of the owner alone, so that a frame needs one cache line.
 *
 * The idle list holds STALE entries in the order in which they became stale, FAILED ones before them: its head is the
 * least useful entry there is, found without a search. An entry in any other state is wanted by somebody and stays.
 * @hot
 */
import { type BlockKind, demand, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from '../mem/block.ts';
import type { Ipv4, PortId, Random } from '../types.ts';
import { FAILED, INCOMPLETE, isIdle } from './state.ts';

export const VERSION = 0;
export const STATE = 1;
export const IP = 2;
export const PORT = 3;
export const MAC_HI = 4;
export const MAC_LO = 5;
export const FLAGS = 6;
export const GENERATION = 7;
export const CONFIRMED = 8;
export const USED = 9;
export const PROBES = 10;
export const Q_HEAD = 11;
export const Q_TAIL = 12;
export const Q_LEN = 13;
const PREV = 14;
const NEXT = 15;

/** Bits of FLAGS. An administrator's entry: no state machine, no packet and no eviction touches it. */
export const STATIC = 1;

export const DEFAULT_MAX_NEIGHBOURS = 4096;

/** Rows looked at for one that can go: bounds the cost of an entry when all are wanted. */
const HAND_STEPS = 64;

const KIND: BlockKind = { name: 'neighbour table', magic: 0x4e454947, version: 1 };

const indexSlots = (max: number): number => 1 << (32 - Math.clz32(max * 2 - 1));

export class NeighTable {
  /** Entries are 1..max. */
  readonly max: number;
  /** The whole block; the row of entry i starts at `i << 4`. */
  readonly words: Int32Array;
  /** Rows in use. */
  count = 0;
  /** Counts the changes to states and addresses: whoever keeps an answer asks again when this has moved. */
  changes = 0;

  private readonly index: Int32Array;
  private readonly mask: number;
  private readonly shift: number;
  private readonly multiplier: number;
  private free = 0;
  private mark = 0;
  /** Where the search for an entry under resolution goes on: it goes round, so the same one is not always hit. */
  private hand = 0;

  private constructor(words: Int32Array, random: Random) {
    this.words = words;
    this.max = words[OWN]!;
    const slots = words[OWN + 1]!;
    this.index = words.subarray((this.max + 1) * LINE_WORDS);
    this.mask = slots - 1;
    this.shift = Math.clz32(slots) + 1;
    // Multiply-shift with a secret odd factor: a stranger who picks addresses cannot pick collisions.
    this.multiplier = random.next() | 1;
  }

  static bytes(max: number = DEFAULT_MAX_NEIGHBOURS): number {
    demand(Number.isInteger(max) && max > 0 && max <= 0x100000, `a neighbour table of ${max} entries`);
    return toLines(((max + 1) * LINE_WORDS + indexSlots(max)) * 4);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, random: Random, max = DEFAULT_MAX_NEIGHBOURS): NeighTable {
    const bytes = NeighTable.bytes(max);
    return new NeighTable(writeBlock(sab, byteOffset, KIND, bytes, [max, indexSlots(max)]), random);
  }

  /** The rows of a table made by another thread, to read (snapshot.ts). Throws BlockError if there is none. */
  static open(sab: SharedArrayBuffer, byteOffset: number): Int32Array {
    return openBlock(sab, byteOffset, KIND);
  }

  /** The entry for an address, or 0. */
  find(ip: Ipv4, port: PortId): number {
    const { words, index, mask } = this;
    let slot = this.slot(ip, port);
    for (;;) {
      const i = index[slot]!;
      if (i === 0) return 0;
      const at = i << 4;
      if (words[at + IP] === ip && words[at + PORT] === port) return i;
      slot = (slot + 1) & mask;
    }
  }

  /** A row in state NONE for an address that has none yet; 0 when all rows are in use. */
  insert(ip: Ipv4, port: PortId): number {
    const { words, index, mask } = this;
    let i = this.free;
    if (i !== 0) this.free = words[(i << 4) + NEXT]!;
    else if (this.mark < this.max) i = ++this.mark;
    else return 0;
    this.count += 1;
    this.begin(i);
    this.store(i, IP, ip);
    this.store(i, PORT, port);
    this.end(i);
    let slot = this.slot(ip, port);
    while (index[slot] !== 0) slot = (slot + 1) & mask;
    index[slot] = i;
    return i;
  }

  /** Gives the row back. Precondition: state NONE, no frame waits on it. */
  remove(i: number): void {
    const { words } = this;
    const at = i << 4;
    this.unindex(words[at + IP]!, words[at + PORT]!);
    this.begin(i);
    this.store(i, IP, 0);
    this.store(i, PORT, 0);
    this.store(i, MAC_HI, 0);
    this.store(i, MAC_LO, 0);
    this.store(i, FLAGS, 0);
    this.store(i, GENERATION, words[at + GENERATION]! + 1);
    this.end(i);
    words[at + NEXT] = this.free;
    this.free = i;
    this.count -= 1;
  }

  /** Changes the state and keeps the idle list. Called by Nud.setState alone. */
  putState(i: number, state: number): void {
    if (isIdle(this.words[(i << 4) + STATE]!)) this.unlink(i);
    this.begin(i);
    this.store(i, STATE, state);
    this.end(i);
    if (isIdle(state)) this.link(i, state === FAILED);
  }

  /** Stores the link-layer address. Returns false when it was the same. */
  putMac(i: number, hi: number, lo: number): boolean {
    const at = i << 4;
    if (this.words[at + MAC_HI] === hi && this.words[at + MAC_LO] === lo) return false;
    this.begin(i);
    this.store(i, MAC_HI, hi);
    this.store(i, MAC_LO, lo);
    this.store(i, GENERATION, this.words[at + GENERATION]! + 1);
    this.end(i);
    return true;
  }

  putFlags(i: number, flags: number): void {
    this.begin(i);
    this.store(i, FLAGS, flags);
    this.end(i);
  }

  /**
   * The entry that is missed least: an idle one, else one that is being resolved, so that addresses nobody has cannot
   * lock out those that exist. 0 when every row is wanted.
   */
  leastUseful(): number {
    const idle = this.words[NEXT]!;
    if (idle !== 0) return idle;
    for (let n = 0; n < HAND_STEPS; n++) {
      this.hand = this.hand >= this.mark ? 1 : this.hand + 1;
      if (this.words[(this.hand << 4) + STATE] === INCOMPLETE) return this.hand;
    }
    return 0;
  }

  state(i: number): number {
    return this.words[(i << 4) + STATE]!;
  }

  isStatic(i: number): boolean {
    return (this.words[(i << 4) + FLAGS]! & STATIC) !== 0;
  }

  private slot(ip: Ipv4, port: PortId): number {
    return Math.imul(ip ^ (port << 24) ^ port, this.multiplier) >>> this.shift;
  }

  /** Backward-shift deletion: no tombstones, so a search never grows longer than the entries make it. */
  private unindex(ip: Ipv4, port: PortId): void {
    const { words, index, mask } = this;
    let hole = this.slot(ip, port);
    for (;;) {
      const at = index[hole]! << 4;
      if (words[at + IP] === ip && words[at + PORT] === port) break;
      hole = (hole + 1) & mask;
    }
    for (let slot = (hole + 1) & mask; index[slot] !== 0; slot = (slot + 1) & mask) {
      const at = index[slot]! << 4;
      const home = this.slot(words[at + IP]!, words[at + PORT]!);
      if (((slot - home) & mask) < ((slot - hole) & mask)) continue;
      index[hole] = index[slot]!;
      hole = slot;
    }
    index[hole] = 0;
  }

  private link(i: number, first: boolean): void {
    const { words } = this;
    const prev = first ? 0 : words[PREV]!;
    const next = first ? words[NEXT]! : 0;
    words[(i << 4) + PREV] = prev;
    words[(i << 4) + NEXT] = next;
    words[(prev << 4) + NEXT] = i;
    words[(next << 4) + PREV] = i;
  }

  private unlink(i: number): void {
    const { words } = this;
    const prev = words[(i << 4) + PREV]!;
    const next = words[(i << 4) + NEXT]!;
    words[(prev << 4) + NEXT] = next;
    words[(next << 4) + PREV] = prev;
  }

  private begin(i: number): void {
    this.changes += 1;
    Atomics.add(this.words, (i << 4) + VERSION, 1);
  }

  private store(i: number, word: number, value: number): void {
    Atomics.store(this.words, (i << 4) + word, value);
  }

  private end(i: number): void {
    Atomics.add(this.words, (i << 4) + VERSION, 1);
  }
}
