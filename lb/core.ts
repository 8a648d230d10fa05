/**
 * The layer-4 director: what becomes of a packet at PRE_ROUTING. Read this file first.
 *
 * ```
 *  packet -> related ICMP error? ------------------------------------------------> xmit/related-icmp
 *         -> known connection, either direction -> state, timeout, counts -------> xmit
 *         -> bare SYN, datagram, ICMP query for a layer-4 service (classify.ts) -> scheduler -> row (opener.ts) -> xmit
 *         -> anything else: PASS, it is the stack's (ping to a VIP, layer 7, ARP's packets, resets for nobody's segments)
 * ```
 *
 * | packet                                               | verdict                                                        |
 * | ---------------------------------------------------- | -------------------------------------------------------------- |
 * | of a connection                                      | as transmit says                                               |
 * | bare SYN meets a connection that is over             | that one ends, and a new one is scheduled, without delay       |
 * | TCP of no connection, no bare SYN                    | PASS: the VIP is ours, and the stack resets it                 |
 * | FIN or RST of the client with a number it cannot have | goes on, changes no state (heard.ts)                           |
 * | no server to be had                                  | DROP\|LB_NO_SERVER, ICMP port unreachable to the client (LVS)  |
 * | FullNAT, SNAT without a free local port              | DROP\|LB_NO_LOCAL_PORT, ICMP port unreachable to who asks       |
 * | no row left                                          | DROP\|LB_CONN_FULL                                             |
 * | NAT: another connection has the server's tuple       | DROP\|LB_CONN_CLASH; one that is over gives way                |
 * | server drained or gone, and the service says so      | the connection ends; DROP\|LB_QUIESCED, UDP begins a new one     |
 *
 * How a new connection gets its server and its row, persistence included, is in opener.ts.
 *
 * Fragments come first to fragment-input.ts. Those that the stack puts together come back whole at LOCAL_IN.
 *
 * Most packets never come here: lb/fast sees each burst first and passes on the plain packets of known connections
 * itself. What it does is what is done here, only faster.
 *
 * Ownership: PASS leaves the frame with the stack; otherwise as any stage. Everybody is given at composition (l4.ts).
 * @hot
 */
import type { Context } from '../stack/context.ts';
import { ICMP_MALFORMED, LB_QUIESCED, TCP_MALFORMED } from '../stack/drop.ts';
import type { Hook } from '../stack/hook.ts';
import type { Ip4Input } from '../stack/ipv4/input.ts';
import type { Reassembler } from '../stack/ipv4/reassemble.ts';
import { F_L2_MULTICAST, F_REASSEMBLED } from '../stack/mem/frame-pool.ts';
import type { FrameId, Ipv4, Verdict } from '../stack/types.ts';
import { DROP, PASS, STOLEN } from '../stack/verdict.ts';
import { get32 } from '../stack/wire/bytes.ts';
import { check as checkIcmp, ICMP_LEN } from '../stack/wire/icmp4.ts';
import * as ip from '../stack/wire/ipv4.ts';
import * as wire from '../stack/wire/tcp.ts';
import { UDP_LEN } from '../stack/wire/udp.ts';
import { Classifier } from './classify.ts';
import { ACTIVATED, type ConnTable } from './conn.ts';
import * as c from './conn-row.ts';
import type { Templates } from './conn-template.ts';
import { CoreStats } from './core-stats.ts';
import type { DestTable } from './dest.ts';
import { Endings } from './endings.ts';
import { FragmentInput } from './fragment-input.ts';
import { FragmentRules } from './fragments.ts';
import { believed, heardSegment } from './heard.ts';
import type { LocalAddrs } from './laddr.ts';
import { NatServers } from './nat-servers.ts';
import { Opener } from './opener.ts';
import * as icmp from './proto/icmp.ts';
import * as tcp from './proto/tcp.ts';
import type { Timeouts } from './proto/timeouts.ts';
import * as udp from './proto/udp.ts';
import type { ServiceTable } from './service.ts';
import type { Xmit, XmitStack } from './xmit/index.ts';
import { RelatedIcmp } from './xmit/related-icmp.ts';

/** What the core needs of the stack; a Host has it all. */
export interface CoreStack extends XmitStack {
  readonly ip4: Ip4Input;
  readonly reassembler: Reassembler;
}

/** The connections of one protocol. */
export interface Tracked {
  readonly table: ConnTable;
  readonly timeouts: Timeouts;
}

