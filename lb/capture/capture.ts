/**
 * A capture while tsvs runs: looks at frames at the stages that are wanted, and copies those that the filter wants into a ring
 * (record.ts). Installed when a capture begins and taken away when it ends: without one nobody looks.
 *
 * | stage        | where                                      | how                                            |
 * | ------------ | ------------------------------------------ | ---------------------------------------------- |
 * | rx           | as the link gave it                        | netif's receive tap, before the short cut       |
 * | tx           | as the link took it                        | netif's transmit tap: sending goes one by one  |
 * | drop         | where it ended                             | the probe of Context.settle                    |
 * | delivered    | the same, when its content has arrived     | the same                                       |
 * | pre_routing, | before everybody else is asked there       | a hook; lb/fast cuts nothing short while there |
 * | ..           |                                            | is one on the way of forwarded packets         |
 *
 * A frame is wanted when its own addresses are, or those that its connection has on the client's side, or those inside of its
 * tunnel: so one filter follows a flow through the rewrite. A full ring loses frames and counts them; the data path waits
 * for nobody. Inner stages have the Ethernet header that the frame came with,
 * or one of zeros.
 *
 * @hot while it runs. Ownership: leaves all frames where they are.
 */
import type { Context } from '../../stack/context.ts';
import { FORWARD, type Hook, LOCAL_IN, LOCAL_OUT, POST_ROUTING, PRE_ROUTING } from '../../stack/hook.ts';
import type { Host } from '../../stack/host.ts';
import { F_LOCAL } from '../../stack/mem/frame-pool.ts';
import { copyBytes } from '../../stack/netif/copy.ts';
import type { TransmitTap } from '../../stack/netif/port.ts';
import type { FrameId, PortId, Verdict } from '../../stack/types.ts';
import { dropReason, isDrop, PASS } from '../../stack/verdict.ts';
import { get16, get32 } from '../../stack/wire/bytes.ts';
import { ETH_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import type { L4 } from '../l4.ts';
import * as icmp from '../proto/icmp.ts';
import { ARP_PROTO, FrameFacts, matches } from './filter.ts';
import * as r from './record.ts';

export interface CaptureWish {
  readonly stages: readonly r.Stage[];
  /** filter.ts; plain numbers, so that it can travel. */
  readonly program: readonly number[];
  /** Ends after so many frames; 0 = does not. */
  readonly count: number;
  /** Bytes of each frame at most. */
  readonly snap: number;
}

const POINTS: Readonly<Partial<Record<r.Stage, number>>> = {
  ...{ pre_routing: PRE_ROUTING, local_in: LOCAL_IN, forward: FORWARD },
  ...{ local_out: LOCAL_OUT, post_routing: POST_ROUTING },
};
/** Before everybody. */
const PRIORITY = 0;
const stageNumber = (stage: r.Stage): number => r.STAGES.indexOf(stage);
const [RX, TX, DROPPED, DELIVERED] = (['rx', 'tx', 'drop', 'delivered'] as const).map(stageNumber) as [
  number,
  number,
  number,
  number,
];

export class Capture implements TransmitTap {
  private readonly ctx: Context;
  private readonly host: Host;
  private readonly l4: L4 | null;
  private readonly ring: r.CaptureEnds['ring'];
  private readonly words: Int32Array;
  private program = new Int32Array(0);
  private left = 0;
  private snap = 0;
  private running = false;
  private undo: (() => void)[] = [];
  private readonly own = new FrameFacts();
  private readonly other = new FrameFacts();
  /** A head and the bytes behind it. */
  private readonly record = new Int32Array((Math.ceil(r.MAX_SNAP / 4) + r.HEAD_WORDS + r.PIECE_WORDS) | 0);
  private readonly bytes = new Uint8Array(this.record.buffer);
  private pieces = 0;
  // Of the frame looked at: its connection.
  private hit = 0;
  private table: ConnTable | null = null;

  constructor(host: Host, l4: L4 | null, { ring, words }: r.CaptureEnds) {
    this.ctx = host.ctx;
    this.host = host;
    this.l4 = l4;
    this.ring = ring;
    this.words = words;
  }

  /** Throws when one is running already. Cold. */
  begin({ stages, program, count, snap }: CaptureWish): void {
    if (this.running) throw new Error('a capture is running already');
    const { host, words } = this;
    this.program = Int32Array.from(program);
    this.left = count === 0 ? Number.POSITIVE_INFINITY : count;
    this.snap = Math.min(snap, r.MAX_SNAP);
    this.running = true;
    Atomics.store(words, r.TAKEN, 0);
    Atomics.store(words, r.LOST, 0);
    Atomics.store(words, r.STATE, r.RUNNING);
    const wants = (stage: r.Stage): boolean => stages.includes(stage);
    if (wants('rx')) {
      host.netif.receiveTap = (port, frames, n) => this.received(port.id, frames, n);
      this.undo.push(() => void (host.netif.receiveTap = null));
    }
    if (wants('tx')) {
      host.netif.transmitTap = this;
      this.undo.push(() => void (host.netif.transmitTap = null));
    }
    if (wants('drop') || wants('delivered')) this.probe(wants('drop'), wants('delivered'));
    for (const stage of stages) if (POINTS[stage] !== undefined) this.hook(stage, POINTS[stage]);
  }

  /** Nothing happens when none is running. Cold. */
  end(): void {
    for (const undo of this.undo) undo();
    this.undo = [];
    this.running = false;
    if (Atomics.load(this.words, r.STATE) === r.RUNNING) Atomics.store(this.words, r.STATE, r.OFF);
  }

  private probe(drops: boolean, delivered: boolean): void {
    const { ctx } = this;
    const before = ctx.probe;
    ctx.probe = (f, verdict) => {
      before?.(f, verdict);
      this.settled(f, verdict, drops, delivered);
    };
    this.undo.push(() => void (ctx.probe = before));
  }

  private hook(stage: r.Stage, point: number): void {
    const { hooks } = this.host;
    const number = stageNumber(stage);
    const hook: Hook = {
      packet: (f) => {
        this.inner(f, number, 0);
        return PASS;
      },
    };
    hooks.register(point, PRIORITY, hook);
    this.undo.push(() => hooks.unregister(point, hook));
  }

  // Stages

  private received(port: PortId, frames: Int32Array, n: number): void {
    const { pool } = this.ctx;
    for (let i = 0; i < n && this.running; i++) {
      const f = frames[i]!;
      const off = pool.off[f]!;
      if (this.wants(f, off + ETH_LEN, get16(pool.buf, off + 12))) this.note(f, RX, port, 0, off, 0);
      this.commit();
    }
  }

  prepare(f: FrameId, port: PortId): void {
    if (!this.running) return;
    const { pool } = this.ctx;
    const off = pool.off[f]!;
    if (this.wants(f, off + ETH_LEN, get16(pool.buf, off + 12))) this.note(f, TX, port, 0, off, 1);
  }

  /** The frame of the last `prepare` has left: it counts now. */
  commit(): void {
    const { pieces, record, ring, words } = this;
    if (pieces === 0) return;
    this.pieces = 0;
    if (ring.free(pieces) < pieces) {
      Atomics.add(words, r.LOST, 1);
      return;
    }
    for (let i = 0; i < pieces; i++) ring.insert(record, i * r.PIECE_WORDS);
    ring.publish();
    Atomics.add(words, r.TAKEN, 1);
    if (--this.left > 0) return;
    Atomics.store(words, r.STATE, r.COMPLETE);
    // What is left of the burst is not looked at any more.
    this.end();
  }

  /** The frame of the last `prepare` has not left. */
  forget(): void {
    this.pieces = 0;
  }

  private settled(f: FrameId, verdict: Verdict, drops: boolean, delivered: boolean): void {
    if (isDrop(verdict)) {
      if (drops) this.inner(f, DROPPED, dropReason(verdict));
    } else if (delivered) this.inner(f, DELIVERED, 0);
  }

  /** A frame within the stack: `off` is anywhere, l3 where its packet begins, unless nobody has looked at it yet. */
  private inner(f: FrameId, stage: number, reason: number): void {
    if (!this.running) return;
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const off = pool.off[f]!;
    const local = (pool.flags[f]! & F_LOCAL) !== 0;
    const packet = l3 === 0 ? off + ETH_LEN : l3;
    // Of frames made here l3 is known with IP alone, and the Ethernet header comes last; segments that wait in TCP are no packets.
    const type = local && l3 !== 0 ? ETHERTYPE_IPV4 : get16(buf, packet - 2);
    if (local && l3 === 0 && type !== ETHERTYPE_ARP) return;
    const point = stage !== DROPPED && stage !== DELIVERED;
    if (!this.wants(f, packet, point ? ETHERTYPE_IPV4 : type)) return;
    this.note(f, stage, pool.port[f]!, reason, packet - ETH_LEN, local ? 1 : 0);
    const whole = local ? off <= packet - ETH_LEN : type === ETHERTYPE_IPV4 || type === ETHERTYPE_ARP;
    if (!whole) this.blankHeader();
    this.commit();
  }

  // What is wanted

  private wants(f: FrameId, l3: number, type: number): boolean {
    const { own, other, program } = this;
    const { pool } = this.ctx;
    const { buf } = pool;
    const end = pool.off[f]! + pool.len[f]!;
    this.hit = 0;
    if (type === ETHERTYPE_ARP && end - l3 >= 28) {
      own.set(ARP_PROTO, get32(buf, l3 + 14), get32(buf, l3 + 24), -1, -1);
      return matches(program, own);
    }
    if (type !== ETHERTYPE_IPV4 || end - l3 < ip.IPV4_LEN) {
      own.set(-2, 0, 0, -1, -1);
      return matches(program, own);
    }
    this.look(own, l3, end);
    if (own.proto === ip.PROTO_IPIP) {
      const inner = l3 + ip.headerLength(buf, l3);
      if (end - inner >= ip.IPV4_LEN) {
        const tunnel = matches(program, own);
        this.look(own, inner, end);
        this.findConn(own, buf, inner, end);
        return tunnel || matches(program, own);
      }
    }
    this.findConn(own, buf, l3, end);
    if (matches(program, own)) return true;
    return this.hit !== 0 && this.clientSide(other) && matches(program, other);
  }

  /** Reads an IP header. */
  private look(facts: FrameFacts, l3: number, end: number): void {
    const { buf } = this.ctx.pool;
    const proto = ip.proto(buf, l3);
    const l4 = l3 + ip.headerLength(buf, l3);
    const hasPorts =
      (proto === ip.PROTO_TCP || proto === ip.PROTO_UDP) && ip.fragmentOffset(buf, l3) === 0 && end - l4 >= 4;
    const ports = hasPorts ? get32(buf, l4) : -1;
    facts.set(proto, ip.src(buf, l3), ip.dst(buf, l3), hasPorts ? ports >>> 16 : -1, hasPorts ? ports & 0xffff : -1);
  }

  /** The connection that a packet belongs to, as it came or as it leaves, into `hit` and `table`. */
  private findConn({ proto, src, dst, sport, dport }: FrameFacts, buf: Uint8Array, l3: number, end: number): void {
    const { l4 } = this;
    if (l4 === null) return;
    this.table =
      proto === ip.PROTO_TCP ? l4.tcp : proto === ip.PROTO_UDP ? l4.udp : proto === ip.PROTO_ICMP ? l4.icmp : null;
    if (this.table === null) return;
    let ports = (sport << 16) | dport;
    if (proto === ip.PROTO_ICMP) {
      const at = l3 + ip.headerLength(buf, l3);
      if (end - at < 8 || !icmp.isQuery(buf[at]!)) return;
      ports = icmp.ports(buf[at]!, buf[at + 1]!, get32(buf, at + 4) >>> 16);
    } else if (sport < 0) return;
    this.hit = this.table.find(src, dst, ports);
    if (this.hit !== 0) return;
    const back = this.table.find(dst, src, (ports << 16) | (ports >>> 16));
    if (back !== 0) this.hit = back ^ 1;
  }

  /** The packet as the client knows it. */
  private clientSide(facts: FrameFacts): boolean {
    const { rows } = this.table!;
    const at = c.rowOf(this.hit) << c.ROW_SHIFT;
    const caddr = rows[at + c.CADDR]!;
    const vaddr = rows[at + c.VADDR]!;
    const ports = rows[at + c.CVPORTS]!;
    const { proto } = this.own;
    if (c.dirOf(this.hit) === c.IN) facts.set(proto, caddr, vaddr, ports >>> 16, ports & 0xffff);
    else facts.set(proto, vaddr, caddr, ports & 0xffff, ports >>> 16);
    return true;
  }

  // What is kept

  /** Writes head and bytes into `record`; `start` is where the Ethernet header is, or would be. */
  private note(f: FrameId, stage: number, port: PortId, reason: number, start: number, outgoing: number): void {
    const { record, bytes, hit } = this;
    const { pool, now } = this.ctx;
    const { buf } = pool;
    const linear = pool.off[f]! + pool.len[f]! - start;
    const original = linear + pool.fragLen[f]!;
    const captured = Math.min(original, this.snap);
    record[r.CAPTURED] = captured;
    record[r.ORIGINAL] = original;
    record[r.TIME_HIGH] = Math.floor(now / 0x1_0000_0000);
    record[r.TIME_LOW] = (now % 0x1_0000_0000) | 0;
    record[r.STAGE] = stage;
    record[r.LINK] = port;
    record[r.REASON] = reason;
    record[r.OUTGOING] = outgoing;
    record[r.PROTOCOL] = this.own.proto;
    const at = c.rowOf(hit) << c.ROW_SHIFT;
    record[r.DIRECTION] = c.dirOf(hit);
    record[r.SERVICE] = hit === 0 ? 0 : this.table!.rows[at + c.SERVICE_HOP]! >>> 16;
    record[r.DEST] = hit === 0 ? 0 : this.table!.rows[at + c.DEST]!;
    record[r.META] = hit === 0 ? 0 : this.table!.rows[at + c.META]!;
    const to = r.HEAD_WORDS * 4;
    const first = Math.min(linear, captured);
    copyBytes(buf, start, first, bytes, to);
    if (captured > first) copyBytes(buf, pool.fragOff[f]!, captured - first, bytes, to + first);
    this.pieces = r.piecesFor(captured);
  }

  /** Where the Ethernet header will be there may be anything. */
  private blankHeader(): void {
    const { bytes } = this;
    const at = r.HEAD_WORDS * 4;
    for (let i = 0; i < ETH_LEN; i++) bytes[at + i] = 0;
    bytes[at + 12] = ETHERTYPE_IPV4 >> 8;
  }
}
