/**
 * What a run cost in CPU time, from Linux' /proc: the balancer's process with its threads, the whole machine, and what
 * disturbed it. The kernel counts in ticks of 10 ms; over seconds that is fine enough, over a thousand pings it is not.
 *
 * Work that the kernel does for a packet in softirq context is charged to whoever sent it; so a process' own time tells
 * half, and machine minus the machine of a run without balancer tells the rest.
 */
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync } from 'node:fs';

/** All in microseconds of CPU time, of all cores together. */
export interface CpuUse {
  readonly balancer: number;
  /** Busy time of the machine, with interrupts and without what the hypervisor took. */
  readonly machine: number;
  /** Of processes outside the lab. */
  readonly foreign: number;
  /** What the hypervisor gave to others while we could have run. */
  readonly steal: number;
  /** Wall-clock length of the run. */
  readonly elapsed: number;
}

const US_PER_TICK = 1e6 / Number(spawnSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }).stdout || 100);
/** PF_KTHREAD of include/linux/sched.h. Kernel threads work for the lab as well (ksoftirqd). */
const KERNEL_THREAD = 0x00200000;

function statOf(pid: number | string): string {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'latin1');
  } catch {
    throw new Error(`process ${pid} is gone`);
  }
}

/** Field n of proc_pid_stat(5), counted from 1 as there; n >= 3. Throws when the process is gone. */
function fieldsOf(pid: number | string): (n: number) => number {
  const text = statOf(pid);
  // The name, field 2, may contain blanks and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return (n) => Number(fields[n - 3]);
}

/** CPU time of a process with its threads so far, of its own code and of the kernel's for it, in microseconds. */
export function cpuTimeOf(pid: number): { readonly user: number; readonly system: number } {
  const field = fieldsOf(pid);
  return { user: field(14) * US_PER_TICK, system: field(15) * US_PER_TICK };
}

const ownTicks = (field: (n: number) => number): number => field(14) + field(15);
/** Of children that have ended and been waited for: so the time of a process outlives it, with its parent. */
const childTicks = (field: (n: number) => number): number => field(16) + field(17);

function isOneOf(namespaces: ReadonlySet<number>, pid: string): boolean {
  try {
    return namespaces.has(statSync(`/proc/${pid}/ns/net`).ino);
  } catch {
    return false; // Another user's, so not ours.
  }
}

function foreignTicks(lab: ReadonlySet<number>): number {
  let sum = 0;
  for (const pid of readdirSync('/proc')) {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid || isOneOf(lab, pid)) continue;
    try {
      const field = fieldsOf(pid);
      if ((field(9) & KERNEL_THREAD) === 0) sum += ownTicks(field) + childTicks(field);
    } catch {
      // It ended between the listing and the reading.
    }
  }
  return sum;
}

function machineTicks(): { busy: number; steal: number } {
  const words = readFileSync('/proc/stat', 'latin1').split('\n', 1)[0]!.trim().split(/\s+/);
  const [user, nice, system, , , irq, softirq, steal] = words.slice(1).map(Number) as [number, ...number[]];
  return { busy: user + nice! + system! + irq! + softirq!, steal: steal! };
}

/** From its making to `close`. */
export class CpuWindow {
  private readonly lab: ReadonlySet<number>;
  private readonly balancer: number | null;
  private readonly foreign: number;
  private readonly own: number;
  private readonly machine: { busy: number; steal: number };
  private readonly began: number;

  /**
   * @param lab inodes of the lab's network namespaces
   * @param balancer process id, null when there is none
   */
  constructor(lab: ReadonlySet<number>, balancer: number | null) {
    this.lab = lab;
    this.balancer = balancer;
    // The walk through all processes stays outside of what is measured, here and in close.
    this.foreign = foreignTicks(lab);
    this.own = this.balancerTicks();
    this.machine = machineTicks();
    this.began = performance.now();
  }

  close(): CpuUse {
    const elapsed = (performance.now() - this.began) * 1e3;
    const machine = machineTicks();
    const own = this.balancerTicks();
    const foreign = foreignTicks(this.lab);
    return {
      balancer: (own - this.own) * US_PER_TICK,
      machine: (machine.busy - this.machine.busy) * US_PER_TICK,
      foreign: Math.max(foreign - this.foreign, 0) * US_PER_TICK,
      steal: (machine.steal - this.machine.steal) * US_PER_TICK,
      elapsed,
    };
  }

  private balancerTicks(): number {
    return this.balancer === null ? 0 : ownTicks(fieldsOf(this.balancer));
  }
}

/** Strangers or the hypervisor took more than a tenth of a core. */
export function isNoisy({ foreign, steal, elapsed }: CpuUse): boolean {
  return Math.max(foreign, steal) > elapsed / 10;
}
