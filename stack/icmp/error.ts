/**
 * Sending ICMP errors (RFC 792; RFC 1122 §3.2.2; RFC 1812 §4.3.2): whether one may be sent about a packet, and making it.
 *
 * None is ever sent about
 * - an ICMP error, or an ICMP message whose type cannot be seen or is unknown: errors must not beget errors;
 * - a packet to a broadcast or multicast address, of IP or of the link: one packet would draw many answers;
 * - a fragment other than the first;
 * - a source that is not one host: zero, loopback, broadcast, multicast, reserved, or ourselves.
 *
 * ```
 *  | IP, TOS 0xc0 | ICMP header, 8 | the packet from its IP header on, as much as makes 576 bytes in all |
 * ```
 *
 * Called by ipv4, udp and neigh with the packet at fault, which stays theirs to settle.
 * @hot
 */
import type { Context } from '../context.ts';
import { isHostAddress } from '../inetaddr/addr.ts';
import { F_L2_BROADCAST, F_L2_MULTICAST, L4_HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId, Ipv4, PortId, Verdict } from '../types.ts';
import { isDrop } from '../verdict.ts';
import * as icmp from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import type { RateLimit } from './ratelimit.ts';

/** What is asked of the local addresses. */
export interface ErrorAddresses {
  isLocal(a: Ipv4): boolean;
  /** The limited broadcast address, or that of a network on this port. */
  isBroadcast(a: Ipv4, port: PortId): boolean;
  /** The address to speak from to `dst` through this port, 0 = there is none. */
  sourceFor(dst: Ipv4, port: PortId): Ipv4;
}

/** What is asked of IP: `frame` holds the layer-4 bytes. */
export interface ErrorOutput {
  output(frame: FrameId, src: Ipv4, dst: Ipv4, proto: number, df: boolean, tos: number): Verdict;
}

/** RFC 1812 §4.3.2.3: as much of the original as fits into a datagram of 576 bytes. */
const DATAGRAM_MAX = 576;
const QUOTE_MAX = DATAGRAM_MAX - ip.IPV4_LEN - icmp.ICMP_LEN;
/** Precedence 6, internetwork control (RFC 1812 §4.3.2.5). */
const TOS = 0xc0;
/** Types above this are not known to be queries: they are treated as errors. */
const TYPE_MAX = 18;

export class IcmpError {
  /** Errors sent, and not sent because the rules forbid it. The rate limiter counts its own. */
  sent = 0;
  forbidden = 0;

  private readonly ctx: Context;
  private readonly addrs: ErrorAddresses;
  private readonly ip4: ErrorOutput;
  private readonly limit: RateLimit;

  constructor(ctx: Context, addrs: ErrorAddresses, ip4: ErrorOutput, limit: RateLimit) {
    this.ctx = ctx;
    this.addrs = addrs;
    this.ip4 = ip4;
    this.limit = limit;
  }

  /**
   * Sends an error about the packet whose checked IP header is at l3 of `about`. `rest` is the second word of the ICMP
   * header (pointer in the top byte, next-hop MTU in the low half). True when it was sent.
   */
  send(about: FrameId, type: number, code: number, rest: number): boolean {
    const { ctx } = this;
    const { pool } = ctx;
    const { buf } = pool;
    if (!this.mayAnswer(about)) {
      this.forbidden += 1;
      return false;
    }
    const l3 = pool.l3[about]!;
    const dst = ip.src(buf, l3);
    const asked = ip.dst(buf, l3);
    const src = this.addrs.isLocal(asked) ? asked : this.addrs.sourceFor(dst, pool.port[about]!);
    if (src === 0 || !this.limit.allow(ctx.nowMs, dst)) return false;
    const f = ctx.create();
    if (f === 0) return false;

    const at = pool.base(f) + L4_HEADROOM;
    const quoted = this.quote(about, at + icmp.ICMP_LEN);
    icmp.emit(buf, pool.i32, at, type, code, rest, icmp.ICMP_LEN + quoted);
    pool.off[f] = at;
    pool.len[f] = icmp.ICMP_LEN + quoted;
    pool.l4[f] = at;
    // Without DF: nobody could tell us that an error was too big for some link, since errors draw no errors.
    const verdict = this.ip4.output(f, src, dst, ip.PROTO_ICMP, false, TOS);
    ctx.settle(f, verdict);
    if (isDrop(verdict)) return false;
    this.sent += 1;
    return true;
  }

  /** Whether the rules of RFC 1122 §3.2.2 allow an error about this packet. */
  mayAnswer(about: FrameId): boolean {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[about]!;
    const port = pool.port[about]!;
    if ((pool.flags[about]! & (F_L2_BROADCAST | F_L2_MULTICAST)) !== 0) return false;
    if (ip.fragmentOffset(buf, l3) !== 0) return false;
    const dst = ip.dst(buf, l3);
    if (dst >>> 28 >= 14 || this.addrs.isBroadcast(dst, port)) return false;
    const src = ip.src(buf, l3);
    if (!isHostAddress(src)) return false;
    if (this.addrs.isBroadcast(src, port) || this.addrs.isLocal(src)) return false;
    if (ip.proto(buf, l3) !== ip.PROTO_ICMP) return true;
    const header = ip.headerLength(buf, l3);
    if (ip.totalLength(buf, l3) <= header || this.linear(about) <= header) return false;
    const type = icmp.type(buf, l3 + header);
    return !icmp.isError(type) && type <= TYPE_MAX;
  }

  /** Copies the beginning of the packet to `to`; returns how many bytes. */
  private quote(about: FrameId, to: number): number {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[about]!;
    const linear = this.linear(about);
    const total = Math.min(ip.totalLength(buf, l3), linear + pool.fragLen[about]!, QUOTE_MAX);
    const first = Math.min(total, linear);
    buf.copyWithin(to, l3, l3 + first);
    const from = pool.fragOff[about]!;
    if (first < total) buf.copyWithin(to + first, from, from + total - first);
    return total;
  }

  /** Bytes from the IP header to the end of the linear part, wherever `off` stands now. */
  private linear(f: FrameId): number {
    const { pool } = this.ctx;
    return pool.off[f]! + pool.len[f]! - pool.l3[f]!;
  }
}
