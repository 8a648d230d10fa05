/**
 * The short cut for what nearly every packet is: a plain packet of a known connection, as a link without offloads brings it.
 * A burst is taken in loops, each of which touches one thing: headers, hashes, lines of the index, rows (burst.ts); then who
 * may pass, the rewrite, the way out. The last three do what ethernet, IPv4, lb/core.ts, lb/xmit, route and neighbour do, in
 * words instead of bytes, and leave what they do not know (a client's SYN, resets, IP options, fragments, GSO, packets too long
 * for the link, connections that policy may end) to them, untouched.
 *
 * Loops are short methods on purpose: what V8 inlines into one function is limited, and a call per packet costs as much as a
 * checksum.
 *
 * What is skipped is decided already: the source was judged when the connection's first packet came, and a connection's
 * packets are never for us. The order within a connection stays, but for a SYN or a reset that goes the long way; TCP bears that.
 *
 * Called by netif with each burst. Ownership: a verdict other than PASS is the frame's.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { ACK, DF, ID_FRAGMENT, OFFSET_FLAGS, SEQ } from '../../stack/ipv4/plain.ts';
import { type Adjacencies, KEPT, KEY, MTU, PORT, putHeader } from '../../stack/neigh/adjacency.ts';
import type { Neighbours } from '../../stack/neigh/output.ts';
import { BURST } from '../../stack/netif/device.ts';
import type { BurstInput, Netif, Port } from '../../stack/netif/port.ts';
import type { Routes4 } from '../../stack/route/route4.ts';
import type { FrameId, Ipv4 } from '../../stack/types.ts';
import { STOLEN } from '../../stack/verdict.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import * as wire from '../../stack/wire/tcp.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import type { Core } from '../core.ts';
import { ESTABLISHED } from '../proto/tcp.ts';
import type { Timeouts } from '../proto/timeouts.ts';
import * as udp from '../proto/udp.ts';
import type { ServiceTable } from '../service.ts';
import type { Tunnel } from '../xmit/tunnel.ts';
import { sortBurst, TableBurst } from './burst.ts';
import { encapsulate, fixTcp, fixUdp, outerSum, setEnds, shift } from './rewrite.ts';
import { Segments } from './segments.ts';

const OPENING_CLOSING = wire.SYN | wire.FIN | wire.RST | wire.ACK;
const HEADERS = ip.IPV4_LEN + wire.TCP_LEN;
/** A data offset of five words, as it lies in its word. */
const NO_OPTIONS = 0x50;
const DIRECT = c.DR << c.MODE_SHIFT;
const TUNNELLED = c.TUN << c.MODE_SHIFT;

/** Of outer headers to a server: our address in machine order, the part of the sum, and what identifications are counted by. */
const OUTER_SRC = KEPT;
const OUTER_SUM = KEPT + 1;
const OUTER_FLOW = KEPT + 2;

/** Words of an outer header. */
const OUTER_WORDS = ip.IPV4_LEN >> 2;

/** A burst is 64 packets of at most 65535 bytes: 23 bits of bytes, 7 of packets. */
const SUM_SHIFT = 23;
const SUM_BYTES = (1 << SUM_SHIFT) - 1;

export interface FastParts {
  readonly ctx: Context;
  readonly core: Core;
  readonly tcp: ConnTable;
  readonly udp: ConnTable;
  readonly tcpTimeouts: Timeouts;
  readonly udpTimeouts: Timeouts;
  readonly netif: Netif;
  readonly routes: Routes4;
  readonly adjacencies: Adjacencies;
  readonly neighbours: Neighbours;
  readonly services: ServiceTable;
  readonly tunnel: Tunnel;
  /** Largest TCP segment size let through in a SYN, by service; 0 = any. */
  readonly mss: Int32Array;
  /** Whether others want to see what is forwarded, or TTL is to be decremented: nothing is cut short then. */
  readonly mayCutShort: () => boolean;
}

export class FastPath implements BurstInput {
  /** Packets that took the short cut. */
  packets = 0;

  private readonly ctx: Context;
  private readonly core: Core;
  private readonly tcp: ConnTable;
  private readonly udp: ConnTable;
  private readonly tcpTimeouts: Timeouts;
  private readonly udpTimeouts: Timeouts;
  private readonly netif: Netif;
  private readonly routes: Routes4;
  private readonly adjacencies: Adjacencies;
  private readonly neighbours: Neighbours;
  private readonly mayCutShort: () => boolean;
  private readonly services: ServiceTable;
  private readonly tunnels: Tunnel;
  private readonly segments: Segments;
  private readonly tcpBurst: TableBurst;
  private readonly udpBurst: TableBurst;
  /** Packets << 23 | bytes of this burst, by server << 1 | direction; the slots that are not 0. */
  private readonly sums: Int32Array;
  private readonly noted = new Int32Array(BURST);
  private nNoted = 0;
  /** Packets of the burst that pass, those of them that go through tunnels, which, and those whose addresses change. */
  private passed = 0;
  private tunnelled = 0;
  private readonly through = new Int32Array(BURST);
  private rewritten = 0;
  /** Some segment of the burst may change its connection's state. */
  private moving = false;