export interface CoreParts {
  readonly stack: CoreStack;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  readonly locals: LocalAddrs;
  readonly xmit: Xmit;
  readonly tcp: Tracked;
  readonly udp: Tracked;
  readonly icmp: Tracked;
  readonly templates: Templates;
  /** Rows of the tables of services: ids are 1..maxServices. */
  readonly maxServices: number;
}

/** Whether a packet in this direction comes from the end that opened the connection, of which this is META. */
const isOpener = (meta: number, dir: number): boolean => dir === ((meta & c.F_OPENED_OUT) !== 0 ? c.OUT : c.IN);

export class Core implements Hook {
  readonly stats = new CoreStats();
  readonly related: RelatedIcmp;
  readonly opener: Opener;
  readonly classifier: Classifier;
  readonly fragments: FragmentRules;
  private readonly fragmentInput: FragmentInput;
  /** At LOCAL_IN: what arrived in fragments. */
  readonly whole: Hook = { packet: (f) => this.reassembled(f) };
  /** Forwarding mode by service, conn-row.ts; 0 = not of layer 4. */
  readonly mode: Uint8Array;
  /** By server: its own mode; 0 = its service's. */
  readonly destMode: Uint8Array;
  readonly natServers: NatServers;
  readonly endings: Endings;
  /** No new connections. */
  draining = false;
  /** Takes a segment of no connection here that may be of one of another worker's; false: there is none such. */
  elsewhere: ((f: FrameId) => boolean) | null = null;
  private readonly ctx: Context;
  private readonly stack: CoreStack;
  private readonly services: ServiceTable;
  private readonly dests: DestTable;
  private readonly xmit: Xmit;
  private readonly tcp: ConnTable;
  private readonly tcpTimeouts: Timeouts;
  private readonly udp: ConnTable;
  private readonly udpTimeouts: Timeouts;
  private readonly icmp: ConnTable;
  private readonly icmpTimeouts: Timeouts;
  /** A row of no table. */
  private readonly forgotten = new Int32Array(c.ROW_WORDS);

  constructor(parts: CoreParts) {
    const { stack } = parts;
    this.ctx = stack.ctx;
    this.stack = stack;
    this.services = parts.services;
    this.dests = parts.dests;
    this.xmit = parts.xmit;
    this.tcp = parts.tcp.table;
    this.tcpTimeouts = parts.tcp.timeouts;
    this.udp = parts.udp.table;
    this.udpTimeouts = parts.udp.timeouts;
    this.icmp = parts.icmp.table;
    this.icmpTimeouts = parts.icmp.timeouts;
    const { services, locals, templates, maxServices } = parts;
    this.natServers = new NatServers(parts.dests);
    this.opener = new Opener(stack, services, locals, templates, this.natServers, this.stats, maxServices);
    this.endings = new Endings(stack.ctx, stack.ip, parts.dests, this.opener, maxServices);
    this.mode = this.opener.mode;
    this.destMode = this.opener.destMode;
    this.classifier = new Classifier(stack, services);
    this.fragments = new FragmentRules(stack.ctx.random);
    this.fragmentInput = new FragmentInput(parts, this.fragments, this.classifier, this.natServers, (f, l3) =>
      this.datagram(f, l3),
    );
    this.related = new RelatedIcmp(stack, parts.xmit, this.tcp, this.udp, this.icmp);
  }

