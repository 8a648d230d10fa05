/** Has link-heap.ts measure each link, in a thread of its own, one after the other. */
import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { Net, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces } from '../lib/privilege.ts';
import type { Heap, HeapLink, HeapTask } from './link-heap.ts';
import type { MemoryRow } from './memory.ts';

const PACKETS = 300_000;
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

const row = ({ link, length }: HeapTask, { bytes, lost }: Heap): MemoryRow => ({
  group: 'heap',
  what: `${link}, ${length} bytes, received and sent`,
  value: Number(bytes.toPrecision(4)),
  unit: 'bytes/million',
  note: lost === 0 ? '' : `${lost} packets lost and replaced`,
});

/** @param only links by name */
export async function heapRows(scale: number, only: RegExp): Promise<MemoryRow[]> {
  const packets = Math.max(Math.round(PACKETS * scale), 1000);
  const rows: MemoryRow[] = [];
  const add = async (link: HeapLink, namespace: string): Promise<void> => {
    for (const length of LENGTHS) {
      const task: HeapTask = { link, namespace, length, packets };
      rows.push(row(task, await measure(task)));
    }
  };
  for (const link of WITHOUT_NETWORK) if (only.test(link)) await add(link, '');
  const links = IN_NETWORK.filter((link) => only.test(link));
  if (links.length === 0 || (noNamespaces() ?? noCommands('ip')) !== undefined) return rows;
  const net = network();
  try {
    for (const link of links) await add(link, net.namespace(SWITCH));
  } finally {
    await net.close();
  }
  return rows;
}
