/**
 * Frames that wait for the link-layer address of their next hop: one list per entry, first in first out, linked through
 * `pool.next`. Called by output.ts; the frames belong to this queue (their verdict was STOLEN) until it gives them back.
 *
 * Which frame goes when there is no room: the oldest of the same entry. RFC 1122 §2.3.2.2 wants the latest to be kept,
 * RFC 4861 §7.2.2 lets a new arrival replace the oldest, and the reason holds here too: the oldest is the one whose
 * sender has most likely given up or sent it again. No entry can displace the frames of another.
 *
 * Two bounds, because every on-link address may have a list: with the first alone, one scan of a subnet that leads
 * through us could hold every frame of the pool.
 */
import type { FramePool } from '../mem/frame-pool.ts';
import type { FrameId } from '../types.ts';
import { type NeighTable, Q_HEAD, Q_LEN, Q_TAIL } from './table.ts';

export const DEFAULT_QUEUE_PER_NEIGHBOUR = 128;
export const DEFAULT_QUEUE_TOTAL = 1024;

export class WaitQueue {
  /** Frames held over all entries. */
  held = 0;

  private readonly pool: FramePool;
  private readonly words: Int32Array;
  private readonly perNeighbour: number;
  private readonly total: number;

  /** Bounds in frames, at least 1. */
  constructor(pool: FramePool, table: NeighTable, perNeighbour: number, total: number) {
    this.pool = pool;
    this.words = table.words;
    this.perNeighbour = perNeighbour;
    this.total = total;
  }

  /** Appends a frame. Returns the one that found no room (the entry's oldest, or `f` itself if it has none), else 0. */
  push(i: number, f: FrameId): FrameId {
    const { words } = this;
    const at = i << 4;
    let out = 0;
    if (words[at + Q_LEN]! >= this.perNeighbour || this.held >= this.total) {
      out = words[at + Q_HEAD]!;
      if (out === 0) return f;
      this.shift(at, out);
    }
    this.pool.next[f] = 0;
    if (words[at + Q_HEAD] === 0) words[at + Q_HEAD] = f;
    else this.pool.next[words[at + Q_TAIL]!] = f;
    words[at + Q_TAIL] = f;
    words[at + Q_LEN]! += 1;
    this.held += 1;
    return out;
  }

  /** Takes the whole list off the entry, so that whatever happens to the row does not matter to it. First frame or 0. */
  takeAll(i: number): FrameId {
    const { words } = this;
    const at = i << 4;
    const first = words[at + Q_HEAD]!;
    this.held -= words[at + Q_LEN]!;
    words[at + Q_HEAD] = 0;
    words[at + Q_TAIL] = 0;
    words[at + Q_LEN] = 0;
    return first;
  }

  private shift(at: number, head: FrameId): void {
    this.words[at + Q_HEAD] = this.pool.next[head]!;
    this.words[at + Q_LEN]! -= 1;
    this.held -= 1;
  }
}
