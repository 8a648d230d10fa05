/**
 * The network of the benchmark: client, balancer and two servers around a bridge in the switch, where tsvs' TAP is a port
 * too. One arm: what the balancer gets and gives crosses the bridge.
 *
 * The profiles say who cuts and sums: with `wire` every frame is complete and at most 1514 bytes long, as on a cable;
 * with `offload` the kernels hand each other super-packets without checksums, which flatters them beyond any NIC.
 */
import { statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Net, type Result, type Running, SWITCH } from '../lib/netns.ts';
import { noCommands } from '../lib/privilege.ts';
import type { ProfileName } from './options.ts';

export const VIP = '10.9.0.10';
export const SERVERS = ['10.9.0.11', '10.9.0.12'] as const;
export const HTTP = 80;
export const IPERF = 5201;
/** Datagrams to it are counted as they reach a server, and thrown away. */
export const UDP = 9000;
/** What an HTTP server answers on every path: rs-1 or rs-2. */
export const ANSWER = /^rs-[12]\n$/;

const HOSTS = {
  client: { address: '10.9.0.1/24' },
  balancer: { address: '10.9.0.2/24' },
  rs1: { address: `${SERVERS[0]}/24` },
  rs2: { address: `${SERVERS[1]}/24` },
};
const SERVER_HOSTS = ['rs1', 'rs2'];
export const TAP = 'tap0';

export type HttpServer = 'nginx' | 'node';

/** nginx where it is installed: the lab's own server costs more than most balancers. */
export function httpServer(): HttpServer {
  return noCommands('nginx') === undefined ? 'nginx' : 'node';
}

export class LabNetwork {
  readonly profile: ProfileName;
  /** For configuration files; the caller's to remove. */
  readonly folder: string;
  readonly net: Net;
  /** Inodes of the network namespaces. */
  readonly inodes: ReadonlySet<number>;
  /** The congestion control that every host uses. */
  congestion = '';

  private constructor(profile: ProfileName, folder: string) {
    this.profile = profile;
    this.folder = folder;
    this.net = new Net({ hosts: HOSTS, taps: [TAP] });
    const places = [SWITCH, ...Object.keys(HOSTS)];
    this.inodes = new Set(places.map((place) => statSync(`/run/netns/${this.net.namespace(place)}`).ino));
  }

  static async build(profile: ProfileName, folder: string): Promise<LabNetwork> {
    const lab = new LabNetwork(profile, folder);
    try {
      for (const host of Object.keys(HOSTS)) await lab.tune(host);
      await Promise.all(SERVER_HOSTS.map((place) => lab.serve(place)));
      return lab;
    } catch (error) {
      await lab.close();
      throw error;
    }
  }

  /** Runs a command at `place` to its end; throws when it fails. */
  async at(place: string, words: string[], limitMs?: number): Promise<string> {
    return done(words, await this.net.exec(place, words, limitMs)).stdout;
  }

  client(words: string[], limitMs?: number): Promise<string> {
    return this.at('client', words, limitMs);
  }

  /** What `address` answers to one request, or why it does not. */
  async fetch(address: string): Promise<string> {
    const { stdout, stderr } = await this.net.exec('client', ['curl', '-sS', '-m', '2', `http://${address}:${HTTP}/`]);
    return stdout === '' ? stderr : stdout;
  }

  /** Puts the VIP on the balancer's kernel or takes it away: tsvs answers for it itself. */
  async setVip(present: boolean): Promise<void> {
    await this.at('balancer', ['ip', 'addr', present ? 'add' : 'del', `${VIP}/32`, 'dev', 'eth0']);
  }

  /** Gives the servers the VIP as well, about which they keep silent, or takes it away. */
  async setServersVip(present: boolean): Promise<void> {
    const [verb, ignore, announce] = present ? ['add', 1, 2] : ['del', 0, 0];
    const all = '/proc/sys/net/ipv4/conf/all';
    const script = `echo ${ignore} >${all}/arp_ignore; echo ${announce} >${all}/arp_announce; ip addr ${verb} ${VIP}/32 dev lo`;
    await Promise.all(SERVER_HOSTS.map((host) => this.at(host, ['sh', '-c', script])));
  }

