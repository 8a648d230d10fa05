/**
 * HSipHash-1-3 of one 32-bit word, as Linux computes it on 64-bit machines: SipHash (Aumasson and Bernstein 2012) with
 * one round per block, three to finish and the low half of the result. The 128-bit key is given as one
 * word that stands, zero-extended, in both its halves: what IPVS does with the fixed keys of its Maglev tables, for
 * whose sake this is here: equal hashes mean equal tables beside a director that runs the kernel.
 *
 * @hot: 64-bit words are pairs of int32, nothing is allocated. Called by lb/sched/maglev.ts and mh.ts. Imports nothing.
 */

/** `word` and `key` are taken modulo 2^32; returns int32. */
export function hsiphash(word: number, key: number): number {
  // v0..v3, high and low halves; the constants spell "somepseudorandomlygeneratedbytes".
  let h0 = 0x736f6d65;
  let l0 = 0x70736575 ^ key;
  let h1 = 0x646f7261;
  let l1 = 0x6e646f6d ^ key;
  let h2 = 0x6c796765;
  let l2 = 0x6e657261 ^ key;
  let h3 = 0x74656462;
  let l3 = 0x79746573 ^ key;
  // The only block: four bytes, and the length in its top byte.
  const hb = 4 << 24;
  h3 ^= hb;
  l3 ^= word;
  for (let round = 0; round < 4; round++) {
    if (round === 1) {
      h0 ^= hb;
      l0 ^= word;
      l2 ^= 0xff;
    }
    let t = (l0 >>> 0) + (l1 >>> 0);
    h0 = (h0 + h1 + (t > 0xffffffff ? 1 : 0)) | 0;
    l0 = t | 0;
    t = (h1 << 13) | (l1 >>> 19);
    l1 = ((l1 << 13) | (h1 >>> 19)) ^ l0;
    h1 = t ^ h0;
    t = h0;
    h0 = l0;
    l0 = t;
    t = (l2 >>> 0) + (l3 >>> 0);
    h2 = (h2 + h3 + (t > 0xffffffff ? 1 : 0)) | 0;
    l2 = t | 0;
    t = (h3 << 16) | (l3 >>> 16);
    l3 = ((l3 << 16) | (h3 >>> 16)) ^ l2;
    h3 = t ^ h2;
    t = (l0 >>> 0) + (l3 >>> 0);
    h0 = (h0 + h3 + (t > 0xffffffff ? 1 : 0)) | 0;
    l0 = t | 0;
    t = (h3 << 21) | (l3 >>> 11);
    l3 = ((l3 << 21) | (h3 >>> 11)) ^ l0;
    h3 = t ^ h0;
    t = (l2 >>> 0) + (l1 >>> 0);
    h2 = (h2 + h1 + (t > 0xffffffff ? 1 : 0)) | 0;
    l2 = t | 0;
    t = (h1 << 17) | (l1 >>> 15);
    l1 = ((l1 << 17) | (h1 >>> 15)) ^ l2;
    h1 = t ^ h2;
    t = h2;
    h2 = l2;
    l2 = t;
  }
  return l0 ^ l1 ^ l2 ^ l3;
}
