/**
 * What an idle session costs in memory: the slope of the resident memory of a running tsvs over the number of sessions
 * it holds. Kernels at both ends, all included: two connections, session, timers, tables. Every session has exchanged
 * one message, as those have that really are idle, and all exchange another one at the end, which shows that they live.
 * Called by main.ts.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Net, type Running } from '../lib/netns.ts';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import { HTTP, SERVERS, TAP, VIP } from './lab-network.ts';

const HOSTS = {
  client: { address: '10.9.0.1/24' },
  rs1: { address: `${SERVERS[0]}/24` },
  rs2: { address: `${SERVERS[1]}/24` },
};
/** Connections of one client process: well within the usual limit of open files. */
const PER_CLIENT = 4000;
const STEP_LIMIT_MS = 60_000;
/** After the last session of a step: until connections are parked, and what the step has left behind is collected. */
const SETTLE_MS = 3_000;
const SAMPLES = 10;

export interface IdleStep {
  readonly sessions: number;
  /** Resident memory of the whole process, in bytes: the least of some samples. */
  readonly resident: number;
}

export interface IdleResult {
  readonly steps: readonly IdleStep[];
  /** Bytes per session between the first step and each of the others. */
  readonly slopes: readonly { readonly from: number; readonly to: number; readonly bytes: number }[];
  /** Sessions that answered at the very end. */
  readonly answered: number;
  /** Sessions that ended although nobody wanted it, and why. */
  readonly lost: readonly string[];
}

/** Why idle sessions cannot be held here, or nothing. */
export const noIdle = (): string | undefined =>
  noNamespaces() ?? noCommands('ip') ?? (existsSync('dist/bin.js') ? undefined : 'dist is missing: npm run build');

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * @param counts sessions to hold, rising
 * @param scale of the time for settling
 */
export async function runIdle(counts: readonly number[], scale: number): Promise<IdleResult> {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-idle-'));
  const net = new Net({ hosts: HOSTS, taps: [TAP] });
  try {
    for (const place of ['rs1', 'rs2']) {
      const server = net.start(place, [process.execPath, 'test/bench/peers/idle-server.mjs', String(HTTP)]);
      await server.waitFor(/listens/);
    }
    const config = join(folder, 'idle.conf');
    writeFileSync(config, CONFIG);
    const tsvs = await net.startTsvs(config, `tap:${TAP}`, ['--control', join(folder, 'tsvs.sock')]);
    const clients: Running[] = [];
    const steps: IdleStep[] = [];
    let held = 0;
    for (const sessions of counts) {
      while (held < sessions) {
        const count = Math.min(sessions - held, PER_CLIENT);
        clients.push(await openMore(net, count));
        held += count;
      }
      await pause(SETTLE_MS * scale);
      steps.push({ sessions, resident: await leastResident(tsvs.child.pid!) });
      console.error(`idle: ${sessions} sessions, ${(steps.at(-1)!.resident / 1e6).toFixed(1)} MB resident`);
    }
    for (const client of clients) client.child.kill('SIGUSR2');
    await Promise.all(clients.map((client) => client.waitFor(/answered/, STEP_LIMIT_MS)));
    const [first, ...others] = steps as [IdleStep, ...IdleStep[]];
    return {
      steps,
      slopes: others.map((step) => ({
        from: first.sessions,
        to: step.sessions,
        bytes: Math.round((step.resident - first.resident) / (step.sessions - first.sessions)),
      })),
      answered: clients.reduce((sum, client) => sum + Number(/answered (\d+)/.exec(client.output)![1]), 0),
      lost: clients.flatMap((client) => client.output.match(/lost: .*/g) ?? []),
    };
  } finally {
    await net.close();
    rmSync(folder, { recursive: true });
  }
}

async function openMore(net: Net, count: number): Promise<Running> {
  const words = [process.execPath, 'test/bench/peers/idle-client.mjs', VIP, String(HTTP), String(count)];
  const client = net.start('client', words);
  await client.waitFor(/opened/, STEP_LIMIT_MS);
  return client;
}

async function leastResident(pid: number): Promise<number> {
  let least = Number.POSITIVE_INFINITY;
  for (let i = 0; i < SAMPLES; i++) {
    least = Math.min(least, residentBytes(pid));
    await pause(100);
  }
  return least;
}

/** Exact, where VmRSS of /proc/PID/status is summed up per thread and late. */
function residentBytes(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'latin1');
  return Number(/^Rss:\s+(\d+) kB$/m.exec(rollup)![1]) * 1024;
}

const CONFIG = `[global]
drain_timeout = 1s
[link lan]
kind = tap
device = ${TAP}
[network]
netmask = 255.255.255.0
[service idle]
ip = ${VIP}
ports = ${HTTP}
scheduler = rr
count = ${SERVERS.length}
${SERVERS.map((address, i) => `server${i + 1} = ${address}:${HTTP}:1:00:00:00:00:00:00`).join('\n')}
`;

export function printIdle({ steps, slopes, answered, lost }: IdleResult): void {
  for (const { sessions, resident } of steps)
    console.log(
      `${String(sessions).padStart(6)} idle sessions  ${(resident / 1e6).toFixed(1).padStart(7)} MB resident`,
    );
  for (const { from, to, bytes } of slopes) console.log(`from ${from} to ${to}: ${bytes} bytes per session`);
  console.log(`at the end ${answered} answered, ${lost.length} had been lost`);
}
