/**
 * Ethernet input: is the frame for us, and whose is it? Type handlers are given at composition; ethernet knows them by
 * number only. Both passes of netif run through here.
 *
 * Ownership: as netif's, the frame stays the caller's unless a handler returns STOLEN.
 * @hot
 */
import type { Context } from '../context.ts';
import { ETHERTYPE, NOT_FOR_US } from '../drop.ts';
import { F_L2_BROADCAST, F_L2_MULTICAST } from '../mem/frame-pool.ts';
import type { FrameInput, Netif } from '../netif/port.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import * as eth from '../wire/ethernet.ts';

/** ARP, which needs no first pass. `frame.off` stands at the ARP header. */
export interface ArpHandler {
  input(frame: FrameId): Verdict;
}

export class EthernetInput implements FrameInput {
  /** Receive frames addressed to any MAC. */
  promiscuous = false;

  private readonly ctx: Context;
  private readonly netif: Netif;
  private readonly ip4: FrameInput;
  private readonly arp: ArpHandler;

  constructor(ctx: Context, netif: Netif, ip4: FrameInput, arp: ArpHandler) {
    this.ctx = ctx;
    this.netif = netif;
    this.ip4 = ip4;
    this.arp = arp;
  }

  parse(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    const bad = eth.check(off, off + pool.len[f]!);
    if (bad !== 0) return DROP | bad;
    if (eth.isMulticast(buf, off)) {
      pool.flags[f]! |= eth.isBroadcast(buf, off) ? F_L2_BROADCAST | F_L2_MULTICAST : F_L2_MULTICAST;
    } else if (!this.promiscuous) {
      const port = this.netif.ports[pool.port[f]!]!;
      if (eth.dstLo(buf, off) !== port.macLo || eth.dstHi(buf, off) !== port.macHi) return DROP | NOT_FOR_US;
    }
    const l3 = off + eth.ETH_LEN;
    pool.l3[f] = l3;
    if (eth.type(buf, off) !== eth.ETHERTYPE_IPV4) return PASS;
    pool.off[f] = l3;
    pool.len[f]! -= eth.ETH_LEN;
    return this.ip4.parse(f);
  }

  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const l3 = pool.l3[f]!;
    switch (eth.type(pool.buf, l3 - eth.ETH_LEN)) {
      case eth.ETHERTYPE_IPV4:
        return this.ip4.input(f);
      case eth.ETHERTYPE_ARP:
        pool.off[f] = l3;
        pool.len[f]! -= eth.ETH_LEN;
        return this.arp.input(f);
      default:
        return DROP | ETHERTYPE;
    }
  }
}
