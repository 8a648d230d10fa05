/**
 * Rows of int32 words that one thread writes and any thread reads without a lock: neighbours, addresses, templates.
 * A sequence number per row is odd while the row is being written; a reader that saw it odd, or saw it change, reads again.
 *
 *   line 0   header: magic, version, size, rows, words per row
 *   line 1   generation: grows with every write of any row
 *   line 2+  rows 1..n, each on its own lines: sequence number, words
 *
 * Writing is cold. Reading a whole row is warm: Atomics.load costs some 10 ns per word (Node 20.20: it is a call), so what is needed for
 * every frame is copied once and kept while `version(row)` stays the same, or, for all rows at once and once per burst, `generation()`.
 *
 * Why no torn row can be read (ECMAScript memory model): every access to a row, the words as well as the sequence number, is an Atomics
 * operation. Those of all threads stand in one total order that agrees with each thread's program, and a load returns the latest store
 * before it in that order. A read succeeds when both its loads of the sequence number return the same even s. All stores of words stand
 * between a store of an odd number and the store of the next even one. The sequence number only grows, so between the store of s and
 * the reader's second load there is no other store to it, hence none to the words: each load returned the word of version s. (Plain
 * loads would be cheaper and wrong: nothing would keep them before the second load of the sequence number. And 2^31 writes of one row
 * during one read would bring s back: years of writing.)
 */
import { type BlockKind, demand, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';

const KIND: BlockKind = { name: 'table of rows', magic: 0x53455152, version: 1 };
const GENERATION = LINE_WORDS;
const ROWS = 2 * LINE_WORDS;
/** A read is tried so often before the row counts as being written: a writer preempted halfway must not stall its readers. */
const TRIES = 32;

export type SeqRowsConfig = {
  /** Rows 1..rows. */
  readonly rows: number;
  /** int32 words per row. */
  readonly words: number;
};

export class SeqRows {
  readonly rows: number;
  readonly rowWords: number;
  private readonly mem: Int32Array;
  private readonly stride: number;

  private constructor(mem: Int32Array) {
    this.rows = mem[OWN];
    this.rowWords = mem[OWN + 1];
    this.mem = mem;
    this.stride = toLines((1 + this.rowWords) * 4) / 4;
  }

  static bytes(cfg: SeqRowsConfig): number {
    demand(Number.isInteger(cfg.rows) && cfg.rows > 0, `a table of ${cfg.rows} rows`);
    demand(Number.isInteger(cfg.words) && cfg.words > 0, `${cfg.words} words per row`);
    return ROWS * 4 + cfg.rows * toLines((1 + cfg.words) * 4);
  }

  /** Rows are all zeros, version 0. */
  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: SeqRowsConfig): SeqRows {
    const mem = writeBlock(sab, byteOffset, KIND, SeqRows.bytes(cfg), [cfg.rows, cfg.words]);
    mem.fill(0, GENERATION);
    return new SeqRows(mem);
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): SeqRows {
    return new SeqRows(openBlock(sab, byteOffset, KIND));
  }

  // Writer

  /** Makes `row` unreadable until `endWrite`. Between the two, `set` only. Throws when it is being written already. */
  beginWrite(row: number): void {
    const at = this.at(row);
    const seq = Atomics.load(this.mem, at);
    if ((seq & 1) !== 0) throw new Error(`row ${row} is being written already`);
    Atomics.store(this.mem, at, (seq + 1) | 0);
  }

  /** Stores word `i` of the row being written. */
  set(row: number, i: number, word: number): void {
    Atomics.store(this.mem, this.at(row) + 1 + i, word);
  }

  /** Shows the row to readers under a new version. */
  endWrite(row: number): void {
    const at = this.at(row);
    const seq = Atomics.load(this.mem, at);
    if ((seq & 1) === 0) throw new Error(`row ${row} is not being written`);
    Atomics.store(this.mem, at, (seq + 1) | 0);
    Atomics.add(this.mem, GENERATION, 1);
  }

  // Reader

  /** Copies the words of `row` to `out[0..]`. False when a write was under way all the time: `out` is rubbish, try later. */
  read(row: number, out: Int32Array): boolean {
    const mem = this.mem;
    const at = this.at(row);
    for (let n = 0; n < TRIES; n++) {
      const seq = Atomics.load(mem, at);
      if ((seq & 1) !== 0) continue;
      for (let i = 0; i < this.rowWords; i++) out[i] = Atomics.load(mem, at + 1 + i);
      if (Atomics.load(mem, at) === seq) return true;
    }
    return false;
  }

  /** Changes with every write of `row`; odd while one is under way. Take it before `read`, and what was read holds while it is the same. */
  version(row: number): number {
    return Atomics.load(this.mem, this.at(row));
  }

  /** Changes with every write of any row, after the row's own version. */
  generation(): number {
    return Atomics.load(this.mem, GENERATION);
  }

  private at(row: number): number {
    return ROWS + (row - 1) * this.stride;
  }
}
