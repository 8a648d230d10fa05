/**
 * UDP sockets (RFC 768, RFC 1122 §4.1): ports, bounded receive queues, sending.
 *
 * A socket is found by its local port first, then by its address: an exact one before the wildcard 0. Received frames
 * are queued as they are, linked through `pool.next`; nothing is copied until the reader takes them.
 *
 * Ephemeral ports are chosen at random, then counted up until one is free (RFC 6056 §3.3.1).
 *
 * Ownership: `enqueue` keeps the frame when it returns STOLEN; `take` gives it to the reader, who hands it to `done`.
 * Called by udp/input with received datagrams, and by socket/datagram for applications.
 * @hot for enqueue, find, send; the rest is control.
 */
import type { Context } from '../context.ts';
import { IP_NO_ROUTE, OVERSIZE, POOL_EMPTY, PORT_CLOSED, UDP_QUEUE_FULL } from '../drop.ts';
import { F_CSUM_PARTIAL, L4_HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId, Ipv4, Verdict } from '../types.ts';
import { DELIVERED, DROP, dropReason, isDrop, STOLEN } from '../verdict.ts';
import { fold, pseudo4 } from '../wire/checksum.ts';
import * as ip from '../wire/ipv4.ts';
import * as udp from '../wire/udp.ts';

/** What is asked of IP: `frame` holds the layer-4 bytes. */
export interface UdpOutput {
  output(frame: FrameId, src: Ipv4, dst: Ipv4, proto: number, df: boolean): Verdict;
}

/** What is asked of the local addresses and routes. */
export interface UdpAddresses {
  isLocal(a: Ipv4): boolean;
  /** The address to speak from towards `dst`, 0 = no route. */
  sourceTowards(dst: Ipv4): Ipv4;
}

/** Ports given out when none is asked for: outside those of well-known services, within RFC 6056 §3.2. */
export const EPHEMERAL_FIRST = 32768;
export const EPHEMERAL_LAST = 65535;

/** Bounds of one socket's receive queue: frames, and bytes of pool memory they pin. */
const QUEUE_FRAMES = 128;
const QUEUE_BYTES = 1 << 19;

export class UdpSocket {
  /** Bound address (0 = any) and port (0 = not bound). */
  addr: Ipv4 = 0;
  port = 0;
  /** Of the datagram that `take` returned: peer, the local address it came to, where its data is. */
  fromAddr: Ipv4 = 0;
  fromPort = 0;
  toAddr: Ipv4 = 0;
  dataOff = 0;
  dataLen = 0;
  /** Frames in the queue, and the pool bytes they pin. */
  queued = 0;
  queuedBytes = 0;
  queueFrames = QUEUE_FRAMES;
  queueBytes = QUEUE_BYTES;
  /** Called for each datagram queued. */
  onReadable: (() => void) | null = null;
  /** Called when an ICMP error says that a datagram to (addr, port) did not arrive (RFC 1122 §4.1.3.3). */
  onUnreachable: ((addr: Ipv4, port: number, type: number, code: number) => void) | null = null;
  /** Next socket on the same port; written by UdpSockets. */
  nextOnPort: UdpSocket | null = null;

  private readonly ctx: Context;
  private readonly sockets: UdpSockets;
  private head: FrameId = 0;
  private tail: FrameId = 0;

  /** Use `UdpSockets.create`. */
  constructor(ctx: Context, sockets: UdpSockets) {
    this.ctx = ctx;
    this.sockets = sockets;
  }

  /** Takes a checked datagram (l3, l4 set): STOLEN or DROP|UDP_QUEUE_FULL. */
  enqueue(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const size = pool.size(f);
    if (this.queued >= this.queueFrames || this.queuedBytes + size > this.queueBytes) return DROP | UDP_QUEUE_FULL;
    pool.next[f] = 0;
    if (this.tail === 0) this.head = f;
    else pool.next[this.tail] = f;
    this.tail = f;
    this.queued += 1;
    this.queuedBytes += size;
    this.sockets.held += 1;
    if (this.onReadable !== null) this.onReadable();
    return STOLEN;
  }

  /** The oldest datagram, described in the fields above, or 0. The caller ends it with `done`. */
  take(): FrameId {
    const f = this.head;
    if (f === 0) return 0;
    const { pool } = this.ctx;
    const { buf } = pool;
    this.head = pool.next[f]!;
    if (this.head === 0) this.tail = 0;
    pool.next[f] = 0;
    this.queued -= 1;
    this.queuedBytes -= pool.size(f);
    this.sockets.held -= 1;
    const l3 = pool.l3[f]!;
    const l4 = pool.l4[f]!;
    this.fromAddr = ip.src(buf, l3);
    this.fromPort = udp.srcPort(buf, l4);
    this.toAddr = ip.dst(buf, l3);
    this.dataOff = l4 + udp.UDP_LEN;
    this.dataLen = udp.length(buf, l4) - udp.UDP_LEN;
    return f;
  }

