/**
 * What all modes do before and after they rewrite: route, TTL, the MTU rule; then fragments if need be, neighbour, port.
 *
 * The MTU rule (RFC 1191, RFC 1812 §4.2.2.9): a packet that has become too large for its next link and must not be
 * fragmented is dropped, and its sender told what would fit; any other is fragmented after the rewrite. All of
 * it is judged while the packet still is what its sender sent, so that ICMP errors quote that, and come from the address
 * it was sent to. A GSO frame counts as its segments: those of a sender that allows fragments are made smaller.
 *
 * A balancer is no hop unless it is told so: TTL is touched only when `hop` is set.
 *
 * Ownership: `find` leaves the frame with the caller; `go` gives STOLEN or DROP|reason as any output.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { IP_NO_ROUTE, IP_TOO_BIG, IP_TTL } from '../../stack/drop.ts';
import type { IcmpError } from '../../stack/icmp/error.ts';
import type { Ip4Sender } from '../../stack/ipv4/output.ts';
import { fitSegments, packetBytes } from '../../stack/netif/gso.ts';
import type { Routes4 } from '../../stack/route/route4.ts';
import type { FrameId, Ipv4, PortId, Verdict } from '../../stack/types.ts';
import { DROP, PASS } from '../../stack/verdict.ts';
import { EXCEEDED_TTL, TIME_EXCEEDED, UNREACH_FRAG_NEEDED, UNREACH_NET, UNREACHABLE } from '../../stack/wire/icmp4.ts';
import * as ip from '../../stack/wire/ipv4.ts';

export class Way {
  /** What the last successful `find` found. */
  port: PortId = 0;
  hop: Ipv4 = 0;
  /** Of the link, in bytes. */
  mtu = 0;
  /** The route's own source address, 0 = it has none. */
  src: Ipv4 = 0;
  /** Count as a router: TTL is decremented, and ends. */
  decrementTtl = false;

  private readonly ctx: Context;
  private readonly routes: Routes4;
  private readonly sender: Ip4Sender;
  private readonly error: IcmpError;

  constructor(ctx: Context, routes: Routes4, sender: Ip4Sender, error: IcmpError) {
    this.ctx = ctx;
    this.routes = routes;
    this.sender = sender;
    this.error = error;
  }

  /**
   * Finds the way to `dst` for a packet that will grow by `more` bytes. PASS, or DROP|reason, the sender having been
   * told. The packet is changed in its TTL only, and that only where we count as a hop, or as a `router` anyway.
   */
  find(f: FrameId, dst: Ipv4, more: number, router = false): Verdict {
    const { pool } = this.ctx;
    const { routes } = this;
    if (!routes.lookup(dst)) {
      this.error.send(f, UNREACHABLE, UNREACH_NET, 0);
      return DROP | IP_NO_ROUTE;
    }
    this.port = routes.outPort;
    this.hop = routes.outNextHop;
    this.mtu = routes.outMtu;
    this.src = routes.outSrc;
    if (packetBytes(pool, f) + more > this.mtu) {
      const verdict = this.tooLong(f, more);
      if (verdict !== PASS) return verdict;
    }
    return this.decrementTtl || router ? this.oneHop(f) : PASS;
  }

  /** Sends the packet, which stands at `off` with its IP header complete, on the way found. */
  go(f: FrameId): Verdict {
    return this.sender.via(f, this.port, this.hop, this.mtu);
  }

  private tooLong(f: FrameId, more: number): Verdict {
    const { pool } = this.ctx;
    if ((ip.fragmentField(pool.buf, pool.l3[f]) & ip.DF) !== 0) {
      this.error.send(f, UNREACHABLE, UNREACH_FRAG_NEEDED, this.mtu - more);
      return DROP | IP_TOO_BIG;
    }
    return pool.gsoSize[f] === 0 || fitSegments(pool, f, this.mtu - more) ? PASS : DROP | IP_TOO_BIG;
  }

  private oneHop(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const l3 = pool.l3[f];
    if (ip.ttl(pool.buf, l3) <= 1) {
      this.error.send(f, TIME_EXCEEDED, EXCEEDED_TTL, 0);
      return DROP | IP_TTL;
    }
    ip.decrementTtl(pool.buf, l3);
    return PASS;
  }
}
