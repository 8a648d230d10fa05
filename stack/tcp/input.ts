/**
 * TCP input: "segment arrives", RFC 9293 §3.10.7, in the RFC's order. RFC 5961 hardens the checks of resets, SYNs and
 * acknowledgments; RFC 7323 adds timestamps.
 *
 * Nothing is sent from here but resets and SYN-ACKs: a segment changes its control block, and output follows at the end
 * of the burst.
 *
 * Ownership: returns the verdict for the frame; STOLEN when its payload went into a receive queue.
 * @hot
 */
import {
  IP_DESTINATION,
  TCP_AFTER_CLOSE,
  TCP_BAD_ACK,
  TCP_CHECKSUM,
  TCP_FLAGS,
  TCP_MALFORMED,
  TCP_NO_ACK,
  TCP_NO_SOCKET,
  TCP_OUT_OF_WINDOW,
  TCP_PAWS,
  TCP_RESET_BLIND,
  TCP_RESET_IN,
  TCP_SYN_BLIND,
  TCP_WINDOW_FULL,
} from '../drop.ts';
import type { IcmpErrorSink } from '../icmp/icmp4.ts';
import type { ProtocolHandler } from '../ipv4/input.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, F_L2_MULTICAST } from '../mem/frame-pool.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DELIVERED, DROP, PASS } from '../verdict.ts';
import { get32 } from '../wire/bytes.ts';
import { fold, pseudo4, sum } from '../wire/checksum.ts';
import {
  PARAMETER_PROBLEM,
  TIME_EXCEEDED,
  UNREACH_FRAG_NEEDED,
  UNREACH_PORT,
  UNREACH_PROTOCOL,
  UNREACHABLE,
} from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import * as wire from '../wire/tcp.ts';
import { ACK, FIN, RST, SYN } from '../wire/tcp.ts';
import type { ArrivedSegment } from './arrived.ts';
import { sendAbort } from './bare.ts';
import { heedsEcho, takeMark } from './ecn.ts';
import { acceptSyn, listenInput } from './listen.ts';
import { fragNeeded, holePassed } from './pmtu.ts';
import { receive, reportDuplicate } from './receive.ts';
import { acknowledge, deemLost, echoHeard } from './recovery.ts';
import { baseRto, RTO_AFTER_SYN_LOSS_MS, sampleRtt } from './rtt.ts';
import * as st from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { beginTimeout, cancelRexmit } from './timers.ts';
import { TW_BASE } from './timewait.ts';
import { challenge } from './transmit.ts';

/** A connection silent for 24 days may have a wrapped timestamp (RFC 7323 §5.5). */
const PAWS_IDLE_MS = 24 * 24 * 3600 * 1000;
/** Less than the delay before a stale neighbour is probed (RFC 4861 §10). */
const PROGRESS_MS = 2000;

export class TcpInput implements ProtocolHandler, IcmpErrorSink {
  private readonly tcp: Tcp;

  constructor(tcp: Tcp) {
    this.tcp = tcp;
  }

