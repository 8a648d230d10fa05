/**
 * Which of its queues a link sends a frame by: all frames of a flow by the same one, so that none overtakes another, and both directions of it
 * by queues of the same number. Frames that no flow tells go by the first.
 *
 * A burst is sorted by queue first, as far as each has room, so each queue is shown what it got once. A queue that the other side does not
 * empty for a second loses what is meant for it, rather than holding up the others.
 *
 * Called by the drivers of memif and AF_XDP. Ownership: as `Device.tx`. @hot
 */
import type { Context } from '../../stack/context.ts';
import { TX_FULL } from '../../stack/drop.ts';
import { Steering } from '../../stack/steer/steering.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';

export interface SendQueue {
  /** Ends the way of what has left. */
  reap(): void;
  /** Frames it takes before the next `reap`. */
  room(): number;
  /** As `Device.tx`. */
  send(frames: Int32Array, from: number, to: number): number;
}

/** Frames sorted at a time. */
const SORTED = 256;
const STUCK_MS = 1000;

export class SendQueues {
  private readonly ctx: Context;
  private readonly queues: readonly SendQueue[];
  private readonly steering: Steering;
  private readonly sorted: readonly Int32Array[];
  /** By queue: frames sorted into it, the most it takes, and since when it has taken none; -1: it does. */
  private readonly count: Int32Array;
  private readonly room: Int32Array;
  private readonly fullSince: Float64Array;

  constructor(ctx: Context, queues: readonly SendQueue[]) {
    this.ctx = ctx;
    this.queues = queues;
    this.steering = new Steering(0, Math.max(queues.length, 1));
    this.sorted = queues.map(() => new Int32Array(SORTED));
    this.count = new Int32Array(queues.length);
    this.room = new Int32Array(queues.length);
    this.fullSince = new Float64Array(queues.length).fill(-1);
  }

  /** As `Device.tx`. */
  send(frames: Int32Array, from: number, to: number): number {
    const { queues } = this;
    if (queues.length === 1) {
      queues[0]!.reap();
      return queues[0]!.send(frames, from, to);
    }
    if (queues.length === 0) return 0;
    let sent = from;
    for (let n = SORTED; n === SORTED && sent < to; sent += n) n = this.sendSorted(frames, sent, to);
    return sent - from;
  }

  private sendSorted(frames: Int32Array, from: number, to: number): number {
    const { queues, sorted, count, room, ctx } = this;
    this.look();
    const end = Math.min(to, from + SORTED);
    let i = from;
    for (; i < end; i++) {
      const f = frames[i]!;
      const q = this.queueOf(f);
      if (count[q]! < room[q]!) sorted[q]![count[q]++] = f;
      else if (this.isStuck(q)) ctx.settle(f, DROP | TX_FULL);
      else break;
    }
    for (let q = 0; q < queues.length; q++) if (count[q]! > 0) this.sendBy(q);
    return i - from;
  }

  /** What was sorted into queue `q`. The other side of a memif may say that there is room, and then that there is none: so much is lost. */
  private sendBy(q: number): void {
    const frames = this.sorted[q]!;
    const n = this.count[q]!;
    for (let i = this.queues[q]!.send(frames, 0, n); i < n; i++) this.ctx.settle(frames[i]!, DROP | TX_FULL);
  }

  private look(): void {
    const { queues, count, room, fullSince } = this;
    for (let q = 0; q < queues.length; q++) {
      queues[q]!.reap();
      count[q] = 0;
      room[q] = queues[q]!.room();
      if (room[q]! > 0) fullSince[q] = -1;
      else if (fullSince[q]! < 0) fullSince[q] = this.ctx.now;
    }
  }

  private isStuck(q: number): boolean {
    return this.room[q] === 0 && this.ctx.now - this.fullSince[q]! >= STUCK_MS * 1000;
  }

  private queueOf(f: FrameId): number {
    const owner = this.steering.owner(this.ctx.pool, f);
    return owner < 0 ? 0 : owner;
  }
}
