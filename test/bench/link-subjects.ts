/** What carries packets between the two ports of links.ts, and what it has counted of them. */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DropsReply, PATHS, type StatsReply } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask } from '../../src/control/client.ts';
import { type Net, SWITCH } from '../lib/netns.ts';
import { LineProgram } from './line-program.ts';

export const SUBJECTS = ['tsvs', 'bare loop'] as const;
export type SubjectName = (typeof SUBJECTS)[number];

export const MODES = ['generic', 'native'] as const;
export type XdpMode = (typeof MODES)[number];

/** Counted since it started; the order is the way of a packet. */
export interface Passed {
  /** AF_XDP: no room in the receive ring, or no slot. */
  readonly missed: number;
  readonly received: number;
  /** For a reason of its own. */
  readonly dropped: number;
  readonly forwarded: number;
  /** Of those: made here, as by tsvs, which announces its addresses. */
  readonly own: number;
}

export interface Subject {
  readonly pid: number;
  readonly passed: () => Promise<Passed>;
  /** Takes the processor from it, which it would never leave by itself, and gives it back. */
  readonly rest: () => void;
  readonly wake: () => void;
  readonly end: () => Promise<void>;
}

/** Where the packets come from and go to: the interfaces have the names of the hosts that they lead to. */
export const HOSTS = { generator: 'generator', sink: 'sink' } as const;
/** What the packets are sent to, and who is to get them. */
export const VIP = '10.0.0.10';
export const PORT = 80;
export const SERVER_MAC = '02:00:00:00:01:02';

const ON_FIRST = ['taskset', '-c', '0'] as const;

const config = (mode: XdpMode): string => `
[global]
polling = busy

[link ${HOSTS.generator}]
kind = xdp
xdp_mode = ${mode}

[link ${HOSTS.sink}]
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
server1 = 10.1.0.11:${PORT}:1:${SERVER_MAC}
`;

async function tsvs(net: Net, folder: string, mode: XdpMode): Promise<Subject> {
  const file = join(folder, 'lb.conf');
  const socket = join(folder, 'tsvs.sock');
  writeFileSync(file, config(mode));
  const words = ['dist/bin.js', 'run', '--config', file, '--log', 'json', '--control', socket];
  const running = net.start(SWITCH, [...ON_FIRST, process.execPath, ...words]);
  await running.waitFor(/"msg":"ready"/);
  return {
    pid: running.child.pid!,
    passed: async () => {
      const { links } = await ask<LinksReply>(socket, PATHS.links);
      const drops = await ask<DropsReply>(socket, PATHS.drops);
      const { frames } = await ask<StatsReply>(socket, PATHS.stats);
      return {
        missed: links[0]!.missed,
        received: links[0]!.rxFrames,
        dropped: drops.total,
        forwarded: links[1]!.txFrames,
        // By the first link nothing leaves but what tsvs has made.
        own: frames.created - links[0]!.txFrames,
      };
    },
    rest: () => running.child.kill('SIGSTOP'),
    wake: () => running.child.kill('SIGCONT'),
    end: async () => {
      await running.stop();
    },
  };
}

async function bareLoop(net: Net, _folder: string, mode: XdpMode): Promise<Subject> {
  const words = [mode, HOSTS.generator, HOSTS.sink, VIP, SERVER_MAC];
  const program = await LineProgram.start(net.namespace(SWITCH), ON_FIRST, 'bare-forward', words);
  return {
    pid: program.child.pid!,
    passed: async () => JSON.parse(await program.ask('')) as Passed,
    rest: () => program.child.kill('SIGSTOP'),
    wake: () => program.child.kill('SIGCONT'),
    end: () => program.end(),
  };
}

/** Starts one on the first processor, between the interfaces of HOSTS in the network's SWITCH; `folder` is for its files. */
export const START: Readonly<Record<SubjectName, (net: Net, folder: string, mode: XdpMode) => Promise<Subject>>> = {
  tsvs,
  'bare loop': bareLoop,
};
