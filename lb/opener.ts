/**
 * A new connection of layer 4: which server it gets, from which local port, and its row.
 *
 * The server is the scheduler's choice, or with persistence that of the client's template (conn-template.ts):
 *
 * | template of the client's network        | what happens                                                            |
 * | --------------------------------------- | ----------------------------------------------------------------------- |
 * | none                                    | the scheduler chooses, and a template remembers it                      |
 * | its server takes connections            | that server, even above its limit of connections; the template is renewed |
 * | its server has weight 0 or is drained   | that server, or with `expireTemplates` as below                         |
 * | its server is gone, failing, inhibited, | the template is invalid from now on, and the client's next server is the |
 * | or in maintenance                       | scheduler's choice                                                      |
 *
 * One template holds for one port of the service; for all ports where the service has them all (port 0); for all
 * protocols and ports of a firewall mark. The ports of the server are those of LVS: a service for all ports keeps the
 * port the client asked for when it is persistent, or when its server has none.
 *
 * A one-packet connection (UDP) is in no index: whoever has sent its packet closes it.
 *
 * Called by lb/core.ts for the first packet of a connection. Ownership: leaves the frame with the caller.
 * @hot
 */
import type { Context } from '../stack/context.ts';
import { IP_REVERSE_PATH, LB_CONN_CLASH, LB_CONN_FULL, LB_NO_LOCAL_PORT, LB_NO_SERVER } from '../stack/drop.ts';
import type { IcmpError } from '../stack/icmp/error.ts';
import type { Routes4 } from '../stack/route/route4.ts';
import type { FrameId, Ipv4, Verdict } from '../stack/types.ts';
import { DROP, PASS } from '../stack/verdict.ts';
import { UNREACH_PORT, UNREACHABLE } from '../stack/wire/icmp4.ts';
import { PROTO_TCP, PROTO_UDP } from '../stack/wire/ipv4.ts';
import { ConnSpec, type ConnTable, REFUSED_FULL } from './conn.ts';
import * as c from './conn-row.ts';
import type { Templates } from './conn-template.ts';
import type { CoreStats } from './core-stats.ts';
import { AVAILABLE, type DestTable, DRAINED, INHIBITED, MAINT, UNHEALTHY } from './dest.ts';
import type { LocalAddrs } from './laddr.ts';
import type { NatServers } from './nat-servers.ts';
import { connectionIdAt, idHigh, idLow } from './proto/quic.ts';
import { isReusable } from './proto/tcp.ts';
import { FlowKey } from './sched/index.ts';
import { PROTO_MARK, type ServiceTable } from './service.ts';

/** Bits of `policy`. */
export const EXPIRE_TEMPLATES = 1;
export const ONE_PACKET = 2;
/** Scheduled by the connection id of QUIC. */
export const BY_CONNECTION_ID = 4;

/** A server with one of these gets nobody back. */
const KEEPS_OUT = INHIBITED | UNHEALTHY | MAINT;

export class Opener {
  readonly stats: CoreStats;
  /** The row that the last successful `open` made. */
  row = 0;
  /** Forwarding mode by service, conn-row.ts; 0 = not of layer 4. */
  readonly mode: Uint8Array;
  /** By server: its own mode; 0 = its service's. */
  readonly destMode: Uint8Array;
  /** By service: EXPIRE_TEMPLATES, ONE_PACKET, BY_CONNECTION_ID. */
  readonly policy: Uint8Array;
  /** By service: how long a client is remembered, milliseconds, 0 = not at all; by which bits of its address. */
  readonly persistMs: Int32Array;
  readonly persistMask: Int32Array;
  private readonly ctx: Context;
  private readonly error: IcmpError;
  private readonly services: ServiceTable;
  private readonly dests: DestTable;
  private readonly locals: LocalAddrs;
  private readonly routes: Routes4;
  private readonly templates: Templates;
  private readonly natServers: NatServers;
  private readonly flow = new FlowKey();
  private readonly spec = new ConnSpec();

  constructor(
    stack: { readonly ctx: Context; readonly icmpError: IcmpError; readonly routes: Routes4 },
    services: ServiceTable,
    locals: LocalAddrs,
    templates: Templates,
    natServers: NatServers,
    stats: CoreStats,
    maxServices: number,
  ) {
    this.stats = stats;
    this.ctx = stack.ctx;
    this.error = stack.icmpError;
    this.services = services;
    this.dests = services.dests;
    this.locals = locals;
    this.routes = stack.routes;
    this.templates = templates;
    this.natServers = natServers;
    this.mode = new Uint8Array(maxServices + 1);
    this.destMode = new Uint8Array(services.dests.capacity + 1);
    this.policy = new Uint8Array(maxServices + 1);
    this.persistMs = new Int32Array(maxServices + 1);
    this.persistMask = new Int32Array(maxServices + 1);
  }

