/**
 * AF_XDP as a device: what the XDP program (xdp-program.ts) takes from an interface arrives in slots of the pool without a system
 * call, the rest stays with the kernel. Sending is one system call per burst.
 *
 * ```
 *  pool --lend--> fill ring --kernel--> rx ring --receive--> frame
 *  frame --tx ring--> kernel --completion ring--> sent, slot free
 * ```
 *
 * A received frame starts 258 bytes into its slot, of which the kernel keeps 256: more headroom than elsewhere, and room for
 * 1790 bytes. Frames are sent from where they lie; only one in a big slot, which is not the kernel's to read, is copied first.
 * For each slot filled another one is lent; when the pool has none, the frame is dropped as POOL_EMPTY and its slot lent again.
 *
 * There is no virtio-net header here: no segments, and a checksum that a sender on this machine left unfinished is recognised
 * by its value (partial-checksum.ts) and said once in `notice`.
 *
 * Each worker has a device with the queues that are its own. A flow is sent by one of them. Ten times a second the interface is looked at;
 * one that was deleted is opened again when it is back, by each worker for itself.
 *
 * Ownership: as device.ts says; frames are `sent` when the kernel says so.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_ERROR, POOL_EMPTY, PORT_CLOSED } from '../../stack/drop.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { duplicate } from '../../stack/netif/copy.ts';
import type { ChangingCapabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId, Ipv4 } from '../../stack/types.ts';
import { DELIVERED, DROP } from '../../stack/verdict.ts';
import { Bpf } from './bpf.ts';
import { askingSocket, InterfaceQuery } from './ifreq.ts';
import { markPartial, partialNotice } from './partial-checksum.ts';
import { SendQueues } from './send-queues.ts';
import { EAGAIN, EBUSY, EINTR, ENOBUFS, errnoName, LinkError, type Syscalls, syscalls } from './syscall.ts';
import { objectionTo } from './whole-frame.ts';
import { closeMaps, releaseXdp, reopenXdp, type XdpHandle } from './xdp-open.ts';
import { XdpQueue } from './xdp-queue.ts';
import { type Umem, umemOf, XDP_RING } from './xdp-socket.ts';
import { XdpStatistics } from './xdp-statistics.ts';

const LOOK_MS = 100;
/** Looks at the completion ring before a socket with frames on their way is closed. */
const LAST_LOOKS = 16;
/** Slots lent of the pool at most: one in so many. */
const SHARE = 4;

export class XdpDevice implements Device {
  readonly name: string;
  readonly caps: ChangingCapabilities;
  readonly stats: DeviceStats = newStats();
  readonly moreFds: Int32Array;
  readonly revives = true;
  up = true;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly bpf: Bpf;
  private readonly umem: Umem;
  private readonly query: InterfaceQuery;
  private readonly socket: number;
  private readonly losses: XdpStatistics;
  /** Bits of an address within its slot. */
  private readonly shift: number;
  private readonly umemBytes: number;
  private maxFrame: number;
  /** By slot: lent to the kernel; times it is on its way out. */
  private readonly lent: Uint8Array;
  private readonly leaving: Uint8Array;
  private readonly changed: (handle: XdpHandle) => void;
  private handle: XdpHandle;
  /** Whether the sockets of `handle` are open. */
  private isOpen = false;
  private queues: readonly XdpQueue[] = [];
  private sending: SendQueues;
  private lookedMs: number;
  private closed = false;

  /**
   * Drives what `openXdp` opened over this context's pool, here or in another thread; everything in it is ours from now on. `changed` is
   * told what is open instead, for who may have to take over.
   */
  constructor(ctx: Context, handle: XdpHandle, changed: (handle: XdpHandle) => void = () => {}) {
    const { name } = handle.options;
    const { slots, slotBytes } = ctx.pool.config;
    this.name = `xdp:${name}`;
    this.caps = {
      ...{ mtu: handle.mtu, txChecksum: false, rxChecksum: true, tso: false, scatter: false },
      queues: handle.most,
    };
    this.moreFds = new Int32Array(handle.most - 1).fill(-1);
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.bpf = new Bpf(this.sys);
    this.umem = umemOf(this.sys, ctx.pool);
    this.losses = new XdpStatistics(this.sys);
    this.socket = askingSocket(this.sys);
    this.query = new InterfaceQuery(this.sys, this.socket, name);
    this.shift = Math.log2(slotBytes);
    this.umemBytes = slots * slotBytes;
    this.maxFrame = handle.mtu + FRAME_OVERHEAD;
    this.lent = new Uint8Array(slots);
    this.leaving = new Uint8Array(slots);
    this.lookedMs = ctx.nowMs;
    this.handle = handle;
    this.sending = new SendQueues(ctx, []);
    this.changed = changed;
    if (handle.queues.length > 0) this.take(handle);
    this.up = this.isOpen && this.query.isUp();
  }

