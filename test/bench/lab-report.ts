/**
 * From the runs of the lab to a row per peer and figure: medians over the rounds, the range, and what it is beside the peer that
 * does the same. Two whose ranges overlap are equal.
 */
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
  readonly overDirectMin: number | null;
  readonly overDirectMax: number | null;
  /** null where there is nobody to compare with. */
  readonly beside: Comparison | null;
  readonly rounds: number;
  readonly noisyRounds: number;
  readonly errors: number;
}

/** Ratios are own over other's, null where both are equal: their ranges overlap. */
export interface Comparison {
  readonly peer: PeerName;
  readonly figure: number | null;
  /** Of `overDirectUs`; undefined where one of the two has none. */
  readonly cpu?: number | null;
}

/** A proxy is compared with HAProxy, layer 4 with the kernel's own, and a ping's answer with the kernel's. */
function otherOf(peer: PeerName, workload: WorkloadName): PeerName | null {
  if (!peer.startsWith('tsvs')) return null;
  if (workload === 'ping') return 'direct';
  return /-fullnat|-dr/.test(peer) ? 'nft' : 'haproxy';
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
  return rows.map((row) => ({ ...row, beside: compared(row, rows) }));
}

interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

const spread = (values: readonly number[]): Spread => ({
  median: short(median(values)),
  min: short(Math.min(...values)),
  max: short(Math.max(...values)),
});

function ratio(own: Spread, other: Spread): number | null {
  const equal = own.min <= other.max && other.min <= own.max;
  return equal || other.median <= 0 ? null : Number((own.median / other.median).toPrecision(3));
}

function cpuSpread({ overDirectUs, overDirectMin, overDirectMax }: LabRow): Spread | null {
  if (overDirectUs === null) return null;
  return { median: overDirectUs, min: overDirectMin!, max: overDirectMax! };
}

function compared(row: LabRow, rows: readonly LabRow[]): Comparison | null {
  const peer = otherOf(row.peer, row.workload);
  const other = rows.find(
    (one) =>
      one.peer === peer && one.profile === row.profile && one.workload === row.workload && one.figure === row.figure,
  );
  if (peer === null || other === undefined) return null;
  const [own, theirs] = [cpuSpread(row), cpuSpread(other)];
  const figure = ratio(row, other);
  return own === null || theirs === null ? { peer, figure } : { peer, figure, cpu: ratio(own, theirs) };
}

/** @param samples the runs of one workload in one profile, of all peers */
function row(samples: readonly Sample[], peer: PeerName, figure: string): LabRow {
  const own = samples.filter((sample) => sample.peer === peer);
  const { profile, workload } = own[0]!;
  const { figures, operation, sparse } = WORKLOADS[workload];
  const overDirect = sparse ? null : differences(own, samples);
  return {
    group: 'lab',
    profile,
    workload,
    peer,
    figure,
    unit: figures[figure]!,
    ...spread(own.map((sample) => sample.figures[figure] ?? 0)),
    operation,
    balancerUs: short(median(own.map((sample) => perOperation(sample.cpu.balancer, sample)))),
    overDirectUs: overDirect?.median ?? null,
    overDirectMin: overDirect?.min ?? null,
    overDirectMax: overDirect?.max ?? null,
    beside: null,
    rounds: own.length,
    noisyRounds: own.filter((sample) => sample.noisy).length,
    errors: own.reduce((sum, sample) => sum + sample.errors.length, 0),
  };
}

/** The two runs of one round saw the same machine: so the difference is taken first, and then the median. */
function differences(own: readonly Sample[], samples: readonly Sample[]): Spread | null {
  const values = own.flatMap((sample) => {
    const direct = samples.find((one) => one.peer === 'direct' && one.round === sample.round);
    return direct === undefined || sample.operations === 0 ? [] : [machineUs(sample) - machineUs(direct)];
  });
  return values.length === 0 ? null : spread(values);
}

const HEAD = [
  'profile',
  'figure',
  'peer',
  'median',
  'range',
  'CPU of balancer',
  'machine over direct',
  'beside',
  'noisy',
];

function besideInWords({ beside }: LabRow): string {
  if (beside === null) return '-';
  const figure = beside.figure === null ? 'equal to' : `${beside.figure} x`;
  const cpu = beside.cpu === undefined ? '' : `, CPU ${beside.cpu === null ? 'equal' : `${beside.cpu} x`}`;
  return `${figure} ${beside.peer}${cpu}`;
}

function cellsOf(row: LabRow): string[] {
  const several = Object.keys(WORKLOADS[row.workload].figures).length > 1;
  const per = (text: string): string => `${text} us/${row.operation}`;
  const isDirect = row.peer === 'direct';
  return [
    row.profile,
    several ? `${row.workload} ${row.figure}` : row.workload,
    row.peer,
    `${row.median} ${row.unit}`,
    `${row.min}-${row.max}`,
    row.balancerUs === 0 ? '-' : per(String(row.balancerUs)),
    isDirect || row.overDirectUs === null
      ? '-'
      : per(`${row.overDirectUs} (${row.overDirectMin} to ${row.overDirectMax})`),
    besideInWords(row),
    `${row.noisyRounds} of ${row.rounds}`,
  ];
}

/** The rows as lines of a table, and behind it what was wrong in which run. */
export function labLines(rows: readonly LabRow[], raw: readonly Sample[]): string[] {
  const cells = rows.map(cellsOf);
  const widths = HEAD.map((head, i) => Math.max(head.length, ...cells.map((row) => row[i]!.length)));
  const line = (row: readonly string[]): string =>
    row
      .map((cell, i) => cell.padEnd(widths[i]!))
      .join('  ')
      .trimEnd();
  const sameBlock = (a: readonly string[], b: readonly string[] | undefined): boolean =>
    b !== undefined && a[0] === b[0] && a[1] === b[1];
  return [
    line(HEAD),
    ...cells.flatMap((row, i) => (sameBlock(row, cells[i - 1]) ? [line(row)] : ['', line(row)])),
    ...raw.flatMap(({ profile, workload, peer, round, errors }) =>
      errors.map((error) => `WRONG: ${profile}, ${workload}, ${peer}, round ${round}: ${error}`),
    ),
  ];
}
