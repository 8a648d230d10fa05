/**
 * The peers: what stands at the VIP while a run is measured. All do the same: HTTP to the two servers, iperf3's port to a
 * server chosen by the client's address, because one test of iperf3 is several connections; those of layer 4 also carry
 * datagrams.
 */
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Running, SWITCH } from '../lib/netns.ts';
import { noCommands } from '../lib/privilege.ts';
import { HTTP, IPERF, type LabNetwork, SERVERS, TAP, UDP, VIP } from './lab-network.ts';
import { tsvsPeer } from './lab-tsvs.ts';
import { type PeerName, type TsvsName, WORKLOAD_NAMES, type WorkloadName } from './options.ts';

export interface Peer {
  readonly name: PeerName;
  /** The address that the client asks. */
  readonly target: string;
  /** What it can do; with `ping` alone it is asked for nothing else. */
  readonly workloads: readonly WorkloadName[];
  /** Why it cannot take part, or nothing. */
  readonly missing: () => string | undefined;
  /** Starts it anew; null when it has no process. */
  readonly start: (lab: LabNetwork) => Promise<Running | null>;
  /** Ends it, and says what was wrong with the ending, if anything. */
  readonly stop: (lab: LabNetwork, running: Running | null) => Promise<string | undefined>;
}

const direct: Peer = {
  name: 'direct',
  target: SERVERS[0],
  workloads: WORKLOAD_NAMES,
  missing: () => undefined,
  start: async () => null,
  stop: async () => undefined,
};

/** A peer that is an ordinary program on the balancer's kernel. */
function kernelPeer(name: PeerName, missing: Peer['missing'], begin: (lab: LabNetwork) => Running): Peer {
  return {
    name,
    target: VIP,
    workloads: ['conn', 'req', 'bulk', 'bulk-up'],
    missing,
    start: async (lab) => {
      await lab.setVip(true);
      return begin(lab);
    },
    stop: async (lab, running) => {
      await running?.stop();
      await lab.setVip(false);
      return undefined;
    },
  };
}

