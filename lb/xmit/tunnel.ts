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
import type { LocalAddresses } from '../../stack/inetaddr/addr.ts';
import { IpIds } from '../../stack/ipv4/id.ts';
import { Segmenter, type SegmentOutput } from '../../stack/netif/gso.ts';
import type { FrameId, Ipv4, Verdict } from '../../stack/types.ts';
import { DROP, PASS } from '../../stack/verdict.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import type { Way } from './way.ts';

export class Tunnel implements SegmentOutput {
  private readonly ctx: Context;
  private readonly way: Way;
  private readonly addresses: LocalAddresses;
  private readonly ids: IpIds;
  private readonly segmenter: Segmenter;
  private readonly asPort = { id: 0, mtu: 0 };
  private src: Ipv4 = 0;
  private dst: Ipv4 = 0;

  constructor(ctx: Context, way: Way, addresses: LocalAddresses) {
    this.ctx = ctx;
    this.way = way;
    this.addresses = addresses;
    this.ids = new IpIds(ctx.random);
    this.segmenter = new Segmenter(ctx);
  }

  toServer(f: FrameId, raddr: Ipv4): Verdict {
    const { way } = this;
    const { pool } = this.ctx;
    const verdict = way.find(f, raddr, ip.IPV4_LEN);
    if (verdict !== PASS) return verdict;
    this.src = way.src !== 0 ? way.src : this.addresses.sourceFor(raddr, way.port);
    if (this.src === 0) return DROP | IP_NO_ROUTE;
    this.dst = raddr;
    if (pool.gsoSize[f] === 0) return this.encapsulate(f);
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
    return this.encapsulate(f);
  }

  private encapsulate(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const inner = pool.l3[f];
    const outer = inner - ip.IPV4_LEN;
    const total = ip.totalLength(buf, inner) + ip.IPV4_LEN;
    const df = ip.fragmentField(buf, inner) & ip.DF;
    const id = df !== 0 ? 0 : this.ids.next(this.src, this.dst, ip.PROTO_IPIP);
    ip.emit(buf, outer, ip.tos(buf, inner), total, id, df, ip.ttl(buf, inner), ip.PROTO_IPIP, this.src, this.dst);
    pool.l3[f] = outer;
    pool.l4[f] = inner;
    pool.off[f] = outer;
    pool.len[f] += ip.IPV4_LEN;
    return this.way.go(f);
  }
}
