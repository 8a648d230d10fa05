/**
 * The last step of an IPv4 packet before its port: finds the link-layer address of the next hop and puts the Ethernet
 * header in front (RFC 894). Called by ip output and forwarding; calls the port.
 *
 * On entry `off` stands at the IP header, with 14 bytes of room before it. On every verdict but STOLEN the frame stays
 * the caller's; when it was not sent, `off` still stands at the IP header.
 *
 * | state of the next hop             | verdict                                                             |
 * | --------------------------------- | ------------------------------------------------------------------- |
 * | REACHABLE, STALE, DELAY, PROBE    | what the port says; STALE becomes DELAY                             |
 * | no entry                          | STOLEN: queued, and resolution starts; DROP if the table is full    |
 * | INCOMPLETE                        | STOLEN: queued (queue.ts says which frame goes when it is full)     |
 * | FAILED                            | DROP\|NEIGH_FAILED, after `onUnreachable`                           |
 *
 * @hot
 */
import type { Context } from '../context.ts';
import { NEIGH_FAILED, NEIGH_QUEUE_FULL, NEIGH_TABLE_FULL } from '../drop.ts';
import type { FrameId, Ipv4, PortId, Verdict } from '../types.ts';
import { DROP, STOLEN } from '../verdict.ts';
import { ETH_LEN, ETHERTYPE_IPV4, emit, emitAligned } from '../wire/ethernet.ts';
import type { Link } from './link.ts';
import type { Nud, Waiters } from './nud.ts';
import type { WaitQueue } from './queue.ts';
import { INCOMPLETE, STALE } from './state.ts';
import { IP, MAC_HI, MAC_LO, type NeighTable, PORT, STATE, USED } from './table.ts';

/** Called before a frame is dropped because its next hop does not answer; `off` stands at its IP header. */
export type OnUnreachable = (frame: FrameId, port: PortId, nextHop: Ipv4) => void;

export class Neighbours implements Waiters {
  private readonly ctx: Context;
  private readonly link: Link;
  private readonly table: NeighTable;
  private readonly queue: WaitQueue;
  private readonly nud: Nud;
  private readonly onUnreachable: OnUnreachable;

  constructor(ctx: Context, link: Link, table: NeighTable, queue: WaitQueue, nud: Nud, onUnreachable: OnUnreachable) {
    this.ctx = ctx;
    this.link = link;
    this.table = table;
    this.queue = queue;
    this.nud = nud;
    this.onUnreachable = onUnreachable;
  }

  /** Sends a packet to a unicast next hop on the port's link. */
  output(f: FrameId, port: PortId, nextHop: Ipv4): Verdict {
    const i = this.table.find(nextHop, port);
    if (i === 0) return this.startResolution(f, port, nextHop);
    const { words } = this.table;
    const at = i << 4;
    const state = words[at + STATE]!;
    if (state >= STALE) {
      words[at + USED] = this.ctx.nowMs;
      if (state === STALE) this.nud.used(i);
      return this.send(f, port, words[at + MAC_HI]!, words[at + MAC_LO]!);
    }
    if (state === INCOMPLETE) return this.wait(i, f);
    this.onUnreachable(f, port, nextHop);
    return DROP | NEIGH_FAILED;
  }

  /** Sends a packet to a multicast group: 01-00-5E and the low 23 bits of the group (RFC 1112 §6.4). */
  outputMulticast(f: FrameId, port: PortId, group: Ipv4): Verdict {
    return this.send(f, port, 0x0100, 0x5e000000 | (group & 0x7fffff));
  }

  /** Sends a packet to everybody on the link. */
  outputBroadcast(f: FrameId, port: PortId): Verdict {
    return this.send(f, port, 0xffff, -1);
  }

  /** Sends what waited for the entry, oldest first. */
  release(i: number): void {
    let f = this.queue.takeAll(i);
    if (f === 0) return;
    const { words } = this.table;
    const at = i << 4;
    const port = words[at + PORT]!;
    const macHi = words[at + MAC_HI]!;
    const macLo = words[at + MAC_LO]!;
    words[at + USED] = this.ctx.nowMs;
    if (words[at + STATE] === STALE) this.nud.used(i);
    while (f !== 0) {
      const next = this.ctx.pool.next[f]!;
      this.ctx.settle(f, this.send(f, port, macHi, macLo));
      f = next;
    }
  }

  /** Drops what waited for the entry and tells the senders. They may send through us: the row is not looked at again. */
  fail(i: number): void {
    const port = this.table.words[(i << 4) + PORT]!;
    const ip = this.table.words[(i << 4) + IP]!;
    for (let f = this.queue.takeAll(i); f !== 0; ) {
      const next = this.ctx.pool.next[f]!;
      this.onUnreachable(f, port, ip);
      this.ctx.settle(f, DROP | NEIGH_FAILED);
      f = next;
    }
  }

  discard(i: number, reason: number): void {
    for (let f = this.queue.takeAll(i); f !== 0; ) {
      const next = this.ctx.pool.next[f]!;
      this.ctx.settle(f, DROP | reason);
      f = next;
    }
  }

  private startResolution(f: FrameId, port: PortId, nextHop: Ipv4): Verdict {
    const i = this.nud.resolve(nextHop, port);
    return i === 0 ? DROP | NEIGH_TABLE_FULL : this.wait(i, f);
  }

  private wait(i: number, f: FrameId): Verdict {
    const out = this.queue.push(i, f);
    if (out === f) return DROP | NEIGH_QUEUE_FULL;
    if (out !== 0) this.ctx.settle(out, DROP | NEIGH_QUEUE_FULL);
    return STOLEN;
  }

  private send(f: FrameId, port: PortId, macHi: number, macLo: number): Verdict {
    const { pool } = this.ctx;
    const { link } = this;
    const off = pool.off[f]! - ETH_LEN;
    const { buf } = pool;
    if ((off & 3) === 2) {
      emitAligned(buf, pool.i32, off, macHi, macLo, link.macHi(port), link.macLo(port), ETHERTYPE_IPV4);
    } else emit(buf, off, macHi, macLo, link.macHi(port), link.macLo(port), ETHERTYPE_IPV4);
    pool.off[f] = off;
    pool.len[f]! += ETH_LEN;
    return link.transmit(f, port);
  }
}
