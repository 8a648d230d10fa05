/**
 * Bounded ring of fixed-size records for any number of producer and consumer threads. @hot
 * For queues without one natural writer: work offered by several workers, buffers returned from several. Where each end has one thread,
 * the SPSC ring is cheaper (this one pays a compare-and-exchange per record). A full ring refuses; the caller counts the refusal.
 * The scheme is Dmitry Vyukov's bounded MPMC queue: every slot carries a turn number that says whose turn it is.
 *
 *   line 0  header: magic, version, size, capacity (records, power of two, at least 2), words per record
 *   line 1  enqueue position: next position a producer may claim
 *   line 2  dequeue position: next position a consumer may claim
 *   line 3+ slots: turn, then the words of the record
 *
 * Turn of the slot at position p (slot p mod capacity), C = capacity, all modulo 2^32:
 *   p         empty, waits for the producer that claims p
 *   p + 1     holds record p, waits for the consumer that claims p
 *   p + C     empty again, waits for the producer that claims p + C
 * With C >= 2 these never coincide.
 *
 * Why no torn, stale, lost or doubled record can be read (ECMAScript memory model):
 * 1. A position is claimed by a successful Atomics.compareExchange from p to p + 1, so exactly one producer and exactly one consumer
 *    own it, and between the claim and its own turn store nobody else touches the slot.
 * 2. The producer of p stores the words plainly, then turn = p + 1 with Atomics.store. The consumer of p read turn = p + 1 with
 *    Atomics.load before it claimed p: the load reads from that very store (nobody else stores that value in this lap), so it
 *    synchronises with it and the words happen before they are read.
 * 3. The consumer of p reads the words, then stores turn = p + C. The producer of p + C stores words only after Atomics.load returned
 *    p + C, so those reads happen before the new stores.
 * 4. Turn is loaded before the claim. If the claim succeeds the position had not moved, and only its owner moves the turn on from there,
 *    so what was loaded still holds. (The position would have to run through all 2^32 values between a thread's load and its
 *    compareExchange for it to be fooled: at 100 million records a second that thread must have stood still for 43 seconds, and then
 *    meet the very value.)
 *
 * It is not lock-free in the strict sense: a producer stopped between claim and turn store hides the records behind its own from
 * consumers until it goes on; they see "empty" and do other things meanwhile.
 */
import { type BlockKind, demand, isPowerOfTwo, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';
import type { RingConfig } from './spsc-ring.ts';

const KIND: BlockKind = { name: 'MPMC ring', magic: 0x4d504d43, version: 1 };
const ENQUEUE = LINE_WORDS;
const DEQUEUE = 2 * LINE_WORDS;
const SLOTS = 3 * LINE_WORDS;

/** Keeps no state of its own: one object may serve both roles, in every thread. */
export class MpmcRing {
  readonly capacity: number;
  readonly recordWords: number;
  private readonly mem: Int32Array;
  private readonly mask: number;
  private readonly stride: number;

  private constructor(mem: Int32Array) {
    this.capacity = mem[OWN];
    this.recordWords = mem[OWN + 1];
    this.mem = mem;
    this.mask = this.capacity - 1;
    this.stride = 1 + this.recordWords;
  }

  static bytes(cfg: RingConfig): number {
    demand(
      isPowerOfTwo(cfg.capacity) && cfg.capacity >= 2,
      `ring capacity ${cfg.capacity} is not a power of two from 2`,
    );
    demand(Number.isInteger(cfg.words) && cfg.words > 0, `${cfg.words} words per record`);
    return toLines((SLOTS + cfg.capacity * (1 + cfg.words)) * 4);
  }

  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: RingConfig): MpmcRing {
    const mem = writeBlock(sab, byteOffset, KIND, MpmcRing.bytes(cfg), [cfg.capacity, cfg.words]);
    for (let p = 0; p < cfg.capacity; p++) mem[SLOTS + p * (1 + cfg.words)] = p;
    Atomics.store(mem, ENQUEUE, 0);
    Atomics.store(mem, DEQUEUE, 0);
    return new MpmcRing(mem);
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): MpmcRing {
    return new MpmcRing(openBlock(sab, byteOffset, KIND));
  }

  /** Copies one record from `src[off..]` into the ring. False: full, nothing was stored. */
  push(src: Int32Array, off: number): boolean {
    const mem = this.mem;
    let p = Atomics.load(mem, ENQUEUE);
    for (;;) {
      const slot = SLOTS + (p & this.mask) * this.stride;
      const lag = (Atomics.load(mem, slot) - p) | 0;
      if (lag < 0) return false;
      if (lag > 0) {
        p = Atomics.load(mem, ENQUEUE);
        continue;
      }
      const found = Atomics.compareExchange(mem, ENQUEUE, p, (p + 1) | 0);
      if (found === p) {
        for (let i = 0; i < this.recordWords; i++) mem[slot + 1 + i] = src[off + i];
        Atomics.store(mem, slot, (p + 1) | 0);
        return true;
      }
      p = found;
    }
  }

  /** Copies the oldest record to `dst[off..]`. False: empty, or the oldest is still being written. */
  pop(dst: Int32Array, off: number): boolean {
    const mem = this.mem;
    let p = Atomics.load(mem, DEQUEUE);
    for (;;) {
      const slot = SLOTS + (p & this.mask) * this.stride;
      const lag = (Atomics.load(mem, slot) - p - 1) | 0;
      if (lag < 0) return false;
      if (lag > 0) {
        p = Atomics.load(mem, DEQUEUE);
        continue;
      }
      const found = Atomics.compareExchange(mem, DEQUEUE, p, (p + 1) | 0);
      if (found === p) {
        for (let i = 0; i < this.recordWords; i++) dst[off + i] = mem[slot + 1 + i];
        Atomics.store(mem, slot, (p + this.capacity) | 0);
        return true;
      }
      p = found;
    }
  }
}
