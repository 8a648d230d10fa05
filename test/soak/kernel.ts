/**
 * The kernel's side of a soak: a network namespace, and in it the peer process that uses the kernel's sockets.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { Net, SWITCH } from '../lib/netns.ts';
import type { TcpOptions } from './conditions.ts';
import type { Order, Report } from './messages.ts';
import type { Plans } from './plan.ts';
import { type KernelSocket, readSockets } from './ss.ts';

const START_LIMIT_MS = 20_000;

/** Counters of TCP and IP in the namespace, by their names in /proc/net/snmp and /proc/net/netstat. */
export type KernelCounters = Readonly<Record<string, number>>;

export class Kernel {
  /** What the peer says about connections. Set by whoever runs a round. */
  onEnd: (report: Extract<Report, { type: 'end' }>) => void = () => {};
  private readonly net = new Net({ hosts: {} });
  private readonly peer: ChildProcess;
  private listening: () => void = () => {};
  private complaint = '';
  private gone = false;

  constructor() {
    const words = [process.execPath, '--import', 'tsx', 'test/soak/peer.ts'];
    this.peer = spawn('ip', ['netns', 'exec', this.namespace, ...words], { stdio: ['ignore', 'pipe', 'pipe', 'ipc'] });
    for (const stream of [this.peer.stdout, this.peer.stderr]) {
      stream?.setEncoding('utf8').on('data', (text: string) => {
        this.complaint += text;
      });
    }
    this.peer.on('close', () => {
      this.gone = true;
    });
    this.peer.on('message', (report: Report) => {
      if (report.type === 'listening') this.listening();
      else this.onEnd(report);
    });
  }

  get namespace(): string {
    return this.net.namespace(SWITCH);
  }

  /** Throws when the peer has ended. */
  check(): void {
    if (this.gone) throw new Error(`the peer process has ended: ${this.complaint}`);
  }

  private tell(order: Order): void {
    this.check();
    this.peer.send(order);
  }

  /** Listens on `address`, which must be an address of the namespace, with whatever sysctls hold now. */
  async listen(address: string, port: number, plans: Plans): Promise<void> {
    const listening = new Promise<void>((resolve) => {
      this.listening = resolve;
    });
    this.tell({ type: 'listen', address, port, plans });
    const limit = new Promise<never>((_, reject) => {
      const late = (): void => reject(new Error(`the peer process does not listen: ${this.complaint}`));
      setTimeout(late, START_LIMIT_MS).unref();
    });
    await Promise.race([listening, limit]);
  }

  open(n: number, address: string, port: number): void {
    this.tell({ type: 'open', n, address, port });
  }

  /** Gives an interface of the namespace its address, and a neighbour that never has to be asked for. */
  async plug(device: string, mtu: number, address: string, neighbour: string, mac: string): Promise<void> {
    await this.shell(
      `ip link set ${device} mtu ${mtu} up && ip addr add ${address}/24 dev ${device} &&` +
        ` ip neigh replace ${neighbour} lladdr ${mac} dev ${device} nud permanent`,
    );
  }

  /** Sets what new sockets will do. */
  async configure(options: TcpOptions, ecn: boolean, bufferBytes: number): Promise<void> {
    const flag = (on: boolean): string => (on ? '1' : '0');
    const values = {
      tcp_timestamps: flag(options.timestamps),
      tcp_sack: flag(options.sack),
      tcp_window_scaling: flag(options.scaling),
      tcp_ecn: flag(ecn),
      tcp_rmem: `4096 ${Math.min(bufferBytes, 131_072)} ${bufferBytes}`,
      tcp_wmem: `4096 ${Math.min(bufferBytes, 16_384)} ${bufferBytes}`,
    };
    const write = Object.entries(values).map(([name, value]) => `echo ${value} >/proc/sys/net/ipv4/${name}`);
    await this.shell(write.join(' && '));
  }

  /** The connections there are, those in TIME-WAIT apart. */
  async sockets(): Promise<KernelSocket[]> {
    return readSockets(await this.shell('ss -tinOH state connected exclude time-wait'));
  }

  async counters(): Promise<KernelCounters> {
    const lines = (await this.shell('cat /proc/net/snmp /proc/net/netstat')).trim().split('\n');
    const counters: Record<string, number> = {};
    for (let i = 0; i + 1 < lines.length; i += 2) {
      const names = lines[i]!.split(' ');
      const values = lines[i + 1]!.split(' ');
      names.forEach((name, j) => {
        if (j > 0) counters[name] = Number(values[j]);
      });
    }
    return counters;
  }

  private async shell(script: string): Promise<string> {
    const { code, stdout, stderr } = await this.net.exec(SWITCH, ['sh', '-c', script]);
    if (code !== 0) throw new Error(`${script}: ${stderr}`);
    return stdout;
  }

  async close(): Promise<void> {
    this.peer.disconnect?.();
    await this.net.close();
  }
}
