/**
 * Opens AF_XDP: loads and attaches the program (xdp-program.ts), and makes a socket with its four rings for every receive queue of
 * the interface. The memory that the kernel receives into and sends from (UMEM) is the frame pool: its small slots are the chunks.
 * Called in the main thread, and by the worker for an interface that was created anew; what it returns is plain data.
 *
 * Kernel interface: Documentation/networking/af_xdp.rst, include/uapi/linux/if_xdp.h.
 */
import { existsSync, readdirSync } from 'node:fs';
import type { XdpMode } from '../config/model.ts';
import { Bpf, MAP_HASH, MAP_XSK, XDP_GENERIC, XDP_NATIVE } from './bpf.ts';
import { askingSocket, checkInterfaceName, InterfaceQuery } from './ifreq.ts';
import { AF_PACKET, letIn } from './packet-open.ts';
import {
  EBUSY,
  errnoName,
  LinkError,
  MAP_FAILED,
  MAP_RING,
  NativeBytes,
  O_CLOEXEC,
  PROT_READ_WRITE,
  type Syscalls,
  syscalls,
} from './syscall.ts';
import { xdpProgram } from './xdp-program.ts';

export interface XdpOptions {
  /** An interface of the system, 1..15 characters. */
  readonly name: string;
  /** Our MAC address, six bytes; null = that of the interface. With another one, everything sent to it is ours. */
  readonly mac: readonly number[] | null;
  /** `native` in the driver, `generic` behind it, `auto` whichever works, native first. */
  readonly mode: XdpMode;
}

/** The frame pool's small slots, as chunks of the kernel's. */
export interface Umem {
  /** Where the pool begins, page aligned. */
  readonly address: number;
  /** Number and size of the slots; the size is 2048 or 4096. */
  readonly slots: number;
  readonly slotBytes: number;
}

/** A ring: where it is mapped, and the byte offsets of its two indices, flags and entries. */
export interface RingPlace {
  readonly address: number;
  readonly bytes: number;
  readonly producer: number;
  readonly consumer: number;
  readonly flags: number;
  readonly entries: number;
  readonly size: number;
}

export interface XdpQueueHandle {
  readonly fd: number;
  readonly rx: RingPlace;
  readonly tx: RingPlace;
  readonly fill: RingPlace;
  readonly completion: RingPlace;
}

/** Everything open, as it travels to the worker thread. */
export interface XdpHandle {
  readonly options: XdpOptions;
  readonly mac: readonly number[];
  readonly mtu: number;
  /** Of the interface. */
  readonly index: number;
  readonly native: boolean;
  readonly queues: readonly XdpQueueHandle[];
  /** Descriptors: the map of our addresses, and those that are only to be closed. */
  readonly addresses: number;
  readonly others: readonly number[];
}

const AF_XDP = 44;
const SOL_XDP = 283;
const SOCK_RAW_CLOEXEC = 3 | O_CLOEXEC;
/** Options of SOL_XDP. */
const XDP_MMAP_OFFSETS = 1;
const XDP_RX_RING = 2;
const XDP_TX_RING = 3;
const XDP_UMEM_REG = 4;
const XDP_UMEM_FILL_RING = 5;
const XDP_UMEM_COMPLETION_RING = 6;
const XDP_MAX_TX_SKB_BUDGET = 9;
/** Flags of bind. */
const XDP_SHARED_UMEM = 1;
const XDP_USE_NEED_WAKEUP = 8;
/** What to map of a socket: its offset says which ring. */
const PGOFF_RX = 0;
const PGOFF_TX = 0x80000000;
const PGOFF_FILL = 0x100000000;
const PGOFF_COMPLETION = 0x180000000;
/** Bytes of a descriptor (address u64, length u32, options u32) and of an address. */
const DESCRIPTOR = 16;
const ADDRESS = 8;

/** Entries of each ring: at a million frames a second 4096 last 4 ms. */
export const XDP_RING = 4096;
/** With the 256 bytes that XDP itself keeps, puts the IP header on a 4-byte boundary. */
const XDP_HEADROOM = 2;
const MAX_ADDRESSES = 4096;
const MAX_QUEUES = 64;

/** The kernel lets go of a closed socket's queue a moment later: attempts, and what lies between them, in ms. */
export const PATIENT = 50;
const BETWEEN_MS = 20;

