/**
 * bpf(2): maps, programs, and attaching a program to an interface. Each function fills the union bpf_attr
 * (include/uapi/linux/bpf.h) and gives a descriptor, or throws a LinkError with what the kernel said.
 */
import { errnoName, LinkError, NativeBytes, type Syscalls } from './syscall.ts';

/** Number of the system call by processor. */
const SYS_BPF: Readonly<Record<string, number>> = { x64: 321, arm64: 280 };

const MAP_CREATE = 0;
const MAP_UPDATE = 2;
const MAP_DELETE = 3;
const PROG_LOAD = 5;
const LINK_CREATE = 28;

export const MAP_HASH = 1;
export const MAP_XSK = 17;
const PROG_TYPE_SOCKET_FILTER = 1;
const PROG_TYPE_XDP = 6;
const ATTACH_XDP = 37;
/** Flags of an XDP link. */
export const XDP_GENERIC = 2;
export const XDP_NATIVE = 4;

const ATTR_BYTES = 144;
const LOG_BYTES = 65536;

export class Bpf {
  private readonly sys: Syscalls;
  private readonly attr: NativeBytes;
  private readonly aux: NativeBytes;

  constructor(sys: Syscalls) {
    this.sys = sys;
    this.attr = new NativeBytes(sys, ATTR_BYTES);
    this.aux = new NativeBytes(sys, 16);
  }

  private call(command: number, size: number): number {
    const number = SYS_BPF[process.arch];
    if (number === undefined) throw new LinkError('ENOSYS', `bpf: not on ${process.arch}: x64 and arm64 only`);
    return this.sys.call(number, command, this.attr.address, size, 0, 0, 0);
  }

  private check(result: number, what: string): number {
    if (result >= 0) return result;
    const code = errnoName(this.sys.errno());
    throw new LinkError(code, `${what} (${code})`);
  }

  /** A map from u32 to u32. */
  createMap(type: number, entries: number): number {
    this.attr.u8.fill(0);
    this.attr.i32.set([type, 4, 4, entries]);
    return this.check(this.call(MAP_CREATE, 72), 'cannot create a BPF map');
  }

  setEntry(map: number, key: number, value: number): void {
    this.point(map, key, value);
    this.check(this.call(MAP_UPDATE, 32), 'cannot write to a BPF map');
  }

  /** One that is not there may be deleted. */
  deleteEntry(map: number, key: number): void {
    this.point(map, key, 0);
    // The kernel wants what it does not use to be 0.
    this.attr.set64(16, 0);
    this.call(MAP_DELETE, 32);
  }

  private point(map: number, key: number, value: number): void {
    const { attr, aux } = this;
    attr.u8.fill(0);
    aux.i32[0] = key;
    aux.i32[2] = value;
    attr.i32[0] = map;
    attr.set64(8, aux.address);
    attr.set64(16, aux.address + 8);
  }

  /** Loads an XDP program, 8 bytes for each instruction. What the kernel's verifier says is part of the error. */
  loadXdp(code: Uint8Array): number {
    return this.load('XDP', PROG_TYPE_XDP, ATTACH_XDP, code);
  }

  /** Loads a program that looks at packets as sockets have them. */
  loadFilter(code: Uint8Array): number {
    return this.load('filter', PROG_TYPE_SOCKET_FILTER, 0, code);
  }

  private load(name: string, type: number, attach: number, code: Uint8Array): number {
    const { attr } = this;
    const program = new NativeBytes(this.sys, code.length + 8);
    program.u8.set(code);
    program.u8.set(Buffer.from('GPL\0'), code.length);
    const log = new NativeBytes(this.sys, LOG_BYTES);
    attr.u8.fill(0);
    attr.i32[0] = type;
    attr.i32[1] = code.length / 8;
    attr.set64(8, program.address);
    attr.set64(16, program.address + code.length);
    attr.i32[6] = 1;
    attr.i32[7] = LOG_BYTES;
    attr.set64(32, log.address);
    attr.i32[17] = attach;
    const fd = this.call(PROG_LOAD, ATTR_BYTES);
    if (fd >= 0) return fd;
    const said = Buffer.from(log.u8.slice(0, log.u8.indexOf(0)))
      .toString('latin1')
      .trim();
    return this.check(fd, `cannot load the ${name} program${said === '' ? '' : `: ${said}`}`);
  }

  /** Attaches a program to an interface for as long as the descriptor is open; -1, and errno, when that is refused. */
  attachXdp(program: number, index: number, mode: number): number {
    this.attr.u8.fill(0);
    this.attr.i32.set([program, index, ATTACH_XDP, mode]);
    return this.call(LINK_CREATE, 64);
  }
}
