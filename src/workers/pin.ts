/** Ties the calling thread to one processor: sched_setaffinity(2). Not an error where it cannot be: the scheduler then does as it likes. */
import { availableParallelism } from 'node:os';
import { NativeBytes, syscalls } from '../links/syscall.ts';

const SYS_SCHED_SETAFFINITY: Readonly<Record<string, number>> = { x64: 203, arm64: 122 };
const SYS_SCHED_GETAFFINITY: Readonly<Record<string, number>> = { x64: 204, arm64: 123 };
/** Bytes of a mask: 1024 processors. */
const MASK = 128;

/** The `index`-th of the processors that this process may use, around. Does nothing when there are fewer than two. */
export function pinTo(index: number): void {
  const [set, get] = [SYS_SCHED_SETAFFINITY[process.arch], SYS_SCHED_GETAFFINITY[process.arch]];
  if (set === undefined || get === undefined || availableParallelism() < 2) return;
  const sys = syscalls();
  const mask = new NativeBytes(sys, MASK);
  if (sys.call(get, 0, MASK, mask.address, 0, 0, 0) <= 0) return;
  const allowed: number[] = [];
  for (let cpu = 0; cpu < MASK * 8; cpu++) if ((mask.u8[cpu >> 3]! & (1 << (cpu & 7))) !== 0) allowed.push(cpu);
  const cpu = allowed[index % allowed.length]!;
  mask.u8.fill(0);
  mask.u8[cpu >> 3] = 1 << (cpu & 7);
  sys.call(set, 0, MASK, mask.address, 0, 0, 0);
}
