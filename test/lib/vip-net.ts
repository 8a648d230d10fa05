/**
 * A real network with tsvs in the middle: a client, servers rs1, rs2, ... and the VIP on a TAP, in namespaces. What tsvs
 * counts is read from its control socket; `close` asks it to stop and checks that every frame and session is accounted
 * for. Addresses: client 10.9.0.1, VIP 10.9.0.10, servers 10.9.0.11 upwards, further hosts 10.9.0.100 upwards.
 */
import { chmodSync, chownSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../src/config/model.ts';
import { type DropsReply, PATHS, type SessionsReply, type StatsReply } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask } from '../../src/control/client.ts';
import { type HostPlan, Net, type Result, type Running, SWITCH } from './netns.ts';
import { patternHash } from './pattern.ts';

export const VIP = '10.9.0.10';
export const VIP_MAC = '02:00:00:64:00:0a';
export const serverAddress = (i: number): string => `10.9.0.${10 + i}`;

/** Where tsvs is when it is not in the switch. */
export const LB = 'lb';

/** Ports that clients connect to; those of the servers are the same. */
export const HTTP = 80;
export const TALK = 7;
export const IPERF = 5201;

export interface VipNetOptions {
  readonly servers?: number;
  /** What tsvs is on; absent: a TAP that is a port of the switch. Otherwise it is at a host of its own, on its interface. */
  readonly link?: LinkKind;
  /** Further lines of [link], such as `xdp_mode = generic`. */
  readonly linkSettings?: readonly string[];
  /** The TAP has several queues, or the interface two. */
  readonly queues?: boolean;
  /** memif: what scripts/dpdk-bridge.sh is told, but for the link; absent: the interface, by packet sockets. */
  readonly bridge?: readonly string[];
  /** Hosts beside client and servers. */
  readonly others?: readonly string[];
  /** Off: tsvs and the kernels put complete frames on the wire, as an Ethernet cable would have them. */
  readonly offload?: boolean;
  /** As `--fault` takes it. */
  readonly fault?: string;
  /** Lines for each service, such as `connect_timeout = 500ms`. */
  readonly settings?: readonly string[];
  /** TCP services beside those that all have: name, port, and lines of their own. */
  readonly more?: readonly (readonly [name: string, port: number, ...lines: string[]])[];
  /** Where addresses beyond the network are said to be. */
  readonly gateway?: string;
  /** User and group that the folder belongs to, and its permissions. */
  readonly folderOf?: readonly [uid: number, gid: number];
  readonly folderMode?: number;
  /** Lines of [global]; FOLDER is the network's own. */
  readonly global?: readonly string[];
}

export class VipNet {
  readonly net: Net;
  readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-e2e-'));
  readonly socket = join(this.folder, 'tsvs.sock');
  /** Where testpmd listens for tsvs. */
  readonly memif = join(this.folder, 'memif.sock');
  /** What is between; null on other links. */
  bridge: Running | null = null;
  private readonly servers: number;
  private readonly link: LinkKind;
  private running: Running | null = null;
  private launch: () => Promise<Running> = () => Promise.reject(new Error('not started'));

  private constructor(servers: number, others: readonly string[], link: LinkKind, queues: boolean) {
    this.servers = servers;
    this.link = link;
    const hosts: Record<string, HostPlan> = { client: { address: '10.9.0.1/24' } };
    for (let i = 1; i <= servers; i++) hosts[`rs${i}`] = { address: `${serverAddress(i)}/24` };
    others.forEach((name, i) => {
      hosts[name] = { address: `10.9.0.${100 + i}/24` };
    });
    if (link === 'tap') this.net = new Net({ hosts, taps: ['tap0'], queues });
    else this.net = new Net({ hosts: { ...hosts, [LB]: queues ? { queues: 2 } : {} } });
  }

