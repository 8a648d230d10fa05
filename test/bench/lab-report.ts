/** From the runs of the lab to a row per peer and figure: medians over the rounds, and the range. */
import type { CpuUse } from './lab-cpu.ts';
import { WORKLOADS } from './lab-workloads.ts';
import type { PeerName, ProfileName, WorkloadName } from './options.ts';

/** One run. */
export interface Sample {
  readonly profile: ProfileName;
  readonly round: number;
  readonly workload: WorkloadName;
  readonly peer: PeerName;
  readonly figures: Readonly<Record<string, number>>;
  readonly operations: number;
  /** Answers that were wrong or missing, in words. */
  readonly errors: readonly string[];
  readonly cpu: CpuUse;
  readonly noisy: boolean;
}

export interface LabRow {
  readonly group: 'lab';
  readonly profile: ProfileName;
  readonly workload: WorkloadName;
  readonly peer: PeerName;
  readonly figure: string;
  readonly unit: string;
  readonly median: number;
  readonly min: number;
  readonly max: number;
  readonly operation: string;
  /** CPU time of the balancer's process per operation in us. */
  readonly balancerUs: number;
  /**
   * CPU time of the machine without strangers, per operation in us, less that of the direct run of the same round;
   * null where operations are too few for the clock.
   */
  readonly overDirectUs: number | null;
  readonly rounds: number;
  readonly noisyRounds: number;
  readonly errors: number;
}

const median = (values: readonly number[]): number => {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
};

const short = (value: number): number => Number(value.toPrecision(4));
const perOperation = (us: number, { operations }: Sample): number => (operations > 0 ? us / operations : 0);
const machineUs = (sample: Sample): number => perOperation(sample.cpu.machine - sample.cpu.foreign, sample);

/** The values of `of` without repetition, in the order of the runs. */
function each<T>(raw: readonly Sample[], of: (sample: Sample) => T): T[] {
  return [...new Set(raw.map(of))];
}

/** A row for each figure of each workload of each peer. */
export function summarise(raw: readonly Sample[]): LabRow[] {
  const rows: LabRow[] = [];
  for (const profile of each(raw, (sample) => sample.profile)) {
    const inProfile = raw.filter((sample) => sample.profile === profile);
    for (const workload of each(inProfile, (sample) => sample.workload)) {
      const samples = inProfile.filter((sample) => sample.workload === workload);
      for (const figure of Object.keys(WORKLOADS[workload].figures))
        for (const peer of each(samples, (sample) => sample.peer)) rows.push(row(samples, peer, figure));
    }
  }
  return rows;
}

/** @param samples the runs of one workload in one profile, of all peers */
function row(samples: readonly Sample[], peer: PeerName, figure: string): LabRow {
  const own = samples.filter((sample) => sample.peer === peer);
  const { profile, workload } = own[0]!;
  const { figures, operation, sparse } = WORKLOADS[workload];
  const values = own.map((sample) => sample.figures[figure] ?? 0);
  return {
    group: 'lab',
    profile,
    workload,
    peer,
    figure,
    unit: figures[figure]!,
    median: short(median(values)),
    min: short(Math.min(...values)),
    max: short(Math.max(...values)),
    operation,
    balancerUs: short(median(own.map((sample) => perOperation(sample.cpu.balancer, sample)))),
    overDirectUs: sparse ? null : overDirect(own, samples),
    rounds: own.length,
    noisyRounds: own.filter((sample) => sample.noisy).length,
    errors: own.reduce((sum, sample) => sum + sample.errors.length, 0),
  };
}

/** The two runs of one round saw the same machine: so the difference is taken first, and then the median. */
function overDirect(own: readonly Sample[], samples: readonly Sample[]): number | null {
  const differences = own.flatMap((sample) => {
    const direct = samples.find((one) => one.peer === 'direct' && one.round === sample.round);
    return direct === undefined || sample.operations === 0 ? [] : [machineUs(sample) - machineUs(direct)];
  });
  return differences.length === 0 ? null : short(median(differences));
}

const HEAD = ['profile', 'figure', 'peer', 'median', 'range', 'CPU of balancer', 'machine over direct', 'noisy'];

export function printLab(rows: readonly LabRow[], raw: readonly Sample[]): void {
  const cells = rows.map((row) => [
    row.profile,
    `${row.workload} ${row.unit === 'us' ? row.figure : ''}`.trim(),
    row.peer,
    `${row.median} ${row.unit}`,
    `${row.min}-${row.max}`,
    row.peer === 'direct' ? '-' : `${row.balancerUs} us/${row.operation}`,
    row.peer === 'direct' || row.overDirectUs === null ? '-' : `${row.overDirectUs} us/${row.operation}`,
    `${row.noisyRounds} of ${row.rounds}`,
  ]);
  const widths = HEAD.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  let before = '';
  console.log(line(HEAD));
  for (const row of cells) {
    const block = row.slice(0, 2).join();
    if (block !== before) console.log('');
    before = block;
    console.log(line(row));
  }
  for (const { profile, workload, peer, round, errors } of raw)
    for (const error of errors) console.log(`WRONG: ${profile}, ${workload}, ${peer}, round ${round}: ${error}`);
}
