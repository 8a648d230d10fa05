/** The bytes that test transfers consist of: the same for every sender, and of a period that no slip can hide in. */
import { createHash } from 'node:crypto';

const BLOCK = new Uint8Array(65521);
for (let i = 0, x = 1; i < BLOCK.length; i++) {
  x = (Math.imul(x, 1664525) + 1013904223) | 0;
  BLOCK[i] = x >>> 24;
}

/** `total` bytes in blocks; the blocks must not be changed. */
export function* pattern(total: number): Generator<Uint8Array> {
  for (let left = total; left > 0; left -= BLOCK.length) yield left < BLOCK.length ? BLOCK.subarray(0, left) : BLOCK;
}

/** SHA-256 of the first `total` bytes, in hex. */
export function patternHash(total: number): string {
  const hash = createHash('sha256');
  for (const block of pattern(total)) hash.update(block);
  return hash.digest('hex');
}
