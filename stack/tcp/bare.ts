/**
 * Segments without data that are sent on the spot, not at the end of a burst: openings, resets, and what TIME_WAIT says.
 * And the last two steps of every segment: marking its checksum as unfinished, and handing it to IP.
 * @hot
 */
import { F_CSUM_PARTIAL, L4_HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId, Ipv4 } from '../types.ts';
import { fold, pseudo4 } from '../wire/checksum.ts';
import { PROTO_TCP } from '../wire/ipv4.ts';
import { ACK, emit, FIN, RST, SYN, TCP_LEN } from '../wire/tcp.ts';
import { writeSyn, writeTimestamp } from '../wire/tcp-options.ts';
import type { ArrivedSegment } from './arrived.ts';
import { synAckEcn, synEcn } from './ecn.ts';
import { mssToOffer } from './pmtu.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** Sets the frame to a header of `len` bytes at `off`, whose checksum field holds the pseudo-header sum. */
export function partial(tcp: Tcp, f: FrameId, off: number, len: number): void {
  const { pool } = tcp.ctx;
  pool.off[f] = off;
  pool.len[f] = len;
  pool.flags[f] |= F_CSUM_PARTIAL;
  pool.csumStart[f] = off;
  pool.csumOff[f] = 16;
}

/** Gives a connection's segment to IP. */
export function send(tcp: Tcp, tcb: Tcb, f: FrameId, tos = 0): void {
  tcp.stats.outSegs++;
  tcp.ctx.settle(f, tcp.ip.output(f, tcb.laddr, tcb.raddr, PROTO_TCP, true, tos));
}

/** The number of a segment without data: SND.NXT, but never beyond the peer's window, where it would be ignored. */
export function bareSeq(tcb: Tcb): number {
  const edge = (tcb.sndUna + tcb.sndWnd) | 0;
  return ((tcb.sndNxt - edge) | 0) > 0 ? edge : tcb.sndNxt;
}

export function sendSyn(tcp: Tcp, tcb: Tcb): void {
  sendOpening(tcp, tcb, SYN | synEcn(tcp, tcb), 0, tcb.rcvWscale, true, true);
}

export function sendSynAck(tcp: Tcp, tcb: Tcb): void {
  const scale = tcb.sndWscale !== 0 || tcb.rcvWscale !== 0 ? tcb.rcvWscale : -1;
  sendOpening(tcp, tcb, SYN | ACK | synAckEcn(tcb), tcb.rcvNxt, scale, tcb.sackOk !== 0, tcb.tsOk !== 0);
}

function sendOpening(tcp: Tcp, tcb: Tcb, bits: number, ack: number, wscale: number, sack: boolean, ts: boolean): void {
  const { ctx } = tcp;
  const { pool } = ctx;
  const f = ctx.create();
  if (f === 0) return;
  const off = pool.base(f) + L4_HEADROOM;
  const mss = mssToOffer(tcp, tcb.raddr);
  const tsVal = (ctx.nowMs + tcb.tsOffset) | 0;
  const echo = (bits & ACK) !== 0 ? tcb.tsRecent : 0;
  const len = TCP_LEN + writeSyn(pool.buf, off + TCP_LEN, mss, wscale, sack, ts, tsVal, echo);
  const window = tcb.rcvBuf < 65535 ? tcb.rcvBuf : 65535;
  const check = fold(pseudo4(tcb.laddr, tcb.raddr, PROTO_TCP, len));
  emit(pool.buf, off, tcb.lport, tcb.rport, tcb.iss, ack, len, bits, window, check);
  partial(tcp, f, off, len);
  send(tcp, tcb, f);
}

/**
 * Resets a connection of ours: the peer takes it because its number is exactly the next (RFC 5961 §3). Carries the
 * timestamp where both sides have it (RFC 7323 §3.2).
 */
export function sendAbort(tcp: Tcp, tcb: Tcb): void {
  const { laddr, lport, raddr, rport, rcvNxt, tsOffset, tsRecent } = tcb;
  bare(tcp, laddr, lport, raddr, rport, bareSeq(tcb), rcvNxt, RST | ACK, 0, tcb.tsOk !== 0, tsOffset, tsRecent);
}

/** Answers a segment no connection wants (RFC 9293 §3.10.7.1); a reset is never answered. */
export function sendReset(tcp: Tcp, seg: ArrivedSegment): void {
  const { flags, dst, dport, src, sport } = seg;
  if ((flags & RST) !== 0) return;
  if ((flags & ACK) !== 0) bare(tcp, dst, dport, src, sport, seg.ack, 0, RST, 0, false, 0, 0);
  else {
    const length = seg.len + (flags & SYN ? 1 : 0) + (flags & FIN ? 1 : 0);
    bare(tcp, dst, dport, src, sport, 0, (seg.seq + length) | 0, RST | ACK, 0, false, 0, 0);
  }
}

/** The acknowledgment TIME_WAIT answers with (RFC 9293 §3.10.7.4). */
export function sendTimeWaitAck(
  tcp: Tcp,
  laddr: Ipv4,
  lport: number,
  raddr: Ipv4,
  rport: number,
  seq: number,
  ack: number,
  window: number,
  ts: boolean,
  tsOffset: number,
  tsRecent: number,
): void {
  bare(tcp, laddr, lport, raddr, rport, seq, ack, ACK, window, ts, tsOffset, tsRecent);
}

/** A segment without data, and without options but the timestamp. */
function bare(
  tcp: Tcp,
  laddr: Ipv4,
  lport: number,
  raddr: Ipv4,
  rport: number,
  seq: number,
  ack: number,
  bits: number,
  window: number,
  ts: boolean,
  tsOffset: number,
  tsRecent: number,
): void {
  const { ctx } = tcp;
  const { pool } = ctx;
  const f = ctx.create();
  if (f === 0) return;
  if ((bits & RST) !== 0) tcp.stats.outRsts++;
  const off = pool.base(f) + L4_HEADROOM;
  let len = TCP_LEN;
  if (ts) len += writeTimestamp(pool.buf, off + len, (ctx.nowMs + tsOffset) | 0, tsRecent);
  const check = fold(pseudo4(laddr, raddr, PROTO_TCP, len));
  emit(pool.buf, off, lport, rport, seq, ack, len, bits, window, check);
  partial(tcp, f, off, len);
  tcp.stats.outSegs++;
  ctx.settle(f, tcp.ip.output(f, laddr, raddr, PROTO_TCP, true));
}
