/**
 * Receiving from a packet socket by recvmmsg(2), where the kernel refuses a ring: several frames with one call, straight into
 * slots of the pool. Each message has two places to go, as with a TAP (tap.ts): a small slot, and a big one for what is beyond it.
 *
 * As many slots are offered as the last call could use and some more; the others go straight back. Without slots, frames are
 * received into memory of our own and dropped as POOL_EMPTY, so that the queue behind them moves on.
 *
 * Ownership: frames are the caller's; those without a slot or that are damaged are refused to the context.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_METADATA, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../stack/types.ts';
import type { PacketReceiver } from './packet.ts';
import { IOV_BYTES, MMSG_BYTES, MMSG_LEN, setMessage } from './packet-messages.ts';
import { MSG_DONTWAIT, NativeBytes, type Syscalls } from './syscall.ts';
import { readHeader, VNET_HDR_SHORT } from './virtio-net.ts';

const MOST = 16;
/** Slots offered beyond those the last call used. */
const SPARE = 4;
const IOVS = MOST * MMSG_BYTES;
const WASTE = IOVS + MOST * 2 * IOV_BYTES;

export class PacketBatch implements PacketReceiver {
  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly fd: number;
  private readonly poolAddress: number;
  private readonly native: NativeBytes;
  private readonly messages: bigint;
  /** Bytes of a frame that fit a small slot, and beyond them a big one. */
  private readonly smallRoom: number;
  private readonly restRoom: number;
  private readonly small = new Int32Array(MOST);
  private readonly big = new Int32Array(MOST);
  private offer = SPARE;

  constructor(ctx: Context, sys: Syscalls, fd: number) {
    const { config, share } = ctx.pool;
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = sys;
    this.fd = fd;
    this.poolAddress = sys.addressOf(new Uint8Array(share.memory));
    this.smallRoom = config.slotBytes - HEADROOM;
    this.restRoom = Math.max(config.bigSlotBytes - HEADROOM - this.smallRoom, 0);
    this.native = new NativeBytes(sys, WASTE + VNET_HDR_SHORT + this.smallRoom + this.restRoom);
    this.messages = this.native.pointer();
    for (let i = 0; i < MOST; i++) setMessage(this.native, i * MMSG_BYTES, IOVS + i * 2 * IOV_BYTES, 2);
  }

  receive(out: Int32Array, max: number): number {
    let given = 0;
    let turn = 0;
    while (turn < max) {
      const want = Math.min(this.offer, MOST, max - turn);
      for (let i = 0; i < want; i++) this.aim(i);
      const got = this.sys.recvmmsg(this.fd, this.messages, want, MSG_DONTWAIT, 0);
      for (let i = 0; i < got; i++) {
        const f = this.take(i);
        if (f !== 0) out[given++] = f;
      }
      for (let i = 0; i < want; i++) this.putBack(i);
      this.offer = Math.max(got, 0) + SPARE;
      turn += Math.max(got, 0);
      if (got < want) break;
    }
    return given;
  }

  /** Points message `i` at free slots, or at memory to waste where there are none. */
  private aim(i: number): void {
    const { native, pool, poolAddress } = this;
    const waste = native.address + WASTE;
    const small = pool.alloc();
    const big = pool.allocBig();
    this.small[i] = small;
    this.big[i] = big;
    const iov = IOVS + i * 2 * IOV_BYTES;
    native.set64(iov, small === 0 ? waste : poolAddress + pool.off[small]! - VNET_HDR_SHORT);
    native.set64(iov + 8, VNET_HDR_SHORT + this.smallRoom);
    native.set64(
      iov + 16,
      big === 0 ? waste + VNET_HDR_SHORT + this.smallRoom : poolAddress + pool.off[big]! + this.smallRoom,
    );
    native.set64(iov + 24, this.restRoom);
  }

  /** Makes a frame of message `i`; 0 when it was dropped. */
  private take(i: number): FrameId {
    const { ctx, pool } = this;
    const length = this.native.i32[(i * MMSG_BYTES + MMSG_LEN) >> 2]! - VNET_HDR_SHORT;
    const small = this.small[i]!;
    const spills = length > this.smallRoom;
    // One that fills all there is was probably cut.
    if (length >= this.smallRoom + this.restRoom) {
      ctx.refuse(0, OVERSIZE);
      return 0;
    }
    if (small === 0 || (spills && this.big[i] === 0)) {
      ctx.refuse(0, POOL_EMPTY);
      return 0;
    }
    const start = pool.off[small]!;
    let f = small;
    if (spills) {
      f = this.big[i]!;
      this.big[i] = 0;
      pool.buf.copyWithin(pool.off[f]!, start, start + this.smallRoom);
    } else {
      this.small[i] = 0;
    }
    pool.len[f] = length;
    if (readHeader(pool, f, start - VNET_HDR_SHORT)) return f;
    ctx.refuse(f, LINK_METADATA);
    return 0;
  }

  private putBack(i: number): void {
    if (this.small[i] !== 0) this.pool.release(this.small[i]!);
    if (this.big[i] !== 0) this.pool.release(this.big[i]!);
    this.small[i] = 0;
    this.big[i] = 0;
  }
}
