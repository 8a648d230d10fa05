/**
 * The peers: what stands at the VIP while a run is measured. All do the same: HTTP to the two servers in turn, iperf3's
 * port to a server chosen by the client's address, because one test of iperf3 is several connections.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Running, SWITCH } from '../lib/netns.ts';
import { noCommands } from '../lib/privilege.ts';
import { HTTP, IPERF, type LabNetwork, SERVERS, TAP, VIP } from './lab-network.ts';
import type { PeerName } from './options.ts';

export interface Peer {
  readonly name: PeerName;
  /** The address that the client asks. */
  readonly target: string;
  /** Why it cannot take part, or nothing. */
  readonly missing: () => string | undefined;
  /** Starts a fresh process; null when there is none. */
  readonly start: (lab: LabNetwork) => Promise<Running | null>;
  /** Ends it, and says what was wrong with the ending, if anything. */
  readonly stop: (lab: LabNetwork, running: Running | null) => Promise<string | undefined>;
}

const direct: Peer = {
  name: 'direct',
  target: SERVERS[0],
  missing: () => undefined,
  start: async () => null,
  stop: async () => undefined,
};

const tsvsOn = (name: PeerName, link: string, place: string): Peer => ({
  name,
  target: VIP,
  missing: () => undefined,
  start: (lab) => {
    const file = join(lab.folder, `lb-${lab.profile}.conf`);
    writeFileSync(file, tsvsConfig(lab));
    return lab.net.startTsvs(file, link, ['--control', join(lab.folder, 'tsvs.sock')], place);
  },
  stop: async (_lab, running) => {
    if (running === null) return undefined; // It did not start, which has been said.
    const code = await running.stop();
    return code === 0 ? undefined : `tsvs ended with ${code}: ${running.output.slice(-2000)}`;
  },
});

function tsvsConfig({ profile }: LabNetwork): string {
  const service = (name: string, port: number, ...scheduler: string[]): string[] => [
    `[service ${name}]`,
    `ip = ${VIP}`,
    `ports = ${port}`,
    ...scheduler,
    `count = ${SERVERS.length}`,
    ...SERVERS.map((address, i) => `server${i + 1} = ${address}:${port}:1:00:00:00:00:00:00`),
  ];
  const lines = [
    '[global]',
    'drain_timeout = 1s',
    '[link lan]',
    'kind = tap',
    `device = ${TAP}`,
    `offload = ${profile === 'offload' ? 'on' : 'off'}`,
    '[network]',
    'netmask = 255.255.255.0',
    ...service('web', HTTP, 'scheduler = rr'),
    ...service('bulk', IPERF, 'scheduler = conhash', 'hash_key = source'),
  ];
  return `${lines.join('\n')}\n`;
}

/** A peer that is an ordinary program on the balancer's kernel. */
function kernelPeer(name: PeerName, missing: Peer['missing'], begin: (lab: LabNetwork) => Running): Peer {
  return {
    name,
    target: VIP,
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

export const PEERS: Readonly<Record<PeerName, Peer>> = {
  direct,
  tsvs: tsvsOn('tsvs', `tap:${TAP}`, SWITCH),
  haproxy,
  'node-net': nodeNet,
  'tsvs-packet': tsvsOn('tsvs-packet', 'packet:eth0', 'balancer'),
  'tsvs-xdp': tsvsOn('tsvs-xdp', 'xdp:eth0', 'balancer'),
};
