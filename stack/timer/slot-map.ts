/**
 * Which of 2^n slots are in use, as three bitmaps: slots, words of slots, words of words. The next one in use is found in a handful of
 * loads, wherever it is. @hot  Called by the timing wheel.
 */

/** Index of the lowest bit set. Precondition: `bits` is not 0. */
function lowest(bits: number): number {
  return 31 - Math.clz32(bits & -bits);
}

export class SlotMap {
  private readonly size: number;
  private readonly slots: Int32Array;
  private readonly words: Int32Array;
  private readonly groups: Int32Array;

  /** @param log2 number of slots, as a power of two from 10 */
  constructor(log2: number) {
    this.size = 1 << log2;
    this.slots = new Int32Array(this.size >> 5);
    this.words = new Int32Array(this.size >> 10);
    this.groups = new Int32Array(((this.size >> 10) + 31) >> 5);
  }

  // Shift counts are taken modulo 32 by the language: `1 << i` is the bit of i within its word.

  set(i: number): void {
    this.slots[i >> 5] |= 1 << i;
    this.words[i >> 10] |= 1 << (i >> 5);
    this.groups[i >> 15] |= 1 << (i >> 10);
  }

  clear(i: number): void {
    if ((this.slots[i >> 5] &= ~(1 << i)) !== 0) return;
    if ((this.words[i >> 10] &= ~(1 << (i >> 5))) !== 0) return;
    this.groups[i >> 15] &= ~(1 << (i >> 10));
  }

  /** Slots from `from` forward, around the end, to the first one in use: 0 is `from` itself, the number of slots means none. */
  distance(from: number): number {
    const ahead = this.next(from);
    if (ahead >= 0) return ahead - from;
    const around = this.next(0);
    return around >= 0 ? around + this.size - from : this.size;
  }

  /** First slot in use from `from` to the end, -1 when there is none. */
  private next(from: number): number {
    const inWord = this.slots[from >> 5] & (-1 << from);
    if (inWord !== 0) return (from & ~31) + lowest(inWord);
    let w = (from >> 5) + 1;
    if (w >= this.slots.length) return -1;
    const inGroup = this.words[w >> 5] & (-1 << w);
    if (inGroup !== 0) w = (w & ~31) + lowest(inGroup);
    else {
      const g = this.nextWord((w >> 5) + 1);
      if (g < 0) return -1;
      w = (g << 5) + lowest(this.words[g]);
    }
    return (w << 5) + lowest(this.slots[w]);
  }

  /** First index from `from` at which `words` is not 0, -1 when there is none. */
  private nextWord(from: number): number {
    let k = from >> 5;
    if (k >= this.groups.length) return -1;
    let bits = this.groups[k] & (-1 << from);
    while (bits === 0) {
      if (++k >= this.groups.length) return -1;
      bits = this.groups[k];
    }
    return (k << 5) + lowest(bits);
  }
}
