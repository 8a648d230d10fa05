/**
 * A device that shares its link with the kernel of the host: what is not ours goes to a second device, a TAP, and what the host
 * sends there leaves through the link. For links that take frames away from the kernel, so that the host keeps an address,
 * and ssh, on the interface.
 *
 * ```
 *  link --rx--> ours?  yes: netif        ARP for one of our addresses; IPv4 to one of them that is sent to our MAC address
 *                      no:  host.tx      everything else, group addresses too
 *  host --rx--> link.tx
 * ```
 *
 * Where the host's end has a MAC address of its own, every frame to our MAC address is ours.
 *
 * Ownership: as device.ts says. Frames between link and host never reach netif: they are counted as received here, as sent by
 * the device that takes them, or dropped as TX_FULL when it does not.
 * @hot
 */
import type { Context } from '../../context.ts';
import { TX_FULL } from '../../drop.ts';
import type { FrameId, Ipv4 } from '../../types.ts';
import { DROP } from '../../verdict.ts';
import * as eth from '../../wire/ethernet.ts';
import { IPV4_LEN } from '../../wire/ipv4.ts';
import { type Device, NO_FDS } from '../device.ts';
import { Wrapper } from './wrapper.ts';

export interface ExceptionOptions {
  /** Our MAC address on the link: its first 2 bytes and its last 4. */
  readonly macHi: number;
  readonly macLo: number;
  /** The host's end has the same. */
  readonly sharesMac: boolean;
}

/** Frames taken from the host in one turn at most. */
const FROM_HOST = 64;
const ARP_TARGET = 24;
const ARP_BYTES = 28;

export class Exception extends Wrapper {
  private readonly ctx: Context;
  private readonly host: Device;
  private readonly options: ExceptionOptions;
  private readonly fds: Int32Array;
  private readonly addresses = new Set<Ipv4>();
  private readonly fromHost = new Int32Array(FROM_HOST);
  private readonly toHost = new Int32Array(1);

  constructor(ctx: Context, link: Device, host: Device, options: ExceptionOptions) {
    super(link);
    this.ctx = ctx;
    this.host = host;
    this.options = options;
    this.fds = Int32Array.of(host.fd, ...(link.moreFds ?? NO_FDS));
  }

  override get moreFds(): Int32Array {
    return this.fds;
  }

  override get held(): number {
    return super.held + (this.host.held ?? 0);
  }

  override get notice(): string {
    const { host, inner: link } = this;
    if (!host.up) return `${host.name} is gone: what is not ours is dropped`;
    const { notice = '' } = link;
    if (notice !== '' || host.caps.mtu <= link.caps.mtu) return notice;
    const name = host.name.slice(host.name.indexOf(':') + 1);
    return `what the host sends by ${host.name} is lost where it is larger than the link takes: 'ip link set ${name} mtu ${link.caps.mtu}'`;
  }

  override claim(addr: Ipv4, ours: boolean): void {
    if (ours) this.addresses.add(addr);
    else this.addresses.delete(addr);
    super.claim(addr, ours);
  }

  override brings(dst: Ipv4): boolean {
    return !this.options.sharesMac || this.addresses.has(dst);
  }

  override prepareSleep(): boolean {
    const { inner, fds } = this;
    fds[0] = this.host.up ? this.host.fd : -1;
    const theirs = inner.moreFds ?? NO_FDS;
    for (let i = 0; i < theirs.length; i++) fds[i + 1] = theirs[i]!;
    return super.prepareSleep();
  }

  override rx(out: Int32Array, max: number): number {
    this.relay();
    const n = this.inner.rx(out, max);
    let ours = 0;
    for (let i = 0; i < n; i++) {
      const f = out[i]!;
      if (this.isOurs(f)) {
        out[ours++] = f;
        continue;
      }
      this.toHost[0] = f;
      if (this.host.tx(this.toHost, 0, 1) === 0) this.ctx.settle(f, DROP | TX_FULL);
    }
    this.ctx.intake(n, ours);
    return ours;
  }

  /** Carries what the host sends to the link. */
  private relay(): void {
    const { fromHost, ctx } = this;
    const n = this.host.rx(fromHost, FROM_HOST);
    if (n === 0) return;
    ctx.intake(n, 0);
    for (let done = this.inner.tx(fromHost, 0, n); done < n; done++) ctx.settle(fromHost[done]!, DROP | TX_FULL);
  }

  private isOurs(f: FrameId): boolean {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    const room = pool.len[f]! - eth.ETH_LEN;
    if (room < 0) return false;
    const type = eth.type(buf, off);
    const l3 = off + eth.ETH_LEN;
    const { macHi, macLo, sharesMac } = this.options;
    const toUs = eth.dstHi(buf, off) === macHi && eth.dstLo(buf, off) === macLo;
    if (toUs && !sharesMac) return true;
    if (type === eth.ETHERTYPE_ARP) return room >= ARP_BYTES && this.has(buf, l3 + ARP_TARGET);
    return toUs && type === eth.ETHERTYPE_IPV4 && room >= IPV4_LEN && this.has(buf, l3 + 16);
  }

  private has(buf: Uint8Array, at: number): boolean {
    return this.addresses.has((buf[at]! << 24) | (buf[at + 1]! << 16) | (buf[at + 2]! << 8) | buf[at + 3]!);
  }

  override tx(frames: Int32Array, from: number, to: number): number {
    return this.inner.tx(frames, from, to);
  }

  override close(): void {
    super.close();
    this.host.close();
  }
}
