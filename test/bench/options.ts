/**
 * The command line of `npm run bench`. Read by scripts/bench.ts, which needs to know whether namespaces will be
 * built, and by main.ts.
 */
import { parseArgs } from 'node:util';

export const PROFILE_NAMES = ['wire', 'offload'] as const;
export type ProfileName = (typeof PROFILE_NAMES)[number];

export const WORKLOAD_NAMES = ['conn', 'req', 'bulk', 'bulk-up', 'udp', 'ping'] as const;
export type WorkloadName = (typeof WORKLOAD_NAMES)[number];

const OTHER_PEERS = ['direct', 'nft', 'haproxy', 'node-net', 'xdp4slb', 'mirror', 'mirror-busy'] as const;
const MODES = ['', '-fullnat', '-dr'] as const;
const LINKS = ['', '-tap', '-packet', '-xdp'] as const;
const POLLING = ['', '-busy'] as const;
/** What tsvs does, by which link (the best one for the profile when none is named), and how it waits. */
export type TsvsName = `tsvs${(typeof MODES)[number]}${(typeof LINKS)[number]}${(typeof POLLING)[number]}`;
export type PeerName = (typeof OTHER_PEERS)[number] | TsvsName;

export const TSVS_NAMES: readonly TsvsName[] = MODES.flatMap((mode) =>
  LINKS.flatMap((link) => POLLING.map((polling): TsvsName => `tsvs${mode}${link}${polling}`)),
);
const PEER_NAMES: readonly PeerName[] = [...OTHER_PEERS, ...TSVS_NAMES];
const PEER_GRAMMAR = `${OTHER_PEERS.join(', ')}, tsvs[-fullnat|-dr][-tap|-packet|-xdp][-busy]`;

/** What is measured where nothing is said: opening connections has nothing to offload. */
const USUAL_WORKLOADS: Readonly<Record<ProfileName, readonly WorkloadName[]>> = {
  wire: ['conn', 'req', 'bulk', 'udp', 'ping'],
  offload: ['bulk'],
};

const BALANCERS: readonly PeerName[] = ['direct', 'nft', 'haproxy', 'node-net', 'tsvs', 'tsvs-fullnat'];
/** Those whose servers answer the client themselves. */
const DIRECT: readonly PeerName[] = ['tsvs-dr', 'xdp4slb'];
/** Segments larger than the MTU are for links with a virtio-net header. */
const BULK: readonly PeerName[] = ['direct', 'nft', 'haproxy', 'node-net', 'tsvs-tap', 'tsvs-fullnat-tap'];
const USUAL_PEERS: Readonly<Record<WorkloadName, readonly PeerName[]>> = {
  conn: [...BALANCERS, ...DIRECT],
  req: [...BALANCERS, ...DIRECT],
  bulk: BULK,
  'bulk-up': BULK,
  udp: ['direct', 'nft', 'tsvs-fullnat', 'tsvs-dr'],
  ping: ['direct', 'mirror', 'mirror-busy', 'tsvs', 'tsvs-busy'],
};

const PARTS = ['memory', 'workers', 'heap', 'memif', 'links', 'lab', 'idle'];

export interface BenchOptions {
  readonly json: boolean;
  /** Counts are compared with the stored ones, or, with `store`, stored; nothing else is measured. */
  readonly check: boolean;
  readonly store: boolean;
  /** Where they are stored. */
  readonly counts: string;
  readonly memory: boolean;
  /** memif, with testpmd at its other end. */
  readonly memif: boolean;
  /** In memory, with one and two workers. */
  readonly workers: boolean;
  /** Bytes allocated by each link. */
  readonly heap: boolean;
  /** AF_XDP between two veth pairs. */
  readonly links: boolean;
  readonly lab: boolean;
  readonly idle: boolean;
  /** Rounds of the lab: how often every peer does every workload. */
  readonly rounds: number;
  /** Length of one run in the lab. */
  readonly seconds: number;
  /** Of the iterations in memory, the seconds of memif and the rest before idle memory is read; 1 gives figures worth something. */
  readonly scale: number;
  /** Which subjects of memory, tasks of memif, links of heap, modes of XDP and subjects of workers and the check, by name. */
  readonly tasks: RegExp;
  readonly profiles: readonly ProfileName[];
  /** As asked for; null: those that are usual for the profile. */
  readonly workloads: readonly WorkloadName[] | null;
  /** As asked for, `direct` always among them; null: those that are usual for the workload. */
  readonly peers: readonly PeerName[] | null;
  /** A file that gets every run of the lab as a line of JSON, as soon as it is over; null: one with a name of its own. */
  readonly raw: string | null;
  /** Idle sessions whose memory is compared, rising. */
  readonly sessions: readonly number[];
}

