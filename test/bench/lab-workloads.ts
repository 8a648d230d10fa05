/**
 * What the client does to a peer. A workload gives its figures, how many operations it did, and every answer that was
 * not the right one.
 */
import { fileURLToPath } from 'node:url';
import { noCommands } from '../lib/privilege.ts';
import { HTTP, IPERF, type LabNetwork, UDP } from './lab-network.ts';
import type { WorkloadName } from './options.ts';

export interface Outcome {
  /** By the names of `Workload.figures`. */
  readonly figures: Readonly<Record<string, number>>;
  /** Connections, requests, megabytes, datagrams or pings: what CPU time is divided by. */
  readonly operations: number;
  readonly errors: readonly string[];
}

export interface Workload {
  readonly name: WorkloadName;
  /** Name and unit of each figure. */
  readonly figures: Readonly<Record<string, string>>;
  /** Name of one operation. */
  readonly operation: string;
  /** Operations are too few to tell their share of the machine's time. */
  readonly sparse: boolean;
  /** A command it needs beyond those of every lab. */
  readonly needs?: string;
  /** A short run of the same kind, so that a compiler at run time has seen it all. */
  readonly warmUp: (lab: LabNetwork, target: string) => Promise<void>;
  readonly run: (lab: LabNetwork, target: string, seconds: number) => Promise<Outcome>;
}

const CONNECTIONS = 64;
const WARM_UP = ['timeout', '-s', 'INT', '0.6'];
const MARGIN_MS = 15_000;

interface WrkReport {
  readonly micros: number;
  readonly requests: number;
  readonly errors: Readonly<Record<string, number>>;
}

function wrk(name: WorkloadName, unit: string, operation: string, headers: readonly string[]): Workload {
  const words = (target: string, seconds: number): string[] => [
    'wrk',
    ...['-t1', `-c${CONNECTIONS}`, `-d${seconds}s`, '-s', 'test/bench/lab-wrk.lua'],
    ...headers.flatMap((header) => ['-H', header]),
    `http://${target}:${HTTP}/`,
  ];
  return {
    name,
    figures: { rate: unit },
    operation,
    sparse: false,
    warmUp: async (lab, target) => {
      await lab.net.exec('client', [...WARM_UP, ...words(target, 1)]);
    },
    run: async (lab, target, seconds) => {
      const output = await lab.client(words(target, seconds), seconds * 1000 + MARGIN_MS);
      const { micros, requests, errors } = JSON.parse(output.trim().split('\n').at(-1)!) as WrkReport;
      const bad = Object.entries(errors).filter(([, count]) => count > 0);
      return {
        figures: { rate: requests / (micros / 1e6) },
        operations: requests,
        errors: bad.map(([kind, count]) => `wrk: ${count} ${kind} errors in ${requests} requests`),
      };
    },
  };
}

interface IperfReport {
  readonly error?: string;
  readonly end: { readonly sum_received: { readonly bytes: number; readonly bits_per_second: number } };
}

/** One stream, with `-R` from server to client. */
function bulk(name: WorkloadName, ...way: string[]): Workload {
  const words = (target: string, ...args: string[]): string[] => [
    ...['iperf3', '-J', '-c', target, '-p', String(IPERF)],
    ...way,
    ...args,
  ];
  return {
    name,
    figures: { rate: 'Gbit/s' },
    operation: 'MB',
    sparse: false,
    warmUp: async (lab, target) => {
      await lab.net.exec('client', ['timeout', '3', ...words(target, '-n', '50M')]);
    },
    run: async (lab, target, seconds) => {
      const limit = seconds * 1000 + MARGIN_MS;
      const { stdout } = await lab.net.exec('client', words(target, '-t', String(seconds)), limit);
      const { error, end } = JSON.parse(stdout) as IperfReport;
      if (error !== undefined) return { figures: { rate: 0 }, operations: 0, errors: [`iperf3: ${error}`] };
      const { bytes, bits_per_second: rate } = end.sum_received;
      return { figures: { rate: rate / 1e9 }, operations: bytes / 1e6, errors: [] };
    },
  };
}

/** For what is still on its way when the last datagram has been sent. */
const SETTLE_MS = 100;

const FLOOD = fileURLToPath(new URL('./udp-flood.mjs', import.meta.url));

async function flood(lab: LabNetwork, target: string, seconds: number): Promise<{ sent: number; seconds: number }> {
  const words = [process.execPath, FLOOD, target, String(UDP), String(seconds)];
  return JSON.parse(await lab.client(words, seconds * 1000 + MARGIN_MS));
}

/** Nobody slows the client down: what a balancer does not come to is lost, and no error. */
const udp: Workload = {
  name: 'udp',
  figures: { delivered: 'Mpps', sent: 'Mpps' },
  operation: 'datagram',
  sparse: false,
  needs: 'nft',
  warmUp: async (lab, target) => {
    await flood(lab, target, 0.3);
  },
  run: async (lab, target, seconds) => {
    const before = await lab.datagrams();
    const { sent, seconds: elapsed } = await flood(lab, target, seconds);
    await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
    const delivered = (await lab.datagrams()) - before;
    return {
      figures: { delivered: delivered / elapsed / 1e6, sent: sent / elapsed / 1e6 },
      operations: delivered,
      errors: delivered === 0 ? [`udp: none of ${sent} datagrams reached a server`] : [],
    };
  },
};

/** Far enough apart that each ping finds everybody asleep, as one ping of a person does. */
const PING_INTERVAL_S = 0.001;
/** Per second of the other workloads. */
const PINGS = 500;

const ping: Workload = {
  name: 'ping',
  figures: { p50: 'us', p99: 'us', lost: 'pings' },
  operation: 'ping',
  sparse: true,
  warmUp: async (lab, target) => {
    // Some thousands, until a compiler at run time has nothing to do any more.
    await lab.client(['ping', '-q', '-f', '-c', '4000', '-W', '1', target]);
  },
  run: async (lab, target, seconds) => {
    const count = seconds * PINGS;
    const words = ['ping', '-c', String(count), '-i', String(PING_INTERVAL_S), '-W', '1', target];
    const { stdout } = await lab.net.exec('client', words, seconds * 1000 + MARGIN_MS);
    const times = Array.from(stdout.matchAll(/ time=([\d.]+) ms/g), ([, ms]) => Number(ms) * 1000).sort(
      (a, b) => a - b,
    );
    const at = (share: number): number => times[Math.min(Math.floor(times.length * share), times.length - 1)] ?? 0;
    const lost = count - times.length;
    return {
      figures: { p50: at(0.5), p99: at(0.99), lost },
      operations: times.length,
      errors: lost === 0 ? [] : [`ping: ${lost} of ${count} lost`],
    };
  },
};

export const WORKLOADS: Readonly<Record<WorkloadName, Workload>> = {
  conn: wrk('conn', 'conn/s', 'conn', ['Connection: close']),
  req: wrk('req', 'req/s', 'req', []),
  bulk: bulk('bulk', '-R'),
  'bulk-up': bulk('bulk-up'),
  udp,
  ping,
};

/** Why this workload cannot be had here, or nothing. */
export function noWorkload({ needs }: Workload): string | undefined {
  return needs === undefined ? undefined : noCommands(needs);
}
