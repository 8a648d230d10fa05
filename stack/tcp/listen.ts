/**
 * Listening sockets, and the opening of connections from the passive side (RFC 9293 §3.10.7.2, RFC 4987).
 *
 * The backlog bounds half-open connections per listener, `maxHalfOpen` those of all. Beyond either, or always where that is
 * asked for, a SYN is answered with a cookie (cookie.ts) and nothing is kept of it; without cookies it is dropped (TCP_BACKLOG). An accepted connection
 * belongs to its owner at once, so there is no queue of established ones.
 */
import { TCP_BACKLOG, TCP_FLAGS, TCP_NO_ROUTE_BACK, TCP_NO_SOCKET, TCP_TABLE_FULL } from '../drop.ts';
import type { Ipv4, Ticks, Verdict } from '../types.ts';
import { DELIVERED, DROP } from '../verdict.ts';
import { ACK, FIN, RST, SYN } from '../wire/tcp.ts';
import { MAX_WSCALE } from '../wire/tcp-options.ts';
import type { ArrivedSegment } from './arrived.ts';
import { sendSynAck } from './bare.ts';
import { COOKIE_LIFE_MS, cookieInput, sendCookie } from './cookie.ts';
import { negotiateEcn } from './ecn.ts';
import { mssToSend } from './pmtu.ts';
import * as st from './state.ts';
import type { SocketOwner, Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { beginTimeout } from './timers.ts';

export interface Listener {
  readonly id: number;
  readonly addr: Ipv4;
  readonly port: number;
  /** Half-open connections at most. */
  backlog: number;
  readonly owner: SocketOwner;
  /** The owner's own number, copied to `tag` of each connection. */
  readonly tag: number;
  halfOpen: number;
}

/** SYN and SYN-ACK retransmissions before giving up: 63 s with doubling from 1 s; and while SYNs flood in: 7 s. */
const MAX_SYN_RETRIES = 5;
const PRESSED_SYN_RETRIES = 2;
/** How long after the last cookie SYNs still count as a flood. */
const PRESSED_MS = 10_000;

export class Listeners {
  /** Half-open connections of all listeners, now and at most. */
  halfOpen = 0;
  maxHalfOpen: number;

  /** Index = id. */
  private readonly list: (Listener | null)[] = [null];
  /** When the last cookie was sent, if any was. */
  private cookieMs: Ticks = 0;
  private anyCookie = false;

  constructor(maxHalfOpen: number) {
    this.maxHalfOpen = maxHalfOpen;
  }

  /** Throws when the address and port are taken. */
  add(addr: Ipv4, port: number, backlog: number, owner: SocketOwner, tag: number): Listener {
    if (this.find(addr, port) !== null) throw new Error(`port ${port} has a listener already`);
    const listener: Listener = { id: this.list.length, addr, port, backlog, owner, tag, halfOpen: 0 };
    this.list.push(listener);
    return listener;
  }

  /** New connections are refused from now on; those half open may complete. */
  remove(listener: Listener): void {
    this.list[listener.id] = null;
  }

  find(addr: Ipv4, port: number): Listener | null {
    for (let i = 1; i < this.list.length; i++) {
      const l = this.list[i];
      if (l !== null && l.port === port && l.addr === addr) return l;
    }
    return null;
  }

  isFull(listener: Listener): boolean {
    return listener.halfOpen >= listener.backlog || this.halfOpen >= this.maxHalfOpen;
  }

  /** A half-open connection is established or gone; `id` 0 = it came from no listener. */
  halfOpenDone(id: number): void {
    if (id === 0) return;
    this.halfOpen--;
    const l = this.list[id];
    if (l !== null && l !== undefined) l.halfOpen--;
  }

  cookieSent(nowMs: Ticks): void {
    this.cookieMs = nowMs;
    this.anyCookie = true;
  }

  /** May a cookie come back? In quiet times none is looked for, so none can be guessed. */
  cookiesAbout(nowMs: Ticks): boolean {
    if (this.anyCookie && ((nowMs - this.cookieMs) | 0) >= COOKIE_LIFE_MS) this.anyCookie = false;
    return this.anyCookie;
  }

  /** How often an opening connection's SYN or SYN-ACK is sent again: in a flood room is worth more than patience. */
  synRetries(tcb: Tcb, nowMs: Ticks): number {
    const pressed = tcb.listener !== 0 && this.cookiesAbout(nowMs) && ((nowMs - this.cookieMs) | 0) < PRESSED_MS;
    return pressed ? PRESSED_SYN_RETRIES : MAX_SYN_RETRIES;
  }

  /** The window scale to offer, and the first window: half of the buffer can never exceed 65535 << 14. */
  prepareReceive(tcb: Tcb): void {
    let shift = 0;
    while (tcb.rcvBuf >> shift > 65535 && shift < MAX_WSCALE) shift++;
    tcb.rcvWscale = shift;
  }
}

/**
 * A segment for a listener: only a SYN may pass, or an ACK that brings a cookie back (RFC 9293 §3.10.7.2). PASS: the
 * connection is in the flow table now, and the segment is for it.
 */
export function listenInput(tcp: Tcp, listener: Listener, seg: ArrivedSegment): Verdict {
  if ((seg.flags & RST) !== 0) return DROP | TCP_NO_SOCKET;
  if ((seg.flags & ACK) !== 0) {
    const verdict = (seg.flags & SYN) === 0 ? cookieInput(tcp, listener, seg) : DROP | TCP_NO_SOCKET;
    if (verdict === (DROP | TCP_NO_SOCKET)) tcp.reset(seg);
    return verdict;
  }
  if ((seg.flags & (SYN | FIN)) !== SYN) return DROP | TCP_FLAGS;
  if (tcp.ip.mtuTowards(seg.src) === 0) return DROP | TCP_NO_ROUTE_BACK;
  const { synCookies } = tcp.config;
  if (synCookies === 'always' || tcp.listeners.isFull(listener)) {
    if (synCookies !== 'off') {
      sendCookie(tcp, seg);
      return DELIVERED;
    }
    tcp.stats.listenDrops++;
    return DROP | TCP_BACKLOG;
  }
  const tcb = beginHalfOpen(tcp, listener, seg);
  if (tcb === null) return DROP | TCP_TABLE_FULL;
  tcp.chooseNumbers(tcb);
  acceptSyn(tcp, tcb, seg);
  sendSynAck(tcp, tcb);
  beginTimeout(tcp, tcb);
  return DELIVERED;
}

/** A control block for the sender of `seg`, whom a route leads to, in SYN_RECEIVED but without any numbers yet; null: there is no room. */
export function beginHalfOpen(tcp: Tcp, listener: Listener, seg: ArrivedSegment): Tcb | null {
  const tcb = tcp.allocate(seg.dst, seg.dport, seg.src, seg.sport);
  if (tcb === null) {
    tcp.stats.listenDrops++;
    return null;
  }
  listener.halfOpen++;
  tcp.listeners.halfOpen++;
  tcp.stats.passiveOpens++;
  tcb.owner = listener.owner;
  tcb.tag = listener.tag;
  tcb.listener = listener.id;
  tcb.state = st.SYN_RECEIVED;
  tcb.mss = mssToSend(tcp, seg.src);
  tcp.listeners.prepareReceive(tcb);
  return tcb;
}

/** Takes the peer's SYN: its number, window and options. `tcb.mss` holds the path's limit on entry. */
export function acceptSyn(tcp: Tcp, tcb: Tcb, seg: ArrivedSegment): void {
  const o = seg.options;
  tcb.irs = seg.seq;
  tcb.rcvNxt = (seg.seq + 1) | 0;
  tcb.ackSent = tcb.rcvNxt;
  tcb.peerMss = o.mss !== 0 ? Math.max(o.mss, 64) : 536;
  tcb.tsOk = o.hasTimestamp ? 1 : 0;
  tcb.tsRecent = o.tsVal;
  tcb.tsRecentMs = tcp.ctx.nowMs;
  tcb.sackOk = o.sackPermitted ? 1 : 0;
  negotiateEcn(tcp, tcb, seg.flags);
  if (o.wscale >= 0) tcb.sndWscale = o.wscale;
  else {
    tcb.rcvWscale = 0; // both sides or none (RFC 7323 §2.2)
    tcb.rcvBuf = Math.min(tcb.rcvBuf, 65535); // no window will ever offer more
  }
  // The window in a SYN is never scaled.
  tcb.sndWnd = tcb.maxSndWnd = seg.window;
  tcb.sndWl1 = seg.seq;
  tcb.sndWl2 = seg.ack;
  tcb.rcvAdv = (tcb.rcvNxt + Math.min(tcb.rcvBuf, 65535)) | 0;
  tcb.mss = Math.min(tcb.mss, tcb.peerMss) - (tcb.tsOk !== 0 ? 12 : 0);
}
