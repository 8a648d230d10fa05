/**
 * The command line of `npm run bench`. Read by scripts/bench.ts, which needs to know whether namespaces will be
 * built, and by main.ts.
 */
import { parseArgs } from 'node:util';

export const PROFILE_NAMES = ['wire', 'offload'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export const WORKLOAD_NAMES = ['conn', 'req', 'bulk', 'ping'] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

/** `tsvs` is on a TAP in the switch, `tsvs-packet` and `tsvs-xdp` on the balancer's interface. */
export const PEER_NAMES = ['direct', 'tsvs', 'haproxy', 'node-net', 'tsvs-packet', 'tsvs-xdp'] as const;
const USUAL_PEERS = PEER_NAMES.slice(0, 4);
export type PeerName = (typeof PEER_NAMES)[number];

const PARTS = ['memory', 'memif', 'lab', 'idle'];

export interface BenchOptions {
  readonly json: boolean;
  readonly memory: boolean;
  /** memif, with testpmd at its other end. */
  readonly memif: boolean;
  readonly lab: boolean;
  readonly idle: boolean;
  /** Rounds of the lab: how often every peer does every workload. */
  readonly rounds: number;
  /** Length of one run in the lab. */
  readonly seconds: number;
  /** Of the iterations in memory and the seconds of memif; 1 gives figures worth something. */
  readonly scale: number;
  /** Which tasks of memif, by name. */
  readonly tasks: RegExp;
  readonly profiles: readonly ProfileName[];
  readonly workloads: readonly WorkloadName[];
  readonly peers: readonly PeerName[];
  /** Idle sessions whose memory is compared, rising. */
  readonly sessions: readonly number[];
}

export const USAGE = `npm run bench -- [--json] [--only memory|memif|lab|idle]
  --rounds N      rounds of the lab (3)
  --seconds S     whole seconds of one run in the lab (3)
  --profiles L    of ${PROFILE_NAMES.join(',')} (all)
  --workloads L   of ${WORKLOAD_NAMES.join(',')} (all)
  --peers L       of ${PEER_NAMES.join(',')} (${USUAL_PEERS.join(',')}; direct is always measured)
  --scale F       iterations in memory and seconds of memif, as a factor (1)
  --tasks RE      tasks of memif whose name matches (all)
  --sessions L    numbers of idle sessions to hold, rising (1000,9000,20000)`;

/** Throws an Error that names the mistake. */
export function readOptions(args: readonly string[]): BenchOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      only: text,
      rounds: { ...text, default: '3' },
      seconds: { ...text, default: '3' },
      scale: { ...text, default: '1' },
      tasks: { ...text, default: '.' },
      sessions: { ...text, default: '1000,9000,20000' },
      profiles: { ...text, default: PROFILE_NAMES.join(',') },
      workloads: { ...text, default: WORKLOAD_NAMES.join(',') },
      peers: { ...text, default: USUAL_PEERS.join(',') },
    },
  });
  const { only } = values;
  if (only !== undefined && !PARTS.includes(only)) throw new Error(`--only ${only}: one of ${PARTS.join(', ')}`);
  return {
    json: values.json,
    memory: (only ?? 'memory') === 'memory',
    memif: (only ?? 'memif') === 'memif',
    lab: (only ?? 'lab') === 'lab',
    idle: (only ?? 'idle') === 'idle',
    rounds: whole('--rounds', values.rounds, 100),
    seconds: whole('--seconds', values.seconds, 60),
    tasks: new RegExp(values.tasks),
    sessions: rising('--sessions', values.sessions),
    scale: factor('--scale', values.scale),
    profiles: some('--profiles', values.profiles, PROFILE_NAMES),
    workloads: some('--workloads', values.workloads, WORKLOAD_NAMES),
    peers: some('--peers', `direct,${values.peers}`, PEER_NAMES),
  };
}

function whole(option: string, word: string, max: number): number {
  const value = Number(word);
  if (!Number.isInteger(value) || value < 1 || value > max) throw new Error(`${option} ${word}: 1 to ${max}`);
  return value;
}

function factor(option: string, word: string): number {
  const value = Number(word);
  if (!(value > 0 && value <= 10)) throw new Error(`${option} ${word}: above 0 and at most 10`);
  return value;
}

/** At least two numbers of sessions: a slope needs that many. */
function rising(option: string, list: string): number[] {
  const numbers = list.split(',').map((word) => whole(option, word, 30_000));
  const rises = numbers.every((n, i) => i === 0 || n > numbers[i - 1]!);
  if (numbers.length < 2 || !rises) throw new Error(`${option} ${list}: two or more numbers, rising`);
  return numbers;
}

/** The names in the list, in the order of `all`. */
function some<T extends string>(option: string, list: string, all: readonly T[]): T[] {
  const words = list.split(',');
  const unknown = words.find((word) => !(all as readonly string[]).includes(word));
  if (unknown !== undefined) throw new Error(`${option}: no '${unknown}' among ${all.join(', ')}`);
  return all.filter((name) => words.includes(name));
}
