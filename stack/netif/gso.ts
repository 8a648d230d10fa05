/**
 * What netif does for a device that cannot: finishing partial checksums, joining scattered frames, and cutting GSO
 * frames into segments (generic segmentation offload). TCP always builds one large frame; it is cut here, as late as
 * possible, and only for ports without TSO.
 *
 * Ownership: `segment` consumes the large frame when it returns STOLEN; the pieces are created frames that reference
 * the same payload.
 * @hot
 */
import type { Context } from '../context.ts';
import { OVERSIZE, POOL_EMPTY } from '../drop.ts';
import { F_CSUM_PARTIAL, type FramePool, GSO_NONE, L4_HEADROOM } from '../mem/frame-pool.ts';
import { moveBytes } from '../mem/move.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DELIVERED, DROP, STOLEN } from '../verdict.ts';
import { get16, get32, set16, set32 } from '../wire/bytes.ts';
import { fold, sum } from '../wire/checksum.ts';
import { ETH_LEN } from '../wire/ethernet.ts';
import { headerLength, IPV4_LEN, id } from '../wire/ipv4.ts';
import { CWR, dataOffset, FIN, flags, PSH } from '../wire/tcp.ts';
import type { Port } from './port.ts';

/** Payload of the largest GSO frame, in bytes: 64 KB less room for every header. */
export const GSO_MAX = 65535 - 60 - 60;

/** The sum of a frame's payload slice; taken from the payload frame when it already knows it. */
function sliceSum(pool: FramePool, f: FrameId): number {
  const frag = pool.frag[f]!;
  const off = pool.fragOff[f]!;
  const len = pool.fragLen[f]!;
  const known = pool.paySum[frag]!;
  if (known >= 0 && pool.off[frag] === off && pool.len[frag] === len) return known;
  return fold(sum(pool.buf, pool.i32, off, len, 0));
}

/** Completes the checksum whose field holds the pseudo-header sum (virtio 1.2 §5.1.6.2). */
export function finishChecksum(pool: FramePool, f: FrameId): void {
  const { buf, i32 } = pool;
  const start = pool.csumStart[f]!;
  const field = start + pool.csumOff[f]!;
  const linear = pool.off[f]! + pool.len[f]! - start;
  let s = sum(buf, i32, start, linear, 0);
  if (pool.frag[f] !== 0) {
    const rest = sliceSum(pool, f);
    // After an odd number of bytes the slice is out of step by one: swap its halves (RFC 1071 §2 (B)).
    s += (linear & 1) === 0 ? rest : ((rest & 0xff) << 8) | (rest >> 8);
  }
  const checksum = ~fold(s) & 0xffff;
  // A UDP checksum of zero means "none" (RFC 768); the other zero of ones' complement says the same sum.
  set16(buf, field, checksum === 0 && pool.csumOff[f] === 6 ? 0xffff : checksum);
  pool.flags[f]! &= ~F_CSUM_PARTIAL;
}

/** Copies the payload slice behind the linear part; false when the slot has no room for it (an MTU larger than slots). */
export function linearize(ctx: Context, f: FrameId): boolean {
  const { pool } = ctx;
  if (pool.tailroom(f) < pool.fragLen[f]!) return false;
  const frag = pool.frag[f]!;
  const from = pool.fragOff[f]!;
  const to = pool.off[f]! + pool.len[f]!;
  moveBytes(pool, from, pool.fragLen[f]!, to);
  pool.len[f]! += pool.fragLen[f]!;
  pool.frag[f] = 0;
  pool.fragLen[f] = 0;
  ctx.settle(frag, DELIVERED);
  return true;
}

/** IP and TCP headers of a GSO frame, whose l3 and l4 are known. */
const headersOf = (pool: FramePool, f: FrameId): number =>
  pool.l4[f]! - pool.l3[f]! + dataOffset(pool.buf, pool.l4[f]!);

/** Bytes of the largest packet that a frame with `off` at its IP header is on a wire: a GSO frame is its segments. */
export const packetBytes = (pool: FramePool, f: FrameId): number =>
  pool.gsoSize[f] === 0 ? pool.wireLength(f) : pool.gsoSize[f]! + headersOf(pool, f);

