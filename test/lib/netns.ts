/**
 * Networks for end-to-end tests: namespaces with names of their own, joined by a bridge, with TAP devices for tsvs.
 * Everything is removed by `close`, and in any case when the process exits. Tests ask privilege.ts first whether
 * namespaces can be built at all.
 *
 *   const net = new Net({ hosts: { client: { address: '10.9.0.1/24' }, rs1: { address: '10.9.0.11/24' } }, taps: ['tap0'] });
 *   const { stdout } = await net.exec('client', ['ping', '-c', '1', '10.9.0.11']);
 *   await net.close();
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface HostPlan {
  /** Address with prefix length, as `ip addr add` takes it; absent: none, for a program that brings its own stack. */
  address?: string;
  /** The kernel chooses one when none is given. */
  mac?: string;
  /** Of its interface, in each direction; one when absent. */
  queues?: number;
}

export interface NetPlan {
  hosts: Record<string, HostPlan>;
  /** TAP devices in the switch, each a port of the bridge; a program attaches to them there. */
  taps?: string[];
  /** TAPs have several queues, one per worker. */
  queues?: boolean;
}

export interface Result {
  code: number | null;
  stdout: string;
  stderr: string;
}

/** The place of the bridge and the TAP devices, beside the hosts of the plan. */
export const SWITCH = 'switch';

const EXEC_LIMIT_MS = 60_000;
const STOP_LIMIT_MS = 5_000;

