/**
 * Two cables with a subject between them, a generator at the end of one, and the counters of all who have a packet on its way. Used by
 * links.ts.
 *
 * ```
 *  generator eth0 ==veth== generator   subject   sink ==veth== eth0 sink
 * ```
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Net, SWITCH } from '../lib/netns.ts';
import { cpuTimeOf } from './lab-cpu.ts';
import { LineProgram } from './line-program.ts';
import type { Sent } from './link-generator.ts';
import {
  HOSTS,
  type Passed,
  PORT,
  SERVER_MAC,
  START,
  type Subject,
  type SubjectName,
  VIP,
  type XdpMode,
} from './link-subjects.ts';

const MACS = { generator: '02:00:00:00:00:01', sink: '02:00:00:00:01:01' } as const;
const FLOWS = 1024;
/** Between two looks at the counters, which tsvs publishes about 20 times a second; and looks at most. */
const LOOK_MS = 250;
const LOOKS = 40;

/** What was counted between two moments. */
export interface Ledger extends Passed {
  /** The generator's interface: it left there, or was refused by the other end. */
  readonly sent: number;
  readonly refusedIn: number;
  /** The second interface: it left there, or was refused by the other end. */
  readonly refusedOut: number;
  readonly arrived: number;
}

export interface LinkRun {
  readonly subject: SubjectName;
  readonly mode: XdpMode;
  /** Packets per second, 0 = as many as possible. */
  readonly rate: number;
  readonly offeredMpps: number;
  readonly arrivedMpps: number;
  readonly lost: number;
  /** Lost, and in no counter. */
  readonly unaccounted: number;
  readonly ledger: Ledger;
  /** Processor time of the subject while packets were sent, for each that it received, in microseconds: its own code, and the kernel. */
  readonly userUs: number;
  readonly systemUs: number;
}

interface Stats64 {
  readonly rx: { readonly packets: number; readonly dropped: number };
  readonly tx: { readonly packets: number; readonly dropped: number };
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

export class LinkBench {
  private readonly name: SubjectName;
  private readonly mode: XdpMode;
  private readonly net = new Net({ hosts: { [HOSTS.generator]: {}, [HOSTS.sink]: { mac: SERVER_MAC } } });
  private readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-links-'));
  private subject: Subject | undefined;
  private generator: LineProgram | undefined;

  private constructor(name: SubjectName, mode: XdpMode) {
    this.name = name;
    this.mode = mode;
  }

  /** Builds it, has `warm` packets carried, and lets the subject rest. */
  static async start(name: SubjectName, mode: XdpMode, warm: number): Promise<LinkBench> {
    const bench = new LinkBench(name, mode);
    try {
      await bench.build();
      await bench.order(warm, 0);
      bench.subject?.rest();
      return bench;
    } catch (error) {
      await bench.close();
      throw error;
    }
  }

  private async build(): Promise<void> {
    const { net, folder, mode } = this;
    // Two cables instead of a bridge.
    await this.shell(SWITCH, 'ip link del br0');
    for (const end of ['generator', 'sink'] as const)
      await this.shell(SWITCH, `ip link set ${HOSTS[end]} address ${MACS[end]}`);
    this.subject = await START[this.name](net, folder, mode);
    const target = ['eth0', MACS.generator, VIP, String(PORT), String(FLOWS)];
    this.generator = await LineProgram.start(net.namespace(HOSTS.generator), [], 'link-generator', target);
  }

  private async order(count: number, rate: number): Promise<Sent> {
    return JSON.parse(await this.generator!.ask(`${count} ${rate}`)) as Sent;
  }

  /** Has `count` packets sent, `rate` a second, and gives what became of them. */
  async run(count: number, rate: number): Promise<LinkRun> {
    this.subject!.wake();
    const before = await this.quiet();
    const { pid } = this.subject!;
    const began = cpuTimeOf(pid);
    const { ms } = await this.order(count, rate);
    const ended = cpuTimeOf(pid);
    const after = await this.quiet();
    this.subject!.rest();
    const names = Object.keys(before) as (keyof Ledger)[];
    const ledger = Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as unknown as Ledger;
    const { sent, refusedIn, missed, dropped, own, refusedOut } = ledger;
    const arrived = ledger.arrived - own;
    const lost = count - arrived;
    return {
      subject: this.name,
      mode: this.mode,
      rate,
      offeredMpps: sent / ms / 1000,
      arrivedMpps: arrived / ms / 1000,
      lost,
      unaccounted: lost - refusedIn - missed - dropped - refusedOut,
      ledger,
      userUs: (ended.user - began.user) / ledger.received,
      systemUs: (ended.system - began.system) / ledger.received,
    };
  }

  /** The counters, when what is on its way has arrived and the subject has published its own: they stand still. */
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
    const from = await stat(HOSTS.generator, 'eth0');
    const to = await stat(HOSTS.sink, 'eth0');
    const out = await stat(SWITCH, HOSTS.sink);
    return {
      sent: from.tx.packets,
      refusedIn: from.tx.dropped,
      ...(await this.subject!.passed()),
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
    // What rests does not hear that it is to end.
    this.subject?.wake();
    await this.generator?.end();
    await this.subject?.end();
    await this.net.close();
    rmSync(this.folder, { recursive: true });
  }
}
