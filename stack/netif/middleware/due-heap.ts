/**
 * Frames that wait for their time: a binary heap of fixed size, ordered by due time, and by order of arrival among equals.
 * @hot
 */
import type { FrameId, Micros } from '../../types.ts';

export class DueHeap {
  readonly capacity: number;
  size = 0;

  private readonly due: Float64Array;
  private readonly order: Float64Array;
  private readonly frame: Int32Array;
  private arrivals = 0;

  constructor(capacity: number) {
    this.capacity = capacity;
    this.due = new Float64Array(capacity);
    this.order = new Float64Array(capacity);
    this.frame = new Int32Array(capacity);
  }

  get full(): boolean {
    return this.size === this.capacity;
  }

  /** When the first frame is due; Infinity when there is none. */
  get firstDue(): Micros {
    return this.size === 0 ? Number.POSITIVE_INFINITY : this.due[0]!;
  }

  /** The first frame, 0 when there is none. */
  get first(): FrameId {
    return this.size === 0 ? 0 : this.frame[0]!;
  }

  /** The heap must not be full. */
  push(f: FrameId, due: Micros): void {
    const order = this.arrivals++;
    let i = this.size++;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.isBefore(due, order, parent)) break;
      this.move(parent, i);
      i = parent;
    }
    this.put(i, f, due, order);
  }

  /** Takes the first frame out; 0 when there is none. */
  pop(): FrameId {
    if (this.size === 0) return 0;
    const first = this.frame[0]!;
    const last = --this.size;
    const due = this.due[last]!;
    const order = this.order[last]!;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= last) break;
      if (child + 1 < last && this.isBefore(this.due[child + 1]!, this.order[child + 1]!, child)) child += 1;
      if (this.isBefore(due, order, child)) break;
      this.move(child, i);
      i = child;
    }
    this.put(i, this.frame[last]!, due, order);
    return first;
  }

  private isBefore(due: Micros, order: number, i: number): boolean {
    return due < this.due[i]! || (due === this.due[i]! && order < this.order[i]!);
  }

  private move(from: number, to: number): void {
    this.put(to, this.frame[from]!, this.due[from]!, this.order[from]!);
  }

  private put(i: number, f: FrameId, due: Micros, order: number): void {
    this.frame[i] = f;
    this.due[i] = due;
    this.order[i] = order;
  }
}
