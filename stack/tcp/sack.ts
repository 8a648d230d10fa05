/**
 * The SACK option we send (RFC 2018 §4, RFC 2883): a duplicate to report, the block with the newest segment, those that
 * were first in the options before, then others of the out-of-order queue. So each block is told of three times in a row.
 * @hot
 */
import { MAX_SACK_BLOCKS } from '../wire/tcp-options.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Edges found by `sackEdges`: left, right, left, right, ... */
export const writeEdges = new Int32Array((MAX_SACK_BLOCKS + 1) * 2);

/** Blocks that came of late, newest first; and others, lowest first. */
const RECENT = 3;
const recent = new Int32Array(RECENT * 2);
const others = new Int32Array(MAX_SACK_BLOCKS * 2);

/**
 * Fills `writeEdges`: the duplicate to report, if there is one (RFC 2883 §4), then blocks of the out-of-order queue.
 * Returns the number of blocks, at most 3 beside a timestamp.
 */
export function sackEdges(tcp: Tcp, tcb: Tcb): number {
  const { pool } = tcp.ctx;
  const { seq, len, next } = pool;
  const most = tcb.tsOk !== 0 ? MAX_SACK_BLOCKS - 1 : MAX_SACK_BLOCKS;
  let have = 0; // bit i: `recent` has a block in place i
  let rest = 0;
  for (let f = tcb.ofoHead; f !== 0; ) {
    const left = seq[f];
    let right = (left + len[f]) | 0;
    f = next[f];
    while (f !== 0 && seq[f] === right) {
      right = (right + len[f]) | 0;
      f = next[f];
    }
    const i = placeOf(tcb, left, right);
    if (i < RECENT) {
      recent[i * 2] = left;
      recent[i * 2 + 1] = right;
      have |= 1 << i;
    } else if (rest < MAX_SACK_BLOCKS) {
      others[rest * 2] = left;
      others[rest * 2 + 1] = right;
      rest++;
    }
  }
  let n = 0;
  if (tcb.dsackOwed !== 0) {
    writeEdges[0] = tcb.dsackLeft;
    writeEdges[1] = tcb.dsackRight;
    n = 1;
  }
  for (let i = 0; i < RECENT && n < most; i++) if ((have & (1 << i)) !== 0) put(n++, recent, i);
  for (let i = 0; i < rest && n < most; i++) put(n++, others, i);
  return n;
}

/** Which of the latest arrivals lies in this block; RECENT = none. */
function placeOf(tcb: Tcb, left: number, right: number): number {
  if (within(tcb.ofoRecent, left, right)) return 0;
  if (within(tcb.ofoRecent2, left, right)) return 1;
  return within(tcb.ofoRecent3, left, right) ? 2 : RECENT;
}

const within = (n: number, left: number, right: number): boolean => ((n - left) | 0) >= 0 && ((n - right) | 0) < 0;

function put(n: number, from: Int32Array, i: number): void {
  writeEdges[n * 2] = from[i * 2];
  writeEdges[n * 2 + 1] = from[i * 2 + 1];
}
