/**
 * Opens a packet socket on an existing interface, with a receive ring that the kernel fills (TPACKET_V2), and says in one line
 * what to do when that fails. Runs in the main thread; what it returns is plain data, and the worker that drives the link
 * makes a PacketDevice of it.
 *
 * Kernel interface: packet(7), Documentation/networking/packet_mmap.rst, include/uapi/linux/if_packet.h.
 */
import { checkInterfaceName, InterfaceQuery } from './ifreq.ts';
import { joinFanout } from './packet-fanout.ts';
import { PacketSeat, type PacketSocket } from './packet-seat.ts';
import {
  EACCES,
  ENODEV,
  EPERM,
  errnoName,
  LinkError,
  MAP_FAILED,
  MAP_RING,
  NativeBytes,
  O_CLOEXEC,
  O_NONBLOCK,
  PROT_READ_WRITE,
  SO_RCVBUFFORCE,
  SO_SNDBUFFORCE,
  SOL_SOCKET,
  type Syscalls,
  syscalls,
} from './syscall.ts';
import { VNET_HDR_SHORT } from './virtio-net.ts';

export interface PacketOptions {
  /** An interface of the system, 1..15 characters. */
  readonly name: string;
  /** Leave segmentation and checksums of what is sent to the kernel. What is received is taken as it comes either way. */
  readonly offload: boolean;
  /** Our MAC address, six bytes; null = that of the interface. */
  readonly mac: readonly number[] | null;
  /** Receive through a ring in shared memory, where the kernel gives one; false: by recvmmsg(2). */
  readonly ring: boolean;
}

/** An open packet socket, as it travels to the worker thread. */
export interface PacketHandle extends PacketOptions {
  /** Whose it is, of how many that share the interface. */
  readonly worker: number;
  readonly workers: number;
  /** Of packet-seat.ts: the sockets. */
  readonly seats: SharedArrayBuffer;
  readonly mac: readonly number[];
  /** MTU of the interface in bytes, as it was when the link was opened. */
  readonly mtu: number;
}

export const AF_PACKET = 17;
export const SOL_PACKET = 263;
export const SOCK_RAW_NONBLOCK = 3 | O_NONBLOCK | O_CLOEXEC;
/** 16-bit word of sockaddr_ll: htons(ETH_P_ALL). */
const ETH_P_ALL = 0x0300;

/** Options of SOL_PACKET. */
const PACKET_ADD_MEMBERSHIP = 1;
const PACKET_RX_RING = 5;
const PACKET_COPY_THRESH = 7;
const PACKET_VERSION = 10;
const PACKET_RESERVE = 12;
const PACKET_VNET_HDR = 15;
const PACKET_IGNORE_OUTGOING = 23;

const TPACKET_V2 = 1;
const PACKET_MR_UNICAST = 3;

/**
 * Room for a full Ethernet frame in each slot, 8 MB in all. Larger ones (segments put together by GRO or never cut) are cut in
 * the ring and come whole through the socket's queue, straight into a big slot of the pool: PACKET_COPY_THRESH.
 */
export const RING_FRAME = 2048;
const RING_BLOCK = 65536;
const RING_BLOCKS = 128;
export const RING_FRAMES = (RING_BLOCK / RING_FRAME) * RING_BLOCKS;
export const RING_BYTES = RING_BLOCK * RING_BLOCKS;
/** With a header of 10 bytes, 2 more put the IP header on a 4-byte boundary. */
const RESERVE = (4 - (VNET_HDR_SHORT % 4)) % 4;
/** Bytes of whole frames waiting in the socket's queue, and of sent ones that the interface has not let go of. */
const RECEIVE_BUFFER = 32 << 20;
const SEND_BUFFER = 4 << 20;

/** What was opened, with what the interface was found to have. */
interface Found {
  readonly socket: PacketSocket;
  readonly mac: readonly number[];
  readonly mtu: number;
}

/** Throws a LinkError that says what to do. */
export const openPacket = (options: PacketOptions): PacketHandle => handles(options, [openSocket(options)])[0]!;

function openSocket(options: PacketOptions): Found {
  const { name } = options;
  checkInterfaceName('packet', name);
  const sys = syscalls();
  const fd = sys.socket(AF_PACKET, SOCK_RAW_NONBLOCK, 0);
  if (fd < 0) throw openError(name, sys.errno());
  try {
    const query = new InterfaceQuery(sys, fd, name);
    const index = query.index();
    if (index < 0) throw openError(name, ENODEV);
    const ringAddress = prepare(sys, fd, name, options.ring);
    const mac = options.mac ?? query.mac();
    const problem = bindPacket(sys, fd, index, mac);
    if (problem !== 0) throw openError(name, problem);
    return { socket: { fd, ringAddress, index }, mac, mtu: query.mtu() };
  } catch (error) {
    sys.close(fd);
    throw error;
  }
}

/** A socket for each of `count` workers, which share out what the interface receives. Throws a LinkError that says what to do. */
export const openPacketGroup = (options: PacketOptions, count: number): PacketHandle[] =>
  handles(options, openGroup(options, count));

