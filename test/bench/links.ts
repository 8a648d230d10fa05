/**
 * AF_XDP between two ports: `tsvs run`, as users run it, on one processor, with direct routing from one veth pair to another; a
 * generator (link-generator.ts) on the last processor. 60-byte UDP packets of 1024 clients, as many as the generator can make, and
 * 1.2 million per second.
 *
 * ```
 *  generator eth0 ==veth== generator   tsvs   sink ==veth== eth0 sink
 * ```
 *
 * Every packet is followed by the counters of who had it last (see Ledger): those that were sent and did not arrive are in one of
 * them, or `unaccounted`. On veth the kernel does the receiver's work on the sender's processor: what the sink's kernel does with a
 * packet is in the cost of sending it.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { type DropsReply, PATHS, type StatsReply } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask } from '../../src/control/client.ts';
import { Net, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import type { Sent } from './link-generator.ts';
import type { MemoryRow } from './memory.ts';

const PROGRAM = 'dist/bin.js';
const MACS = { generator: '02:00:00:00:00:01', sink: '02:00:00:00:01:01', server: '02:00:00:00:01:02' } as const;
const VIP = '10.0.0.10';
const PORT = 80;
const FLOWS = 1024;
/** Packets per second that may not be lost. */
const PACE = 1_200_000;
/** Packets of a run, and of the one before all others. */
const RUN = 2_000_000;
const WARM = 3_000_000;
/** Between two looks at the counters, which tsvs publishes about 20 times a second; and looks at most. */
const LOOK_MS = 250;
const LOOKS = 40;

const MODES = ['generic', 'native'] as const;
export type XdpMode = (typeof MODES)[number];

/** What was counted between two moments; the order is the way of a packet. */
export interface Ledger {
  /** The generator's interface: it left there, or was refused by the other end. */
  readonly sent: number;
  readonly refusedIn: number;
  /** AF_XDP: no room in the receive ring, or no slot. */
  readonly missed: number;
  readonly received: number;
  /** tsvs, for a reason. */
  readonly dropped: number;
  readonly forwarded: number;
  /** Of those: made by tsvs, which announces its addresses. */
  readonly own: number;
  /** The second interface: it left there, or was refused by the other end. */
  readonly refusedOut: number;
  readonly arrived: number;
}

export interface LinkRun {
  readonly mode: XdpMode;
  /** Packets per second, 0 = as many as possible. */
  readonly rate: number;
  readonly offeredMpps: number;
  readonly arrivedMpps: number;
  readonly lost: number;
  /** Lost, and in no counter. */
  readonly unaccounted: number;
  readonly ledger: Ledger;
}

export interface LinksResult {
  readonly rows: readonly MemoryRow[];
  readonly runs: readonly LinkRun[];
}

/** Why there is nothing to measure, or nothing. */
export const noLinks = (): string | undefined =>
  noNamespaces() ?? noCommands('ip', 'taskset') ?? (existsSync(PROGRAM) ? undefined : `no ${PROGRAM}: npm run build`);

const config = (mode: XdpMode): string => `
[global]
polling = busy

[link generator]
kind = xdp
xdp_mode = ${mode}

[link sink]
kind = xdp
xdp_mode = ${mode}
address = 10.1.0.2/24

[network]
netmask = 255.255.255.0
local_address = 10.0.0.2

[service flows]
ip = ${VIP}
ports = ${PORT}
proto = udp
mode = dr
scheduler = rr
count = 1
server1 = 10.1.0.11:${PORT}:1:${MACS.server}
`;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The network with tsvs and the generator in it. */
class Bench {
  private readonly net = new Net({ hosts: { generator: {}, sink: { mac: MACS.server } } });
  private readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-links-'));
  private readonly socket = join(this.folder, 'tsvs.sock');
  private order: (count: number, rate: number) => Promise<Sent> = () => Promise.reject(new Error('not started'));
  private end: () => Promise<void> = async () => {};

  static async start(mode: XdpMode): Promise<Bench> {
    const bench = new Bench();
    try {
      await bench.build();
      await bench.startTsvs(mode);
      await bench.startGenerator();
      return bench;
    } catch (error) {
      await bench.close();
      throw error;
    }
  }

  /** Two cables instead of a bridge. */
  private async build(): Promise<void> {
    await this.shell(SWITCH, 'ip link del br0');
    for (const end of ['generator', 'sink'] as const)
      await this.shell(SWITCH, `ip link set ${end} address ${MACS[end]}`);
  }

  private async startTsvs(mode: XdpMode): Promise<void> {
    const file = join(this.folder, 'lb.conf');
    writeFileSync(file, config(mode));
    const words = ['run', '--config', file, '--log', 'json', '--control', this.socket];
    const tsvs = this.net.start(SWITCH, ['taskset', '-c', '0', process.execPath, PROGRAM, ...words]);
    await tsvs.waitFor(/"msg":"ready"/);
  }