/**
 * Throws a LinkError that says what to do. `share`: a socket that has the pool registered already, -1 = none; `attempts`: how
 * often to try while something else has the queue, which blocks the thread meanwhile.
 */
export function openXdp(options: XdpOptions, umem: Umem, share = -1, attempts = 1): XdpHandle {
  for (let n = 1; ; n++) {
    try {
      return openOnce(options, umem, share);
    } catch (error) {
      if (n >= attempts || !(error instanceof LinkError) || error.code !== 'EBUSY') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BETWEEN_MS);
    }
  }
}

function openOnce(options: XdpOptions, umem: Umem, share: number): XdpHandle {
  const { name, mode } = options;
  checkInterfaceName('xdp', name);
  const sys = syscalls();
  const opened: number[] = [];
  const queues: XdpQueueHandle[] = [];
  try {
    const socket = keep(opened, askingSocket(sys));
    const query = new InterfaceQuery(sys, socket, name);
    const [index, own] = [query.index(), query.mac()];
    if (index < 0) throw openError(name, 'ENODEV');
    const other = options.mac?.some((byte, i) => byte !== own[i]);
    const mac = options.mac ?? own;

    const bpf = new Bpf(sys);
    const addresses = keep(opened, bpf.createMap(MAP_HASH, MAX_ADDRESSES));
    const sockets = keep(opened, bpf.createMap(MAP_XSK, MAX_QUEUES));
    const program = keep(opened, bpf.loadXdp(xdpProgram(addresses, sockets, other ? mac : null)));
    const { link, native } = attach(sys, bpf, program, index, name, mode);
    opened.push(link);
    for (let queue = 0; queue < queueCount(name); queue++) {
      const made = openQueue(sys, index, queue, umem, queues[0]?.fd ?? share);
      queues.push(made);
      bpf.setEntry(sockets, queue, made.fd);
    }
    if (other) {
      // A packet socket of no protocol receives nothing; it has the interface let our address in.
      const filter = keep(opened, sys.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0));
      if (filter >= 0) letIn(sys, filter, index, mac);
    }
    return { options, mac, mtu: query.mtu(), index, native, queues, addresses, others: opened };
  } catch (error) {
    for (const queue of queues) closeQueue(sys, queue);
    for (const fd of opened) sys.close(fd);
    throw error instanceof LinkError && !error.message.startsWith('xdp')
      ? openError(name, error.code, error.message.replace(/ \(\w+\)$/, ''))
      : error;
  }
}

/** Closes what was opened. Nobody may touch the rings afterwards. */
export function closeXdp({ queues, others }: XdpHandle): void {
  const sys = syscalls();
  for (const queue of queues) closeQueue(sys, queue);
  for (const fd of others) sys.close(fd);
}

function keep(opened: number[], fd: number): number {
  if (fd >= 0) opened.push(fd);
  return fd;
}

function attach(
  sys: Syscalls,
  bpf: Bpf,
  program: number,
  index: number,
  name: string,
  mode: XdpMode,
): { link: number; native: boolean } {
  const errors: string[] = [];
  for (const native of [true, false]) {
    if (mode === (native ? 'generic' : 'native')) continue;
    const link = bpf.attachXdp(program, index, native ? XDP_NATIVE : XDP_GENERIC);
    if (link >= 0) return { link, native };
    const errno = sys.errno();
    errors.push(errnoName(errno));
    if (errno === EBUSY) throw openError(name, errnoName(errno));
  }
  throw openError(
    name,
    errors[0]!,
    `${mode === 'auto' ? 'neither native nor generic XDP' : `${mode} XDP`} is possible`,
  );
}

/** Receive queues of an interface; 1 where the system does not tell. */
function queueCount(name: string): number {
  const folder = `/sys/class/net/${name}/queues`;
  if (!existsSync(folder)) return 1;
  const queues = readdirSync(folder).filter((queue) => queue.startsWith('rx-')).length;
  return Math.min(Math.max(queues, 1), MAX_QUEUES);
}

