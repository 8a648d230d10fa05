/**
 * A packet socket as a device: an existing interface of the system (a network card, one end of a veth pair), whose frames we get
 * a copy of and on which we send. The kernel's own stack still sees every frame, so the interface should have no IP
 * address; what we receive is not taken away from it.
 *
 * Receiving is by a ring (packet-ring.ts) or by recvmmsg(2) (packet-batch.ts). Sending is by sendmmsg(2) with up to 64 frames at
 * once, straight out of the pool: the virtio-net header goes into a frame's headroom, and a payload slice is a second iovec. The
 * kernel copies, so frames are `sent` at once. (A transmit ring was measured slower for small frames: 610 against 530 ns.)
 * When what was sent fills the socket's buffer because the interface is slow, frames stay with the caller (EAGAIN).
 *
 * Ten times a second the interface is looked at: set down or without carrier, `up` is false; deleted and created again, the
 * socket is bound to the new one, or exchanged for a new one where several workers share the interface (packet-seat.ts). What the
 * kernel had to drop because we were late is in `stats.missed`.
 *
 * Ownership: as device.ts says.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN, LINK_ERROR, OVERSIZE, TX_FULL } from '../../stack/drop.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { F_CSUM_PARTIAL, GSO_NONE } from '../../stack/mem/frame-pool.ts';
import type { ChangingCapabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import { InterfaceQuery } from './ifreq.ts';
import { PacketBatch } from './packet-batch.ts';
import { IOV_BYTES, MMSG_BYTES, setMessage } from './packet-messages.ts';
import { bindPacket, closeSocket, openSocketsAgain, type PacketHandle } from './packet-open.ts';
import { PacketRing } from './packet-ring.ts';
import { PacketSeat, type PacketSocket } from './packet-seat.ts';
import { droppedSince, STATISTICS_BYTES } from './packet-statistics.ts';
import {
  EAGAIN,
  EINTR,
  EMSGSIZE,
  ENETDOWN,
  ENOBUFS,
  ENODEV,
  ENXIO,
  errnoName,
  LinkError,
  MSG_DONTWAIT,
  NativeBytes,
  SO_ERROR,
  SOL_SOCKET,
  type Syscalls,
  syscalls,
} from './syscall.ts';
import { VNET_HDR_SHORT, writeHeader } from './virtio-net.ts';

/** Where received frames come from. */
export interface PacketReceiver {
  /** Fills `out[0..n)` with frames and returns n <= max. */
  receive(out: Int32Array, max: number): number;
}

/** Frames sent with one call. */
const AT_ONCE = 64;
/** Byte offsets in `this.native`: messages, two iovecs for each, and an int with its length for a socket option. */
const IOVS = AT_ONCE * MMSG_BYTES;
const VALUE = IOVS + AT_ONCE * 2 * IOV_BYTES;
const LENGTH = VALUE + 4;
const NATIVE_BYTES = LENGTH + 4;

const LOOK_MS = 100;

export class PacketDevice implements Device {
  readonly name: string;
  readonly caps: ChangingCapabilities;
  readonly stats: DeviceStats = newStats();
  fd = -1;
  readonly revives = true;
  up = true;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly handle: PacketHandle;
  private readonly seat: PacketSeat;
  private receiver!: PacketReceiver;
  private readonly native: NativeBytes;
  private readonly statistics: NativeBytes;
  private readonly messages: bigint;
  private readonly poolAddress: number;
  private query!: InterfaceQuery;
  /** Largest frame to send without segmentation, in bytes. */
  private maxFrame: number;
  private readonly batch = new Int32Array(AT_ONCE);
  private batched = 0;
  /** Of the interface that the socket is bound to, -1 = none. */
  private index = -1;
  private lookedMs: number;
  private closed = false;

  /** Drives what `openPacket` opened, here or in another thread, or goes on where one that died left it; the socket is ours from now on. */
  constructor(ctx: Context, handle: PacketHandle) {
    const { name, offload, mtu } = handle;
    this.name = `packet:${name}`;
    this.caps = { mtu, txChecksum: offload, rxChecksum: true, tso: offload, scatter: true, queues: 1 };
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.handle = handle;
    const { sys } = this;
    this.seat = new PacketSeat(handle.seats, handle.worker);
    this.native = new NativeBytes(sys, NATIVE_BYTES);
    this.statistics = new NativeBytes(sys, STATISTICS_BYTES);
    this.messages = this.native.pointer();
    this.poolAddress = sys.addressOf(new Uint8Array(ctx.pool.share.memory));
    this.maxFrame = mtu + FRAME_OVERHEAD;
    this.sit();
    this.lookedMs = ctx.nowMs;
    this.look();
  }

