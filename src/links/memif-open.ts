/**
 * Opens memif, packet rings in shared memory between two processes (DPDK's net_memif, VPP): in the main thread, as memory and
 * descriptors that travel to the worker, which connects, and connects again when the other side has been away.
 *
 * As client we own all memory: the rings, in a memory file of their own, and the buffers, which are the frame pool itself, so that
 * nothing is copied: a memory file is mapped over the pool (`sharePool`) before anything stands in it. The other side can read and
 * write every frame of the worker, as a network card can. As server we map what the client brings, and copy.
 *
 * Linux: memfd_create(2), eventfd(2), unix(7).
 */
import { existsSync } from 'node:fs';
import { dirname } from 'node:path';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import type { MemifRole } from '../config/model.ts';
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

export interface MemifHandle extends MemifOptions {
  /** Client: memory files of rings and pool, where the rings are mapped, and an eventfd for each ring: those to us first. */
  readonly ringFd: number;
  readonly ringAddress: number;
  readonly poolFd: number;
  readonly interrupts: readonly number[];
  /** Server: the socket that listens; -1 for a client. */
  readonly listener: number;
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
 * Puts a memory file in the place of the pool's memory, which must be as new: its content is lost. Returns the descriptor. Every thread
 * sees the file's pages from then on, as nothing changes for the SharedArrayBuffer that lies there. Throws LinkError.
 */
export function sharePool(pool: FramePool): number {
  const sys = syscalls();
  const { memory } = pool.share;
  const fd = memoryFile(sys, 'tsvs-frames', memory.byteLength);
  const address = sys.addressOf(new Uint8Array(memory));
  if (address % PAGE !== 0) throw new LinkError('ALIGN', 'memif: the frame pool does not begin on a page');
  if (sys.mmap(address, memory.byteLength, PROT_READ_WRITE, MAP_SHARED_FIXED, fd, 0) === address) return fd;
  throw failed(sys, 'map the frame pool');
}

/** Throws a LinkError that says what to do. `poolFd` is what `sharePool` returned; a server does not need it. */
export function openMemif(options: MemifOptions, poolFd: number): MemifHandle {
  const { path, role, queues, log2 } = options;
  if (Buffer.byteLength(path) > PATH_MAX) {
    throw new LinkError('ENAMETOOLONG', `memif ${path}: the path of a unix socket has at most ${PATH_MAX} bytes`);
  }
  if (!existsSync(dirname(path))) throw new LinkError('ENOENT', `memif ${path}: there is no folder ${dirname(path)}`);
  const sys = syscalls();
  const nothing = { ringFd: -1, ringAddress: 0, poolFd: -1, interrupts: [], listener: -1 };
  if (role === 'server') return { ...options, ...nothing, listener: MemifSocket.listen(sys, path).fd };
  const bytes = ringMemory(queues, log2);
  const ringFd = memoryFile(sys, 'tsvs-rings', bytes);
  const ringAddress = sys.mmap(0, bytes, PROT_READ_WRITE, MAP_RING, ringFd, 0);
  if (ringAddress === MAP_FAILED) throw failed(sys, 'map the rings');
  const interrupts = Array.from({ length: queues * 2 }, () => sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  return { ...options, ...nothing, ringFd, ringAddress, poolFd, interrupts };
}

/** Closes what was opened but the file of the pool, which others may use. Nobody may touch the rings afterwards. */
export function closeMemif({ path, ringFd, ringAddress, queues, log2, interrupts, listener }: MemifHandle): void {
  const sys = syscalls();
  for (const fd of interrupts) sys.close(fd);
  if (ringAddress !== 0) sys.munmap(ringAddress, ringMemory(queues, log2));
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
