/**
 * PACKET_FANOUT: several packet sockets of one interface, each of which gets a part of what arrives. Which part says a classic BPF program
 * that computes what stack/steer/flow.ts does, so a frame comes to the worker that owns its flow; what it does not tell (ICMP
 * errors, IP options, services that are divided in another way) changes over between the workers. Where the kernel refuses the program, its own flow
 * hash divides: both directions of a flow still come to one socket each, and change over from there.
 *
 * Kernel interface: packet(7), include/uapi/linux/if_packet.h, Documentation/networking/filter.rst. The order of the sockets is that of
 * the workers.
 */
import { ECHO_REPLY, ECHO_REQUEST } from '../../stack/wire/icmp4.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { errnoName, LinkError, NativeBytes, type Syscalls, syscalls } from './syscall.ts';

const SOL_PACKET = 263;
const PACKET_FANOUT = 18;
const PACKET_FANOUT_DATA = 22;
const FANOUT_HASH = 0;
const FANOUT_CBPF = 6;

// Classic BPF: class, size and mode of an instruction in one byte.
const LD_NUMBER = 0x00;
const LD_WORD = 0x20;
const LD_HALF = 0x28;
const LD_BYTE = 0x30;
const LD_MEM = 0x60;
const LDX_MEM = 0x61;
const ST = 0x02;
const ADD_X = 0x0c;
const MUL = 0x24;
const OR = 0x44;
const RSH = 0x74;
const MOD = 0x94;
const JEQ = 0x15;
const JSET = 0x45;
const RET_A = 0x16;
/** Offsets from here on are counted from the network header (SKF_NET_OFF), and from there on are of the packet itself (SKF_AD_OFF). */
const NET = -0x100000;
const AD_PROTOCOL = -0x1000;

type Instruction = readonly [op: number, k: number, jt: number, jf: number];
/** Where a jump goes: `next` is the line behind it. */
type Label = 'next' | 'end' | 'ports' | 'echo';
type Line = readonly [op: number, k: number, ifTrue?: Label, ifFalse?: Label] | Label;

/** Adds the upper bits of a product with what is loaded to the sum, which is in memory. */
const plus = (factor: number): Line[] => [
  [MUL, factor],
  [RSH, 20],
  [LDX_MEM, 0],
  [ADD_X, 0],
  [ST, 0],
];
const ADDRESS = plus(0x85ebca6b);
const PORT = plus(0x9e3779b1);

/** The program for `workers` sockets: what it returns is the number of one. */
export const fanoutProgram = (workers: number): Instruction[] =>
  assemble([
    // Memory has to be written before it is read, on every way.
    [LD_NUMBER, 0],
    [ST, 0],
    [LD_HALF, AD_PROTOCOL],
    [JEQ, 0x0800, 'next', 'end'],
    [LD_WORD, NET + 12],
    ...ADDRESS,
    [LD_WORD, NET + 16],
    ...ADDRESS,
    [LD_BYTE, NET],
    [JEQ, 0x45, 'next', 'end'],
    [LD_HALF, NET + 6],
    [JSET, 0x3fff, 'end', 'next'],
    [LD_BYTE, NET + 9],
    [JEQ, PROTO_TCP, 'ports', 'next'],
    [JEQ, PROTO_UDP, 'ports', 'next'],
    [JEQ, PROTO_ICMP, 'next', 'end'],
    [LD_BYTE, NET + 20],
    [JEQ, ECHO_REQUEST, 'echo', 'next'],
    [JEQ, ECHO_REPLY, 'echo', 'end'],
    'echo',
    // Type and code of the request stand for one port, the identifier for the other.
    [LD_BYTE, NET + 21],
    [OR, ECHO_REQUEST << 8],
    ...PORT,
    [LD_HALF, NET + 24],
    ...PORT,
    [LD_MEM, 0],
    [MOD, workers],
    [RET_A, 0],
    'ports',
    [LD_HALF, NET + 20],
    ...PORT,
    [LD_HALF, NET + 22],
    ...PORT,
    'end',
    [LD_MEM, 0],
    [MOD, workers],
    [RET_A, 0],
  ]);

/** Jumps count instructions from the one behind them. */
function assemble(lines: readonly Line[]): Instruction[] {
  const at = new Map<Label, number>();
  const code: Exclude<Line, Label>[] = [];
  for (const line of lines) {
    if (typeof line === 'string') at.set(line, code.length);
    else code.push(line);
  }
  const distance = (i: number, to: Label = 'next'): number => (to === 'next' ? 0 : at.get(to)! - i - 1);
  return code.map(([op, k, ifTrue, ifFalse], i) => [op, k, distance(i, ifTrue), distance(i, ifFalse)]);
}

/** Joins the sockets of interface `name` in their order. Throws LinkError. */
export function joinFanout(name: string, sockets: readonly number[]): void {
  const sys = syscalls();
  const first = sockets[0]!;
  const id = (process.pid ^ (first << 8)) & 0xffff;
  const program = fanoutProgram(sockets.length);
  const value = new NativeBytes(sys, 16);
  const join = (fd: number, type: number): boolean => {
    value.i32[0] = id | (type << 16);
    return sys.setsockopt(fd, SOL_PACKET, PACKET_FANOUT, value.address, 4) >= 0;
  };
  // The first makes the group; one that has no program yet would give everything to the first socket.
  let type = FANOUT_CBPF;
  if (!join(first, type) || !load(sys, first, program)) {
    type = FANOUT_HASH;
  }
  for (const [i, fd] of sockets.entries()) {
    if ((i === 0 && type === FANOUT_CBPF) || join(fd, type)) continue;
    const code = errnoName(sys.errno());
    throw new LinkError(
      code,
      `packet ${name}: cannot divide it among ${sockets.length} workers (${code}): set workers = 1`,
    );
  }
}

/** struct sock_fprog: count u16, address u64 at 8; struct sock_filter: op u16, jt u8, jf u8, k u32. */
function load(sys: Syscalls, fd: number, program: readonly Instruction[]): boolean {
  const code = new NativeBytes(sys, program.length * 8);
  program.forEach(([op, k, jt, jf], i) => {
    code.u16[i * 4] = op;
    code.u8[i * 8 + 2] = jt;
    code.u8[i * 8 + 3] = jf;
    code.i32[i * 2 + 1] = k;
  });
  const head = new NativeBytes(sys, 16);
  head.u16[0] = program.length;
  head.set64(8, code.address);
  return sys.setsockopt(fd, SOL_PACKET, PACKET_FANOUT_DATA, head.address, 16) >= 0;
}
