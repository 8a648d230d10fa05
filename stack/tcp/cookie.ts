/**
 * SYN cookies (RFC 4987 §3.6): when there is no room for another half-open connection, the SYN-ACK itself carries what
 * must be remembered, and nothing is kept until its acknowledgment brings it back.
 *
 * Our initial number is the cookie, after Bernstein's layout:
 *
 *     cookie = F(tuple, peer's ISN) + (slot << 24) + ((F(tuple, peer's ISN, slot) + MSS index) mod 2^24)
 *
 * F is the keyed hash of isn.ts, a slot 64 s. One that comes back counts in its slot and the next; a guess succeeds once
 * in 2^28 segments. Window scale, SACK and ECN have no room there: they ride in the low bits of our timestamp, which the
 * peer echoes. To a peer without timestamps they are not offered.
 *
 *     bits 0..3  the peer's window scale, 15 = none
 *     bit  4     SACK permitted
 *     bit  5     ECN agreed (RFC 3168)
 *
 * What a cookie cannot do: SYN-ACKs are not repeated, and the MSS is rounded down to one of eight. What overtakes the first
 * segment behind the SYN brings no cookie and is reset like any stray segment, and with it the connection.
 * Called by listen.ts.
 */
import { TCP_NO_ROUTE_BACK, TCP_NO_SOCKET, TCP_TABLE_FULL } from '../drop.ts';
import type { Micros, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import { CWR, ECE } from '../wire/tcp.ts';
import type { ArrivedSegment } from './arrived.ts';
import { sendSynAck } from './bare.ts';
import { negotiateEcn } from './ecn.ts';
import type { Secrets } from './isn.ts';
import { acceptSyn, beginHalfOpen, type Listener } from './listen.ts';
import { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

const SLOT_MS = 64_000;
/** The present one and the one before. */
const SLOTS = 2;
/** How long after the last cookie was sent one may come back. */
export const COOKIE_LIFE_MS = SLOTS * SLOT_MS;
/** Usual sizes: least, RFC 9293 default, IPv6 minimum, tunnels, PPPoE over them, PPPoE, Ethernet, jumbo frames. */
const MSS_VALUES = Int32Array.of(64, 536, 1220, 1300, 1400, 1440, 1460, 8960);
const LOW_24 = 0xffffff;

const OPTION_BITS = 6;
const SCALE_MASK = 15;
const NO_SCALE = 15;
const SACK_BIT = 16;
const ECN_BIT = 32;

/** Largest value of the table that a peer with this MSS takes; 0 = it named none (RFC 9293 §3.7.1: 536). */
function mssIndex(mss: number): number {
  const limit = mss !== 0 ? mss : 536;
  let i = MSS_VALUES.length - 1;
  while (i > 0 && MSS_VALUES[i] > limit) i--;
  return i;
}

/** The initial number to answer the SYN `seg` with. */
export function makeCookie(secrets: Secrets, now: Micros, seg: ArrivedSegment): number {
  const slot = Math.floor(now / (SLOT_MS * 1000));
  const tuple = secrets.tuple(seg.dst, seg.dport, seg.src, seg.sport);
  const low = (secrets.cookie(tuple, seg.seq, slot) + mssIndex(seg.options.mss)) & LOW_24;
  return (secrets.cookie(tuple, seg.seq, -1) + (slot << 24) + low) | 0;
}

/** The MSS in the cookie that `seg`, the first segment behind the peer's SYN, acknowledges; 0 = it is none of ours. */
export function readCookie(secrets: Secrets, now: Micros, seg: ArrivedSegment): number {
  const slot = Math.floor(now / (SLOT_MS * 1000));
  const irs = (seg.seq - 1) | 0;
  const tuple = secrets.tuple(seg.dst, seg.dport, seg.src, seg.sport);
  const rest = (seg.ack - 1 - secrets.cookie(tuple, irs, -1)) | 0;
  const age = (slot - (rest >>> 24)) & 0xff;
  if (age >= SLOTS) return 0;
  const index = (rest - secrets.cookie(tuple, irs, slot - age)) & LOW_24;
  return index < MSS_VALUES.length ? MSS_VALUES[index] : 0;
}

/** `clock` with the options in its low bits: at most 64 ms behind, never ahead, so that timestamps go on rising. */
export function markTimestamp(clock: number, wscale: number, sack: boolean, ecn: boolean): number {
  const bits = (wscale < 0 ? NO_SCALE : wscale) | (sack ? SACK_BIT : 0) | (ecn ? ECN_BIT : 0);
  const marked = ((clock >> OPTION_BITS) << OPTION_BITS) | bits;
  return ((marked - clock) | 0) > 0 ? (marked - (1 << OPTION_BITS)) | 0 : marked;
}

/** Stands for the connection that is not there, while its SYN-ACK is written. */
const phantom = new Tcb(0);

/** Answers a SYN without keeping anything of it. */
export function sendCookie(tcp: Tcp, seg: ArrivedSegment): void {
  const { ctx, config } = tcp;
  const { options } = seg;
  phantom.laddr = seg.dst;
  phantom.lport = seg.dport;
  phantom.raddr = seg.src;
  phantom.rport = seg.sport;
  phantom.rcvBuf = config.rcvBuf;
  phantom.sndWscale = 0;
  phantom.iss = makeCookie(tcp.secrets, ctx.now, seg);
  tcp.listeners.prepareReceive(phantom);
  if (options.hasTimestamp) {
    const clock = (ctx.nowMs + tcp.secrets.timestampOffset(seg.dst, seg.src)) | 0;
    negotiateEcn(tcp, phantom, seg.flags);
    const marked = markTimestamp(clock, options.wscale, options.sackPermitted, phantom.ecnOk !== 0);
    phantom.tsOffset = (marked - ctx.nowMs) | 0;
  } else {
    seg.flags &= ~(ECE | CWR);
    options.wscale = -1;
    options.sackPermitted = false;
  }
  acceptSyn(tcp, phantom, seg);
  sendSynAck(tcp, phantom);
  tcp.listeners.cookieSent(ctx.nowMs);
  tcp.stats.cookiesSent++;
}

/**
 * A segment with ACK for a listener, and no connection is known. PASS: it brought a cookie back, and its connection
 * now waits half-open in the flow table for this very segment.
 */
export function cookieInput(tcp: Tcp, listener: Listener, seg: ArrivedSegment): Verdict {
  const { ctx, stats } = tcp;
  const { options } = seg;
  if (!tcp.listeners.cookiesAbout(ctx.nowMs)) return DROP | TCP_NO_SOCKET;
  const mss = readCookie(tcp.secrets, ctx.now, seg);
  if (mss === 0) {
    stats.cookiesFailed++;
    return DROP | TCP_NO_SOCKET;
  }
  if (tcp.ip.mtuTowards(seg.src) === 0) return DROP | TCP_NO_ROUTE_BACK;
  const tcb = beginHalfOpen(tcp, listener, seg);
  // Not refused: what the client sends next may find room.
  if (tcb === null) return DROP | TCP_TABLE_FULL;
  stats.cookiesAccepted++;
  options.mss = mss;
  options.wscale = -1;
  options.sackPermitted = false;
  tcb.synRetries = 1; // how long the path takes is not known: RFC 6298 §5.7
  if (options.hasTimestamp) {
    const scale = options.tsEcr & SCALE_MASK;
    if (scale !== NO_SCALE) options.wscale = scale;
    options.sackPermitted = (options.tsEcr & SACK_BIT) !== 0;
    tcb.ecnOk = (options.tsEcr & ECN_BIT) !== 0 ? 1 : 0;
  }
  tcb.iss = (seg.ack - 1) | 0;
  tcp.begin(tcb);
  seg.seq = (seg.seq - 1) | 0; // as the SYN had it
  acceptSyn(tcp, tcb, seg);
  seg.seq = (seg.seq + 1) | 0;
  return PASS;
}