  constructor(parts: FastParts) {
    this.ctx = parts.ctx;
    this.core = parts.core;
    this.tcp = parts.tcp;
    this.udp = parts.udp;
    this.tcpTimeouts = parts.tcpTimeouts;
    this.udpTimeouts = parts.udpTimeouts;
    this.netif = parts.netif;
    this.routes = parts.routes;
    this.adjacencies = parts.adjacencies;
    this.neighbours = parts.neighbours;
    this.mayCutShort = parts.mayCutShort;
    this.services = parts.services;
    this.tunnels = parts.tunnel;
    this.segments = new Segments(parts.ctx, parts.core, parts.tcp, parts.mss);
    this.tcpBurst = new TableBurst(parts.tcp);
    this.udpBurst = new TableBurst(parts.udp);
    this.sums = new Int32Array((parts.services.dests.capacity + 1) * 2);
  }

  burst(port: Port, frames: Int32Array, verdicts: Int32Array, n: number): number {
    if (!this.mayCutShort()) return 0;
    const before = this.packets;
    const { tcpBurst, udpBurst } = this;
    sortBurst(this.ctx.pool, port, frames, n, tcpBurst, udpBurst);
    if (tcpBurst.n > 0) {
      tcpBurst.hash();
      tcpBurst.guess();
      this.matchTcp(tcpBurst);
      this.admit(tcpBurst, this.tcpTimeouts, verdicts);
      if (this.moving) this.segments.move(tcpBurst);
      if (this.rewritten > 0) this.rewriteTcp(tcpBurst);
      if (this.tunnelled > 0) this.tunnel(tcpBurst);
      if (this.passed > this.tunnelled) this.forward(tcpBurst, true);
    }
    if (udpBurst.n > 0) {
      udpBurst.hash();
      udpBurst.guess();
      this.matchUdp(udpBurst);
      this.admit(udpBurst, this.udpTimeouts, verdicts);
      if (this.rewritten > 0) this.rewriteUdp(udpBurst);
      if (this.tunnelled > 0) this.tunnel(udpBurst);
      if (this.passed > this.tunnelled) this.forward(udpBurst, false);
    }
    if (this.nNoted > 0) this.settleCounts();
    return this.packets - before;
  }

  /** Finds the connections of plain segments. */
  private matchTcp(burst: TableBurst): void {
    const { word, len: lens, guesses, hashes, src, dst, ports, hits, tells, n } = burst;
    const { tcp: table } = this;
    const { i32 } = this.ctx.pool;
    const { rows } = table;
    let moving = false;
    for (let k = 0; k < n; k++) {
      hits[k] = 0;
      const control = i32[word[k] + OFFSET_FLAGS];
      const header = (control & 0xf0) >> 2;
      const len = lens[k];
      const flags = (control >>> 8) & OPENING_CLOSING;
      if ((flags & (wire.ACK | wire.RST)) !== wire.ACK || len < HEADERS) continue;
      if (header < wire.TCP_LEN || ip.IPV4_LEN + header > len) continue;
      const hit = table.confirm(guesses[k], hashes[k], src[k], dst[k], ports[k]);
      if (hit === 0) continue;
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const telling = flags !== wire.ACK || (rows[at + c.META] & c.STATE_MASK) !== ESTABLISHED;
      if (telling && (flags & wire.SYN) !== 0 && c.dirOf(hit) === c.IN) continue;
      tells[k] = telling ? 1 : 0;
      if (telling) moving = true;
      hits[k] = hit;
      this.aim(burst, k, rows, at, c.dirOf(hit));
    }
    this.moving = moving;
  }

  private matchUdp(burst: TableBurst): void {
    const { guesses, hashes, src, dst, ports, hits, n } = burst;
    const { udp: table } = this;
    const { rows } = table;
    for (let k = 0; k < n; k++) {
      hits[k] = 0;
      const hit = table.confirm(guesses[k], hashes[k], src[k], dst[k], ports[k]);
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const state = rows[at + c.META] & c.STATE_MASK;
      if (hit === 0 || udp.nextState(c.dirOf(hit) === c.OUT, state) !== state) continue;
      hits[k] = hit;
      this.aim(burst, k, rows, at, c.dirOf(hit));
    }
  }

