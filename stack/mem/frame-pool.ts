/**
 * The frame pool: all packet bytes of the process in one shared, page-aligned memory, all frame metadata in
 * parallel columns beside it. A frame is an integer; nothing is allocated per packet.
 *
 * ```
 *  small slots (2 KB by default)                        big slots (68 KB), for GSO frames
 *  +-- headroom 130 --+-- Ethernet | IP | TCP | data --+-- tailroom --+
 *  ^ base(f)          ^ off[f]                          ^ off + len    ^ base(f) + size(f)
 * ```
 *
 * The first byte of a received frame stands at `base + HEADROOM`, which puts the IP header on a 4-byte boundary
 * (130 + 14 = 144) and leaves room to push tunnel headers, tags and a virtio-net header in place.
 *
 * A frame may carry its payload in another frame: `frag[f]` names it, `fragOff`/`fragLen` say which bytes follow the
 * linear part. The payload frame is counted in `refs`, so one received 64 KB frame can be sent in slices, again and
 * again, without a copy: this is how the relay and retransmission work.
 *
 * `refs[f]` is 1 after alloc. `release` gives one reference back and frees the slot with the last one; it is called
 * by `Context.settle`, never by a stage.
 *
 * Memory: WebAssembly.Memory is used for its page alignment and because its buffer is shared between threads as it is.
 * @hot
 */
import type { FrameId } from '../types.ts';

export interface PoolConfig {
  /** Number of small slots, id 1..slots-1 (slot 0 is never handed out). */
  readonly slots: number;
  /** Bytes of a small slot, a multiple of 64. */
  readonly slotBytes: number;
  readonly bigSlots: number;
  /** Bytes of a big slot: a 64 KB GSO frame with headroom. */
  readonly bigSlotBytes: number;
}

export const DEFAULT_POOL: PoolConfig = { slots: 32768, slotBytes: 2048, bigSlots: 1024, bigSlotBytes: 69632 };

/** Where received bytes start within a slot: 128 for headers to push, 2 for alignment. */
export const HEADROOM = 130;
/** Where a frame built here puts its layer-4 header: IP (20) then starts at the same place as on reception. */
export const L4_HEADROOM = HEADROOM + 14 + 20;

/** Bits of `flags`. */
export const F_CSUM_PARTIAL = 1; // layer-4 checksum holds the pseudo-header sum only; finish at csumStart + csumOff
export const F_CSUM_VALID = 2; // the link or an earlier stage verified the layer-4 checksum
export const F_L2_BROADCAST = 4; // destination MAC was broadcast
export const F_L2_MULTICAST = 8; // destination MAC was multicast (also set for broadcast)
export const F_LOCAL = 16; // made by this stack, not received
export const F_REASSEMBLED = 32; // a datagram put together from fragments

/** Values of `gsoType`: those of virtio-net, so a TAP needs no translation (virtio 1.2 §5.1.6). */
export const GSO_NONE = 0;
export const GSO_TCPV4 = 1;
export const GSO_TCPV6 = 4;

const COLUMNS = 20;
const MAGIC = 0x74737670; // 'tsvp'
const VERSION = 1;
const HEADER_WORDS = 16;

/** What must be handed to another thread to attach to the same pool. */
export interface PoolShare {
  readonly memory: SharedArrayBuffer;
  readonly meta: SharedArrayBuffer;
}

interface WasmMemory {
  readonly buffer: SharedArrayBuffer;
}
declare const WebAssembly: { Memory: new (d: { initial: number; maximum: number; shared: true }) => WasmMemory };

export class FramePool {
  readonly share: PoolShare;
  readonly config: PoolConfig;
  /** All bytes. */
  readonly buf: Uint8Array;
  /** The same bytes as 32-bit words in machine order, for checksums over aligned ranges. */
  readonly i32: Int32Array;