  /** Builds the network and starts tsvs; the servers' programs are the caller's to start, before or after. */
  static async start(options: VipNetOptions = {}): Promise<VipNet> {
    const { servers = 2, others = [], offload = true, fault, link = 'tap', queues = false } = options;
    const lab = new VipNet(servers, others, link, queues);
    try {
      if (!offload) await lab.switchOffloadsOff(link === 'tap' ? others : [...others, LB]);
      const config = join(lab.folder, 'lb.conf');
      writeFileSync(config, lab.config(options));
      if (options.folderOf !== undefined) chownSync(lab.folder, ...options.folderOf);
      if (options.folderMode !== undefined) chmodSync(lab.folder, options.folderMode);
      const args = ['--control', lab.socket, ...(fault === undefined ? [] : ['--fault', fault])];
      if (link === 'memif') await lab.startBridge(options.bridge ?? ['--memory', '128', 'packet:eth0']);
      const device = link === 'memif' ? lab.memif : 'eth0';
      const [word, place] = link === 'tap' ? ['tap:tap0', SWITCH] : [`${link}:${device}`, LB];
      lab.launch = () => lab.net.startTsvs(config, word, args, place);
      lab.running = await lab.launch();
      if (link === 'memif') await lab.linked();
      return lab;
    } catch (error) {
      await lab.remove();
      throw error;
    }
  }

  /** Kills tsvs and starts it again. */
  async restart(): Promise<void> {
    assert.is(await this.tsvs.stop('SIGKILL'), null);
    this.running = await this.launch();
    await this.linked();
  }

