/**
 * Whose a received frame is, among the workers of one process. Looks at the frame as the link brought it, before anything of it was
 * checked; what makes no sense belongs to whoever received it, who will drop it. @hot
 *
 * | frame                                  | owner                                                        |
 * | -------------------------------------- | ------------------------------------------------------------ |
 * | ARP                                    | EVERYBODY: each keeps its own neighbours; worker 0 answers   |
 * | TCP, UDP, ICMP query                   | that of its flow (flow.ts)                                   |
 * | ICMP error                             | that of the flow it quotes, that inside of a tunnel included |
 * | fragment                               | that of its pair of addresses; the whole datagram moves on   |
 * | to a service, or from its NAT server   | that of the client, where the service says so (`kinds`)       |
 * | other IPv4                             | that of its pair of addresses                                |
 * | anything else                          | whoever received it                                          |
 *
 * Called by handover.ts for each frame, by tcp.ts and sapool.ts for local ports.
 */
import type { FramePool } from '../mem/frame-pool.ts';
import type { FrameId, Ipv4 } from '../types.ts';
import { get16, get32 } from '../wire/bytes.ts';
import * as ethernet from '../wire/ethernet.ts';
import * as icmp from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import { homeGroup, ofAddress, ofPort, ownerOfFlow, ownerOfPair } from './flow.ts';

/** An owner: a copy for each. */
export const EVERYBODY = -1;

/** By which part of the flow the owner is told. */
export const BY_FLOW = 0;
/** The client's address and port: with NAT both directions show them, and nothing else that is the same. */
export const BY_CLIENT = 1;
/** The client's address, as far as `clientMask` looks at it: all its flows meet at one worker, which remembers its server. */
export const BY_CLIENT_ADDRESS = 2;

/** Services and servers whose flows are not told by all four parts. Built anew with each change. */
export interface Kinds {
  /** By `endpointKey`; port 0 stands for all ports that are not listed. */
  readonly services: ReadonlyMap<number, number>;
  /** NAT servers by address. */
  readonly natServers: ReadonlyMap<Ipv4, number>;
  /** Which bits of an address make a client. One for all services: what a NAT server sends does not say of which one it is. */
  readonly clientMask: Ipv4;
  /** Virtual addresses with a service divided by the client's address: fragments are, too. */
  readonly byAddress: ReadonlySet<Ipv4>;
  /** All servers: what they send to an address of ours is an answer, where no service has the very port. */
  readonly servers: ReadonlySet<Ipv4>;
  isLocal(addr: Ipv4): boolean;
}

export const endpointKey = (proto: number, addr: Ipv4, port: number): number =>
  ((addr >>> 0) * 0x10000 + port) * 256 + proto;

/** What stands for the ports of an ICMP query: its identifier, and type and code of the request. */
function queryPorts(buf: Uint8Array, l4: number): number {
  const type = buf[l4];
  const request =
    type === icmp.ECHO_REPLY ? icmp.ECHO_REQUEST : type === 14 || type === 16 || type === 18 ? type - 1 : type;
  const kind = (request << 8) | buf[l4 + 1];
  const id = get16(buf, l4 + 4);
  return type === request ? (id << 16) | kind : (kind << 16) | id;
}

export class Steering {
  readonly worker: number;
  readonly workers: number;
  /** Null: every flow is told by all its parts. */
  kinds: Kinds | null = null;
  /** What held before services that had connections were divided anew; undefined: that has not happened. */
  former: Kinds | null | undefined = undefined;

  constructor(worker: number, workers: number) {
    this.worker = worker;
    this.workers = workers;
  }

  /** Whether a reply of this peer to the port comes to us. */
  isHome(laddr: Ipv4, lport: number, raddr: Ipv4, rport: number): boolean {
    return ofPort(lport) % this.workers === this.group(laddr, raddr, rport);
  }

  /** See homeGroup. */
  group(laddr: Ipv4, raddr: Ipv4, rport: number): number {
    return homeGroup(this.worker, this.workers, laddr, raddr, rport);
  }

  /** Whose a frame is that begins with its Ethernet header; EVERYBODY for ARP. */
  owner(pool: FramePool, f: FrameId): number {
    const { buf } = pool;
    const off = pool.off[f];
    const len = pool.len[f];
    if (len < ethernet.ETH_LEN) return this.worker;
    const type = ethernet.type(buf, off);
    if (type === ethernet.ETHERTYPE_ARP) return EVERYBODY;
    if (type !== ethernet.ETHERTYPE_IPV4) return this.worker;
    return this.ownerOfPacket(buf, off + ethernet.ETH_LEN, off + len);
  }

  /** Whose an IPv4 packet in `[l3, end)` is. */
  ownerOfPacket(buf: Uint8Array, l3: number, end: number): number {
    if (end - l3 < ip.IPV4_LEN) return this.worker;
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    if (ip.isFragment(buf, l3)) return this.ofAddresses(src, dst);
    const l4 = l3 + ip.headerLength(buf, l3);
    switch (ip.proto(buf, l3)) {
      case ip.PROTO_TCP:
      case ip.PROTO_UDP:
        if (end - l4 < 4) return this.worker;
        return this.ofFlow(ip.proto(buf, l3), src, dst, get32(buf, l4));
      case ip.PROTO_ICMP:
        return this.ofIcmp(buf, l4, end, src, dst);
      default:
        return this.ofAddresses(src, dst);
    }
  }

