/**
 * One host's stack put together: here, and nowhere else in stack/, the modules are given to each other. A worker has
 * one; a simulation has as many as it has hosts.
 *
 * ```
 *  netif -> ethernet -> ipv4 input -> icmp | udp | tcp -> sockets
 *  netif <- ethernet <- neigh <- route <- ipv4 output <-'
 * ```
 *
 * `turn` is one turn of the loop: receive, let owners act, send, advance timers. It is all a loop has to call.
 * @hot
 */
import type { Context } from './context.ts';
import { EthernetInput } from './ethernet/input.ts';
import { Hooks } from './hook.ts';
import { IcmpError } from './icmp/error.ts';
import { Icmp4Input } from './icmp/icmp4.ts';
import { RateLimit } from './icmp/ratelimit.ts';
import { LocalAddresses } from './inetaddr/addr.ts';
import { FastForward } from './ipv4/fast-forward.ts';
import { Ip4Forward } from './ipv4/forward.ts';
import { Fragmenter } from './ipv4/fragment.ts';
import { IpIds } from './ipv4/id.ts';
import { Ip4Input } from './ipv4/input.ts';
import { IpipInput, type Origin } from './ipv4/ipip.ts';
import { OptionWalker } from './ipv4/options.ts';
import { Ip4Sender } from './ipv4/output.ts';
import { DEFAULT_REASSEMBLY, Reassembler, type ReassemblyLimits } from './ipv4/reassemble.ts';
import { Adjacencies } from './neigh/adjacency.ts';
import { ANNOUNCE_SLOTS } from './neigh/announce.ts';
import { createNeigh, DEFAULT_NEIGH, type Neigh, type NeighConfig } from './neigh/index.ts';
import { NeighTable } from './neigh/table.ts';
import type { Device } from './netif/device.ts';
import { GSO_MAX } from './netif/gso.ts';
import { Netif, type Port } from './netif/port.ts';
import { ConnectedRoutes } from './route/connected.ts';
import { Routes4 } from './route/route4.ts';
import { DEFAULT_TCP, type TcpConfig } from './tcp/config.ts';
import { TcpInput } from './tcp/input.ts';
import { Tcp } from './tcp/tcp.ts';
import { T_COUNT } from './tcp/timers.ts';
import { Timers } from './timer/timers.ts';
import type { Ipv4, Micros, PortId } from './types.ts';
import { UdpInput } from './udp/input.ts';
import { UdpSockets } from './udp/socket.ts';
import { EXCEEDED_REASSEMBLY, TIME_EXCEEDED, UNREACH_HOST, UNREACHABLE } from './wire/icmp4.ts';
import { DEFAULT_TTL, PROTO_ICMP, PROTO_IPIP, PROTO_TCP, PROTO_UDP } from './wire/ipv4.ts';

export interface HostConfig {
  readonly tcp: TcpConfig;
  readonly neigh: NeighConfig;
  readonly reassembly: ReassemblyLimits;
  /** Time to live of packets made here, 1..255 (RFC 1122 §3.2.1.7). */
  readonly ttl: number;
}

export const DEFAULT_HOST: HostConfig = {
  tcp: DEFAULT_TCP,
  neigh: DEFAULT_NEIGH,
  reassembly: DEFAULT_REASSEMBLY,
  ttl: DEFAULT_TTL,
};

/** Things that happen rarely and that somebody should hear of. */
export interface HostEvents {
  /** Another host uses `ip`, an address of ours. */
  onConflict(port: PortId, ip: Ipv4, macHi: number, macLo: number): void;
}

/** Timers fired in one turn at most: a million connections that end together must not keep frames waiting. */
const TIMERS_AT_ONCE = 128;

export class Host {
  readonly ctx: Context;
  readonly timers: Timers;
  readonly netif: Netif;
  readonly addresses = new LocalAddresses();
  readonly routes: Routes4;
  readonly neigh: Neigh;
  readonly hooks = new Hooks();
  readonly ip: Ip4Sender;
  readonly icmp: Icmp4Input;
  readonly icmpError: IcmpError;
  readonly reassembler: Reassembler;
  readonly udp: UdpSockets;
  readonly tcp: Tcp;
  readonly ethernet: EthernetInput;
  readonly ip4: Ip4Input;
  /** That of forwarding; null while there is none. */
  shortCut: FastForward | null = null;
  /** The end of IPIP tunnels, if there is one. */
  ipip: IpipInput | null = null;