  /** Makes `row` for a packet of the client. PASS, or the verdict for a packet that is refused. */
  open(f: FrameId, table: ConnTable, service: number, proto: number, src: Ipv4, dst: Ipv4, ports: number): Verdict {
    const { spec, dests, locals } = this;
    const persistent = this.persistMs[service] !== 0;
    const template = persistent ? this.templateOf(service, proto, src, dst, ports & 0xffff) : 0;
    const dest = template === 0 ? this.schedule(f, service, proto, src, dst, ports) : this.templates.dest(template);
    if (dest === 0) return this.noServer(f);
    const mode = this.destMode[dest] || this.mode[service];
    spec.caddr = src;
    spec.cport = ports >>> 16;
    spec.vaddr = dst;
    spec.vport = ports & 0xffff;
    spec.raddr = dests.addr[dest];
    spec.rport = c.seesReplies(mode) ? this.serverPort(service, dest, spec.vport, persistent) : spec.vport;
    spec.laddr = src;
    spec.lport = spec.cport;
    spec.mode = mode;
    spec.state = 0;
    spec.flags = this.isForgotten(service, proto, mode, dest, spec.rport) ? c.F_ONE_PACKET : 0;
    spec.dest = dest;
    spec.service = service;
    if (mode === c.FNAT) {
      if (!locals.acquire(service, spec.raddr, spec.rport)) return this.noPort(f);
      spec.laddr = locals.addr;
      spec.lport = locals.port;
      spec.flags |= c.F_LOCAL_PORT;
    }
    const verdict = this.enter(table, proto);
    if (verdict === PASS && persistent) this.remember(table, this.row, proto, template);
    return verdict;
  }

  /**
   * Makes `row` for a packet of a host behind us (SNAT): what it asks is asked from an address and port of a pool. The addresses are
   * the service's servers, as in DPVS: the scheduler chooses, and the next ones are tried where it has no port left. A source that is
   * not reached by where the packet came from is forged (RFC 3704 §2.2), or has its answers elsewhere.
   */
  openOut(f: FrameId, table: ConnTable, service: number, proto: number, src: Ipv4, dst: Ipv4, ports: number): Verdict {
    const { spec, locals } = this;
    if (!this.routes.lookup(src) || this.routes.outPort !== this.ctx.pool.port[f]) return DROP | IP_REVERSE_PATH;
    let dest = this.schedule(f, service, proto, src, dst, ports);
    if (dest === 0) return this.noServer(f);
    const dport = ports & 0xffff;
    while (!locals.acquireOf(this.dests.addr[dest], dst, dport)) {
      dest = this.flow.avoid(dest) ? this.services.retry(service, this.flow) : 0;
      if (dest !== 0) continue;
      locals.refuse(service);
      return this.noPort(f);
    }
    spec.caddr = dst;
    spec.cport = dport;
    spec.vaddr = locals.addr;
    spec.vport = locals.port;
    spec.raddr = src;
    spec.rport = ports >>> 16;
    spec.laddr = dst;
    spec.lport = dport;
    spec.mode = c.SNAT;
    spec.state = 0;
    spec.flags = c.F_OPENED_OUT | c.F_LOCAL_PORT;
    spec.dest = dest;
    spec.service = service;
    return this.enter(table, proto);
  }

  private noServer(f: FrameId): Verdict {
    this.stats.noServer += 1;
    this.error.send(f, UNREACHABLE, UNREACH_PORT, 0);
    return DROP | LB_NO_SERVER;
  }

  /** Whoever asks is told, so that he does not try again for seconds in vain. */
  private noPort(f: FrameId): Verdict {
    this.stats.noLocalPort += 1;
    this.error.send(f, UNREACHABLE, UNREACH_PORT, 0);
    return DROP | LB_NO_LOCAL_PORT;
  }

  private enter(table: ConnTable, proto: number): Verdict {
    let row = table.open(this.spec);
    // What keeps the server's tuple may be over: the server, too, lets a fresh SYN have it.
    if (row === 0 && proto === PROTO_TCP && table.refusal !== REFUSED_FULL) {
      const rival = c.rowOf(table.rival);
      if (rival !== 0 && isReusable(table.state(rival))) {
        this.stats.reused += 1;
        table.close(rival, c.END_REUSED);
        row = table.open(this.spec);
      }
    }
    if (row === 0) return this.refused(table);
    this.row = row;
    this.stats.opened += 1;
    this.services.connOpen(this.spec.dest);
    return PASS;
  }

  /** Gives back the port that a connection has of a pool. Precondition: F_LOCAL_PORT. */
  releasePort(rows: Int32Array, at: number): void {
    const out = (rows[at + c.META] & c.F_OPENED_OUT) !== 0;
    const ours = rows[at + (out ? c.CVPORTS : c.RLPORTS)];
    const addr = rows[at + (out ? c.VADDR : c.LADDR)];
    this.locals.release(addr, ours & 0xffff, rows[at + (out ? c.CADDR : c.RADDR)], ours >>> 16);
  }

