/**
 * IPv4 forwarding (RFC 1812 §5.2, the parts a load balancer's gateway role needs): one hop less, errors to the sender.
 *
 * Ownership: STOLEN when sent on; otherwise the verdict for the received frame.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_NO_ROUTE, IP_TOO_BIG, IP_TTL, NOT_FOR_US } from '../drop.ts';
import { FORWARD, type Hooks } from '../hook.ts';
import type { IcmpError } from '../icmp/error.ts';
import { F_L2_MULTICAST } from '../mem/frame-pool.ts';
import { fitSegments, packetBytes } from '../netif/gso.ts';
import type { FrameId, Ipv4, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import { EXCEEDED_TTL, TIME_EXCEEDED, UNREACH_FRAG_NEEDED, UNREACH_NET, UNREACHABLE } from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import type { Ip4Sender } from './output.ts';

export class Ip4Forward {
  private readonly ctx: Context;
  private readonly sender: Ip4Sender;
  private readonly error: IcmpError;
  private readonly hooks: Hooks;

  constructor(ctx: Context, sender: Ip4Sender, error: IcmpError, hooks: Hooks) {
    this.ctx = ctx;
    this.sender = sender;
    this.error = error;
    this.hooks = hooks;
  }

  forward(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.off[f]!;
    if ((pool.flags[f]! & F_L2_MULTICAST) !== 0) return DROP | NOT_FOR_US;
    if (ip.ttl(buf, l3) <= 1) {
      this.error.send(f, TIME_EXCEEDED, EXCEEDED_TTL, 0);
      return DROP | IP_TTL;
    }
    if ((this.hooks.used & (1 << FORWARD)) !== 0) {
      const verdict = this.hooks.run(FORWARD, f);
      if (verdict !== PASS) return verdict;
    }
    const dst = ip.dst(buf, l3);
    ip.decrementTtl(buf, l3);
    const verdict = this.fits(f, dst) ? this.sender.route(f, dst) : DROP | IP_TOO_BIG;
    if (verdict === (DROP | IP_NO_ROUTE)) this.error.send(f, UNREACHABLE, UNREACH_NET, 0);
    else if (verdict === (DROP | IP_TOO_BIG)) {
      this.error.send(f, UNREACHABLE, UNREACH_FRAG_NEEDED, this.sender.mtuTowards(dst));
    }
    return verdict;
  }

  /** A GSO frame counts as its segments: those of a sender that allows fragments are made smaller. */
  private fits(f: FrameId, dst: Ipv4): boolean {
    const { pool } = this.ctx;
    if (pool.gsoSize[f] === 0) return true;
    const mtu = this.sender.mtuTowards(dst);
    if (mtu === 0 || packetBytes(pool, f) <= mtu) return true;
    return (ip.fragmentField(pool.buf, pool.l3[f]!) & ip.DF) === 0 && fitSegments(pool, f, mtu);
  }
}
