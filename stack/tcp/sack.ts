/**
 * The SACK option we send (RFC 2018 §4): the block with the newest segment first, then others of the out-of-order queue.
 * @hot
 */
import { MAX_SACK_BLOCKS } from '../wire/tcp-options.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Edges found by `sackEdges`: left, right, left, right, ... */
export const writeEdges = new Int32Array((MAX_SACK_BLOCKS + 1) * 2);

/** Fills `writeEdges` from the out-of-order queue; returns the number of blocks, at most 3 beside a timestamp. */
export function sackEdges(tcp: Tcp, tcb: Tcb): number {
  const { pool } = tcp.ctx;
  const { seq, len, next } = pool;
  const most = tcb.tsOk !== 0 ? MAX_SACK_BLOCKS - 1 : MAX_SACK_BLOCKS;
  // Place 0 is kept for the block that holds the newest arrival.
  let n = 1;
  let found = false;
  for (let f = tcb.ofoHead; f !== 0; ) {
    const left = seq[f];
    let right = (left + len[f]) | 0;
    f = next[f];
    while (f !== 0 && seq[f] === right) {
      right = (right + len[f]) | 0;
      f = next[f];
    }
    const holdsNewest = ((tcb.ofoRecent - left) | 0) >= 0 && ((tcb.ofoRecent - right) | 0) < 0;
    if (holdsNewest) {
      writeEdges[0] = left;
      writeEdges[1] = right;
      found = true;
    } else if (n <= most) {
      writeEdges[n * 2] = left;
      writeEdges[n * 2 + 1] = right;
      n++;
    }
    if (found && n > most) break;
  }
  if (found) return n < most ? n : most;
  // The newest block was filled since: close the gap at the front.
  for (let i = 2; i < n * 2; i++) writeEdges[i - 2] = writeEdges[i];
  return n - 1;
}
