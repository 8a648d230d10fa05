/**
 * Receive offload in software, on the way out: consecutive segments of a TCP flow that one burst brought, and that leave by one port
 * which cuts segments itself (TSO), become one GSO frame, a train. Behind such a port each frame costs the kernel several times what
 * copying its payload costs us, and the kernel cuts as late as it can.
 *
 * Merged is what cutting makes anew, byte for byte. The rules are those of Linux (inet_gro_receive in net/ipv4/af_inet.c,
 * tcp_gro_receive in net/ipv4/tcp_offload.c), stricter in flags and identification. All segments have the same Ethernet header,
 * TOS, TTL, addresses, ports, acknowledgment, window, urgent pointer and options, timestamps included; DF, no IP options, no flag but
 * ACK; identifications and sequence numbers that follow each other; as many bytes each. The last one may have fewer bytes, and PSH: with
 * either, it is the last. A segment of the flow that does not fit ends the train, so that none overtakes another.
 *
 * Integrity: the pieces of a train get new checksums from whoever cuts it. So each segment's own checksum is verified before it is
 * merged, over the very words that are copied, unless the link vouched for it. One that is wrong stays as it came, wrong, for its receiver to drop. No longer covered is
 * memory between our sum and the next one, as in any host that merges; against faults of links and of others on the way nothing is lost.
 *
 * Latency: a train is made of frames of one burst that stand in their port's queue anyway, and ends with the burst, or earlier when that
 * queue is sent. Nothing waits for more to come.
 *
 * ```
 *  first segment's frame     Ethernet | IP | TCP     stays in its place in the queue
 *    frag: a big frame       payload | payload | payload ...
 * ```
 *
 * Ownership: the big frame is created, and delivered when the train has left; the frames of later segments are delivered as they are
 * merged. Called by port.ts. Words are in machine order.
 * @hot
 */
import type { Context } from '../context.ts';
import { ACK, DF, DST, ID_FRAGMENT, OFFSET_FLAGS, PORTS, SEQ, SRC, SUM_URGENT, TTL_SUM } from '../ipv4/plain.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, type FramePool, GSO_TCPV4, HEADROOM } from '../mem/frame-pool.ts';
import type { FrameId, PortId } from '../types.ts';
import { DELIVERED } from '../verdict.ts';
import { swap32 } from '../wire/bytes.ts';
import { fold, pseudo4, sum, update16 } from '../wire/checksum.ts';
import { ETH_LEN } from '../wire/ethernet.ts';
import { IPV4_LEN, PROTO_TCP } from '../wire/ipv4.ts';
import { TCP_LEN } from '../wire/tcp.ts';
import { GSO_MAX } from './gso.ts';

/** Payload that is worth a train, in bytes: below, a frame costs less than what is done to merge it. */
const WORTH = 512;
/** Trains at a time, by a hash of their flow. */
const SLOTS = 32;
const SLOT_SHIFT = Math.clz32(SLOTS) + 1;

/** As they lie in their word: reserved bits and flags; ACK alone; PSH. */
const CONTROL = 0xff0f;
const ACK_ALONE = 0x1000;
const PUSH = 0x0800;
/** The word behind a TCP header without options. */
const OPTIONS = PORTS + 5;
/** From HEADROOM to a 4-byte boundary. */
const ALIGN = 2;

const swap16 = (v: number): number => ((v & 0xff) << 8) | ((v >>> 8) & 0xff);
const slotOf = (i32: Int32Array, w: number): number =>
  Math.imul(i32[w + PORTS]! ^ i32[w + DST]!, 0x9e3779b1) >>> SLOT_SHIFT;
const headerOf = (control: number): number => (control & 0xf0) >> 2;

export class Trains {
  /** Segments that became part of another frame. */
  merged = 0;

  private readonly ctx: Context;
  /** Largest payload of a train, in bytes. */
  private readonly most: number;
  /** Big frames that are left to those who receive. */
  private readonly reserve: number;
  /** By slot: the first segment's frame, 0 = none, its port, the word of its IP header. */
  private readonly head = new Int32Array(SLOTS);
  private readonly port = new Int32Array(SLOTS);
  private readonly word = new Int32Array(SLOTS);
  /** Sequence number and identification of the next segment, and bytes of each. */
  private readonly seq = new Int32Array(SLOTS);
  private readonly ident = new Int32Array(SLOTS);
  private readonly size = new Int32Array(SLOTS);
  private open = false;

