/**
 * ARP (RFC 826): answers for our addresses, asks for those of others, and notices when somebody else has one of ours
 * (RFC 5227). Called by ethernet (`input`) and by nud (`askAll`, `ask`). Every packet sent is a frame of its own, padded
 * to the Ethernet minimum with zeros.
 *
 * What a received packet does; "ours" means an address of the port it came through, first matching row wins:
 *
 * | packet                                   | verdict              | effect                                        |
 * | ---------------------------------------- | -------------------- | --------------------------------------------- |
 * | truncated, other hardware or protocol    | DROP\|ARP_MALFORMED  |                                               |
 * | sender MAC multicast, broadcast or zero  | DROP\|ARP_MALFORMED  | (RFC 1812 §3.3.2)                             |
 * | sender MAC is the port's own             | DROP\|ARP_NOT_OURS   | an echo of what we sent                       |
 * | request, sender IP 0 (probe), for ours   | DELIVERED            | answered; teaches nothing (RFC 5227 §1.1)     |
 * | sender IP 0 otherwise                    | DROP\|ARP_NOT_OURS   |                                               |
 * | sender IP that no host can have          | DROP\|ARP_MALFORMED  |                                               |
 * | sender IP is ours                        | DROP\|ARP_CONFLICT   | `onConflict`, and defended (RFC 5227 §2.4)    |
 * | sender IP is ours, but of another port   | DROP\|ARP_NOT_OURS   | our own voice on a second link of the segment |
 * | sender IP = target IP (gratuitous)       | DELIVERED            | teaches the entry, if there is one            |
 * | request for ours                         | DELIVERED            | answered; teaches, also a new entry           |
 * | reply to ours that we asked for          | DELIVERED            | teaches: proof that the neighbour hears us    |
 * | anything else                            | DROP\|ARP_NOT_OURS   |                                               |
 *
 * Defence is that of a host that never gives its address up (RFC 5227 §2.4 (c)): one announcement at most every
 * DEFEND_INTERVAL per address. Not done: probing before an address is used (§2.1), because an operator who gives us a
 * VIP that another balancer holds means it; proxy ARP.
 *
 * On entry `off` stands at the ARP packet. The received frame stays the caller's on every verdict.
 */
import type { Context } from '../context.ts';
import { ARP_CONFLICT, ARP_MALFORMED, ARP_NOT_OURS } from '../drop.ts';
import { isHostAddress, type LocalAddresses } from '../inetaddr/addr.ts';
import type { FrameId, Ipv4, PortId, Ticks, Verdict } from '../types.ts';
import { DELIVERED, DROP } from '../verdict.ts';
import * as arp from '../wire/arp.ts';
import * as ethernet from '../wire/ethernet.ts';
import type { Link } from './link.ts';
import type { Nud, Resolver } from './nud.ts';

/** RFC 5227 §1.1. */
export const DEFEND_INTERVAL_MS = 10_000;

/** Another host claims `ip`, an address of `port`, for the given MAC address. */
export type OnConflict = (port: PortId, ip: Ipv4, macHi: number, macLo: number) => void;

export class Arp implements Resolver {
  /** False with all workers of a process but one: they hear everything and ask, but do not answer, defend or announce. */
  speaks = true;
  private readonly ctx: Context;
  private readonly link: Link;
  private readonly addresses: LocalAddresses;
  private readonly nud: Nud;
  private readonly onConflict: OnConflict;
  /** When each of our addresses was last defended; at most one entry per address ever owned. */
  private readonly defended = new Map<number, Ticks>();

