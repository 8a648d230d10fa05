/**
 * The receive side of a connection: in-order queue, out-of-order queue, and the peer's FIN.
 *
 * Queued frames hold payload only: `pool.off`/`pool.len` are the payload's, `pool.seq` its first number. Small payloads
 * are copied behind the previous frame's, so a peer sending single bytes cannot tie up a slot for each.
 *
 * Ownership: `receive` returns STOLEN when a queue keeps the frame, otherwise the verdict for it.
 * @hot
 */
import { POOL_EMPTY, TCP_AFTER_CLOSE, TCP_OFO_FULL, TCP_OLD_DUPLICATE, TCP_WINDOW_FULL } from '../drop.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DELIVERED, DROP, STOLEN } from '../verdict.ts';
import { FIN } from '../wire/tcp.ts';
import * as st from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Payloads below this are copied behind the last unread one where they fit. */
const COALESCE_BELOW = 1024;
/** Out-of-order frames one connection may hold, and how many of them may be smaller than an eighth of a slot. */
const MAX_OFO_FRAMES = 512;
const MAX_OFO_SMALL = 64;
const OFO_SMALL = 256;
/** Payload of a big slot that is copied to small ones: a slot of 68 KB is not to be held by less than an eighth. */
const REPACK_UP_TO = 8192;

/** Numbers from `left` to `right` arrived again: the next acknowledgment says so (RFC 2883 §4), as far as we had them. */
export function reportDuplicate(tcb: Tcb, left: number, right: number): void {
  // Beyond RCV.NXT only the out-of-order queue knows.
  if (((left - tcb.rcvNxt) | 0) < 0 && ((right - tcb.rcvNxt) | 0) > 0) right = tcb.rcvNxt;
  if (((right - left) | 0) <= 0 || ((right - tcb.irs) | 0) <= 0) return;
  tcb.ackNow = 1;
  tcb.dsackOwed = 1;
  tcb.dsackLeft = left | 0;
  tcb.dsackRight = right | 0;
}

/** Takes the text and FIN of the arrived segment, which is known to touch the window (RFC 9293 §3.10.7.4, seventh and eighth). */
export function receive(tcp: Tcp, tcb: Tcb): Verdict {
  const { seg, ctx } = tcp;
  const { pool } = ctx;
  const f = seg.frame;
  let { seq, off, len } = seg;
  let fin = (seg.flags & FIN) !== 0;
  const segmentBytes = pool.gsoSize[f] !== 0 ? pool.gsoSize[f] : len;
  if (segmentBytes > tcb.rcvMss) tcb.rcvMss = segmentBytes;
  // Frames are kept back for sending: nothing would ever be acknowledged or relayed again without one.
  if (len > 0 && pool.freeSmallCount < pool.config.slots >> 5) return DROP | POOL_EMPTY;
  const before = (tcb.rcvNxt - seq) | 0;
  if (before > 0) {
    if (len > 0 && tcb.sackOk !== 0) reportDuplicate(tcb, seq, seq + len);
    // What we have already: cut it off. A FIN before RCV.NXT was taken before.
    if (before > len || (before === len && !fin)) {
      tcb.ackNow = 1;
      return DROP | TCP_OLD_DUPLICATE;
    }
    seq = tcb.rcvNxt;
    off += before;
    len -= before;
    pool.paySum[f] = -1;
  }
  const beyond = (seq + len - tcb.rcvAdv) | 0;
  if (beyond > 0) {
    fin = false;
    len -= beyond;
    pool.paySum[f] = -1;
    if (len <= 0) {
      tcb.ackNow = 1;
      return DROP | TCP_WINDOW_FULL;
    }
  }
  if (tcb.finPending !== 0) {
    // Nothing follows a FIN (RFC 9293 §3.10.7.4, eighth); the first one said where the data ends.
    const excess = (seq + len - tcb.finSeq) | 0;
    if (excess > 0) {
      len -= excess;
      pool.paySum[f] = -1;
    }
    if (len < 0) {
      tcb.ackNow = 1;
      return DROP | TCP_AFTER_CLOSE;
    }
  } else if (fin) {
    tcb.finPending = 1;
    tcb.finSeq = (seq + len) | 0;
  }
  let verdict: Verdict = DELIVERED;
  if (len > 0) {
    pool.off[f] = off;
    pool.len[f] = len;
    pool.seq[f] = seq;
    pool.next[f] = 0;
    if (seq === tcb.rcvNxt) verdict = inOrder(tcp, tcb, f, len);
    else verdict = outOfOrder(tcp, tcb, f);
  } else if (seq !== tcb.rcvNxt) tcb.ackNow = 1; // a FIN beyond a hole
  if (tcb.finPending !== 0 && tcb.finSeq === tcb.rcvNxt) takeFin(tcp, tcb);
  return verdict;
}

