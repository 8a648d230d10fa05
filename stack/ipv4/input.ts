/**
 * IPv4 input (RFC 791, RFC 1122 §3.2.1): validation, then delivery to a local protocol, forwarding, or a drop.
 *
 * First pass (`parse`): header check, trailing padding cut off, layer-4 offset, flow hash of TCP segments, and a touch
 * of their row in the flow table. Second pass (`input`): addresses, options, fragments, delivery.
 * Protocol handlers are given at composition, by number.
 *
 * Ownership: returns a verdict; the frame stays the caller's unless it is STOLEN.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_DESTINATION, IP_NOT_LOCAL, IP_OPTIONS, IP_PROTOCOL, IP_SOURCE, NOT_FOR_US } from '../drop.ts';
import { type Hooks, LOCAL_IN, PRE_ROUTING } from '../hook.ts';
import type { IcmpError } from '../icmp/error.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import { F_L2_MULTICAST } from '../mem/frame-pool.ts';
import type { FrameInput } from '../netif/port.ts';
import type { FrameId, Ipv4, Verdict } from '../types.ts';
import { DROP, PASS } from '../verdict.ts';
import { get32 } from '../wire/bytes.ts';
import { PARAMETER_PROBLEM, UNREACH_PROTOCOL, UNREACHABLE } from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import type { Ip4Forward } from './forward.ts';
import type { OptionWalker } from './options.ts';
import type { Reassembler } from './reassemble.ts';

/** A transport protocol. On entry `off`/`len` cover the layer-4 part, `l3` and `l4` are set. */
export interface ProtocolHandler {
  input(frame: FrameId): Verdict;
}

/** The flow table of the transport, for the first pass. */
export interface FlowToucher {
  /** Flows in it. */
  size(): number;
  hash(src: Ipv4, dst: Ipv4, ports: number): number;
  touch(hash: number): number;
}

export class Ip4Input implements FrameInput {
  /** Consumes what touching a row returned, so that the load is not optimised away. */
  touched = 0;

  private readonly ctx: Context;
  private readonly addrs: LocalAddresses;
  private readonly options: OptionWalker;
  private readonly reassembler: Reassembler;
  private readonly error: IcmpError;
  private readonly hooks: Hooks;
  private readonly handlers: (ProtocolHandler | null)[] = new Array(256).fill(null);
  private flows: FlowToucher | null = null;
  private forward: Ip4Forward | null = null;

  constructor(
    ctx: Context,
    addrs: LocalAddresses,
    options: OptionWalker,
    reassembler: Reassembler,
    error: IcmpError,
    hooks: Hooks,
  ) {
    this.ctx = ctx;
    this.addrs = addrs;
    this.options = options;
    this.reassembler = reassembler;
    this.error = error;
    this.hooks = hooks;
  }

  /** Registers the handler of an IP protocol number. */
  register(proto: number, handler: ProtocolHandler): void {
    this.handlers[proto] = handler;
  }

  /** Names the table whose rows the first pass touches. */
  attachFlows(flows: FlowToucher): void {
    this.flows = flows;
  }

  /** Switches forwarding on; off by default (RFC 1122 §3.3.1: a host is no router unless configured). */
  attachForward(forward: Ip4Forward): void {
    this.forward = forward;
  }

  /** Whether packets for others are forwarded. */
  get forwards(): boolean {
    return this.forward !== null;
  }

  parse(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.off[f]!;
    const bad = ip.check(buf, pool.i32, l3, l3 + pool.len[f]!);
    if (bad !== 0) return DROP | bad;
    const total = ip.totalLength(buf, l3);
    const header = ip.headerLength(buf, l3);
    pool.l4[f] = l3 + header;
    pool.len[f] = total; // what is beyond is Ethernet padding
    if (ip.proto(buf, l3) === ip.PROTO_TCP && total - header >= 4 && !ip.isFragment(buf, l3))
      this.touch(f, l3, l3 + header);
    return PASS;
  }

  /** Loads the row of a segment's connection; where there are none at all, as in a director of layer 4, that would be a miss for nothing. */
  private touch(f: FrameId, l3: number, l4: number): void {
    const { flows } = this;
    if (flows === null || flows.size() === 0) return;
    const { pool } = this.ctx;
    const { buf } = pool;
    const h = flows.hash(ip.src(buf, l3), ip.dst(buf, l3), get32(buf, l4));
    pool.hash[f] = h;
    this.touched ^= flows.touch(h);
  }

  /** `forward` is what takes packets that are not for us; null = they are dropped. */
  input(f: FrameId, forward = this.forward): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const src = ip.src(buf, l3);
    if (!isUnicast(src) || this.addrs.isLocal(src) || this.addrs.isBroadcast(src, pool.port[f]!))
      return DROP | IP_SOURCE;
    if (pool.l4[f]! - l3 > ip.IPV4_LEN && this.options.walk(f) !== 0) {
      this.error.send(f, PARAMETER_PROBLEM, 0, (this.options.pointer << 24) | 0);
      return DROP | IP_OPTIONS;
    }
    if ((this.hooks.used & (1 << PRE_ROUTING)) !== 0) {
      const verdict = this.hooks.run(PRE_ROUTING, f);
      if (verdict !== PASS) return verdict;
    }
    return this.route(f, forward);
  }

  /** Input behind PRE_ROUTING: for us, to be forwarded, or neither. */
  route(f: FrameId, forward = this.forward): Verdict {
    const { pool } = this.ctx;
    const dst = ip.dst(pool.buf, pool.l3[f]!);
    if (this.addrs.isLocal(dst)) {
      // A unicast packet in a link-layer broadcast: RFC 1122 §3.3.6 has it discarded silently.
      if ((pool.flags[f]! & F_L2_MULTICAST) !== 0) return DROP | NOT_FOR_US;
    } else if (isMulticast(dst) || this.addrs.isBroadcast(dst, pool.port[f]!)) {
      // Delivered to whoever wants it. TCP and echo refuse it, however the frame that carried it was addressed.
      pool.flags[f]! |= F_L2_MULTICAST;
    } else if (!isUnicast(dst)) return DROP | IP_DESTINATION;
    else if (forward !== null) return forward.forward(f);
    else return DROP | IP_NOT_LOCAL;
    return this.deliver(f);
  }

  private deliver(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    if (ip.isFragment(buf, pool.l3[f]!)) {
      const verdict = this.reassembler.input(f);
      const whole = this.reassembler.outFrame;
      if (whole !== 0) this.ctx.settle(whole, this.toProtocol(whole));
      return verdict;
    }
    return this.toProtocol(f);
  }

  private toProtocol(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const l3 = pool.l3[f]!;
    const l4 = pool.l4[f]!;
    if ((this.hooks.used & (1 << LOCAL_IN)) !== 0) {
      const verdict = this.hooks.run(LOCAL_IN, f);
      if (verdict !== PASS) return verdict;
    }
    const handler = this.handlers[ip.proto(pool.buf, l3)]!;
    if (handler === null) {
      this.error.send(f, UNREACHABLE, UNREACH_PROTOCOL, 0);
      return DROP | IP_PROTOCOL;
    }
    pool.len[f]! -= l4 - pool.off[f]!;
    pool.off[f] = l4;
    return handler.input(f);
  }
}

/** Neither zero net, loopback, multicast nor reserved (RFC 1122 §3.2.1.3, RFC 6890). */
export function isUnicast(a: Ipv4): boolean {
  const top = a >>> 24;
  return top !== 0 && top !== 127 && top < 224;
}

/** 224.0.0.0/4. */
export const isMulticast = (a: Ipv4): boolean => a >>> 28 === 14;