  private async startGenerator(): Promise<void> {
    const program = join(dirname(process.argv[1]!), 'link-generator.mjs');
    const words = ['netns', 'exec', this.net.namespace('generator'), process.execPath, program];
    const target = ['eth0', MACS.generator, VIP, String(PORT), String(FLOWS)];
    const child = spawn('ip', [...words, ...target], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const next = async (): Promise<string> => {
      const { value, done } = await lines.next();
      if (done) throw new Error('the generator has ended');
      return value;
    };
    this.end = async () => {
      child.stdin.end();
      if (child.exitCode === null) await once(child, 'exit');
    };
    this.order = async (count, rate) => {
      child.stdin.write(`${count} ${rate}\n`);
      return JSON.parse(await next()) as Sent;
    };
    await next();
  }

  async run(mode: XdpMode, count: number, rate: number): Promise<LinkRun> {
    const before = await this.quiet();
    const { ms } = await this.order(count, rate);
    const after = await this.quiet();
    const names = Object.keys(before) as (keyof Ledger)[];
    const ledger = Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as unknown as Ledger;
    const { sent, refusedIn, missed, dropped, own, refusedOut } = ledger;
    const arrived = ledger.arrived - own;
    const lost = count - arrived;
    return {
      mode,
      rate,
      offeredMpps: sent / ms / 1000,
      arrivedMpps: arrived / ms / 1000,
      lost,
      unaccounted: lost - refusedIn - missed - dropped - refusedOut,
      ledger,
    };
  }

  /** The counters, when what is on its way has arrived and tsvs has published its own: they stand still. */
  private async quiet(): Promise<Ledger> {
    let last = await this.counters();
    for (let i = 0; i < LOOKS; i++) {
      await pause(LOOK_MS);
      const now = await this.counters();
      if (JSON.stringify(now) === JSON.stringify(last)) return now;
      last = now;
    }
    throw new Error(`links: packets are still on their way: ${JSON.stringify(last)}`);
  }

  private async counters(): Promise<Ledger> {
    const stat = async (place: string, device: string): Promise<Stats64> => {
      const text = await this.shell(place, `ip -s -j link show dev ${device}`);
      return (JSON.parse(text) as [{ stats64: Stats64 }])[0].stats64;
    };
    const from = await stat('generator', 'eth0');
    const to = await stat('sink', 'eth0');
    const out = await stat(SWITCH, 'sink');
    const { links } = await ask<LinksReply>(this.socket, PATHS.links);
    const drops = await ask<DropsReply>(this.socket, PATHS.drops);
    const { frames } = await ask<StatsReply>(this.socket, PATHS.stats);
    return {
      sent: from.tx.packets,
      refusedIn: from.tx.dropped,
      missed: links[0]!.missed,
      received: links[0]!.rxFrames,
      dropped: drops.total,
      forwarded: links[1]!.txFrames,
      // By the first link nothing leaves but what tsvs has made.
      own: frames.created - links[0]!.txFrames,
      refusedOut: out.tx.dropped,
      arrived: to.rx.packets,
    };
  }

  private async shell(place: string, script: string): Promise<string> {
    const { code, stdout, stderr } = await this.net.exec(place, ['sh', '-c', script]);
    if (code !== 0) throw new Error(`${script}: ${stderr}`);
    return stdout;
  }

  async close(): Promise<void> {
    await this.end();
    await this.net.close();
    rmSync(this.folder, { recursive: true });
  }
}

interface Stats64 {
  readonly rx: { readonly packets: number; readonly dropped: number };
  readonly tx: { readonly packets: number; readonly dropped: number };
}

/** @param runs of each kind; @param only which XDP modes, by name */
export async function linkRows(scale: number, runs: number, only: RegExp): Promise<LinksResult> {
  const all: LinkRun[] = [];
  for (const mode of MODES) {
    if (!only.test(mode)) continue;
    const bench = await Bench.start(mode);
    try {
      await bench.run(mode, WARM * scale, 0);
      for (let i = 0; i < runs; i++) for (const rate of [0, PACE]) all.push(await bench.run(mode, RUN * scale, rate));
    } finally {
      await bench.close();
    }
  }
  const kinds = MODES.flatMap((mode) =>
    [0, PACE].map((rate) => all.filter((run) => run.mode === mode && run.rate === rate)),
  );
  return { rows: kinds.filter((kind) => kind.length > 0).flatMap(rowsOf), runs: all };
}

const sorted = (values: readonly number[]): number[] => values.toSorted((a, b) => a - b);
const rounded = (value: number): number => Number(value.toPrecision(4));

function rowsOf(runs: readonly LinkRun[]): MemoryRow[] {
  const { mode, rate } = runs[0]!;
  const middle = runs.length >> 1;
  const rates = sorted(runs.map(({ arrivedMpps }) => arrivedMpps));
  const offered = sorted(runs.map(({ offeredMpps }) => offeredMpps))[middle]!;
  const lost = sorted(runs.map((run) => (100 * run.lost) / run.ledger.sent));
  const unaccounted = runs.reduce((sum, run) => sum + run.unaccounted, 0);
  const what = `AF_XDP ${mode}, direct routing between two ports, ${rate === 0 ? 'all there is' : `${rate / 1e6} Mpps`}`;
  const range = `${rounded(rates[0]!)} to ${rounded(rates.at(-1)!)} in ${runs.length} runs; ${rounded(offered)} offered`;
  const sums = (['refusedIn', 'missed', 'dropped', 'refusedOut'] as const).map(
    (name) => `${name} ${runs.reduce((sum, { ledger }) => sum + ledger[name], 0)}`,
  );
  return [
    { group: 'links', what, value: rounded(rates[middle]!), unit: 'Mpps', note: range },
    {
      group: 'links',
      what: `${what}, lost`,
      value: rounded(lost[middle]!),
      unit: '%',
      note: `${rounded(lost[0]!)} to ${rounded(lost.at(-1)!)}; of all runs: ${sums.join(', ')}, unaccounted ${unaccounted}`,
    },
  ];
}