  private schedule(f: FrameId, service: number, proto: number, src: Ipv4, dst: Ipv4, ports: number): number {
    const { flow } = this;
    flow.set(src, dst, ports >>> 16, ports & 0xffff, proto, this.ctx.now);
    if (proto === PROTO_UDP && (this.policy[service] & BY_CONNECTION_ID) !== 0) {
      const { pool } = this.ctx;
      const at = connectionIdAt(pool, f);
      if (at !== 0) flow.setId(idHigh(pool.buf, at), idLow(pool.buf, at));
    }
    return this.services.schedule(service, flow);
  }

  /**
   * Whether nothing is kept of a datagram. A local port cannot be forgotten before the answer: with FullNAT every datagram makes a
   * connection; with NAT those do whose answers could not be told from others' (nat-servers.ts).
   */
  isForgotten(service: number, proto: number, mode: number, dest: number, rport: number): boolean {
    if (proto !== PROTO_UDP || mode === c.FNAT || (this.policy[service] & ONE_PACKET) === 0) return false;
    return mode !== c.NAT || this.natServers.answerer(this.dests.addr[dest], rport) === dest;
  }

  /** As LVS: the server's own port, unless it has none or a persistent client may have asked for any. */
  serverPort(service: number, dest: number, vport: number, persistent: boolean): number {
    if (persistent && this.services.columns.port[service] === 0) return vport;
    return this.dests.port[dest] || vport;
  }

  private refused(table: ConnTable): Verdict {
    const { spec } = this;
    if ((spec.flags & c.F_OPENED_OUT) !== 0) this.locals.release(spec.vaddr, spec.vport, spec.caddr, spec.cport);
    else if ((spec.flags & c.F_LOCAL_PORT) !== 0) {
      this.locals.release(spec.laddr, spec.lport, spec.raddr, spec.rport);
    }
    if (table.refusal === REFUSED_FULL) {
      this.stats.tableFull += 1;
      return DROP | LB_CONN_FULL;
    }
    this.stats.clashes += 1;
    return DROP | LB_CONN_CLASH;
  }

  // Persistence

  /** The client's template if there is one that still holds, else 0. */
  private templateOf(service: number, proto: number, src: Ipv4, dst: Ipv4, vport: number): number {
    const { templates } = this;
    const template = this.findTemplate(service, proto, src, dst, vport);
    if (template === 0) return 0;
    if (this.holds(service, templates.dest(template))) return template;
    this.stats.templatesInvalid += 1;
    templates.table.invalidate(template);
    return 0;
  }

  /** The client's template, which may hold no more; 0 = none. Precondition: the service is persistent. */
  findTemplate(service: number, proto: number, src: Ipv4, dst: Ipv4, vport: number): number {
    return this.templates.find(
      this.keyProto(service, proto),
      src,
      this.persistMask[service],
      this.keyAddress(service, dst),
      this.keyPort(service, vport),
    );
  }

  /** Whether a client that comes back may still be sent to the server. */
  holds(service: number, dest: number): boolean {
    const { flags, weight, service: owner } = this.dests;
    const state = flags[dest];
    if (owner[dest] !== service || (state & AVAILABLE) === 0 || (state & KEEPS_OUT) !== 0) return false;
    const drained = weight[dest] === 0 || (state & DRAINED) !== 0;
    return !drained || (this.policy[service] & EXPIRE_TEMPLATES) === 0;
  }

  /** Ties the new connection to its template, which is made if need be, and lasts anew from now on. */
  private remember(table: ConnTable, row: number, proto: number, known: number): void {
    const { templates, spec, dests } = this;
    const { service, dest, caddr, vport } = spec;
    const ms = this.persistMs[service];
    let template = known;
    if (template === 0) {
      template = templates.open(
        this.keyProto(service, proto),
        caddr,
        this.persistMask[service],
        this.keyAddress(service, spec.vaddr),
        this.keyPort(service, vport),
        spec.raddr,
        this.services.columns.port[service] === 0 ? 0 : dests.port[dest],
        service,
        dest,
        ms,
      );
      if (template === 0) {
        this.stats.templatesFull += 1;
        return;
      }
      dests.hold(dest);
      dests.persistent[dest] += 1;
    } else {
      this.stats.persisted += 1;
      templates.table.refresh(template, ms);
    }
    table.control(row, template);
  }

  /** A template ends. */
  forget(template: number): void {
    const dest = this.templates.dest(template);
    this.dests.persistent[dest] -= 1;
    this.dests.release(dest);
  }

  /** A firewall mark stands for all protocols, and is the address. */
  private keyProto(service: number, proto: number): number {
    return this.services.columns.proto[service] === PROTO_MARK ? 0 : proto;
  }

  private keyAddress(service: number, dst: Ipv4): Ipv4 {
    const { proto, vip } = this.services.columns;
    return proto[service] === PROTO_MARK ? vip[service] : dst;
  }

  private keyPort(service: number, vport: number): number {
    return this.services.columns.port[service] === 0 ? 0 : vport;
  }
}
