/**
 * Which frames of a burst are plain IPv4 packets for us: what nearly all are, and what short cuts know how to carry. Plain is
 * what ethernet and IPv4 input would let pass without a second look: on a 4-byte boundary, whole, in one piece, without
 * offloads, addressed to the port, long enough, its header without options and its checksum right (RFC 1122 §3.2.1).
 *
 * Words are in machine order. Called by ipv4/fast-forward.ts and lb/fast.
 * @hot
 */
import { F_CSUM_VALID, type FramePool } from '../mem/frame-pool.ts';
import type { Port } from '../netif/port.ts';
import type { FrameId } from '../types.ts';
import { swap32 } from '../wire/bytes.ts';
import { finish } from '../wire/checksum.ts';
import { ETH_LEN, ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import { IPV4_LEN, plainSum } from '../wire/ipv4.ts';

// Words of an IP header without options, and the first one behind it.
export const ID_FRAGMENT = 1;
export const TTL_SUM = 2;
export const SRC = 3;
export const DST = 4;
export const PORTS = 5;
// Those of a TCP header there.
export const SEQ = 6;
export const ACK = 7;
export const OFFSET_FLAGS = 8;
export const SUM_URGENT = 9;

/** MF and offset, and DF, as they lie in the upper half of their word. */
export const FRAGMENT = 0xff3f0000 | 0;
export const DF = 0x00400000;
/** The word that ends an Ethernet header: two bytes of address and the type. */
const TYPE = ETHERTYPE_IPV4 >> 8;

/** Machine order of a port's address: the first two bytes, and the other four. */
export const macStart = (port: Port): number => swap32(port.macHi) >>> 16;
export const macRest = (port: Port): number => swap32(port.macLo);

/** Word of the frame's IP header, 0 = it is not plain. The address as of `macStart` and `macRest`. */
export function plainWord(pool: FramePool, f: FrameId, start: number, rest: number): number {
  const { i32 } = pool;
  const off = pool.off[f];
  if ((off & 3) !== 2 || (pool.flags[f] & ~F_CSUM_VALID) !== 0 || pool.gsoSize[f] !== 0 || pool.fragLen[f] !== 0)
    return 0;
  const w = (off + ETH_LEN) >> 2;
  if (i32[w - 3] !== rest || i32[w - 4] >>> 16 !== start || i32[w - 1] >>> 16 !== TYPE) return 0;
  const len = packetLength(i32, w);
  if ((i32[w] & 0xff) !== 0x45 || len > pool.len[f] - ETH_LEN || len < IPV4_LEN) return 0;
  return plainSum(i32, w) === 0xffff ? w : 0;
}

/** Bytes of the packet whose header begins at word `w`. */
export const packetLength = (i32: Int32Array, w: number): number => ((i32[w] >>> 8) & 0xff00) | (i32[w] >>> 24);

/** One hop less, checksum updated in place (RFC 1624). */
export function decrementTtl(i32: Int32Array, w: number): void {
  const before = i32[w + TTL_SUM];
  // TTL is the low byte of the half that changes: one less is 0xfffe more to a ones'-complement sum.
  i32[w + TTL_SUM] = ((before & 0xffff) - 1) | (finish((~(before >>> 16) & 0xffff) + 0xfffe) << 16);
}
