/** Changes to a packet, of the kinds that find mistakes: single bits, edges of ranges, lengths that lie, options, pieces. */
import type { Dice } from './dice.ts';
import { headerLength, repair, view } from './packet.ts';

const EDGES = [0, 1, 2, 3, 4, 5, 7, 8, 15, 16, 20, 39, 40, 60, 63, 64, 127, 128, 255];
const EDGES_16 = [0, 1, 7, 8, 20, 28, 40, 0x1fff, 0x2000, 0x2001, 0x4000, 0x7fff, 0x8000, 0xfff8, 0xfffe, 0xffff];
const EDGES_32 = [0, 1, -1, 0x7fffffff, -0x80000000, 0x10000, -0x10000];

type Change = (dice: Dice, p: Uint8Array, other: Uint8Array) => Uint8Array;

const setBytes: Change = (dice, p) => {
  for (let n = 1 + dice.below(4); n > 0; n--)
    p[dice.below(p.length)] = dice.chance(50) ? dice.pick(EDGES) : dice.word();
  return p;
};

/** Mostly in the headers, where bytes mean something. */
const flipBit: Change = (dice, p) => {
  const at = dice.below(Math.min(p.length, dice.chance(80) ? 60 : p.length));
  p[at]! ^= 1 << dice.below(8);
  return p;
};

const setHalf: Change = (dice, p) => {
  const at = dice.below(Math.max(Math.min(p.length, 64) - 1, 1)) & ~1;
  if (at + 2 <= p.length) view(p).setUint16(at, dice.pick(EDGES_16));
  return p;
};

const setWord: Change = (dice, p) => {
  const at = dice.below(Math.max(Math.min(p.length, 64) - 3, 1)) & ~3;
  if (at + 4 <= p.length) view(p).setInt32(at, dice.pick(EDGES_32));
  return p;
};

/** Numbers and windows a little off: what a live connection looks at closest. */
const nudge: Change = (dice, p) => {
  const at = 20 + 4 + dice.below(3) * 4;
  if (at + 4 > p.length) return p;
  const by = dice.chance(70) ? dice.below(9) - 4 : dice.below(20_000) - 10_000;
  view(p).setInt32(at, (view(p).getInt32(at) + by) | 0);
  return p;
};

const truncate: Change = (dice, p) => p.slice(0, dice.below(p.length + 1));

const extend: Change = (dice, p) => {
  const q = new Uint8Array(Math.min(p.length + 1 + dice.below(dice.chance(90) ? 64 : 1400), 1500));
  q.set(p.subarray(0, q.length));
  for (let i = p.length; i < q.length; i++) q[i] = dice.word();
  return q;
};

const splice: Change = (dice, p, other) => {
  const cut = dice.below(p.length + 1);
  const from = dice.below(other.length + 1);
  const q = new Uint8Array(Math.min(cut + other.length - from, 1500));
  q.set(p.subarray(0, Math.min(cut, q.length)));
  q.set(other.subarray(from, from + q.length - cut), Math.min(cut, q.length));
  return q;
};

/** Other TCP options: known and unknown kinds, lengths right and wrong. */
const tcpOptions: Change = (dice, p) => {
  const header = headerLength(p);
  if (p[9] !== 6 || header === 0 || p.length < header + 20) return p;
  const words = 1 + dice.below(10);
  const old = Math.max((p[header + 12]! >> 4) * 4, 20);
  const rest = p.subarray(Math.min(header + old, p.length));
  const q = new Uint8Array(Math.min(header + 20 + words * 4 + rest.length, 1500));
  q.set(p.subarray(0, header + 20));
  for (let i = header + 20, end = header + 20 + words * 4; i < end; ) {
    const kind = dice.pick([0, 1, 1, 2, 3, 4, 5, 5, 8, 8, 28, 34, 253, dice.below(256)]);
    const right = [1, 1, 4, 3, 2, 10 + 8 * dice.below(4), 2, 2, 10][kind] ?? 4;
    const length = dice.chance(80) ? right : dice.below(42);
    q[i] = kind;
    if (kind > 1 && i + 1 < end) q[i + 1] = length;
    for (let k = 2; k < length && i + k < end; k++) q[i + k] = dice.word();
    i += Math.max(length, 1);
  }
  q[header + 12] = ((20 + words * 4) << 2) & 0xf0;
  q.set(rest.subarray(0, Math.max(q.length - header - 20 - words * 4, 0)), header + 20 + words * 4);
  return q;
};

/** IP options in front of the rest. */
const ipOptions: Change = (dice, p) => {
  const header = headerLength(p);
  if (header === 0) return p;
  const words = 1 + dice.below(10);
  const rest = p.subarray(header);
  const q = new Uint8Array(Math.min(20 + words * 4 + rest.length, 1500));
  q.set(p.subarray(0, 20));
  for (let i = 20; i < 20 + words * 4; i++) {
    q[i] = dice.chance(60) ? dice.pick([0, 1, 7, 68, 131, 137, 148, 3, 4, 8, 11]) : dice.word();
  }
  q.set(rest.subarray(0, q.length - 20 - words * 4), 20 + words * 4);
  q[0] = 0x40 | (5 + words);
  return q;
};

const fragmentWord: Change = (dice, p) => {
  if (p.length < 20) return p;
  const offset = dice.chance(60) ? dice.below(8) : dice.below(0x2000);
  view(p).setUint16(6, (dice.chance(60) ? 0x2000 : 0) | offset);
  if (dice.chance(70)) view(p).setUint16(4, dice.below(4));
  return p;
};

const swapEnds: Change = (_dice, p) => {
  if (p.length < 24) return p;
  p.copyWithin(12, 16, 20);
  return p;
};

const CHANGES: readonly Change[] = [
  ...[setBytes, setBytes, flipBit, flipBit, flipBit, setHalf, setHalf, setWord, nudge, nudge, nudge, truncate, extend],
  ...[splice, tcpOptions, tcpOptions, ipOptions, fragmentWord, swapEnds],
];

/** `p`, changed in place or not, once to four times; sums are put right for most, or nothing would look at the rest. */
export function mutate(dice: Dice, p: Uint8Array, other: Uint8Array): Uint8Array {
  let q = p;
  for (let n = 1 + dice.below(4); n > 0 && q.length > 0; n--) q = dice.pick(CHANGES)(dice, q, other);
  if (dice.chance(80)) repair(q);
  return q;
}
