/**
 * Frames that arrive at the wrong worker change over to their owner: a device for each port, around that of the link, that gives the stack
 * only what is its worker's. The stack knows nothing of it. One Handover per worker; its lanes lead to all others.
 *
 * ```
 *   link's device -- rx --> whose? --ours--> netif
 *                             |                ^
 *                             v                |
 *                       lane to the owner    lanes from the others
 * ```
 *
 * Frames of one flow always go the same way, so none overtakes another. ARP goes to everybody, as copies. A link that has no queue for a
 * worker is a RemoteDevice with it: what it sends goes over the lane to one that has, too, marked TRANSMIT.
 *
 * Accounting: a frame that changes over was received here and `handed` over; where it arrives it counts as received again, and as `taken`.
 * Nothing more is read from a link than the lanes have room for, whoever it will be for; a worker that does not keep up is waited
 * for, but not for ever (patience.ts): then what is its and finds no room is dropped as HANDOVER_FULL. Ownership as device.ts says. @hot
 */
import type { Context } from '../context.ts';
import { FATE_CREATED, FATE_DROPPED, FATE_RECEIVED, FATE_TAKEN } from '../context.ts';
import { HANDOVER_FULL, LINK_DOWN, TX_FULL } from '../drop.ts';
import { F_REASSEMBLED } from '../mem/frame-pool.ts';
import { BURST, type Device } from '../netif/device.ts';
import type { FrameId, PortId } from '../types.ts';
import { DROP } from '../verdict.ts';
import * as ethernet from '../wire/ethernet.ts';
import { HandoverDevice, RemoteDevice, TRANSMIT } from './handover-devices.ts';
import type { LaneIn, LaneOut } from './lane.ts';
import type { Steering } from './steering.ts';

/** Frames from other workers that wait for one port's `rx`. A power of two. */
const ARRIVED = 4096;

/** Where our MAC address of a port stands: Netif. */
export interface PortMacs {
  macHi(id: PortId): number;
  macLo(id: PortId): number;
}

/** A link that another worker drives, as that one tells. */
export interface RemoteState {
  readonly up: boolean;
  /** Bytes. */
  readonly mtu: number;
}

/** Wakes a worker if it sleeps. */
export type Wake = (worker: number) => void;

/** Frames that have come over for one port, oldest first. */
class Arrivals {
  private readonly frames = new Int32Array(ARRIVED);
  private head = 0;
  private tail = 0;

  get size(): number {
    return this.tail - this.head;
  }

  put(f: FrameId): void {
    this.frames[this.tail++ & (ARRIVED - 1)] = f;
  }

  take(): FrameId {
    return this.frames[this.head++ & (ARRIVED - 1)]!;
  }
}

export class Handover {
  readonly steering: Steering;
  /** Frames that came over or went over since somebody set it to 0: work, though the stack saw none of it. */
  moved = 0;
  private readonly ctx: Context;
  /** By worker; null for ourselves. */
  private readonly out: readonly (LaneOut | null)[];
  private readonly in: readonly (LaneIn | null)[];
  private readonly wake: Wake;
  private readonly arrivals: Arrivals[] = [];
  private readonly inner: (Device | null)[] = [];
  private readonly one = new Int32Array(1);

  constructor(
    ctx: Context,
    steering: Steering,
    out: readonly (LaneOut | null)[],
    incoming: readonly (LaneIn | null)[],
    wake: Wake,
  ) {
    this.ctx = ctx;
    this.steering = steering;
    this.out = out;
    this.in = incoming;
    this.wake = wake;
  }

  /** The device of the next port, in the order of the configuration's links, the same with all workers. */
  around(device: Device): Device {
    this.arrivals.push(new Arrivals());
    this.inner.push(device);
    return new HandoverDevice(this.ctx, device, this, this.inner.length - 1);
  }

  /** The next port, whose link worker `via` drives for us. */
  remote(name: string, via: number, state: RemoteState): Device {
    this.arrivals.push(new Arrivals());
    this.inner.push(null);
    return new RemoteDevice(this.ctx, name, via, state, this, this.inner.length - 1);
  }

  /** Frames that came over and wait. */
  held(): number {
    return this.arrivals.reduce((n, { size }) => n + size, 0);
  }

  /** Takes in what the others have handed over, as long as there is room. */
  collect(): void {
    for (let w = 0; w < this.in.length; w++) {
      const lane = this.in[w];
      if (lane === null || lane === undefined) continue;
      const ready = lane.ready();
      const n = ready === 0 ? 0 : Math.min(ready, this.roomForArrivals());
      for (let i = 0; i < n; i++) this.admit(lane.take());
      if (n > 0 || lane.isShort) lane.refill();
      this.moved += n;
    }
  }

  private roomForArrivals(): number {
    let most = 0;
    for (let i = 0; i < this.arrivals.length; i++) most = Math.max(most, this.arrivals[i]!.size);
    return ARRIVED - most;
  }

