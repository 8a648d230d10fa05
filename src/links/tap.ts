/**
 * A TAP interface as a device: the kernel's side is an Ethernet interface, ours reads and writes its frames.
 *
 * With offload every frame has a virtio-net header in front (virtio-net.ts), and up to 64 KB in one piece pass both ways.
 * One `readv` has two destinations, so that a small frame costs neither a copy nor a big slot:
 *
 * ```
 *  small slot    ..headroom..|vnet hdr|first bytes of the frame|          iov[0]
 *  big slot      ..headroom..         |<- copied when needed ->|the rest  iov[1]
 *                                     ^ base + HEADROOM of either slot
 * ```
 *
 * Sending is one `writev`, of two places where there is a payload slice; the header goes into the frame's headroom. A TAP copies,
 * so frames are `sent` at once.
 *
 * When the pool has no slot, frames are still read, into memory of our own, and dropped as POOL_EMPTY: left in the kernel they
 * would be lost there without a reason that `tsvs` could show, keep the descriptor readable so that the worker never sleeps, and a
 * large frame would stand before the small acknowledgements that free memory.
 *
 * An interface that is set down (EIO) only costs the frames sent meanwhile (LINK_DOWN). One that was deleted (EBADFD) is looked for
 * ten times a second, and attached to when somebody has created it again.
 *
 * Ownership: as device.ts says. Slots reserved for a read that found nothing go straight back to the pool.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN, LINK_ERROR, LINK_METADATA, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { F_CSUM_PARTIAL, GSO_NONE, HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { ChangingCapabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import { askingSocket, InterfaceQuery } from './ifreq.ts';
import { KernelDrops } from './kernel-drops.ts';
import type { Syscalls } from './syscall.ts';
import { EAGAIN, EBADFD, EINTR, EIO, ENETDOWN, errnoName, LinkError, NativeBytes, syscalls } from './syscall.ts';
import { TapCrew } from './tap-crew.ts';
import { openTap, type TapHandle } from './tap-open.ts';
import { readHeader, VNET_HDR_LEN, writeHeader } from './virtio-net.ts';

/** Byte offsets in `this.native`: two iovecs to read into, two to write from, then memory for frames to drop. */
const RX_IOV = 0;
const TX_IOV = 32;
const WASTE = 64;

/** How often a lost interface is looked for, and what was lost is read. */
const LOOK_MS = 100;
const COUNT_MS = 500;

export class TapDevice implements Device {
  readonly name: string;
  readonly caps: ChangingCapabilities;
  readonly stats: DeviceStats = newStats();
  fd: number;
  readonly revives = true;
  up = true;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly native: NativeBytes;
  private readonly rxIov: bigint;
  private readonly txIov: bigint;
  /** Address of `pool.buf[0]`, in two halves. */
  private readonly low: number;
  private readonly high: number;
  /** Bytes in front of each frame: VNET_HDR_LEN or 0. */
  private readonly header: number;
  /** Bytes of a frame that fit a small slot, and bytes beyond them that fit a big one (0: reading into small slots only). */
  private readonly smallRoom: number;
  private readonly restRoom: number;
  /** Largest frame to send without segmentation, in bytes. */
  private maxFrame: number;
  /** Slots the next read goes to; 0 = none yet. */
  private small: FrameId = 0;
  private big: FrameId = 0;
  private readonly handle: TapHandle;
  private readonly changed: (handle: TapHandle) => void;
  private readonly crew: TapCrew | null;
  private readonly socket: number;
  private readonly query: InterfaceQuery;
  private readonly lost: KernelDrops;
  /** What had been lost before we came. */
  private readonly lostBefore: number;
  private lookedMs = 0;
  private closed = false;

