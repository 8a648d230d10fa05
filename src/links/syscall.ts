/**
 * The few system calls the links need, through koffi. Every pointer is a plain number (user addresses stay below 2^47),
 * so a call passes numbers only. One that does not fit 31 bits is an object to V8, and computing it makes a new one each time: what is
 * called for every frame or burst is given the address as a BigInt made once (NativeBytes.pointer). The library is loaded when the first link that needs it is opened:
 * programs that use none run on systems where it cannot load.
 *
 * Results are those of the C functions: -1 means failure and `errno()` says which, if asked before any other call.
 * Lengths are declared `int`: no transfer here comes near 2 GB, and koffi converts an int faster than an int64.
 */
import { createRequire } from 'node:module';

type Koffi = typeof import('koffi');

/** Of memory: a BigInt where the same one is passed again and again. */
export type Address = number | bigint;

export interface Syscalls {
  readonly open: (path: string, flags: number) => number;
  readonly close: (fd: number) => number;
  readonly read: (fd: number, address: Address, length: number) => number;
  readonly write: (fd: number, address: Address, length: number) => number;
  /** `iov`: address of `count` pairs of 64-bit words {address, length}. */
  readonly readv: (fd: number, iov: Address, count: number) => number;
  readonly writev: (fd: number, iov: Address, count: number) => number;
  /** `arg`: a value or an address, as the request demands. */
  readonly ioctl: (fd: number, request: number, arg: Address) => number;
  readonly socket: (domain: number, type: number, protocol: number) => number;
  /** `address`: where two 32-bit descriptors go. */
  readonly socketpair: (domain: number, type: number, protocol: number, address: number) => number;
  readonly bind: (fd: number, address: number, length: number) => number;
  readonly connect: (fd: number, address: number, length: number) => number;
  readonly listen: (fd: number, backlog: number) => number;
  readonly accept4: (fd: number, address: number, length: number, flags: number) => number;
  /** `message`: address of a struct msghdr. */
  readonly sendmsg: (fd: number, message: Address, flags: number) => number;
  readonly recvmsg: (fd: number, message: Address, flags: number) => number;
  /** `value`, `length`: addresses; `length` of 32 bits, in and out. */
  readonly getsockopt: (fd: number, level: number, option: number, value: Address, length: Address) => number;
  readonly setsockopt: (fd: number, level: number, option: number, value: number, length: number) => number;
  readonly recv: (fd: number, address: Address, length: number, flags: number) => number;
  readonly sendto: (fd: number, address: number, length: number, flags: number, to: number, toLength: number) => number;
  /** `messages`: address of `count` struct mmsghdr; returns how many were taken. `timeout`: an address, 0 = none. */
  readonly recvmmsg: (fd: number, messages: Address, count: number, flags: number, timeout: number) => number;
  readonly sendmmsg: (fd: number, messages: Address, count: number, flags: number) => number;
  /** `fds`: address of `count` struct pollfd {int32 fd, int16 events, int16 revents}. Blocks the thread for up to `ms`. */
  readonly poll: (fds: Address, count: number, ms: number) => number;
  readonly eventfd: (initial: number, flags: number) => number;
  readonly memfdCreate: (name: string, flags: number) => number;
  readonly ftruncate: (fd: number, length: number) => number;
  readonly fcntl: (fd: number, command: number, arg: number) => number;
  readonly lseek: (fd: number, offset: number, whence: number) => number;
  readonly unlink: (path: string) => number;
  /** Returns the address, or -1. */
  readonly mmap: (address: number, length: number, prot: number, flags: number, fd: number, offset: number) => number;
  readonly munmap: (address: number, length: number) => number;
  /** Any system call by its number; unused arguments are 0. */
  readonly call: (number: number, a: number, b: number, c: number, d: number, e: number, f: number) => number;
  /** prctl(2); the calling thread's. */
  readonly prctl: (option: number, a: number, b: number, c: number, d: number) => number;
  /** `header`, `data`: addresses of the structs of capset(2) and capget(2); the calling thread's. */
  readonly capset: (header: number, data: number) => number;
  readonly capget: (header: number, data: number) => number;
  /** Addresses of a struct passwd or group, which hold until the next such call; 0 = there is none. */
  readonly getpwnam: (name: string) => number;
  readonly getpwuid: (uid: number) => number;
  readonly getgrnam: (name: string) => number;
  /** Copies memory that does not overlap. */
  readonly memcpy: (to: Address, from: Address, length: number) => void;
  /** Memory of the system, such as a ring it shares with us, as bytes. Nobody may touch them once it is unmapped. */
  readonly view: (address: number, length: number) => ArrayBuffer;
  /** Error number of the last failed call of this thread. */
  readonly errno: () => number;
  /** Where the first byte of `bytes` lies in memory. The caller keeps the array alive while the system uses the address. */
  readonly addressOf: (bytes: Uint8Array) => number;
}

