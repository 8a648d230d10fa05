/**
 * Ring of fixed-size records between exactly one producer thread and one consumer thread, without locks. @hot
 * Used for frames handed to their owner, frames on their way home, and messages. Ownership: a record belongs to the ring from `publish`
 * until it is removed; whatever its words name (a frame id) travels with it. A full ring refuses; the caller counts the refusal.
 *
 * As in Snabb's interlink the two ends work in two steps, so that a burst costs one atomic operation and not one per record:
 *   producer  insert, insert, ... publish        consumer  observe, remove, remove, ... release
 *
 *   line 0  header: magic, version, size, capacity (records, power of two), words per record
 *   line 1  tail: records ever published, written by the producer only
 *   line 2  head: records ever released, written by the consumer only
 *   line 3+ records
 *
 * Head and tail run freely through int32 and are compared as (tail - head) | 0; capacity is at most 2^30, so the difference is never
 * ambiguous.
 *
 * Why no torn or stale record can be read (ECMAScript memory model):
 * 1. The producer stores the words of record t plainly, later it stores tail >= t + 1 with Atomics.store (`publish`). The consumer reads
 *    record t only after Atomics.load (`observe`) returned a tail beyond t. That load reads from a store that comes after the words in
 *    the producer's program order, so it synchronises with it and the words happen before the read: all of them, whole.
 * 2. The slot of record t is stored to again only for record t + capacity, and that only after the producer's Atomics.load of head
 *    (`free`) returned more than t. The consumer stores such a head (`release`) after it has read the words of t, so these reads happen
 *    before the new stores: a record is never overwritten under its reader.
 * 3. The remembered copies (`headSeen`, `tailSeen`) are older values of counters that only grow: too small a head makes the ring look
 *    fuller, too small a tail makes it look emptier, neither allows an access that 1 and 2 forbid.
 * There is no other access to a slot, hence no data race. Both Atomics are sequentially consistent: a producer that publishes and then
 * loads a `sleeping` flag, and a consumer that sets that flag and then observes, cannot both miss each other.
 */
import { type BlockKind, demand, isPowerOfTwo, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';

const KIND: BlockKind = { name: 'SPSC ring', magic: 0x53505343, version: 1 };
const TAIL = LINE_WORDS;
const HEAD = 2 * LINE_WORDS;
const RECORDS = 3 * LINE_WORDS;

export type RingConfig = {
  /** Records the ring holds, a power of two up to 2^30. */
  readonly capacity: number;
  /** int32 words per record, 1 or more. */
  readonly words: number;
};

/** One end of a ring (or, in one thread, both). Each end keeps its own object: never share one across the roles of two threads. */
export class SpscRing {
  readonly capacity: number;
  readonly recordWords: number;
  private readonly mem: Int32Array;
  private readonly mask: number;
  /** Producer: records inserted, published or not; head as last seen. */
  private tail: number;
  private headSeen: number;
  /** Consumer: records removed, released or not; tail as last seen. */
  private head: number;
  private tailSeen: number;

  private constructor(mem: Int32Array) {
    this.capacity = mem[OWN];
    this.recordWords = mem[OWN + 1];
    this.mem = mem;
    this.mask = this.capacity - 1;
    this.tail = Atomics.load(mem, TAIL);
    this.headSeen = Atomics.load(mem, HEAD);
    this.head = this.headSeen;
    this.tailSeen = this.tail;
  }

  static bytes(cfg: RingConfig): number {
    demand(isPowerOfTwo(cfg.capacity), `ring capacity ${cfg.capacity} is not a power of two`);
    demand(Number.isInteger(cfg.words) && cfg.words > 0, `${cfg.words} words per record`);
    return toLines((RECORDS + cfg.capacity * cfg.words) * 4);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: RingConfig): SpscRing {
    const mem = writeBlock(sab, byteOffset, KIND, SpscRing.bytes(cfg), [cfg.capacity, cfg.words]);
    Atomics.store(mem, TAIL, 0);
    Atomics.store(mem, HEAD, 0);
    return new SpscRing(mem);
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): SpscRing {
    return new SpscRing(openBlock(sab, byteOffset, KIND));
  }

  // Producer

  /** Records that can still be inserted. Looks at the consumer's head only when what it last saw is less than `wanted`. */
  free(wanted: number): number {
    let free = this.capacity - ((this.tail - this.headSeen) | 0);
    if (free < wanted) {
      this.headSeen = Atomics.load(this.mem, HEAD);
      free = this.capacity - ((this.tail - this.headSeen) | 0);
    }
    return free;
  }

  /** Copies one record from `src[off..]` into the ring, unseen by the consumer until `publish`. False: full, nothing was stored. */
  insert(src: Int32Array, off: number): boolean {
    if (this.free(1) === 0) return false;
    const mem = this.mem;
    const n = this.recordWords;
    const at = RECORDS + (this.tail & this.mask) * n;
    for (let i = 0; i < n; i++) mem[at + i] = src[off + i];
    this.tail = (this.tail + 1) | 0;
    return true;
  }

  /** `insert` for rings of one word per record (frame ids). */
  insertWord(word: number): boolean {
    if (this.free(1) === 0) return false;
    this.mem[RECORDS + (this.tail & this.mask)] = word;
    this.tail = (this.tail + 1) | 0;
    return true;
  }

  /** Shows the consumer everything inserted so far. Once per burst; whoever wakes sleepers does so after this. */
  publish(): void {
    Atomics.store(this.mem, TAIL, this.tail);
  }

  /** Inserts up to `count` records that stand one after the other in `src[off..]` and publishes. Returns how many went in. */
  push(src: Int32Array, off: number, count: number): number {
    const free = this.free(count);
    const n = Math.min(count, free);
    if (n <= 0) return 0;
    for (let i = 0; i < n; i++) this.insert(src, off + i * this.recordWords);
    this.publish();
    return n;
  }

  // Consumer

  /** Records ready to be removed. Looks at the producer's tail only when everything seen so far has been removed. */
  observe(): number {
    let ready = (this.tailSeen - this.head) | 0;
    if (ready === 0) {
      this.tailSeen = Atomics.load(this.mem, TAIL);
      ready = (this.tailSeen - this.head) | 0;
    }
    return ready;
  }

  /** Copies the oldest record to `dst[off..]`; its slot goes back to the producer at `release`. False: empty. */
  remove(dst: Int32Array, off: number): boolean {
    if (this.observe() === 0) return false;
    const mem = this.mem;
    const n = this.recordWords;
    const at = RECORDS + (this.head & this.mask) * n;
    for (let i = 0; i < n; i++) dst[off + i] = mem[at + i];
    this.head = (this.head + 1) | 0;
    return true;
  }

  /** `remove` for rings of one word per record. Precondition: `observe()` said there is one. */
  removeWord(): number {
    const word = this.mem[RECORDS + (this.head & this.mask)];
    this.head = (this.head + 1) | 0;
    return word;
  }

  /** Gives the slots of everything removed so far back to the producer. Once per burst. */
  release(): void {
    Atomics.store(this.mem, HEAD, this.head);
  }

  /** Removes up to `max` records to `dst[off..]` one after the other and releases them. Returns how many. */
  pop(dst: Int32Array, off: number, max: number): number {
    let n = 0;
    while (n < max && this.remove(dst, off + n * this.recordWords)) n++;
    if (n > 0) this.release();
    return n;
  }

  /** Records published and not yet released, as any thread may ask: it may have changed by the time the caller looks at it. */
  length(): number {
    return (Atomics.load(this.mem, TAIL) - Atomics.load(this.mem, HEAD)) | 0;
  }
}
