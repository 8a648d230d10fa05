/**
 * IPv4 output (RFC 791, RFC 1122 §3.3): pushes the header, finds route and next hop, fragments where it must and may,
 * and hands the packet to the neighbour table.
 *
 * Ownership: STOLEN when the frame (or its fragments) went on; DROP|reason leaves it with the caller, who made it and
 * settles it.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_NO_ROUTE, IP_TOO_BIG } from '../drop.ts';
import { type Hooks, LOCAL_OUT, POST_ROUTING } from '../hook.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import type { Neighbours } from '../neigh/output.ts';
import type { Routes4 } from '../route/route4.ts';
import type { FrameId, Ipv4, PortId, Verdict } from '../types.ts';
import { DELIVERED, DROP, PASS, STOLEN } from '../verdict.ts';
import * as ip from '../wire/ipv4.ts';
import type { Fragmenter } from './fragment.ts';
import type { IpIds } from './id.ts';
import { isMulticast, isUnicast } from './input.ts';

/** What transports see of IP. */
export interface Ip4Output {
  /**
   * Sends the layer-4 bytes of a frame (`off`/`len`, payload slice included) from `src` to `dst`.
   * `df` forbids fragmentation; `tos` is the whole TOS byte.
   */
  output(frame: FrameId, src: Ipv4, dst: Ipv4, proto: number, df: boolean, tos?: number): Verdict;
  /** Whether packets to `dst` leave through the port that the address `local` of ours belongs to. */
  isNear(local: Ipv4, dst: Ipv4): boolean;
  /** The MTU towards `dst`, or 0 when there is no route. */
  mtuTowards(dst: Ipv4): number;
  /** Whether the port towards `dst` cuts TCP segments itself. */
  tsoTowards(dst: Ipv4): boolean;
  /** Is `dst` the address of one host: no group, no broadcast, nothing reserved? */
  isOneHost(dst: Ipv4): boolean;
  /** An upper layer made progress with `dst`: its next hop is reachable (RFC 4861 §7.3.1). */
  progress(dst: Ipv4): void;
}

export class Ip4Sender implements Ip4Output {
  private readonly ctx: Context;
  private readonly routes: Routes4;
  private readonly addrs: LocalAddresses;
  private readonly neighbours: Neighbours;
  private readonly ids: IpIds;
  private readonly fragmenter: Fragmenter;
  private readonly confirm: (hop: Ipv4, port: PortId) => void;
  private readonly hooks: Hooks;
  /** Of packets made here. */
  private readonly ttl: number;
  private fragPort: PortId = 0;
  private fragHop: Ipv4 = 0;
  private readonly sendFragment = (f: FrameId): Verdict => this.toNeighbour(f, this.fragPort, this.fragHop);

  constructor(
    ctx: Context,
    routes: Routes4,
    addrs: LocalAddresses,
    neighbours: Neighbours,
    ids: IpIds,
    fragmenter: Fragmenter,
    confirm: (hop: Ipv4, port: PortId) => void,
    hooks: Hooks,
    ttl: number,
  ) {
    this.ctx = ctx;
    this.routes = routes;
    this.addrs = addrs;
    this.neighbours = neighbours;
    this.ids = ids;
    this.fragmenter = fragmenter;
    this.confirm = confirm;
    this.hooks = hooks;
    this.ttl = ttl;
  }

  output(f: FrameId, src: Ipv4, dst: Ipv4, proto: number, df: boolean, tos = 0): Verdict {
    const { pool } = this.ctx;
    const off = pool.off[f]! - ip.IPV4_LEN;
    const total = ip.IPV4_LEN + pool.wireLength(f);
    const ident = this.ids.next(src, dst, proto);
    ip.emit(pool.buf, off, tos, total, ident, df ? ip.DF : 0, this.ttl, proto, src, dst);
    pool.l3[f] = off;
    pool.l4[f] = off + ip.IPV4_LEN;
    pool.off[f] = off;
    pool.len[f]! += ip.IPV4_LEN;
    if ((this.hooks.used & (1 << LOCAL_OUT)) !== 0) {
      const verdict = this.hooks.run(LOCAL_OUT, f);
      if (verdict !== PASS) return verdict;
    }
    return this.route(f, dst);
  }

  /** Sends a packet whose IP header is complete (forwarding). */
  route(f: FrameId, dst: Ipv4): Verdict {
    const { routes } = this;
    if (!routes.lookup(dst)) return DROP | IP_NO_ROUTE;
    return this.via(f, routes.outPort, routes.outNextHop, routes.outMtu);
  }

  /** Sends a complete packet on a way that is known: through `port` to the neighbour `hop`, in pieces of at most `mtu`. */
  via(f: FrameId, port: PortId, hop: Ipv4, mtu: number): Verdict {
    const { pool } = this.ctx;
    if (pool.gsoSize[f] === 0 && pool.wireLength(f) > mtu) {
      if ((ip.fragmentField(pool.buf, pool.off[f]!) & ip.DF) !== 0) return DROP | IP_TOO_BIG;
      this.fragPort = port;
      this.fragHop = hop;
      const verdict = this.fragmenter.fragment(f, mtu, this.sendFragment);
      // The fragments carry the content on; the original ends here as any frame does.
      if (verdict === DELIVERED) this.ctx.settle(f, DELIVERED);
      return verdict === DELIVERED ? STOLEN : verdict;
    }
    return this.toNeighbour(f, port, hop);
  }

  private toNeighbour(f: FrameId, port: PortId, hop: Ipv4): Verdict {
    if ((this.hooks.used & (1 << POST_ROUTING)) !== 0) {
      const verdict = this.hooks.run(POST_ROUTING, f);
      if (verdict !== PASS) return verdict;
    }
    if (isMulticast(hop)) return this.neighbours.outputMulticast(f, port, hop);
    if (this.addrs.isBroadcast(hop, port)) return this.neighbours.outputBroadcast(f, port);
    return this.neighbours.output(f, port, hop);
  }

  isNear(local: Ipv4, dst: Ipv4): boolean {
    return this.routes.lookup(dst) && this.addrs.isLocalOn(local, this.routes.outPort);
  }

  mtuTowards(dst: Ipv4): number {
    return this.routes.lookup(dst) ? this.routes.outMtu : 0;
  }

  tsoTowards(dst: Ipv4): boolean {
    return this.routes.lookup(dst) && this.routes.outTso !== 0;
  }

  isOneHost(dst: Ipv4): boolean {
    return isUnicast(dst) && !(this.routes.lookup(dst) && this.addrs.isBroadcast(dst, this.routes.outPort));
  }

  progress(dst: Ipv4): void {
    if (this.routes.lookup(dst)) this.confirm(this.routes.outNextHop, this.routes.outPort);
  }
}