  private constructor(ctx: Context, handle: TapHandle, changed: (handle: TapHandle) => void) {
    const { config, share } = ctx.pool;
    this.name = `tap:${handle.name}`;
    this.crew = handle.seat === null ? null : new TapCrew(handle.seat);
    this.fd = this.crew === null ? handle.fd : this.crew.fd;
    this.up = this.fd >= 0;
    this.notice = this.crew?.notice ?? '';
    this.caps = {
      mtu: handle.mtu,
      txChecksum: handle.offload,
      rxChecksum: handle.offload,
      tso: handle.offload,
      scatter: true,
      queues: 1,
    };
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.handle = handle;
    this.changed = changed;
    this.socket = askingSocket(this.sys);
    this.query = new InterfaceQuery(this.sys, this.socket, handle.name);
    this.lost = new KernelDrops(this.sys, handle.name);
    this.lostBefore = this.lost.read();
    this.lookedMs = ctx.nowMs;
    const poolAddress = this.sys.addressOf(new Uint8Array(share.memory));
    this.low = poolAddress | 0;
    this.high = Math.floor(poolAddress / 4294967296);
    this.header = handle.offload ? VNET_HDR_LEN : 0;
    this.maxFrame = handle.mtu + FRAME_OVERHEAD;
    this.smallRoom = config.slotBytes - HEADROOM;
    const needsBig = handle.offload || this.maxFrame >= this.smallRoom;
    this.restRoom = needsBig ? Math.max(config.bigSlotBytes - HEADROOM - this.smallRoom, 0) : 0;
    this.native = new NativeBytes(this.sys, WASTE + this.header + this.smallRoom + this.restRoom);
    this.rxIov = this.native.pointer(RX_IOV);
    this.txIov = this.native.pointer(TX_IOV);
    this.native.set64(RX_IOV + 8, this.header + this.smallRoom);
    this.native.set64(RX_IOV + 24, this.restRoom);
  }

  /** Drives a TAP that `openTap` opened, here or in another thread; the descriptor is ours from now on. */
  static fromFd(ctx: Context, handle: TapHandle, changed: (handle: TapHandle) => void = () => {}): TapDevice {
    return new TapDevice(ctx, handle, changed);
  }

  rx(out: Int32Array, max: number): number {
    if (((this.ctx.nowMs - this.lookedMs) | 0) >= (this.up ? COUNT_MS : LOOK_MS)) this.look();
    if (!this.up) return 0;
    let given = 0;
    for (let turn = 0; turn < max; turn++) {
      this.aim();
      const n = this.sys.readv(this.fd, this.rxIov, this.restRoom > 0 ? 2 : 1);
      if (n < 0) {
        this.readFailed();
        break;
      }
      const f = this.take(n - this.header);
      if (f !== 0) out[given++] = f;
    }
    this.putBack();
    return given;
  }

  /** Points the next read at free slots, or at memory to waste where there are none. */
  private aim(): void {
    const waste = this.native.address + WASTE;
    if (this.small === 0) this.small = this.pool.alloc();
    if (this.small === 0) this.native.set64(RX_IOV, waste);
    else this.native.setAddress(RX_IOV, this.low, this.high, this.pool.off[this.small]! - this.header);
    if (this.restRoom > 0 && this.big === 0) {
      this.big = this.pool.allocBig();
      if (this.big === 0) this.native.set64(RX_IOV + 16, waste + this.header + this.smallRoom);
      else this.native.setAddress(RX_IOV + 16, this.low, this.high, this.pool.off[this.big]! + this.smallRoom);
    }
  }

  /** Makes a frame of the `len` bytes just read; 0 when it was dropped. */
  private take(len: number): FrameId {
    const { pool, ctx, small } = this;
    // A read that fills all there is was probably cut.
    if (len >= this.smallRoom + this.restRoom) {
      ctx.refuse(0, OVERSIZE);
      return 0;
    }
    const spills = len > this.smallRoom;
    if (small === 0 || (spills && this.big === 0)) {
      ctx.refuse(0, POOL_EMPTY);
      return 0;
    }
    const start = pool.base(small) + HEADROOM;
    let f = small;
    if (spills) {
      f = this.big;
      this.big = 0;
      pool.buf.copyWithin(pool.base(f) + HEADROOM, start, start + this.smallRoom);
    } else {
      this.small = 0;
    }
    pool.len[f] = len;
    if (this.header !== 0 && !readHeader(pool, f, start - this.header)) {
      ctx.refuse(f, LINK_METADATA);
      return 0;
    }
    this.stats.rxFrames += 1;
    this.stats.rxBytes += len;
    return f;
  }