  /** Where the packet goes: a server has its own adjacency; clients are many, behind few gateways. */
  private aim(burst: TableBurst, k: number, rows: Int32Array, at: number, dir: number): void {
    if (dir === c.IN) {
      const to = rows[at + c.RADDR];
      burst.to[k] = to;
      burst.key[k] = to;
    } else {
      const to = rows[at + c.CADDR];
      burst.to[k] = to;
      burst.key[k] = this.routes.lookup(to) ? this.routes.outNextHop : to;
    }
  }

  /** Who may pass: counted, and the connection refreshed. */
  private admit(burst: TableBurst, timeouts: Timeouts, verdicts: Int32Array): void {
    const { adjacencies, through } = this;
    const { policy } = this.core.endings;
    const { table, index, len: lens, hits, tells, key, hop, n } = burst;
    const { rows, cold } = table;
    const { nowMs } = this.ctx;
    adjacencies.findAll(key, hop, n);
    let passed = 0;
    let tunnelled = 0;
    let direct = 0;
    for (let k = 0; k < n; k++) {
      const hit = hits[k];
      if (hit === 0) continue;
      const row = c.rowOf(hit);
      const dir = c.dirOf(hit);
      const at = row << c.ROW_SHIFT;
      const meta = rows[at + c.META];
      const mode = meta & c.MODE_MASK;
      const service = rows[at + c.SERVICE_HOP] >>> 16;
      const len = lens[k];
      const outLen = mode === TUNNELLED ? len + ip.IPV4_LEN : len;
      if (
        mode > TUNNELLED ||
        (meta & c.F_TIMESTAMPS) !== 0 ||
        policy[service] !== 0 ||
        outLen > this.mtuOf(burst, k, dir)
      ) {
        hits[k] = 0;
        continue;
      }
      verdicts[index[k]] = STOLEN;
      if (mode === TUNNELLED) through[tunnelled++] = k;
      else if (mode === DIRECT) direct += 1;
      if (tells[k] === 0) {
        const due = (nowMs + timeouts.of(service, meta & c.STATE_MASK)) | 0;
        if (((due - rows[at + c.DUE]) | 0) >= 0) rows[at + c.DUE] = due;
        else table.refresh(row, (due - nowMs) | 0);
      }
      cold.count(row, dir, 1, len);
      this.note((rows[at + c.DEST] << 1) | dir, len);
      passed += 1;
    }
    this.packets += passed;
    this.passed = passed;
    this.tunnelled = tunnelled;
    this.rewritten = passed - tunnelled - direct;
  }

  /** Bytes of the largest packet that the way takes; 0 = there is no way. */
  private mtuOf(burst: TableBurst, k: number, dir: number): number {
    const hop = burst.hop[k];
    const { words } = this.adjacencies;
    // A later packet of the burst may have taken the server's place.
    return dir === c.IN && words[hop + KEY] === burst.key[k] ? words[hop + MTU] : this.mtuByRoute(burst, k);
  }

  /** The same for a client, whose route may differ from its gateway's, or where there is no adjacency. */
  private mtuByRoute(burst: TableBurst, k: number): number {
    const { routes, adjacencies } = this;
    if (!routes.lookup(burst.to[k])) return 0;
    const hop = burst.hop[k];
    if (hop !== 0 && adjacencies.words[hop + PORT] !== routes.outPort) burst.hop[k] = 0;
    return routes.outMtu;
  }

  private rewriteTcp(burst: TableBurst): void {
    const { word, to, hits, n } = burst;
    const { moving, segments } = this;
    const { i32 } = this.ctx.pool;
    const { rows } = this.tcp;
    for (let k = 0; k < n; k++) {
      const hit = hits[k];
      if (hit === 0) continue;
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const mode = rows[at + c.META] & c.MODE_MASK;
      const out = c.dirOf(hit) === c.OUT;
      if (!out && (mode === DIRECT || mode === TUNNELLED)) continue;
      const w = word[k];
      const delta = rows[at + c.SEQ_DELTA];
      if (out && !moving) segments.heard(burst, k, at, w);
      const tuple = at + (out ? c.IN_TUPLE : c.OUT_TUPLE);
      let change = setEnds(i32, w, rows[tuple + 1], to[k], rows[tuple + 2]);
      if (delta !== 0) change += out ? shift(i32, w + ACK, -delta | 0) : shift(i32, w + SEQ, delta);
      if (out && (i32[w + OFFSET_FLAGS] & 0xf0) !== NO_OPTIONS) change += segments.options(at, w, delta);
      fixTcp(i32, w, change);
    }
  }

  private rewriteUdp(burst: TableBurst): void {
    const { word, to, hits, n } = burst;
    const { i32 } = this.ctx.pool;
    const { rows } = this.udp;
    for (let k = 0; k < n; k++) {
      const hit = hits[k];
      if (hit === 0) continue;
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const mode = rows[at + c.META] & c.MODE_MASK;
      const out = c.dirOf(hit) === c.OUT;
      if (!out && (mode === DIRECT || mode === TUNNELLED)) continue;
      const tuple = at + (out ? c.IN_TUPLE : c.OUT_TUPLE);
      fixUdp(i32, word[k], setEnds(i32, word[k], rows[tuple + 1], to[k], rows[tuple + 2]));
    }
  }

