/**
 * Listening sockets, and the opening of connections from the passive side (RFC 9293 §3.10.7.2).
 *
 * The backlog bounds half-open connections per listener; beyond it a SYN is dropped (TCP_BACKLOG). An accepted
 * connection belongs to its owner at once, so there is no queue of established ones.
 */
import { TCP_BACKLOG, TCP_FLAGS, TCP_NO_SOCKET, TCP_TABLE_FULL } from '../drop.ts';
import type { Ipv4, Verdict } from '../types.ts';
import { DELIVERED, DROP } from '../verdict.ts';
import { ACK, FIN, RST, SYN } from '../wire/tcp.ts';
import type { ArrivedSegment } from './arrived.ts';
import { sendSynAck } from './output.ts';
import * as st from './state.ts';
import type { SocketOwner, Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { armRexmit } from './timers.ts';

export interface Listener {
  readonly id: number;
  readonly addr: Ipv4;
  readonly port: number;
  /** Half-open connections at most. */
  readonly backlog: number;
  readonly owner: SocketOwner;
  /** The owner's own number, copied to `tag` of each connection. */
  readonly tag: number;
  halfOpen: number;
}

export class Listeners {
  /** Index = id. */
  private readonly list: (Listener | null)[] = [null];

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

  halfOpenDone(id: number): void {
    const l = this.list[id];
    if (l !== null && l !== undefined) l.halfOpen--;
  }

  /** The window scale to offer, and the first window: half of the buffer can never exceed 65535 << 14. */
  prepareReceive(tcb: Tcb): void {
    let shift = 0;
    while (tcb.rcvBuf >> shift > 65535) shift++;
    tcb.rcvWscale = shift;
  }
}

/** A segment for a listener: only a SYN may pass (RFC 9293 §3.10.7.2). */
export function listenInput(tcp: Tcp, listener: Listener, seg: ArrivedSegment): Verdict {
  if ((seg.flags & RST) !== 0) return DROP | TCP_NO_SOCKET;
  if ((seg.flags & ACK) !== 0) {
    tcp.reset(seg);
    return DROP | TCP_NO_SOCKET;
  }
  if ((seg.flags & (SYN | FIN)) !== SYN) return DROP | TCP_FLAGS;
  if (listener.halfOpen >= listener.backlog) {
    tcp.stats.listenDrops++;
    return DROP | TCP_BACKLOG;
  }
  const mtu = tcp.ip.mtuTowards(seg.src);
  const tcb = mtu === 0 ? null : tcp.allocate(seg.dst, seg.dport, seg.src, seg.sport);
  if (tcb === null) {
    tcp.stats.listenDrops++;
    return DROP | TCP_TABLE_FULL;
  }
  listener.halfOpen++;
  tcp.stats.passiveOpens++;
  tcb.owner = listener.owner;
  tcb.tag = listener.tag;
  tcb.listener = listener.id;
  tcb.state = st.SYN_RECEIVED;
  tcp.chooseNumbers(tcb);
  tcb.mss = mtu - 40;
  tcp.listeners.prepareReceive(tcb);
  acceptSyn(tcp, tcb, seg);
  sendSynAck(tcp, tcb);
  armRexmit(tcp, tcb, tcb.rtoMs);
  return DELIVERED;
}

/** Takes the peer's SYN: its number, window and options. `tcb.mss` holds our own MTU's limit on entry. */
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
