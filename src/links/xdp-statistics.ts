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
  /** Of sockets that were closed. */
  private before = 0;
  private now = 0;

  constructor(sys: Syscalls) {
    this.sys = sys;
    this.value = new NativeBytes(sys, BYTES + 8);
  }

  /** Frames lost so far. */
  read(queues: readonly XdpQueue[]): number {
    const { i32, address } = this.value;
    const count = (word: number): number => i32[word]! + i32[word + 1]! * 4294967296;
    this.now = 0;
    for (const { fd } of queues) {
      i32[BYTES >> 2] = BYTES;
      if (this.sys.getsockopt(fd, SOL_XDP, XDP_STATISTICS, address, address + BYTES) < 0) continue;
      this.now += count(RX_DROPPED) + count(RX_RING_FULL);
      if (count(RX_DROPPED) > count(FILL_EMPTY)) this.tooLarge = true;
    }
    return this.before + this.now;
  }

  /** The sockets are closed: what they had counted is kept. */
  forget(): void {
    this.before += this.now;
    this.now = 0;
  }
}
