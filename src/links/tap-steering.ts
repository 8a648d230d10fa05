/**
 * The program by which a TAP with several queues chooses one for each packet that the kernel sends us: that of the worker that owns the flow.
 * It computes what stack/steer/flow.ts does; of what it does not tell (IP options, ICMP errors, services that are divided in another way) the
 * workers hand each other what is not theirs.
 *
 * ```
 *  no IPv4                                        the first queue
 *  TCP, UDP                                       addresses and ports
 *  echo request, echo reply                       addresses and identifier
 *  fragments, IP options, other protocols         addresses
 * ```
 *
 * Kernel interface: TUNSETSTEERINGEBPF of include/uapi/linux/if_tun.h; the program is one for sockets, and gives the number of a queue in the
 * order in which they were attached. It needs CAP_BPF once, when it is loaded.
 */
import { ECHO_REPLY, ECHO_REQUEST } from '../../stack/wire/icmp4.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { Bpf } from './bpf.ts';
import {
  add32,
  and32,
  assemble,
  exit,
  goto,
  ifEqual,
  ifNotEqual32,
  type Line,
  label,
  modulo32,
  move,
  multiply32,
  or32,
  packet8,
  packet16,
  packet32,
  set,
  shiftRight32,
} from './bpf-program.ts';
import { NativeBytes, type Syscalls } from './syscall.ts';

const TUNSETSTEERINGEBPF = 0x800454e0;

const RESULT = 0;
const CTX = 6;
const SUM = 7;

/** The factors of stack/steer/flow.ts. */
const ADDRESS = 0x85ebca6b;
const PORT = 0x9e3779b1;

const plus = (factor: number): Line[] => [multiply32(RESULT, factor), shiftRight32(RESULT, 20), add32(SUM, RESULT)];

/** For `queues` queues. */
export function steeringProgram(queues: number): Uint8Array {
  return assemble([
    move(CTX, 1),
    set(SUM, 0),
    packet16(12),
    ifNotEqual32(RESULT, 0x0800, 'end'),
    packet32(26),
    ...plus(ADDRESS),
    packet32(30),
    ...plus(ADDRESS),
    packet8(14),
    ifNotEqual32(RESULT, 0x45, 'end'),
    packet16(20),
    and32(RESULT, 0x3fff),
    ifNotEqual32(RESULT, 0, 'end'),
    packet8(23),
    ifEqual(RESULT, PROTO_TCP, 'ports'),
    ifEqual(RESULT, PROTO_UDP, 'ports'),
    ifNotEqual32(RESULT, PROTO_ICMP, 'end'),
    packet8(34),
    ifEqual(RESULT, ECHO_REQUEST, 'echo'),
    ifNotEqual32(RESULT, ECHO_REPLY, 'end'),
    label('echo'),
    // Type and code of the request stand for one port, the identifier for the other.
    packet8(35),
    or32(RESULT, ECHO_REQUEST << 8),
    ...plus(PORT),
    packet16(38),
    ...plus(PORT),
    goto('end'),
    label('ports'),
    packet16(34),
    ...plus(PORT),
    packet16(36),
    ...plus(PORT),
    label('end'),
    move(RESULT, SUM),
    modulo32(RESULT, queues),
    exit,
  ]);
}

/** A descriptor of the loaded program. Throws LinkError. */
export const loadSteering = (sys: Syscalls, queues: number): number => new Bpf(sys).loadFilter(steeringProgram(queues));

/** Has the TAP that `fd` is a queue of choose by the program. False when the kernel refuses. */
export function steer(sys: Syscalls, fd: number, program: number): boolean {
  const value = new NativeBytes(sys, 8);
  value.i32[0] = program;
  return sys.ioctl(fd, TUNSETSTEERINGEBPF, value.address) === 0;
}
