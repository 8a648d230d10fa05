/**
 * A lane between two workers: frames go one way, empty slots come back the other, both as numbers in rings. The slots are the receiver's
 * own: it lends some to the sender, who copies frames into them, so a frame is copied once and a pool has one owner always.
 *
 * ```
 *   sender                     filled: slot numbers                      receiver
 *   LaneOut  ------------------------------------------------------->  LaneIn
 *            <-------------------------------------------------------
 *                            empty: slots of the receiver's pool
 * ```
 *
 * What a lane can hold is bounded by the slots lent: `room` says how much more. A sender that has none left drops, and counts that. Each end
 * belongs to one thread.
 * @hot
 */
import type { FramePool } from '../mem/frame-pool.ts';
import { HEADROOM } from '../mem/frame-pool.ts';
import { planRegion } from '../mem/region.ts';
import { SpscRing } from '../mem/spsc-ring.ts';
import { copyFrame } from '../netif/copy.ts';
import { BURST } from '../netif/device.ts';
import type { FrameId } from '../types.ts';

/** Slots lent for one lane: a few bursts of small frames; a burst of 64 KB frames, or what all lanes to a worker may have of its big slots. */
const SMALL = 512;
const BIG = 64;
/** So many of them free are plenty. */
const EASE_SMALL = SMALL >> 1;
const EASE_BIG = 16;
/** All lanes to a worker together have one in so many of its big slots. */
const BIG_SHARE = 4;
const RING = { capacity: 1024, words: 1 };

const PLAN = planRegion({ filled: SpscRing.bytes(RING), empty: SpscRing.bytes(RING) });

/** Memory of one lane; made by the control thread, and made anew when one of its ends has died and nobody uses it. */
export function laneMemory(memory = new SharedArrayBuffer(PLAN.bytes)): SharedArrayBuffer {
  SpscRing.create(memory, PLAN.at.filled, RING);
  SpscRing.create(memory, PLAN.at.empty, RING);
  return memory;
}

/** The sender's end. */
export class LaneOut {
  private readonly memory: SharedArrayBuffer;
  private readonly peer: FramePool;
  private filled: SpscRing;
  private empty: SpscRing;
  private readonly smalls = new Int32Array(SMALL);
  private readonly bigs = new Int32Array(BIG);
  private nSmall = 0;
  private nBig = 0;
  private unpublished = 0;
  private down = false;

  /** `peer`: the receiver's pool, attached. */
  constructor(memory: SharedArrayBuffer, peer: FramePool) {
    this.memory = memory;
    this.peer = peer;
    this.filled = SpscRing.attach(memory, PLAN.at.filled);
    this.empty = SpscRing.attach(memory, PLAN.at.empty);
  }

  /** Copies a frame over, with `mark` for its port; false when no slot is left for it. Unseen until `publish`. */
  put(pool: FramePool, f: FrameId, mark: number): boolean {
    const { peer } = this;
    const bytes = pool.wireLength(f);
    const small = bytes <= peer.config.slotBytes - HEADROOM;
    if (!small && bytes > peer.config.bigSlotBytes - HEADROOM) return false;
    if ((small ? this.nSmall : this.nBig) === 0) this.restock();
    let g: FrameId;
    if (!small) {
      if (this.nBig === 0) return false;
      g = this.bigs[--this.nBig]!;
    } else {
      if (this.nSmall === 0) return false;
      g = this.smalls[--this.nSmall]!;
    }
    copyFrame(pool, f, peer, g);
    peer.port[g] = mark;
    this.filled.insertWord(g);
    this.unpublished++;
    return true;
  }

  /** Frames that `put` takes for sure, at least; with `big`, of any size. A dead receiver's lane keeps nobody waiting. */
  room(big: boolean): number {
    if (this.down) return BURST;
    if (this.nSmall < EASE_SMALL || (big && this.nBig < BURST)) this.restock();
    return big ? Math.min(this.nSmall, this.nBig) : this.nSmall;
  }

