/**
 * The XDP program: decides in the kernel, for every frame that arrives at an interface, whether it is ours. Those go to the AF_XDP
 * socket of their queue; all others take their usual way through the kernel, so the host keeps its own address, and ssh, on
 * the interface.
 *
 * ```
 *  to our MAC address, where that is not the interface's     ours
 *  ARP whose target address is in the map of addresses       ours
 *  IPv4 whose destination is in it                           ours
 *  anything else                                             the kernel's
 * ```
 *
 * Assembled here, as there are forty instructions. Encoding: Documentation/bpf/standardization/instruction-set.rst.
 */

/** Registers: r0 result, r1..r5 arguments, r6.. preserved, r10 stack. */
type Register = number;
type Line = { readonly bytes: readonly number[]; readonly jump?: string } | { readonly label: string };

const XDP_PASS = 2;
const MAP_LOOKUP = 1;
const REDIRECT_MAP = 51;
/** Offsets in struct xdp_md. */
const DATA = 0;
const DATA_END = 4;
const RX_QUEUE = 16;

const ETHERTYPE_IPV4 = 0x0800;
const ETHERTYPE_ARP = 0x0806;
/** Offsets in a frame: Ethernet type, ARP target address, IPv4 destination; and where each header ends. */
const TYPE = 12;
const ARP_TARGET = 38;
const IPV4_DST = 30;
const ETH_END = 14;
const ARP_END = 42;
const IPV4_END = 34;

const u16 = (n: number): number[] => [n & 255, (n >> 8) & 255];
const u32 = (n: number): number[] => [...u16(n), ...u16(n >> 16)];
const op = (code: number, dst: Register, src: Register, offset: number, value: number): Line => ({
  bytes: [code, dst | (src << 4), ...u16(offset), ...u32(value)],
});
const jump = (code: number, dst: Register, src: Register, value: number, to: string): Line => ({
  bytes: [code, dst | (src << 4), 0, 0, ...u32(value)],
  jump: to,
});
const label = (name: string): Line => ({ label: name });

const move = (dst: Register, src: Register): Line => op(0xbf, dst, src, 0, 0);
const set = (dst: Register, value: number): Line => op(0xb7, dst, 0, 0, value);
const add = (dst: Register, value: number): Line => op(0x07, dst, 0, 0, value);
const load32 = (dst: Register, src: Register, offset: number): Line => op(0x61, dst, src, offset, 0);
const load16 = (dst: Register, src: Register, offset: number): Line => op(0x69, dst, src, offset, 0);
const store32 = (dst: Register, offset: number, src: Register): Line => op(0x63, dst, src, offset, 0);
const loadMap = (dst: Register, fd: number): Line[] => [op(0x18, dst, 1, 0, fd), op(0, 0, 0, 0, 0)];
const call = (helper: number): Line => op(0x85, 0, 0, 0, helper);
const exit = op(0x95, 0, 0, 0, 0);
const goto = (to: string): Line => jump(0x05, 0, 0, 0, to);
const ifEqual = (dst: Register, value: number, to: string): Line => jump(0x15, dst, 0, value, to);
const ifNotEqual32 = (dst: Register, value: number, to: string): Line => jump(0x56, dst, 0, value, to);
const ifAbove = (dst: Register, src: Register, to: string): Line => jump(0x2d, dst, src, 0, to);

/** A 16-bit field as a little-endian load sees it. */
const swapped = (n: number): number => ((n & 255) << 8) | (n >> 8);

const CTX = 6;
const START = 2;
const END = 3;
const SCRATCH = 4;
const FIELD = 5;

/** Goes on only when the frame has `bytes`: the verifier wants to see it before each access. */
const needs = (bytes: number): Line[] => [move(SCRATCH, START), add(SCRATCH, bytes), ifAbove(SCRATCH, END, 'pass')];

/** `mac`: everything sent there is ours; null where it is the interface's own. */
export function xdpProgram(addresses: number, sockets: number, mac: readonly number[] | null): Uint8Array {
  return assemble([
    move(CTX, 1),
    load32(START, CTX, DATA),
    load32(END, CTX, DATA_END),
    ...needs(ETH_END),
    ...(mac === null ? [] : toMac(mac)),
    load16(FIELD, START, TYPE),
    ifEqual(FIELD, swapped(ETHERTYPE_IPV4), 'ipv4'),
    ifNotEqual32(FIELD, swapped(ETHERTYPE_ARP), 'pass'),
    ...needs(ARP_END),
    load32(FIELD, START, ARP_TARGET),
    goto('known'),
    label('ipv4'),
    ...needs(IPV4_END),
    load32(FIELD, START, IPV4_DST),
    label('known'),
    store32(10, -4, FIELD),
    ...loadMap(1, addresses),
    move(2, 10),
    add(2, -4),
    call(MAP_LOOKUP),
    ifEqual(0, 0, 'pass'),
    label('ours'),
    load32(2, CTX, RX_QUEUE),
    ...loadMap(1, sockets),
    // What to do when the queue has no socket.
    set(3, XDP_PASS),
    call(REDIRECT_MAP),
    exit,
    label('pass'),
    set(0, XDP_PASS),
    exit,
  ]);
}

function toMac([a = 0, b = 0, c = 0, d = 0, e = 0, f = 0]: readonly number[]): Line[] {
  return [
    load32(FIELD, START, 0),
    ifNotEqual32(FIELD, a | (b << 8) | (c << 16) | (d << 24), 'other'),
    load16(FIELD, START, 4),
    ifEqual(FIELD, e | (f << 8), 'ours'),
    label('other'),
  ];
}

/** Jumps count instructions from the one behind them. */
function assemble(lines: readonly Line[]): Uint8Array {
  const at = new Map<string, number>();
  const code: { bytes: readonly number[]; jump?: string }[] = [];
  for (const line of lines) {
    if ('label' in line) at.set(line.label, code.length);
    else code.push(line);
  }
  return Uint8Array.from(
    code.flatMap(({ bytes, jump: to }, i) => {
      if (to === undefined) return bytes;
      const target = at.get(to);
      if (target === undefined) throw new Error(`no label ${to}`);
      return [...bytes.slice(0, 2), ...u16(target - i - 1), ...bytes.slice(4)];
    }),
  );
}
