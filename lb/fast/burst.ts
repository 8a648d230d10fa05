/**
 * First three loops of the short cut: which frames of a burst are plain TCP segments or UDP datagrams for us, their hashes,
 * the lines of the index and the rows they will need. Each loop touches one thing, so that the loads of a burst overlap: this is
 * our prefetch.
 *
 * A frame is taken for plain only if ethernet and IPv4 input would let it pass: for this port's address, long enough, its header
 * without options and its checksum right, no fragment. Words are in machine order.
 * @hot
 */
import { F_CSUM_VALID, type FramePool } from '../../stack/mem/frame-pool.ts';
import { BURST } from '../../stack/netif/device.ts';
import type { Port } from '../../stack/netif/port.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { fold } from '../../stack/wire/checksum.ts';
import { ETH_LEN, ETHERTYPE_IPV4 } from '../../stack/wire/ethernet.ts';
import { IPV4_LEN, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { UDP_LEN } from '../../stack/wire/udp.ts';
import type { ConnTable } from '../conn.ts';

// Words of a packet whose IP header has no options, from that header on.
export const VERSION_LENGTH = 0;
export const ID_FRAGMENT = 1;
export const TTL_SUM = 2;
export const SRC = 3;
export const DST = 4;
export const PORTS = 5;
export const SEQ = 6;
export const ACK = 7;
export const OFFSET_FLAGS = 8;
export const SUM_URGENT = 9;
/** Of UDP: length and checksum. */
export const LENGTH_SUM = 6;

/** MF and offset, as they lie in the upper half of their word; DF. */
const FRAGMENT = 0xff3f0000 | 0;
export const DF = 0x00400000;
/** The word that ends an Ethernet header: two bytes of address and the type. */
const TYPE = ETHERTYPE_IPV4 >> 8;

/** Packets of a burst that one table may know. */
export class TableBurst {
  n = 0;
  /** Where it stands in the burst. */
  readonly index = new Int32Array(BURST);
  readonly frame = new Int32Array(BURST);
  /** Word of its IP header. */
  readonly word = new Int32Array(BURST);
  /** Bytes of the packet. */
  readonly len = new Int32Array(BURST);
  readonly src = new Int32Array(BURST);
  readonly dst = new Int32Array(BURST);
  readonly ports = new Int32Array(BURST);
  readonly hashes = new Int32Array(BURST);
  readonly guesses = new Int32Array(BURST);
  // Set as it goes on its way through index.ts.
  /** Its connection and direction; 0 = it is left to the long way. */
  readonly hits = new Int32Array(BURST);
  /** Its new destination, and the address whose adjacency leads there: a server's own, or a client's gateway. */
  readonly to = new Int32Array(BURST);
  readonly key = new Int32Array(BURST);
  /** The adjacency, 0 = none. */
  readonly hop = new Int32Array(BURST);
  /** Consumes what touching gave, so that the loads are not optimised away. */
  touched = 0;

  readonly table: ConnTable;

  constructor(table: ConnTable) {
    this.table = table;
  }

  /** Takes the packet of frame `f`, the `i`th of the burst. */
  take(i32: Int32Array, f: number, i: number, w: number, len: number): void {
    const k = this.n++;
    this.index[k] = i;
    this.frame[k] = f;
    this.word[k] = w;
    this.len[k] = len;
    this.src[k] = swap32(i32[w + SRC]);
    this.dst[k] = swap32(i32[w + DST]);
    this.ports[k] = swap32(i32[w + PORTS]);
  }

  hash(): void {
    const { table, src, dst, ports, hashes, n } = this;
    for (let k = 0; k < n; k++) hashes[k] = table.hash(src[k], dst[k], ports[k]);
  }

  guess(): void {
    const { table, hashes, guesses, n } = this;
    this.touched ^= table.touchAll(hashes, n);
    this.touched ^= table.guessAll(hashes, guesses, n);
  }
}

/** Sorts what is plain into `tcp` and `udp`. */
export function sortBurst(
  pool: FramePool,
  port: Port,
  frames: Int32Array,
  n: number,
  tcp: TableBurst,
  udp: TableBurst,
): void {
  const { i32, off: offs, len: lens, flags, gsoSize, fragLen } = pool;
  const macLo = swap32(port.macLo);
  const macHi = swap32(port.macHi) >>> 16;
  tcp.n = 0;
  udp.n = 0;
  for (let i = 0; i < n; i++) {
    const f = frames[i];
    const off = offs[f];
    if ((off & 3) !== 2 || (flags[f] & ~F_CSUM_VALID) !== 0 || gsoSize[f] !== 0 || fragLen[f] !== 0) continue;
    const w = (off + ETH_LEN) >> 2;
    if (i32[w - 3] !== macLo || i32[w - 4] >>> 16 !== macHi || i32[w - 1] >>> 16 !== TYPE) continue;
    const a = i32[w];
    const len = ((a >>> 8) & 0xff00) | (a >>> 24);
    if ((a & 0xff) !== 0x45 || len > lens[f] - ETH_LEN || len < IPV4_LEN + UDP_LEN) continue;
    const b = i32[w + ID_FRAGMENT];
    const c = i32[w + TTL_SUM];
    if ((b & FRAGMENT) !== 0 || sum5(a, b, c, i32[w + SRC], i32[w + DST]) !== 0xffff) continue;
    const proto = (c >>> 8) & 0xff;
    if (proto === PROTO_TCP) tcp.take(i32, f, i, w, len);
    else if (proto === PROTO_UDP) udp.take(i32, f, i, w, len);
  }
}

function sum5(a: number, b: number, c: number, d: number, e: number): number {
  const low = (a & 0xffff) + (b & 0xffff) + (c & 0xffff) + (d & 0xffff) + (e & 0xffff);
  return fold(low + (a >>> 16) + (b >>> 16) + (c >>> 16) + (d >>> 16) + (e >>> 16));
}
