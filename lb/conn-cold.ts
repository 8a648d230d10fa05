/**
 * What few packets need of a connection: columns beside the rows. @hot (`count`; it rarely leaves the row)
 *
 * Packets and bytes are counted in the row, a word per direction (11 and 21 bits), and spill here when it is
 * full, every 2 MB or 2047 packets: so that counting costs no cache miss of its own, and short connections never touch
 * these columns. Written by lb/conn.ts (`control`, `openedS`) and by the functions below; anyone may read.
 */
import { F_SPILLED, IN_COUNT, META, ROW_SHIFT } from './conn-row.ts';

const BYTE_BITS = 21;
const BYTE_MASK = (1 << BYTE_BITS) - 1;
const MAX_PKTS = 0x7ff;

/** Float64 per connection: packets and bytes in, packets and bytes out. */
const COUNTS = 4;

export class ConnCold {
  /** Spilled counts; meaningless without F_SPILLED. */
  private readonly counts: Float64Array;
  private readonly rows: Int32Array;
  /** Of a connection with F_CONTROLLED: the template it belongs to. Of a template: connections that belong to it. */
  readonly control: Int32Array;
  /** When it was opened, seconds of the worker's clock. */
  readonly openedS: Int32Array;

  constructor(buffer: SharedArrayBuffer, byteOffset: number, rows: Int32Array, max: number) {
    this.rows = rows;
    this.counts = new Float64Array(buffer, byteOffset, (max + 1) * COUNTS);
    const ints = byteOffset + (max + 1) * COUNTS * 8;
    this.control = new Int32Array(buffer, ints, max + 1);
    this.openedS = new Int32Array(buffer, ints + (max + 1) * 4, max + 1);
  }

  static bytes(max: number): number {
    return (max + 1) * (COUNTS * 8 + 8);
  }

  /** Adds to what went in direction `dir` (IN, OUT). `pkts` below 2048, `bytes` below 2 MB. */
  count(row: number, dir: number, pkts: number, bytes: number): void {
    const { rows } = this;
    const at = (row << ROW_SHIFT) + IN_COUNT + dir;
    const c = rows[at];
    if ((c >>> BYTE_BITS) + pkts > MAX_PKTS || (c & BYTE_MASK) + bytes > BYTE_MASK) {
      this.spill(row, dir, c);
      rows[at] = (pkts << BYTE_BITS) | bytes;
    } else rows[at] = (c + (pkts << BYTE_BITS) + bytes) | 0;
  }

  packets(row: number, dir: number): number {
    const now = this.rows[(row << ROW_SHIFT) + IN_COUNT + dir] >>> BYTE_BITS;
    return this.spilled(row) ? this.counts[row * COUNTS + dir * 2] + now : now;
  }

  bytes(row: number, dir: number): number {
    const now = this.rows[(row << ROW_SHIFT) + IN_COUNT + dir] & BYTE_MASK;
    return this.spilled(row) ? this.counts[row * COUNTS + dir * 2 + 1] + now : now;
  }

  private spilled(row: number): boolean {
    return (this.rows[(row << ROW_SHIFT) + META] & F_SPILLED) !== 0;
  }

  private spill(row: number, dir: number, c: number): void {
    const { counts } = this;
    const at = row * COUNTS;
    if (!this.spilled(row)) {
      for (let i = 0; i < COUNTS; i++) counts[at + i] = 0;
      this.rows[(row << ROW_SHIFT) + META] |= F_SPILLED;
    }
    counts[at + dir * 2] += c >>> BYTE_BITS;
    counts[at + dir * 2 + 1] += c & BYTE_MASK;
  }
}
