/**
 * A ring of memif: descriptors in memory of the client, which names buffers in its regions. Indices are 16 bits and run freely.
 *
 * ```
 *  byte 0     cookie u32, flags u16 (1: the consumer wants no interrupts), head u16
 *  byte 64    tail u16
 *  byte 128   descriptors: flags u16 (1: the packet goes on in the next), region u16, length u32, offset u32, metadata u32
 * ```
 *
 * Towards the server (S2M) the client puts packets at head and the server takes them at tail. Towards the client (M2S) the client
 * puts empty buffers at head, the server fills them at tail; what lies between the client's own position and tail has arrived.
 *
 * Owner of every word is one side; each reads the other's index once per burst (Atomics) and publishes its own once.
 * @hot
 */
import type { NativeBytes, Syscalls } from './syscall.ts';

export const COOKIE = 0x3e31f20;
/** Bit of a descriptor's flags. */
export const NEXT = 1;
/** Bit of a ring's flags. */
const MASK_INTERRUPT = 1;
// Words of 16 and 32 bits in the header.
const FLAGS = 2;
const HEAD = 3;
const TAIL = 32;
const DESCRIPTORS = 32;
/** Words of a descriptor. */
export const D_FLAGS_REGION = 0;
export const D_LENGTH = 1;
export const D_OFFSET = 2;

export const ringBytes = (log2: number): number => 128 + (16 << log2);

export class MemifRing {
  readonly size: number;
  readonly mask: number;
  /** Descriptors: `descriptor(i) + D_*`. */
  readonly i32: Int32Array;
  private readonly u16: Uint16Array;
  private readonly sys: Syscalls;
  /** The descriptor that tells of an interrupt, ours or the other side's; -1 = none. */
  readonly interrupt: number;
  private readonly one: NativeBytes;
  private readonly pointer: bigint;

  /** `memory` begins with the ring; `one`: eight bytes that interrupts are read into and written from. */
  constructor(
    sys: Syscalls,
    memory: ArrayBufferLike,
    byteOffset: number,
    log2: number,
    interrupt: number,
    one: NativeBytes,
  ) {
    this.sys = sys;
    this.size = 1 << log2;
    this.mask = this.size - 1;
    const words = ringBytes(log2) >> 2;
    this.i32 = new Int32Array(memory, byteOffset, words);
    this.u16 = new Uint16Array(memory, byteOffset, words * 2);
    this.interrupt = interrupt;
    this.one = one;
    this.pointer = one.pointer();
  }

  /** Empties it. By the client before the rings are named to the server, and by the server when it is asked to connect. */
  reset(): void {
    this.i32[0] = COOKIE;
    Atomics.store(this.u16, FLAGS, 0);
    Atomics.store(this.u16, HEAD, 0);
    Atomics.store(this.u16, TAIL, 0);
  }

  hasCookie(): boolean {
    return this.i32[0] === COOKIE;
  }

  /** Where the descriptor with this index begins in `i32`. */
  descriptor(index: number): number {
    return DESCRIPTORS + ((index & this.mask) << 2);
  }

  head(): number {
    return Atomics.load(this.u16, HEAD);
  }

  tail(): number {
    return Atomics.load(this.u16, TAIL);
  }

  setHead(index: number): void {
    Atomics.store(this.u16, HEAD, index & 0xffff);
  }

  setTail(index: number): void {
    Atomics.store(this.u16, TAIL, index & 0xffff);
  }

  /** The consumer: whether it wants to be interrupted. */
  wantInterrupts(want: boolean): void {
    Atomics.store(this.u16, FLAGS, want ? 0 : MASK_INTERRUPT);
  }

  /** The producer: wakes the consumer if that wants it. */
  wake(): void {
    if (this.interrupt < 0 || (Atomics.load(this.u16, FLAGS) & MASK_INTERRUPT) !== 0) return;
    this.one.i32[0] = 1;
    this.one.i32[1] = 0;
    this.sys.write(this.interrupt, this.pointer, 8);
  }

  /** The consumer: takes interrupts that came. */
  drain(): void {
    this.sys.read(this.interrupt, this.pointer, 8);
  }
}