const haproxy = kernelPeer(
  'haproxy',
  () => noCommands('haproxy'),
  (lab) => {
    const file = join(lab.folder, 'haproxy.cfg');
    const servers = (port: number): string => SERVERS.map((at, i) => `  server rs${i + 1} ${at}:${port}\n`).join('');
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 4096
defaults
  mode tcp
  timeout connect 5s
  timeout client 1m
  timeout server 1m
listen web
  bind ${VIP}:${HTTP} backlog 4096
  balance roundrobin
${servers(HTTP)}listen bulk
  bind ${VIP}:${IPERF}
  balance source
${servers(IPERF)}`,
    );
    return lab.net.start('balancer', ['haproxy', '-db', '-f', file]);
  },
);

const nodeNet = kernelPeer(
  'node-net',
  () => undefined,
  (lab) => {
    const words = ['test/bench/peers/node-net.mjs', VIP, SERVERS.join(','), String(HTTP), `${IPERF}:source`];
    return lab.net.start('balancer', [process.execPath, ...words]);
  },
);

/**
 * FullNAT in the kernel: the destination by a hash, the source masqueraded. What LVS does with one module, where the kernel
 * has none. Chooses by the client's address and port, as one does who wants to spread connections without a table.
 */
const nft: Peer = {
  name: 'nft',
  target: VIP,
  workloads: ['conn', 'req', 'bulk', 'bulk-up', 'udp'],
  missing: () => noCommands('nft'),
  start: async (lab) => {
    await lab.setVip(true);
    const servers = `{ ${SERVERS.map((address, i) => `${i} : ${address}`).join(', ')} }`;
    const count = SERVERS.length;
    const file = join(lab.folder, 'balancer.nft');
    writeFileSync(
      file,
      `table ip lb {
  chain pre {
    type nat hook prerouting priority dstnat
    ip daddr ${VIP} tcp dport ${HTTP} dnat to jhash ip saddr . tcp sport mod ${count} map ${servers}
    ip daddr ${VIP} tcp dport ${IPERF} dnat to jhash ip saddr mod ${count} map ${servers}
    ip daddr ${VIP} udp dport ${UDP} dnat to jhash ip saddr . udp sport mod ${count} map ${servers}
  }
  chain post {
    type nat hook postrouting priority srcnat
    ip daddr { ${SERVERS.join(', ')} } masquerade
  }
}
`,
    );
    await lab.at('balancer', ['nft', '-f', file]);
    // Closed connections would fill the table. A user namespace may not say how long they stay, and is not asked to.
    const brief = ['time_wait', 'close', 'last_ack', 'close_wait', 'fin_wait'].map(
      (state) => `echo 3 >/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_${state}`,
    );
    await lab.at('balancer', ['sh', '-c', `(${brief.join('; ')}) 2>/dev/null; true`]);
    await lab.at('balancer', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
    return null;
  },
  stop: async (lab) => {
    await lab.at('balancer', ['sh', '-c', 'echo 0 >/proc/sys/net/ipv4/ip_forward; nft delete table ip lb']);
    await lab.setVip(false);
    return undefined;
  },
};

/**
 * Direct routing by an XDP program: xdp4slb (github.com/MageekChiu/xdp4slb), where the environment variable XDP4SLB names its binary. It
 * wants a rather new kernel and real privileges, and the kernel's forwarding: its program asks the tables there for the way.
 */
const xdp4slb: Peer = {
  name: 'xdp4slb',
  target: VIP,
  workloads: ['conn', 'req'],
  missing: () => (existsSync(process.env['XDP4SLB'] ?? '') ? undefined : 'XDP4SLB does not name its binary'),
  start: async (lab) => {
    await lab.setServersVip(true);
    // The kernel answers who asks for the VIP's MAC address; what then comes for it the program takes before.
    await lab.setVip(true);
    await lab.at('balancer', ['sh', '-c', 'echo 1 >/proc/sys/net/ipv4/ip_forward']);
    const file = join(lab.folder, 'slb.conf');
    writeFileSync(
      file,
      [`vip,${VIP}`, ...SERVERS.map((at) => `backend,${at}`)].map((at) => `${at},${HTTP}\n`).join(''),
    );
    // Servers in turn; connections are forgotten when there is no room, not by the sockets of this machine.
    const running = lab.net.start('balancer', [
      process.env['XDP4SLB']!,
      '-i',
      'eth0',
      '-c',
      file,
      '-a',
      '2',
      '-k',
      '1',
    ]);
    await running.waitFor(/total_bits/);
    return running;
  },
  stop: async (lab, running) => {
    await running?.stop();
    await lab.at('balancer', ['sh', '-c', 'ip link set eth0 xdpgeneric off; echo 0 >/proc/sys/net/ipv4/ip_forward']);
    await lab.setVip(false);
    await lab.setServersVip(false);
    return undefined;
  },
};

/** What waking a process costs on this machine, or what is left when it never sleeps: the least that can answer a ping. */
const mirror = (name: PeerName, ...polling: string[]): Peer => ({
  name,
  target: VIP,
  workloads: ['ping'],
  missing: () => undefined,
  start: async (lab) => {
    const program = fileURLToPath(new URL('./mirror.mjs', import.meta.url));
    const running = lab.net.start(SWITCH, [process.execPath, program, TAP, ...polling]);
    await running.waitFor(/ready/);
    return running;
  },
  stop: async (_lab, running) => {
    await running?.stop();
    return undefined;
  },
});

const isTsvs = (name: PeerName): name is TsvsName => name.startsWith('tsvs');
const OTHERS: readonly Peer[] = [
  direct,
  nft,
  haproxy,
  nodeNet,
  xdp4slb,
  mirror('mirror'),
  mirror('mirror-busy', 'busy'),
];

export function peerNamed(name: PeerName): Peer {
  return isTsvs(name) ? tsvsPeer(name) : OTHERS.find((peer) => peer.name === name)!;
}
