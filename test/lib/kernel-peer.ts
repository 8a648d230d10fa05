/**
 * A host made of a few lines for tests of links against the real kernel: it owns one IPv4 address, answers ARP and ping, and
 * accepts one TCP connection at a time, on any port, on which it sends a greeting and counts what it gets. It is no TCP: nothing is
 * retransmitted, and what is not the next byte is ignored.
 */
import type { Context } from '../../stack/context.ts';
import { FATE_RECEIVED } from '../../stack/context.ts';
import { F_CSUM_PARTIAL, GSO_NONE, GSO_TCPV4 } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { finishChecksum } from '../../stack/netif/gso.ts';
import type { FrameId } from '../../stack/types.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import { get32, set16, set32 } from '../../stack/wire/bytes.ts';
import { finish, pseudo4, sum } from '../../stack/wire/checksum.ts';
import * as ethernet from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';

const MSS = 1460;
const ISN = 1000;
const IP = 14;
const L4 = 34;

export class KernelPeer {
  readonly mac = [2, 0x74, 0x73, 0, 0, 1];
  /** Bytes of TCP data received in order. */
  received = 0;
  /** Largest frame received, and how many came with a segment size. */
  largest = 0;
  segmented = 0;
  /** Received TCP segments with a finished checksum that is wrong. */
  badChecksums = 0;

  private readonly ctx: Context;
  private readonly device: Device;
  private readonly address: number;
  private readonly greeting: Uint8Array;
  private greeted = false;
  private next = 0;
  private readonly frames = new Int32Array(64);

  /** `greeting`: what to send when a connection is established, in one frame if the device takes it. */
  constructor(ctx: Context, device: Device, address: number, greeting: Uint8Array) {
    this.ctx = ctx;
    this.device = device;
    this.address = address;
    this.greeting = greeting;
  }

  /** Handles what has arrived; returns the number of frames. */
  poll(): number {
    const n = this.device.rx(this.frames, this.frames.length);
    this.ctx.fate[FATE_RECEIVED]! += n;
    for (const f of this.frames.slice(0, n)) {
      this.handle(f);
      this.ctx.settle(f, DELIVERED);
    }
    return n;
  }

  private handle(f: FrameId): void {
    const { pool } = this.ctx;
    const off = pool.off[f]!;
    this.largest = Math.max(this.largest, pool.len[f]!);
    if (pool.gsoType[f] !== GSO_NONE) this.segmented += 1;
    switch (ethernet.type(pool.buf, off)) {
      case ethernet.ETHERTYPE_ARP:
        if (get32(pool.buf, off + IP + 24) === this.address) this.answerArp(off);
        break;
      case ethernet.ETHERTYPE_IPV4:
        if (ipv4.dst(pool.buf, off + IP) !== this.address) break;
        if (ipv4.proto(pool.buf, off + IP) === ipv4.PROTO_ICMP) this.answerPing(f);
        if (ipv4.proto(pool.buf, off + IP) === ipv4.PROTO_TCP) this.answerTcp(f);
    }
  }

  private answerArp(request: number): void {
    const f = this.ctx.create();
    const { buf, off, len } = this.ctx.pool;
    const at = off[f]!;
    buf.copyWithin(at, request, request + 42);
    len[f] = 42;
    buf.copyWithin(at, request + 6, request + 12);
    buf.set(this.mac, at + 6);
    buf[at + IP + 7] = 2;
    buf.set(this.mac, at + IP + 8);
    set32(buf, at + IP + 14, this.address);
    buf.copyWithin(at + IP + 18, request + IP + 8, request + IP + 18);
    this.send(f);
  }

  private answerPing(request: FrameId): void {
    const f = this.ctx.create();
    const { pool } = this.ctx;
    const { buf } = pool;
    const at = this.turn(request, f, pool.len[request]!);
    buf[at + L4] = 0;
    set16(buf, at + L4 + 2, 0);
    set16(buf, at + L4 + 2, finish(sum(buf, pool.i32, at + L4, pool.len[f]! - L4, 0)));
    this.send(f);
  }

  /** Makes `f` a copy of the first `len` bytes of `request` with the addresses swapped; returns where it starts. */
  private turn(request: FrameId, f: FrameId, len: number): number {
    const { pool } = this.ctx;
    const { buf } = pool;
    const from = pool.off[request]!;
    const at = pool.off[f]!;
    buf.copyWithin(at, from, from + len);
    pool.len[f] = len;
    buf.copyWithin(at, from + 6, from + 12);
    buf.set(this.mac, at + 6);
    buf.copyWithin(at + IP + 12, from + IP + 16, from + IP + 20);
    buf.copyWithin(at + IP + 16, from + IP + 12, from + IP + 16);
    return at;
  }