  get fd(): number {
    return this.queues[0]?.fd ?? -1;
  }

  get held(): number {
    let n = 0;
    for (let f = 1; f < this.leaving.length; f++) if (this.leaving[f]! > 0) n++;
    return n;
  }

  /** An address became or is no longer ours: the program is told, once for all workers. */
  claim(addr: Ipv4, ours: boolean): void {
    if (this.handle.worker !== 0) return;
    const key = (addr >>> 24) | ((addr >> 8) & 0xff00) | ((addr & 0xff00) << 8) | (addr << 24);
    if (ours) this.bpf.setEntry(this.handle.addresses, key, 1);
    else this.bpf.deleteEntry(this.handle.addresses, key);
  }

  prepareSleep(): boolean {
    this.reap();
    for (let i = 0; i < this.queues.length; i++) if (this.queues[i]!.received() > 0) return false;
    return true;
  }

  rx(out: Int32Array, max: number): number {
    if (this.closed) return 0;
    if (((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS) this.look();
    this.reap();
    let given = 0;
    for (let i = 0; i < this.queues.length; i++) {
      const queue = this.queues[i]!;
      if (queue.isSending()) this.kick(queue);
      given = this.receive(queue, out, given, max);
    }
    return given;
  }

  private receive(queue: XdpQueue, out: Int32Array, first: number, max: number): number {
    const { ctx, pool, lent, shift, stats } = this;
    let n = queue.received();
    if (n === 0) return first;
    if (n > max - first) n = max - first;
    let given = first;
    for (let i = 0; i < n; i++) {
      const address = queue.rxAddress(i);
      const f = address >>> shift;
      const next = pool.lend();
      if (next === 0) {
        ctx.refuse(0, POOL_EMPTY);
        queue.fill(f << shift);
        continue;
      }
      queue.fill(next << shift);
      lent[next] = 1;
      lent[f] = 0;
      pool.receive(f);
      pool.off[f] = address;
      const length = queue.rxLength(i);
      pool.len[f] = length;
      stats.rxFrames += 1;
      stats.rxBytes += length;
      if (markPartial(pool, f) && this.notice === '') this.notice = partialNotice(this.name.slice('xdp:'.length));
      out[given++] = f;
    }
    queue.rxDone(n);
    queue.fillDone();
    return given;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    this.reap();
    const n = this.sending.send(frames, from, to);
    this.reap();
    return n;
  }

  /** As `tx`, by one queue. */
  private sendBy(queue: XdpQueue, frames: Int32Array, from: number, to: number): number {
    let room = queue.txRoom();
    let i = from;
    for (; i < to && room > 0; i++) {
      const reason = this.objection(frames[i]!);
      if (reason !== 0) {
        this.ctx.settle(frames[i]!, DROP | reason);
        continue;
      }
      const f = this.within(frames[i]!);
      if (f === 0) continue;
      const length = this.pool.len[f]!;
      queue.put(this.pool.off[f]!, length);
      this.leaving[f]! += 1;
      this.stats.txFrames += 1;
      this.stats.txBytes += length;
      room--;
    }
    this.kick(queue);
    return i - from;
  }

  /** Why the frame cannot be sent here, 0 when it can. */
  private objection(f: FrameId): number {
    const reason = objectionTo(this.pool, f, this.maxFrame);
    if (reason === LINK_ERROR) this.countName('no offload');
    return reason;
  }

  /** The frame itself, or its copy where the kernel can read it; 0 when there is no slot for that, and the frame is dropped. */
  private within(f: FrameId): FrameId {
    if (this.pool.off[f]! < this.umemBytes) return f;
    if (this.pool.freeSmallCount === 0) {
      this.ctx.settle(f, DROP | POOL_EMPTY);
      return 0;
    }
    const copy = duplicate(this.ctx, f);
    this.ctx.settle(f, DELIVERED);
    return copy;
  }

  private kick(queue: XdpQueue): void {
    const errno = queue.kick();
    if (errno === 0 || errno === EAGAIN || errno === EBUSY || errno === ENOBUFS || errno === EINTR) return;
    this.countName(errnoName(errno));
    this.lookedMs = (this.ctx.nowMs - LOOK_MS) | 0;
  }

  /** Ends the way of frames that have been sent. */
  private reap(): void {
    for (let i = 0; i < this.queues.length; i++) {
      const queue = this.queues[i]!;
      const n = queue.sent();
      if (n === 0) continue;
      for (let k = 0; k < n; k++) {
        const f = queue.sentAddress(k) >>> this.shift;
        this.leaving[f]! -= 1;
        this.ctx.sent(f);
      }
      queue.sentDone(n);
    }
  }

  // The interface

  private look(): void {
    this.lookedMs = this.ctx.nowMs;
    const index = this.query.index();
    if (this.isOpen && index !== this.handle.index) this.release();
    if (!this.isOpen && index >= 0) this.reopen();
    this.up = this.queues.length > 0 && this.query.isUp();
    this.followMtu();
    this.stats.missed = this.losses.read(this.queues);
    if (this.losses.tooLarge && this.notice === '') this.notice = LARGE.replaceAll('NAME', this.name.slice(4));
  }

  private followMtu(): void {
    const mtu = this.query.mtu();
    if (mtu <= 0) return;
    this.caps.mtu = mtu;
    this.maxFrame = mtu + FRAME_OVERHEAD;
  }

  private take(handle: XdpHandle): void {
    this.handle = handle;
    this.isOpen = true;
    this.queues = handle.queues.map((queue) => new XdpQueue(this.sys, queue));
    this.sending = new SendQueues(
      this.ctx,
      this.queues.map((queue) => ({
        reap() {},
        room: () => queue.txRoom(),
        send: (frames, from, to) => this.sendBy(queue, frames, from, to),
      })),
    );
    this.queues.slice(1, this.moreFds.length + 1).forEach((queue, i) => {
      this.moreFds[i] = queue.fd;
    });
    const { slots } = this.pool.config;
    const each = Math.min(XDP_RING, Math.floor(slots / SHARE / this.queues.length));
    for (const queue of this.queues) {
      for (let n = 0; n < each; n++) {
        const f = this.pool.lend();
        if (f === 0) break;
        this.lent[f] = 1;
        queue.fill(f << this.shift);
      }
      queue.fillDone();
    }
  }

  private reopen(): void {
    try {
      this.take(reopenXdp(this.handle, this.umem));
      this.changed(this.handle);
      const { worker, workers } = this.handle;
      this.notice = worker === 0 && workers > 1 && this.query.rxQueues() < workers ? FEWER : '';
    } catch (error) {
      if (!(error instanceof LinkError)) throw error;
      this.countName(error.code);
      this.notice = `the interface is there again and cannot be opened: ${error.message}`;
    }
  }

  /** Closes the sockets; what was lent comes back, what is still on its way is lost. */
  private release(): void {
    if (!this.isOpen) return;
    for (let n = 0; n < LAST_LOOKS; n++) {
      for (const queue of this.queues) if (queue.isSending()) queue.kick();
      this.reap();
    }
    this.losses.read(this.queues);
    this.losses.forget();
    releaseXdp(this.handle);
    this.isOpen = false;
    this.changed({ ...this.handle, queues: [], others: [] });
    this.queues = [];
    this.sending = new SendQueues(this.ctx, []);
    this.moreFds.fill(-1);
    for (let f = 1; f < this.lent.length; f++) {
      if (this.lent[f] === 1) this.pool.takeBack(f);
      for (; this.leaving[f]! > 0; this.leaving[f]! -= 1) this.ctx.settle(f, DROP | PORT_CLOSED);
    }
    this.lent.fill(0);
  }

  private countName(name: string): void {
    this.stats.errors[name] = (this.stats.errors[name] ?? 0) + 1;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.up = false;
    this.release();
    if (this.handle.worker === 0) closeMaps(this.handle);
    if (this.socket >= 0) this.sys.close(this.socket);
  }
}

const FEWER = 'the interface has fewer receive queues than it had: restart tsvs, as some workers have none now';
const LARGE =
  "frames arrive that no slot holds, and are lost: 'ethtool -K PEER tso off gso off' at the other end of NAME, 'ethtool -K NAME gro off lro off' here";
