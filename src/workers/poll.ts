/** Waiting for input in poll(2): the descriptors of a worker's ports, and the eventfd that wakes it. */
import { NativeBytes, POLLIN, type Syscalls, syscalls } from '../links/syscall.ts';
import type { Waiter } from './loop.ts';

/** struct pollfd: fd int32, events int16, revents int16. */
const POLLFD = 8;

export class PollWaiter implements Waiter {
  private readonly sys: Syscalls;
  private readonly fds: NativeBytes;
  private readonly count: number;
  private readonly eventFd: number;
  private readonly counter: NativeBytes;

  /** `eventFd` is among `fds` and is emptied when it fires. */
  constructor(fds: readonly number[], eventFd: number) {
    this.sys = syscalls();
    this.count = fds.length;
    this.eventFd = eventFd;
    this.fds = new NativeBytes(this.sys, fds.length * POLLFD);
    this.counter = new NativeBytes(this.sys, 8);
    fds.forEach((fd, i) => {
      this.fds.i32[i * 2] = fd;
      this.fds.u16[i * 4 + 2] = POLLIN;
    });
  }

  wait(ms: number): void {
    const ready = this.sys.poll(this.fds.address, this.count, ms);
    if (ready <= 0) return; // a time-out, or a signal: the loop looks again either way
    for (let i = 0; i < this.count; i++) {
      if (this.fds.i32[i * 2] === this.eventFd && this.fds.u16[i * 4 + 3] !== 0) {
        this.sys.read(this.eventFd, this.counter.address, 8);
      }
    }
  }
}