function inOrder(tcp: Tcp, tcb: Tcb, f: FrameId, len: number): Verdict {
  tcb.rcvNxt = (tcb.rcvNxt + len) | 0;
  tcb.ackPending += len;
  tcb.lastDataMs = tcp.ctx.nowMs;
  const big = f >= tcp.ctx.pool.config.slots;
  const verdict = big && len <= REPACK_UP_TO ? repack(tcp, tcb, f, len) : append(tcp, tcb, f, len);
  if (tcb.ofoHead !== 0) fillGap(tcp, tcb);
  tcp.notify(tcb, st.EV_READABLE);
  return verdict;
}

/** Puts the payload of a big slot at the end of the unread queue in small ones, as far as there are any. */
function repack(tcp: Tcp, tcb: Tcb, f: FrameId, len: number): Verdict {
  const { ctx } = tcp;
  const { pool } = ctx;
  const from = pool.off[f];
  let done = 0;
  while (done < len) {
    const g = ctx.create();
    if (g === 0) {
      pool.off[f] = from + done;
      pool.len[f] = len - done;
      pool.paySum[f] = -1;
      return append(tcp, tcb, f, len - done);
    }
    const n = Math.min(len - done, pool.tailroom(g));
    pool.buf.copyWithin(pool.off[g], from + done, from + done + n);
    pool.len[g] = n;
    pool.seq[g] = (pool.seq[f] + done) | 0;
    done += n;
    ctx.settle(g, append(tcp, tcb, g, n));
  }
  return DELIVERED;
}

/** Puts payload at the end of the unread queue. */
function append(tcp: Tcp, tcb: Tcb, f: FrameId, len: number): Verdict {
  const { pool } = tcp.ctx;
  tcb.rcvQueued += len;
  const tail = tcb.rcvTail;
  if (tail === 0) {
    tcb.rcvHead = f;
    tcb.rcvTail = f;
    return STOLEN;
  }
  if (len < COALESCE_BELOW && pool.refs[tail] === 1 && pool.tailroom(tail) >= len) {
    const end = pool.off[tail] + pool.len[tail];
    pool.buf.copyWithin(end, pool.off[f], pool.off[f] + len);
    pool.len[tail] += len;
    pool.paySum[tail] = -1;
    return DELIVERED;
  }
  pool.next[tail] = f;
  tcb.rcvTail = f;
  return STOLEN;
}

/** Moves what has become contiguous from the out-of-order queue. */
function fillGap(tcp: Tcp, tcb: Tcb): void {
  const { ctx } = tcp;
  const { pool } = ctx;
  tcb.ackNow = 1; // RFC 5681 §4.2: a segment that fills a gap is acknowledged at once
  while (tcb.ofoHead !== 0) {
    const f = tcb.ofoHead;
    const ahead = (pool.seq[f] - tcb.rcvNxt) | 0;
    // Beyond the FIN there is nothing (takeFin frees what a peer sent there all the same).
    const left = tcb.finPending !== 0 ? (tcb.finSeq - tcb.rcvNxt) | 0 : 0x7fffffff;
    if (ahead > 0 || left <= 0) return;
    tcb.ofoHead = pool.next[f];
    if (tcb.ofoHead === 0) tcb.ofoTail = 0;
    tcb.ofoBytes -= pool.len[f];
    tcb.ofoCount--;
    if (pool.len[f] < OFO_SMALL) tcb.ofoSmall--;
    pool.next[f] = 0;
    const len = Math.min(pool.len[f] + ahead, left);
    if (len <= 0) {
      ctx.settle(f, DROP | TCP_OLD_DUPLICATE);
      continue;
    }
    if (len !== pool.len[f]) {
      pool.off[f] -= ahead;
      pool.len[f] = len;
      pool.paySum[f] = -1;
    }
    tcb.rcvNxt = (tcb.rcvNxt + len) | 0;
    ctx.settle(f, append(tcp, tcb, f, len));
  }
}

/** Something came elsewhere than what came before it: the block of that one is told of behind the newest (RFC 2018 §4). */
function remember(tcb: Tcb): void {
  tcb.ofoRecent3 = tcb.ofoRecent2;
  tcb.ofoRecent2 = tcb.ofoRecent;
}

