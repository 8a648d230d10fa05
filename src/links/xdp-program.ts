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
 * Assembled here, as there are forty instructions.
 */
import {
  add,
  assemble,
  call,
  exit,
  goto,
  ifAbove,
  ifEqual,
  ifNotEqual32,
  type Line,
  label,
  load16,
  load32,
  loadMap,
  move,
  set,
  store32,
} from './bpf-program.ts';

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
