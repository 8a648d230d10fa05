/**
 * Ready ways to next hops, as routers call them adjacencies: for an address the port, the MTU and the finished Ethernet header, so
 * that a forwarded packet costs one comparison instead of a route, a neighbour and a header put together anew.
 *
 * A cache, direct mapped: what it says is what route and neighbour table say, and holds until either changes (`changes` of both).
 * Only neighbours that may be used without further ado are in it: a STALE one is left to output.ts, which makes it DELAY, and a
 * broadcast has none. (An address of ours is a route of its own, so routes change with addresses.)
 * `USED` of the neighbour is kept as output.ts keeps it.
 *
 * The header is four words in machine order, for an IP header on a 4-byte boundary; the first two bytes of the first lie before
 * the frame and mean nothing.
 *
 * Called by ipv4/fast-forward.ts and lb/fast.
 * @hot
 */
import type { Context } from '../context.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import type { FramePool } from '../mem/frame-pool.ts';
import type { Routes4 } from '../route/route4.ts';
import type { FrameId, Ipv4, PortId } from '../types.ts';
import { swap32 } from '../wire/bytes.ts';
import { ETH_LEN, ETHERTYPE_IPV4 } from '../wire/ethernet.ts';
import type { Link } from './link.ts';
import { STALE } from './state.ts';
import { MAC_HI, MAC_LO, type NeighTable, STATE, USED } from './table.ts';

/** Words of an entry. */
export const KEY = 0;
const EPOCH = 1;
export const PORT = 2;
/** Bytes of the largest packet. */
export const MTU = 3;
/** The route's own source address, 0 = it has none. */
export const SRC = 4;
/** Where the neighbour's row begins. */
const NEIGH = 5;
/** The header: HEADER .. HEADER + 3. */
export const HEADER = 8;
/** Four words for the caller to keep what it makes of the entry. The first is 0 when the entry is made, and asked whether there is any. */
export const KEPT = 12;

const SLOTS = 512;
const SHIFT = Math.clz32(SLOTS) + 1;
const ROW_SHIFT = 4;

/** Puts the header of entry `hop` before the packet of `len` bytes whose IP header is at word `w`: the frame is complete. */
export function putHeader(pool: FramePool, words: Int32Array, hop: number, f: FrameId, w: number, len: number): void {
  const { i32 } = pool;
  i32[w - 4] = words[hop + HEADER]!;
  i32[w - 3] = words[hop + HEADER + 1]!;
  i32[w - 2] = words[hop + HEADER + 2]!;
  i32[w - 1] = words[hop + HEADER + 3]!;
  pool.off[f] = (w << 2) - ETH_LEN;
  pool.len[f] = len + ETH_LEN;
}

/** Entry 0 stands for none. */
const place = (key: Ipv4): number => ((Math.imul(key, 0x9e3779b1) >>> SHIFT) + 1) << ROW_SHIFT;

export class Adjacencies {
  readonly words = new Int32Array((SLOTS + 1) << ROW_SHIFT);

  private readonly ctx: Context;
  private readonly routes: Routes4;
  private readonly addresses: LocalAddresses;
  private readonly table: NeighTable;
  private readonly neigh: Int32Array;
  private readonly link: Link;

  constructor(ctx: Context, routes: Routes4, addresses: LocalAddresses, table: NeighTable, link: Link) {
    this.ctx = ctx;
    this.routes = routes;
    this.addresses = addresses;
    this.table = table;
    this.neigh = table.words;
    this.link = link;
    this.words.fill(-1);
  }

  /** Where the entries for packets to `to[0..n)` begin, into `hops`; 0 = the long way. A later one may have taken an earlier one's place. */
  findAll(to: Int32Array, hops: Int32Array, n: number): void {
    const { words, neigh } = this;
    const { nowMs } = this.ctx;
    const epoch = this.epoch();
    for (let i = 0; i < n; i++) {
      const key = to[i]!;
      let at = place(key);
      if (words[at + KEY] !== key || words[at + EPOCH] !== epoch) at = this.route(at, key);
      else neigh[words[at + NEIGH]! + USED] = nowMs;
      hops[i] = at;
    }
  }

  /** The same for the next hops `to[0..n)` on the links of `ports[0..n)`, for who has asked the routes. Not beside `findAll`. */
  findHops(to: Int32Array, ports: Int32Array, hops: Int32Array, n: number): void {
    const { words, neigh } = this;
    const { nowMs } = this.ctx;
    const epoch = this.epoch();
    for (let i = 0; i < n; i++) {
      const key = to[i]!;
      const port = ports[i]!;
      let at = place(key);
      const known = words[at + KEY] === key && words[at + PORT] === port && words[at + EPOCH] === epoch;
      if (!known) at = this.fill(at, key, port, key);
      else neigh[words[at + NEIGH]! + USED] = nowMs;
      hops[i] = at;
    }
  }

  /** Both only grow: the sum stays the same as long as they do. */
  private epoch(): number {
    return (this.routes.changes + this.table.changes) & 0x7fffffff;
  }

  private route(at: number, to: Ipv4): number {
    const { words, routes } = this;
    if (!routes.lookup(to) || this.fill(at, to, routes.outPort, routes.outNextHop) === 0) return 0;
    words[at + MTU] = routes.outMtu;
    words[at + SRC] = routes.outSrc;
    return at;
  }

  private fill(at: number, key: Ipv4, port: PortId, nextHop: Ipv4): number {
    const { words, addresses, table, neigh, link } = this;
    const i = addresses.isBroadcast(nextHop, port) ? 0 : table.find(nextHop, port);
    const row = i << ROW_SHIFT;
    if (i === 0 || neigh[row + STATE]! <= STALE) return 0;
    const srcLo = link.macLo(port);
    words[at + KEY] = key;
    words[at + EPOCH] = this.epoch();
    words[at + PORT] = port;
    words[at + NEIGH] = row;
    words[at + KEPT] = 0;
    words[at + HEADER] = swap32(neigh[row + MAC_HI]!);
    words[at + HEADER + 1] = swap32(neigh[row + MAC_LO]!);
    words[at + HEADER + 2] = swap32((link.macHi(port) << 16) | (srcLo >>> 16));
    words[at + HEADER + 3] = swap32((srcLo << 16) | ETHERTYPE_IPV4);
    neigh[row + USED] = this.ctx.nowMs;
    return at;
  }
}
