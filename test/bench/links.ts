/**
 * AF_XDP between two ports, on one processor: `tsvs run`, as users run it, with direct routing; and in turn with it the bare loop
 * (bare-forward.ts), which does with the same sockets nothing but change the address: what that carries is what kernel and sockets leave
 * to be had on this machine. A generator (link-generator.ts) on the last processor sends 60-byte UDP packets of 1024 clients, as many as
 * it can make, and 1.2 million per second.
 *
 * Every packet is followed by the counters of who had it last (Ledger in link-bench.ts): those that were sent and did not arrive are in
 * one of them, or `unaccounted`. On veth the kernel does the receiver's work on the sender's processor: what the sink's kernel does with a
 * packet is in the cost of sending it.
 */
import { existsSync } from 'node:fs';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import { LinkBench, type LinkRun } from './link-bench.ts';
import { MODES, SUBJECTS, type SubjectName } from './link-subjects.ts';
import type { MemoryRow } from './memory.ts';

/** Packets per second that may not be lost. */
const PACE = 1_200_000;
const RATES = [0, PACE] as const;
/** Packets of a run, and of the one before all others. */
const RUN = 1_500_000;
const WARM = 2_000_000;

export interface LinksResult {
  readonly rows: readonly MemoryRow[];
  readonly runs: readonly LinkRun[];
}

/** Why there is nothing to measure, or nothing. */
export const noLinks = (): string | undefined =>
  noNamespaces() ??
  noCommands('ip', 'taskset') ??
  (existsSync('dist/bin.js') ? undefined : 'no dist/bin.js: npm run build');

/** @param runs of each kind; @param only which XDP modes, by name */
export async function linkRows(scale: number, runs: number, only: RegExp): Promise<LinksResult> {
  const all: LinkRun[] = [];
  for (const mode of MODES) {
    if (!only.test(mode)) continue;
    const benches: LinkBench[] = [];
    try {
      for (const subject of SUBJECTS) benches.push(await LinkBench.start(subject, mode, WARM * scale));
      for (let i = 0; i < runs; i++)
        for (const rate of RATES) for (const bench of benches) all.push(await bench.run(RUN * scale, rate));
    } finally {
      for (const bench of benches) await bench.close();
    }
  }
  const kinds = MODES.flatMap((mode) =>
    RATES.map((rate) => all.filter((run) => run.mode === mode && run.rate === rate)),
  );
  return { rows: kinds.filter((kind) => kind.length > 0).flatMap(rowsOf), runs: all };
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const rounded = (value: number): number => Number(value.toPrecision(4));
const median = (values: readonly number[]): number => sorted(values)[values.length >> 1]!;
const range = (values: readonly number[]): string =>
  `${rounded(Math.min(...values))} to ${rounded(Math.max(...values))}`;

const us = (values: readonly number[]): string => median(values).toFixed(2);

const WORK: Readonly<Record<SubjectName, string>> = { tsvs: 'tsvs with direct routing', 'bare loop': 'bare loop' };

/** Of one mode and rate. */
function rowsOf(runs: readonly LinkRun[]): MemoryRow[] {
  const { mode, rate } = runs[0]!;
  const how = rate === 0 ? 'all there is' : `${rate / 1e6} Mpps`;
  const of = (subject: SubjectName): LinkRun[] => runs.filter((run) => run.subject === subject);
  const bare = of('bare loop');
  const ratios = of('tsvs').map(({ arrivedMpps }, i) => arrivedMpps / bare[i]!.arrivedMpps);
  return [
    ...SUBJECTS.flatMap((subject) => subjectRows(`AF_XDP ${mode}, ${WORK[subject]}, ${how}`, of(subject))),
    {
      group: 'links',
      what: `AF_XDP ${mode}, tsvs over bare loop, ${how}`,
      value: rounded(median(ratios)),
      unit: 'ratio',
      note: `${range(ratios)} in ${ratios.length} rounds`,
    },
  ];
}

function subjectRows(what: string, runs: readonly LinkRun[]): MemoryRow[] {
  const rates = runs.map(({ arrivedMpps }) => arrivedMpps);
  const lost = runs.map((run) => (100 * run.lost) / run.ledger.sent);
  const offered = rounded(median(runs.map(({ offeredMpps }) => offeredMpps)));
  const unaccounted = runs.reduce((sum, run) => sum + run.unaccounted, 0);
  const sums = (['refusedIn', 'missed', 'dropped', 'refusedOut'] as const).map(
    (name) => `${name} ${runs.reduce((sum, { ledger }) => sum + ledger[name], 0)}`,
  );
  return [
    {
      group: 'links',
      what,
      value: rounded(median(rates)),
      unit: 'Mpps',
      note: `${range(rates)} in ${runs.length} runs; ${offered} offered`,
    },
    {
      group: 'links',
      what: `${what}, lost`,
      value: rounded(median(lost)),
      unit: '%',
      note: `${range(lost)}; of all runs: ${sums.join(', ')}, unaccounted ${unaccounted}`,
    },
    {
      group: 'links',
      what: `${what}, processor time`,
      value: rounded(median(runs.map(({ userUs, systemUs }) => userUs + systemUs))),
      unit: 'us/packet',
      note: `${us(runs.map(({ userUs }) => userUs))} its own, ${us(runs.map(({ systemUs }) => systemUs))} the kernel's; waiting included`,
    },
  ];
}
