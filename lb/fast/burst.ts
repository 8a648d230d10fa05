/**
 * First three loops of the short cut: which frames of a burst are plain TCP segments or UDP datagrams for us, their hashes,
 * the lines of the index and the rows they will need. Each loop touches one thing, so that the loads of a burst overlap: this is
 * our prefetch.
 *
 * Plain are those of stack/ipv4/plain.ts that are no fragments. Words are in machine order.
 * @hot
 */
import {
  DST,
  FRAGMENT,
  ID_FRAGMENT,
  macRest,
  macStart,
  PORTS,
  packetLength,
  plainWord,
  SRC,
  TTL_SUM,
} from '../../stack/ipv4/plain.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { BURST } from '../../stack/netif/device.ts';
import type { Port } from '../../stack/netif/port.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { IPV4_LEN, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { UDP_LEN } from '../../stack/wire/udp.ts';
import type { ConnTable } from '../conn.ts';

/** Word of UDP in such a packet, from its IP header on: length and checksum. */
export const LENGTH_SUM = 6;

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
  /** 1: it may change its connection's state, which then says how long it lives. Of segments only. */
  readonly tells = new Uint8Array(BURST);
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
  const { i32 } = pool;
  const start = macStart(port);
  const rest = macRest(port);
  tcp.n = 0;
  udp.n = 0;
  for (let i = 0; i < n; i++) {
    const f = frames[i];
    const w = plainWord(pool, f, start, rest);
    if (w === 0 || (i32[w + ID_FRAGMENT] & FRAGMENT) !== 0) continue;
    const len = packetLength(i32, w);
    if (len < IPV4_LEN + UDP_LEN) continue;
    const proto = (i32[w + TTL_SUM] >>> 8) & 0xff;
    if (proto === PROTO_TCP) tcp.take(i32, f, i, w, len);
    else if (proto === PROTO_UDP) udp.take(i32, f, i, w, len);
  }
}
