/**
 * The control channel of memif: a unix socket of packets (SOCK_SEQPACKET) with file descriptors in ancillary data, neither
 * of which Node's sockets have. Nothing here blocks. Called by memif-client.ts and memif-server.ts.
 */
import { lstatSync } from 'node:fs';
import { MESSAGE_BYTES } from './memif-message.ts';
import {
  EAGAIN,
  ECONNREFUSED,
  EINTR,
  ENOENT,
  errnoName,
  LinkError,
  MSG_DONTWAIT,
  NativeBytes,
  O_CLOEXEC,
  O_NONBLOCK,
  type Syscalls,
} from './syscall.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5 | O_NONBLOCK | O_CLOEXEC;
const MSG_NOSIGNAL = 0x4000;
const MSG_TRUNC = 0x20;
const MSG_CMSG_CLOEXEC = 0x40000000;
const SOL_SOCKET = 1;
const SCM_RIGHTS = 1;
/** struct sockaddr_un: family u16, then the path with a final zero. */
const ADDRESS_BYTES = 110;
export const PATH_MAX = 107;

// Byte offsets in `native`: struct msghdr (56, its flags at 48), struct iovec (16), ancillary data, the message.
const FLAGS = 48;
const IOV = 64;
const ANCILLARY = 128;
const ANCILLARY_BYTES = 256;
const DATA = ANCILLARY + ANCILLARY_BYTES;
/** struct cmsghdr (length u64, level i32, type i32) with one descriptor, and the room it takes. */
const CMSG_LEN = 20;
const CMSG_SPACE = 24;

/** A message that arrived; `fd` is ours from now on, -1 = none came with it. */
export interface Received {
  readonly bytes: Uint8Array;
  readonly fd: number;
}

/** What `receive` says when there is no message: none yet, the other side is gone, or what it said is shorter or longer than one. */
export const NOTHING = 'nothing';
export const GONE = 'gone';
export const MALFORMED = 'malformed';

/** Messages to take at a time: who sends without end shall not hold up packets. */
export const AT_ONCE = 64;

export class MemifSocket {
  readonly fd: number;
  private readonly sys: Syscalls;
  private readonly native: NativeBytes;

  private constructor(sys: Syscalls, fd: number) {
    this.sys = sys;
    this.fd = fd;
    this.native = new NativeBytes(sys, DATA + MESSAGE_BYTES);
  }

  /** Connected to a server's socket, or the errno of what failed; see `isNobody`. */
  static connect(sys: Syscalls, path: string): MemifSocket | number {
    const fd = open(sys, path);
    const address = addressOf(sys, path);
    if (sys.connect(fd, address.address, ADDRESS_BYTES) >= 0) return new MemifSocket(sys, fd);
    const errno = sys.errno();
    sys.close(fd);
    return errno;
  }

  /** A socket that waits for clients. Throws LinkError. */
  static listen(sys: Syscalls, path: string): MemifSocket {
    const fd = open(sys, path);
    const address = addressOf(sys, path);
    clear(sys, path);
    if (sys.bind(fd, address.address, ADDRESS_BYTES) < 0 || sys.listen(fd, 1) < 0) {
      const code = errnoName(sys.errno());
      sys.close(fd);
      throw new LinkError(
        code,
        `memif ${path}: cannot listen there (${code}): is another server using it, or is there a file?`,
      );
    }
    return new MemifSocket(sys, fd);
  }

  /** A socket opened elsewhere. */
  static of(sys: Syscalls, fd: number): MemifSocket {
    return new MemifSocket(sys, fd);
  }

  /** The next client, null when there is none. */
  accept(): MemifSocket | null {
    const fd = this.sys.accept4(this.fd, 0, 0, O_NONBLOCK | O_CLOEXEC);
    return fd < 0 ? null : new MemifSocket(this.sys, fd);
  }

