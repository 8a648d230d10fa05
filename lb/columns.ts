/**
 * Columns of numbers in one shared buffer: a 64-byte header, then Float64 columns, then Int32 columns, each
 * `capacity + 1` long, because ids run 1..capacity and row 0 stands for "none".
 *
 * One thread writes, any thread may attach and read. Reads are not synchronised: a reader sees each number
 * whole, but two numbers of a row may be from different moments.
 * Used by lb/dest.ts and lb/service.ts. Imports nothing.
 */

const HEADER_BYTES = 64;
const MAGIC_WORD = 0;
const CAPACITY_WORD = 1;
const SHAPE_WORD = 2;

/** What a table consists of; `magic` names it and its version. */
export interface ColumnShape {
  readonly magic: number;
  /** Number of Float64 and of Int32 columns. */
  readonly f64: number;
  readonly i32: number;
}

export class Columns {
  readonly capacity: number;
  private readonly buffer: SharedArrayBuffer;
  private readonly byteOffset: number;
  private readonly shape: ColumnShape;

  private constructor(buffer: SharedArrayBuffer, byteOffset: number, shape: ColumnShape, capacity: number) {
    this.buffer = buffer;
    this.byteOffset = byteOffset;
    this.shape = shape;
    this.capacity = capacity;
  }

  /** Bytes a table of `capacity` rows takes. */
  static bytes(shape: ColumnShape, capacity: number): number {
    return HEADER_BYTES + (shape.f64 * 8 + shape.i32 * 4) * (capacity + 1);
  }

  /** Lays the table out at `byteOffset` (a multiple of 8) and clears it. Throws RangeError if it does not fit. */
  static create(buffer: SharedArrayBuffer, byteOffset: number, shape: ColumnShape, capacity: number): Columns {
    const bytes = Columns.bytes(shape, capacity);
    if (byteOffset % 8 !== 0 || byteOffset + bytes > buffer.byteLength) {
      throw new RangeError(`columns: ${bytes} bytes at ${byteOffset} do not fit into ${buffer.byteLength}`);
    }
    new Uint8Array(buffer, byteOffset, bytes).fill(0);
    const header = new Int32Array(buffer, byteOffset, HEADER_BYTES / 4);
    header[CAPACITY_WORD] = capacity;
    header[SHAPE_WORD] = (shape.f64 << 16) | shape.i32;
    header[MAGIC_WORD] = shape.magic;
    return new Columns(buffer, byteOffset, shape, capacity);
  }

  /** Opens a table another thread has created. Throws Error if there is none of this shape. */
  static attach(buffer: SharedArrayBuffer, byteOffset: number, shape: ColumnShape): Columns {
    const header = new Int32Array(buffer, byteOffset, HEADER_BYTES / 4);
    if (header[MAGIC_WORD] !== shape.magic || header[SHAPE_WORD] !== ((shape.f64 << 16) | shape.i32)) {
      throw new Error(`columns: no table 0x${(shape.magic >>> 0).toString(16)} of this version at ${byteOffset}`);
    }
    return new Columns(buffer, byteOffset, shape, header[CAPACITY_WORD]!);
  }

  f64(column: number): Float64Array {
    const rows = this.capacity + 1;
    return new Float64Array(this.buffer, this.byteOffset + HEADER_BYTES + column * rows * 8, rows);
  }

  i32(column: number): Int32Array {
    const rows = this.capacity + 1;
    const start = this.byteOffset + HEADER_BYTES + this.shape.f64 * rows * 8;
    return new Int32Array(this.buffer, start + column * rows * 4, rows);
  }
}
