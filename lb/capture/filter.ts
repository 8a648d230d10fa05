/**
 * Which frames a capture wants: a small program in postfix order, three words an instruction, run over the addresses, ports and
 * protocol of a frame. src/capture/expression.ts makes it of what people type; capture.ts runs it.
 * @hot while a capture runs
 */
import type { Ipv4 } from '../../stack/types.ts';

// Instructions; a and b are the words behind.
/** (address & b) = a, of either end, of the source, of the destination. */
export const HOST = 1;
export const SRC = 2;
export const DST = 3;
/** a <= port <= b. */
export const PORT = 4;
export const SPORT = 5;
export const DPORT = 6;
/** IP protocol a; ARP counts as ARP_PROTO. */
export const PROTO = 7;
export const NOT = 8;
export const AND = 9;
export const OR = 10;

export const ARP_PROTO = -1;
/** Results that may wait for their AND or OR. */
export const MAX_DEPTH = 30;

/** What a frame says of itself; ports -1 where it has none. */
export class FrameFacts {
  proto = 0;
  src: Ipv4 = 0;
  dst: Ipv4 = 0;
  sport = -1;
  dport = -1;

  set(proto: number, src: Ipv4, dst: Ipv4, sport: number, dport: number): void {
    this.proto = proto;
    this.src = src;
    this.dst = dst;
    this.sport = sport;
    this.dport = dport;
  }
}

/** Whether a frame is wanted. An empty program wants all. Precondition: `program` is one that the parser makes. */
export function matches(program: Int32Array, facts: FrameFacts): boolean {
  if (program.length === 0) return true;
  // The results, the last one in bit 0.
  let stack = 0;
  for (let i = 0; i < program.length; i += 3) {
    const op = program[i]!;
    if (op === NOT) stack ^= 1;
    else if (op === AND || op === OR) {
      const top = stack & 1;
      stack >>>= 1;
      stack = op === AND ? stack & (top | ~1) : stack | top;
    } else stack = (stack << 1) | (holds(op, program[i + 1]!, program[i + 2]!, facts) ? 1 : 0);
  }
  return (stack & 1) !== 0;
}

function holds(op: number, a: number, b: number, { proto, src, dst, sport, dport }: FrameFacts): boolean {
  switch (op) {
    case HOST:
      return (src & b) === a || (dst & b) === a;
    case SRC:
      return (src & b) === a;
    case DST:
      return (dst & b) === a;
    case PORT:
      return (sport >= a && sport <= b) || (dport >= a && dport <= b);
    case SPORT:
      return sport >= a && sport <= b;
    case DPORT:
      return dport >= a && dport <= b;
    default:
      return proto === a;
  }
}
