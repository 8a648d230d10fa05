/**
 * The end of an IPIP tunnel (RFC 2003): takes the outer header off and lets the inner packet come in as if it had just
 * arrived. A packet for an address of ours is delivered, whatever port that address is on; others are forwarded if this
 * end or the host forwards. What left a balancer in a tunnel arrives at its server this way.
 *
 * Nothing in a tunnel proves who made it, so an end can be told from whom it takes packets (RFC 2003 §6.1).
 *
 * ECN (RFC 6040 §4.2): congestion that the tunnel met is told to the inner packet, and a packet that could not bear the
 * mark is dropped. One tunnel only: a packet with another tunnel in it is refused, so nothing here repeats itself.
 *
 * Ownership: the inner packet is the frame itself, `off` moved behind the outer header; the verdict is that of its input.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_PROTOCOL, TUNNEL_ECN, TUNNEL_SOURCE } from '../drop.ts';
import type { FrameId, Ipv4, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import * as ip from '../wire/ipv4.ts';
import type { Ip4Forward } from './forward.ts';
import type { Ip4Input, ProtocolHandler } from './input.ts';

const ECN_MASK = 3;
const ECN_NOT_ECT = 0;
const ECN_CE = 3;

/** Hosts that packets are taken from. */
export interface Origin {
  readonly network: Ipv4;
  /** 0..32. */
  readonly prefixLen: number;
}

const EVERYBODY: readonly Origin[] = [{ network: 0, prefixLen: 0 }];

export class IpipInput implements ProtocolHandler {
  /** Packets taken out of tunnels. */
  packets = 0;

  private readonly ctx: Context;
  private readonly ip4: Ip4Input;
  private readonly forward: Ip4Forward | undefined;
  private readonly networks: Int32Array;
  private readonly masks: Int32Array;

  /** Without `forward`, inner packets that are not for us go the way of all such packets. */
  constructor(ctx: Context, ip4: Ip4Input, origins = EVERYBODY, forward?: Ip4Forward) {
    this.ctx = ctx;
    this.ip4 = ip4;
    this.forward = forward;
    this.networks = Int32Array.from(origins, ({ network }) => network);
    this.masks = Int32Array.from(origins, ({ prefixLen }) => (prefixLen === 0 ? 0 : -1 << (32 - prefixLen)));
  }

  /** `off`/`len` cover the inner packet, l3 stands at the outer header. */
  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    if (!this.takesFrom(ip.src(buf, pool.l3[f]!))) return DROP | TUNNEL_SOURCE;
    const outerTos = ip.tos(buf, pool.l3[f]!);
    const inner = pool.off[f]!;
    pool.l3[f] = inner;
    pool.hash[f] = 0;
    const bad = this.ip4.parse(f);
    if (bad !== PASS) return bad;
    if (ip.proto(buf, inner) === ip.PROTO_IPIP) return DROP | IP_PROTOCOL;
    if ((outerTos & ECN_MASK) === ECN_CE) {
      const tos = ip.tos(buf, inner);
      if ((tos & ECN_MASK) === ECN_NOT_ECT) return DROP | TUNNEL_ECN;
      ip.setTos(buf, inner, tos | ECN_CE);
    }
    this.packets += 1;
    return this.ip4.input(f, this.forward);
  }

  private takesFrom(src: Ipv4): boolean {
    const { networks, masks } = this;
    for (let i = 0; i < networks.length; i++) if ((src & masks[i]!) === networks[i]) return true;
    return false;
  }
}