  /** Absolute offset of the first byte in `buf`, and length of the linear part, in bytes. */
  readonly off: Int32Array;
  readonly len: Int32Array;
  /** Absolute offsets of the layer-3 and layer-4 headers; valid once ethernet/ip input have set them. l3 is 0 before. */
  readonly l3: Int32Array;
  readonly l4: Int32Array;
  /** Port the frame came from or goes to. */
  readonly port: Int32Array;
  readonly flags: Int32Array;
  /** Flow hash as int32; 0 = not computed. */
  readonly hash: Int32Array;
  /** GSO_*; gsoSize is the payload bytes per segment. */
  readonly gsoType: Int32Array;
  readonly gsoSize: Int32Array;
  /** Absolute offset where the checksum starts, and the checksum field's distance from it, in bytes. */
  readonly csumStart: Int32Array;
  readonly csumOff: Int32Array;
  /** Payload frame that follows the linear part (0 = none), absolute offset and length of the slice. */
  readonly frag: Int32Array;
  readonly fragOff: Int32Array;
  readonly fragLen: Int32Array;
  /** Link for whoever holds the frame in a list; 0 ends it. */
  readonly next: Int32Array;
  readonly refs: Int32Array;
  /** TCP: sequence number of the first payload byte. Free for the holder otherwise. */
  readonly seq: Int32Array;
  /** Ones'-complement sum of the payload bytes, folded to 16 bits; -1 = unknown. */
  readonly paySum: Int32Array;
  /** Free for the holder. */
  readonly mark: Int32Array;
  readonly stamp: Int32Array;

  private readonly bigBase: number;
  private readonly freeSmall: Int32Array;
  private readonly freeBig: Int32Array;
  private nFreeSmall = 0;
  private nFreeBig = 0;
  private nLent = 0;

  /** Use `create` or `attach`. `owner` fills the free lists: exactly one thread may own a pool's slots for now. */
  private constructor(share: PoolShare, config: PoolConfig, owner: boolean) {
    this.share = share;
    this.config = config;
    this.buf = new Uint8Array(share.memory);
    this.i32 = new Int32Array(share.memory);
    const total = config.slots + config.bigSlots;
    let column = 0;
    const next = (): Int32Array => new Int32Array(share.meta, (HEADER_WORDS + total * column++) * 4, total);
    this.off = next();
    this.len = next();
    this.l3 = next();
    this.l4 = next();
    this.port = next();
    this.flags = next();
    this.hash = next();
    this.gsoType = next();
    this.gsoSize = next();
    this.csumStart = next();
    this.csumOff = next();
    this.frag = next();
    this.fragOff = next();
    this.fragLen = next();
    this.next = next();
    this.refs = next();
    this.seq = next();
    this.paySum = next();
    this.mark = next();
    this.stamp = next();
    this.bigBase = config.slots * config.slotBytes;
    this.freeSmall = new Int32Array(config.slots);
    this.freeBig = new Int32Array(config.bigSlots);
    if (!owner) return;
    // Last in, first out, so that the same few slots stay in cache; the lowest ids come out first.
    for (let f = config.slots - 1; f >= 1; f--) this.freeSmall[this.nFreeSmall++] = f;
    for (let f = total - 1; f >= config.slots; f--) this.freeBig[this.nFreeBig++] = f;
  }

