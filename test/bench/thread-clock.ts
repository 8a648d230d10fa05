/**
 * What the calling thread has used, as the kernel counts it: clock_gettime(2) and getrusage(2). Unlike `process.cpuUsage` it leaves
 * out what V8 compiles and collects on other threads meanwhile. x64 and arm64.
 */
import { NativeBytes, syscalls } from '../../src/links/syscall.ts';

const GETTIME = process.arch === 'arm64' ? 113 : 228;
const GETRUSAGE = process.arch === 'arm64' ? 165 : 98;
const CLOCK_THREAD_CPUTIME_ID = 3;
const RUSAGE_THREAD = 1;
/** Bytes of a struct rusage, and where its two last words are: ru_nvcsw, ru_nivcsw. */
const RUSAGE_BYTES = 144;
const VOLUNTARY = 128 >> 2;
const INVOLUNTARY = 136 >> 2;

export class ThreadClock {
  /** As of the last `readSwitches`: times the thread gave the processor away to wait, and times it was taken from it. */
  voluntary = 0;
  involuntary = 0;
  private readonly sys = syscalls();
  private readonly time = new NativeBytes(this.sys, 16);
  private readonly usage = new NativeBytes(this.sys, RUSAGE_BYTES);

  /** Processor time of the thread, milliseconds. */
  ms(): number {
    const { sys, time } = this;
    sys.call(GETTIME, CLOCK_THREAD_CPUTIME_ID, time.address, 0, 0, 0, 0);
    return time.i32[0]! * 1e3 + time.i32[2]! / 1e6;
  }

  readSwitches(): void {
    const { sys, usage } = this;
    sys.call(GETRUSAGE, RUSAGE_THREAD, usage.address, 0, 0, 0, 0);
    this.voluntary = usage.i32[VOLUNTARY]!;
    this.involuntary = usage.i32[INVOLUNTARY]!;
  }
}