  input(f: FrameId): Verdict {
    const { tcp } = this;
    const { ctx, seg } = tcp;
    const { pool } = ctx;
    const { buf } = pool;
    tcp.stats.inSegs++;
    if ((pool.flags[f] & F_L2_MULTICAST) !== 0) return DROP | IP_DESTINATION; // RFC 9293 §3.9.2.3 (MUST-57)
    const off = pool.off[f];
    const bytes = pool.len[f];
    const bad = wire.check(buf, off, off + bytes);
    if (bad !== 0) return DROP | bad;
    const l3 = pool.l3[f];
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const header = wire.dataOffset(buf, off);
    if ((pool.flags[f] & (F_CSUM_PARTIAL | F_CSUM_VALID)) === 0) {
      // The payload's sum is kept: relayed unchanged, it need not be taken again.
      const payload = fold(sum(buf, pool.i32, off + header, bytes - header, 0));
      const s = sum(buf, pool.i32, off, header, pseudo4(src, dst, ip.PROTO_TCP, bytes)) + payload;
      if (fold(s) !== 0xffff) return DROP | TCP_CHECKSUM;
      pool.paySum[f] = payload;
    } else pool.paySum[f] = -1;

    seg.frame = f;
    seg.src = src;
    seg.dst = dst;
    seg.sport = wire.srcPort(buf, off);
    seg.dport = wire.dstPort(buf, off);
    seg.seq = wire.seq(buf, off);
    seg.ack = wire.ack(buf, off);
    seg.flags = wire.flags(buf, off);
    seg.window = wire.window(buf, off);
    seg.tos = ip.tos(buf, l3);
    seg.off = off + header;
    seg.len = bytes - header;
    if (!seg.options.parse(buf, off + wire.TCP_LEN, off + header)) return DROP | TCP_MALFORMED;

    const ports = wire.ports(buf, off);
    const hash = pool.hash[f] !== 0 ? pool.hash[f] : tcp.flows.hash(src, dst, ports);
    let value = tcp.flows.findHashed(hash, src, dst, ports);
    if (value >= TW_BASE) {
      const verdict = tcp.timeWait.input(value, seg);
      if (verdict !== PASS) return verdict;
      tcp.replacing(value);
      value = 0;
    }
    if (value !== 0) return arrives(tcp, tcp.block(value)!);
    const listener = tcp.listeners.find(dst, seg.dport);
    if (listener !== null) {
      const verdict = listenInput(tcp, listener, seg);
      tcp.replacing(0);
      return verdict === PASS ? arrives(tcp, tcp.blocks[tcp.flows.findHashed(hash, src, dst, ports)]!) : verdict;
    }
    tcp.replacing(0);
    tcp.reset(seg);
    return DROP | ((seg.flags & RST) !== 0 ? TCP_RESET_IN : TCP_NO_SOCKET);
  }

  /** RFC 5927: only errors that quote a number in flight count; in a synchronised state none of them ends a connection. */
  icmpError(type: number, code: number, rest: number, inner: number, l4: number): void {
    const { tcp } = this;
    const { buf } = tcp.ctx.pool;
    const ports = get32(buf, l4);
    const value = tcp.flows.find(ip.dst(buf, inner), ip.src(buf, inner), ((ports & 0xffff) << 16) | (ports >>> 16));
    if (value === 0 || value >= TW_BASE) return;
    const tcb = tcp.blocks[value] ?? null;
    if (tcb === null) return; // Parked: nothing is in flight.
    const seq = get32(buf, l4 + 4);
    if (((seq - tcb.sndUna) | 0) < 0 || ((seq - tcb.sndNxt) | 0) >= 0) return;
    if (type === UNREACHABLE && code === UNREACH_FRAG_NEEDED) {
      if (!fragNeeded(tcp, tcb, rest & 0xffff)) return;
      // What was too big is gone; that says nothing of congestion (RFC 1191 §6.5).
      if (tcb.state >= st.ESTABLISHED) deemLost(tcp, tcb);
      tcp.touch(tcb);
    } else if (type === UNREACHABLE && tcb.state === st.SYN_SENT) {
      // Even what may pass (RFC 1122 §4.2.3.9 would wait): another server is worth more than patience (RFC 5461 §4.1).
      tcp.stats.attemptFails++;
      const refused = code === UNREACH_PORT || code === UNREACH_PROTOCOL;
      tcp.close(tcb, refused ? st.END_REFUSED : st.END_UNREACHABLE, false);
    } else if (type === UNREACHABLE || type === TIME_EXCEEDED || type === PARAMETER_PROBLEM) {
      // Hard errors count as soft ones (RFC 5927 §5.2): remembered, should the connection time out.
      tcb.softError = st.END_UNREACHABLE;
    }
  }
}

