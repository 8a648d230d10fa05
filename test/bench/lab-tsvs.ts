/**
 * tsvs as a peer of the lab: as a proxy, as a director of layer 4 with FullNAT or direct routing, by each link. With
 * direct routing the servers have the VIP as well, and answer the client themselves.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { SWITCH } from '../lib/netns.ts';
import { HTTP, IPERF, SERVERS, TAP, UDP, VIP } from './lab-network.ts';
import type { Peer } from './lab-peers.ts';
import type { ProfileName, TsvsName } from './options.ts';

type Link = 'tap' | 'packet' | 'xdp';

/** Where no link is named. TAP and packet socket have their virtio-net header, and AF_XDP nothing. */
export const BEST_LINK: Readonly<Record<ProfileName, Link>> = { wire: 'xdp', offload: 'tap' };

/** Ours alone, so that the balancer's kernel does not answer what comes to them. */
const LOCAL_ADDRESSES = [20, 21, 22, 23].map((n) => `10.9.0.${n}`).join(', ');

interface Kind {
  readonly mode: 'proxy' | 'fnat' | 'dr';
  /** Undefined: the best one. */
  readonly link: Link | undefined;
  readonly busy: boolean;
}

function kindOf(name: TsvsName): Kind {
  const words = name.split('-').slice(1);
  const has = (word: string): boolean => words.includes(word);
  return {
    mode: has('fullnat') ? 'fnat' : has('dr') ? 'dr' : 'proxy',
    link: (['tap', 'packet', 'xdp'] as const).find(has),
    busy: has('busy'),
  };
}

export function tsvsPeer(name: TsvsName): Peer {
  const { mode, link } = kindOf(name);
  return {
    name,
    target: VIP,
    // Busy or not, it answers pings itself; datagrams are for layer 4.
    workloads: ['conn', 'req', 'bulk', 'bulk-up', 'ping', ...(mode === 'proxy' ? [] : (['udp'] as const))],
    missing: () => undefined,
    start: async (lab) => {
      if (mode === 'dr') await lab.setServersVip(true);
      const kind = link ?? BEST_LINK[lab.profile];
      const file = join(lab.folder, 'lb.conf');
      writeFileSync(file, tsvsConfig(name, lab.profile));
      const [device, place] = kind === 'tap' ? [TAP, SWITCH] : ['eth0', 'balancer'];
      return lab.net.startTsvs(file, `${kind}:${device}`, ['--control', join(lab.folder, 'tsvs.sock')], place);
    },
    stop: async (lab, running) => {
      const code = await running?.stop();
      if (mode === 'dr') await lab.setServersVip(false);
      // Null here: it did not start, which has been said.
      if (running === null || code === 0) return undefined;
      return `tsvs ended with ${code}: ${running.output.slice(-2000)}`;
    },
  };
}

/** The text of its configuration. */
export function tsvsConfig(name: TsvsName, profile: ProfileName): string {
  const { mode, busy, link = BEST_LINK[profile] } = kindOf(name);
  const service = (name: string, port: number, ...settings: string[]): string[] => [
    `[service ${name}]`,
    `ip = ${VIP}`,
    `ports = ${port}`,
    `mode = ${mode}`,
    ...(mode === 'fnat' ? [`local_address = ${LOCAL_ADDRESSES}`] : []),
    ...settings,
    `count = ${SERVERS.length}`,
    ...SERVERS.map((address, i) => `server${i + 1} = ${address}:${port}:1:00:00:00:00:00:00`),
  ];
  const lines = [
    '[global]',
    'drain_timeout = 1s',
    `polling = ${busy ? 'busy' : 'adaptive'}`,
    '[link lan]',
    `kind = ${link}`,
    `device = ${link === 'tap' ? TAP : 'eth0'}`,
    // As the kernel's own TCP we may leave cutting and summing to the kernel: what then crosses the interfaces is as the profile says.
    `offload = ${link === 'xdp' ? 'off' : 'on'}`,
    '[network]',
    'netmask = 255.255.255.0',
    // The servers have the VIP as well, so it cannot be what asks for their MAC addresses.
    ...(mode === 'dr' ? [`local_address = ${LOCAL_ADDRESSES}`] : []),
    ...service('web', HTTP, 'scheduler = rr'),
    ...service('bulk', IPERF, 'scheduler = conhash', 'hash_key = source'),
    ...(mode === 'proxy' ? [] : service('datagrams', UDP, 'proto = udp', 'scheduler = rr')),
  ];
  return `${lines.join('\n')}\n`;
}