export const O_RDWR = 2;
export const O_NONBLOCK = 0x800;
/** Commands of fcntl(2). */
export const F_GETFL = 3;
export const F_SETFL = 4;
export const O_CLOEXEC = 0x80000;
export const POLLIN = 1;
export const SOL_SOCKET = 1;
export const SO_ERROR = 4;
export const SO_SNDBUFFORCE = 32;
export const SO_RCVBUFFORCE = 33;
export const MSG_TRUNC = 0x20;
export const MSG_DONTWAIT = 0x40;
export const MAP_FAILED = -1;
export const PROT_READ_WRITE = 3;
/** MAP_SHARED | MAP_POPULATE */
export const MAP_RING = 0x8001;
export const EFD_NONBLOCK = O_NONBLOCK;
export const EFD_CLOEXEC = O_CLOEXEC;

export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const ENXIO = 6;
export const EAGAIN = 11;
export const EACCES = 13;
export const EBUSY = 16;
export const ENOMEM = 12;
export const ENODEV = 19;
export const EINVAL = 22;
export const EPIPE = 32;
export const EBADFD = 77;
export const EMSGSIZE = 90;
export const ENETDOWN = 100;
export const ENOBUFS = 105;
export const ECONNREFUSED = 111;

/** A link could not be opened, or a system call it depends on failed. `code` is the errno name, or a name of our own. */
export class LinkError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.name = 'LinkError';
    this.code = code;
  }
}

let loaded: Syscalls | null = null;
let names: Map<number, string> | null = null;

/** Loads the library at the first call. Throws a LinkError `NO_KOFFI` or `NOT_LINUX` where that cannot work. */
export function syscalls(): Syscalls {
  if (loaded !== null) return loaded;
  if (process.platform !== 'linux') {
    throw new LinkError(
      'NOT_LINUX',
      `this link needs Linux; here is ${process.platform}. Links that work anywhere: memory, pcapfile`,
    );
  }
  let koffi: Koffi;
  try {
    koffi = createRequire(import.meta.url)('koffi') as Koffi;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message.split('\n')[0] : String(cause);
    throw new LinkError(
      'NO_KOFFI',
      `this link needs the package koffi, which does not load (${why}): run npm install on this machine`,
    );
  }
  names = new Map();
  for (const [name, number] of Object.entries(koffi.os.errno)) {
    // Some numbers have two names; the shorter ones (EAGAIN) are those of the manual pages.
    const known = names.get(number);
    if (known === undefined || name.length < known.length) names.set(number, name);
  }
  loaded = declare(koffi);
  return loaded;
}