function command(program: string, args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync(program, args, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${error?.message ?? stderr.trim()}`);
  return stdout;
}

const ip = (...args: string[]): string => command('ip', args);

/** Resolves after `ms`; for polling what another process does. */
const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Calls `probe` until it gives true; throws when `limitMs` have passed. */
export async function poll(what: string, limitMs: number, probe: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = performance.now() + limitMs;
  while (!(await probe())) {
    if (performance.now() > deadline) throw new Error(`waited ${limitMs} ms in vain for ${what}`);
    await pause(20);
  }
}

/** A program that runs in a namespace. Standard output and error are collected together in `output`. */
export class Running {
  readonly child: ChildProcess;
  /** How it ended: the exit code, or null when a signal ended it. */
  readonly ended: Promise<number | null>;
  output = '';
  private alive = true;
  private readonly name: string;

  constructor(program: string, args: string[], name: string) {
    this.name = name;
    this.child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.output += text;
      });
    }
    this.ended = new Promise((resolve) => {
      this.child.on('error', (error) => {
        this.output += `${error.message}\n`;
        this.alive = false;
        resolve(null);
      });
      this.child.on('close', (code) => {
        this.alive = false;
        resolve(code);
      });
    });
  }

  /** Waits until the output matches `pattern`; throws, with the output, when it does not or the program ends first. */
  async waitFor(pattern: RegExp, limitMs = 10_000): Promise<void> {
    try {
      await poll(`${pattern} from ${this.name}`, limitMs, () => {
        if (pattern.test(this.output)) return true;
        if (!this.alive) throw new Error(`${this.name} ended before it printed ${pattern}`);
        return false;
      });
    } catch (error) {
      throw new Error(`${(error as Error).message}\n${this.output}`);
    }
  }

  /** Sends `signal` and gives the exit code; what does not end within `limitMs` is killed, and gives null. */
  async stop(signal: NodeJS.Signals = 'SIGTERM', limitMs = STOP_LIMIT_MS): Promise<number | null> {
    if (this.alive) this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), limitMs);
    const code = await this.ended;
    clearTimeout(timer);
    return code;
  }
}

/** The networks that this process has built and not yet closed. */
const open = new Set<Net>();
let count = 0;

function removeAll(): void {
  for (const net of open) net.remove();
}

function removeAtExit(): void {
  if (process.listeners('exit').includes(removeAll)) return;
  process.once('exit', removeAll);
  process.once('SIGINT', () => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
}

export class Net {
  /** Begins the names of all namespaces of this network. */
  readonly prefix = `tsvs${process.pid}n${++count}-`;
  private readonly places: string[];
  private readonly programs = new Set<Running>();

  constructor({ hosts, taps = [], queues = false }: NetPlan) {
    this.places = [SWITCH, ...Object.keys(hosts)];
    removeAtExit();
    open.add(this);
    try {
      for (const place of this.places) this.addPlace(place);
      this.inSwitch(
        'link',
        'add',
        'br0',
        'type',
        'bridge',
        'stp_state',
        '0',
        'forward_delay',
        '0',
        'mcast_snooping',
        '0',
      );
      this.inSwitch('link', 'set', 'br0', 'up');
      for (const [name, host] of Object.entries(hosts)) this.plug(name, host);
      for (const tap of taps) {
        this.inSwitch('tuntap', 'add', tap, 'mode', 'tap', ...(queues ? ['multi_queue'] : []));
        this.inSwitch('link', 'set', tap, 'master', 'br0', 'up');
      }
    } catch (error) {
      this.remove();
      throw error;
    }
  }

  /** The namespace of `place`: a host of the plan, or SWITCH. */
  namespace(place: string): string {
    if (!this.places.includes(place)) throw new Error(`no '${place}' among ${this.places.join(', ')}`);
    return this.prefix + place;
  }

  /** Runs a command to its end. It does not throw for an exit code; it does when `limitMs` pass. */
  exec(place: string, words: string[], limitMs = EXEC_LIMIT_MS): Promise<Result> {
    const child = spawn('ip', ['netns', 'exec', this.namespace(place), ...words], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const result: Result = { code: null, stdout: '', stderr: '' };
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      result.stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      result.stderr += text;
    });
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        child.kill('SIGKILL');
        reject(
          new Error(`${words.join(' ')} at ${place} took more than ${limitMs} ms\n${result.stdout}${result.stderr}`),
        );
      }, limitMs);
      child.on('error', reject);
      child.on('close', (code) => {
        clearTimeout(timer);
        resolve({ ...result, code });
      });
    });
  }

  /** Starts a command that stays; `close` ends it. */
  start(place: string, words: string[]): Running {
    const program = new Running('ip', ['netns', 'exec', this.namespace(place), ...words], `${words[0]} at ${place}`);
    this.programs.add(program);
    return program;
  }

  /** Starts the lab's HTTP server at `place`, which answers `name` and /bytes/N, and waits until it listens. */
  async startRealServer(place: string, name: string, port = 80): Promise<Running> {
    const server = this.start(place, [process.execPath, 'scripts/lab/real-server.mjs', name, '0.0.0.0', String(port)]);
    await server.waitFor(/listens on/);
    return server;
  }

  /** Another cable to `place`: the interface `device` there, without an address, a port of the switch here. */
  addCable(place: string, device: string, queues = 1): void {
    const port = `${place}-${device}`;
    this.addVeth(port, place, device, queues);
    ip('-n', this.namespace(place), 'link', 'set', device, 'up');
    this.inSwitch('link', 'set', port, 'master', 'br0', 'up');
  }

  /** Starts tsvs at `place`, on `link`, with a control socket of its own, and waits until it serves. */
  async startTsvs(config: string, link = 'tap:tap0', args: string[] = [], place = SWITCH): Promise<Running> {
    const control = args.includes('--control') ? [] : ['--control', this.socketPath(link)];
    const words = ['dist/bin.js', 'run', '--config', config, '--link', link, '--log', 'json', ...control, ...args];
    const tsvs = this.start(place, [process.execPath, ...words]);
    await tsvs.waitFor(/"msg":"ready"/);
    return tsvs;
  }

  /** Where a tsvs that `startTsvs` started on `link` answers. */
  socketPath(link = 'tap:tap0'): string {
    return join(tmpdir(), `${this.prefix}${link.replace(/\W/g, '-')}.sock`);
  }

  /** Waits until `place` can open a TCP connection; it opens at least one to find out. */
  async waitForPort(place: string, address: string, port: number, limitMs = 10_000): Promise<void> {
    const probe = ['timeout', '1', 'bash', '-c', `: </dev/tcp/${address}/${port}`];
    await poll(`${address}:${port}`, limitMs, async () => (await this.exec(place, probe)).code === 0);
  }

  /** Ends the programs, in order and then by force, and removes the namespaces. */
  async close(): Promise<void> {
    await Promise.all([...this.programs].map((program) => program.stop()));
    this.remove();
  }

  /** Removes everything at once, without waiting for anybody. */
  remove(): void {
    open.delete(this);
    for (const place of this.places) {
      const namespace = this.prefix + place;
      // Nobody but this network's own programs can be in here, daemons that left their parent included.
      const pids = spawnSync('ip', ['netns', 'pids', namespace], { encoding: 'utf8' }).stdout ?? '';
      for (const pid of pids.split('\n').filter(Boolean)) kill(Number(pid));
      spawnSync('ip', ['netns', 'del', namespace]);
    }
  }

  private addPlace(place: string): void {
    const namespace = this.namespace(place);
    ip('netns', 'add', namespace);
    ip('-n', namespace, 'link', 'set', 'lo', 'up');
    const quiet = 'cd /proc/sys/net/ipv6/conf || exit 0; echo 1 >all/disable_ipv6; echo 1 >default/disable_ipv6';
    ip('netns', 'exec', namespace, 'sh', '-c', quiet);
  }

  /** `port` here, `device` at `place`. */
  private addVeth(port: string, place: string, device: string, queues: number): void {
    const many = ['numrxqueues', `${queues}`, 'numtxqueues', `${queues}`];
    const there = [device, ...many, 'netns', this.namespace(place)];
    this.inSwitch('link', 'add', port, ...many, 'type', 'veth', 'peer', 'name', ...there);
  }

  private plug(name: string, { address, mac, queues = 1 }: HostPlan): void {
    const namespace = this.namespace(name);
    this.addVeth(name, name, 'eth0', queues);
    if (mac !== undefined) ip('-n', namespace, 'link', 'set', 'eth0', 'address', mac);
    if (address !== undefined) ip('-n', namespace, 'addr', 'add', address, 'dev', 'eth0');
    ip('-n', namespace, 'link', 'set', 'eth0', 'up');
    this.inSwitch('link', 'set', name, 'master', 'br0', 'up');
  }

  private inSwitch(...args: string[]): void {
    ip('-n', this.namespace(SWITCH), ...args);
  }
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended meanwhile.
  }
}