/** A socket on one queue. With `share` it uses the memory of that one, otherwise it registers it. Throws LinkError. */
function openQueue(sys: Syscalls, index: number, queue: number, umem: Umem, share: number): XdpQueueHandle {
  const fd = sys.socket(AF_XDP, SOCK_RAW_CLOEXEC, 0);
  const fail = (what: string): LinkError => {
    const code = errnoName(sys.errno());
    return new LinkError(code, `cannot ${what} (${code})`);
  };
  if (fd < 0) throw fail('open an AF_XDP socket');
  const value = new NativeBytes(sys, 144);
  const option = (name: number, bytes: number): boolean => sys.setsockopt(fd, SOL_XDP, name, value.address, bytes) >= 0;
  const rings: RingPlace[] = [];
  try {
    if (share < 0) {
      // struct xdp_umem_reg: address u64, length u64, chunk u32, headroom u32, flags u32, metadata u32.
      value.set64(0, umem.address);
      value.set64(8, umem.slots * umem.slotBytes);
      value.i32.set([umem.slotBytes, XDP_HEADROOM, 0, 0], 4);
      if (!option(XDP_UMEM_REG, 32)) throw fail('register the frame pool: too little memory that may be locked?');
    }
    for (const ring of [XDP_UMEM_FILL_RING, XDP_UMEM_COMPLETION_RING, XDP_RX_RING, XDP_TX_RING]) {
      value.i32[0] = XDP_RING;
      if (!option(ring, 4)) throw fail('make its rings');
    }
    // Frames sent with one call; kernels before 6.17 do 32 and have to be called again.
    option(XDP_MAX_TX_SKB_BUDGET, 4);
    value.i32[32] = 128;
    if (sys.getsockopt(fd, SOL_XDP, XDP_MMAP_OFFSETS, value.address, value.address + 128) < 0) {
      throw fail('ask for its rings');
    }
    const map = (n: number, offset: number, entry: number): RingPlace => {
      // struct xdp_ring_offset: producer, consumer, descriptors, flags, 64 bits each.
      const [producer, consumer, entries, flags] = [0, 1, 2, 3].map((i) => value.i32[n * 8 + i * 2]!) as [
        number,
        number,
        number,
        number,
      ];
      const bytes = entries + XDP_RING * entry;
      const address = sys.mmap(0, bytes, PROT_READ_WRITE, MAP_RING, fd, offset);
      if (address === MAP_FAILED) throw fail('map its rings');
      const place = { address, bytes, producer, consumer, flags, entries, size: XDP_RING };
      rings.push(place);
      return place;
    };
    const rx = map(0, PGOFF_RX, DESCRIPTOR);
    const tx = map(1, PGOFF_TX, DESCRIPTOR);
    const fill = map(2, PGOFF_FILL, ADDRESS);
    const completion = map(3, PGOFF_COMPLETION, ADDRESS);
    // struct sockaddr_xdp: family u16, flags u16, interface u32, queue u32, socket to share with u32.
    value.u8.fill(0, 0, 16);
    value.u16[0] = AF_XDP;
    value.u16[1] = share < 0 ? XDP_USE_NEED_WAKEUP : XDP_SHARED_UMEM;
    value.i32.set([index, queue, Math.max(share, 0)], 1);
    if (sys.bind(fd, value.address, 16) < 0) throw fail(`bind to queue ${queue}`);
    return { fd, rx, tx, fill, completion };
  } catch (error) {
    for (const { address, bytes } of rings) sys.munmap(address, bytes);
    sys.close(fd);
    throw error;
  }
}

/** A mapped ring would keep the socket alive, and its queue busy. */
function closeQueue(sys: Syscalls, { fd, rx, tx, fill, completion }: XdpQueueHandle): void {
  for (const { address, bytes } of [rx, tx, fill, completion]) sys.munmap(address, bytes);
  sys.close(fd);
}

function openError(name: string, code: string, what = ''): LinkError {
  const said = what === '' ? '' : ` ${what}:`;
  const hint = HINTS[code] ?? 'try packet:NAME instead';
  return new LinkError(code, `xdp ${name}:${said} ${hint.replaceAll('NAME', name)} (${code})`);
}

const PERMISSION =
  "no permission: run with sudo, or give the container '--cap-add NET_ADMIN --cap-add BPF --cap-add NET_RAW --cap-add IPC_LOCK'";
const HINTS: Readonly<Record<string, string>> = {
  EPERM: PERMISSION,
  EACCES: PERMISSION,
  ENODEV: "there is no interface NAME: 'ip link' lists those there are",
  EBUSY: "another XDP program or socket has it: 'ip link set NAME xdp off' removes a program",
};