  /** Puts both headers in front, and queues the frames: nothing else is to be done to these. */
  private tunnel(burst: TableBurst): void {
    const { netif, tunnels, through, tunnelled } = this;
    const { pool } = this.ctx;
    const { words } = this.adjacencies;
    const { i32 } = pool;
    const { frame, word, len, to: tos, hits, hop: hops } = burst;
    for (let i = 0; i < tunnelled; i++) {
      const k = through[i];
      const to = tos[k];
      const w = word[k];
      let hop = hops[k];
      if (words[hop + KEY] !== to || words[hop + OUTER_SRC] === 0) hop = this.outer(burst.table, hits[k], to, hop);
      const id = (i32[w + ID_FRAGMENT] & DF) !== 0 ? 0 : tunnels.ids.nextOf(words[hop + OUTER_FLOW]);
      encapsulate(i32, w, len[k], id, words[hop + OUTER_SRC], swap32(to), words[hop + OUTER_SUM]);
      hits[k] = 0;
      const f = frame[k];
      if (hop === 0) {
        this.longWay(f, w - OUTER_WORDS, len[k] + ip.IPV4_LEN, to);
        continue;
      }
      putHeader(pool, words, hop, f, w - OUTER_WORDS, len[k] + ip.IPV4_LEN);
      const verdict = netif.transmitPlain(f, words[hop + PORT]);
      if (verdict !== STOLEN) this.ctx.settle(f, verdict);
    }
  }

  /** Puts what outer headers to a server have in common into its adjacency, into that for none if it has none; returns which. */
  private outer(table: ConnTable, hit: number, to: Ipv4, hop: number): number {
    const { routes, tunnels } = this;
    const { words } = this.adjacencies;
    const dest = table.rows[(c.rowOf(hit) << c.ROW_SHIFT) + c.DEST];
    const at = words[hop + KEY] === to ? hop : 0;
    routes.lookup(to);
    const src = tunnels.sourceFor(dest, to, routes.outPort, routes.outSrc);
    words[at + OUTER_SRC] = swap32(src);
    words[at + OUTER_SUM] = outerSum(swap32(src), swap32(to));
    words[at + OUTER_FLOW] = tunnels.ids.flow(src, to, ip.PROTO_IPIP);
    return at;
  }

  /** Sends on what is not tunnelled; segments may become parts of larger frames. */
  private forward(burst: TableBurst, segments: boolean): void {
    const { netif } = this;
    const { pool } = this.ctx;
    const { words } = this.adjacencies;
    const { frame, word, len, to, hits, key, hop: hops, n } = burst;
    for (let k = 0; k < n; k++) {
      if (hits[k] === 0) continue;
      const hop = hops[k];
      // None, or another packet of the burst has taken its place.
      if (words[hop + KEY] !== key[k]) {
        this.longWay(frame[k], word[k], len[k], to[k]);
        continue;
      }
      const f = frame[k];
      putHeader(pool, words, hop, f, word[k], len[k]);
      const id = words[hop + PORT];
      const verdict = segments ? netif.transmitSegment(f, word[k], len[k], id) : netif.transmitPlain(f, id);
      if (verdict !== STOLEN) this.ctx.settle(f, verdict);
    }
  }

  /** The finished packet, by route and neighbour. */
  private longWay(f: FrameId, w: number, len: number, to: Ipv4): void {
    const { routes } = this;
    const { pool } = this.ctx;
    const l3 = w << 2;
    pool.off[f] = l3;
    pool.l3[f] = l3;
    pool.len[f] = len;
    routes.lookup(to);
    this.ctx.settle(f, this.neighbours.output(f, routes.outPort, routes.outNextHop));
  }

  /** A packet of `len` bytes for the counts of `slot`: server << 1 | direction. */
  private note(slot: number, len: number): void {
    const { sums } = this;
    const sum = sums[slot];
    if (sum === 0) this.noted[this.nNoted++] = slot;
    sums[slot] = sum + (1 << SUM_SHIFT) + len;
  }

  /** Brings what was noted in this burst to the counts of servers and services, which are doubles in many columns. */
  private settleCounts(): void {
    const { noted, sums, services } = this;
    for (let i = 0; i < this.nNoted; i++) {
      const slot = noted[i];
      const pkts = sums[slot] >>> SUM_SHIFT;
      const bytes = sums[slot] & SUM_BYTES;
      if ((slot & 1) === c.IN) services.countIn(slot >> 1, pkts, bytes);
      else services.countOut(slot >> 1, pkts, bytes);
      sums[slot] = 0;
    }
    this.nNoted = 0;
  }
}
