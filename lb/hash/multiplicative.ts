/**
 * Fibonacci hashing (Knuth, TAOCP 3, section 6.4) with the factor Linux uses (`hash_32`), so that slot tables agree with
 * a kernel's. Spreads neighbouring addresses well and is no more than that: whoever chooses the value chooses the slot.
 * @hot. Called by lb/sched/slots.ts. Imports nothing.
 */

/** The upper `bits` (1..31) of 32-bit `value` times 2^32 / golden ratio: an integer in 0 .. 2^bits - 1. */
export function hash32(value: number, bits: number): number {
  return Math.imul(value, 0x61c88647) >>> (32 - bits);
}
