/**
 * Looks at what passes on the wire: how many TCP frames, and how explicit congestion notification went (RFC 3168).
 * `rx` is what the kernel sends, before faults; `tx` is what the kernel gets.
 */
import type { Context } from '../../stack/context.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { ETH_LEN, ETHERTYPE_IPV4, type as etherType } from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';

export interface Sights {
  /** SYN-ACKs that grant ECN, repeated ones included. */
  granted: number;
  /** Packets marked "congestion experienced". */
  marked: number;
  /** Segments that echo a mark, and those that say that the window was reduced. */
  ece: number;
  cwr: number;
}

const newSights = (): Sights => ({ granted: 0, marked: 0, ece: 0, cwr: 0 });

const CE = 3;
const HEADERS = ETH_LEN + ipv4.IPV4_LEN + tcp.TCP_LEN;

export class Observer implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats;
  readonly fd: number;
  readonly rxSights = newSights();
  readonly txSights = newSights();

  private readonly ctx: Context;
  private readonly inner: Device;

  constructor(ctx: Context, inner: Device) {
    this.ctx = ctx;
    this.inner = inner;
    this.name = inner.name;
    this.caps = inner.caps;
    this.stats = inner.stats;
    this.fd = inner.fd;
  }

  get up(): boolean {
    return this.inner.up;
  }

  get nextDueMs(): number {
    return this.inner.nextDueMs ?? -1;
  }

  rx(out: Int32Array, max: number): number {
    const n = this.inner.rx(out, max);
    for (let i = 0; i < n; i++) this.look(out[i]!, this.rxSights);
    return n;
  }

  /** One by one: a frame is gone once it is sent. One that was refused comes again and counts twice. */
  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      this.look(frames[i]!, this.txSights);
      if (this.inner.tx(frames, i, i + 1) === 0) return i - from;
    }
    return to - from;
  }

  private look(f: number, sights: Sights): void {
    const { buf, off, len } = this.ctx.pool;
    const at = off[f]!;
    const ip = at + ETH_LEN;
    if (len[f]! < HEADERS || etherType(buf, at) !== ETHERTYPE_IPV4 || ipv4.proto(buf, ip) !== ipv4.PROTO_TCP) return;
    if ((ipv4.tos(buf, ip) & CE) === CE) sights.marked++;
    const flags = tcp.flags(buf, ip + ipv4.IPV4_LEN);
    const said = flags & (tcp.ECE | tcp.CWR);
    if ((flags & tcp.SYN) !== 0) {
      if ((flags & tcp.ACK) !== 0 && said === tcp.ECE) sights.granted++;
      return;
    }
    if ((said & tcp.ECE) !== 0) sights.ece++;
    if ((said & tcp.CWR) !== 0) sights.cwr++;
  }

  close(): void {
    this.inner.close();
  }
}
