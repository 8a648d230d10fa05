/**
 * Links through libpcap: the device contract over the two ends of a veth pair, segments in one piece, an interface that is set down,
 * deleted and created again, processes that die, what is counted as lost, and what is said when there is no link.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PacketDevice } from '../../src/links/packet.ts';
import { openPacket } from '../../src/links/packet-open.ts';
import { PcapDevice } from '../../src/links/pcap.ts';
import { openPcap } from '../../src/links/pcap-open.ts';
import { syscalls } from '../../src/links/syscall.ts';
import type { Context } from '../../stack/context.ts';
import { F_CSUM_PARTIAL, GSO_TCPV4 } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import { deviceContract, type Rig, receive, tcpFrame, testFrame } from '../contract/device.ts';
import { poll } from '../lib/netns.ts';
import { noCommands, noNamespaces, noPackage, testUnless } from '../lib/privilege.ts';
import {
  complaint,
  endsOf,
  later,
  type PlugIn,
  pairOf,
  passes,
  scene,
  staysWithCaller,
  type VethRig,
  vethRig,
} from '../lib/veth-rig.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'tc') ?? noPackage('cap'), test);

const PROGRAM = new URL('../../dist/pcap.js', import.meta.url);

/** Opens an end, as the main thread would, and drives it, as a worker would. */
function plugIn(ctx: Context, name: string): PcapDevice {
  return pairOf().inside(() => {
    const handle = openPcap({ name, account: null }, PROGRAM);
    // What goes to a worker has to survive the journey.
    return new PcapDevice(ctx, structuredClone(handle));
  });
}

/** The sender by a packet socket, which makes of frames what a kernel with offloads does. */
const packetSocket = (ctx: Context, name: string): PacketDevice =>
  new PacketDevice(
    ctx,
    pairOf().inside(() => openPacket({ name, offload: true, ring: true, mac: null })),
  );

type Pair<A extends Device> = VethRig<A, PcapDevice>;

const pair = <A extends Device>(first: PlugIn<A>): Pair<A> => vethRig(first, plugIn, 15);

deviceContract('pcap', add, { bounded: false }, () => pair(plugIn));

const PATIENCE_MS = 10_000;

/** Lets the time of both ends pass, and what arrives go, until something is so. */
const until = (rig: Rig, what: string, isSo: () => boolean): Promise<void> =>
  poll(what, PATIENCE_MS, () => {
    if (isSo()) return true;
    later(endsOf(rig));
    return false;
  });

const pcapScene = <A extends Device>(name: string, first: PlugIn<A>, body: (rig: Pair<A>) => Promise<void>): void =>
  add(
    `pcap: ${name}`,
    scene(() => pair(first), body),
  );

/** The process that has libpcap for an interface: the shell's child. */
function carrierOf(name: string): number {
  for (const pid of readdirSync('/proc').filter((entry) => /^\d+$/.test(entry))) {
    let words: string[] = [];
    try {
      words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0');
    } catch {
      // It has ended meanwhile.
    }
    if (words[1] === fileURLToPath(PROGRAM) && words[3] === name) return Number(pid);
  }
  throw new Error(`no process for ${name}`);
}

function sendMany(rig: Rig, total: number): void {
  for (let i = 0; i < total; i += 50) {
    const frames = Int32Array.from({ length: 50 }, () => testFrame(rig.ctxA, 60, 0));
    assert.is(rig.a.tx(frames, 0, 50), 50);
  }
}

pcapScene('segments of TCP in one piece are received as such, to be cut again', packetSocket, async (rig) => {
  rig.a.tx(Int32Array.of(tcpFrame(rig.ctxA, 60_000, 1400), tcpFrame(rig.ctxA, 100, 0)), 0, 2);
  const got = await receive(rig, 2);
  const { pool } = rig.ctxB;
  assert.equal(
    got.map((f) => [pool.len[f], pool.gsoType[f], pool.gsoSize[f], pool.flags[f]! & F_CSUM_PARTIAL]),
    [
      [60_054, GSO_TCPV4, 1460, F_CSUM_PARTIAL],
      [154, 0, 0, F_CSUM_PARTIAL],
    ],
  );
  for (const f of got) rig.ctxB.settle(f, DELIVERED);
});

