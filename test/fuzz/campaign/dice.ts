/** Everything a fuzzing campaign leaves to chance, from one seed. */
import { seeded } from '../../lib/random.ts';

export class Dice {
  private readonly random: { next(): number };

  constructor(seed: number) {
    this.random = seeded(seed);
  }

  /** 0 .. n-1 */
  below(n: number): number {
    return (this.random.next() >>> 0) % n;
  }

  chance(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]!;
  }

  word(): number {
    return this.random.next();
  }
}
