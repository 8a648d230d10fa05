/**
 * Waiting for input in poll(2): the descriptors of a worker's ports, and the eventfd that wakes it. Which descriptors a
 * port has is asked before every sleep, as a link that comes back may have others; -1 is one that poll(2) passes over.
 */
import type { Device } from '../../stack/netif/device.ts';
import { NativeBytes, POLLIN, type Syscalls, syscalls } from '../links/syscall.ts';
import type { Waiter } from './loop.ts';

/** struct pollfd: fd int32, events int16, revents int16. */
const POLLFD = 8;

export class PollWaiter implements Waiter {
  private readonly sys: Syscalls;
  private readonly fds: NativeBytes;
  private readonly pointer: bigint;
  private readonly count: number;
  private readonly devices: readonly Device[];
  private readonly eventFd: number;
  private readonly counter: NativeBytes;

  /** `eventFd` is emptied when it fires. */
  constructor(devices: readonly Device[], eventFd: number) {
    this.sys = syscalls();
    this.devices = devices;
    this.count = devices.reduce((n, device) => n + 1 + (device.moreFds?.length ?? 0), 1);
    this.eventFd = eventFd;
    this.fds = new NativeBytes(this.sys, this.count * POLLFD);
    this.pointer = this.fds.pointer();
    this.counter = new NativeBytes(this.sys, 8);
    for (let i = 0; i < this.count; i++) this.fds.u16[i * 4 + 2] = POLLIN;
    this.fds.i32[0] = eventFd;
  }

  wait(ms: number): void {
    const { i32, u16 } = this.fds;
    let at = 1;
    for (const { fd, moreFds } of this.devices) {
      i32[at++ * 2] = fd;
      if (moreFds !== undefined) for (let i = 0; i < moreFds.length; i++) i32[at++ * 2] = moreFds[i]!;
    }
    const ready = this.sys.poll(this.pointer, this.count, ms);
    if (ready <= 0) return; // a time-out, or a signal: the loop looks again either way
    if (u16[3] !== 0) this.sys.read(this.eventFd, this.counter.address, 8);
  }
}
