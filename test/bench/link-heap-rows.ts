/** Has link-heap.ts measure each link, in a thread of its own, one after the other. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Net, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import type { Heap, HeapLink, HeapTask } from './link-heap.ts';
import type { MemoryRow } from './memory.ts';

/** Of the shorter run: a tenth of a second of the link's clock. */
const PACKETS = 100_000;
const LENGTHS = [60, 1514];

const WITHOUT_NETWORK: readonly HeapLink[] = ['memory', 'memif'];
const IN_NETWORK: readonly HeapLink[] = [
  ...(['tap', 'tap without offload', 'packet', 'packet without a ring'] as const),
  ...(['xdp generic', 'xdp native'] as const),
];

async function measure(task: HeapTask): Promise<Heap> {
  const worker = new Worker(new URL('./link-heap.mjs', import.meta.url), { workerData: task });
  const ended = once(worker, 'exit');
  const [heap] = (await Promise.race([once(worker, 'message'), ended])) as [Heap | number];
  await ended;
  if (typeof heap === 'number') throw new Error(`heap of ${task.link}: the thread has ended`);
  return heap;
}

/** Two TAPs on a bridge, and a veth pair. */
function network(): Net {
  const net = new Net({ hosts: {}, taps: ['ta', 'tb'] });
  const place = net.namespace(SWITCH);
  const ip = (...words: string[]): void => {
    const { status, stderr } = spawnSync('ip', ['-n', place, ...words], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
  };
  ip('link', 'add', 'va', 'type', 'veth', 'peer', 'name', 'vb');
  for (const end of ['va', 'vb']) ip('link', 'set', end, 'addrgenmode', 'none', 'up');
  return net;
}

/** What links cost, each with packets of each length. What needs a network is left out where none can be built. */
export async function heapOf(
  lengths: readonly number[],
  packets: number,
  runs: number,
  isAsked: (link: HeapLink) => boolean,
): Promise<[HeapTask, Heap][]> {
  const heaps: [HeapTask, Heap][] = [];
  const add = async (link: HeapLink, namespace: string): Promise<void> => {
    for (const length of lengths) {
      const task: HeapTask = { link, namespace, length, packets, runs };
      heaps.push([task, await measure(task)]);
    }
  };
  for (const link of WITHOUT_NETWORK) if (isAsked(link)) await add(link, '');
  const links = IN_NETWORK.filter(isAsked);
  if (links.length === 0 || (noNamespaces() ?? noCommands('ip')) !== undefined) return heaps;
  const net = network();
  try {
    for (const link of links) await add(link, net.namespace(SWITCH));
  } finally {
    await net.close();
  }
  return heaps;
}

/** @param only links by name */
export async function heapRows(scale: number, only: RegExp): Promise<MemoryRow[]> {
  const packets = Math.max(Math.round(PACKETS * scale), 1000);
  const heaps = await heapOf(LENGTHS, packets, 5, (link) => only.test(link));
  return heaps.map(([{ link, length }, { bytes, calls, lost }]) => ({
    group: 'heap',
    what: `${link}, ${length} bytes, received and sent`,
    value: Number(bytes.toPrecision(4)),
    unit: 'bytes/million',
    note: `${calls.toPrecision(3)} system calls per packet${lost === 0 ? '' : `; ${lost} packets lost and replaced`}`,
  }));
}
