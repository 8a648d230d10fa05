/**
 * The SACK option we send (RFC 2018 §4, RFC 2883): a duplicate to report, the block with the newest segment, then others of
 * the out-of-order queue.
 * @hot
 */
import { MAX_SACK_BLOCKS } from '../wire/tcp-options.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Edges found by `sackEdges`: left, right, left, right, ... */
export const writeEdges = new Int32Array((MAX_SACK_BLOCKS + 1) * 2);

/**
 * Fills `writeEdges`: the duplicate to report, if there is one (RFC 2883 §4), then blocks of the out-of-order queue.
 * Returns the number of blocks, at most 3 beside a timestamp.
 */
export function sackEdges(tcp: Tcp, tcb: Tcb): number {
  const { pool } = tcp.ctx;
  const { seq, len, next } = pool;
  const most = tcb.tsOk !== 0 ? MAX_SACK_BLOCKS - 1 : MAX_SACK_BLOCKS;
  let newest = 0;
  if (tcb.dsackOwed !== 0) {
    writeEdges[0] = tcb.dsackLeft;
    writeEdges[1] = tcb.dsackRight;
    newest = 1;
  }
  // Place `newest` is kept for the block that holds the newest arrival.
  let n = newest + 1;
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
      writeEdges[newest * 2] = left;
      writeEdges[newest * 2 + 1] = right;
      found = true;
    } else if (n <= most) {
      writeEdges[n * 2] = left;
      writeEdges[n * 2 + 1] = right;
      n++;
    }
    if (found && n > most) break;
  }
  if (found) return n < most ? n : most;
  // The newest block was filled since: close the gap.
  for (let i = (newest + 1) * 2; i < n * 2; i++) writeEdges[i - 2] = writeEdges[i];
  return n - 1;
}