  private putBack(): void {
    if (this.small !== 0) this.pool.release(this.small);
    if (this.big !== 0) this.pool.release(this.big);
    this.small = 0;
    this.big = 0;
  }

  private readFailed(): void {
    const errno = this.sys.errno();
    if (errno === EAGAIN || errno === EINTR) return;
    this.countError(errno);
    if (errno === EBADFD) this.lose();
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      if (!this.up) return i - from;
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        this.ctx.settle(f, DROP | reason);
        continue;
      }
      const bytes = this.pool.wireLength(f);
      if (this.write(f) >= 0) {
        this.stats.txFrames += 1;
        this.stats.txBytes += bytes;
        this.ctx.sent(f);
      } else if (!this.writeFailed(f)) {
        return i - from;
      }
    }
    return to - from;
  }

  /** Why the frame cannot be sent here, 0 when it can. */
  private objection(f: FrameId): number {
    const pool = this.pool;
    if (pool.gsoType[f] === GSO_NONE && pool.wireLength(f) > this.maxFrame) return OVERSIZE;
    const off = pool.off[f]!;
    if (this.header === 0) {
      if (pool.gsoType[f] === GSO_NONE && (pool.flags[f]! & F_CSUM_PARTIAL) === 0) return 0;
      this.countName('no offload');
      return LINK_ERROR;
    }
    if (off - this.header >= pool.base(f)) return 0;
    this.countName('no headroom');
    return LINK_ERROR;
  }

  private write(f: FrameId): number {
    const { pool, native } = this;
    const off = pool.off[f]! - this.header;
    if (this.header !== 0) writeHeader(pool, f, off);
    native.setAddress(TX_IOV, this.low, this.high, off);
    native.set64(TX_IOV + 8, pool.len[f]! + this.header);
    if (pool.frag[f] === 0) return this.sys.writev(this.fd, this.txIov, 1);
    native.setAddress(TX_IOV + 16, this.low, this.high, pool.fragOff[f]!);
    native.set64(TX_IOV + 24, pool.fragLen[f]!);
    return this.sys.writev(this.fd, this.txIov, 2);
  }

  /** Decides about a frame the kernel did not take; false when it stays with the caller and the burst ends. */
  private writeFailed(f: FrameId): boolean {
    const errno = this.sys.errno();
    if (errno === EAGAIN || errno === EINTR) return false;
    this.countError(errno);
    if (errno === EBADFD) {
      this.lose();
      return false;
    }
    this.ctx.settle(f, DROP | (errno === EIO || errno === ENETDOWN ? LINK_DOWN : LINK_ERROR));
    return true;
  }

  private lose(): void {
    this.up = false;
    this.crew?.lost();
    this.sys.close(this.fd);
    this.fd = -1;
    this.changed({ ...this.handle, fd: -1 });
    this.lookedMs = this.ctx.nowMs;
  }

  /** Reads what was lost; attaches to the interface again once it is there: nobody but its owner creates it. */
  private look(): void {
    if (this.closed) return;
    this.lookedMs = this.ctx.nowMs;
    this.stats.missed = this.lost.read() - this.lostBefore;
    this.followMtu();
    if (this.up) return;
    const index = this.query.index();
    if (index < 0 || this.crew?.isOurTurn(index) === false) return;
    try {
      this.fd = openTap(this.handle, this.crew !== null).fd;
      this.changed({ ...this.handle, fd: this.fd });
      this.crew?.attached(this.sys, index, this.fd);
      this.up = true;
      this.notice = '';
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.countName(error.code);
      this.notice = `the interface is there again and cannot be opened: ${error.message}`;
    }
  }

  private followMtu(): void {
    const mtu = this.query.mtu();
    if (mtu <= 0) return;
    this.caps.mtu = mtu;
    this.maxFrame = mtu + FRAME_OVERHEAD;
  }

  private countError(errno: number): void {
    this.countName(errnoName(errno));
  }

  private countName(name: string): void {
    this.stats.errors[name] = (this.stats.errors[name] ?? 0) + 1;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.up = false;
    if (this.fd >= 0) this.sys.close(this.fd);
    this.fd = -1;
    if (this.socket >= 0) this.sys.close(this.socket);
    this.lost.close();
  }
}
