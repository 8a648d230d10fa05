/**
 * A million connections that end within a second: how long a turn of the loop keeps frames waiting. Each turn is timed twice: by
 * the processor time of the thread, which is what we do, and by the clock, where other processes and V8's own threads count as
 * well. A turn that is long by the clock only was interrupted; how often the thread was is counted beside.
 */
import { performance } from 'node:perf_hooks';
import * as c from '../../lb/conn-row.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { Conversations } from './conversations.ts';
import { address, L4_AT } from './generator.ts';
import { clientOf, VIP, World } from './l4-world.ts';
import { ThreadClock } from './thread-clock.ts';

/** Of one measure, over all turns, milliseconds. */
export interface Spread {
  readonly median: number;
  /** What 999 of 1000 turns stay below. */
  readonly p999: number;
  readonly longest: number;
  /** Turns over a millisecond. */
  readonly over: number;
}

export interface Expiry {
  readonly turns: number;
  /** Connections that ended in one turn at most. */
  readonly mostEnded: number;
  readonly cpu: Spread;
  readonly wall: Spread;
  /** Turns over a millisecond by the clock during which the thread did not have its processor all the time. */
  readonly interrupted: number;
  readonly voluntary: number;
  readonly involuntary: number;
}

function spread(ms: number[]): Spread {
  ms.sort((a, b) => a - b);
  return {
    median: ms[ms.length >> 1]!,
    p999: ms[Math.floor(ms.length * 0.999)]!,
    longest: ms.at(-1)!,
    over: ms.filter((one) => one > 1).length,
  };
}

/** Opened by a SYN and forgotten: nobody is told. */
function halfOpen(flows: number): World {
  const world = new World(c.FNAT, flows);
  const { device } = world;
  device.source = ({ buf, i32, off }, frames, n, first) => {
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      address(i32, at, clientOf(first + i), VIP);
      buf[at + L4_AT + 13] = tcp.SYN;
    }
  };
  device.restart();
  world.run(flows, 10);
  return world;
}

/** Established: at its end each sends a reset to both sides. */
function established(flows: number): World {
  const world = new World(c.FNAT, flows);
  const talk = new Conversations(world);
  for (let n = 0; n < flows; n += talk.size) talk.open();
  return world;
}

export const KINDS = { 'half open': halfOpen, established } as const;

/** `flows` connections, all of them given up; one turn per millisecond of theirs, and as many as it takes. */
export function expiring(kind: keyof typeof KINDS, flows: number): Expiry {
  const world = KINDS[kind](flows);
  const { l4 } = world;
  if (l4.open !== flows) throw new Error(`l4: ${l4.open} of ${flows} connections`);
  const clock = new ThreadClock();
  clock.readSwitches();
  const [voluntary, involuntary] = [clock.voluntary, clock.involuntary];
  const cpu: number[] = [];
  const wall: number[] = [];
  let interrupted = 0;
  let mostEnded = 0;
  while (l4.open > 0) {
    const before = l4.open;
    const switches = clock.voluntary + clock.involuntary;
    const started = performance.now();
    const used = clock.ms();
    world.run(0, 1000);
    const took = clock.ms() - used;
    const passed = performance.now() - started;
    clock.readSwitches();
    if (l4.open === flows) continue;
    mostEnded = Math.max(mostEnded, before - l4.open);
    cpu.push(took);
    wall.push(passed);
    if (passed > 1 && clock.voluntary + clock.involuntary > switches) interrupted++;
  }
  return {
    turns: cpu.length,
    mostEnded,
    cpu: spread(cpu),
    wall: spread(wall),
    interrupted,
    voluntary: clock.voluntary - voluntary,
    involuntary: clock.involuntary - involuntary,
  };
}