/** Sorts a frame into the out-of-order queue, keeping what is there where they overlap. */
function outOfOrder(tcp: Tcp, tcb: Tcb, f: FrameId): Verdict {
  const { pool } = tcp.ctx;
  const { seq, len, next } = pool;
  tcb.ackNow = 1; // RFC 5681 §4.2: a duplicate acknowledgment at once
  tcb.dupAcksOwed++;
  // What fills the hole must still find a frame.
  const { slots, bigSlots } = pool.config;
  const scarce = f < slots ? pool.freeSmallCount < slots >> 4 : pool.freeBigCount < Math.max(bigSlots >> 3, 2);
  const small = len[f] < OFO_SMALL && tcb.ofoSmall >= MAX_OFO_SMALL;
  if (tcb.ofoCount >= MAX_OFO_FRAMES || small || scarce) return DROP | TCP_OFO_FULL;
  let prev = 0;
  let at = tcb.ofoHead;
  if (at !== 0 && ((seq[tcb.ofoTail] - seq[f]) | 0) <= 0) {
    // In order among themselves, as after one loss: no search.
    prev = tcb.ofoTail;
    at = 0;
  }
  while (at !== 0 && ((seq[at] - seq[f]) | 0) <= 0) {
    prev = at;
    at = next[at];
  }
  if (prev !== 0) {
    const overlap = (seq[prev] + len[prev] - seq[f]) | 0;
    if (overlap >= len[f]) {
      if (tcb.sackOk !== 0) reportDuplicate(tcb, seq[f], seq[f] + len[f]);
      // The block it lies in comes second.
      if (seq[prev] !== tcb.ofoRecent) remember(tcb);
      tcb.ofoRecent = seq[prev];
      return DROP | TCP_OLD_DUPLICATE;
    }
    if (overlap > 0) {
      seq[f] = (seq[f] + overlap) | 0;
      pool.off[f] += overlap;
      len[f] -= overlap;
      pool.paySum[f] = -1;
    }
  }
  // What follows and is covered whole goes; what is covered in part makes the new frame shorter.
  while (at !== 0) {
    const reach = (seq[f] + len[f] - seq[at]) | 0;
    if (reach <= 0) break;
    if (reach < len[at]) {
      len[f] -= reach;
      pool.paySum[f] = -1;
      break;
    }
    const after = next[at];
    tcb.ofoBytes -= len[at];
    tcb.ofoCount--;
    if (len[at] < OFO_SMALL) tcb.ofoSmall--;
    tcp.ctx.settle(at, DROP | TCP_OLD_DUPLICATE);
    at = after;
  }
  if (prev === 0) tcb.ofoHead = at;
  else next[prev] = at;
  if (at === 0) tcb.ofoTail = prev;
  if (len[f] === 0) return DROP | TCP_OLD_DUPLICATE; // covered by its neighbours together
  next[f] = at;
  if (prev === 0) tcb.ofoHead = f;
  else next[prev] = f;
  if (at === 0) tcb.ofoTail = f;
  if (tcb.ofoCount === 0) tcb.ofoRecent2 = tcb.ofoRecent3 = seq[f];
  else if (prev === 0 || seq[prev] !== tcb.ofoRecent || ((seq[prev] + len[prev]) | 0) !== seq[f]) remember(tcb);
  tcb.ofoRecent = seq[f];
  tcb.ofoBytes += len[f];
  tcb.ofoCount++;
  if (len[f] < OFO_SMALL) tcb.ofoSmall++;
  return STOLEN;
}

/** RCV.NXT has reached the peer's FIN (RFC 9293 §3.10.7.4, eighth). */
function takeFin(tcp: Tcp, tcb: Tcb): void {
  tcb.finPending = 0;
  tcb.finReceived = 1;
  tcb.rcvNxt = (tcb.rcvNxt + 1) | 0;
  tcb.ackNow = 1;
  tcp.freeOutOfOrder(tcb); // only what a peer sent beyond its own FIN
  switch (tcb.state) {
    case st.ESTABLISHED:
      tcb.state = st.CLOSE_WAIT;
      break;
    case st.FIN_WAIT_1:
      tcb.state = st.CLOSING;
      break;
    case st.FIN_WAIT_2:
      tcp.enterTimeWait(tcb);
      break;
  }
  tcp.notify(tcb, st.EV_READABLE | st.EV_FIN);
}
