/** Cryptographic randomness for the data plane, drawn in blocks so that a call costs an array read. */
import { randomFillSync } from 'node:crypto';
import type { Random } from '../../stack/types.ts';

export class CryptoRandom implements Random {
  private readonly block = new Int32Array(1024);
  private at = this.block.length;

  next(): number {
    if (this.at === this.block.length) {
      randomFillSync(this.block);
      this.at = 0;
    }
    return this.block[this.at++]!;
  }
}
