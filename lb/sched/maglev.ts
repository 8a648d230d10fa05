/**
 * Maglev's lookup table (Eisenbud et al., NSDI 2016, section 3.4): each server has its own permutation of the entries,
 * and in turns everyone takes the next free entry of their own. Shares differ by one round at most, and when
 * a server leaves, most entries of the others stay with them.
 *
 * Weights as in IPVS: a server takes `weight / gcd` entries per round, shifted down so far that the heaviest has no
 * more than about the square root of the table. Offset and skip are hashes of address and port under two fixed keys.
 *
 * IPVS hashes the sum of address and port, so 10.0.0.1:81 and 10.0.0.2:80 have one permutation: with ten ports on each of ten
 * hosts, one server's leaving moves 73 % of what the others have in a table of 65537 (measured; 0.5 % where
 * permutations differ). So the sum is used, and a kernel agreed with, where all servers have the same port; otherwise
 * address and port are hashed one after the other.
 *
 * Cold: it runs when the list changes; `entryOf` is @hot. Called by mh.ts.
 */

import { hsiphash } from '../hash/siphash.ts';

/** IPVS's `primes`, its default among them, and two of the sizes of the paper, for hundreds and thousands of servers. */
export const TABLE_SIZES = [4093, 251, 509, 1021, 2039, 8191, 16381, 32749, 65521, 65537, 131071, 655373] as const;

/** IPVS's keys, the multiplicative hash factor and a number near it. */
const KEY1 = 2654435761 | 0;
const KEY2 = 2654446892 | 0;

/** A server that has a share of the table. */
export interface Claim {
  readonly id: number;
  /** int32. */
  readonly addr: number;
  readonly port: number;
  /** Above 0. */
  readonly weight: number;
}

/** Entry of a client's address plus, where it counts, its port; `offset` tells several tries apart. */
export function entryOf(value: number, size: number): number {
  return (hsiphash(value, KEY1) >>> 0) % size;
}

/**
 * The ids of `size` (a prime) entries; the claims take turns in the order given. All 0 when there are no claims.
 * Takes O(size x log size) steps.
 */
export function buildTable(claims: readonly Claim[], size: number): Int32Array<ArrayBuffer> {
  const table = new Int32Array(size);
  if (claims.length === 0) return table;
  const turns = turnsOf(claims, size);
  const values = Int32Array.from(claims, permutationKey(claims));
  const at = values.map((value) => (hsiphash(value, KEY1) >>> 0) % size);
  const skip = values.map((value) => ((hsiphash(value, KEY2) >>> 0) % (size - 1)) + 1);
  const ids = Int32Array.from(claims, ({ id }) => id);
  for (let filled = 0; ; ) {
    for (let i = 0; i < ids.length; i++) {
      let entry = at[i]!;
      const step = skip[i]!;
      for (let turn = turns[i]!; turn > 0; turn--) {
        while (table[entry] !== 0) {
          entry += step;
          if (entry >= size) entry -= size;
        }
        table[entry] = ids[i]!;
        if (++filled === size) return table;
      }
      at[i] = entry;
    }
  }
}

/** What a claim's permutation is derived from. */
function permutationKey(claims: readonly Claim[]): (claim: Claim) => number {
  const onePort = claims.every(({ port }) => port === claims[0]!.port);
  return ({ addr, port }) => (onePort ? addr + port : hsiphash(addr, KEY2) + port);
}

/** Entries each claim takes per round, at least 1. */
function turnsOf(claims: readonly Claim[], size: number): Int32Array<ArrayBuffer> {
  const unit = claims.reduce((a, { weight }) => gcd(a, weight), 0);
  const heaviest = claims.reduce((most, { weight }) => Math.max(most, weight), 0) / unit;
  const shift = Math.max(0, bits(heaviest) - (bits(size) >> 1));
  return Int32Array.from(claims, ({ weight }) => Math.max(1, (weight / unit) >> shift));
}

const bits = (n: number): number => 32 - Math.clz32(n);

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}