  /** How many datagrams to UDP have reached the servers so far. */
  async datagrams(): Promise<number> {
    const counters = await Promise.all(SERVER_HOSTS.map((host) => this.at(host, ['nft', 'list', 'counters'])));
    return counters.reduce((sum, text) => sum + Number(/packets (\d+)/.exec(text)![1]), 0);
  }

  /**
   * Makes every host forget the peer before: whose VIP was where, and connections in TIME_WAIT, whose timestamps would
   * make a server refuse those of the next peer from the same address (PAWS).
   */
  async forget(): Promise<void> {
    const script = 'ip neigh flush all; ss -K -t state time-wait >/dev/null 2>&1';
    await Promise.all(Object.keys(HOSTS).map((host) => this.net.exec(host, ['sh', '-c', script])));
  }

  async close(): Promise<void> {
    await this.net.close();
  }

  private async tune(host: string): Promise<void> {
    const settings = [
      'cd /proc/sys/net/ipv4',
      'for name in reno cubic; do echo $name >tcp_congestion_control; done',
      'echo 1024 65535 >ip_local_port_range',
      // With one arm a router would tell everybody of a shorter way.
      'echo 0 >conf/all/send_redirects; echo 0 >conf/eth0/send_redirects',
      'cat tcp_congestion_control',
    ];
    // Without pacing, whatever the machine's default. A namespace may be refused cubic, and is never refused reno.
    this.congestion = (await this.net.exec(host, ['sh', '-c', settings.join('; ')])).stdout.trim();
    if (this.profile === 'offload') return;
    const off = ['rx', 'tx', 'sg', 'tso', 'gso', 'gro'].flatMap((feature) => [feature, 'off']);
    for (const [place, device] of [
      [host, 'eth0'],
      [SWITCH, host],
    ] as const) {
      await this.at(place, ['ethtool', '-K', device, ...off]);
    }
  }

  private async serve(place: string): Promise<void> {
    const iperf = this.net.start(place, ['iperf3', '-s', '-p', String(IPERF), '--forceflush']);
    if (noCommands('nft') === undefined) await this.countDatagrams(place);
    const name = place.replace('rs', 'rs-');
    if (httpServer() === 'nginx') this.startNginx(place, name);
    else await this.net.startRealServer(place, name, HTTP);
    await iperf.waitFor(/listening/);
    await this.net.waitForPort(place, '127.0.0.1', HTTP);
  }

  /** Before they reach a socket, so that a server is never what limits. */
  private async countDatagrams(place: string): Promise<void> {
    const file = join(this.folder, 'server.nft');
    writeFileSync(
      file,
      `table ip sink {
  counter datagrams { }
  chain pre {
    type filter hook prerouting priority raw
    udp dport ${UDP} counter name datagrams drop
  }
}
`,
    );
    await this.at(place, ['nft', '-f', file]);
  }

  private startNginx(place: string, name: string): Running {
    const file = join(this.folder, `${place}-nginx.conf`);
    writeFileSync(
      file,
      `daemon off; user root; worker_processes 1; pid ${file}.pid; error_log stderr;
events { worker_connections 8192; }
http {
  access_log off;
  keepalive_requests 1000000000;
  client_body_temp_path ${file}.body; proxy_temp_path ${file}.proxy; fastcgi_temp_path ${file}.fastcgi;
  uwsgi_temp_path ${file}.uwsgi; scgi_temp_path ${file}.scgi;
  server {
    listen ${HTTP} backlog=4096;
    default_type text/plain;
    location / { return 200 "${name}\\n"; }
  }
}
`,
    );
    return this.net.start(place, ['nginx', '-e', 'stderr', '-p', this.folder, '-c', file]);
  }
}

function done(words: string[], result: Result): Result {
  if (result.code !== 0)
    throw new Error(`${words.join(' ')}: exit code ${result.code}\n${result.stdout}${result.stderr}`);
  return result;
}
