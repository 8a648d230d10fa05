/**
 * Heap bytes that a link costs per packet, both received and sent: packets go to and fro between two of its kind. Program, run as a
 * worker thread as a data plane is, so that memory of the system's is where it is there; link-heap-rows.ts starts it. Its data is
 * HeapTask, its only message Heap.
 *
 * Time is that of a million packets per second, so what a link does ten times a second is in the figure with its share.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parentPort, workerData } from 'node:worker_threads';
import { MemifClient } from '../../src/links/memif-client.ts';
import { openMemif, sharePool } from '../../src/links/memif-open.ts';
import { MemifServer } from '../../src/links/memif-server.ts';
import { PacketDevice } from '../../src/links/packet.ts';
import { openPacket } from '../../src/links/packet-open.ts';
import { type Syscalls, syscalls } from '../../src/links/syscall.ts';
import { TapDevice } from '../../src/links/tap.ts';
import { openTap } from '../../src/links/tap-open.ts';
import { XdpDevice } from '../../src/links/xdp.ts';
import { openXdp, PATIENT } from '../../src/links/xdp-open.ts';
import { umemOf } from '../../src/links/xdp-socket.ts';
import { Context, FATE_RECEIVED } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { BURST, type Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { inNamespace } from '../lib/enter-netns.ts';
import { seeded } from '../lib/random.ts';
import { allocated } from './harness.ts';

/** Links of the program, and how they are opened. */
export const HEAP_LINKS = [
  'memory',
  'memif',
  'tap',
  'tap without offload',
  'packet',
  'packet without a ring',
  'xdp generic',
  'xdp native',
] as const;
export type HeapLink = (typeof HEAP_LINKS)[number];

export interface HeapTask {
  readonly link: HeapLink;
  /** Where the TAPs ta and tb are ports of a bridge, and va and vb a veth pair; empty: the link needs none of it. */
  readonly namespace: string;
  /** Bytes of a packet, with the Ethernet header. */
  readonly length: number;
  /** Packets of the shorter run, and how many there are of it and of the longer one. */
  readonly packets: number;
  readonly runs: number;
}

export interface Heap {
  /** Per million packets. */
  readonly bytes: number;
  /** System calls per packet. */
  readonly calls: number;
  /** Packets that did not arrive and were replaced. */
  readonly lost: number;
}

const POOL = { slots: 16384, slotBytes: 2048, bigSlots: 64, bigSlotBytes: 69632 };
const MAC_A = [2, 0, 0, 0, 0, 0xa];
const MAC_B = [2, 0, 0, 0, 0, 0xb];
/** A type that nobody minds: IEEE 802 Local Experimental Ethertype 1. */
const HEADER = [...MAC_B, ...MAC_A, 0x88, 0xb5];
const MAC_BYTES = 6;
/** Functions of Syscalls that stay in this process. */
const NOT_SYSTEM: readonly string[] = ['memcpy', 'view', 'errno', 'addressOf'] satisfies (keyof Syscalls)[];
/** Bytes that a link has carried already: numbers above 2^31 are kept in another way, and code that meets its first one is compiled anew. */
const CARRIED = 2 ** 33;
/** Packets before anything is counted, in rounds between which V8 puts in place what it has compiled. */
const WARM = 300_000;
const ROUNDS = 10;
/** Looks for packets that the system is still carrying. */
const LOOKS = 1000;
/** Rounds in which nothing arrives, as on a busy machine, before that is called a failure. */
const PATIENCE = 1000;

const { link, namespace, length, packets, runs } = workerData as HeapTask;
const newContext = (seed: number): Context => new Context(FramePool.create(POOL), seeded(seed));
const ctxA = newContext(1);
const ctxB = newContext(2);

const within = <T>(body: () => T): T => inNamespace(namespace, body);

function tap(offload: boolean): [Device, Device] {
  return within(() => [
    TapDevice.fromFd(ctxA, openTap({ name: 'ta', offload })),
    TapDevice.fromFd(ctxB, openTap({ name: 'tb', offload })),
  ]);
}

function packet(ring: boolean): [Device, Device] {
  return within(() => [
    new PacketDevice(ctxA, openPacket({ name: 'va', offload: true, ring, mac: MAC_A })),
    new PacketDevice(ctxB, openPacket({ name: 'vb', offload: true, ring, mac: MAC_B })),
  ]);
}

function xdp(mode: 'generic' | 'native'): [Device, Device] {
  const open = (ctx: Context, name: string, mac: readonly number[]): Device => {
    const memory = { umem: umemOf(syscalls(), ctx.pool), share: -1 };
    return new XdpDevice(ctx, openXdp({ name, mode, mac }, [memory], PATIENT)[0]!);
  };
  return within(() => [open(ctxA, 'va', MAC_A), open(ctxB, 'vb', MAC_B)]);
}

