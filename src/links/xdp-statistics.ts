/** What AF_XDP sockets had to drop before anybody could take it: struct xdp_statistics, 64-bit counts since each was opened. Cold. */
import { NativeBytes, type Syscalls } from './syscall.ts';
import type { XdpQueue } from './xdp-queue.ts';

const SOL_XDP = 283;
const XDP_STATISTICS = 7;
const BYTES = 48;
/** 32-bit words: dropped, the receive ring was full, the fill ring was empty. */
const RX_DROPPED = 0;
const RX_RING_FULL = 6;
const FILL_EMPTY = 8;

export class XdpStatistics {
  /** Frames were too large for a slot. */
  tooLarge = false;
  private readonly sys: Syscalls;
  private readonly value: NativeBytes;
  private readonly counts: bigint;
  private readonly length: bigint;
  /** Of sockets that were closed. */
  private before = 0;
  private now = 0;

  constructor(sys: Syscalls) {
    this.sys = sys;
    this.value = new NativeBytes(sys, BYTES + 8);
    this.counts = this.value.pointer();
    this.length = this.value.pointer(BYTES);
  }

  /** Frames lost so far. */
  read(queues: readonly XdpQueue[]): number {
    const { i32 } = this.value;
    this.now = 0;
    for (let i = 0; i < queues.length; i++) {
      i32[BYTES >> 2] = BYTES;
      if (this.sys.getsockopt(queues[i]!.fd, SOL_XDP, XDP_STATISTICS, this.counts, this.length) < 0) continue;
      this.now += this.count(RX_DROPPED) + this.count(RX_RING_FULL);
      if (this.count(RX_DROPPED) > this.count(FILL_EMPTY)) this.tooLarge = true;
    }
    return this.before + this.now;
  }

  private count(word: number): number {
    const { i32 } = this.value;
    return i32[word]! + i32[word + 1]! * 4294967296;
  }

  /** The sockets are closed: what they had counted is kept. */
  forget(): void {
    this.before += this.now;
    this.now = 0;
  }
}
