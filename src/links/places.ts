/**
 * Addresses for system calls of places in one piece of memory, most of which come again: those of the slots of a pool, of a ring. Each is
 * made once and kept as BigInt, as computing it for each call would make a new object each time (syscall.ts). Two places 32 MB
 * apart share an entry; whichever is asked for is made anew then.
 *
 * Used by links that have the system copy what is long.
 * @hot
 */

/** Slots are 2048 bytes or a multiple. */
const SHIFT = 11;
const ENTRIES = 16384;

export class Places {
  private readonly base: number;
  private readonly offsets = new Int32Array(ENTRIES).fill(-1);
  private readonly pointers: bigint[];

  /** `base`: address of the memory's first byte. */
  constructor(base: number) {
    this.base = base;
    this.pointers = new Array<bigint>(ENTRIES).fill(0n);
  }

  /** The address of byte `offset`, which is below 2^31. */
  at(offset: number): bigint {
    const i = (offset >>> SHIFT) & (ENTRIES - 1);
    if (this.offsets[i] !== offset) {
      this.offsets[i] = offset;
      this.pointers[i] = BigInt(this.base + offset);
    }
    return this.pointers[i]!;
  }
}