export const USAGE = `npm run bench -- [--json] [--only memory|workers|heap|memif|links|lab|idle] | --check | --store
  --check         counts that do not depend on the machine against those stored in a file: exit code 1 when one has risen
  --store         stores them anew
  --counts FILE   that file (test/bench/counts.json)
  --rounds N      rounds of the lab (3)
  --seconds S     whole seconds of one run in the lab (2)
  --profiles L    of ${PROFILE_NAMES.join(',')} (all)
  --workloads L   of ${WORKLOAD_NAMES.join(',')} (wire: ${USUAL_WORKLOADS.wire.join(',')}; offload: ${USUAL_WORKLOADS.offload.join(',')})
  --peers L       of ${PEER_GRAMMAR} (the usual ones of each
                  workload; direct is always measured, and who cannot do a workload is left out of it)
  --raw FILE      where the lab's single runs are kept, a line of JSON each (a new file in the folder for temporary ones)
  --scale F       iterations in memory, seconds of memif and rest of idle, as a factor (1)
  --tasks RE      subjects of memory, tasks of memif, links of heap, XDP modes, subjects of workers and --check whose name matches (all)
  --sessions L    numbers of idle sessions to hold, rising (1000,9000,20000)`;

/** Throws an Error that names the mistake. */
export function readOptions(args: readonly string[]): BenchOptions {
  const text = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: {
      json: { type: 'boolean', default: false },
      check: { type: 'boolean', default: false },
      store: { type: 'boolean', default: false },
      counts: { ...text, default: 'test/bench/counts.json' },
      only: text,
      rounds: { ...text, default: '3' },
      seconds: { ...text, default: '2' },
      scale: { ...text, default: '1' },
      tasks: { ...text, default: '.' },
      sessions: { ...text, default: '1000,9000,20000' },
      profiles: { ...text, default: PROFILE_NAMES.join(',') },
      workloads: text,
      peers: text,
      raw: text,
    },
  });
  const { only, workloads, peers, raw } = values;
  if (only !== undefined && !PARTS.includes(only)) throw new Error(`--only ${only}: one of ${PARTS.join(', ')}`);
  return {
    json: values.json,
    check: values.check || values.store,
    store: values.store,
    counts: values.counts,
    memory: (only ?? 'memory') === 'memory',
    workers: (only ?? 'workers') === 'workers',
    heap: (only ?? 'heap') === 'heap',
    memif: (only ?? 'memif') === 'memif',
    links: (only ?? 'links') === 'links',
    lab: (only ?? 'lab') === 'lab',
    idle: (only ?? 'idle') === 'idle',
    rounds: whole('--rounds', values.rounds, 100),
    seconds: whole('--seconds', values.seconds, 60),
    tasks: new RegExp(values.tasks),
    sessions: rising('--sessions', values.sessions),
    scale: factor('--scale', values.scale),
    profiles: some('--profiles', values.profiles, PROFILE_NAMES),
    workloads: workloads === undefined ? null : some('--workloads', workloads, WORKLOAD_NAMES),
    peers: peers === undefined ? null : some('--peers', `direct,${peers}`, PEER_NAMES, PEER_GRAMMAR),
    raw: raw ?? null,
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

/** The workloads of a profile, and the peers of a workload: what was asked for, or what is usual. */
export const workloadsOf = ({ workloads }: BenchOptions, profile: ProfileName): readonly WorkloadName[] =>
  workloads ?? USUAL_WORKLOADS[profile];
export const peersOf = ({ peers }: BenchOptions, workload: WorkloadName): readonly PeerName[] =>
  peers ?? USUAL_PEERS[workload];

/** The names in the list, in the order of `all`, which is `allInWords`. */
function some<T extends string>(option: string, list: string, all: readonly T[], allInWords = all.join(', ')): T[] {
  const words = list.split(',');
  const unknown = words.find((word) => !(all as readonly string[]).includes(word));
  if (unknown !== undefined) throw new Error(`${option}: no '${unknown}' among ${allInWords}`);
  return all.filter((name) => words.includes(name));
}
