/** A seeded random source for tests: xorshift32, 32 bits per call as int32. */
import type { Random } from '../../stack/types.ts';

export function seeded(seed: number): Random {
  let x = seed | 0 || 0x9e3779b9;
  return {
    next(): number {
      x ^= x << 13;
      x ^= x >>> 17;
      x ^= x << 5;
      return x;
    },
  };
}
