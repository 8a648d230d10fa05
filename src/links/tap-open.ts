/**
 * Opens a TAP interface and says in one line what to do when that fails. Runs in the main thread: what it returns is
 * plain data, and the worker that drives the queue makes a TapDevice of it (a file descriptor is valid in all threads).
 *
 * Kernel interface: Documentation/networking/tuntap.rst, include/uapi/linux/if_tun.h.
 */
import { existsSync, readFileSync } from 'node:fs';
import { askingSocket, checkInterfaceName, IFREQ_UNION, InterfaceQuery, ifreq } from './ifreq.ts';
import type { Syscalls } from './syscall.ts';
import {
  EACCES,
  EBUSY,
  EINVAL,
  ENODEV,
  ENOENT,
  ENXIO,
  EPERM,
  errnoName,
  LinkError,
  NativeBytes,
  O_CLOEXEC,
  O_NONBLOCK,
  O_RDWR,
  syscalls,
} from './syscall.ts';
import { VNET_HDR_LEN } from './virtio-net.ts';

export interface TapOptions {
  /** Interface name, 1..15 characters. It is created when missing, and then goes away with the last descriptor. */
  readonly name: string;
  /** Exchange 64 KB segments and unfinished checksums with the kernel, announced in a virtio-net header. */
  readonly offload: boolean;
}

/** A queue among several (tap-crew.ts). */
export interface TapSeat {
  /** Which queue, of how many. */
  readonly index: number;
  readonly size: number;
  readonly memory: SharedArrayBuffer;
  /** A descriptor of the steering program, -1 = the kernel allows none. */
  readonly program: number;
  /** Why it does not. */
  readonly refusal: string;
}

/** An open TAP, as it travels to the worker thread. */
export interface TapHandle extends TapOptions {
  readonly fd: number;
  /** Of the interface. */
  readonly index: number;
  /** Null = it is the only queue. */
  readonly seat: TapSeat | null;
  /** MTU of the kernel's side in bytes, as it was when the TAP was opened. */
  readonly mtu: number;
  /** MAC address of the kernel's side, six bytes. Ours has to be another. */
  readonly hostMac: readonly number[];
}

const CLONE_DEVICE = '/dev/net/tun';

const TUNSETIFF = 0x400454ca;
const TUNSETOFFLOAD = 0x400454d0;
const TUNSETVNETHDRSZ = 0x400454d8;

const IFF_TAP = 0x0002;
const IFF_MULTI_QUEUE = 0x0100;
const IFF_NO_PI = 0x1000;
const IFF_VNET_HDR = 0x4000;

/** TUN_F_CSUM 1, TSO4 2, TSO6 4, TSO_ECN 8: the best set the kernel takes. UDP segments are left to the kernel. */
const OFFLOADS = [0x0f, 0x07, 0x03, 0x01];

/** Throws a LinkError that says what to do. `isQueue`: the TAP has several queues, and this opens a further one. */
export function openTap(options: TapOptions, isQueue = false): TapHandle {
  const { name, offload } = options;
  checkInterfaceName('tap', name);
  const sys = syscalls();
  const existed = existsSync(`/sys/class/net/${name}`);
  const fd = sys.open(CLONE_DEVICE, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) throw cloneDeviceError(sys.errno());
  try {
    const request = ifreq(sys, name);
    request.u16[IFREQ_UNION / 2] = IFF_TAP | IFF_NO_PI | (offload ? IFF_VNET_HDR : 0) | (isQueue ? IFF_MULTI_QUEUE : 0);
    if (sys.ioctl(fd, TUNSETIFF, request.address) < 0) throw attachError(name, existed, sys.errno());
    if (offload) enableOffload(sys, fd, name);
    // A persistent interface may remember the offloads of its last user, and would send us segments we cannot take.
    else sys.ioctl(fd, TUNSETOFFLOAD, 0);
    return { name, offload, fd, seat: null, ...describe(sys, name) };
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** Closes a handle that was never made a device. */
export function closeTap(handle: TapHandle): void {
  syscalls().close(handle.fd);
}

function enableOffload(sys: Syscalls, fd: number, name: string): void {
  const size = new NativeBytes(sys, 4);
  size.i32[0] = VNET_HDR_LEN;
  if (sys.ioctl(fd, TUNSETVNETHDRSZ, size.address) < 0) {
    const code = errnoName(sys.errno());
    throw new LinkError(
      code,
      `tap ${name}: the kernel refuses a virtio-net header of ${VNET_HDR_LEN} bytes (${code}): open it without offload`,
    );
  }
  // Without any of them the kernel just sends finished frames of MTU size; ours may still be large.
  OFFLOADS.some((set) => sys.ioctl(fd, TUNSETOFFLOAD, set) === 0);
}

/** Index, MTU and MAC address. Throws LinkError. */
function describe(sys: Syscalls, name: string): { index: number; mtu: number; hostMac: number[] } {
  const socket = askingSocket(sys);
  const query = new InterfaceQuery(sys, socket, name);
  const [index, mtu, hostMac] = [query.index(), query.mtu(), query.mac()];
  const code = errnoName(sys.errno());
  if (socket >= 0) sys.close(socket);
  if (mtu < 0 || hostMac.length === 0) {
    throw new LinkError(code, `tap ${name}: cannot read its MTU and MAC address (${code})`);
  }
  return { index, mtu, hostMac };
}

function cloneDeviceError(errno: number): LinkError {
  const code = errnoName(errno);
  switch (errno) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return new LinkError(
        code,
        `tap: there is no ${CLONE_DEVICE} (${code}): load it with 'sudo modprobe tun', or give the container '--device ${CLONE_DEVICE}'`,
      );
    case EPERM:
    case EACCES:
      return new LinkError(
        code,
        `tap: no permission for ${CLONE_DEVICE} (${code}): run with sudo, or 'sudo chmod 666 ${CLONE_DEVICE}', or give the container '--device ${CLONE_DEVICE} --cap-add NET_ADMIN'`,
      );
    default:
      return new LinkError(code, `tap: cannot open ${CLONE_DEVICE} (${code})`);
  }
}

function attachError(name: string, existed: boolean, errno: number): LinkError {
  const code = errnoName(errno);
  switch (errno) {
    case EPERM:
    case EACCES:
      return new LinkError(
        code,
        existed
          ? `tap ${name}: it belongs to another user (${code}): run with sudo, or make it yours with 'sudo ip tuntap del dev ${name} mode tap && sudo ip tuntap add dev ${name} mode tap user $USER'`
          : `tap ${name}: does not exist, and creating it needs CAP_NET_ADMIN (${code}): run with sudo, or create it once with 'sudo ip tuntap add dev ${name} mode tap user $USER'`,
      );
    case EBUSY:
      return new LinkError(
        code,
        `tap ${name}: another process has it open (${code}): stop that process or choose another name`,
      );
    case EINVAL:
      return new LinkError(
        code,
        `tap ${name}: ${kindOf(name)}, not a TAP that one program can open (${code}): choose another name`,
      );
    default:
      return new LinkError(code, `tap ${name}: cannot attach to the interface (${code})`);
  }
}

function kindOf(name: string): string {
  try {
    const flags = Number(readFileSync(`/sys/class/net/${name}/tun_flags`, 'utf8'));
    return (flags & IFF_TAP) === 0 ? 'it is a TUN interface (mode tun)' : 'it is a TAP of another shape (multi_queue?)';
  } catch {
    return existsSync(`/sys/class/net/${name}`) ? 'it is an interface of another type' : 'the kernel refuses it';
  }
}