  rx(out: Int32Array, max: number): number {
    if (this.closed) return 0;
    if (((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS) this.look();
    const n = this.receiver.receive(out, max);
    let bytes = 0;
    for (let i = 0; i < n; i++) bytes += this.pool.len[out[i]!]!;
    this.stats.rxFrames += n;
    this.stats.rxBytes += bytes;
    return n;
  }

  /** Looks at the interface, and at what the kernel had to drop. */
  private look(): void {
    this.lookedMs = this.ctx.nowMs;
    const { sys, native } = this;
    const index = this.query.index();
    // Bound to an interface that went away, the socket has an error pending: taken, or poll(2) would return at once.
    native.i32[LENGTH >> 2] = 4;
    sys.getsockopt(this.fd, SOL_SOCKET, SO_ERROR, native.address + VALUE, native.address + LENGTH);
    if (this.handle.workers > 1) this.follow(index);
    else if (index >= 0 && index !== this.index) this.bindAgain(index);
    this.up = index >= 0 && this.index === index && this.query.isUp();
    this.followMtu();
    const dropped = droppedSince(sys, this.fd, this.statistics);
    if (dropped > 0) this.stats.missed += dropped;
  }

  private followMtu(): void {
    const mtu = this.query.mtu();
    if (mtu <= 0) return;
    this.caps.mtu = mtu;
    this.maxFrame = mtu + FRAME_OVERHEAD;
  }

  /** Uses the socket that our seat names. */
  private sit(): void {
    const { ctx, sys, seat } = this;
    const { fd, ringAddress, index } = seat.socket;
    this.fd = fd;
    this.index = index;
    this.receiver = ringAddress === 0 ? new PacketBatch(ctx, sys, fd) : new PacketRing(ctx, sys, seat);
    this.query = new InterfaceQuery(sys, fd, this.handle.name);
  }

  private bindAgain(index: number): void {
    const errno = bindPacket(this.sys, this.fd, index, this.handle.mac);
    if (errno !== 0) this.countName(errnoName(errno));
    this.index = errno === 0 ? index : -1;
    this.seat.boundTo(this.index);
  }

  /** Sockets of a group cannot be bound again: worker 0 opens new ones for the interface with this index, and each takes its own. */
  private follow(index: number): void {
    const { handle, seat } = this;
    if (handle.worker === 0 && index >= 0 && index !== this.index && this.query.isUp()) this.openAgain();
    const offered = seat.takeOffer();
    if (offered === null) return;
    closeSocket(seat.socket);
    seat.sit(offered);
    this.sit();
  }

  private openAgain(): void {
    const { handle } = this;
    let opened: PacketSocket[];
    try {
      opened = openSocketsAgain(handle);
      this.notice = '';
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.countName(error.code);
      this.notice = `the interface is there again and cannot be opened: ${error.message}`;
      return;
    }
    opened.forEach((socket, worker) => {
      const seat = new PacketSeat(handle.seats, worker);
      const unwanted = seat.takeOffer();
      if (unwanted !== null) closeSocket(unwanted);
      seat.offer(socket);
    });
  }

  tx(frames: Int32Array, from: number, to: number): number {
    let i = from;
    while (i < to && this.up) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason === 0) {
        this.append(f);
        i++;
        if (this.batched < AT_ONCE && i < to) continue;
      }
      const left = this.send();
      if (left > 0) return i - left - from;
      if (reason === 0) continue;
      this.ctx.settle(f, DROP | reason);
      i++;
    }
    return i - from;
  }

  /** Why the frame cannot be sent here, 0 when it can. */
  private objection(f: FrameId): number {
    const pool = this.pool;
    if (pool.gsoType[f] === GSO_NONE) {
      if (pool.wireLength(f) > this.maxFrame) return OVERSIZE;
    } else if (!this.handle.offload) return this.refused('no offload');
    if ((pool.flags[f]! & F_CSUM_PARTIAL) !== 0 && !this.handle.offload) return this.refused('no offload');
    return pool.off[f]! - VNET_HDR_SHORT >= pool.base(f) ? 0 : this.refused('no headroom');
  }

  private refused(what: string): number {
    this.countName(what);
    return LINK_ERROR;
  }

  private append(f: FrameId): void {
    const { pool, native, poolAddress } = this;
    const n = this.batched++;
    const iov = IOVS + n * 2 * IOV_BYTES;
    const off = pool.off[f]! - VNET_HDR_SHORT;
    writeHeader(pool, f, off, VNET_HDR_SHORT);
    native.set64(iov, poolAddress + off);
    native.set64(iov + 8, pool.len[f]! + VNET_HDR_SHORT);
    const slice = pool.frag[f] !== 0;
    if (slice) {
      native.set64(iov + 16, poolAddress + pool.fragOff[f]!);
      native.set64(iov + 24, pool.fragLen[f]!);
    }
    setMessage(native, n * MMSG_BYTES, iov, slice ? 2 : 1);
    this.batch[n] = f;
  }

  /** Sends what was appended; returns how many of the last frames stay with the caller. */
  private send(): number {
    const { batch, ctx, pool, stats } = this;
    const n = this.batched;
    this.batched = 0;
    let done = 0;
    while (done < n) {
      const messages = done === 0 ? this.messages : this.native.address + done * MMSG_BYTES;
      const sent = this.sys.sendmmsg(this.fd, messages, n - done, MSG_DONTWAIT);
      if (sent < 0 && !this.sendFailed(batch[done]!)) break;
      if (sent < 0) done++;
      for (let k = 0; k < sent; k++) {
        const f = batch[done++]!;
        stats.txFrames += 1;
        stats.txBytes += pool.wireLength(f);
        ctx.sent(f);
      }
    }
    return n - done;
  }

  /** Decides about a frame the kernel did not take; false when it stays with the caller and the burst ends. */
  private sendFailed(f: FrameId): boolean {
    const errno = this.sys.errno();
    if (errno === EAGAIN || errno === EINTR) return false;
    this.countName(errnoName(errno));
    if (errno === ENETDOWN || errno === ENXIO || errno === ENODEV) this.lookedMs = (this.ctx.nowMs - LOOK_MS) | 0;
    this.ctx.settle(f, DROP | reasonOf(errno));
    return true;
  }

  private countName(name: string): void {
    this.stats.errors[name] = (this.stats.errors[name] ?? 0) + 1;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.up = false;
    closeSocket(this.seat.socket);
  }
}

function reasonOf(errno: number): number {
  switch (errno) {
    case ENETDOWN:
    case ENXIO:
    case ENODEV:
      return LINK_DOWN;
    case ENOBUFS:
      return TX_FULL;
    case EMSGSIZE:
      return OVERSIZE;
    default:
      return LINK_ERROR;
  }
}
