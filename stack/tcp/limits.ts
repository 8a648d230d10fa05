/**
 * How much a connection may hold, so that no number of slow or hostile peers takes the memory of all.
 *
 * A connection starts with `bufStart` each way and earns more by moving data: its receive limit doubles whenever the
 * reader has read that much, its send limit follows the congestion window. And none may hold more than a fixed part of
 * what is free now (dynamic thresholds, Choudhury and Hahne 1998): the more is held, the less anybody is given, and
 * something always stays free for the next.
 * @hot
 */
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** 1/32 of what is free. */
const SHARE_SHIFT = 5;
/** Payload bytes that a small and a big slot may be counted on to hold. */
const SMALL_BYTES = 1024;
const BIG_BYTES = 16384;
/** What even the poorest connection may hold, in segments: enough to go on. */
const LEAST_SEGMENTS = 4;

/** Bytes one connection may hold of what is free now. Taken once per burst. */
export function fairShare(tcp: Tcp): number {
  const { pool } = tcp.ctx;
  const { bigSlots } = pool.config;
  const small = (pool.freeSmallCount * SMALL_BYTES) >> SHARE_SHIFT;
  const big = (pool.freeBigCount * BIG_BYTES) >> SHARE_SHIFT;
  // Either kind may be what runs short; what the links bring next is not known.
  if (pool.freeBigCount < bigSlots >> 3) return small < big ? small : big;
  return small + big;
}

/** Bytes that may be unread. */
export function receiveLimit(tcp: Tcp, tcb: Tcb): number {
  const least = LEAST_SEGMENTS * tcb.mss;
  const share = tcp.share > least ? tcp.share : least;
  return tcb.rcvLimit < share ? tcb.rcvLimit : share;
}

/** The reader took `n` bytes: who reads may be sent more. */
export function earn(tcb: Tcb, n: number): void {
  if (tcb.rcvLimit >= tcb.rcvBuf) return;
  tcb.rcvRead += n;
  if (tcb.rcvRead < tcb.rcvLimit) return;
  tcb.rcvRead = 0;
  tcb.rcvLimit = Math.min(tcb.rcvLimit * 2, tcb.rcvBuf);
}

/** Bytes that may be unacknowledged or unsent. */
export function sendLimit(tcp: Tcp, tcb: Tcb): number {
  let limit = tcb.cwnd * 2;
  if (limit < tcp.config.bufStart) limit = tcp.config.bufStart;
  if (limit > tcb.sndBuf) limit = tcb.sndBuf;
  const least = LEAST_SEGMENTS * tcb.mss;
  const share = tcp.share > least ? tcp.share : least;
  return limit < share ? limit : share;
}

/** Is there room for more to send: any at all, or (`quarters` of four) so much that it is worth telling? */
export function hasRoom(tcp: Tcp, tcb: Tcb, quarters: number): boolean {
  const limit = sendLimit(tcp, tcb);
  const upTo = limit - (limit >> 2) * quarters;
  // 512 bytes per descriptor: small pieces pin a slot each, so they count for more than they carry.
  return tcb.sndQueued < upTo && tcb.sndSegs < Math.max(upTo >> 9, LEAST_SEGMENTS);
}
