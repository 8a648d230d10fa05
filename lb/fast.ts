/**
 * The short cut for what nearly every packet is: a segment of an established TCP connection, as a link without offloads
 * brings it. A burst is taken in four loops, each of which touches one thing: headers and hashes, lines of the index, rows,
 * then rewrite and send. The last loop does what lb/core.ts and lb/xmit do, in words instead of bytes, and gives what it
 * does not know (the first and last segments, options to be changed on the way in, IP options, fragments, GSO, packets too
 * long for the link, connections that policy may end) to them, untouched.
 *
 * Words are in machine order. A ones'-complement sum does not depend on the byte order (RFC 1071 §2 (B)), so checksums are
 * corrected as they lie there (RFC 1624 eqn. 3).
 *
 * What is skipped is decided already: the source was judged when the connection's first packet came, and a connection's
 * packets are never for us. The order within a connection stays, but for a closing segment that an earlier loop left
 * behind; TCP bears that.
 *
 * Called by netif between its passes, for each burst. Ownership: a verdict other than PASS is the frame's.
 * @hot
 */
import type { Context } from '../stack/context.ts';
import { F_CSUM_VALID } from '../stack/mem/frame-pool.ts';
import type { Neighbours } from '../stack/neigh/output.ts';
import { BURST } from '../stack/netif/device.ts';
import type { BurstInput } from '../stack/netif/port.ts';
import type { Routes4 } from '../stack/route/route4.ts';
import type { FrameId, Verdict } from '../stack/types.ts';
import { PASS } from '../stack/verdict.ts';
import { swap32 } from '../stack/wire/bytes.ts';
import { finish } from '../stack/wire/checksum.ts';
import * as ip from '../stack/wire/ipv4.ts';
import * as wire from '../stack/wire/tcp.ts';
import { UDP_LEN } from '../stack/wire/udp.ts';
import type { ConnTable } from './conn.ts';
import * as c from './conn-row.ts';
import type { Core } from './core.ts';
import { ESTABLISHED } from './proto/tcp.ts';
import type { Timeouts } from './proto/timeouts.ts';
import type { ServiceTable } from './service.ts';
import { change32, reversed } from './xmit/rewrite.ts';
import type { Tunnel } from './xmit/tunnel.ts';

/** The packets of a burst that one table may know. */
class TableBurst {
  readonly index = new Int32Array(BURST);
  readonly hashes = new Int32Array(BURST);
  readonly guesses = new Int32Array(BURST);
  readonly src = new Int32Array(BURST);
  readonly dst = new Int32Array(BURST);
  readonly ports = new Int32Array(BURST);
  n = 0;
}

/** MF and offset, as they lie in the upper half of their word. */
const FRAGMENT = 0xff3f0000 | 0;

// Words of a packet whose IP header has no options, from that header on.
const ID_FRAGMENT = 1;
const TTL_SUM = 2;
const SRC = 3;
const DST = 4;
const PORTS = 5;
const SEQ = 6;
const ACK = 7;
const OFFSET_FLAGS = 8;
const SUM_URGENT = 9;

const OPENING_CLOSING = wire.SYN | wire.FIN | wire.RST | wire.ACK;
const HEADERS = ip.IPV4_LEN + wire.TCP_LEN;

export interface FastParts {
  readonly ctx: Context;
  readonly core: Core;
  readonly tcp: ConnTable;
  readonly udp: ConnTable;
  readonly timeouts: Timeouts;
  readonly routes: Routes4;
  readonly neighbours: Neighbours;
  readonly services: ServiceTable;
  readonly tunnel: Tunnel;
  /** Whether others want to see what is forwarded, or TTL is to be decremented: nothing is cut short then. */
  readonly mayCutShort: () => boolean;
}

export class FastPath implements BurstInput {
  /** Packets that took the short cut. */
  packets = 0;
  /** Consumes what touching gave, so that the loads are not optimised away. */
  touched = 0;

  private readonly ctx: Context;
  private readonly core: Core;
  private readonly tcp: ConnTable;
  private readonly udp: ConnTable;
  private readonly timeouts: Timeouts;
  private readonly routes: Routes4;
  private readonly neighbours: Neighbours;
  private readonly mayCutShort: () => boolean;
  private readonly services: ServiceTable;
  private readonly tunnel: Tunnel;
  /** Packets and bytes of this burst, by server << 1 | direction; the slots that are not 0. */
  private readonly notedPkts: Int32Array;
  private readonly notedBytes: Int32Array;
  private readonly noted = new Int32Array(BURST);
  private nNoted = 0;
  private readonly tcpBurst = new TableBurst();
  private readonly udpBurst = new TableBurst();