  constructor(ctx: Context) {
    this.ctx = ctx;
    const { bigSlots, bigSlotBytes } = ctx.pool.config;
    this.most = Math.min(GSO_MAX, bigSlotBytes - HEADROOM - ALIGN);
    this.reserve = bigSlots >> 1;
  }

  /** Ends all trains: what is queued stays as it is. */
  forget(): void {
    if (!this.open) return;
    this.head.fill(0);
    this.open = false;
  }

  /** A segment of `len` bytes was queued by itself: others may follow it. */
  begin(f: FrameId, w: number, len: number, id: PortId): void {
    const { i32 } = this.ctx.pool;
    const control = i32[w + OFFSET_FLAGS]!;
    const header = headerOf(control);
    const payload = len - IPV4_LEN - header;
    if (payload < WORTH || header < TCP_LEN || (control & CONTROL) !== ACK_ALONE) return;
    if (i32[w + ID_FRAGMENT]! >>> 16 !== DF >>> 16) return;
    const slot = slotOf(i32, w);
    this.head[slot] = f;
    this.port[slot] = id;
    this.word[slot] = w;
    this.seq[slot] = (swap32(i32[w + SEQ]!) + payload) | 0;
    this.ident[slot] = swap16(i32[w + ID_FRAGMENT]!) + 1;
    this.size[slot] = payload;
    this.open = true;
  }

  /** Takes a segment into the train that it continues. False, and it is still the caller's: it continues none. */
  join(f: FrameId, w: number, len: number, id: PortId): boolean {
    if (!this.open) return false;
    const { i32 } = this.ctx.pool;
    const slot = slotOf(i32, w);
    const head = this.head[slot]!;
    if (head === 0) return false;
    const h = this.word[slot]!;
    if (i32[w + PORTS] !== i32[h + PORTS] || i32[w + DST] !== i32[h + DST] || i32[w + SRC] !== i32[h + SRC])
      return false;
    const size = this.size[slot]!;
    const header = headerOf(i32[w + OFFSET_FLAGS]!);
    const payload = len - IPV4_LEN - header;
    if (
      this.port[slot] !== id ||
      payload <= 0 ||
      payload > size ||
      swap32(i32[w + SEQ]!) !== this.seq[slot] ||
      swap16(i32[w + ID_FRAGMENT]!) !== (this.ident[slot]! & 0xffff) ||
      !alike(i32, h, w, header) ||
      !this.append(head, h, f, w, header, payload, size)
    ) {
      this.head[slot] = 0;
      return false;
    }
    this.seq[slot] = (this.seq[slot]! + payload) | 0;
    this.ident[slot]! += 1;
    const push = i32[w + OFFSET_FLAGS]! & PUSH;
    i32[h + OFFSET_FLAGS]! |= push;
    if (push !== 0 || payload < size) this.head[slot] = 0;
    this.merged += 1;
    this.ctx.settle(f, DELIVERED);
    return true;
  }

  /** Writes the payload of `f` behind that of the train. False, and nothing is changed: a checksum is wrong, or there is no room. */
  private append(
    head: FrameId,
    h: number,
    f: FrameId,
    w: number,
    header: number,
    payload: number,
    size: number,
  ): boolean {
    const { ctx } = this;
    const { pool } = ctx;
    let big = pool.frag[head]!;
    const before = big === 0 ? size : pool.fragLen[head]!;
    if (before + payload > this.most) return false;
    if (big === 0) {
      if (pool.freeBigCount <= this.reserve) return false;
      big = ctx.createBig();
      pool.off[big]! += ALIGN;
      const at = pool.off[big]!;
      if (!move(pool, head, h, header, size, at) || !move(pool, f, w, header, payload, at + size)) {
        ctx.settle(big, DELIVERED);
        return false;
      }
      becomeHead(pool, head, h, header, big, size);
    } else if (!move(pool, f, w, header, payload, pool.fragOff[head]! + before)) return false;
    const total = before + payload;
    pool.len[big] = total;
    pool.fragLen[head] = total;
    setLengths(pool.i32, h, header + total);
    return true;
  }
}

