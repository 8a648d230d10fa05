/** What the stack costs in one process, without a kernel: time per operation and heap bytes per million. */
import { echo } from './echo.ts';
import { expiring, KINDS, type Spread } from './expiry.ts';
import { forwarding } from './forward.ts';
import { allocated, type Timing, time } from './harness.ts';
import { BULK, LAYER4, merging, opening, PACKETS_EACH, passing } from './l4.ts';
import { rowsOf } from './own-process.ts';
import { bulk, PROFILES } from './tcp-memory.ts';

export interface MemoryRow {
  readonly group: 'memory' | 'workers' | 'memif' | 'heap' | 'links';
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
}

type Add = (what: string, value: number, unit: string, note?: string) => void;

const FLOWS = [
  ['1 k', 1 << 10],
  ['1 M', 1 << 20],
] as const;

type Body = (n: number) => void;

/** How much is done for a figure, by the scale; below 1 the figures show only that the benchmark works, so each is measured once. */
class Effort {
  /** Few flows are enough. */
  readonly small: boolean;
  private readonly scale: number;

  constructor(scale: number) {
    this.scale = scale;
    this.small = scale < 1;
  }

  time(body: Body, operations: number): Timing {
    return time(body, this.count(operations), this.small ? 1 : 7);
  }

  allocated(body: Body, operations: number, runs = 5): Promise<number> {
    return allocated(body, this.count(operations), this.small ? 1 : runs);
  }

  private count(operations: number): number {
    return Math.max(Math.round(operations * this.scale), 1000);
  }
}

/** Measures, and hands its rows to `add`. */
type Measure = (add: Add, effort: Effort) => Promise<void>;

async function ping(add: Add, effort: Effort): Promise<void> {
  const t = effort.time(echo(), 400_000);
  add('ping answered, in memory', t.median, 'ns', `best ${t.best.toFixed(1)}`);
  add('ping, heap', await effort.allocated(echo(), 300_000), 'bytes/million');
}

const transfer =
  (name: string, wire: (typeof PROFILES)[keyof typeof PROFILES]): Measure =>
  async (add, effort) => {
    const t = effort.time(bulk(wire), wire.tso ? 2_000_000 : 300_000);
    add(name, (1448 * 8) / t.median, 'Gbit/s', 'sender, wire and receiver on one core');
    add(name, t.median, 'ns/segment', `best ${t.best.toFixed(1)}`);
    const heap = await effort.allocated(bulk(wire), wire.tso ? 4_000_000 : 1_000_000);
    add(`${name}, heap`, heap, 'bytes/million');
  };

const rate = (add: Add, what: string, t: Timing): void =>
  add(what, 1000 / t.median, 'Mpps', `best ${(1000 / t.best).toFixed(2)}; ${t.median.toFixed(0)} ns per packet`);

async function forward(add: Add, effort: Effort): Promise<void> {
  for (const [label, destinations] of FLOWS) {
    const what = `IPv4 forwarding, 64-byte frames, ${label} destinations`;
    rate(add, what, effort.time(forwarding(effort.small ? 1 << 10 : destinations), 2_000_000));
  }
  add('IPv4 forwarding, heap', await effort.allocated(forwarding(1 << 10), 1_000_000), 'bytes/million');
}

const balance =
  ({ name, mode, proto }: (typeof LAYER4)[number]): Measure =>
  async (add, effort) => {
    for (const [label, flows] of FLOWS) {
      const t = effort.time(passing(mode, effort.small ? 1 << 10 : flows, proto), 2_000_000);
      rate(add, `${name}, 64-byte frames, ${label} flows`, t);
    }
    add(`${name}, heap`, await effort.allocated(passing(mode, 1 << 10, proto), 1_000_000), 'bytes/million');
  };

async function merge(add: Add, effort: Effort): Promise<void> {
  const t = effort.time(merging(), 500_000);
  add('FullNAT, segments merged', (BULK * 8) / t.median, 'Gbit/s', `${t.median.toFixed(0)} ns per ${BULK} bytes`);
  add('FullNAT, segments merged, heap', await effort.allocated(merging(), 1_000_000), 'bytes/million');
}

async function connect(add: Add, effort: Effort): Promise<void> {
  const open = effort.time(opening(), 100_000);
  add('FullNAT, new connections of nine packets', 1e6 / open.median, 'k/s', `best ${(1e6 / open.best).toFixed(0)}`);
  // Every 1 << 18 connections, ports given back need another page in each bucket: in any run as many as its length asks for.
  const heap = await effort.allocated(opening(), 1 << 18, 3);
  add('FullNAT, new connections, heap', heap / PACKETS_EACH, 'bytes/million', 'per million packets');
}

const expire =
  (kind: keyof typeof KINDS): Measure =>
  async (add, { small }) => {
    const flows = small ? 1 << 12 : 1 << 20;
    expiring(kind, flows); // compiles it
    const { turns, mostEnded, cpu, wall, interrupted, voluntary, involuntary } = expiring(kind, flows);
    const what = `${small ? flows : '1 M'} ${kind} connections expire within a second, longest turn`;
    const below = ({ p999, median }: Spread): string => `99.9 % below ${p999.toFixed(2)}, median ${median.toFixed(2)}`;
    add(`${what}, processor time`, cpu.longest, 'ms', `${below(cpu)}; ${turns} turns, at most ${mostEnded} ends each`);
    const switches = `${involuntary} involuntary and ${voluntary} voluntary context switches`;
    const over = `${wall.over} over 1 ms, ${interrupted} of them interrupted`;
    add(`${what}, clock`, wall.longest, 'ms', `${below(wall)}; ${over}; ${switches}`);
  };

const MEASURES: readonly (readonly [string, Measure])[] = [
  ['ping', ping],
  ...Object.entries(PROFILES).map(([name, wire]) => {
    const what = `TCP stack to stack, ${name}`;
    return [what, transfer(what, wire)] as const;
  }),
  ['IPv4 forwarding', forward],
  ...LAYER4.map((way) => [way.name, balance(way)] as const),
  ['FullNAT, segments merged', merge],
  ['new connections', connect],
  ...(Object.keys(KINDS) as (keyof typeof KINDS)[]).map(
    (kind) => [`${kind} connections expire`, expire(kind)] as const,
  ),
];

/**
 * The rows of the subjects named by `only`, each measured in a process of its own. `scale` is a factor on the number of operations;
 * below 1 the figures show only that the benchmark works.
 */
export function memoryRows(scale: number, only: RegExp): Promise<MemoryRow[]> {
  const effort = new Effort(scale);
  const subjects = MEASURES.map(([name, measure]) => ({
    name,
    rows: async () => {
      const rows: MemoryRow[] = [];
      const add: Add = (what, value, unit, note = '') =>
        rows.push({ group: 'memory', what, value: Number(value.toPrecision(4)), unit, note });
      await measure(add, effort);
      return rows;
    },
  }));
  return rowsOf('memory', subjects, scale, only);
}

export function printMemory(rows: readonly MemoryRow[]): void {
  const width = Math.max(...rows.map((row) => row.what.length));
  for (const { what, value, unit, note } of rows)
    console.log(`${what.padEnd(width)}  ${String(value).padStart(9)} ${unit.padEnd(14)} ${note}`);
}