  constructor(parts: FastParts) {
    this.ctx = parts.ctx;
    this.core = parts.core;
    this.tcp = parts.tcp;
    this.udp = parts.udp;
    this.timeouts = parts.timeouts;
    this.routes = parts.routes;
    this.neighbours = parts.neighbours;
    this.mayCutShort = parts.mayCutShort;
    this.services = parts.services;
    this.tunnel = parts.tunnel;
    const slots = (parts.services.dests.capacity + 1) * 2;
    this.notedPkts = new Int32Array(slots);
    this.notedBytes = new Int32Array(slots);
  }

  burst(frames: Int32Array, verdicts: Int32Array, n: number): void {
    const { tcpBurst, udpBurst } = this;
    tcpBurst.n = 0;
    udpBurst.n = 0;
    this.sort(frames, verdicts, n);
    if (tcpBurst.n > 0) {
      this.guess(this.tcp, tcpBurst, frames);
      if (this.mayCutShort()) this.pass(frames, verdicts);
    }
    if (udpBurst.n > 0) this.guess(this.udp, udpBurst, frames);
  }

  /** First loop: what each packet is, and its hash. */
  private sort(frames: Int32Array, verdicts: Int32Array, n: number): void {
    const { i32, l3: l3s, off: offs, l4: l4s, len: lens } = this.ctx.pool;
    const { tcp, tcpBurst } = this;
    const { index, src, dst, ports, hashes } = tcpBurst;
    let t = 0;
    for (let i = 0; i < n; i++) {
      const f = frames[i];
      const l3 = l3s[f];
      // Only what the first pass took for IP stands at its layer-3 header.
      if (verdicts[i] !== PASS || offs[f] !== l3 || (l3 & 3) !== 0 || l4s[f] - l3 !== ip.IPV4_LEN) continue;
      const w = l3 >> 2;
      if ((i32[w + ID_FRAGMENT] & FRAGMENT) !== 0 || lens[f] < ip.IPV4_LEN + UDP_LEN) continue;
      const proto = (i32[w + TTL_SUM] >>> 8) & 0xff;
      if (proto === ip.PROTO_TCP) {
        const from = swap32(i32[w + SRC]);
        const to = swap32(i32[w + DST]);
        const both = swap32(i32[w + PORTS]);
        index[t] = i;
        src[t] = from;
        dst[t] = to;
        ports[t] = both;
        hashes[t++] = tcp.hash(from, to, both);
      } else if (proto === ip.PROTO_UDP) collect(this.udp, this.udpBurst, i32, w, i);
    }
    tcpBurst.n = t;
  }

  /** Second and third loop: lines of the index, then rows. What is left to lb/core.ts finds the guess in its frame. */
  private guess(table: ConnTable, burst: TableBurst, frames: Int32Array): void {
    const { hash, mark } = this.ctx.pool;
    const { hashes, guesses, index, n } = burst;
    this.touched ^= table.touchAll(hashes, n);
    this.touched ^= table.guessAll(hashes, guesses, n);
    for (let k = 0; k < n; k++) {
      const f = frames[index[k]];
      hash[f] = hashes[k];
      mark[f] = guesses[k];
    }
  }

  /** Fourth loop. */
  private pass(frames: Int32Array, verdicts: Int32Array): void {
    const { index, guesses, hashes, src, dst, ports, n } = this.tcpBurst;
    const { tcp } = this;
    for (let k = 0; k < n; k++) {
      const i = index[k];
      const hit = tcp.confirm(guesses[k], hashes[k], src[k], dst[k], ports[k]);
      if (hit === 0) continue;
      const verdict = this.segment(frames[i], hit);
      if (verdict !== PASS) verdicts[i] = verdict;
    }
    this.settleCounts();
  }

