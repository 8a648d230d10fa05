/**
 * IPIP tunnel (RFC 2003): the client's packet goes to the server unchanged inside another one, and the server, which has
 * the VIP on an interface of its own, answers the client directly. Servers may be any number of hops away.
 *
 * The outer header has the inner one's TOS, ECN included (RFC 6040 §4.1, normal mode), its DF (RFC 2003 §3.1) and its TTL.
 * What would not fit with 20 bytes more is answered with an MTU 20 bytes smaller (way.ts). A link may leave segmentation
 * to its other side, but not inside of tunnels: GSO frames are cut before.
 *
 * Ownership: as Way; a GSO frame is consumed, its segments go on.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { IP_NO_ROUTE } from '../../stack/drop.ts';
import type { AddressListener, LocalAddresses } from '../../stack/inetaddr/addr.ts';
import { IpIds } from '../../stack/ipv4/id.ts';
import { Segmenter, type SegmentOutput } from '../../stack/netif/gso.ts';
import type { FrameId, Ipv4, PortId, Verdict } from '../../stack/types.ts';
import { DROP, PASS } from '../../stack/verdict.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import type { Way } from './way.ts';

export class Tunnel implements SegmentOutput, AddressListener {
  private readonly ctx: Context;
  private readonly way: Way;
  private readonly addresses: LocalAddresses;
  /** Identifications of outer packets that may be fragmented. */
  readonly ids: IpIds;
  private readonly segmenter: Segmenter;
  private readonly asPort = { id: 0, mtu: 0 };
  private src: Ipv4 = 0;
  private dst: Ipv4 = 0;
  /** By server: our address towards it and the port that goes by; 0 = to be found out. */
  private readonly sources: Int32Array;
  private readonly sourcePorts: Int32Array;

  constructor(ctx: Context, way: Way, addresses: LocalAddresses, maxDests: number) {
    this.ctx = ctx;
    this.way = way;
    this.addresses = addresses;
    this.ids = new IpIds(ctx.random);
    this.segmenter = new Segmenter(ctx);
    this.sources = new Int32Array(maxDests + 1);
    this.sourcePorts = new Int32Array(maxDests + 1);
    addresses.listen(this);
  }

  added(): void {
    this.sources.fill(0);
  }

  removed(): void {
    this.sources.fill(0);
  }

  /** The outer source address towards server `dest` through `port`; `routeSrc` is what the route says, 0 = nothing. */
  sourceFor(dest: number, raddr: Ipv4, port: PortId, routeSrc: Ipv4): Ipv4 {
    if (routeSrc !== 0) return routeSrc;
    if (this.sources[dest] === 0 || this.sourcePorts[dest] !== port) {
      this.sources[dest] = this.addresses.sourceFor(raddr, port);
      this.sourcePorts[dest] = port;
    }
    return this.sources[dest];
  }

  toServer(f: FrameId, raddr: Ipv4, dest: number): Verdict {
    const { way } = this;
    const { pool } = this.ctx;
    const verdict = way.find(f, raddr, ip.IPV4_LEN);
    if (verdict !== PASS) return verdict;
    this.src = this.sourceFor(dest, raddr, way.port, way.src);
    if (this.src === 0) return DROP | IP_NO_ROUTE;
    this.dst = raddr;
    if (pool.gsoSize[f] === 0) return this.send(f);
    // The segmenter wants an Ethernet header: there is room for one, and its bytes do not matter.
    this.asPort.id = way.port;
    this.asPort.mtu = way.mtu - ip.IPV4_LEN;
    pool.off[f] -= ETH_LEN;
    pool.len[f] += ETH_LEN;
    return this.segmenter.segment(f, this.asPort, this);
  }

  /** For the segmenter: one segment, `off` at its Ethernet header. */
  transmit(f: FrameId): Verdict {
    const { pool } = this.ctx;
    pool.off[f] += ETH_LEN;
    pool.len[f] -= ETH_LEN;
    return this.send(f);
  }

  private send(f: FrameId): Verdict {
    this.encapsulate(f, this.src, this.dst);
    return this.way.go(f);
  }

  /** Puts the outer header in front; `off` and l3 stand at it afterwards. */
  private encapsulate(f: FrameId, src: Ipv4, dst: Ipv4): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    const inner = pool.l3[f];
    const outer = inner - ip.IPV4_LEN;
    const total = ip.totalLength(buf, inner) + ip.IPV4_LEN;
    const df = ip.fragmentField(buf, inner) & ip.DF;
    const id = df !== 0 ? 0 : this.ids.next(src, dst, ip.PROTO_IPIP);
    ip.emit(buf, outer, ip.tos(buf, inner), total, id, df, ip.ttl(buf, inner), ip.PROTO_IPIP, src, dst);
    pool.l3[f] = outer;
    pool.l4[f] = inner;
    pool.off[f] = outer;
    pool.len[f] += ip.IPV4_LEN;
  }
}