/** A segment for an existing connection. */
function arrives(tcp: Tcp, tcb: Tcb): Verdict {
  const { seg, ctx } = tcp;
  if (tcb.state === st.SYN_SENT) return synSent(tcp, tcb);
  if (tcb.state === st.SYN_RECEIVED && isCrossedSynAck(tcb, seg)) {
    seg.seq = tcb.rcvNxt;
    seg.flags ^= SYN;
  }
  const { flags, options } = seg;
  const length = seg.len + ((flags & SYN) !== 0 ? 1 : 0) + ((flags & FIN) !== 0 ? 1 : 0);

  // RFC 7323 §5.3 R1: PAWS.
  if (tcb.tsOk !== 0 && options.hasTimestamp) {
    if (
      ((options.tsVal - tcb.tsRecent) | 0) < 0 &&
      (flags & RST) === 0 &&
      (ctx.nowMs - tcb.tsRecentMs) >>> 0 < PAWS_IDLE_MS
    ) {
      answer(tcp, tcb);
      return DROP | TCP_PAWS;
    }
  }
  // First: is any of it in the window?
  const fits = acceptable(tcb, seg.seq, length);
  if (!fits && !isProbe(tcb, seg)) {
    if ((flags & RST) === 0) {
      if (tcb.sackOk !== 0 && ((seg.seq - tcb.rcvNxt) | 0) < 0) reportDuplicate(tcb, seg.seq, seg.seq + seg.len);
      // A repeated SYN means that our SYN-ACK was lost.
      if (tcb.state === st.SYN_RECEIVED && (flags & SYN) !== 0 && seg.seq === tcb.irs) tcb.ackNow = 1;
      answer(tcp, tcb);
    }
    return DROP | TCP_OUT_OF_WINDOW;
  }

  // Second: RST (RFC 5961 §3.2).
  if ((flags & RST) !== 0) {
    if (seg.seq !== tcb.rcvNxt) {
      challenge(tcp, tcb);
      return DROP | TCP_RESET_BLIND;
    }
    if (tcb.state === st.SYN_RECEIVED) tcp.stats.attemptFails++;
    else tcp.stats.estabResets++;
    tcp.close(tcb, tcb.state === st.SYN_RECEIVED ? st.END_REFUSED : st.END_RESET, false);
    return DELIVERED;
  }
  // Fourth: SYN (RFC 5961 §4.2).
  if ((flags & SYN) !== 0) {
    challenge(tcp, tcb);
    return DROP | TCP_SYN_BLIND;
  }
  // Fifth: ACK.
  if ((flags & ACK) === 0) return DROP | TCP_NO_ACK;
  const ackVerdict = acknowledgment(tcp, tcb);
  if (ackVerdict !== PASS) return ackVerdict;
  // Who acknowledges what was never sent is alive, but not in this connection: keepalive must not take it for an answer.
  tcb.lastRecvMs = ctx.nowMs;
  tcb.keepProbes = 0;
  // RFC 7323 §4.3 (2): the echo is the timestamp of the segment that moved the window's left edge.
  if (tcb.tsOk !== 0 && options.hasTimestamp && ((seg.seq - tcb.ackSent) | 0) <= 0) {
    tcb.tsRecent = options.tsVal;
    tcb.tsRecentMs = ctx.nowMs;
  }
  // Seventh and eighth: text and FIN.
  if (length === 0) return DELIVERED;
  if (!fits) {
    tcb.ackNow = 1;
    tcp.touch(tcb);
    return DROP | TCP_WINDOW_FULL;
  }
  if (tcb.finReceived !== 0) {
    tcb.ackNow = 1;
    tcp.touch(tcb);
    return DROP | TCP_AFTER_CLOSE;
  }
  if (seg.len > 0 && tcb.readClosed !== 0) {
    // RFC 9293 §3.6.1: data nobody will read is answered with a reset, so that the sender learns of it.
    sendAbort(tcp, tcb);
    tcp.close(tcb, st.END_ABORTED, false);
    return DROP | TCP_AFTER_CLOSE;
  }
  if (tcb.ecnOk !== 0) takeMark(tcp, tcb, seg);
  tcp.touch(tcb);
  return receive(tcp, tcb);
}