/** Whether the segment at `w` differs from that at `h` in nothing that a train has once, but for lengths, numbers, checksums and PSH. */
function alike(i32: Int32Array, h: number, w: number, header: number): boolean {
  if (
    ((i32[w - 4]! ^ i32[h - 4]!) >>> 16) |
    (i32[w - 3]! ^ i32[h - 3]!) |
    (i32[w - 2]! ^ i32[h - 2]!) |
    (i32[w - 1]! ^ i32[h - 1]!) |
    ((i32[w]! ^ i32[h]!) & 0xffff) |
    ((i32[w + ID_FRAGMENT]! ^ i32[h + ID_FRAGMENT]!) >>> 16) |
    ((i32[w + TTL_SUM]! ^ i32[h + TTL_SUM]!) & 0xffff) |
    (i32[w + ACK]! ^ i32[h + ACK]!) |
    ((i32[w + OFFSET_FLAGS]! ^ i32[h + OFFSET_FLAGS]!) & ~PUSH) |
    ((i32[w + SUM_URGENT]! ^ i32[h + SUM_URGENT]!) >>> 16)
  )
    return false;
  const end = PORTS + (header >> 2);
  for (let i = OPTIONS; i < end; i++) if (i32[w + i] !== i32[h + i]) return false;
  return true;
}

/** Copies a segment's payload to `to`; false when its checksum is wrong (RFC 9293 §3.1). */
function move(pool: FramePool, f: FrameId, w: number, header: number, payload: number, to: number): boolean {
  const { buf, i32 } = pool;
  const l4 = (w + PORTS) << 2;
  const copied = copy(buf, i32, l4 + header, payload, to);
  if ((pool.flags[f]! & F_CSUM_VALID) !== 0) return true;
  return fold(sum(buf, i32, l4, header, copied + pseudo(i32, w, header + payload))) === 0xffff;
}

const pseudo = (i32: Int32Array, w: number, length: number): number =>
  pseudo4(swap32(i32[w + SRC]!), swap32(i32[w + DST]!), PROTO_TCP, length);

/**
 * Copies `len` bytes from a 4-byte boundary, and returns their sum, folded: each is read once. All that merging a segment of 1448 bytes
 * costs is 320 ns so, and 620 with a sum and `copyWithin`, slow where the ends are not alike modulo 8 (mem/move.ts).
 */
function copy(buf: Uint8Array, i32: Int32Array, from: number, len: number, to: number): number {
  if ((to & 3) !== 0) {
    buf.copyWithin(to, from, from + len);
    return fold(sum(buf, i32, from, len, 0));
  }
  let low = 0;
  let high = 0;
  let a = from >> 2;
  let b = to >> 2;
  const end = a + (len >> 2);
  for (; a + 4 <= end; a += 4, b += 4) {
    const p = i32[a]!;
    const q = i32[a + 1]!;
    const r = i32[a + 2]!;
    const s = i32[a + 3]!;
    i32[b] = p;
    i32[b + 1] = q;
    i32[b + 2] = r;
    i32[b + 3] = s;
    low += (p & 0xffff) + (q & 0xffff) + (r & 0xffff) + (s & 0xffff);
    high += (p >>> 16) + (q >>> 16) + (r >>> 16) + (s >>> 16);
  }
  for (; a < end; a++, b++) {
    const p = i32[a]!;
    i32[b] = p;
    low += p & 0xffff;
    high += p >>> 16;
  }
  const rest = len & 3;
  for (let i = 0; i < rest; i++) {
    const v = buf[(a << 2) + i]!;
    buf[(b << 2) + i] = v;
    low += v << ((i & 1) << 3);
  }
  return swap16(fold(low + high));
}

/** The first segment becomes the header of a train, its payload of `size` bytes being in `big`. */
function becomeHead(pool: FramePool, f: FrameId, w: number, header: number, big: FrameId, size: number): void {
  pool.len[f] = ETH_LEN + IPV4_LEN + header;
  pool.frag[f] = big;
  pool.fragOff[f] = pool.off[big]!;
  pool.l3[f] = w << 2;
  pool.l4[f] = (w + PORTS) << 2;
  pool.flags[f] = (pool.flags[f]! & ~F_CSUM_VALID) | F_CSUM_PARTIAL;
  pool.csumStart[f] = pool.l4[f]!;
  pool.csumOff[f] = 16;
  pool.gsoType[f] = GSO_TCPV4;
  pool.gsoSize[f] = size;
}

/** Sets the packet's length, with the header's checksum (RFC 1624), and in place of TCP's the sum of the pseudo-header. */
function setLengths(i32: Int32Array, w: number, l4: number): void {
  const first = i32[w]!;
  const length = swap16(IPV4_LEN + l4);
  const ttl = i32[w + TTL_SUM]!;
  i32[w] = (first & 0xffff) | (length << 16);
  i32[w + TTL_SUM] = (ttl & 0xffff) | (update16(ttl >>> 16, first >>> 16, length) << 16);
  i32[w + SUM_URGENT] = (i32[w + SUM_URGENT]! & ~0xffff) | swap16(fold(pseudo(i32, w, l4)));
}
