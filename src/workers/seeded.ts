/**
 * Randomness from a seed, for data planes that must do the same again: the demo and replay. Every seed, 0 included, gives
 * its own sequence (splitmix32: a Weyl sequence through the finalizer of MurmurHash3). Not for a real network.
 */
import { fmix } from '../../lb/hash/murmur3.ts';
import type { Random } from '../../stack/types.ts';

export class SeededRandom implements Random {
  private state: number;

  constructor(seed: number) {
    this.state = fmix(seed | 0);
  }

  next(): number {
    this.state = (this.state + 0x9e3779b9) | 0;
    return fmix(this.state);
  }
}