  /** PRE_ROUTING. */
  packet(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f];
    if ((pool.flags[f] & F_L2_MULTICAST) !== 0) return PASS;
    if (ip.isFragment(buf, l3)) return this.fragmentInput.input(f, l3);
    return this.datagram(f, l3);
  }

  private datagram(f: FrameId, l3: number): Verdict {
    const { buf } = this.ctx.pool;
    switch (ip.proto(buf, l3)) {
      case ip.PROTO_TCP:
        return this.segment(f, l3);
      case ip.PROTO_UDP:
        return this.udpDatagram(f, l3);
      case ip.PROTO_ICMP:
        return this.icmpMessage(f, l3);
      default:
        return PASS;
    }
  }

  private reassembled(f: FrameId): Verdict {
    const { pool } = this.ctx;
    return (pool.flags[f] & (F_REASSEMBLED | F_L2_MULTICAST)) === F_REASSEMBLED ? this.datagram(f, pool.l3[f]) : PASS;
  }

  // TCP

  private segment(f: FrameId, l3: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const { tcp: table } = this;
    const l4 = pool.l4[f];
    const end = pool.off[f] + pool.len[f];
    if (end - l4 < wire.TCP_LEN) return PASS;
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const ports = get32(buf, l4);
    const hit = table.find(src, dst, ports);
    if (hit === 0) return this.openTcp(f, src, dst, ports);
    if (wire.check(buf, l4, end) !== 0) return DROP | TCP_MALFORMED;

    const row = c.rowOf(hit);
    const dir = c.dirOf(hit);
    const at = row << c.ROW_SHIFT;
    const flags = wire.flags(buf, l4);
    const dest = table.rows[at + c.DEST];
    if (isOpener(table.rows[at + c.META], dir)) {
      if (tcp.isBareSyn(flags) && this.endings.isOver(table.state(row), dest)) {
        this.stats.reused += 1;
        table.close(row, c.END_REUSED);
        return this.openTcp(f, src, dst, ports);
      }
      if (this.endings.quiesces(table, row, dest)) return DROP | LB_QUIESCED;
    }
    if (dir === c.OUT && (flags & wire.RST) === 0) heardSegment(pool, f, table.rows, at, l4);
    const telling = dir === c.IN ? believed(table.rows, at, flags, wire.seq(buf, l4)) : flags;
    this.stepTcp(row, at, dir, dest, telling);
    return this.onward(f, table, row, at, dir, dest, ip.PROTO_TCP);
  }

  /** A segment with these flags, as far as they are believed: the connection's state, its time, its server's counts. */
  stepTcp(row: number, at: number, dir: number, dest: number, flags: number): void {
    const { tcp: table } = this;
    const meta = table.rows[at + c.META];
    const seen = c.seesReplies((meta & c.MODE_MASK) >> c.MODE_SHIFT);
    const next = tcp.nextState(dir === c.IN && !seen ? tcp.IN_ONLY : dir, flags, meta & c.STATE_MASK);
    const service = table.rows[at + c.SERVICE_HOP] >>> 16;
    const change = table.step(row, next, this.tcpTimeouts.of(service, next));
    if (change === 0) return;
    if (change === ACTIVATED) this.dests.connActive(dest);
    else this.dests.connInactive(dest);
  }

  private openTcp(f: FrameId, src: Ipv4, dst: Ipv4, ports: number): Verdict {
    const { pool } = this.ctx;
    const l4 = pool.l4[f];
    const flags = wire.flags(pool.buf, l4);
    if (!tcp.isBareSyn(flags)) return this.elsewhere !== null && this.elsewhere(f) ? STOLEN : PASS;
    const service = this.classifier.find(f, ip.PROTO_TCP, src, dst, ports);
    if (!this.serves(service)) return PASS;
    if (wire.check(pool.buf, l4, pool.off[f] + pool.len[f]) !== 0) return DROP | TCP_MALFORMED;
    const { tcp: table } = this;
    const refused = this.open(f, table, service, ip.PROTO_TCP, src, dst, ports);
    if (refused !== PASS) return refused;
    const row = this.opener.row;
    const at = row << c.ROW_SHIFT;
    const dest = table.rows[at + c.DEST];
    const dir = this.openedDir;
    if (dir === c.OUT) heardSegment(pool, f, table.rows, at, l4);
    this.stepTcp(row, at, dir, dest, flags);
    return this.onward(f, table, row, at, dir, dest, ip.PROTO_TCP);
  }

  /** The direction of the packet that the last successful `open` was for. */
  private openedDir: number = c.IN;

  private open(
    f: FrameId,
    table: ConnTable,
    service: number,
    proto: number,
    src: Ipv4,
    dst: Ipv4,
    ports: number,
  ): Verdict {
    const out = this.mode[service] === c.SNAT;
    this.openedDir = out ? c.OUT : c.IN;
    if (out) return this.opener.openOut(f, table, service, proto, src, dst, ports);
    return this.opener.open(f, table, service, proto, src, dst, ports);
  }

  // UDP

  private udpDatagram(f: FrameId, l3: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const { udp: table } = this;
    const l4 = pool.l4[f];
    if (pool.off[f] + pool.len[f] - l4 < UDP_LEN) return PASS;
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const ports = get32(buf, l4);
    const hit = table.find(src, dst, ports);
    let row = c.rowOf(hit);
    let dir = c.dirOf(hit);
    if (hit === 0 || this.movesOn(table, row, dir)) {
      const service = this.classifier.find(f, ip.PROTO_UDP, src, dst, ports);
      if (!this.serves(service)) {
        const server = this.natServers.answerer(src, ports >>> 16);
        // What it says to us is for us, as when it is checked.
        return server === 0 || this.stack.addresses.isLocal(dst) ? PASS : this.answer(f, server, dst, ports);
      }
      const refused = this.open(f, table, service, ip.PROTO_UDP, src, dst, ports);
      if (refused !== PASS) return refused;
      row = this.opener.row;
      dir = this.openedDir;
    }
    const at = row << c.ROW_SHIFT;
    const dest = table.rows[at + c.DEST];
    const meta = table.rows[at + c.META];
    const onePacket = (meta & c.F_ONE_PACKET) !== 0;
    const answers = (meta & c.F_OPENED_OUT) !== 0 ? c.IN : c.OUT;
    const next = udp.nextState(dir === answers, meta & c.STATE_MASK);
    if (!onePacket) table.step(row, next, this.udpTimeouts.of(table.rows[at + c.SERVICE_HOP] >>> 16, next));
    const verdict = this.onward(f, table, row, at, dir, dest, ip.PROTO_UDP);
    if (onePacket) table.close(row, c.END_DONE);
    return verdict;
  }

  /** From a server of a one-packet service to its client: a row for as long as it takes. */
  private answer(f: FrameId, dest: number, client: Ipv4, ports: number): Verdict {
    const { forgotten, services } = this;
    const service = this.dests.service[dest];
    forgotten[c.META] = c.NAT << c.MODE_SHIFT;
    forgotten[c.SERVICE_HOP] = service << 16;
    forgotten[c.CADDR] = client;
    forgotten[c.VADDR] = services.columns.vip[service];
    forgotten[c.CVPORTS] = (ports << 16) | (services.columns.port[service] || ports >>> 16);
    services.countOut(dest, 1, this.ctx.pool.wireLength(f));
    return this.xmit.send(f, forgotten, 0, c.OUT, ip.PROTO_UDP);
  }

  // ICMP

  /** An error about a connection, or a query that a service passes on; what is left, the stack answers. */
  private icmpMessage(f: FrameId, l3: number): Verdict {
    const error = this.related.input(f);
    if (error !== PASS) return error;
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.l4[f];
    const end = pool.off[f] + pool.len[f];
    if (pool.fragLen[f] !== 0 || end - l4 < ICMP_LEN || !icmp.isQuery(buf[l4])) return PASS;
    const src = ip.src(buf, l3);
    const dst = ip.dst(buf, l3);
    const ports = icmp.ports(buf[l4], buf[l4 + 1], get32(buf, l4 + 4) >>> 16);
    const { icmp: table } = this;
    let hit = table.find(src, dst, ports);
    let row = c.rowOf(hit);
    let dir = c.dirOf(hit);
    if (hit !== 0 && this.movesOn(table, row, dir)) hit = 0;
    const service = hit === 0 && icmp.isRequest(buf[l4]) ? this.classifier.find(f, ip.PROTO_ICMP, src, dst, ports) : 0;
    if (hit === 0 && !this.serves(service)) return PASS;
    if (checkIcmp(buf, pool.i32, l4, end) !== 0) return DROP | ICMP_MALFORMED;
    if (hit === 0) {
      const refused = this.open(f, table, service, ip.PROTO_ICMP, src, dst, ports);
      if (refused !== PASS) return refused;
      row = this.opener.row;
      dir = this.openedDir;
    }
    const at = row << c.ROW_SHIFT;
    const next = icmp.nextState();
    table.step(row, next, this.icmpTimeouts.of(table.rows[at + c.SERVICE_HOP] >>> 16, next));
    return this.onward(f, table, row, at, dir, table.rows[at + c.DEST], ip.PROTO_ICMP);
  }

  // All

  /** Ends what has to leave its server: a datagram goes on with another one, it needs no connection that began there. */
  private movesOn(table: ConnTable, row: number, dir: number): boolean {
    const at = row << c.ROW_SHIFT;
    return isOpener(table.rows[at + c.META], dir) && this.endings.quiesces(table, row, table.rows[at + c.DEST]);
  }

  private onward(
    f: FrameId,
    table: ConnTable,
    row: number,
    at: number,
    dir: number,
    dest: number,
    proto: number,
  ): Verdict {
    this.count(table, row, dir, dest, this.ctx.pool.wireLength(f));
    return this.xmit.send(f, table.rows, at, dir, proto);
  }

  /** A packet of `bytes`, IP header included. */
  count(table: ConnTable, row: number, dir: number, dest: number, bytes: number): void {
    table.cold.count(row, dir, 1, bytes);
    if (dir === c.IN) this.services.countIn(dest, 1, bytes);
    else this.services.countOut(dest, 1, bytes);
  }

  /** Whether new connections of a service are to be passed on here. */
  serves(service: number): boolean {
    return service !== 0 && this.mode[service] !== 0 && !this.draining;
  }
}