  constructor(ctx: Context, link: Link, addresses: LocalAddresses, nud: Nud, onConflict: OnConflict) {
    this.ctx = ctx;
    this.link = link;
    this.addresses = addresses;
    this.nud = nud;
    this.onConflict = onConflict;
  }

  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    const port = pool.port[f]!;
    const malformed = arp.check(buf, off, off + pool.len[f]!);
    if (malformed !== 0) return DROP | malformed;
    const macHi = arp.senderHi(buf, off);
    const macLo = arp.senderLo(buf, off);
    if ((macHi & 0x0100) !== 0 || (macHi | macLo) === 0) return DROP | ARP_MALFORMED;
    if (macHi === this.link.macHi(port) && macLo === this.link.macLo(port)) return DROP | ARP_NOT_OURS;
    const isRequest = arp.operation(buf, off) === arp.REQUEST;
    const sender = arp.senderIp(buf, off);
    const target = arp.targetIp(buf, off);
    const forUs = this.addresses.isLocalOn(target, port);
    if (sender === 0) {
      if (!isRequest || !forUs) return DROP | ARP_NOT_OURS;
      this.reply(port, target, macHi, macLo, sender);
      return DELIVERED;
    }
    if (!isHostAddress(sender)) return DROP | ARP_MALFORMED;
    if (this.addresses.isLocalOn(sender, port)) return this.conflict(port, sender, macHi, macLo);
    if (this.addresses.isLocal(sender)) return DROP | ARP_NOT_OURS;
    if (sender === target) return this.taught(this.nud.heard(sender, port, macHi, macLo, false));
    if (!isRequest) {
      // An unnumbered port asks in the name of another port's address (see askAll): any of ours will do.
      return this.taught(this.addresses.isLocal(target) && this.nud.answered(sender, port, macHi, macLo));
    }
    if (!forUs) return DROP | ARP_NOT_OURS;
    this.nud.heard(sender, port, macHi, macLo, true);
    this.reply(port, target, macHi, macLo, sender);
    return DELIVERED;
  }

  /** Broadcasts a request. Silent when the host has no address to ask for: the entry will fail. */
  askAll(port: PortId, ip: Ipv4): void {
    this.request(port, ip, 0xffff, -1);
  }

  ask(port: PortId, ip: Ipv4, macHi: number, macLo: number): void {
    this.request(port, ip, macHi, macLo);
  }

  /** One ARP announcement (RFC 5227 §2.3): a broadcast request whose sender and target IP are both `ip`. */
  announce(port: PortId, ip: Ipv4): void {
    if (this.speaks) this.send(port, 0xffff, -1, arp.REQUEST, ip, 0, 0, ip);
  }

  private taught(yes: boolean): Verdict {
    return yes ? DELIVERED : DROP | ARP_NOT_OURS;
  }

  private conflict(port: PortId, ip: Ipv4, macHi: number, macLo: number): Verdict {
    if (!this.speaks) return DROP | ARP_CONFLICT;
    this.onConflict(port, ip, macHi, macLo);
    const key = port * 4294967296 + (ip >>> 0);
    const last = this.defended.get(key);
    if (last === undefined || ((this.ctx.nowMs - last) | 0) >= DEFEND_INTERVAL_MS) {
      this.defended.set(key, this.ctx.nowMs);
      this.announce(port, ip);
    }
    return DROP | ARP_CONFLICT;
  }

  private request(port: PortId, ip: Ipv4, dstHi: number, dstLo: number): void {
    const source = this.addresses.sourceFor(ip, port);
    if (source !== 0) this.send(port, dstHi, dstLo, arp.REQUEST, source, 0, 0, ip);
  }

  private reply(port: PortId, ours: Ipv4, macHi: number, macLo: number, theirs: Ipv4): void {
    if (this.speaks) this.send(port, macHi, macLo, arp.REPLY, ours, macHi, macLo, theirs);
  }

  private send(
    port: PortId,
    dstHi: number,
    dstLo: number,
    operation: number,
    senderIp: Ipv4,
    targetHi: number,
    targetLo: number,
    targetIp: Ipv4,
  ): void {
    const f = this.ctx.create();
    if (f === 0) return;
    const { pool } = this.ctx;
    const off = pool.off[f]!;
    const macHi = this.link.macHi(port);
    const macLo = this.link.macLo(port);
    ethernet.emit(pool.buf, off, dstHi, dstLo, macHi, macLo, ethernet.ETHERTYPE_ARP);
    const body = off + ethernet.ETH_LEN;
    arp.emit(pool.buf, body, operation, macHi, macLo, senderIp, targetHi, targetLo, targetIp);
    // The slot still holds the bytes of an earlier frame: they are nobody's business.
    pool.buf.fill(0, body + arp.ARP_LEN, off + ethernet.ETH_MIN);
    pool.len[f] = ethernet.ETH_MIN;
    this.ctx.settle(f, this.link.transmit(f, port));
  }
}
