/**
 * Ports: opened devices with their MAC address, transmit queue and receive loop. The upper side of netif.
 *
 * Receive, two passes over a burst of up to 64 frames: `parse` looks at the headers of all of them and touches the
 * table row each will need (our prefetch), then `input` carries each to its end. Whatever the stages say is settled
 * here, in one place. Before both, short cuts may take what they know how to carry all the way by themselves.
 *
 * Transmit: `transmit` brings a frame into the shape the device can take (gso.ts) and queues it; `flush` hands the
 * queue to the device once per burst.
 *
 * @hot
 */
import type { Context } from '../context.ts';
import { FATE_RECEIVED } from '../context.ts';
import { LINK_DOWN, OVERSIZE, PORT_CLOSED, TX_FULL } from '../drop.ts';
import { F_CSUM_PARTIAL } from '../mem/frame-pool.ts';
import type { FrameId, PortId, Verdict } from '../types.ts';
import { DROP, PASS, STOLEN } from '../verdict.ts';
import { IPV4_MIN_MTU } from '../wire/ipv4.ts';
import { BURST, type Device } from './device.ts';
import { Trains } from './gro.ts';
import { finishChecksum, linearize, Segmenter } from './gso.ts';

/** What netif hands received frames to: ethernet. */
export interface FrameInput {
  /** First pass: validates what can be seen cheaply, sets l3/l4/hash. PASS or DROP|reason. */
  parse(frame: FrameId): Verdict;
  /** Second pass: carries the frame to its end. */
  input(frame: FrameId): Verdict;
}

/** A short cut: sees each burst as the link brought it, nothing of it checked. */
export interface BurstInput {
  /**
   * Takes frames whose verdict in `verdicts[0..n)` is PASS, and makes it STOLEN; the others stay as they came. Returns how many
   * it took.
   */
  burst(port: Port, frames: Int32Array, verdicts: Int32Array, n: number): number;
}

/** Sees each burst as the link brought it, before everybody else. */
export type ReceiveTap = (port: Port, frames: Int32Array, n: number) => void;

/** Sees each frame on its way into a link. */
export interface TransmitTap {
  prepare(frame: FrameId, port: PortId): void;
  /** The frame of the last `prepare` has left, and may be gone. */
  commit(): void;
  /** The link did not take it; it will be tried again. */
  forget(): void;
}

/** Frames that may wait for one port between two flushes. */
const TX_QUEUE = 1024;

export class Port {
  readonly id: PortId;
  readonly device: Device;
  readonly macHi: number;
  readonly macLo: number;
  /** Largest IP packet in bytes, as `portMtu` says. */
  mtu: number;
  /** It cuts TCP segments itself. */
  readonly tso: boolean;
  readonly queue = new Int32Array(TX_QUEUE);
  head = 0;
  tail = 0;

  constructor(id: PortId, device: Device, macHi: number, macLo: number) {
    this.id = id;
    this.device = device;
    this.macHi = macHi;
    this.macLo = macLo;
    this.mtu = portMtu(device);
    this.tso = device.caps.tso;
  }

  get queued(): number {
    return this.tail - this.head;
  }
}

/** The device's MTU, at most `most`; IPv4 cannot do with less than its minimum, so what is larger than the device then is lost there. */
export const portMtu = ({ caps }: Device, most = caps.mtu): number => Math.max(Math.min(caps.mtu, most), IPV4_MIN_MTU);

export class Netif {
  /** Index = port id; slot 0 is unused. */
  readonly ports: (Port | null)[] = [null];
  /** Who looks at what comes and goes; null in normal operation. */
  receiveTap: ReceiveTap | null = null;
  transmitTap: TransmitTap | null = null;

  private readonly ctx: Context;
  private readonly segmenter: Segmenter;
  private readonly trains: Trains;
  private readonly burst = new Int32Array(BURST);
  private readonly verdicts = new Int32Array(BURST);
  private upper: FrameInput | null = null;
  private readonly shortCuts: BurstInput[] = [];

  constructor(ctx: Context) {
    this.ctx = ctx;
    this.segmenter = new Segmenter(ctx);
    this.trains = new Trains(ctx);
  }

  /** Names the receiver of all frames; called once when the stack is put together. */
  attach(upper: FrameInput): void {
    this.upper = upper;
  }

  /** Names who sees each burst first, `ahead` of others or behind them. */
  attachShortCut(shortCut: BurstInput, ahead: boolean): void {
    if (ahead) this.shortCuts.unshift(shortCut);
    else this.shortCuts.push(shortCut);
  }

  /** A MAC address is given as its first 2 bytes and its last 4. */
  addPort(device: Device, macHi: number, macLo: number): Port {
    const port = new Port(this.ports.length, device, macHi, macLo);
    this.ports.push(port);
    return port;
  }

  port(id: PortId): Port | null {
    return this.ports[id] ?? null;
  }

  macHi(id: PortId): number {
    return this.ports[id]!.macHi;
  }

  macLo(id: PortId): number {
    return this.ports[id]!.macLo;
  }

  mtu(id: PortId): number {
    return this.ports[id]!.mtu;
  }

  isUp(id: PortId): boolean {
    return this.ports[id]?.device.up === true;
  }

  tso(id: PortId): boolean {
    return this.ports[id]?.tso === true;
  }