/** Has the segments of a GSO frame be packets of `mtu` bytes; false where that has no room for payload behind the headers. */
export function fitSegments(pool: FramePool, f: FrameId, mtu: number): boolean {
  const room = mtu - headersOf(pool, f);
  if (room <= 0) return false;
  pool.gsoSize[f] = room;
  return true;
}

export interface SegmentOutput {
  transmit(frame: FrameId, port: number): Verdict;
}

export class Segmenter {
  private readonly ctx: Context;

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  /**
   * Cuts a TCP/IPv4 frame (Ethernet | IP | TCP | linear payload? | slice) into segments of gsoSize payload bytes.
   * STOLEN, or DROP|reason with nothing sent.
   */
  segment(f: FrameId, port: Pick<Port, 'id' | 'mtu'>, out: SegmentOutput): Verdict {
    const { ctx } = this;
    const { pool } = ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    const ip = off + ETH_LEN;
    const ipLen = headerLength(buf, ip);
    const tcp = ip + ipLen;
    const tcpLen = dataOffset(buf, tcp);
    const headers = ETH_LEN + ipLen + tcpLen;
    const mss = pool.gsoSize[f]!;
    const linear = pool.len[f]! - headers;
    if (mss <= 0 || linear < 0 || mss + ipLen + tcpLen > port.mtu) return DROP | OVERSIZE;
    // Payload lies in the linear part or in the slice, never in both: TCP builds it so, and links receive it so.
    const from = linear > 0 ? off + headers : pool.fragOff[f]!;
    const payload = linear > 0 ? linear : pool.fragLen[f]!;
    const source = linear > 0 ? f : pool.frag[f]!;
    const pseudo = this.pseudoWithoutLength(tcp, tcpLen + payload);
    const seq = get32(buf, tcp + 4);
    const tcpFlags = flags(buf, tcp);
    const ident = id(buf, ip);
    let n = 0;
    for (let done = 0; done < payload; done += mss, n++) {
      const piece = payload - done < mss ? payload - done : mss;
      const s = ctx.create();
      if (s === 0) {
        if (n === 0) return DROP | POOL_EMPTY;
        break; // the rest is lost as on a wire, and will be sent again
      }
      const at = pool.base(s) + L4_HEADROOM - IPV4_LEN - ETH_LEN;
      pool.off[s] = at;
      pool.len[s] = headers;
      for (let i = 0; i < headers; i++) buf[at + i] = buf[off + i]!;
      const last = done + piece === payload;
      const l4 = at + ETH_LEN + ipLen;
      emitLength(buf, at + ETH_LEN, ipLen + tcpLen + piece, (ident + n) & 0xffff);
      set32(buf, l4 + 4, (seq + done) | 0);
      // CWR is said once (RFC 3168 §6.1.2).
      buf[l4 + 13] = (last ? tcpFlags : tcpFlags & ~(FIN | PSH)) & (n > 0 ? ~CWR : -1);
      set16(buf, l4 + 16, fold(pseudo + tcpLen + piece));
      pool.l3[s] = at + ETH_LEN;
      pool.l4[s] = l4;
      pool.flags[s]! |= F_CSUM_PARTIAL;
      pool.csumStart[s] = l4;
      pool.csumOff[s] = 16;
      ctx.retain(source);
      pool.frag[s] = source;
      pool.fragOff[s] = from + done;
      pool.fragLen[s] = piece;
      ctx.settle(s, out.transmit(s, port.id));
    }
    pool.gsoSize[f] = 0;
    pool.gsoType[f] = GSO_NONE;
    // The large frame has done its job; its payload lives on through the pieces' references.
    ctx.settle(f, DELIVERED);
    return STOLEN;
  }

  /** The pseudo-header sum held by the checksum field of a partial frame, without its length. */
  private pseudoWithoutLength(tcp: number, l4Length: number): number {
    const held = get16(this.ctx.pool.buf, tcp + 16);
    return fold(held + (~fold(l4Length) & 0xffff));
  }
}

function emitLength(buf: Uint8Array, ip: number, total: number, ident: number): void {
  // Header checksum by difference (RFC 1624): only these two fields changed.
  let s = ~get16(buf, ip + 10) & 0xffff;
  s += (~get16(buf, ip + 2) & 0xffff) + total + (~get16(buf, ip + 4) & 0xffff) + ident;
  set16(buf, ip + 2, total);
  set16(buf, ip + 4, ident);
  set16(buf, ip + 10, ~fold(s) & 0xffff);
}