  static create(config: PoolConfig = DEFAULT_POOL): FramePool {
    const pages = Math.ceil((config.slots * config.slotBytes + config.bigSlots * config.bigSlotBytes) / 65536);
    const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }).buffer;
    const total = config.slots + config.bigSlots;
    const meta = new SharedArrayBuffer((HEADER_WORDS + total * COLUMNS) * 4);
    const h = new Int32Array(meta, 0, HEADER_WORDS);
    h.set([MAGIC, VERSION, config.slots, config.slotBytes, config.bigSlots, config.bigSlotBytes]);
    return new FramePool({ memory, meta }, config, true);
  }

  /** Opens a pool made elsewhere. Throws when the memory is not a pool of this version. */
  static attach(share: PoolShare, owner: boolean): FramePool {
    const h = new Int32Array(share.meta, 0, HEADER_WORDS);
    if (h[0] !== MAGIC || h[1] !== VERSION) throw new Error('not a frame pool, or of another version');
    return new FramePool(share, { slots: h[2]!, slotBytes: h[3]!, bigSlots: h[4]!, bigSlotBytes: h[5]! }, owner);
  }

  /** A small frame: empty, `off` at HEADROOM, one reference. 0 when none is free. */
  alloc(): FrameId {
    if (this.nFreeSmall === 0) return 0;
    const f = this.freeSmall[--this.nFreeSmall]!;
    this.reset(f, f * this.config.slotBytes);
    return f;
  }

  /** A big frame, as `alloc`. */
  allocBig(): FrameId {
    if (this.nFreeBig === 0) return 0;
    const f = this.freeBig[--this.nFreeBig]!;
    this.reset(f, this.bigBase + (f - this.config.slots) * this.config.bigSlotBytes);
    return f;
  }

  private reset(f: FrameId, base: number): void {
    this.off[f] = base + HEADROOM;
    this.len[f] = 0;
    this.l3[f] = 0;
    this.port[f] = 0;
    this.flags[f] = 0;
    this.hash[f] = 0;
    this.gsoType[f] = GSO_NONE;
    this.gsoSize[f] = 0;
    this.frag[f] = 0;
    this.fragLen[f] = 0;
    this.next[f] = 0;
    this.refs[f] = 1;
    this.paySum[f] = -1;
  }

  /** Gives one reference back; returns true when it was the last and the slot is free again. */
  release(f: FrameId): boolean {
    const refs = this.refs[f]! - 1;
    this.refs[f] = refs;
    if (refs > 0) return false;
    if (refs < 0) throw new Error(`frame ${f} freed twice`);
    if (f < this.config.slots) this.freeSmall[this.nFreeSmall++] = f;
    else this.freeBig[this.nFreeBig++] = f;
    return true;
  }

  /**
   * Lends a small slot to a device, which has the system receive into it: out of the pool, yet no frame and not in use. 0 when
   * none is free. It ends with `receive` or `takeBack`.
   */
  lend(): FrameId {
    if (this.nFreeSmall === 0) return 0;
    this.nLent++;
    return this.freeSmall[--this.nFreeSmall]!;
  }

  /** As `lend`, for slots of either size that are known by their numbers and free, such as those that a thread lent that has died. Cold. */
  lendAll(slots: ReadonlySet<FrameId>): void {
    const free = this.nFreeSmall + this.nFreeBig;
    const keep = (list: Int32Array, n: number): number => {
      const kept = list.subarray(0, n).filter((f) => !slots.has(f));
      list.set(kept);
      return kept.length;
    };
    this.nFreeSmall = keep(this.freeSmall, this.nFreeSmall);
    this.nFreeBig = keep(this.freeBig, this.nFreeBig);
    this.nLent += free - this.nFreeSmall - this.nFreeBig;
  }

  /** A lent slot has been filled: it becomes a frame, as after `alloc`. */
  receive(f: FrameId): void {
    this.nLent--;
    this.reset(f, f * this.config.slotBytes);
  }

  /** A lent slot comes back unused. */
  takeBack(f: FrameId): void {
    this.nLent--;
    if (f < this.config.slots) this.freeSmall[this.nFreeSmall++] = f;
    else this.freeBig[this.nFreeBig++] = f;
  }

  /**
   * Lends a slot to another thread, as an empty frame: `off` at HEADROOM. It fills bytes and columns; the slot is a frame with `accept`,
   * or ends with `takeBack`. 0 when none is free.
   */
  offer(big: boolean): FrameId {
    const f = big ? this.allocBig() : this.alloc();
    if (f !== 0) this.nLent++;
    return f;
  }

  /** An offered slot has been filled. */
  accept(_f: FrameId): void {
    this.nLent--;
  }

  /** First byte of the frame's slot. */
  base(f: FrameId): number {
    return f < this.config.slots
      ? f * this.config.slotBytes
      : this.bigBase + (f - this.config.slots) * this.config.bigSlotBytes;
  }

  /** The slot that holds the byte at `offset`, 0 = none. */
  slotAt(offset: number): FrameId {
    const { slots, slotBytes, bigSlots, bigSlotBytes } = this.config;
    if (offset < this.bigBase) return Math.floor(offset / slotBytes);
    const big = Math.floor((offset - this.bigBase) / bigSlotBytes);
    return big < bigSlots ? slots + big : 0;
  }

  /** Bytes of the frame's slot. */
  size(f: FrameId): number {
    return f < this.config.slots ? this.config.slotBytes : this.config.bigSlotBytes;
  }

  /** Bytes that fit behind the last byte. */
  tailroom(f: FrameId): number {
    return this.base(f) + this.size(f) - this.off[f]! - this.len[f]!;
  }

  /** Length on the wire: the linear part and the payload slice. */
  wireLength(f: FrameId): number {
    return this.len[f]! + this.fragLen[f]!;
  }

  get freeSmallCount(): number {
    return this.nFreeSmall;
  }

  get freeBigCount(): number {
    return this.nFreeBig;
  }

  /** Frames not on a free list and not lent: received, created and not yet settled. */
  get inUse(): number {
    return this.config.slots - 1 - this.nFreeSmall - this.nLent + this.config.bigSlots - this.nFreeBig;
  }
}
