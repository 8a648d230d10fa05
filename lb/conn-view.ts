/**
 * Reads the tracked connections of a worker from another thread, while the worker goes on. Rows change and pass to other
 * connections meanwhile: a row is read until it is twice the same, and left out when it does not come to rest. Nothing is
 * locked, so a list is true row by row, not as a whole. Called by the control thread (src/control/conn-list.ts).
 */
import { Slab } from '../stack/mem/slab.ts';
import { planConnTable } from './conn.ts';
import { ConnCold } from './conn-cold.ts';
import * as c from './conn-row.ts';
import type { Protocol } from './proto/index.ts';

/** Readings of one row before it is given up. */
const TRIES = 4;
/** Words that must agree between two readings: all but the counts and what the data path remembers. */
const SAME = c.SERVICE_HOP;

export class ConnView {
  /** Null: templates, of any protocol. */
  readonly protocol: Protocol | null;
  /** Rows are 1..max. */
  readonly max: number;
  /** The row that `read` has read last, by the words of conn-row.ts. */
  readonly row = new Int32Array(c.ROW_WORDS);
  /** Packets and bytes since the connection began, of that row: in, out. */
  packetsIn = 0;
  packetsOut = 0;
  bytesIn = 0;
  bytesOut = 0;
  private readonly rows: Int32Array;
  private readonly slab: Slab;
  private readonly cold: ConnCold;

  /** `memory`, `byteOffset` and `max` as the table was made with; it must have been made. */
  constructor(memory: SharedArrayBuffer, byteOffset: number, max: number, protocol: Protocol | null) {
    const { at } = planConnTable(max, byteOffset);
    this.protocol = protocol;
    this.max = max;
    this.rows = new Int32Array(memory, at.rows, (max + 1) * c.ROW_WORDS);
    this.slab = Slab.attach(memory, at.slab);
    this.cold = new ConnCold(memory, at.cold, this.rows, max);
  }

  /** Connections now. */
  get size(): number {
    return this.slab.used();
  }

  /** The next row in use after `id`, 0 at the end. */
  next(id: number): number {
    const highest = this.slab.highest();
    for (let row = id + 1; row <= highest; row++) if (this.slab.isUsed(row)) return row;
    return 0;
  }

  /** Reads a row into `row` and the counts; false when there is no connection there, or it does not keep still. */
  read(id: number): boolean {
    const at = id << c.ROW_SHIFT;
    const { row, rows, cold } = this;
    for (let tries = 0; tries < TRIES; tries++) {
      for (let i = 0; i < c.ROW_WORDS; i++) row[i] = Atomics.load(rows, at + i);
      this.packetsIn = cold.packets(id, c.IN);
      this.packetsOut = cold.packets(id, c.OUT);
      this.bytesIn = cold.bytes(id, c.IN);
      this.bytesOut = cold.bytes(id, c.OUT);
      let same = true;
      for (let i = 0; i < SAME; i++) same &&= Atomics.load(rows, at + i) === row[i];
      if (same) return this.slab.isUsed(id) && (row[c.META]! & (c.F_INVALID | c.F_ONE_PACKET)) === 0;
    }
    return false;
  }

  get state(): string {
    return this.protocol?.states[this.row[c.META]! & c.STATE_MASK] ?? '';
  }

  get mode(): string {
    return c.MODE_NAMES[(this.row[c.META]! & c.MODE_MASK) >> c.MODE_SHIFT] ?? '';
  }

  get service(): number {
    return this.row[c.SERVICE_HOP]! >>> 16;
  }

  get dest(): number {
    return this.row[c.DEST]!;
  }

  /** Milliseconds until it is due, at a tick. */
  dueIn(nowMs: number): number {
    return Math.max(0, (this.row[c.DUE]! - nowMs) | 0);
  }
}
