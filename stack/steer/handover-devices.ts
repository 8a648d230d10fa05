/**
 * The devices of a worker among several: one around that of a link, which gives the stack only what is its worker's, and one in the place of a
 * link that another worker drives. handover.ts says how frames change over and how they are counted.
 *
 * Called by netif, as any device. Ownership as device.ts says. @hot
 */
import type { Context } from '../context.ts';
import { HANDOVER_FULL } from '../drop.ts';
import { HEADROOM } from '../mem/frame-pool.ts';
import { BURST, type Capabilities, type Device, type DeviceStats, FRAME_OVERHEAD, newStats } from '../netif/device.ts';
import { Wrapper } from '../netif/middleware/wrapper.ts';
import type { Handover, RemoteState } from './handover.ts';
import { Patience } from './patience.ts';
import { EVERYBODY } from './steering.ts';

/** In a frame's mark, beside the index of the port: it is to be sent there, not received. */
export const TRANSMIT = 0x100;

/** Whether frames of a link with these capabilities may need big slots. */
const hasBigFrames = ({ pool }: Context, { tso, mtu }: Capabilities): boolean =>
  tso || mtu + FRAME_OVERHEAD > pool.config.slotBytes - HEADROOM;

export class HandoverDevice extends Wrapper {
  private readonly ctx: Context;
  private readonly handover: Handover;
  private readonly index: number;
  private readonly patience: Patience;
  private readonly burst = new Int32Array(BURST);

  constructor(ctx: Context, inner: Device, handover: Handover, index: number) {
    super(inner);
    this.ctx = ctx;
    this.handover = handover;
    this.index = index;
    this.patience = new Patience(ctx);
  }

  override prepareSleep(): boolean {
    const ready = super.prepareSleep();
    return this.handover.prepareSleep() && ready;
  }

  override rx(out: Int32Array, max: number): number {
    const { handover, inner, burst, ctx, index, patience } = this;
    const { steering } = handover;
    const big = hasBigFrames(ctx, inner.caps);
    handover.collect();
    // Half of a burst at most, so that neither the others nor the link wait for ever.
    let n = handover.arrived(index, out, 0, max >> 1);
    const room = handover.room(big);
    if (patience.waiting && handover.atEase(big)) patience.end();
    const want = patience.limit(Math.min(max - n, BURST), room);
    const got = want > 0 ? inner.rx(burst, want) : 0;
    if (got === 0) return n;
    const before = n;
    for (let i = 0; i < got; i++) {
      const f = burst[i]!;
      const owner = steering.owner(ctx.pool, f);
      if (owner === steering.worker) out[n++] = f;
      else if (owner === EVERYBODY) {
        handover.share(f, index);
        out[n++] = f;
      } else handover.give(f, owner, index);
    }
    ctx.intake(got, n - before);
    handover.publish();
    return n;
  }

  override tx(frames: Int32Array, from: number, to: number): number {
    return this.inner.tx(frames, from, to);
  }

  override close(): void {
    this.handover.close(this.index, HANDOVER_FULL);
    super.close();
  }
}

/** A port whose link another worker drives. */
export class RemoteDevice implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd = -1;
  private readonly via: number;
  private readonly state: RemoteState;
  private readonly handover: Handover;
  private readonly index: number;
  private readonly ctx: Context;
  private readonly patience: Patience;
  private closed = false;

  constructor(ctx: Context, name: string, via: number, state: RemoteState, handover: Handover, index: number) {
    this.name = name;
    this.via = via;
    this.ctx = ctx;
    this.patience = new Patience(ctx);
    this.caps = {
      ...{ txChecksum: false, rxChecksum: true, tso: false, scatter: false, queues: 1 },
      get mtu() {
        return state.mtu;
      },
    };
    this.state = state;
    this.handover = handover;
    this.index = index;
  }

  get up(): boolean {
    return !this.closed && this.state.up;
  }

  /** The worker that drives it tells. */
  get revives(): boolean {
    return !this.closed;
  }

  prepareSleep(): boolean {
    return this.handover.prepareSleep();
  }

  rx(out: Int32Array, max: number): number {
    this.handover.collect();
    return this.handover.arrived(this.index, out, 0, max);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const lane = this.handover.laneTo(this.via);
    const big = hasBigFrames(this.ctx, this.caps);
    const room = lane.room(big);
    if (this.patience.waiting && lane.atEase(big)) this.patience.end();
    const n = this.patience.limit(to - from, room);
    for (let i = from; i < from + n; i++) {
      this.handover.give(frames[i]!, this.via, this.index | TRANSMIT);
    }
    this.handover.publish();
    return n;
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.handover.close(this.index, HANDOVER_FULL);
  }
}
