/**
 * Opens memif, packet rings in shared memory between two processes (DPDK's net_memif, VPP): in the main thread, as memory and
 * descriptors that travel to the worker, which connects, and connects again when the other side has been away.
 *
 * As client we own all memory: the rings, in a memory file of their own, and the buffers, which are the frame pools themselves, so that
 * nothing is copied: a memory file is mapped over each pool (`sharePool`) before anything stands in it. The other side can read and
 * write every frame of the workers, as a network card can. As server we map what the client brings, and copy.
 *
 * Worker 0 connects; each worker drives its own queues. As client every worker's pool is a region, so whose a slot is says where it lies.
 *
 * Linux: memfd_create(2), eventfd(2), unix(7).
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import type { MemifRole } from '../config/model.ts';
import { broughtMemory } from './memif-brought.ts';
import { connectionMemory } from './memif-connection.ts';
import { ringBytes } from './memif-ring.ts';
import { MemifSocket, PATH_MAX } from './memif-socket.ts';
import {
  EFD_CLOEXEC,
  EFD_NONBLOCK,
  errnoName,
  LinkError,
  MAP_FAILED,
  MAP_RING,
  PROT_READ_WRITE,
  type Syscalls,
  syscalls,
} from './syscall.ts';

export interface MemifOptions {
  /** The unix socket, at most 107 bytes. */
  readonly path: string;
  readonly role: MemifRole;
  /** Names the interface among those of one socket. */
  readonly id: number;
  /** At most 24 bytes; empty: none. */
  readonly secret: string;
  /** Pairs of rings; as many as the other side has. */
  readonly queues: number;
  /** log2 of the entries of a ring. */
  readonly log2: number;
  readonly mtu: number;
}

/** A memory file under a worker's pool. */
export interface PoolFile {
  readonly fd: number;
  readonly bytes: number;
}

/** What one worker needs. Queues belong to the workers in turn. */
export interface MemifHandle extends MemifOptions {
  /** Of so many that have queues; 0 is the one that connects. */
  readonly worker: number;
  readonly workers: number;
  /** Of memif-connection.ts. */
  readonly connection: SharedArrayBuffer;
  /** Client: memory file of the rings, where it is mapped, and an eventfd for each ring: those to the server first. */
  readonly ringFd: number;
  readonly ringAddress: number;
  readonly interrupts: readonly number[];
  /** Client: by worker. */
  readonly pools: readonly PoolFile[];
  /** Server: the socket that listens, -1 for a client; and what the client brought (memif-brought.ts). */
  readonly listener: number;
  readonly brought: SharedArrayBuffer;
}

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SHRINK = 2;
const MAP_SHARED_FIXED = 0x11;
const PAGE = 4096;

/** Byte offset of a ring in the memory of the rings: those to the server first. */
export const ringAt = (n: number, log2: number): number => n * ((ringBytes(log2) + 63) & ~63);
/** Bytes of that memory. */
export const ringMemory = (queues: number, log2: number): number => Math.ceil(ringAt(queues * 2, log2) / PAGE) * PAGE;

/**
 * Puts a memory file in the place of the pool's memory, which must be as new: its content is lost. Every thread sees the file's pages
 * from then on, as nothing changes for the SharedArrayBuffer that lies there. Throws LinkError.
 */
export function sharePool(pool: FramePool): PoolFile {
  const sys = syscalls();
  const { memory } = pool.share;
  const bytes = memory.byteLength;
  const fd = memoryFile(sys, 'tsvs-frames', bytes);
  const address = sys.addressOf(new Uint8Array(memory));
  if (address % PAGE !== 0) throw new LinkError('ALIGN', 'memif: the frame pool does not begin on a page');
  if (sys.mmap(address, bytes, PROT_READ_WRITE, MAP_SHARED_FIXED, fd, 0) === address) return { fd, bytes };
  throw failed(sys, 'map the frame pool');
}

/**
 * A handle for each worker that has a queue, which are those with the lowest numbers. `pools` are theirs, as `sharePool` returned them; a
 * server needs none. Throws a LinkError that says what to do.
 */
export function openMemif(options: MemifOptions, pools: readonly PoolFile[], most = pools.length): MemifHandle[] {
  const { path, role, queues, log2 } = options;
  if (Buffer.byteLength(path) > PATH_MAX) {
    throw new LinkError('ENAMETOOLONG', `memif ${path}: the path of a unix socket has at most ${PATH_MAX} bytes`);
  }
  if (!existsSync(dirname(path))) throw new LinkError('ENOENT', `memif ${path}: there is no folder ${dirname(path)}`);
  const sys = syscalls();
  const workers = Math.min(most, queues);
  const common = { ...options, workers, connection: connectionMemory(), brought: broughtMemory(queues) };
  const ends = role === 'server' ? serverEnd(sys, path) : clientEnd(sys, queues, log2, pools.slice(0, workers));
  return Array.from({ length: workers }, (_, worker) => ({ ...common, ...ends, worker }));
}

type End = Pick<MemifHandle, 'ringFd' | 'ringAddress' | 'interrupts' | 'pools' | 'listener'>;

const serverEnd = (sys: Syscalls, path: string): End => ({
  ...{ ringFd: -1, ringAddress: 0, interrupts: [], pools: [] },
  listener: MemifSocket.listen(sys, path).fd,
});

function clientEnd(sys: Syscalls, queues: number, log2: number, pools: readonly PoolFile[]): End {
  const bytes = ringMemory(queues, log2);
  const ringFd = memoryFile(sys, 'tsvs-rings', bytes);
  const ringAddress = sys.mmap(0, bytes, PROT_READ_WRITE, MAP_RING, ringFd, 0);
  if (ringAddress === MAP_FAILED) throw failed(sys, 'map the rings');
  const interrupts = Array.from({ length: queues * 2 }, () => sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  return { ringFd, ringAddress, interrupts, pools, listener: -1 };
}

/** Whether queue `q` is that worker's. */
export const isQueueOf = (q: number, { worker, workers }: MemifHandle): boolean => q % workers === worker;

/**
 * By worker 0: closes what was opened but the files of the pools, which others may use. `all`: nobody will touch the rings any more, which
 * are left where they are otherwise.
 */
export function closeMemif(
  { path, ringFd, ringAddress, queues, log2, interrupts, listener }: MemifHandle,
  all: boolean,
): void {
  const sys = syscalls();
  if (all) {
    for (const fd of interrupts) sys.close(fd);
    if (ringAddress !== 0) sys.munmap(ringAddress, ringMemory(queues, log2));
  }
  if (ringFd >= 0) sys.close(ringFd);
  if (listener < 0) return;
  sys.close(listener);
  sys.unlink(path);
}

function memoryFile(sys: Syscalls, name: string, bytes: number): number {
  const fd = sys.memfdCreate(name, MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0 || sys.ftruncate(fd, bytes) < 0) throw failed(sys, 'make a memory file');
  // The other side is told that it will not shrink under its hands.
  sys.fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK);
  return fd;
}

function failed(sys: Syscalls, what: string): LinkError {
  const code = errnoName(sys.errno());
  return new LinkError(code, `memif: cannot ${what} (${code})`);
}