/** The same for the handles of an interface that was created anew. */
export const openSocketsAgain = (handle: PacketHandle): PacketSocket[] =>
  openGroup(handle, handle.workers).map(({ socket }) => socket);

function openGroup(options: PacketOptions, count: number): Found[] {
  const opened: Found[] = [];
  try {
    for (let i = 0; i < count; i++) opened.push(openSocket(options));
    joinFanout(
      options.name,
      opened.map(({ socket }) => socket.fd),
    );
    return opened;
  } catch (error) {
    for (const { socket } of opened) closeSocket(socket);
    throw error;
  }
}

function handles(options: PacketOptions, opened: readonly Found[]): PacketHandle[] {
  const seats = PacketSeat.memory(opened.map(({ socket }) => socket));
  return opened.map(({ mac, mtu }, worker) => ({ ...options, worker, workers: opened.length, seats, mac, mtu }));
}

/** Closes a handle that was never made a device. */
export function closePacket({ seats, worker }: PacketHandle): void {
  closeSocket(new PacketSeat(seats, worker).socket);
}

export function closeSocket({ fd, ringAddress }: PacketSocket): void {
  const sys = syscalls();
  // A mapped ring would keep the socket alive.
  if (ringAddress !== 0) sys.munmap(ringAddress, RING_BYTES);
  sys.close(fd);
}

/**
 * Joins the socket to interface `index` and has frames to `mac` let in. To be called again for an interface that was created
 * anew. Returns 0, or the errno of what failed.
 */
export function bindPacket(sys: Syscalls, fd: number, index: number, mac: readonly number[]): number {
  letIn(sys, fd, index, mac);
  // struct sockaddr_ll: family u16, protocol u16, interface i32, then fields that bind ignores.
  const at = new NativeBytes(sys, 24);
  at.u16[0] = AF_PACKET;
  at.u16[1] = ETH_P_ALL;
  at.i32[1] = index;
  return sys.bind(fd, at.address, 20) < 0 ? sys.errno() : 0;
}

/** Has interface `index` let in frames to `mac` for as long as packet socket `fd` is open. */
export function letIn(sys: Syscalls, fd: number, index: number, mac: readonly number[]): void {
  // struct packet_mreq: interface i32, type u16, length u16, address.
  const at = new NativeBytes(sys, 16);
  at.i32[0] = index;
  at.u16[2] = PACKET_MR_UNICAST;
  at.u16[3] = 6;
  at.u8.set(mac, 8);
  // Refused by interfaces that have no filter: those let everything in.
  sys.setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, at.address, 16);
}

/** Has the socket not receive what leaves by its interface. False where the kernel does not know that: before 4.20. */
export function ignoreOutgoing(sys: Syscalls, fd: number): boolean {
  const one = new NativeBytes(sys, 4);
  one.i32[0] = 1;
  return sys.setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, one.address, 4) >= 0;
}

/** Sets the options, which the kernel takes before the ring only, and makes that. Returns its address, 0 when there is none. */
function prepare(sys: Syscalls, fd: number, name: string, wantsRing: boolean): number {
  const value = new NativeBytes(sys, 16);
  const set = (option: number, number: number, level = SOL_PACKET): boolean => {
    value.i32[0] = number;
    return sys.setsockopt(fd, level, option, value.address, 4) >= 0;
  };
  if (!set(PACKET_VNET_HDR, 1)) {
    const code = errnoName(sys.errno());
    throw new LinkError(code, `packet ${name}: the kernel refuses a virtio-net header (${code}): use a TAP instead`);
  }
  ignoreOutgoing(sys, fd);
  set(SO_RCVBUFFORCE, RECEIVE_BUFFER, SOL_SOCKET);
  set(SO_SNDBUFFORCE, SEND_BUFFER, SOL_SOCKET);
  if (!wantsRing || !set(PACKET_VERSION, TPACKET_V2) || !set(PACKET_RESERVE, RESERVE)) return 0;
  set(PACKET_COPY_THRESH, RING_FRAME);
  // struct tpacket_req: block size and number, frame size and number.
  value.i32.set([RING_BLOCK, RING_BLOCKS, RING_FRAME, RING_FRAMES]);
  if (sys.setsockopt(fd, SOL_PACKET, PACKET_RX_RING, value.address, 16) < 0) return 0;
  const address = sys.mmap(0, RING_BYTES, PROT_READ_WRITE, MAP_RING, fd, 0);
  if (address !== MAP_FAILED) return address;
  // The socket would go on filling it.
  throw new LinkError(errnoName(sys.errno()), `packet ${name}: cannot map the ring (${errnoName(sys.errno())})`);
}

function openError(name: string, errno: number): LinkError {
  const code = errnoName(errno);
  switch (errno) {
    case EPERM:
    case EACCES:
      return new LinkError(
        code,
        `packet ${name}: no permission for packet sockets (${code}): run with sudo, or give the container '--cap-add NET_RAW --cap-add NET_ADMIN'`,
      );
    case ENODEV:
      return new LinkError(
        code,
        `packet ${name}: there is no interface ${name} (${code}): 'ip link' lists those there are`,
      );
    default:
      return new LinkError(code, `packet ${name}: cannot open a packet socket (${code})`);
  }
}
