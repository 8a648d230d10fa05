/**
 * The short cut for what nearly every packet is: a plain packet of an established connection, as a link without offloads
 * brings it. A burst is taken in loops, each of which touches one thing: headers, hashes, lines of the index, rows (burst.ts);
 * then who may pass, the rewrite, the way out. The last three do what ethernet, IPv4, lb/core.ts, lb/xmit, route and neighbour do,
 * in words instead of bytes, and leave what they do not know (the first and last segments, options to be changed on the way in, IP
 * options, fragments, GSO, packets too long for the link, connections that policy may end) to them, untouched.
 *
 * Loops are short methods on purpose: what V8 inlines into one function is limited, and a call per packet costs as much as a
 * checksum.
 *
 * What is skipped is decided already: the source was judged when the connection's first packet came, and a connection's
 * packets are never for us. The order within a connection stays, but for a closing segment that goes the long way;
 * TCP bears that.
 *
 * Called by netif with each burst. Ownership: a verdict other than PASS is the frame's.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { type Adjacencies, HEADER, KEY, MTU, PORT, SRC } from '../../stack/neigh/adjacency.ts';
import type { Neighbours } from '../../stack/neigh/output.ts';
import { BURST } from '../../stack/netif/device.ts';
import type { BurstInput, Netif, Port } from '../../stack/netif/port.ts';
import type { Routes4 } from '../../stack/route/route4.ts';
import { PASS, STOLEN } from '../../stack/verdict.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import * as wire from '../../stack/wire/tcp.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import type { Core } from '../core.ts';
import { ESTABLISHED } from '../proto/tcp.ts';
import type { Timeouts } from '../proto/timeouts.ts';
import * as udp from '../proto/udp.ts';
import type { ServiceTable } from '../service.ts';
import { reversed } from '../xmit/rewrite.ts';
import type { Tunnel } from '../xmit/tunnel.ts';
import { ACK, DF, ID_FRAGMENT, OFFSET_FLAGS, SEQ, sortBurst, TableBurst } from './burst.ts';
import { encapsulate, fixTcp, fixUdp, setAddresses, setPorts, shift } from './rewrite.ts';

const OPENING_CLOSING = wire.SYN | wire.FIN | wire.RST | wire.ACK;
const HEADERS = ip.IPV4_LEN + wire.TCP_LEN;

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
  /** Whether others want to see what is forwarded, or TTL is to be decremented: nothing is cut short then. */
  readonly mayCutShort: () => boolean;
}

