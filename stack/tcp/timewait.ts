/**
 * TIME_WAIT (RFC 9293 §3.6.1): what must be remembered of a closed connection for 2 MSL, as a row of a few words
 * instead of a control block. Rows queue in the order of their entry, so expiry needs one timer; when the table is full
 * the oldest row makes room, which is counted (`recycled`).
 *
 * In the flow table a row's value is TW_BASE + row, so that the lookup of a segment tells the two kinds apart.
 * A SYN with a newer timestamp or a higher number opens a new connection at once (RFC 6191, RFC 9293 §3.6.1 MAY-2).
 * Deviation: 2 MSL is 60 s by default, as kernels have it, not 4 minutes (§3.4.2).
 * @hot
 */
import type { Context } from '../context.ts';
import { TCP_OLD_DUPLICATE, TCP_OUT_OF_WINDOW, TCP_RESET_BLIND } from '../drop.ts';
import type { FlowTable4 } from '../mem/flow-table.ts';
import type { TimerRange } from '../timer/timers.ts';
import type { Ipv4, Ticks, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import { ACK, FIN, RST, SYN } from '../wire/tcp.ts';
import type { ArrivedSegment } from './arrived.ts';
import type { Tcb } from './tcb.ts';

export const TW_BASE = 0x40000000;

const WORDS = 13;
const LADDR = 0;
const RADDR = 1;
const PORTS = 2; // remote << 16 | local, as in the flow key
const SND_NXT = 3;
const RCV_NXT = 4;
const TS_OK = 5;
const TS_RECENT = 6;
const TS_OFFSET = 7;
const ENTERED = 8;
const LIVE = 9;
const RCV_WND = 10;
/** The place in the queue is that of a row that entered then. */
const QUEUED = 11;
const ANSWERED = 12;

/** Shortest time between two answers to strange segments (RFC 5961 §7). */
const ANSWER_MS = 500;

/** Answers on behalf of a connection in TIME_WAIT. */
export interface TimeWaitReply {
  timeWaitAck(
    laddr: Ipv4,
    lport: number,
    raddr: Ipv4,
    rport: number,
    seq: number,
    ack: number,
    wnd: number,
    ts: boolean,
    tsOffset: number,
    tsRecent: number,
  ): void;
}

export class TimeWait {
  /** Rows that made room for younger ones before their time. */
  recycled = 0;
  /** How long a row lives. */
  private durationMs: number;

  private readonly ctx: Context;
  private readonly flows: FlowTable4;
  private readonly reply: TimeWaitReply;
  private readonly rows: Int32Array;
  private readonly capacity: number;
  /** Ring of rows: [head, head + count) are in use (some dead before their time). */
  private head = 0;
  private count = 0;
  private live = 0;
  private timer: TimerRange | null = null;

  constructor(ctx: Context, flows: FlowTable4, reply: TimeWaitReply, capacity: number, durationMs: number) {
    this.ctx = ctx;
    this.flows = flows;
    this.reply = reply;
    this.capacity = capacity;
    this.durationMs = durationMs;
    this.rows = new Int32Array(capacity * WORDS);
  }

  /** One timer. */
  attachTimer(timer: TimerRange): void {
    this.timer = timer;
  }

  /** Rows live this long from now on, those that are there too. */
  setDuration(ms: number): void {
    this.durationMs = ms;
    this.onTimer();
  }

  get size(): number {
    return this.live;
  }

  /** Takes over from a control block; the flow table's row changes hands. */
  enter(tcb: Tcb, hash: number): void {
    if (this.count === this.capacity) {
      if (this.rows[this.head * WORDS + LIVE] !== 0) this.recycled++;
      this.dropOldest();
    }
    const slot = (this.head + this.count++) % this.capacity;
    const r = slot * WORDS;
    const { rows } = this;
    rows[r + LADDR] = tcb.laddr;
    rows[r + RADDR] = tcb.raddr;
    rows[r + PORTS] = (tcb.rport << 16) | tcb.lport;
    rows[r + SND_NXT] = tcb.sndNxt;
    rows[r + RCV_NXT] = tcb.rcvNxt;
    rows[r + TS_OK] = tcb.tsOk;
    rows[r + TS_RECENT] = tcb.tsRecent;
    rows[r + TS_OFFSET] = tcb.tsOffset;
    rows[r + ENTERED] = rows[r + QUEUED] = this.ctx.nowMs;
    rows[r + ANSWERED] = (this.ctx.nowMs - ANSWER_MS) | 0;
    rows[r + LIVE] = 1;
    rows[r + RCV_WND] = Math.max(tcb.rcvAdv - tcb.rcvNxt, 0) >> tcb.rcvWscale;
    this.live++;
    this.flows.removeHashed(hash, tcb.raddr, tcb.laddr, rows[r + PORTS]);
    this.flows.insertHashed(hash, tcb.raddr, tcb.laddr, rows[r + PORTS], TW_BASE + slot);
    if (this.count === 1) this.timer!.arm(1, (this.ctx.nowMs + this.durationMs) | 0);
  }

  /**
   * A segment for row `value`. PASS: it opens a new connection, the row is gone; otherwise the verdict for it.
   * (RFC 9293 §3.10.7.4 for TIME-WAIT, RFC 1337: resets do not end the wait.)
   */
  input(value: number, seg: ArrivedSegment): Verdict {
    const r = (value - TW_BASE) * WORDS;
    const { rows } = this;
    const rcvNxt = rows[r + RCV_NXT];
    if ((seg.flags & RST) !== 0) return DROP | TCP_RESET_BLIND;
    if ((seg.flags & (SYN | ACK | FIN)) === SYN) {
      // RFC 6191 §2: by timestamp, and by number where that does not decide.
      const later =
        rows[r + TS_OK] !== 0 && seg.options.hasTimestamp ? (seg.options.tsVal - rows[r + TS_RECENT]) | 0 : 0;
      if (later > 0 || (later === 0 && ((seg.seq - rcvNxt) | 0) > 0)) {
        this.remove(value);
        return PASS;
      }
    }
    // An acknowledgment in order asks for nothing; two ends in TIME_WAIT would answer each other for ever.
    const takesNumbers = seg.len > 0 || (seg.flags & (SYN | FIN)) !== 0;
    if (!takesNumbers && seg.seq === rcvNxt) return DROP | TCP_OLD_DUPLICATE;
    const restarts = (seg.flags & FIN) !== 0 && ((seg.seq + seg.len + 1) | 0) === rcvNxt;
    // What is no part of the old connection is answered now and then only: two ends that disagree would never stop.
    if (!restarts && ((this.ctx.nowMs - rows[r + ANSWERED]) | 0) < ANSWER_MS) return DROP | TCP_OUT_OF_WINDOW;
    rows[r + ANSWERED] = this.ctx.nowMs;
    this.reply.timeWaitAck(
      rows[r + LADDR],
      rows[r + PORTS] & 0xffff,
      rows[r + RADDR],
      rows[r + PORTS] >>> 16,
      rows[r + SND_NXT],
      rcvNxt,
      rows[r + RCV_WND],
      rows[r + TS_OK] !== 0,
      rows[r + TS_OFFSET],
      rows[r + TS_RECENT],
    );
    if (restarts) {
      // A retransmitted FIN restarts the wait; the row moves to the end of the queue once it is its turn to leave.
      rows[r + ENTERED] = this.ctx.nowMs;
      return DROP | TCP_OLD_DUPLICATE;
    }
    return DROP | TCP_OUT_OF_WINDOW;
  }

  /**
   * May a new connection of ours take over row `value`? After a second, with timestamps to tell old segments by.
   * (RFC 6191's reasoning, from the opening side.)
   */
  reusable(value: number): boolean {
    const r = (value - TW_BASE) * WORDS;
    return this.rows[r + TS_OK] !== 0 && ((this.ctx.nowMs - this.rows[r + ENTERED]) | 0) > 1000;
  }

  /** Highest number sent on the old connection, plus one: a new one must start beyond it. */
  sndNxt(value: number): number {
    return this.rows[(value - TW_BASE) * WORDS + SND_NXT];
  }

  remove(value: number): void {
    const r = (value - TW_BASE) * WORDS;
    const { rows } = this;
    if (rows[r + LIVE] === 0) return;
    rows[r + LIVE] = 0;
    this.live--;
    this.flows.remove(rows[r + RADDR], rows[r + LADDR], rows[r + PORTS]);
  }

  private dropOldest(): void {
    this.remove(TW_BASE + this.head);
    this.head = (this.head + 1) % this.capacity;
    this.count--;
  }

  /** The oldest rows may be due. A row whose wait was restarted goes to the end of the queue. */
  onTimer(): void {
    const { rows, ctx } = this;
    while (this.count > 0) {
      const r = this.head * WORDS;
      if (rows[r + LIVE] !== 0) {
        const left = (rows[r + ENTERED] + this.durationMs - ctx.nowMs) | 0;
        const queuedFor = (ctx.nowMs - rows[r + QUEUED]) | 0;
        if (queuedFor < this.durationMs) {
          this.timer!.arm(1, (rows[r + QUEUED] + this.durationMs) | 0);
          return;
        }
        if (left > 0) {
          this.requeueOldest(left);
          continue;
        }
      }
      this.dropOldest();
    }
  }

  /** The oldest row stays for `left` ms more: it becomes the youngest, so that those behind it leave in time. */
  private requeueOldest(left: Ticks): void {
    const { rows, capacity } = this;
    const from = this.head * WORDS;
    const slot = (this.head + this.count) % capacity;
    const to = slot * WORDS;
    for (let i = 0; i < WORDS; i++) rows[to + i] = rows[from + i];
    // Queued as if it had entered when its wait began.
    rows[to + QUEUED] = (this.ctx.nowMs + left - this.durationMs) | 0;
    if (slot !== this.head) rows[from + LIVE] = 0;
    this.head = (this.head + 1) % capacity;
    this.flows.remove(rows[to + RADDR], rows[to + LADDR], rows[to + PORTS]);
    this.flows.insert(rows[to + RADDR], rows[to + LADDR], rows[to + PORTS], TW_BASE + slot);
  }
}