function declare(koffi: Koffi): Syscalls {
  const libc = koffi.load(null);
  const f = <T>(name: string, result: string, args: string[]): T => libc.func(name, result, args) as unknown as T;
  return {
    open: f('open', 'int', ['str', 'int']),
    close: f('close', 'int', ['int']),
    read: f('read', 'int', ['int', 'uint64', 'uint64']),
    write: f('write', 'int', ['int', 'uint64', 'uint64']),
    readv: f('readv', 'int', ['int', 'uint64', 'int']),
    writev: f('writev', 'int', ['int', 'uint64', 'int']),
    ioctl: f('ioctl', 'int', ['int', 'uint64', 'uint64']),
    socket: f('socket', 'int', ['int', 'int', 'int']),
    socketpair: f('socketpair', 'int', ['int', 'int', 'int', 'uint64']),
    bind: f('bind', 'int', ['int', 'uint64', 'uint32']),
    connect: f('connect', 'int', ['int', 'uint64', 'uint32']),
    listen: f('listen', 'int', ['int', 'int']),
    accept4: f('accept4', 'int', ['int', 'uint64', 'uint64', 'int']),
    sendmsg: f('sendmsg', 'int', ['int', 'uint64', 'int']),
    recvmsg: f('recvmsg', 'int', ['int', 'uint64', 'int']),
    memfdCreate: f('memfd_create', 'int', ['str', 'uint32']),
    ftruncate: f('ftruncate', 'int', ['int', 'int64']),
    fcntl: f('fcntl', 'int', ['int', 'int', 'int']),
    lseek: f('lseek', 'int64', ['int', 'int64', 'int']),
    unlink: f('unlink', 'int', ['str']),
    getsockopt: f('getsockopt', 'int', ['int', 'int', 'int', 'uint64', 'uint64']),
    setsockopt: f('setsockopt', 'int', ['int', 'int', 'int', 'uint64', 'uint32']),
    recv: f('recv', 'int', ['int', 'uint64', 'uint64', 'int']),
    sendto: f('sendto', 'int', ['int', 'uint64', 'uint64', 'int', 'uint64', 'uint32']),
    recvmmsg: f('recvmmsg', 'int', ['int', 'uint64', 'uint32', 'int', 'uint64']),
    sendmmsg: f('sendmmsg', 'int', ['int', 'uint64', 'uint32', 'int']),
    poll: f('poll', 'int', ['uint64', 'uint64', 'int']),
    eventfd: f('eventfd', 'int', ['uint32', 'int']),
    mmap: f('mmap', 'int64', ['uint64', 'uint64', 'int', 'int', 'int', 'int64']),
    munmap: f('munmap', 'int', ['uint64', 'uint64']),
    call: f('syscall', 'int64', ['uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64', 'uint64']),
    memcpy: f('memcpy', 'void', ['uint64', 'uint64', 'uint64']),
    prctl: f('prctl', 'int', ['int', 'uint64', 'uint64', 'uint64', 'uint64']),
    capset: f('capset', 'int', ['uint64', 'uint64']),
    capget: f('capget', 'int', ['uint64', 'uint64']),
    getpwnam: f('getpwnam', 'uint64', ['str']),
    getpwuid: f('getpwuid', 'uint64', ['uint32']),
    getgrnam: f('getgrnam', 'uint64', ['str']),
    view: (address, length) => koffi.view(address, length),
    errno: () => koffi.errno(),
    addressOf: (bytes) => Number(koffi.address(bytes)),
  };
}

/** `EAGAIN` for 11; the bare number where the system has no name for it. */
export const errnoName = (errno: number): string => names?.get(errno) ?? `errno ${errno}`;

/**
 * Memory that system calls read and write: zeroed, never moved, with its address. The object must be kept for as long as
 * the address is in use.
 */
export class NativeBytes {
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly i32: Int32Array;
  readonly address: number;

  constructor(sys: Syscalls, length: number) {
    // A SharedArrayBuffer lies outside of the garbage collected heap from the first byte on.
    const memory = new SharedArrayBuffer((length + 7) & ~7);
    this.u8 = new Uint8Array(memory);
    this.u16 = new Uint16Array(memory);
    this.i32 = new Int32Array(memory);
    this.address = sys.addressOf(this.u8);
  }

  /** The address of byte `offset`, to be kept: passing it allocates nothing. */
  pointer(offset = 0): bigint {
    return BigInt(this.address + offset);
  }

  /** Stores the address `at` bytes behind the one of these halves: as `set64`, without a number that V8 might have to box. */
  setAddress(offset: number, low: number, high: number, at: number): void {
    const sum = (low + at) | 0;
    this.i32[offset >> 2] = sum;
    this.i32[(offset >> 2) + 1] = high + (sum >>> 0 < low >>> 0 ? 1 : 0);
  }

  /** Stores a 64-bit word, an address or a length below 2^53, at byte `offset` (a multiple of 4). */
  set64(offset: number, value: number): void {
    this.i32[offset >> 2] = value | 0;
    this.i32[(offset >> 2) + 1] = (value / 4294967296) | 0;
  }
}
