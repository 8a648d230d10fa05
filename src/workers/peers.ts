/**
 * The other workers, from the side of one: lanes to and from each, who is to be woken, and who has died or come back. Cold, but for
 * what the lanes do.
 *
 * A worker that dies and comes back goes through two changes of its GENERATION, each of which every other worker confirms in SEEN
 * before the control thread goes on:
 *
 * | generation | others                                          | control thread, when all have confirmed           |
 * | ---------- | ----------------------------------------------- | ------------------------------------------------- |
 * | odd        | use its slots no more, take their own back      | makes the lanes anew, starts the worker           |
 * | even       | use the new lanes                               |                                                   |
 */
import type { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { Handover } from '../../stack/steer/handover.ts';
import { LaneIn, LaneOut } from '../../stack/steer/lane.ts';
import { Steering } from '../../stack/steer/steering.ts';
import { NativeBytes, syscalls } from '../links/syscall.ts';
import { GENERATION, OPEN, type Peer, QUIET, SEEN, SLEEPING, STATUS, STOPPED } from './plan.ts';

export class Peers {
  readonly handover: Handover;
  private readonly index: number;
  private readonly control: Int32Array;
  private readonly controls: readonly (Int32Array | null)[];

  constructor(ctx: Context, index: number, control: Int32Array, peers: readonly (Peer | null)[]) {
    const sys = syscalls();
    const one = new NativeBytes(sys, 8);
    one.i32[0] = 1;
    const controls = peers.map((peer) => (peer === null ? null : new Int32Array(peer.control)));
    const wake = (worker: number): void => {
      if (Atomics.load(controls[worker]!, SLEEPING) !== 0) sys.write(peers[worker]!.eventFd, one.address, 8);
    };
    const out = peers.map((peer) => (peer === null ? null : new LaneOut(peer.to, FramePool.attach(peer.pool, false))));
    const into = peers.map((peer) => (peer === null ? null : new LaneIn(peer.from, ctx.pool, peers.length - 1)));
    this.index = index;
    this.control = control;
    this.controls = controls;
    this.handover = new Handover(ctx, new Steering(index, peers.length), out, into, wake);
    controls.forEach((other, worker) => {
      if (other === null) return;
      const generation = Atomics.load(other, GENERATION);
      if ((generation & 1) !== 0) this.handover.lost(worker);
      Atomics.store(control, SEEN + worker, generation);
    });
  }

  /** Follows whoever has died or come back. */
  look(): void {
    this.controls.forEach((other, worker) => {
      if (other === null) return;
      const generation = Atomics.load(other, GENERATION);
      if (generation === Atomics.load(this.control, SEEN + worker)) return;
      if ((generation & 1) !== 0) this.handover.lost(worker);
      else this.handover.back(worker);
      Atomics.store(this.control, SEEN + worker, generation);
    });
  }

  /** Whether all others that live have stopped taking connections and have none left. */
  allQuiet(): boolean {
    return this.living().every((other) => Atomics.load(other, QUIET) !== 0 && Atomics.load(other, OPEN) === 0);
  }

  /** Whether those with higher numbers have stopped. */
  laterStopped(): boolean {
    return this.living(this.index + 1).every((other) => Atomics.load(other, STATUS) === STOPPED);
  }

  private living(from = 0): Int32Array[] {
    return this.controls
      .slice(from)
      .filter((other) => other !== null && (Atomics.load(other, GENERATION) & 1) === 0) as Int32Array[];
  }
}