/** RFC 9293 §3.10.7.4, first: the four cases of the acceptability test. */
function acceptable(tcb: Tcb, seq: number, length: number): boolean {
  const window = (tcb.rcvAdv - tcb.rcvNxt) | 0;
  const offset = (seq - tcb.rcvNxt) | 0;
  // The right edge itself belongs to it: a peer that has filled our window acknowledges from there.
  if (length === 0) return offset === 0 || (offset > 0 && offset <= window);
  if (window <= 0) return false;
  const last = (offset + length - 1) | 0;
  return (offset >= 0 && offset < window) || (last >= 0 && last < window);
}

/**
 * While our window is shut: a probe, or an acknowledgment from beyond one that we refused. Its ACK and RST count, its
 * text does not (RFC 9293 §3.10.7.4: "special allowance").
 */
function isProbe(tcb: Tcb, seg: ArrivedSegment): boolean {
  const offset = (seg.seq - tcb.rcvNxt) | 0;
  return tcb.rcvAdv === tcb.rcvNxt && (offset === 0 || offset === 1) && (seg.flags & SYN) === 0;
}

/** Both sides' SYNs crossed, and this repeats the peer's with the acknowledgment of ours (RFC 9293 §3.5, figure 8). */
function isCrossedSynAck(tcb: Tcb, seg: ArrivedSegment): boolean {
  return (
    (seg.flags & (SYN | ACK | RST)) === (SYN | ACK) && ((seg.seq + 1) | 0) === tcb.rcvNxt && seg.ack === tcb.sndNxt
  );
}

/** Acknowledges at once what could not be accepted, so that the peer sees where we are; rate limited when it is bare. */
function answer(tcp: Tcp, tcb: Tcb): void {
  if (tcp.seg.len > 0 || (tcp.seg.flags & FIN) !== 0 || tcb.ackNow !== 0) {
    tcb.ackNow = 1;
    tcp.touch(tcb);
  } else challenge(tcp, tcb);
}

/** Fifth: the ACK field. PASS = go on with the segment's text. */
function acknowledgment(tcp: Tcp, tcb: Tcb): Verdict {
  const { seg } = tcp;
  const { ack } = seg;
  if (tcb.state === st.SYN_RECEIVED) {
    if (((ack - tcb.sndUna) | 0) <= 0 || ((ack - tcb.sndNxt) | 0) > 0) {
      tcp.reset(seg);
      return DROP | TCP_BAD_ACK;
    }
    established(tcp, tcb);
    tcb.sndWnd = seg.window << tcb.sndWscale;
    tcb.sndUna = (tcb.iss + 1) | 0;
    tcp.listeners.halfOpenDone(tcb.listener);
  }
  // RFC 5961 §5.2: neither the future nor the distant past.
  if (((ack - tcb.sndNxt) | 0) > 0 || ((ack - tcb.sndUna + tcb.maxSndWnd) | 0) < 0) {
    challenge(tcp, tcb);
    return DROP | TCP_BAD_ACK;
  }
  const acked = (ack - tcb.sndUna) | 0;
  if (acked < 0) return PASS; // an old one: its text may still be new
  const window = seg.window << tcb.sndWscale;
  // RFC 5681 §2; but what answers a zero-window probe says nothing of loss.
  const duplicate =
    acked === 0 &&
    seg.len === 0 &&
    tcb.sndNxt !== tcb.sndUna &&
    window === tcb.sndWnd &&
    window !== 0 &&
    (seg.flags & FIN) === 0;
  if (acked > 0 || duplicate || seg.options.sackBlocks > 0) {
    acknowledge(tcp, tcb, ack, duplicate);
    if (acked > 0) {
      tcb.lastDataMs = tcp.ctx.nowMs;
      tcb.softError = 0;
      if (tcb.holeMtu !== 0) holePassed(tcp, tcb);
      forwardProgress(tcp, tcb);
    }
    tcp.touch(tcb);
  }
  if (tcb.ecnOk !== 0 && heedsEcho(tcb, seg)) echoHeard(tcp, tcb, acked);
  updateWindow(tcp, tcb, window);
  if (tcb.finQueued !== 0 && tcb.sndUna === tcb.sndEnd) return finAcknowledged(tcp, tcb);
  return PASS;
}

