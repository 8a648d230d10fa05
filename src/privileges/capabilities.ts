/**
 * Capabilities of the calling thread (capabilities(7)): which of them links need to be opened again, and giving up all others.
 *
 * They belong to a thread: those that it starts later have the same, those that were there before are left alone. None is inheritable or
 * ambient, so a program that is started has none, whoever the thread is, as long as that is not root.
 */
import type { LinkConfig, LinkKind } from '../config/model.ts';
import { NativeBytes, syscalls } from '../links/syscall.ts';

const CAP_NET_ADMIN = 12;
const CAP_NET_RAW = 13;
const CAP_IPC_LOCK = 14;
const CAP_BPF = 39;

export const CAPABILITY_NAMES: Readonly<Record<number, string>> = {
  [CAP_NET_ADMIN]: 'CAP_NET_ADMIN',
  [CAP_NET_RAW]: 'CAP_NET_RAW',
  [CAP_IPC_LOCK]: 'CAP_IPC_LOCK',
  [CAP_BPF]: 'CAP_BPF',
};

/** What it takes to open one again; by several workers, where the kernel is given a program that shares out the frames, CAP_BPF as well. */
const NEEDED: Readonly<Partial<Record<LinkKind, readonly number[]>>> = {
  tap: [CAP_NET_ADMIN],
  packet: [CAP_NET_ADMIN, CAP_NET_RAW],
  xdp: [CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF],
};

/** What it takes to open these links again. */
export function capabilitiesFor(links: readonly Pick<LinkConfig, 'kind'>[], workers: number): number[] {
  const needed = links.flatMap(({ kind }) => NEEDED[kind] ?? []);
  if (needed.length > 0 && workers > 1) needed.push(CAP_BPF);
  return [...new Set(needed)].sort((a, b) => a - b);
}

/** What becomes of these links when nothing is kept, a line for each that needs it. */
export function withoutCapabilities(links: readonly Pick<LinkConfig, 'kind' | 'name'>[], workers: number): string[] {
  const shared = workers > 1;
  return links
    .filter(({ kind }) => kind === 'xdp' || (kind === 'packet' && shared))
    .map(({ kind, name }) => {
      const death = kind === 'xdp' && shared ? ', or a worker dies' : '';
      return `link ${name} needs a restart of tsvs when its interface is deleted${death}: 'keep_capabilities = on' keeps what opens it again`;
    });
}

/** _LINUX_CAPABILITY_VERSION_3: two structs of effective, permitted and inheritable, u32 each: capabilities 0..31, then 32..63. */
const VERSION = 0x20080522;
const HEADER = 8;
const BYTES = HEADER + 24;
const EFFECTIVE = 0;
const PERMITTED = 1;
const STRUCT_WORDS = 3;

const place = (cap: number): [word: number, bit: number] => [
  (HEADER >> 2) + (cap >> 5) * STRUCT_WORDS,
  1 << (cap & 31),
];

/** Has the calling thread have these and no other, as far as it may have them; which it has then. Null, and errno, when that is refused. */
export function limitCapabilities(keep: readonly number[]): number[] | null {
  const sys = syscalls();
  const had = new NativeBytes(sys, BYTES);
  had.i32[0] = VERSION;
  if (sys.capget(had.address, had.address + HEADER) !== 0) return null;
  const caps = new NativeBytes(sys, BYTES);
  caps.i32[0] = VERSION;
  const kept = keep.filter((cap) => {
    const [word, bit] = place(cap);
    return (had.i32[word + PERMITTED]! & bit) !== 0;
  });
  for (const cap of kept) {
    const [word, bit] = place(cap);
    caps.i32[word + EFFECTIVE]! |= bit;
    caps.i32[word + PERMITTED]! |= bit;
  }
  return sys.capset(caps.address, caps.address + HEADER) === 0 ? kept : null;
}