  /** After `room`: there is plenty, the receiver keeps up. */
  atEase(big: boolean): boolean {
    return this.down || (this.nSmall >= EASE_SMALL && (!big || this.nBig >= EASE_BIG));
  }

  /** Shows the receiver what was put; true when there was something: it may have to be woken. */
  publish(): boolean {
    if (this.unpublished === 0) return false;
    this.unpublished = 0;
    this.filled.publish();
    return true;
  }

  private restock(): void {
    const { empty, peer } = this;
    if (this.down) return;
    let taken = 0;
    for (; empty.observe() > 0; taken++) {
      const g = empty.removeWord();
      if (g < peer.config.slots) this.smalls[this.nSmall++] = g;
      else this.bigs[this.nBig++] = g;
    }
    if (taken > 0) empty.release();
  }

  /** The receiver has died: nothing that it lent is ours any more, and nothing is sent until `reattach`. */
  forget(): void {
    this.down = true;
    this.nSmall = 0;
    this.nBig = 0;
    this.unpublished = 0;
  }

  /** The lane's memory was made anew. */
  reattach(): void {
    this.forget();
    this.down = false;
    this.filled = SpscRing.attach(this.memory, PLAN.at.filled);
    this.empty = SpscRing.attach(this.memory, PLAN.at.empty);
  }
}

/** The receiver's end. */
export class LaneIn {
  private readonly memory: SharedArrayBuffer;
  private readonly pool: FramePool;
  /** Big slots to lend. */
  private readonly bigs: number;
  private filled: SpscRing;
  private empty: SpscRing;
  /** Slots that the sender has, filled or not: by number, and how many of each size. */
  private readonly lent: Uint8Array;
  private nSmall = 0;
  private nBig = 0;
  private down = false;

  /** `lanes`: how many lead here. */
  constructor(memory: SharedArrayBuffer, pool: FramePool, lanes: number) {
    this.memory = memory;
    this.pool = pool;
    this.bigs = Math.max(1, Math.min(BIG, Math.floor(pool.config.bigSlots / BIG_SHARE / lanes)));
    this.lent = new Uint8Array(pool.config.slots + pool.config.bigSlots);
    this.filled = SpscRing.attach(memory, PLAN.at.filled);
    this.empty = SpscRing.attach(memory, PLAN.at.empty);
    this.refill();
  }

  /** Frames that have come and were not taken. */
  ready(): number {
    return this.down ? 0 : this.filled.observe();
  }

  /** Precondition: `ready`. The frame's column `port` holds the mark. */
  take(): FrameId {
    const g = this.filled.removeWord();
    this.pool.accept(g);
    this.lent[g] = 0;
    if (g < this.pool.config.slots) this.nSmall--;
    else this.nBig--;
    return g;
  }

  /** After the last `take` of a burst: gives the ring's room back and lends slots for those that came filled. */
  refill(): void {
    if (this.down) return;
    this.filled.release();
    let n = 0;
    for (; this.nSmall < SMALL && this.lend(false); n++) this.nSmall++;
    for (; this.nBig < this.bigs && this.lend(true); n++) this.nBig++;
    if (n > 0) this.empty.publish();
  }

  /** Fewer slots are lent than might be: the pool was short of them. */
  get isShort(): boolean {
    return !this.down && (this.nSmall < SMALL || this.nBig < this.bigs);
  }

  private lend(big: boolean): boolean {
    const g = this.pool.offer(big);
    if (g === 0) return false;
    this.lent[g] = 1;
    return this.empty.insertWord(g);
  }

  /** The sender is dead, and so are its ends of the rings: takes back what it had. */
  takeBack(): void {
    this.down = true;
    const { lent, pool } = this;
    for (let g = 0; g < lent.length; g++) if (lent[g] !== 0) pool.takeBack(g);
    lent.fill(0);
    this.nSmall = 0;
    this.nBig = 0;
  }

  /** The lane's memory was made anew. Precondition: `takeBack`. */
  reattach(): void {
    this.down = false;
    this.filled = SpscRing.attach(this.memory, PLAN.at.filled);
    this.empty = SpscRing.attach(this.memory, PLAN.at.empty);
    this.refill();
  }
}
