/**
 * One AF_XDP socket: four rings shared with the kernel, each with one producer and one consumer.
 *
 * ```
 *  fill        free slots        we -> kernel      rx          filled slots      kernel -> we
 *  tx          frames to send    we -> kernel      completion  sent, free again  kernel -> we
 * ```
 *
 * Indices run freely over 32 bits. Ours are kept here and published once per burst (Atomics.store); the kernel's are read once
 * per burst. Whoever owns the frames is xdp.ts; here are only addresses, in bytes from the start of the pool.
 * @hot
 */
import { MSG_DONTWAIT, type Syscalls } from './syscall.ts';
import type { RingPlace, XdpQueueHandle } from './xdp-socket.ts';

const NEED_WAKEUP = 1;
/** Calls until a burst has left, where the kernel sends a few with each. */
const MOST_KICKS = 128;

class Ring {
  readonly i32: Int32Array;
  readonly size: number;
  readonly mask: number;
  /** Positions of the indices, the flags and the first entry in `i32`. */
  readonly producer: number;
  readonly consumer: number;
  readonly flags: number;
  readonly entries: number;
  /** Our index: where we put or take next. */
  mine: number;

  constructor(sys: Syscalls, place: RingPlace, produces: boolean) {
    this.i32 = new Int32Array(sys.view(place.address, place.bytes));
    this.size = place.size;
    this.mask = place.size - 1;
    this.producer = place.producer >> 2;
    this.consumer = place.consumer >> 2;
    this.flags = place.flags >> 2;
    this.entries = place.entries >> 2;
    this.mine = this.i32[produces ? this.producer : this.consumer]!;
  }

  /** Entries that can be put. */
  room(): number {
    return this.size - ((this.mine - Atomics.load(this.i32, this.consumer)) | 0);
  }

  /** Entries that can be taken. */
  waiting(): number {
    return (Atomics.load(this.i32, this.producer) - this.mine) | 0;
  }

  wantsWakeup(): boolean {
    return (Atomics.load(this.i32, this.flags) & NEED_WAKEUP) !== 0;
  }
}

export class XdpQueue {
  readonly fd: number;
  private readonly sys: Syscalls;
  private readonly rxRing: Ring;
  private readonly txRing: Ring;
  private readonly fillRing: Ring;
  private readonly doneRing: Ring;

  constructor(sys: Syscalls, handle: XdpQueueHandle) {
    this.sys = sys;
    this.fd = handle.fd;
    this.rxRing = new Ring(sys, handle.rx, false);
    this.txRing = new Ring(sys, handle.tx, true);
    this.fillRing = new Ring(sys, handle.fill, true);
    this.doneRing = new Ring(sys, handle.completion, false);
  }

  /** Received frames that wait. */
  received(): number {
    return this.rxRing.waiting();
  }

  /** Address and length of the `i`-th of them. */
  rxAddress(i: number): number {
    const { i32, entries, mine, mask } = this.rxRing;
    return i32[entries + (((mine + i) & mask) << 2)]!;
  }

  rxLength(i: number): number {
    const { i32, entries, mine, mask } = this.rxRing;
    return i32[entries + (((mine + i) & mask) << 2) + 2]!;
  }

  /** The first `n` have been read. */
  rxDone(n: number): void {
    const ring = this.rxRing;
    ring.mine = (ring.mine + n) | 0;
    Atomics.store(ring.i32, ring.consumer, ring.mine);
  }

  /** Slots that the kernel can be given to receive into. */
  fillRoom(): number {
    return this.fillRing.room();
  }

  /** Gives one; seen by the kernel with `fillDone`. */
  fill(address: number): void {
    const ring = this.fillRing;
    const at = ring.entries + ((ring.mine & ring.mask) << 1);
    ring.i32[at] = address;
    ring.i32[at + 1] = 0;
    ring.mine = (ring.mine + 1) | 0;
  }

  fillDone(): void {
    const ring = this.fillRing;
    Atomics.store(ring.i32, ring.producer, ring.mine);
    // A driver that receives into our memory itself may have stopped for want of it.
    if (ring.wantsWakeup()) this.sys.recv(this.fd, 0, 0, MSG_DONTWAIT);
  }

  txRoom(): number {
    return this.txRing.room();
  }

  /** Queues a frame; it leaves with `kick`. */
  put(address: number, length: number): void {
    const ring = this.txRing;
    const at = ring.entries + ((ring.mine & ring.mask) << 2);
    const { i32 } = ring;
    i32[at] = address;
    i32[at + 1] = 0;
    i32[at + 2] = length;
    i32[at + 3] = 0;
    ring.mine = (ring.mine + 1) | 0;
  }

  /** Has the kernel send what is queued. Returns 0, or the errno of a failure; what did not leave stays queued. */
  kick(): number {
    const ring = this.txRing;
    Atomics.store(ring.i32, ring.producer, ring.mine);
    for (let n = 0; n < MOST_KICKS && this.isSending() && ring.wantsWakeup(); n++) {
      const before = Atomics.load(ring.i32, ring.consumer);
      if (this.sys.sendto(this.fd, 0, 0, MSG_DONTWAIT, 0, 0) >= 0) return 0;
      // EAGAIN with progress: the kernel does some at a time. Without: the interface's queue is full.
      if (Atomics.load(ring.i32, ring.consumer) === before) return this.sys.errno();
    }
    return 0;
  }

  /** Frames are queued that the kernel has not taken. */
  isSending(): boolean {
    const ring = this.txRing;
    return Atomics.load(ring.i32, ring.consumer) !== ring.mine;
  }

  /** Frames that have been sent since. */
  sent(): number {
    return this.doneRing.waiting();
  }

  sentAddress(i: number): number {
    const { i32, entries, mine, mask } = this.doneRing;
    return i32[entries + (((mine + i) & mask) << 1)]!;
  }

  sentDone(n: number): void {
    const ring = this.doneRing;
    ring.mine = (ring.mine + n) | 0;
    Atomics.store(ring.i32, ring.consumer, ring.mine);
  }
}
