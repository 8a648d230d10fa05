/**
 * The benchmark on real traffic: every peer does every workload, each time as a freshly started process, in turn and
 * round after round, so that what drifts on the machine drifts for all. Called by main.ts.
 */
import { spawnSync } from 'node:child_process';
import { appendFileSync, existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Running } from '../lib/netns.ts';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import { type CpuUse, CpuWindow, isNoisy } from './lab-cpu.ts';
import { ANSWER, httpServer, LabNetwork } from './lab-network.ts';
import { type Peer, peerNamed } from './lab-peers.ts';
import { type LabRow, type Sample, summarise } from './lab-report.ts';
import { BEST_LINK } from './lab-tsvs.ts';
import { noWorkload, type Outcome, WORKLOADS, type Workload } from './lab-workloads.ts';
import { type BenchOptions, type PeerName, type ProfileName, peersOf, workloadsOf } from './options.ts';

const READY_LIMIT_MS = 10_000;
/** What a run may cost beyond its seconds: starting, warming up, stopping. On a quiet machine it is half of that. */
const OVERHEAD_MS = 2_500;
const BUILT = 'dist/bin.js';

/** A workload and those who do it. */
interface Task {
  readonly workload: Workload;
  readonly peers: readonly Peer[];
}

export interface LabResult {
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly rows: readonly LabRow[];
  readonly raw: readonly Sample[];
}

/** Why there can be no lab here, or nothing. */
export function noLab(): string | undefined {
  const missing = noNamespaces() ?? noCommands('ip', 'ss', 'ping', 'curl', 'ethtool', 'wrk', 'iperf3', 'timeout');
  return missing ?? (existsSync(BUILT) ? undefined : `${BUILT} is missing: npm run build`);
}

/** Builds the networks and measures. Progress goes to standard error, a line per run, and each run to the raw file. */
export async function runLab(options: BenchOptions, machine: unknown): Promise<LabResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-lab-'));
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  process.once('exit', removeFolder);
  process.once('SIGHUP', () => process.exit(129));
  const raw: Sample[] = [];
  const rawFile = options.raw ?? join(tmpdir(), `tsvs-bench-${new Date().toISOString().replace(/[:.]/g, '')}.jsonl`);
  const about = conditions(options);
  writeFileSync(rawFile, `${JSON.stringify({ machine, conditions: about })}\n`);
  const keep = (sample: Sample): void => {
    raw.push(sample);
    appendFileSync(rawFile, `${JSON.stringify(sample)}\n`);
  };
  let roundsCut = false;
  let congestion = '';
  try {
    for (const profile of options.profiles) {
      const tasks = tasksOf(options, profile);
      if (tasks.length === 0) continue;
      const lab = await LabNetwork.build(profile, folder);
      congestion = lab.congestion;
      say(`${profile}: namespaces ${lab.net.prefix}*`);
      try {
        const whole = await rounds(lab, tasks, options, keep);
        roundsCut ||= !whole;
      } finally {
        await lab.close();
      }
    }
  } finally {
    removeFolder();
    process.off('exit', removeFolder);
  }
  return { conditions: { ...about, roundsCut, congestion, raw: rawFile }, rows: summarise(raw), raw };
}

/** What is to be done in `profile`, without what cannot be done here, and without tasks that `direct` would do alone. */
function tasksOf(options: BenchOptions, profile: ProfileName): Task[] {
  return workloadsOf(options, profile)
    .map((name) => ({
      workload: WORKLOADS[name],
      peers: peersOf(options, name)
        .map(peerNamed)
        .filter((peer) => peer.workloads.includes(name) && peer.missing() === undefined),
    }))
    .filter(
      ({ workload, peers }) => noWorkload(workload) === undefined && (peers.length > 1 || options.peers?.length === 1),
    );
}

/** Gives false when it took so much longer than planned that it left out the last rounds. */
async function rounds(
  lab: LabNetwork,
  tasks: readonly Task[],
  { rounds, seconds }: BenchOptions,
  keep: (sample: Sample) => void,
): Promise<boolean> {
  const runs = tasks.reduce((n, { peers }) => n + peers.length, 0);
  const roundMs = runs * (seconds * 1000 + OVERHEAD_MS);
  const deadline = performance.now() + rounds * roundMs;
  for (let round = 1; round <= rounds; round++) {
    const left = deadline - performance.now();
    if (round > 1 && left < roundMs * 0.8) {
      say(`${lab.profile}: slower than planned, ending after ${round - 1} of ${rounds} rounds`);
      return false;
    }
    for (const { workload, peers } of tasks) {
      for (const peer of peers) {
        const sample = await measure(lab, peer, workload, round, seconds);
        keep(sample);
        const figures = Object.entries(sample.figures).map(([key, value]) => `${key} ${value.toPrecision(4)}`);
        const remarks = [...(sample.noisy ? ['noisy'] : []), ...sample.errors];
        say(`${lab.profile} ${round}/${rounds} ${workload.name} ${peer.name}: ${[...figures, ...remarks].join(', ')}`);
      }
    }
  }
  return true;
}

