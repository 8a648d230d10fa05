/** What the stack costs in one process, without a kernel: time per operation and heap bytes per million. */
import { echo } from './echo.ts';
import { expiring, KINDS, type Spread } from './expiry.ts';
import { forwarding } from './forward.ts';
import { allocated, time } from './harness.ts';
import { LAYER4, opening, passing } from './l4.ts';
import { bulk, PROFILES } from './tcp-memory.ts';

export interface MemoryRow {
  readonly group: 'memory' | 'workers' | 'memif' | 'heap' | 'links';
  readonly what: string;
  readonly value: number;
  readonly unit: string;
  readonly note: string;
}

/** @param scale factor on the number of operations; below 1 the figures show only that the benchmark works */
export async function memoryRows(scale: number): Promise<MemoryRow[]> {
  const rows: MemoryRow[] = [];
  const add = (what: string, value: number, unit: string, note = ''): void => {
    rows.push({ group: 'memory', what, value: Number(value.toPrecision(4)), unit, note });
  };
  const count = (operations: number): number => Math.max(Math.round(operations * scale), 1000);

  const ping = time(echo(), count(400_000));
  add('ping answered, in memory', ping.median, 'ns', `best ${ping.best.toFixed(1)}`);
  add('ping, heap', await allocated(echo(), count(300_000)), 'bytes/million');

  for (const [name, wire] of Object.entries(PROFILES)) {
    const t = time(bulk(wire), count(wire.tso ? 2_000_000 : 300_000));
    add(`TCP stack to stack, ${name}`, (1448 * 8) / t.median, 'Gbit/s', 'sender, wire and receiver on one core');
    add(`TCP stack to stack, ${name}`, t.median, 'ns/segment', `best ${t.best.toFixed(1)}`);
    add(
      `TCP stack to stack, ${name}, heap`,
      await allocated(bulk(wire), count(wire.tso ? 4_000_000 : 1_000_000)),
      'bytes/million',
    );
  }

  for (const [label, destinations] of [
    ['1 k', 1 << 10],
    ['1 M', 1 << 20],
  ] as const) {
    const t = time(forwarding(destinations), count(2_000_000));
    const what = `IPv4 forwarding, 64-byte frames, ${label} destinations`;
    add(what, 1000 / t.median, 'Mpps', `best ${(1000 / t.best).toFixed(2)}; ${t.median.toFixed(0)} ns per packet`);
  }
  add('IPv4 forwarding, heap', await allocated(forwarding(1 << 10), count(1_000_000)), 'bytes/million');

  for (const { name, mode, proto } of LAYER4) {
    for (const [label, flows] of [
      ['1 k', 1 << 10],
      ['1 M', 1 << 20],
    ] as const) {
      const t = time(passing(mode, scale < 1 ? 1 << 10 : flows, proto), count(2_000_000));
      const what = `${name}, 64-byte frames, ${label} flows`;
      add(what, 1000 / t.median, 'Mpps', `best ${(1000 / t.best).toFixed(2)}; ${t.median.toFixed(0)} ns per packet`);
    }
    add(`${name}, heap`, await allocated(passing(mode, 1 << 10, proto), count(1_000_000)), 'bytes/million');
  }
  const open = time(opening(), count(100_000));
  add('FullNAT, new connections of nine packets', 1e6 / open.median, 'k/s', `best ${(1e6 / open.best).toFixed(0)}`);
  add('FullNAT, new connections, heap', await allocated(opening(), count(100_000)), 'bytes/million');
  for (const kind of Object.keys(KINDS) as (keyof typeof KINDS)[]) {
    const flows = scale < 1 ? 1 << 12 : 1 << 20;
    expiring(kind, flows); // compiles it
    const { turns, mostEnded, cpu, wall, interrupted, voluntary, involuntary } = expiring(kind, flows);
    const what = `${flows === 1 << 20 ? '1 M' : flows} ${kind} connections expire within a second, longest turn`;
    const below = ({ p999, median }: Spread): string => `99.9 % below ${p999.toFixed(2)}, median ${median.toFixed(2)}`;
    add(`${what}, processor time`, cpu.longest, 'ms', `${below(cpu)}; ${turns} turns, at most ${mostEnded} ends each`);
    const switches = `${involuntary} involuntary and ${voluntary} voluntary context switches`;
    add(
      `${what}, clock`,
      wall.longest,
      'ms',
      `${below(wall)}; ${wall.over} over 1 ms, ${interrupted} of them interrupted; ${switches}`,
    );
  }
  return rows;
}

export function printMemory(rows: readonly MemoryRow[]): void {
  const width = Math.max(...rows.map((row) => row.what.length));
  for (const { what, value, unit, note } of rows)
    console.log(`${what.padEnd(width)}  ${String(value).padStart(9)} ${unit.padEnd(14)} ${note}`);
}