  /** Whose an IPv4 packet in `[l3, end)` was before the division changed; ourselves, if it never did. Cold. */
  formerOwnerOfPacket(buf: Uint8Array, l3: number, end: number): number {
    const { kinds, former } = this;
    if (former === undefined) return this.worker;
    this.kinds = former;
    const owner = this.ownerOfPacket(buf, l3, end);
    this.kinds = kinds;
    return owner;
  }

  /** As `owner`, for a packet that there is none of: `ports` as in flow.ts, of an ICMP query those of `queryPorts`. */
  ownerOfPorts(proto: number, src: Ipv4, dst: Ipv4, ports: number): number {
    return this.ofFlow(proto, src, dst, ports);
  }

  private ofIcmp(buf: Uint8Array, l4: number, end: number, src: Ipv4, dst: Ipv4): number {
    if (end - l4 < icmp.ICMP_LEN) return this.worker;
    const type = buf[l4];
    if (icmp.isError(type)) return this.ofQuoted(buf, l4 + icmp.ICMP_LEN, end);
    return this.ofFlow(ip.PROTO_ICMP, src, dst, queryPorts(buf, l4));
  }

  /** The quoted packet goes the other way than the error: for `ofFlow`, ends change places. */
  private ofQuoted(buf: Uint8Array, l3: number, end: number): number {
    if (end - l3 < ip.IPV4_LEN) return this.worker;
    const proto = ip.proto(buf, l3);
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const l4 = l3 + ip.headerLength(buf, l3);
    const hasPorts = proto === ip.PROTO_TCP || proto === ip.PROTO_UDP;
    if (ip.fragmentOffset(buf, l3) !== 0 || end - l4 < icmp.ICMP_LEN) return this.ofAddresses(dst, src);
    if (hasPorts) return this.ofFlow(proto, dst, src, (get16(buf, l4 + 2) << 16) | get16(buf, l4));
    if (proto === ip.PROTO_ICMP) return this.ofFlow(proto, dst, src, queryPorts(buf, l4));
    // What we sent through a tunnel is what its client sent to us.
    return proto === ip.PROTO_IPIP ? this.ofTunnelled(buf, l4, end) : this.ofAddresses(dst, src);
  }

  /** As `ownerOfPacket`, for the packet in a tunnel, of which no more need be there than eight bytes of layer 4. */
  private ofTunnelled(buf: Uint8Array, l3: number, end: number): number {
    if (end - l3 < ip.IPV4_LEN) return this.worker;
    const proto = ip.proto(buf, l3);
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const l4 = l3 + ip.headerLength(buf, l3);
    if (ip.isFragment(buf, l3) || end - l4 < icmp.ICMP_LEN) return this.ofAddresses(src, dst);
    if (proto === ip.PROTO_TCP || proto === ip.PROTO_UDP) return this.ofFlow(proto, src, dst, get32(buf, l4));
    if (proto === ip.PROTO_ICMP) return this.ofFlow(proto, src, dst, queryPorts(buf, l4));
    return this.ofAddresses(src, dst);
  }

  private ofFlow(proto: number, src: Ipv4, dst: Ipv4, ports: number): number {
    const { workers, kinds } = this;
    if (kinds === null) return ownerOfFlow(src, dst, ports, workers);
    if (kinds.isLocal(dst)) {
      const kind = this.kindOf(kinds, proto, src, dst, ports & 0xffff);
      if (kind === BY_FLOW) return ownerOfFlow(src, dst, ports, workers);
      return kind === BY_CLIENT
        ? (ofAddress(src) + ofPort(ports >>> 16)) % workers
        : ofAddress(src & kinds.clientMask) % workers;
    }
    const kind = kinds.natServers.get(src) ?? BY_FLOW;
    if (kind === BY_FLOW) return ownerOfFlow(src, dst, ports, workers);
    return kind === BY_CLIENT
      ? (ofAddress(dst) + ofPort(ports & 0xffff)) % workers
      : ofAddress(dst & kinds.clientMask) % workers;
  }

  private kindOf(kinds: Kinds, proto: number, src: Ipv4, dst: Ipv4, port: number): number {
    const { services, servers } = kinds;
    const own = services.get(endpointKey(proto, dst, port));
    if (own !== undefined) return own;
    return servers.has(src) ? BY_FLOW : (services.get(endpointKey(proto, dst, 0)) ?? BY_FLOW);
  }

  /** Fragments: whose the datagram is, is looked at again when it is whole. */
  private ofAddresses(src: Ipv4, dst: Ipv4): number {
    const { workers, kinds } = this;
    if (kinds === null) return ownerOfPair(src, dst, workers);
    if (kinds.byAddress.has(dst) && !kinds.servers.has(src)) return ofAddress(src & kinds.clientMask) % workers;
    return ownerOfPair(src, dst, workers);
  }
}