/** The peer hears us: its neighbour entry needs no probe (RFC 4861 §7.3.1). Said now and then, not per segment. */
function forwardProgress(tcp: Tcp, tcb: Tcb): void {
  const { nowMs } = tcp.ctx;
  if ((nowMs - tcb.progressMs) >>> 0 < PROGRESS_MS) return;
  tcb.progressMs = nowMs;
  tcp.ip.progress(tcb.raddr);
}

/** RFC 9293 §3.10.7.4: the window of the newest segment counts. */
function updateWindow(tcp: Tcp, tcb: Tcb, window: number): void {
  const { seg } = tcp;
  const newer = (seg.seq - tcb.sndWl1) | 0;
  if (newer < 0 || (newer === 0 && ((seg.ack - tcb.sndWl2) | 0) < 0)) return;
  const opened = window > tcb.sndWnd;
  const wasShut = tcb.sndWnd === 0;
  tcb.sndWnd = window;
  tcb.sndWl1 = seg.seq;
  tcb.sndWl2 = seg.ack;
  if (window > tcb.maxSndWnd) tcb.maxSndWnd = window;
  if (!opened || tcb.sndHead === 0) return;
  if (wasShut) {
    // Probes that were refused are to be sent again now, not after the backed-off time-out.
    tcb.backoff = 0;
    tcb.probes = 0;
    tcb.rtoMs = baseRto(tcb);
    if (tcb.sndNxt !== tcb.sndUna) deemLost(tcp, tcb);
    beginTimeout(tcp, tcb);
  }
  tcp.touch(tcb);
}

/** Our FIN has arrived. PASS while the connection lives on. */
function finAcknowledged(tcp: Tcp, tcb: Tcb): Verdict {
  switch (tcb.state) {
    case st.FIN_WAIT_1:
      tcb.state = st.FIN_WAIT_2;
      tcp.lingerIfOrphan(tcb);
      return PASS;
    case st.CLOSING:
      tcp.enterTimeWait(tcb);
      return DELIVERED;
    case st.LAST_ACK:
      tcp.close(tcb, st.END_NORMAL, false);
      return DELIVERED;
    default:
      return PASS;
  }
}

/** RFC 9293 §3.10.7.3. */
function synSent(tcp: Tcp, tcb: Tcb): Verdict {
  const { seg } = tcp;
  const { flags } = seg;
  const hasAck = (flags & ACK) !== 0;
  if (hasAck && (((seg.ack - tcb.iss) | 0) <= 0 || ((seg.ack - tcb.sndNxt) | 0) > 0)) {
    tcp.reset(seg);
    return DROP | TCP_BAD_ACK;
  }
  if ((flags & RST) !== 0) {
    if (!hasAck) return DROP | TCP_RESET_BLIND;
    tcp.stats.attemptFails++;
    tcp.close(tcb, st.END_REFUSED, false);
    return DELIVERED;
  }
  if ((flags & SYN) === 0) return DROP | TCP_FLAGS;
  acceptSyn(tcp, tcb, seg);
  tcb.ackNow = 1;
  if (!hasAck) {
    // Simultaneous open: both SYNs are under way.
    tcb.state = st.SYN_RECEIVED;
    tcp.touch(tcb);
    return DELIVERED;
  }
  established(tcp, tcb);
  tcb.sndUna = seg.ack;
  if (seg.len === 0 && (flags & FIN) === 0) return DELIVERED;
  seg.seq = tcb.rcvNxt; // the SYN took the first number
  return receive(tcp, tcb);
}

function established(tcp: Tcp, tcb: Tcb): void {
  tcb.state = st.ESTABLISHED;
  tcb.backoff = 0;
  cancelRexmit(tcp, tcb);
  tcp.config.congestion.init(tcb);
  if (tcb.synRetries === 0) sampleRtt(tcb, ((tcp.ctx.nowMs - tcb.lastSendMs) | 0) * 1000);
  else tcb.rtoMs = RTO_AFTER_SYN_LOSS_MS;
  // RFC 6928 §2: a SYN lost twice is a sign of congestion.
  if (tcb.synRetries > 1) tcb.cwnd = tcb.mss;
  tcp.notify(tcb, st.EV_ESTABLISHED);
}
