/**
 * Announces our addresses, so that neighbours and switches learn or correct what they know: when an address is added
 * (RFC 5227 §2.3), and in a faster burst when it is taken over from another machine, as VRRP does (RFC 9568 §6.4.1).
 * Cold; called by the control plane, or as a listener of the address table.
 *
 * Up to ANNOUNCE_SLOTS announcements run at once; a further one is sent a single time.
 */
import type { Context } from '../context.ts';
import type { AddressListener, LocalAddress } from '../inetaddr/addr.ts';
import type { TimerHandler, TimerRange, Timers } from '../timer/timers.ts';
import type { Ipv4, PortId } from '../types.ts';
import type { Arp } from './arp.ts';

/** RFC 5227 §1.1: ANNOUNCE_NUM, ANNOUNCE_INTERVAL. */
export const ANNOUNCE_NUM = 2;
export const ANNOUNCE_INTERVAL_MS = 2_000;
/** A takeover is announced more often: one lost frame would cost a neighbour's traffic for its whole cache time. */
export const TAKEOVER_NUM = 5;
export const TAKEOVER_INTERVAL_MS = 200;

export const ANNOUNCE_SLOTS = 256;

interface Announcement {
  readonly port: PortId;
  readonly ip: Ipv4;
  readonly intervalMs: number;
  left: number;
}

export class Announcer implements AddressListener, TimerHandler {
  private readonly ctx: Context;
  private readonly arp: Arp;
  private readonly timers: TimerRange;
  /** Index = timer id; slot 0 is unused. */
  private readonly running: (Announcement | null)[] = new Array<null>(ANNOUNCE_SLOTS + 1).fill(null);

  constructor(ctx: Context, arp: Arp, timers: Pick<Timers, 'range'>) {
    this.ctx = ctx;
    this.arp = arp;
    this.timers = timers.range(ANNOUNCE_SLOTS, this);
  }

  /** ANNOUNCE_NUM announcements, the first at once. */
  announce(port: PortId, ip: Ipv4): void {
    this.start(port, ip, ANNOUNCE_NUM, ANNOUNCE_INTERVAL_MS);
  }

  /** TAKEOVER_NUM announcements, the first at once. Takes the place of one that is running for the address. */
  takeover(port: PortId, ip: Ipv4): void {
    this.start(port, ip, TAKEOVER_NUM, TAKEOVER_INTERVAL_MS);
  }

  added(address: LocalAddress): void {
    this.announce(address.port, address.addr);
  }

  removed(address: LocalAddress): void {
    const i = this.find(address.port, address.addr);
    if (i > 0) this.stop(i);
  }

  onTimer(i: number): void {
    const a = this.running[i]!;
    this.arp.announce(a.port, a.ip);
    a.left -= 1;
    if (a.left === 0) this.stop(i);
    else this.timers.arm(i, (this.ctx.nowMs + a.intervalMs) | 0);
  }

  private start(port: PortId, ip: Ipv4, times: number, intervalMs: number): void {
    this.arp.announce(port, ip);
    const same = this.find(port, ip);
    const i = same > 0 ? same : this.running.indexOf(null, 1);
    if (i < 1) return;
    this.running[i] = { port, ip, intervalMs, left: times - 1 };
    this.timers.arm(i, (this.ctx.nowMs + intervalMs) | 0);
  }

  private find(port: PortId, ip: Ipv4): number {
    return this.running.findIndex((a) => a !== null && a.port === port && a.ip === ip);
  }

  private stop(i: number): void {
    this.running[i] = null;
    this.timers.cancel(i);
  }
}