  /** `neighSab` may be shared memory that others read; `moreTimers` are for users of `timers` outside the stack. */
  constructor(
    ctx: Context,
    events: HostEvents,
    config: HostConfig = DEFAULT_HOST,
    neighSab = new SharedArrayBuffer(NeighTable.bytes(config.neigh.maxNeighbours)),
    moreTimers = 0,
  ) {
    this.ctx = ctx;
    const timers =
      config.tcp.maxConnections * T_COUNT +
      2 +
      config.neigh.maxNeighbours +
      config.reassembly.datagrams +
      ANNOUNCE_SLOTS +
      moreTimers;
    this.timers = new Timers(timers, ctx.nowMs);
    this.netif = new Netif(ctx);
    this.routes = new Routes4(this.netif);
    new ConnectedRoutes(this.routes, this.addresses);
    this.neigh = createNeigh(
      ctx,
      this.netif,
      this.addresses,
      this.timers,
      {
        onUnreachable: (frame) => this.icmpError.send(frame, UNREACHABLE, UNREACH_HOST, 0),
        onConflict: (port, ip, hi, lo) => events.onConflict(port, ip, hi, lo),
      },
      config.neigh,
      neighSab,
    );
    this.ip = new Ip4Sender(
      ctx,
      this.routes,
      this.addresses,
      this.neigh.output,
      new IpIds(ctx.random),
      new Fragmenter(ctx),
      (hop, port) => this.neigh.nud.confirm(hop, port),
      this.hooks,
      config.ttl,
    );
    this.icmpError = new IcmpError(ctx, this.addresses, this.ip, new RateLimit(ctx.random, ctx.nowMs));
    this.reassembler = new Reassembler(
      ctx,
      this.timers,
      (frame0) => this.icmpError.send(frame0, TIME_EXCEEDED, EXCEEDED_REASSEMBLY, 0),
      config.reassembly,
    );
    const options = new OptionWalker(ctx);
    const ip4 = new Ip4Input(ctx, this.addresses, options, this.reassembler, this.icmpError, this.hooks);
    this.ip4 = ip4;
    this.icmp = new Icmp4Input(ctx, this.addresses, this.ip);
    this.udp = new UdpSockets(ctx, this.ip, {
      isLocal: (a) => this.addresses.isLocal(a),
      sourceTowards: (dst) => this.sourceTowards(dst),
    });
    const udpInput = new UdpInput(ctx, this.udp, this.icmpError);
    this.tcp = new Tcp(ctx, this.ip, this.timers, config.tcp);
    this.tcp.gsoMax = GSO_MAX;
    const tcpInput = new TcpInput(this.tcp);
    ip4.register(PROTO_ICMP, this.icmp);
    ip4.register(PROTO_UDP, udpInput);
    ip4.register(PROTO_TCP, tcpInput);
    ip4.attachFlows(this.tcp.flows);
    this.icmp.onError(PROTO_UDP, udpInput);
    this.icmp.onError(PROTO_TCP, tcpInput);
    this.ethernet = new EthernetInput(ctx, this.netif, ip4, this.neigh.arp);
    this.netif.attach(this.ethernet);
  }

  /** Forwards packets that are not for us (RFC 1812); off until this is called, as for any host. */
  enableForwarding(): void {
    if (this.ip4.forwards) return;
    this.ip4.attachForward(new Ip4Forward(this.ctx, this.ip, this.icmpError, this.hooks));
    const { ctx, routes, addresses, neigh, netif } = this;
    this.shortCut = new FastForward(this, new Adjacencies(ctx, routes, addresses, neigh.table, netif));
    netif.attachShortCut(this.shortCut, false);
  }

  /**
   * Takes packets out of IPIP tunnels that end here (RFC 2003); off until this is called. With `origins`, only those that
   * come from there, and what is in them and not for us is forwarded, although nothing else is.
   */
  enableIpip(origins?: readonly Origin[]): void {
    const forward = origins && new Ip4Forward(this.ctx, this.ip, this.icmpError, this.hooks);
    this.ipip = new IpipInput(this.ctx, this.ip4, origins, forward);
    this.ip4.register(PROTO_IPIP, this.ipip);
  }

  /** Adds a port; a MAC address is its first 2 bytes and its last 4. */
  addPort(device: Device, macHi: number, macLo: number): Port {
    return this.netif.addPort(device, macHi, macLo);
  }

  /** The address packets to `dst` leave from when nobody says otherwise; 0 = no route. */
  sourceTowards(dst: Ipv4): Ipv4 {
    if (!this.routes.lookup(dst)) return 0;
    return this.routes.outSrc !== 0 ? this.routes.outSrc : this.addresses.sourceFor(dst, this.routes.outPort);
  }

  /** One turn at time `now`: returns the number of frames received. */
  turn(now: Micros): number {
    const { ctx, netif, timers, tcp } = this;
    ctx.tick(now);
    let received = 0;
    for (let i = 1; i < netif.ports.length; i++) {
      const port = netif.ports[i];
      if (port !== null) received += netif.receive(port);
    }
    timers.advance(ctx.nowMs, TIMERS_AT_ONCE);
    tcp.flush();
    netif.flush();
    return received;
  }

  /** Milliseconds until a timer is due or a device has something to do, at most `limitMs`. */
  nextDue(limitMs: number): number {
    let due = this.timers.nextDue(this.ctx.nowMs, limitMs);
    const { ports } = this.netif;
    for (let i = 1; i < ports.length; i++) {
      const port = ports[i];
      if (port === null) continue;
      const wait = port.device.nextDueMs ?? -1;
      if (wait >= 0 && wait < due) due = wait;
      // A device that did not take all it was given is asked again soon: nothing tells when it can.
      if (port.queued > 0 && due > 1) due = 1;
    }
    return due;
  }

  /** False when a device has input already: the loop must not sleep. */
  prepareSleep(): boolean {
    const { ports } = this.netif;
    let idle = true;
    for (let i = 1; i < ports.length; i++) {
      const device = ports[i]?.device;
      if (device?.prepareSleep !== undefined && !device.prepareSleep()) idle = false;
    }
    return idle;
  }

  /** Who holds frames, for the conservation law: the sum equals `pool.inUse` when this host alone uses the pool. */
  held(): Record<string, number> {
    return {
      transmit: this.netif.held(),
      device: this.netif.heldByDevices(),
      neighbour: this.neigh.queue.held,
      reassembly: this.reassembler.held,
      udp: this.udp.held,
      tcpReceive: this.tcp.heldUnread(),
      tcpSend: this.tcp.heldUnacknowledged(),
    };
  }
}