  private admit(f: FrameId): void {
    const { ctx } = this;
    const mark = ctx.pool.port[f]!;
    const index = mark & 0xff;
    ctx.fate[FATE_TAKEN]! += 1;
    if ((mark & TRANSMIT) !== 0) {
      ctx.fate[FATE_RECEIVED]! += 1;
      this.one[0] = f;
      const device = this.inner[index];
      if (device === null || device === undefined || !device.up) ctx.settle(f, DROP | LINK_DOWN);
      else if (device.tx(this.one, 0, 1) === 0) ctx.settle(f, DROP | TX_FULL);
      return;
    }
    // Netif counts it as received; until it asks, it is held.
    ctx.intake(1, 0);
    this.arrivals[index]!.put(f);
  }

  /** Fills `out[from..max)` with what came over for a port. */
  arrived(index: number, out: Int32Array, from: number, max: number): number {
    const arrivals = this.arrivals[index]!;
    let n = from;
    while (n < max && arrivals.size > 0) out[n++] = arrivals.take();
    this.ctx.intake(0, n - from);
    return n;
  }

  /** Frames that may be handed over, whoever they are for; with `big`, of any size. */
  room(big: boolean): number {
    let least = BURST;
    for (let w = 0; w < this.out.length; w++) {
      const lane = this.out[w];
      if (lane !== null && lane !== undefined) least = Math.min(least, lane.room(big));
    }
    return least;
  }

  /** After `room`: every worker keeps up with what is handed over to it. */
  atEase(big: boolean): boolean {
    for (let w = 0; w < this.out.length; w++) {
      const lane = this.out[w];
      if (lane !== null && lane !== undefined && !lane.atEase(big)) return false;
    }
    return true;
  }

  /** The lane to a worker that drives a link for us. */
  laneTo(worker: number): LaneOut {
    return this.out[worker]!;
  }

  /** Hands a frame over, or drops it. `mark`: index of the port, TRANSMIT. */
  give(f: FrameId, owner: number, mark: number): void {
    this.moved++;
    if (this.out[owner]!.put(this.ctx.pool, f, mark)) this.ctx.handed(f);
    else this.ctx.settle(f, DROP | HANDOVER_FULL);
  }

  /** A copy for each of the others. */
  share(f: FrameId, index: number): void {
    const { ctx } = this;
    for (let w = 0; w < this.out.length; w++) {
      const lane = this.out[w];
      if (lane === null || lane === undefined) continue;
      if (lane.put(ctx.pool, f, index)) ctx.handedCopy();
      else {
        ctx.fate[FATE_CREATED]! += 1;
        ctx.fate[FATE_DROPPED]! += 1;
        ctx.drops[HANDOVER_FULL]! += 1;
      }
    }
  }

  /** Shows the others what was given, and wakes those who sleep. Once per burst. */
  publish(): void {
    for (let w = 0; w < this.out.length; w++) {
      const lane = this.out[w];
      if (lane?.publish()) this.wake(w);
    }
  }

  /** False when something has come over: do not sleep. */
  prepareSleep(): boolean {
    for (let w = 0; w < this.in.length; w++) {
      const lane = this.in[w];
      if (lane !== null && lane !== undefined && lane.ready() > 0) return false;
    }
    return this.arrivals.every(({ size }) => size === 0);
  }

  /**
   * A datagram that was put together here, whose owner only its ports tell. True when it is another's: it has been handed over, as one
   * frame for the port it came through.
   */
  datagram(f: FrameId, macs: PortMacs): boolean {
    const { pool } = this.ctx;
    const { steering } = this;
    const l3 = pool.l3[f]!;
    const owner = steering.ownerOfPacket(pool.buf, l3, l3 + pool.len[f]!);
    if (owner === steering.worker) return false;
    pool.flags[f]! &= ~F_REASSEMBLED;
    this.givePacket(f, owner, macs);
    return true;
  }

  /**
   * A packet of a connection that nobody knows here: who had it before services were divided anew may. True when that is
   * another worker: it has been handed over, for good.
   */
  unknown(f: FrameId, macs: PortMacs): boolean {
    const { pool } = this.ctx;
    const { steering } = this;
    const owner = steering.formerOwnerOfPacket(pool.buf, pool.l3[f]!, pool.off[f]! + pool.len[f]!);
    if (owner === steering.worker) return false;
    this.givePacket(f, owner, macs);
    return true;
  }

  /** With an Ethernet header for the port it came through. */
  private givePacket(f: FrameId, owner: number, macs: PortMacs): void {
    const { pool } = this.ctx;
    const port = pool.port[f]!;
    const off = pool.l3[f]! - ethernet.ETH_LEN;
    ethernet.emit(pool.buf, off, macs.macHi(port), macs.macLo(port), 0, 0, ethernet.ETHERTYPE_IPV4);
    pool.len[f]! += pool.off[f]! - off;
    pool.off[f] = off;
    this.give(f, owner, port - 1);
    this.publish();
  }

  /** A worker has died: nothing goes to it or comes from it any more. */
  lost(worker: number): void {
    this.out[worker]?.forget();
    this.in[worker]?.takeBack();
  }

  /** It is there again, and the lanes to and from it are new. */
  back(worker: number): void {
    this.out[worker]?.reattach();
    this.in[worker]?.reattach();
  }

  /** Drops what came over and nobody took. */
  close(index: number, reason: number): void {
    const arrivals = this.arrivals[index]!;
    while (arrivals.size > 0) this.ctx.settle(arrivals.take(), DROP | reason);
  }
}