  /** Waits until the link of tsvs is up. */
  async linked(limitMs = 10_000): Promise<void> {
    const deadline = performance.now() + limitMs;
    while (!(await ask<LinksReply>(this.socket, PATHS.links)).links[0]!.up) {
      if (performance.now() > deadline)
        throw new Error(`the link is still down after ${limitMs} ms\n${this.tsvs.output}`);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Starts the DPDK bridge, between the interface of tsvs' host and its memif. */
  private async startBridge(words: readonly string[]): Promise<void> {
    this.bridge = this.net.start(LB, ['scripts/dpdk-bridge.sh', ...words, `memif:${this.memif}`]);
    await this.bridge.waitFor(/testpmd \d+ between/);
  }

  get tsvs(): Running {
    return this.running!;
  }

  stats(): Promise<StatsReply> {
    return ask(this.socket, PATHS.stats);
  }

  async counter(name: string): Promise<number> {
    return (await this.stats()).counters[name]!;
  }

  sessions(): Promise<SessionsReply> {
    return ask(this.socket, PATHS.sessions);
  }

  drops(): Promise<DropsReply> {
    return ask(this.socket, PATHS.drops);
  }

  /** Resident memory of tsvs in bytes. */
  memory(): number {
    const kilobytes = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${this.tsvs.child.pid}/status`, 'utf8'))?.[1];
    return Number(kilobytes) * 1024;
  }

  /** Runs a command at the client to its end. */
  client(words: string[], limitMs?: number): Promise<Result> {
    return this.net.exec('client', words, limitMs);
  }

  /** What a shell command at the client prints, trimmed. Throws when it fails. */
  async shell(script: string, limitMs?: number): Promise<string> {
    const { code, stdout, stderr } = await this.client(['bash', '-o', 'pipefail', '-c', script], limitMs);
    if (code !== 0) throw new Error(`${script}: exit code ${code}\n${stderr}\n${this.tsvs.output}`);
    return stdout.trim();
  }

  /** Floods the VIP with pings, each of which must be answered. Gives what ping sums up. */
  async ping(count: number): Promise<string> {
    const { stdout } = await this.client(['ping', '-f', '-q', '-c', String(count), VIP]);
    assert.match(stdout, `${count} packets transmitted, ${count} received, 0% packet loss`);
    return stdout.trim().split('\n').at(-1)!;
  }

  /** Downloads `bytes` from one of the lab's HTTP servers by curl, with further options of its; each byte must be right. */
  async download(bytes: number, options = '', limitMs?: number): Promise<void> {
    const hash = await this.shell(
      `curl -sS -f ${options} http://${VIP}/bytes/${bytes} | sha256sum | cut -d' ' -f1`,
      limitMs,
    );
    assert.is(hash, patternHash(bytes));
  }

  /** Starts the lab's HTTP server on every server: rs-1, rs-2, ... */
  startHttp(): Promise<Running[]> {
    return this.onEach((place, i) => this.net.startRealServer(place, `rs-${i}`, HTTP));
  }

  /** Starts talk-server.ts on every server. */
  startTalk(): Promise<Running[]> {
    return this.onEach(async (place, i) => {
      const talk = this.net.start(place, program('talk-server', `rs-${i}`, String(TALK)));
      await talk.waitFor(/listens/);
      return talk;
    });
  }

  /** Lets talk-client.ts play a scene at the client; gives what it reports. */
  async talk<T>(scene: string, ...args: (string | number)[]): Promise<T> {
    const words = program('talk-client', VIP, String(TALK), scene, ...args.map(String));
    const { code, stdout, stderr } = await this.client(words);
    if (code !== 0) throw new Error(`talk ${scene}: exit code ${code}\n${stdout}${stderr}\n${this.tsvs.output}`);
    return JSON.parse(stdout) as T;
  }

  /** Starts SYNs to a port of the VIP, from random addresses. */
  synFlood(port: number, count: number, perMs: number): Running {
    const numbers = [port, count, perMs, port].map(String);
    return this.net.start('client', program('syn-flood', 'eth0', VIP_MAC, VIP, ...numbers));
  }

  /** Waits until tsvs has no session. */
  async quiet(limitMs = 10_000): Promise<void> {
    const deadline = performance.now() + limitMs;
    while ((await this.stats()).sessions > 0) {
      if (performance.now() > deadline) {
        throw new Error(`still open after ${limitMs} ms: ${JSON.stringify(await this.sessions())}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** Stops tsvs, checks that it leaves in order, and removes everything. */
  async close(): Promise<void> {
    try {
      const code = await this.tsvs.stop('SIGTERM', 15_000);
      assert.is(code, 0, this.tsvs.output);
      const last = JSON.parse(this.tsvs.output.trim().split('\n').at(-1)!) as {
        frames: StatsReply['frames'];
        sessions: Record<string, number>;
      };
      const { received, created, sent, delivered, dropped, held } = last.frames;
      assert.is(received + created, sent + delivered + dropped + held, 'frames are conserved');
      assert.is(held, 0, `frames still held at the end: ${this.tsvs.output}`);
      assert.is(last.sessions['accepted'], last.sessions['finished']);
    } finally {
      await this.remove();
    }
  }

  private async remove(): Promise<void> {
    await this.net.close();
    rmSync(this.folder, { recursive: true });
  }

  private onEach(start: (place: string, i: number) => Promise<Running>): Promise<Running[]> {
    return Promise.all(Array.from({ length: this.servers }, (_, i) => start(`rs${i + 1}`, i + 1)));
  }

  private async switchOffloadsOff(others: readonly string[]): Promise<void> {
    const off = ['rx', 'tx', 'sg', 'tso', 'gso', 'gro'].flatMap((name) => [name, 'off']);
    const hosts = ['client', ...Array.from({ length: this.servers }, (_, i) => `rs${i + 1}`), ...others];
    for (const [place, device] of hosts.flatMap((host) => [[host, 'eth0'] as const, [SWITCH, host] as const])) {
      const { code, stderr } = await this.net.exec(place, ['ethtool', '-K', device, ...off]);
      assert.is(code, 0, stderr);
    }
  }

  private config(options: VipNetOptions): string {
    const { offload = true, settings = [], more = [], gateway, global = [], linkSettings = [] } = options;
    const services = [
      ['web', HTTP, 'rr'],
      ['talk', TALK, 'rr'],
      // All connections of one test belong to one server.
      ['iperf', IPERF, 'conhash\nhash_key = source'],
      ...more.map(([name, port, ...lines]) => [name, port, ['rr', ...lines].join('\n')] as const),
    ] as const;
    const section = ([name, port, scheduler]: (typeof services)[number]): string => {
      const rows = Array.from(
        { length: this.servers },
        (_, i) => `server${i + 1} = ${serverAddress(i + 1)}:${port}:1:00:00:00:00:00:00`,
      );
      const head = [`[service ${name}]`, `ip = ${VIP}`, `ports = ${port}`, `scheduler = ${scheduler}`];
      return [...head, ...settings, `count = ${this.servers}`, ...rows].join('\n');
    };
    return [
      '[global]',
      ...global.map((line) => line.replace('FOLDER', this.folder)),
      '[link lan]',
      `kind = ${this.link}`,
      `device = ${this.link === 'tap' ? 'tap0' : this.link === 'memif' ? this.memif : 'eth0'}`,
      `offload = ${offload ? 'on' : 'off'}`,
      `mac = ${VIP_MAC}`,
      ...linkSettings,
      '[network]',
      'netmask = 255.255.255.0',
      ...(gateway === undefined ? [] : [`gateway = ${gateway}`]),
      ...services.map(section),
      '',
    ].join('\n');
  }
}

/** The words that run one of the programs beside this file. */
function program(name: string, ...args: string[]): string[] {
  return [process.execPath, '--import', 'tsx', `test/lib/${name}.ts`, ...args];
}
