/**
 * A device that costs next to nothing and is never without work: it copies a template of 64 bytes and has somebody write
 * addresses and header checksum into it; what is sent ends there. For benchmarks in memory.
 */
import type { Context } from '../../stack/context.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import type { Capabilities, Device } from '../../stack/netif/device.ts';
import { newStats } from '../../stack/netif/device.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { finish } from '../../stack/wire/checksum.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import * as udp from '../../stack/wire/udp.ts';

/** 60 bytes and the frame check sequence, which no device hands over. */
const FRAME = 60;
/** Ethernet and IP headers, from the frame's first byte. */
export const L3 = eth.ETH_LEN;
export const L4_AT = L3 + ipv4.IPV4_LEN;
/** Port of everything that a client sends. */
export const CPORT = 40000;
/** The last bytes of MAC addresses: whose the frames are for, and who sends them. */
export const OUR_MAC = 1;
export const SENDER_MAC = 254;

/** Finishes `frames[0..n)`; `first` is the number of the first. */
export type Source = (pool: FramePool, frames: Int32Array, n: number, first: number) => void;
export type Sink = (buf: Uint8Array, off: number, i: number) => void;

/** Gives frames that `source` has finished and shows what is sent to `sink`. */
export class Generator implements Device {
  readonly name = 'generator';
  readonly caps: Capabilities;
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  /** Frames that `rx` still has to give. */
  left = 0;
  sent = 0;
  source: Source = () => {};
  sink: Sink | null = null;
  private given = 0;
  private readonly ctx: Context;
  private readonly template: number;

  /** `cuts`: it takes GSO frames. */
  constructor(ctx: Context, proto: number, cuts = false) {
    const offloads = { txChecksum: cuts, rxChecksum: cuts, tso: cuts, scatter: cuts };
    this.caps = { mtu: 1500, ...offloads, queues: 1 };
    this.ctx = ctx;
    const { pool } = ctx;
    this.template = pool.off[pool.alloc()]!;
    eth.emit(pool.buf, this.template, 0x0200, OUR_MAC, 0x0200, SENDER_MAC, eth.ETHERTYPE_IPV4);
    ipv4.emit(pool.buf, this.template + L3, 0, 40, 7, ipv4.DF, 64, proto, 0, 0);
    const l4 = this.template + L4_AT;
    if (proto === ipv4.PROTO_UDP) udp.emit(pool.buf, l4, CPORT, 80, 20, 0x1234);
    else tcp.emit(pool.buf, l4, CPORT, 80, 1000, 2000, tcp.TCP_LEN, tcp.ACK, 500, 0x1234);
  }

  rx(out: Int32Array, max: number): number {
    const { pool } = this.ctx;
    const { i32 } = pool;
    const n = Math.min(max, this.left);
    // The frame begins two bytes behind a word.
    const from = this.template >> 2;
    for (let i = 0; i < n; i++) {
      const f = pool.alloc();
      out[i] = f;
      const off = pool.off[f]!;
      copy16(i32, from, off >> 2);
      pool.len[f] = FRAME;
    }
    this.source(pool, out, n, this.given);
    this.given += n;
    this.left -= n;
    return n;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const { pool } = this.ctx;
    if (this.sink !== null) {
      for (let i = from; i < to; i++) this.sink(pool.buf, pool.off[frames[i]!]!, this.sent + i - from);
    }
    this.sent += to - from;
    this.ctx.sentAll(frames, from, to);
    return to - from;
  }

  /** The next frame is number 0 again, in and out. */
  restart(): void {
    this.given = 0;
    this.sent = 0;
  }

  close(): void {}
}

/** Sixteen words: the frame and what surrounds it. Written out, it takes a quarter of the time of a loop. */
function copy16(i32: Int32Array, from: number, to: number): void {
  i32[to] = i32[from]!;
  i32[to + 1] = i32[from + 1]!;
  i32[to + 2] = i32[from + 2]!;
  i32[to + 3] = i32[from + 3]!;
  i32[to + 4] = i32[from + 4]!;
  i32[to + 5] = i32[from + 5]!;
  i32[to + 6] = i32[from + 6]!;
  i32[to + 7] = i32[from + 7]!;
  i32[to + 8] = i32[from + 8]!;
  i32[to + 9] = i32[from + 9]!;
  i32[to + 10] = i32[from + 10]!;
  i32[to + 11] = i32[from + 11]!;
  i32[to + 12] = i32[from + 12]!;
  i32[to + 13] = i32[from + 13]!;
  i32[to + 14] = i32[from + 14]!;
  i32[to + 15] = i32[from + 15]!;
}

/** The header checksum by the fields that vary; the rest of the template is in `FIXED`. */
const FIXED = 0x4500 + 40 + 7 + ipv4.DF;
export function address(i32: Int32Array, off: number, src: number, dst: number): void {
  const w = (off + L3) >> 2;
  i32[w + 3] = swap32(src);
  i32[w + 4] = swap32(dst);
  const ttl = i32[w + 2]! & 0xffff;
  const sum = finish(FIXED + swap32(ttl << 16) + (src >>> 16) + (src & 0xffff) + (dst >>> 16) + (dst & 0xffff));
  i32[w + 2] = ttl | (swap32(sum) & 0xffff0000);
}