pcapScene('an interface that is set down, or loses its carrier, comes back', plugIn, async (rig) => {
  pairOf().ip('link', 'set', 'va', 'down');
  await until(rig, 'both down', () => !rig.a.up && !rig.b.up);
  staysWithCaller(rig);
  pairOf().ip('link', 'set', 'va', 'up');
  await until(rig, 'both up', () => rig.a.up && rig.b.up);
  await passes(rig, 101);
});

pcapScene('an interface that is deleted and created again is taken up again', plugIn, async (rig) => {
  pairOf().ip('link', 'del', 'va');
  await until(rig, 'both down', () => !rig.a.up && !rig.b.up);
  pairOf().add();
  await until(rig, 'both up', () => rig.a.up && rig.b.up);
  await passes(rig, 102);
});

pcapScene('a process that dies is replaced; without its shell the link is down for good', packetSocket, async (rig) => {
  const first = carrierOf('vb');
  process.kill(first, 'SIGKILL');
  await until(rig, 'replaced', () => rig.b.stats.errors['restarted'] === 1);
  await until(rig, 'up', () => rig.b.up);
  await passes(rig, 103);
  const second = carrierOf('vb');
  assert.is.not(second, first);
  const shell = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${second}/status`, 'utf8'))?.[1]);
  process.kill(shell, 'SIGKILL');
  process.kill(second, 'SIGKILL');
  await until(rig, 'over', () => !rig.b.revives);
  assert.is(rig.b.up, false);
  assert.match(rig.b.notice, /process that has libpcap has ended/);
});

pcapScene('frames that came while the process or we were late are counted', packetSocket, async (rig) => {
  const total = 20_000;
  const carrier = carrierOf('vb');
  process.kill(carrier, 'SIGSTOP');
  sendMany(rig, total);
  process.kill(carrier, 'SIGCONT');
  const { stats } = rig.b;
  await until(rig, 'all accounted for', () => stats.rxFrames + stats.missed === total);
  const byKernel = stats.missed;
  assert.ok(byKernel > 0, `${byKernel} missed`);
  sendMany(rig, total);
  // Nobody reads now; the process drops what the socket does not hold.
  await pause(300);
  await until(rig, 'all accounted for again', () => stats.rxFrames + stats.missed === 2 * total);
  assert.ok(stats.missed > byKernel, `${stats.missed - byKernel} missed of the second lot`);
});

pcapScene('an interface that is full is waited for', plugIn, async (rig) => {
  const words = ['rate', '200mbit', 'burst', '20k', 'limit', '50m'];
  pairOf().tc('qdisc', 'add', 'dev', 'va', 'root', 'tbf', ...words);
  const { stats } = rig.b;
  const arrived = (): number => stats.rxFrames + stats.missed;
  const sent = rig.a.stats;
  while (sent.txFrames < 8000) {
    const before = arrived();
    const frames = Int32Array.from({ length: 50 }, () => testFrame(rig.ctxA, 1000, 0));
    const taken = rig.a.tx(frames, 0, 50);
    for (const f of frames.subarray(taken)) rig.ctxA.settle(f, DELIVERED);
    if (taken < 50) await until(rig, 'there is room', () => arrived() > before);
  }
  await until(rig, 'all accounted for', () => arrived() === sent.txFrames);
  assert.equal(sent.errors, {});
});

const text = (name: string, program = PROGRAM): string =>
  complaint(() => syscalls().close(openPcap({ name, account: null }, program).fd));

add('pcap: says why an interface cannot be opened', () => {
  assert.match(text('nowhere'), /^ENODEV: pcap nowhere: there is no interface nowhere/);
  assert.match(text('a/b'), /^EINVAL: pcap: 'a\/b' cannot be an interface name/);
  assert.is(text('lo'), 'opened');
});

add('pcap: without the package cap, what to install', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-pcap-'));
  try {
    cpSync(PROGRAM, join(folder, 'pcap.js'));
    writeFileSync(join(folder, 'package.json'), '{"type":"module"}');
    mkdirSync(join(folder, 'node_modules'));
    symlinkSync(new URL('../../node_modules/koffi', import.meta.url), join(folder, 'node_modules/koffi'));
    const program = pathToFileURL(join(folder, 'pcap.js'));
    assert.match(
      text('lo', program),
      /^NO_CAP: pcap lo: the optional package cap is not there \(Cannot find module 'cap'\): install .*libpcap-dev/,
    );
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();
