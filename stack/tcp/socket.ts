/**
 * What a connection's owner may do with it. No call sends anything itself: it marks the connection, and the end of the
 * burst does the rest. Data moves without copying wherever it can: `move` hands received frames from one connection to
 * another, `peek`/`consume` show them where they lie.
 *
 * Ownership: queued frames belong to the connection until they are consumed or acknowledged.
 * @hot
 */
import type { FrameId } from '../types.ts';
import { DELIVERED } from '../verdict.ts';
import { sendAbort } from './bare.ts';
import { earn, hasRoom, sendLimit } from './limits.ts';
import { S_FIN } from './segments.ts';
import * as st from './state.ts';
import type { KeepAlive, Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { armKeepalive } from './timers.ts';

/** Relayed pieces up to this are copied behind unsent ones. */
const COPY_UP_TO = 512;

/** Bytes received and not yet read. */
export const readable = (tcb: Tcb): number => tcb.rcvQueued;

/** True when the peer has closed its half and everything it sent was read. */
export const isDrained = (tcb: Tcb): boolean => tcb.finReceived !== 0 && tcb.rcvQueued === 0;

/** Bytes the send queue can still take. */
export const writable = (tcp: Tcp, tcb: Tcb): number =>
  tcb.finQueued !== 0 || tcb.state === st.CLOSED || !hasRoom(tcp, tcb, 0)
    ? 0
    : Math.max(sendLimit(tcp, tcb) - tcb.sndQueued, 0);

/** True while data may be queued: not before connect, not after shutdown. */
export const canSend = (tcb: Tcb): boolean =>
  tcb.finQueued === 0 && (tcb.state === st.ESTABLISHED || tcb.state === st.CLOSE_WAIT);

/** The first unread frame: its `off`/`len` in the pool are the bytes. 0 = nothing to read. */
export const peek = (tcb: Tcb): FrameId => tcb.rcvHead;

/** Takes `n` bytes off the unread queue. */
export function consume(tcp: Tcp, tcb: Tcb, n: number): void {
  const { ctx } = tcp;
  const { pool } = ctx;
  tcb.rcvQueued -= n;
  earn(tcb, n);
  while (n > 0) {
    const f = tcb.rcvHead;
    const len = pool.len[f];
    if (n < len) {
      pool.off[f] += n;
      pool.len[f] -= n;
      pool.paySum[f] = -1;
      break;
    }
    n -= len;
    popFrame(tcp, tcb);
    ctx.settle(f, DELIVERED);
  }
  tcp.touch(tcb);
}

function popFrame(tcp: Tcp, tcb: Tcb): FrameId {
  const { next } = tcp.ctx.pool;
  const f = tcb.rcvHead;
  tcb.rcvHead = next[f];
  if (tcb.rcvHead === 0) tcb.rcvTail = 0;
  next[f] = 0;
  return f;
}

/** Copies unread bytes to `dst`, as many as it takes, and leaves them unread; returns how many. */
export function copyUnread(tcp: Tcp, tcb: Tcb, dst: Uint8Array): number {
  const { pool } = tcp.ctx;
  let done = 0;
  for (let f = tcb.rcvHead; f !== 0 && done < dst.length; f = pool.next[f]) {
    const n = Math.min(pool.len[f], dst.length - done);
    for (let i = 0; i < n; i++) dst[done + i] = pool.buf[pool.off[f] + i];
    done += n;
  }
  return done;
}

/** Copies up to `max` unread bytes to `dst` and consumes them; returns how many. */
export function read(tcp: Tcp, tcb: Tcb, dst: Uint8Array, at: number, max: number): number {
  const { pool } = tcp.ctx;
  let done = 0;
  while (done < max && tcb.rcvHead !== 0) {
    const f = tcb.rcvHead;
    const n = Math.min(pool.len[f], max - done);
    const from = pool.off[f];
    for (let i = 0; i < n; i++) dst[at + done + i] = pool.buf[from + i];
    done += n;
    consume(tcp, tcb, n);
  }
  return done;
}

/**
 * Queues `len` bytes at `off` of a payload frame without copying, taking over one reference to it. The bytes must not
 * change until they are acknowledged. False when no descriptor is free: the reference stays the caller's.
 */
export function send(tcp: Tcp, tcb: Tcb, f: FrameId, off: number, len: number): boolean {
  if (!enqueue(tcp, tcb, f, off, len)) return false;
  tcp.touch(tcb);
  return true;
}

/** Puts a descriptor at the end of the send queue. */
function enqueue(tcp: Tcp, tcb: Tcb, f: FrameId, off: number, len: number): boolean {
  const { segments } = tcp;
  if (len > 0 && segments.scarce) return false;
  const s = segments.alloc(tcb.sndEnd, f, off, len);
  if (s === 0) return false;
  if (tcb.sndTail === 0) tcb.sndHead = s;
  else segments.next[tcb.sndTail] = s;
  tcb.sndTail = s;
  tcb.sndSegs++;
  if (tcb.sndNext === 0) tcb.sndNext = s;
  tcb.sndEnd = (tcb.sndEnd + len) | 0;
  tcb.sndQueued += len;
  return true;
}

/**
 * Relays unread data of `from` into the send queue of `to`, frame by frame without copying, as far as `to` has room.
 * Returns the bytes moved; when some had to stay, `to` reports EV_WRITABLE once there is room.
 */
export function move(tcp: Tcp, from: Tcb, to: Tcb): number {
  const { pool } = tcp.ctx;
  let moved = 0;
  while (from.rcvHead !== 0 && canSend(to)) {
    if (!hasRoom(tcp, to, 0)) {
      to.wantWrite = 1;
      break;
    }
    const f = from.rcvHead;
    const len = pool.len[f];
    if (len <= COPY_UP_TO && extendTail(tcp, to, pool.buf, pool.off[f], len, true) === len) {
      // A small piece behind others that still wait: no slot and no descriptor for it.
      popFrame(tcp, from);
      tcp.ctx.settle(f, DELIVERED);
      from.rcvQueued -= len;
      moved += len;
      continue;
    }
    if (!enqueue(tcp, to, f, pool.off[f], len)) {
      to.wantWrite = 1;
      tcp.starve(to);
      break;
    }
    popFrame(tcp, from);
    from.rcvQueued -= len;
    moved += len;
  }
  if (moved > 0) {
    earn(from, moved);
    tcp.touch(from);
    tcp.touch(to);
  }
  return moved;
}

/**
 * Puts up to `max` bytes behind the last ones queued, if those are unsent and nobody shares their frame; all or nothing
 * when `whole`. Returns how many.
 */
function extendTail(tcp: Tcp, tcb: Tcb, src: Uint8Array, at: number, max: number, whole: boolean): number {
  const { segments } = tcp;
  const { pool } = tcp.ctx;
  const s = tcb.sndTail;
  if (tcb.sndNext === 0 || max <= 0) return 0;
  const f = segments.frame[s];
  const end = segments.off[s] + segments.len[s];
  if (pool.refs[f] !== 1 || end !== pool.off[f] + pool.len[f]) return 0;
  const n = Math.min(max, pool.tailroom(f));
  if (whole && n < max) return 0;
  for (let i = 0; i < n; i++) pool.buf[end + i] = src[at + i];
  pool.len[f] += n;
  pool.paySum[f] = -1;
  segments.len[s] += n;
  tcb.sndEnd = (tcb.sndEnd + n) | 0;
  tcb.sndQueued += n;
  return n;
}

/**
 * Copies bytes into the send queue; returns how many it took (0 when it is full or no frame is free; EV_WRITABLE will
 * follow).
 */
export function write(tcp: Tcp, tcb: Tcb, src: Uint8Array, at: number, len: number): number {
  const { ctx } = tcp;
  const { pool } = ctx;
  const room = Math.min(len, writable(tcp, tcb));
  const { slots, slotBytes, bigSlots } = pool.config;
  let done = extendTail(tcp, tcb, src, at, room, false);
  while (done < room) {
    const left = room - done;
    // Queued data is worth nothing without frames for its headers, and for what the peers send.
    if (pool.freeSmallCount <= slots >> 3 || tcp.segments.scarce) break;
    let f = left > slotBytes && pool.freeBigCount > bigSlots >> 2 ? ctx.createBig() : 0;
    if (f === 0) f = ctx.create();
    if (f === 0) break;
    const n = Math.min(left, pool.tailroom(f));
    const to = pool.off[f];
    for (let i = 0; i < n; i++) pool.buf[to + i] = src[at + done + i];
    pool.len[f] = n;
    if (!enqueue(tcp, tcb, f, to, n)) {
      ctx.settle(f, DELIVERED);
      break;
    }
    done += n;
  }
  if (done < len) tcb.wantWrite = 1;
  if (done < room) tcp.starve(tcb);
  if (done > 0) tcp.touch(tcb);
  return done;
}

/** Asks a silent peer whether it is there, as `keep` says; without an answer the connection ends. Null = never. */
export function keepAlive(tcp: Tcp, tcb: Tcb, keep: KeepAlive | null): void {
  tcb.keep = keep;
  armKeepalive(tcp, tcb);
}

/**
 * Has the connection parked whenever it is quiet (park.ts). From now on the owner keeps its id, and gets the block of
 * the moment from `Tcp.block`, anew in every event.
 */
export function allowParking(tcp: Tcp, tcb: Tcb): void {
  tcb.mayPark = 1;
  tcp.parking.watch();
}

/** No more data will be sent: the FIN follows what is queued (RFC 9293 §3.10.4). Reading goes on. */
export function shutdown(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  if (tcb.finQueued !== 0) return;
  switch (tcb.state) {
    case st.ESTABLISHED:
      tcb.state = st.FIN_WAIT_1;
      break;
    case st.CLOSE_WAIT:
      tcb.state = st.LAST_ACK;
      break;
    case st.SYN_SENT:
    case st.SYN_RECEIVED:
      abort(tcp, tcb);
      return;
    default:
      return;
  }
  // The last unsent descriptor carries the FIN; when all is sent it needs one of its own.
  if (tcb.sndNext !== 0) segments.flags[tcb.sndTail] |= S_FIN;
  else if (enqueue(tcp, tcb, 0, 0, 0)) segments.flags[tcb.sndTail] |= S_FIN;
  else {
    abort(tcp, tcb);
    return;
  }
  tcb.sndEnd = (tcb.sndEnd + 1) | 0;
  tcb.finQueued = 1;
  tcp.touch(tcb);
}

/** Done with both directions: sends the FIN, and answers further data with a reset. */
export function close(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === st.CLOSED) {
    tcp.discard(tcb);
    return;
  }
  // RFC 9293 §3.6.1: closing with data unread loses it; the peer must hear so.
  if (tcb.rcvQueued > 0) {
    abort(tcp, tcb);
    return;
  }
  tcb.readClosed = 1;
  shutdown(tcp, tcb);
  if (tcb.state === st.FIN_WAIT_2) tcp.lingerIfOrphan(tcb);
}

/** Gives up at once: queues are dropped, the peer gets a reset (RFC 9293 §3.10.5). */
export function abort(tcp: Tcp, tcb: Tcb): void {
  if (tcb.state === st.CLOSED) {
    tcp.discard(tcb);
    return;
  }
  if (tcb.state !== st.SYN_SENT) sendAbort(tcp, tcb);
  tcp.close(tcb, st.END_ABORTED, false);
}