  private segment(f: FrameId, hit: number): Verdict {
    const { tcp: table, core } = this;
    const { pool } = this.ctx;
    const { i32 } = pool;
    const len = pool.len[f];
    const w = pool.l3[f] >> 2;
    const control = i32[w + OFFSET_FLAGS];
    const header = (control & 0xf0) >> 2;
    if (((control >>> 8) & OPENING_CLOSING) !== wire.ACK || len < HEADERS) return PASS;
    if (header < wire.TCP_LEN || ip.IPV4_LEN + header > len) return PASS;
    if ((pool.flags[f] & ~F_CSUM_VALID) !== 0 || pool.gsoSize[f] !== 0 || pool.fragLen[f] !== 0) return PASS;

    const { rows } = table;
    const row = c.rowOf(hit);
    const at = row << c.ROW_SHIFT;
    const dir = c.dirOf(hit);
    const meta = rows[at + c.META];
    const mode = (meta & c.MODE_MASK) >> c.MODE_SHIFT;
    const service = rows[at + c.SERVICE_HOP] >>> 16;
    const delta = rows[at + c.SEQ_DELTA];
    if ((meta & c.STATE_MASK) !== ESTABLISHED || mode > c.TUN || core.policy[service] !== 0) return PASS;
    // SACK edges are the slow path's.
    if (dir === c.OUT && delta !== 0 && header !== wire.TCP_LEN) return PASS;
    const to = rows[at + (dir === c.IN ? c.RADDR : c.CADDR)];
    const { routes } = this;
    const more = mode === c.TUN ? ip.IPV4_LEN : 0;
    if (!routes.lookup(to) || len + more > routes.outMtu) return PASS;

    this.packets += 1;
    table.refresh(row, this.timeouts.of(service, ESTABLISHED));
    table.cold.count(row, dir, 1, len);
    this.note((rows[at + c.DEST] << 1) | dir, len);
    if (dir === c.IN) {
      if (mode === c.TUN) {
        const src = this.tunnel.sourceFor(rows[at + c.DEST], to, routes.outPort, routes.outSrc);
        this.tunnel.encapsulate(f, src, to);
      } else if (mode !== c.DR) {
        const seq = delta === 0 ? 0 : shift(i32, w + SEQ, delta);
        rewrite(i32, w, swap32(rows[at + c.LADDR]), swap32(to), swap32(reversed(rows[at + c.RLPORTS])), seq);
      }
    } else {
      core.heard(rows, at, meta, swap32(i32[w + SEQ]), len - ip.IPV4_LEN - header, swap32(i32[w + ACK]));
      const ack = delta === 0 ? 0 : shift(i32, w + ACK, -delta | 0);
      rewrite(i32, w, swap32(rows[at + c.VADDR]), swap32(to), swap32(reversed(rows[at + c.CVPORTS])), ack);
    }
    return this.neighbours.output(f, routes.outPort, routes.outNextHop);
  }

  /** A packet of `len` bytes for the counts of `slot`: server << 1 | direction. */
  private note(slot: number, len: number): void {
    const { noted } = this;
    if (this.notedPkts[slot] === 0) noted[this.nNoted++] = slot;
    this.notedPkts[slot] += 1;
    this.notedBytes[slot] += len;
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

function collect(table: ConnTable, burst: TableBurst, i32: Int32Array, w: number, i: number): void {
  const k = burst.n++;
  const src = swap32(i32[w + SRC]);
  const dst = swap32(i32[w + DST]);
  const ports = swap32(i32[w + PORTS]);
  burst.index[k] = i;
  burst.src[k] = src;
  burst.dst[k] = dst;
  burst.ports[k] = ports;
  burst.hashes[k] = table.hash(src, dst, ports);
}

/** Adds to the number in word `w`; returns the change of the checksum. */
function shift(i32: Int32Array, w: number, delta: number): number {
  const before = i32[w];
  const after = swap32((swap32(before) + delta) | 0);
  i32[w] = after;
  return change32(before, after);
}

/** Sets addresses and ports, given in machine order, and corrects both checksums; `content` has changed already. */
function rewrite(i32: Int32Array, w: number, src: number, dst: number, ports: number, content: number): void {
  const addresses = change32(i32[w + SRC], src) + change32(i32[w + DST], dst);
  const rest = content + change32(i32[w + PORTS], ports);
  i32[w + SRC] = src;
  i32[w + DST] = dst;
  i32[w + PORTS] = ports;
  const ttl = i32[w + TTL_SUM];
  i32[w + TTL_SUM] = (ttl & 0xffff) | (finish((~(ttl >>> 16) & 0xffff) + addresses) << 16);
  const sum = i32[w + SUM_URGENT];
  i32[w + SUM_URGENT] = (sum & ~0xffff) | finish((~sum & 0xffff) + addresses + rest);
}