  private answerTcp(f: FrameId): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.off[f]! + L4;
    const flags = tcp.flags(buf, l4);
    const data = ipv4.totalLength(buf, pool.off[f]! + IP) - 20 - tcp.dataOffset(buf, l4);
    if ((pool.flags[f]! & F_CSUM_PARTIAL) === 0 && !this.checksumIsRight(f)) this.badChecksums += 1;
    if ((flags & tcp.RST) !== 0) return;
    if ((flags & tcp.SYN) !== 0) {
      this.next = (tcp.seq(buf, l4) + 1) | 0;
      this.greeted = false;
      this.segment(f, tcp.SYN | tcp.ACK, ISN, [2, 4, MSS >> 8, MSS & 255, 3, 3, 7, 0], new Uint8Array(0));
      return;
    }
    if (!this.greeted) {
      this.greeted = true;
      if (this.greeting.length > 0) this.segment(f, tcp.ACK | tcp.PSH, ISN + 1, [], this.greeting);
    }
    if (tcp.seq(buf, l4) !== this.next || (data === 0 && (flags & tcp.FIN) === 0)) return;
    this.received += data;
    const fin = flags & tcp.FIN;
    this.next = (this.next + data + fin) | 0;
    this.segment(f, tcp.ACK | fin, ISN + 1 + this.greeting.length, [], new Uint8Array(0));
  }

  private checksumIsRight(f: FrameId): boolean {
    const { pool } = this.ctx;
    const ip = pool.off[f]! + IP;
    const len = ipv4.totalLength(pool.buf, ip) - 20;
    const start = pseudo4(ipv4.src(pool.buf, ip), ipv4.dst(pool.buf, ip), ipv4.PROTO_TCP, len);
    return finish(sum(pool.buf, pool.i32, ip + 20, len, start)) === 0;
  }

  /** Sends a segment back to where `request` came from, cut here when the device does not cut it. */
  private segment(request: FrameId, flags: number, seq: number, options: number[], data: Uint8Array): void {
    const step = this.device.caps.tso ? 60000 : MSS;
    let at = 0;
    do {
      const part = data.subarray(at, at + step);
      this.oneSegment(request, flags, seq + at, options, part);
      at += part.length;
    } while (at < data.length);
  }

  private oneSegment(request: FrameId, flags: number, seq: number, options: number[], data: Uint8Array): void {
    const { ctx, device } = this;
    const { pool } = ctx;
    const { buf } = pool;
    const f = ctx.create();
    const at = this.turn(request, f, L4 + 20 + options.length);
    const l4 = at + L4;
    const ports = get32(buf, pool.off[request]! + L4);
    const l4Len = 20 + options.length + data.length;
    set16(buf, at + IP + 2, 20 + l4Len);
    ipv4.fillChecksum(buf, pool.i32, at + IP);
    set32(buf, l4, (ports << 16) | (ports >>> 16));
    set32(buf, l4 + 4, seq);
    set32(buf, l4 + 8, this.next);
    buf[l4 + 12] = (20 + options.length) << 2;
    buf[l4 + 13] = flags;
    set16(buf, l4 + 14, 0xffff);
    set16(buf, l4 + 18, 0);
    buf.set(options, l4 + 20);
    const pseudo = pseudo4(ipv4.src(buf, at + IP), ipv4.dst(buf, at + IP), ipv4.PROTO_TCP, l4Len);
    set16(buf, l4 + 16, ~finish(pseudo) & 0xffff);
    pool.csumStart[f] = l4;
    pool.csumOff[f] = 16;
    if (device.caps.txChecksum) {
      pool.flags[f]! |= F_CSUM_PARTIAL;
      if (data.length > 0) this.attach(f, data);
      if (data.length > MSS) {
        pool.gsoType[f] = GSO_TCPV4;
        pool.gsoSize[f] = MSS;
      }
    } else {
      buf.set(data, l4 + 20 + options.length);
      pool.len[f]! += data.length;
      finishChecksum(pool, f);
    }
    this.send(f);
  }

  private attach(f: FrameId, data: Uint8Array): void {
    const { ctx } = this;
    const { pool } = ctx;
    const slice = ctx.createBig();
    pool.buf.set(data, pool.off[slice]!);
    pool.frag[f] = slice;
    pool.fragOff[f] = pool.off[slice]!;
    pool.fragLen[f] = data.length;
  }

  private send(f: FrameId): void {
    if (this.device.tx(Int32Array.of(f), 0, 1) === 0) this.ctx.settle(f, DELIVERED);
  }
}
