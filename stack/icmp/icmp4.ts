/**
 * ICMP input (RFC 792, RFC 1122 §3.2.2): answers echo requests, passes errors to the transport they concern.
 *
 * An echo reply is the request itself, turned round in place: nothing is copied or allocated. Echo to a broadcast or
 * multicast address is ignored (RFC 1122 §3.2.2.6 allows it; answering makes an amplifier).
 *
 * Ownership: STOLEN when the frame left as a reply, otherwise the verdict for it.
 * @hot
 */
import type { Context } from '../context.ts';
import { ICMP_IGNORED, ICMP_MALFORMED } from '../drop.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import type { ProtocolHandler } from '../ipv4/input.ts';
import type { Ip4Output } from '../ipv4/output.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, F_L2_BROADCAST, F_L2_MULTICAST, GSO_NONE } from '../mem/frame-pool.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DELIVERED, DROP } from '../verdict.ts';
import * as icmp from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';

/** A transport that wants to hear of errors about its packets. */
export interface IcmpErrorSink {
  /**
   * `inner` is the offset of the quoted IP header, `l4` that of the 8 or more layer-4 bytes behind it. `rest` is the
   * second word of the ICMP header: the next-hop MTU in its low half for UNREACH_FRAG_NEEDED.
   */
  icmpError(type: number, code: number, rest: number, inner: number, l4: number): void;
}

export class Icmp4Input implements ProtocolHandler {
  /** Echo requests answered. */
  echoes = 0;

  private readonly ctx: Context;
  private readonly addrs: LocalAddresses;
  private readonly ip4: Ip4Output;
  private readonly sinks: (IcmpErrorSink | null)[] = new Array(256).fill(null);

  constructor(ctx: Context, addrs: LocalAddresses, ip4: Ip4Output) {
    this.ctx = ctx;
    this.addrs = addrs;
    this.ip4 = ip4;
  }

  /** Registers the receiver of errors about packets of an IP protocol. */
  onError(proto: number, sink: IcmpErrorSink): void {
    this.sinks[proto] = sink;
  }

  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.off[f]!;
    const end = l4 + pool.len[f]!;
    const bad = icmp.check(buf, pool.i32, l4, end);
    if (bad !== 0) return DROP | bad;
    const type = icmp.type(buf, l4);
    if (type === icmp.ECHO_REQUEST) return this.echo(f, l4);
    if (icmp.isError(type)) return this.error(l4, end);
    return DROP | ICMP_IGNORED;
  }

  private echo(f: FrameId, l4: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const dst = ip.dst(buf, l3);
    if (icmp.code(buf, l4) !== 0 || !this.addrs.isLocal(dst)) return DROP | ICMP_IGNORED;
    const src = ip.src(buf, l3);
    icmp.setType(buf, l4, icmp.ECHO_REPLY);
    pool.flags[f]! &= ~(F_CSUM_PARTIAL | F_CSUM_VALID | F_L2_BROADCAST | F_L2_MULTICAST);
    // Nothing of what the link said of the request holds for the reply.
    pool.gsoType[f] = GSO_NONE;
    pool.gsoSize[f] = 0;
    this.echoes++;
    return this.ip4.output(f, dst, src, ip.PROTO_ICMP, false, ip.tos(buf, l3));
  }

  private error(l4: number, end: number): Verdict {
    const { buf } = this.ctx.pool;
    const inner = l4 + icmp.ICMP_LEN;
    // The quote is not checked as a packet: it is cut off, and routers may have changed it. 8 bytes of layer 4 must be there.
    if (end - inner < ip.IPV4_LEN || buf[inner]! >> 4 !== 4) return DROP | ICMP_MALFORMED;
    const innerL4 = inner + ip.headerLength(buf, inner);
    if (innerL4 - inner < ip.IPV4_LEN || innerL4 + 8 > end) return DROP | ICMP_MALFORMED;
    if (ip.fragmentOffset(buf, inner) !== 0 || !this.addrs.isLocal(ip.src(buf, inner))) return DROP | ICMP_IGNORED;
    const sink = this.sinks[ip.proto(buf, inner)]!;
    if (sink === null) return DROP | ICMP_IGNORED;
    sink.icmpError(icmp.type(buf, l4), icmp.code(buf, l4), icmp.rest(buf, l4), inner, innerL4);
    return DELIVERED;
  }
}