  /** Ends a datagram that was read. */
  done(f: FrameId): void {
    this.ctx.settle(f, DELIVERED);
  }

  /** Drops what is queued. */
  clear(): void {
    for (let f = this.take(); f !== 0; f = this.take()) this.ctx.settle(f, DROP | PORT_CLOSED);
  }
}

export class UdpSockets {
  /** Frames waiting in the queues of all sockets; written by them. */
  held = 0;
  readonly addrs: UdpAddresses;

  private readonly ctx: Context;
  private readonly ip4: UdpOutput;
  /** First socket on each port. */
  private readonly ports: (UdpSocket | null)[] = new Array(65536).fill(null);

  constructor(ctx: Context, ip4: UdpOutput, addrs: UdpAddresses) {
    this.ctx = ctx;
    this.ip4 = ip4;
    this.addrs = addrs;
  }

  create(): UdpSocket {
    return new UdpSocket(this.ctx, this);
  }

  /** Gives the socket an address (0 = any) and a port (0 = choose one). False when it is taken, or none is free. */
  bind(s: UdpSocket, addr: Ipv4, port: number): boolean {
    if (s.port !== 0) throw new Error(`UDP socket is bound to port ${s.port}`);
    const chosen = port === 0 ? this.choosePort() : port;
    if (chosen === 0 || this.exact(addr, chosen) !== null) return false;
    s.addr = addr;
    s.port = chosen;
    s.nextOnPort = this.ports[chosen]!;
    this.ports[chosen] = s;
    return true;
  }

  /** Drops what is queued and gives the port back. */
  close(s: UdpSocket): void {
    s.clear();
    if (s.port === 0) return;
    if (this.ports[s.port] === s) this.ports[s.port] = s.nextOnPort;
    else {
      let before = this.ports[s.port]!;
      while (before.nextOnPort !== s) before = before.nextOnPort!;
      before.nextOnPort = s.nextOnPort;
    }
    s.nextOnPort = null;
    s.port = 0;
    s.addr = 0;
  }

  /** The socket for datagrams to this address and port, or null. */
  find(addr: Ipv4, port: number): UdpSocket | null {
    let wildcard: UdpSocket | null = null;
    for (let s: UdpSocket | null = this.ports[port]!; s !== null; s = s.nextOnPort) {
      if (s.addr === addr) return s;
      if (s.addr === 0) wildcard = s;
    }
    return wildcard;
  }

  /** Sends one datagram from a bound socket. Returns 0 or the reason (drop.ts) why it did not leave. */
  send(s: UdpSocket, data: Uint8Array, dst: Ipv4, port: number): number {
    const { ctx } = this;
    const { pool } = ctx;
    if (data.length > udp.UDP_DATA_MAX) return OVERSIZE;
    const src = s.addr !== 0 ? s.addr : this.addrs.sourceTowards(dst);
    if (src === 0) return IP_NO_ROUTE;
    const len = udp.UDP_LEN + data.length;
    const f = L4_HEADROOM + len <= pool.config.slotBytes ? ctx.create() : ctx.createBig();
    if (f === 0) return POOL_EMPTY;
    const off = pool.base(f) + L4_HEADROOM;
    // The port computes the rest of the checksum, or netif does for a port that cannot.
    udp.emit(pool.buf, off, s.port, port, len, fold(pseudo4(src, dst, ip.PROTO_UDP, len)));
    pool.buf.set(data, off + udp.UDP_LEN);
    pool.off[f] = off;
    pool.len[f] = len;
    pool.l4[f] = off;
    pool.flags[f]! |= F_CSUM_PARTIAL;
    pool.csumStart[f] = off;
    pool.csumOff[f] = udp.CHECKSUM_OFFSET;
    const verdict = this.ip4.output(f, src, dst, ip.PROTO_UDP, false);
    ctx.settle(f, verdict);
    return isDrop(verdict) ? dropReason(verdict) : 0;
  }

  private exact(addr: Ipv4, port: number): UdpSocket | null {
    let s: UdpSocket | null = this.ports[port]!;
    while (s !== null && s.addr !== addr) s = s.nextOnPort;
    return s;
  }

  /** A port on which no socket listens, whatever its address; 0 = none. */
  private choosePort(): number {
    const count = EPHEMERAL_LAST - EPHEMERAL_FIRST + 1;
    const start = (this.ctx.random.next() >>> 0) % count;
    for (let i = 0; i < count; i++) {
      const port = EPHEMERAL_FIRST + ((start + i) % count);
      if (this.ports[port] === null) return port;
    }
    return 0;
  }
}
