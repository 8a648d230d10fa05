/**
 * The receive ring of a packet socket (TPACKET_V2): slots that the kernel fills in turn, each with a header, and that we give
 * back by setting its status to 0.
 *
 * ```
 *  0 status u32   4 len u32   8 snaplen u32   12 mac u16 (where the frame begins)   ...   | vnet hdr | frame
 * ```
 *
 * A frame that fits is copied to a slot of the pool. One that does not is complete in the socket's queue, in the same order, and
 * is received from there into a big slot.
 *
 * Ownership: frames are the caller's; those without a slot or that are damaged are refused to the context.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_METADATA, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { allocFor } from '../../stack/netif/copy.ts';
import type { FrameId } from '../../stack/types.ts';
import type { PacketReceiver } from './packet.ts';
import { RING_BYTES, RING_FRAME, RING_FRAMES } from './packet-open.ts';
import type { PacketSeat } from './packet-seat.ts';
import { Places } from './places.ts';
import { MSG_DONTWAIT, MSG_TRUNC, NativeBytes, type Syscalls } from './syscall.ts';
import { readHeader, VNET_HDR_SHORT } from './virtio-net.ts';

/** Offsets in 32-bit words, and of `mac` in 16-bit words. */
const STATUS = 0;
const LEN = 1;
const SNAPLEN = 2;
const MAC16 = 6;

/** Bits of the status. */
const TP_USER = 1;
const TP_COPY = 2;
const TP_CSUM_VALID = 128;

/** Bytes from which on the system's copy beats a loop over words: a call costs some 40 ns. */
const LOOP_MAX = 256;
/** Where bytes go that no slot takes. */
const WASTE = 64;

export class PacketRing implements PacketReceiver {
  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly fd: number;
  private readonly inRing: Places;
  private readonly inPool: Places;
  private readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  private readonly waste: NativeBytes;
  /** Knows the slot that is filled next. */
  private readonly seat: PacketSeat;

  /** The ring of the socket that sits there. */
  constructor(ctx: Context, sys: Syscalls, seat: PacketSeat) {
    const { fd, ringAddress: address } = seat.socket;
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = sys;
    this.fd = fd;
    this.seat = seat;
    this.inRing = new Places(address);
    this.inPool = new Places(sys.addressOf(new Uint8Array(ctx.pool.share.memory)));
    const memory = sys.view(address, RING_BYTES);
    this.i32 = new Int32Array(memory);
    this.u16 = new Uint16Array(memory);
    this.waste = new NativeBytes(sys, WASTE);
  }

  receive(out: Int32Array, max: number): number {
    const { i32, u16 } = this;
    const { words, at } = this.seat;
    let given = 0;
    for (let turn = 0; turn < max; turn++) {
      const slot = words[at]!;
      const start = slot * RING_FRAME;
      const word = start >> 2;
      const status = Atomics.load(i32, word + STATUS);
      if ((status & TP_USER) === 0) break;
      const length = i32[word + LEN]!;
      const f =
        i32[word + SNAPLEN] === length
          ? this.copy(start + u16[(start >> 1) + MAC16]!, length, status)
          : this.take((status & TP_COPY) !== 0);
      Atomics.store(i32, word + STATUS, 0);
      words[at] = slot + 1 === RING_FRAMES ? 0 : slot + 1;
      if (f !== 0) out[given++] = f;
    }
    return given;
  }

  /** A frame that lies complete in the ring, at byte `from`, with its header before it. 0 when it was dropped. */
  private copy(from: number, length: number, status: number): FrameId {
    const { pool, i32 } = this;
    const f = allocFor(pool, length);
    if (f === 0) {
      this.ctx.refuse(0, POOL_EMPTY);
      return 0;
    }
    const to = pool.off[f]! - VNET_HDR_SHORT;
    const source = from - VNET_HDR_SHORT;
    const bytes = length + VNET_HDR_SHORT;
    if (bytes > LOOP_MAX || ((source | to) & 3) !== 0) {
      this.sys.memcpy(this.inPool.at(to), this.inRing.at(source), bytes);
    } else {
      const words = (bytes + 3) >> 2;
      const target = pool.i32;
      const a = source >> 2;
      const b = to >> 2;
      for (let i = 0; i < words; i++) target[b + i] = i32[a + i]!;
    }
    return this.finish(f, to, length, status);
  }

  private finish(f: FrameId, header: number, length: number, status: number): FrameId {
    const { pool } = this;
    pool.len[f] = length;
    if (!readHeader(pool, f, header)) {
      this.ctx.refuse(f, LINK_METADATA);
      return 0;
    }
    if ((status & TP_CSUM_VALID) !== 0 && (pool.flags[f]! & F_CSUM_PARTIAL) === 0) pool.flags[f]! |= F_CSUM_VALID;
    return f;
  }

  /** A frame that the ring has only the head of: the socket's queue has all of it, when `queued`. */
  private take(queued: boolean): FrameId {
    const { pool, sys } = this;
    if (!queued) {
      // The queue was full.
      this.ctx.refuse(0, OVERSIZE);
      return 0;
    }
    const f = pool.allocBig();
    const room = pool.config.bigSlotBytes - HEADROOM;
    const at = f === 0 ? 0 : pool.off[f]! - VNET_HDR_SHORT;
    const got =
      f === 0
        ? sys.recv(this.fd, this.waste.address, WASTE, MSG_DONTWAIT | MSG_TRUNC)
        : sys.recv(this.fd, this.inPool.at(at), room + VNET_HDR_SHORT, MSG_DONTWAIT | MSG_TRUNC);
    const length = got - VNET_HDR_SHORT;
    if (f === 0 || length <= 0 || length > room) {
      this.ctx.refuse(f, f === 0 ? POOL_EMPTY : OVERSIZE);
      return 0;
    }
    return this.finish(f, at, length, 0);
  }
}
