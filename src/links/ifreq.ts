/**
 * What the kernel knows of a network interface, by ioctl on any socket (netdevice(7)): flags, index, MTU, MAC address, queues.
 * Used by the links that are an interface of the system, at opening and to see whether it is still there.
 */
import { LinkError, NativeBytes, O_CLOEXEC, type Syscalls } from './syscall.ts';

const IFF_UP = 0x1;
const IFF_RUNNING = 0x40;

const SIOCGIFFLAGS = 0x8913;
const SIOCGIFMTU = 0x8921;
const SIOCGIFHWADDR = 0x8927;
const SIOCGIFINDEX = 0x8933;
const SIOCETHTOOL = 0x8946;
/** struct ethtool_value: command u32, answer u32. */
const ETHTOOL_GLINK = 0x0a;
/** struct ethtool_channels: nine u32, of which the sixth counts queues that receive, the ninth those that do both. */
const ETHTOOL_GCHANNELS = 0x3c;
const CHANNELS_BYTES = 36;

const AF_INET = 2;
const SOCK_DGRAM_CLOEXEC = 2 | O_CLOEXEC;

/** struct ifreq: name at 0, then a union (flags u16, index i32, mtu i32, sockaddr) at 16. */
const IFREQ_BYTES = 40;
const IFNAMSIZ = 16;
export const IFREQ_UNION = 16;

/** Throws a LinkError when `name` cannot be the name of an interface; `kind` is that of the link. */
export function checkInterfaceName(kind: string, name: string): void {
  if (/^[^\s/:]{1,15}$/.test(name) && name !== '.' && name !== '..') return;
  throw new LinkError(
    'EINVAL',
    `${kind}: '${name}' cannot be an interface name: 1 to 15 characters without space, '/' or ':'`,
  );
}

/** A struct ifreq with the name in place. */
export function ifreq(sys: Syscalls, name: string): NativeBytes {
  const request = new NativeBytes(sys, IFREQ_BYTES);
  for (let i = 0; i < name.length && i < IFNAMSIZ - 1; i++) request.u8[i] = name.charCodeAt(i);
  return request;
}

/** A socket that any question about an interface can be asked of; the caller closes it. -1 = none. */
export const askingSocket = (sys: Syscalls): number => sys.socket(AF_INET, SOCK_DGRAM_CLOEXEC, 0);

/** Questions about one interface, by name, without allocating. Each answer is -1 (`errno` says why) when there is none. */
export class InterfaceQuery {
  private readonly sys: Syscalls;
  private readonly socket: number;
  private readonly request: NativeBytes;
  private readonly pointer: bigint;
  private readonly value: NativeBytes;

  constructor(sys: Syscalls, socket: number, name: string) {
    this.sys = sys;
    this.socket = socket;
    this.request = ifreq(sys, name);
    this.pointer = this.request.pointer();
    this.value = new NativeBytes(sys, CHANNELS_BYTES + 4);
  }

  private ask(request: number): boolean {
    this.request.i32[IFREQ_UNION >> 2] = 0;
    return this.sys.ioctl(this.socket, request, this.pointer) >= 0;
  }

  /** Whether it is set up and has a carrier. The kernel's own flag for that may be a second late; drivers know at once. */
  isUp(): boolean {
    if (!this.ask(SIOCGIFFLAGS)) return false;
    const flags = this.request.u16[IFREQ_UNION >> 1]!;
    if ((flags & IFF_UP) === 0) return false;
    return this.askDriver(ETHTOOL_GLINK) ? this.value.i32[1] !== 0 : (flags & IFF_RUNNING) !== 0;
  }

  private askDriver(command: number): boolean {
    this.value.i32[0] = command;
    this.request.set64(IFREQ_UNION, this.value.address);
    return this.sys.ioctl(this.socket, SIOCETHTOOL, this.pointer) >= 0;
  }

  /** Queues that receive; 0 where the driver does not tell. */
  rxQueues(): number {
    return this.askDriver(ETHTOOL_GCHANNELS) ? this.value.i32[5]! + this.value.i32[8]! : 0;
  }

  /** Whether it is set up, be there a carrier or not. */
  isSetUp(): boolean {
    return this.ask(SIOCGIFFLAGS) && (this.request.u16[IFREQ_UNION >> 1]! & IFF_UP) !== 0;
  }

  index(): number {
    return this.ask(SIOCGIFINDEX) ? this.request.i32[IFREQ_UNION >> 2]! : -1;
  }

  /** Bytes. */
  mtu(): number {
    return this.ask(SIOCGIFMTU) ? this.request.i32[IFREQ_UNION >> 2]! : -1;
  }

  /** Six bytes; empty when there is no answer. */
  mac(): number[] {
    if (!this.ask(SIOCGIFHWADDR)) return [];
    return [...this.request.u8.subarray(IFREQ_UNION + 2, IFREQ_UNION + 8)];
  }
}