/** One run on a fresh process. What goes wrong in it is part of the result. */
async function measure(
  lab: LabNetwork,
  peer: Peer,
  workload: Workload,
  round: number,
  seconds: number,
): Promise<Sample> {
  const errors: string[] = [];
  let outcome: Outcome = { figures: {}, operations: 0, errors: [] };
  let cpu: CpuUse = { balancer: 0, machine: 0, foreign: 0, steal: 0, elapsed: 0 };
  let running: Running | null = null;
  try {
    await lab.forget();
    running = await peer.start(lab);
    const answers = peer.workloads.some((name) => name !== 'ping') ? answersHttp : answersPing;
    await ready(lab, peer.target, answers);
    await workload.warmUp(lab, peer.target);
    const window = new CpuWindow(lab.inodes, running?.child.pid ?? null);
    const finished = await workload.run(lab, peer.target, seconds);
    cpu = window.close();
    outcome = finished; // Counts only with its CPU time: a balancer that died on the way did nothing.
    const fault = await answers(lab, peer.target);
    if (fault !== undefined) errors.push(`wrong answer afterwards: ${fault}`);
  } catch (error) {
    errors.push(`${(error as Error).message}\n${running?.output.slice(-2000) ?? ''}`);
  }
  const fault = await peer.stop(lab, running);
  if (fault !== undefined) errors.push(fault);
  return {
    profile: lab.profile,
    round,
    workload: workload.name,
    peer: peer.name,
    figures: outcome.figures,
    operations: outcome.operations,
    errors: [...outcome.errors, ...errors],
    cpu,
    noisy: isNoisy(cpu),
  };
}

/** What `target` says that is not a server's answer, or nothing. */
async function answersHttp(lab: LabNetwork, target: string): Promise<string | undefined> {
  const answer = await lab.fetch(target);
  return ANSWER.test(answer) ? undefined : JSON.stringify(answer);
}

async function answersPing(lab: LabNetwork, target: string): Promise<string | undefined> {
  const { code, stdout } = await lab.net.exec('client', ['ping', '-c', '1', '-W', '1', target]);
  return code === 0 ? undefined : stdout;
}

/** Waits until `target` answers. */
async function ready(lab: LabNetwork, target: string, answers: typeof answersHttp): Promise<void> {
  const deadline = performance.now() + READY_LIMIT_MS;
  for (;;) {
    const fault = await answers(lab, target);
    if (fault === undefined) return;
    if (performance.now() > deadline) throw new Error(`no answer from ${target}: ${fault}`);
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
}

function conditions(options: BenchOptions): Record<string, unknown> {
  const { rounds, seconds, profiles } = options;
  const workloads = [...new Set(profiles.flatMap((profile) => workloadsOf(options, profile)))];
  const asked = [...new Set(workloads.flatMap((name) => peersOf(options, name)))];
  const has = (name: PeerName): boolean => asked.includes(name) && peerNamed(name).missing() === undefined;
  return {
    profiles,
    rounds,
    seconds,
    connections: 'wrk -t1 -c64 with Connection: close; one request each',
    requests: 'wrk -t1 -c64, kept connections',
    bulk: 'iperf3, one stream, server to client (bulk) or client to server (bulk-up); an operation is a MB of 10^6 bytes',
    udp: 'datagrams of 18 bytes, 16 flows, as many as one sender can; counted at the servers before a socket',
    ping: 'one every ms; direct is the answer of a kernel, mirror that of the least process on a TAP',
    servers: `2, ${httpServer() === 'nginx' ? version('nginx', '-v') : 'the lab server on Node.js'}; direct uses one`,
    links: Object.entries(BEST_LINK).map(([profile, link]) => `${link} in ${profile} where none is named`),
    peers: {
      tsvs: `dist of ${statSync(BUILT).mtime.toISOString()}`,
      ...(has('haproxy') ? { haproxy: `${version('haproxy', '-v')}, mode tcp, one thread` } : {}),
      ...(has('nft') ? { nft: `${version('nft', '-v')}, dnat by jhash and masquerade` } : {}),
    },
    absent: [
      ...asked.flatMap((name) => absence(name, peerNamed(name).missing())),
      ...workloads.flatMap((name) => absence(name, noWorkload(WORKLOADS[name]))),
    ],
    placement: 'nothing pinned: client, balancer and servers share the cores',
  };
}

const absence = (name: string, why: string | undefined): string[] => (why === undefined ? [] : [`${name}: ${why}`]);

/** The first line that the program says about itself. */
function version(program: string, option: string): string {
  const { stdout, stderr } = spawnSync(program, [option], { encoding: 'utf8' });
  return `${stdout}${stderr}`.split('\n', 1)[0]!;
}

function say(line: string): void {
  process.stderr.write(`lab: ${line}\n`);
}