  /** Receives at most one burst from a port; returns the number of frames. */
  receive(port: Port): number {
    const { burst, verdicts, shortCuts, ctx } = this;
    const { pool } = ctx;
    const upper = this.upper!;
    const n = port.device.rx(burst, BURST);
    if (n === 0) return 0;
    ctx.fate[FATE_RECEIVED]! += n;
    if (this.receiveTap !== null) this.receiveTap(port, burst, n);
    verdicts.fill(PASS, 0, n);
    this.trains.forget();
    let left = n;
    for (let i = 0; i < shortCuts.length; i++) left -= shortCuts[i]!.burst(port, burst, verdicts, n);
    if (left === 0) return n;
    for (let i = 0; i < n; i++) {
      if (verdicts[i] !== PASS) continue;
      const f = burst[i]!;
      pool.port[f] = port.id;
      verdicts[i] = upper.parse(f);
    }
    for (let i = 0; i < n; i++) {
      const early = verdicts[i]!;
      if (early === STOLEN) continue;
      const f = burst[i]!;
      ctx.settle(f, early === PASS ? upper.input(f) : early);
    }
    return n;
  }

  /** Queues a complete frame on a port. STOLEN, or DROP|reason and the frame stays the caller's. */
  transmit(f: FrameId, id: PortId): Verdict {
    const port = this.ports[id];
    if (port === undefined || port === null || !port.device.up) return DROP | LINK_DOWN;
    const { pool } = this.ctx;
    const { caps } = port.device;
    if (pool.gsoSize[f] !== 0 && !caps.tso) return this.segmenter.segment(f, port, this);
    if (port.tail - port.head >= TX_QUEUE) {
      this.flushPort(port);
      if (port.tail - port.head >= TX_QUEUE) return DROP | TX_FULL;
    }
    if ((pool.flags[f]! & F_CSUM_PARTIAL) !== 0 && !caps.txChecksum) finishChecksum(pool, f);
    if (pool.frag[f] !== 0 && !caps.scatter && !linearize(this.ctx, f)) return DROP | OVERSIZE;
    pool.port[f] = id;
    if (port.tail === TX_QUEUE) this.compact(port);
    port.queue[port.tail++] = f;
    return STOLEN;
  }

  /** `transmit` for a frame every device takes as it is: linear, at most the port's MTU, its checksums complete. */
  transmitPlain(f: FrameId, id: PortId): Verdict {
    const port = this.ports[id]!;
    if (port.tail === TX_QUEUE) return this.transmit(f, id);
    this.ctx.pool.port[f] = id;
    port.queue[port.tail++] = f;
    return STOLEN;
  }

  /**
   * `transmitPlain` for a TCP segment of `len` bytes whose IP header is at word `w`: as part of the frame it continues, where the port
   * cuts that.
   */
  transmitSegment(f: FrameId, w: number, len: number, id: PortId): Verdict {
    if (!this.ports[id]!.tso) return this.transmitPlain(f, id);
    if (this.trains.join(f, w, len, id)) return STOLEN;
    const verdict = this.transmitPlain(f, id);
    if (verdict === STOLEN) this.trains.begin(f, w, len, id);
    return verdict;
  }

  private compact(port: Port): void {
    port.queue.copyWithin(0, port.head, port.tail);
    port.tail -= port.head;
    port.head = 0;
  }

  /** Hands the queued frames of all ports to their devices. */
  flush(): void {
    for (let i = 1; i < this.ports.length; i++) {
      const port = this.ports[i]!;
      if (port !== null && port.tail !== port.head) this.flushPort(port);
    }
  }

  private flushPort(port: Port): void {
    this.trains.forget();
    if (this.transmitTap === null) port.head += port.device.tx(port.queue, port.head, port.tail);
    else this.flushSeen(port, this.transmitTap);
    if (port.head === port.tail) {
      port.head = 0;
      port.tail = 0;
    } else if (!port.device.up) this.abandon(port, LINK_DOWN);
  }

  /** One by one: what the tap is told of is what the link took. */
  private flushSeen(port: Port, tap: TransmitTap): void {
    for (; port.head < port.tail; port.head++) {
      tap.prepare(port.queue[port.head]!, port.id);
      if (port.device.tx(port.queue, port.head, port.head + 1) === 0) {
        tap.forget();
        return;
      }
      tap.commit();
    }
  }

  /** Frames waiting on all ports, and the payload of those that nobody else has. Cold. */
  held(): number {
    const { frag, refs } = this.ctx.pool;
    let n = 0;
    for (const port of this.ports) {
      if (port === null) continue;
      n += port.queued;
      for (let i = port.head; i < port.tail; i++) {
        const payload = frag[port.queue[i]!]!;
        if (payload !== 0 && refs[payload] === 1) n += 1;
      }
    }
    return n;
  }

  /** Segments that left as parts of other frames. */
  get merged(): number {
    return this.trains.merged;
  }

  /** Frames that devices hold: they have been given them, and not sent them yet. */
  heldByDevices(): number {
    let n = 0;
    for (const port of this.ports) if (port !== null) n += port.device.held ?? 0;
    return n;
  }

  private abandon(port: Port, reason: number): void {
    while (port.head < port.tail) this.ctx.settle(port.queue[port.head++]!, DROP | reason);
    port.head = 0;
    port.tail = 0;
  }

  /** Closes every device; what was queued is dropped and counted. */
  close(): void {
    for (const port of this.ports) {
      if (port === null) continue;
      this.flushPort(port);
      this.abandon(port, PORT_CLOSED);
      port.device.close();
    }
  }
}