/** Packets that pass, on their way through the last loops. */
class Passing {
  n = 0;
  readonly frame = new Int32Array(BURST);
  readonly word = new Int32Array(BURST);
  readonly len = new Int32Array(BURST);
  /** Where the connection's row begins; the direction; forwarding mode. */
  readonly at = new Int32Array(BURST);
  readonly dir = new Int32Array(BURST);
  readonly mode = new Int32Array(BURST);
  /** Its destination, and the adjacency that leads there with what it was found by; 0 = none. */
  readonly to = new Int32Array(BURST);
  readonly hop = new Int32Array(BURST);
  readonly key = new Int32Array(BURST);
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
  private readonly tunnel: Tunnel;
  private readonly tcpBurst: TableBurst;
  private readonly udpBurst: TableBurst;
  private readonly passing = new Passing();
  /** Packets and bytes of this burst, by server << 1 | direction; the slots that are not 0. */
  private readonly notedPkts: Int32Array;
  private readonly notedBytes: Int32Array;
  private readonly noted = new Int32Array(BURST);
  private nNoted = 0;

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
    this.tunnel = parts.tunnel;
    this.tcpBurst = new TableBurst(parts.tcp);
    this.udpBurst = new TableBurst(parts.udp);
    const slots = (parts.services.dests.capacity + 1) * 2;
    this.notedPkts = new Int32Array(slots);
    this.notedBytes = new Int32Array(slots);
  }

  burst(port: Port, frames: Int32Array, verdicts: Int32Array, n: number): void {
    verdicts.fill(PASS, 0, n);
    if (!this.mayCutShort()) return;
    const { tcpBurst, udpBurst } = this;
    sortBurst(this.ctx.pool, port, frames, n, tcpBurst, udpBurst);
    if (tcpBurst.n > 0) {
      tcpBurst.hash();
      tcpBurst.guess();
      this.admitTcp(verdicts);
      this.rewriteTcp();
      this.forward();
    }
    if (udpBurst.n > 0) {
      udpBurst.hash();
      udpBurst.guess();
      this.admitUdp(verdicts);
      this.rewriteUdp();
      this.forward();
    }
    if (this.nNoted > 0) this.settleCounts();
  }

  /** Finds the connections; those packets that pass are counted, and their connections refreshed. */
  private admitTcp(verdicts: Int32Array): void {
    const { index, frame, word, len: lens, guesses, hashes, src, dst, ports, n } = this.tcpBurst;
    const { tcp: table, passing } = this;
    const { i32 } = this.ctx.pool;
    passing.n = 0;
    for (let k = 0; k < n; k++) {
      const w = word[k];
      const control = i32[w + OFFSET_FLAGS];
      const header = (control & 0xf0) >> 2;
      const len = lens[k];
      if (((control >>> 8) & OPENING_CLOSING) !== wire.ACK || len < HEADERS) continue;
      if (header < wire.TCP_LEN || ip.IPV4_LEN + header > len) continue;
      const hit = table.confirm(guesses[k], hashes[k], src[k], dst[k], ports[k]);
      if (hit === 0) continue;
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const meta = table.rows[at + c.META];
      if ((meta & c.STATE_MASK) !== ESTABLISHED) continue;
      // SACK edges are the slow path's.
      if (header !== wire.TCP_LEN && c.dirOf(hit) === c.OUT && table.rows[at + c.SEQ_DELTA] !== 0) continue;
      if (!this.admit(table, this.tcpTimeouts, hit, meta, ESTABLISHED, len)) continue;
      const j = passing.n++;
      passing.frame[j] = frame[k];
      passing.word[j] = w;
      verdicts[index[k]] = STOLEN;
    }
  }

  private admitUdp(verdicts: Int32Array): void {
    const { index, frame, word, len, guesses, hashes, src, dst, ports, n } = this.udpBurst;
    const { udp: table, passing } = this;
    passing.n = 0;
    for (let k = 0; k < n; k++) {
      const hit = table.confirm(guesses[k], hashes[k], src[k], dst[k], ports[k]);
      if (hit === 0) continue;
      const meta = table.rows[(c.rowOf(hit) << c.ROW_SHIFT) + c.META];
      const state = meta & c.STATE_MASK;
      if (udp.nextState(c.dirOf(hit) === c.OUT, state) !== state) continue;
      if (!this.admit(table, this.udpTimeouts, hit, meta, state, len[k])) continue;
      const j = passing.n++;
      passing.frame[j] = frame[k];
      passing.word[j] = word[k];
      verdicts[index[k]] = STOLEN;
    }
  }

  /** Whether a packet of the connection passes; then everything of `passing` but frame and word is set. */
  private admit(table: ConnTable, timeouts: Timeouts, hit: number, meta: number, state: number, len: number): boolean {
    const { rows } = table;
    const { passing } = this;
    const row = c.rowOf(hit);
    const at = row << c.ROW_SHIFT;
    const dir = c.dirOf(hit);
    const mode = (meta & c.MODE_MASK) >> c.MODE_SHIFT;
    const service = rows[at + c.SERVICE_HOP] >>> 16;
    if (mode > c.TUN || this.core.policy[service] !== 0) return false;
    const j = passing.n;
    if (dir === c.IN) {
      const more = mode === c.TUN ? ip.IPV4_LEN : 0;
      if (!this.wayToServer(j, rows[at + c.RADDR], len + more)) return false;
    } else if (!this.wayToClient(j, rows[at + c.CADDR], len)) return false;
    passing.len[j] = len;
    passing.at[j] = at;
    passing.dir[j] = dir;
    passing.mode[j] = mode;
    table.refresh(row, timeouts.of(service, state));
    table.cold.count(row, dir, 1, len);
    this.note((rows[at + c.DEST] << 1) | dir, len);
    return true;
  }

  /** Servers are few: each has its adjacency. */
  private wayToServer(j: number, to: number, len: number): boolean {
    const { passing, adjacencies, routes } = this;
    const hop = adjacencies.find(to);
    passing.to[j] = to;
    passing.hop[j] = hop;
    passing.key[j] = to;
    if (hop !== 0) return len <= adjacencies.words[hop + MTU];
    return routes.lookup(to) && len <= routes.outMtu;
  }

  /** Clients are many, behind few gateways: the adjacency is the gateway's. */
  private wayToClient(j: number, to: number, len: number): boolean {
    const { passing, adjacencies, routes } = this;
    if (!routes.lookup(to) || len > routes.outMtu) return false;
    const port = routes.outPort;
    const key = routes.outNextHop;
    const hop = adjacencies.find(key);
    passing.to[j] = to;
    passing.key[j] = key;
    passing.hop[j] = hop !== 0 && adjacencies.words[hop + PORT] === port ? hop : 0;
    return true;
  }

  private rewriteTcp(): void {
    const { passing, tcp: table } = this;
    const { i32 } = this.ctx.pool;
    const { rows } = table;
    const { word, at: ats, dir, mode: modes, to, n } = passing;
    for (let j = 0; j < n; j++) {
      const at = ats[j];
      const w = word[j];
      const delta = rows[at + c.SEQ_DELTA];
      if (dir[j] === c.OUT) {
        this.heard(j, at, w);
        let change = setAddresses(i32, w, swap32(rows[at + c.VADDR]), swap32(to[j]));
        change += setPorts(i32, w, swap32(reversed(rows[at + c.CVPORTS])));
        if (delta !== 0) change += shift(i32, w + ACK, -delta | 0);
        fixTcp(i32, w, change);
      } else if (modes[j] === c.TUN) this.tunnelled(j, rows[at + c.DEST]);
      else if (modes[j] !== c.DR) {
        let change = setAddresses(i32, w, swap32(rows[at + c.LADDR]), swap32(to[j]));
        change += setPorts(i32, w, swap32(reversed(rows[at + c.RLPORTS])));
        if (delta !== 0) change += shift(i32, w + SEQ, delta);
        fixTcp(i32, w, change);
      }
    }
  }

  private rewriteUdp(): void {
    const { passing, udp: table } = this;
    const { i32 } = this.ctx.pool;
    const { rows } = table;
    const { word, at: ats, dir, mode: modes, to, n } = passing;
    for (let j = 0; j < n; j++) {
      const at = ats[j];
      const w = word[j];
      if (dir[j] === c.OUT) {
        const change = setAddresses(i32, w, swap32(rows[at + c.VADDR]), swap32(to[j]));
        fixUdp(i32, w, change + setPorts(i32, w, swap32(reversed(rows[at + c.CVPORTS]))));
      } else if (modes[j] === c.TUN) this.tunnelled(j, rows[at + c.DEST]);
      else if (modes[j] !== c.DR) {
        const change = setAddresses(i32, w, swap32(rows[at + c.LADDR]), swap32(to[j]));
        fixUdp(i32, w, change + setPorts(i32, w, swap32(reversed(rows[at + c.RLPORTS]))));
      }
    }
  }

  /** Remembers what the server has said last (core.ts). */
  private heard(j: number, at: number, w: number): void {
    const { i32 } = this.ctx.pool;
    const { rows } = this.tcp;
    const data = this.passing.len[j] - ip.IPV4_LEN - ((i32[w + OFFSET_FLAGS] & 0xf0) >> 2);
    this.core.heard(rows, at, rows[at + c.META], swap32(i32[w + SEQ]), data, swap32(i32[w + ACK]));
  }

  private tunnelled(j: number, dest: number): void {
    const { passing, tunnel, adjacencies, routes } = this;
    const { i32 } = this.ctx.pool;
    const to = passing.to[j];
    const hop = this.hopOf(j);
    const { words } = adjacencies;
    if (hop === 0) routes.lookup(to);
    const port = hop === 0 ? routes.outPort : words[hop + PORT];
    const src = tunnel.sourceFor(dest, to, port, hop === 0 ? routes.outSrc : words[hop + SRC]);
    const w = passing.word[j];
    const id = (i32[w + ID_FRAGMENT] & DF) !== 0 ? 0 : tunnel.idFor(src, to);
    encapsulate(i32, w, passing.len[j], id, swap32(src), swap32(to));
    passing.word[j] = w - (ip.IPV4_LEN >> 2);
    passing.len[j] += ip.IPV4_LEN;
  }

  /** The adjacency found before, unless another packet of the burst has taken its place. */
  private hopOf(j: number): number {
    const { passing, adjacencies } = this;
    const hop = passing.hop[j];
    return adjacencies.words[hop + KEY] === passing.key[j] ? hop : 0;
  }

  /** Puts the Ethernet headers in front and queues the frames. */
  private forward(): void {
    const { passing, adjacencies, netif } = this;
    const { words } = adjacencies;
    const { i32, off, len: lens } = this.ctx.pool;
    const { frame, word, len, n } = passing;
    for (let j = 0; j < n; j++) {
      const hop = this.hopOf(j);
      if (hop === 0) {
        this.longWay(j);
        continue;
      }
      const f = frame[j];
      const w = word[j];
      i32[w - 4] = words[hop + HEADER];
      i32[w - 3] = words[hop + HEADER + 1];
      i32[w - 2] = words[hop + HEADER + 2];
      i32[w - 1] = words[hop + HEADER + 3];
      off[f] = (w << 2) - ETH_LEN;
      lens[f] = len[j] + ETH_LEN;
      const verdict = netif.transmitPlain(f, words[hop + PORT]);
      if (verdict !== STOLEN) this.ctx.settle(f, verdict);
    }
    this.packets += n;
  }

  /** The rewritten packet, by route and neighbour. */
  private longWay(j: number): void {
    const { passing, routes } = this;
    const { pool } = this.ctx;
    const f = passing.frame[j];
    const l3 = passing.word[j] << 2;
    pool.off[f] = l3;
    pool.l3[f] = l3;
    pool.len[f] = passing.len[j];
    routes.lookup(passing.to[j]);
    this.ctx.settle(f, this.neighbours.output(f, routes.outPort, routes.outNextHop));
  }

  /** A packet of `len` bytes for the counts of `slot`: server << 1 | direction. */
  private note(slot: number, len: number): void {
    const { noted, notedPkts, notedBytes } = this;
    if (notedPkts[slot] === 0) noted[this.nNoted++] = slot;
    notedPkts[slot] += 1;
    notedBytes[slot] += len;
  }

  /** Brings what was noted in this burst to the counts of servers and services, which are doubles in many columns. */
  private settleCounts(): void {
    const { noted, notedPkts, notedBytes, services } = this;
    for (let i = 0; i < this.nNoted; i++) {
      const slot = noted[i];
      if ((slot & 1) === c.IN) services.countIn(slot >> 1, notedPkts[slot], notedBytes[slot]);
      else services.countOut(slot >> 1, notedPkts[slot], notedBytes[slot]);
      notedPkts[slot] = 0;
      notedBytes[slot] = 0;
    }
    this.nNoted = 0;
  }
}
