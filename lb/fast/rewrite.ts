/**
 * What lb/xmit does to plain packets, in words of machine order instead of bytes. A ones'-complement sum does not depend on the
 * byte order (RFC 1071 §2 (B)), so checksums are corrected as they lie there (RFC 1624 eqn. 3). `w` is the word of the IP header.
 *
 * Called by lb/fast/index.ts.
 * @hot
 */
import { DF, DST, ID_FRAGMENT, PORTS, SRC, SUM_URGENT, TTL_SUM } from '../../stack/ipv4/plain.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { finish, fold, pseudo4 } from '../../stack/wire/checksum.ts';
import { IPV4_LEN, PROTO_IPIP } from '../../stack/wire/ipv4.ts';
import { change32, reversed } from '../xmit/rewrite.ts';
import { LENGTH_SUM } from './burst.ts';

/** Adds to the number in word `at`; returns the change of the checksum. */
export function shift(i32: Int32Array, at: number, delta: number): number {
  const before = i32[at];
  const after = swap32((swap32(before) + delta) | 0);
  i32[at] = after;
  return change32(before, after);
}

/**
 * Sets both addresses and ports, and corrects the header's checksum; returns the change of the pseudo-header and ports. All in host
 * order; `ports` as they are said on the way back: the other tuple of the connection is what this packet becomes.
 */
export function setEnds(i32: Int32Array, w: number, src: number, dst: number, ports: number): number {
  const from = swap32(src);
  const to = swap32(dst);
  const change = change32(i32[w + SRC], from) + change32(i32[w + DST], to);
  i32[w + SRC] = from;
  i32[w + DST] = to;
  const ttl = i32[w + TTL_SUM];
  i32[w + TTL_SUM] = (ttl & 0xffff) | (finish((~(ttl >>> 16) & 0xffff) + change) << 16);
  const pair = swap32(reversed(ports));
  const portChange = change32(i32[w + PORTS], pair);
  i32[w + PORTS] = pair;
  return change + portChange;
}

/** Corrects the checksum of TCP. */
export function fixTcp(i32: Int32Array, w: number, change: number): void {
  const sum = i32[w + SUM_URGENT];
  i32[w + SUM_URGENT] = (sum & ~0xffff) | finish((~sum & 0xffff) + change);
}

/** The same for UDP, where zero stands for none, and is sent as its other form (RFC 768). */
export function fixUdp(i32: Int32Array, w: number, change: number): void {
  const word = i32[w + LENGTH_SUM];
  const sum = word >>> 16;
  if (sum === 0) return;
  const fixed = finish((~sum & 0xffff) + change);
  i32[w + LENGTH_SUM] = (word & 0xffff) | ((fixed === 0 ? 0xffff : fixed) << 16);
}

/** The part of an outer header's sum that server and source decide; addresses in machine order. */
export const outerSum = (src: number, dst: number): number => fold(pseudo4(src, dst, 0x45 + (PROTO_IPIP << 8), 0));

/**
 * Puts an IPIP header (RFC 2003 §3.1) before the packet of `len` bytes: `id` as it is said, addresses in machine order, `base` as
 * `outerSum` gives it for them.
 */
export function encapsulate(
  i32: Int32Array,
  w: number,
  len: number,
  id: number,
  src: number,
  dst: number,
  base: number,
): void {
  const outer = w - (IPV4_LEN >> 2);
  const total = len + IPV4_LEN;
  const tos = i32[w] & 0xff00;
  const size = ((total & 0xff) << 8) | (total >>> 8);
  const ident = ((id & 0xff) << 8) | (id >>> 8);
  const df = i32[w + ID_FRAGMENT] & DF;
  const ttl = i32[w + TTL_SUM] & 0xff;
  const sum = finish(base + tos + size + ident + (df >>> 16) + ttl);
  i32[outer] = 0x45 | tos | (size << 16);
  i32[outer + 1] = ident | df;
  i32[outer + 2] = ttl | (PROTO_IPIP << 8) | (sum << 16);
  i32[outer + 3] = src;
  i32[outer + 4] = dst;
}
