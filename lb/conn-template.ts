/**
 * Persistence templates: which server a client is to be sent to again. They are rows of a connection table of their own,
 * one for all protocols, so that a service by firewall mark has one template for TCP and UDP together.
 *
 *   key   CADDR = client & mask, VADDR = virtual address (the mark, protocol 0), CVPORTS = protocol << 16 | virtual port or 0
 *   holds RADDR, RLPORTS = the server and its port << 16; DEST, SERVICE_HOP
 *
 * A connection made by a template is tied to it (`ConnTable.control`), and a template whose time is over stays while connections of
 * it live. A template that has become wrong (server gone, or drained and the service says so) is invalidated: it matches no more,
 * a new one can take its key at once, and it leaves with its connections. Called by lb/core.ts, once per new connection.
 */
import type { Timers } from '../stack/timer/timers.ts';
import type { Ipv4 } from '../stack/types.ts';
import { type ConnClock, type ConnOwner, ConnSpec, ConnTable, type Controller } from './conn.ts';
import * as c from './conn-row.ts';

export class Templates implements Controller {
  /** For `refresh`, `invalidate`, `close`, `next` and the rows. */
  readonly table: ConnTable;
  private readonly spec = new ConnSpec();

  /** As for ConnTable; `max` templates. The owner is told of each end, to take it from the server's count. */
  constructor(
    memory: SharedArrayBuffer,
    byteOffset: number,
    max: number,
    clock: ConnClock,
    timers: Timers,
    owner: ConnOwner,
  ) {
    this.table = new ConnTable(memory, byteOffset, { max, activeStates: 0 }, clock, timers, owner);
  }

  /** The template for a client of a service, 0 = none. `mask` is the service's; `vport` 0 for one over all ports. @hot */
  find(proto: number, client: Ipv4, mask: number, vip: Ipv4, vport: number): number {
    return c.rowOf(this.table.find(client & mask, vip, (proto << 16) | vport));
  }

  /** Remembers the server for the client; 0 when there is no room (`table.refusal`). Precondition: `find` gave 0. */
  open(
    proto: number,
    client: Ipv4,
    mask: number,
    vip: Ipv4,
    vport: number,
    raddr: Ipv4,
    rport: number,
    service: number,
    dest: number,
    timeoutMs: number,
  ): number {
    const { spec } = this;
    spec.caddr = client & mask;
    spec.vaddr = vip;
    spec.cport = proto;
    spec.vport = vport;
    spec.raddr = raddr;
    spec.rport = rport;
    spec.flags = c.F_TEMPLATE;
    spec.service = service;
    spec.dest = dest;
    spec.timeoutMs = timeoutMs;
    return this.table.open(spec);
  }

  /** The server it stands for: a row of lb/dest.ts, which it holds. */
  dest(template: number): number {
    return this.table.rows[(template << c.ROW_SHIFT) + c.DEST];
  }

  /** Connections that keep it alive. */
  children(template: number): number {
    return this.table.cold.control[template];
  }

  gain(template: number): void {
    this.table.cold.control[template]++;
  }

  lose(template: number): void {
    this.table.cold.control[template]--;
  }
}