  /** Sends a message, with `fd` unless it is -1. False: the other side is gone. */
  send(bytes: Uint8Array, fd = -1): boolean {
    const { native } = this;
    this.header(fd < 0 ? 0 : CMSG_SPACE);
    native.u8.set(bytes, DATA);
    if (fd >= 0) {
      native.set64(ANCILLARY, CMSG_LEN);
      native.i32[(ANCILLARY >> 2) + 2] = SOL_SOCKET;
      native.i32[(ANCILLARY >> 2) + 3] = SCM_RIGHTS;
      native.i32[(ANCILLARY >> 2) + 4] = fd;
    }
    return this.sys.sendmsg(this.fd, native.address, MSG_DONTWAIT | MSG_NOSIGNAL) === MESSAGE_BYTES;
  }

  receive(): Received | typeof NOTHING | typeof GONE | typeof MALFORMED {
    const { native, sys } = this;
    this.header(ANCILLARY_BYTES);
    const n = sys.recvmsg(this.fd, native.address, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (n < 0) {
      const errno = sys.errno();
      return errno === EAGAIN || errno === EINTR ? NOTHING : GONE;
    }
    const fd = this.descriptor();
    if (n !== MESSAGE_BYTES || (native.i32[FLAGS >> 2]! & MSG_TRUNC) !== 0) {
      if (fd >= 0) sys.close(fd);
      return n === 0 ? GONE : MALFORMED;
    }
    return { bytes: native.u8.slice(DATA, DATA + MESSAGE_BYTES), fd };
  }

  /** The first descriptor that came; further ones are closed. */
  private descriptor(): number {
    const { native, sys } = this;
    const { i32 } = native;
    let found = -1;
    const end = ANCILLARY + i32[40 >> 2]!;
    for (let at = ANCILLARY; at + 16 <= end; ) {
      const length = i32[at >> 2]!;
      if (length < 16) break;
      if (i32[(at >> 2) + 2] === SOL_SOCKET && i32[(at >> 2) + 3] === SCM_RIGHTS) {
        for (let fd = at + 16; fd + 4 <= at + length; fd += 4) {
          if (found < 0) found = i32[fd >> 2]!;
          else sys.close(i32[fd >> 2]!);
        }
      }
      at += (length + 7) & ~7;
    }
    return found;
  }

  /** struct msghdr: name u64, its length u32, iov u64, count u64, ancillary u64, its length u64, flags i32. */
  private header(ancillary: number): void {
    const { native } = this;
    const { address } = native;
    native.u8.fill(0, 0, DATA);
    native.set64(16, address + IOV);
    native.set64(24, 1);
    native.set64(IOV, address + DATA);
    native.set64(IOV + 8, MESSAGE_BYTES);
    if (ancillary === 0) return;
    native.set64(32, address + ANCILLARY);
    native.set64(40, ancillary);
  }

  close(): void {
    this.sys.close(this.fd);
  }
}

/** Whether `connect` failed because no server listens there, or it has not got round to us: a time later it may. */
export const isNobody = (errno: number): boolean => errno === ENOENT || errno === ECONNREFUSED || errno === EAGAIN;

/** Removes a socket that a dead process left behind; whatever else is there stays, and `bind` finds it. */
function clear(sys: Syscalls, path: string): void {
  const other = MemifSocket.connect(sys, path);
  if (other instanceof MemifSocket) other.close();
  // Files that are no sockets refuse as well.
  else if (other === ECONNREFUSED && lstatSync(path, { throwIfNoEntry: false })?.isSocket()) sys.unlink(path);
}

function open(sys: Syscalls, path: string): number {
  const fd = sys.socket(AF_UNIX, SOCK_SEQPACKET, 0);
  if (fd >= 0) return fd;
  const code = errnoName(sys.errno());
  throw new LinkError(code, `memif ${path}: cannot open a unix socket (${code})`);
}

function addressOf(sys: Syscalls, path: string): NativeBytes {
  const bytes = new TextEncoder().encode(path);
  const address = new NativeBytes(sys, ADDRESS_BYTES);
  address.u16[0] = AF_UNIX;
  address.u8.set(bytes.subarray(0, PATH_MAX), 2);
  return address;
}