function memif(): [Device, Device] {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-heap-'));
  const options = { path: join(folder, 'sock'), id: 0, secret: '', queues: 1, log2: 10, mtu: 1500 };
  const server = new MemifServer(ctxB, openMemif({ ...options, role: 'server' }, [], 1)[0]!);
  const client = new MemifClient(ctxA, openMemif({ ...options, role: 'client' }, [sharePool(ctxA.pool)])[0]!);
  const none = new Int32Array(1);
  for (let i = 0; i < LOOKS && !(client.up && server.up); i++) {
    for (const ctx of [ctxA, ctxB]) ctx.tick(ctx.now + 100_000);
    for (const device of [server, client]) device.rx(none, 0);
  }
  rmSync(folder, { recursive: true });
  return [client, server];
}

const OPEN: Readonly<Record<HeapLink, () => [Device, Device]>> = {
  memory: () => memoryWire(ctxA, ctxB, PLAIN_WIRE),
  memif,
  tap: () => tap(true),
  'tap without offload': () => tap(false),
  packet: () => packet(true),
  'packet without a ring': () => packet(false),
  'xdp generic': () => xdp('generic'),
  'xdp native': () => xdp('native'),
};

const [a, b] = OPEN[link]();
for (const { stats } of [a, b]) Object.assign(stats, { rxBytes: CARRIED, txBytes: CARRIED });
const atA = new Int32Array(BURST);
const atB = new Int32Array(BURST);
let now = ctxA.now;
let lost = 0;
/** Rounds since something arrived. */
let empty = 0;
/** Packets at A. */
let here = 0;

/** A packet from A to B in a slot of A's. */
function fresh(): number {
  const f = ctxA.create();
  ctxA.pool.buf.set(HEADER, ctxA.pool.off[f]!);
  ctxA.pool.len[f] = length;
  return f;
}

/** Sends `out[0..n)` from one end to the other, whose `into` they fill; gives how many arrived. */
function cross(from: Device, out: Int32Array, n: number, to: Device, ctx: Context, into: Int32Array): number {
  let sent = from.tx(out, 0, n);
  let got = 0;
  for (let i = 0; i < LOOKS && got < n; i++) {
    if (sent < n) sent += from.tx(out, sent, n);
    got += to.rx(rest(into, got), BURST - got);
  }
  ctx.fate[FATE_RECEIVED]! += got;
  return got;
}

/** The array from `at` on, without an object in the usual case. */
const rest = (into: Int32Array, at: number): Int32Array => (at === 0 ? into : into.subarray(at));

function turnRound({ buf, off }: FramePool, frames: Int32Array, n: number): void {
  for (let i = 0; i < n; i++) {
    const at = off[frames[i]!]!;
    for (let k = 0; k < MAC_BYTES; k++) {
      const byte = buf[at + k]!;
      buf[at + k] = buf[at + MAC_BYTES + k]!;
      buf[at + MAC_BYTES + k] = byte;
    }
  }
}

/** To B and back, at least `n` packets. */
function body(n: number): void {
  for (let done = 0; done < n; ) {
    now += 2 * BURST;
    ctxA.tick(now);
    ctxB.tick(now);
    for (; here < BURST; here++) {
      atA[here] = fresh();
      lost++;
    }
    const there = cross(a, atA, BURST, b, ctxB, atB);
    turnRound(ctxB.pool, atB, there);
    here = cross(b, atB, there, a, ctxA, atA);
    turnRound(ctxA.pool, atA, here);
    done += there + here;
    empty = there + here === 0 ? empty + 1 : 0;
    if (empty > PATIENCE) throw new Error(`${link}: nothing arrives`);
  }
}

for (let i = 0; i < ROUNDS; i++) {
  body(WARM / ROUNDS);
  await new Promise((resolve) => setTimeout(resolve, 10));
}
lost = 0;
const bytes = await allocated(body, packets, runs);
const calls = callsOf(() => body(packets)) / packets;
a.close();
b.close();
parentPort!.postMessage({ bytes, calls, lost } satisfies Heap);

/** How many system calls `run` makes. Copying is none. */
function callsOf(run: () => void): number {
  const sys = syscalls() as unknown as Record<string, (...args: unknown[]) => unknown>;
  const plain = { ...sys };
  let count = 0;
  for (const [name, call] of Object.entries(plain)) {
    if (NOT_SYSTEM.includes(name)) continue;
    sys[name] = (...args) => {
      count++;
      return call(...args);
    };
  }
  run();
  Object.assign(sys, plain);
  return count;
}
