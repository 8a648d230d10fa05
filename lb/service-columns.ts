/** The numbers of the services, in a shared buffer: the worker writes them (service.ts), the control thread reads. */
import { type ColumnShape, Columns } from './columns.ts';

const SHAPE: ColumnShape = { magic: 0x53564301, f64: 7, i32: 4 };

/** Flag: connections are accepted. Cleared on removal, while connections of its servers may live on. */
export const LISTED = 1;

/** Any thread may attach to read them. Ids 1..capacity. */
export class ServiceColumns {
  readonly capacity: number;
  /** IP protocol; 0 = the row is free. */
  readonly proto: Int32Array;
  readonly vip: Int32Array;
  readonly port: Int32Array;
  /** LISTED. */
  readonly flags: Int32Array;
  /** As in DestTable, over all servers the service ever had. */
  readonly conns: Float64Array;
  readonly inPkts: Float64Array;
  readonly outPkts: Float64Array;
  readonly inBytes: Float64Array;
  readonly outBytes: Float64Array;
  readonly connectFailures: Float64Array;
  /** Times the scheduler had no server to give. */
  readonly noDest: Float64Array;

  private constructor(columns: Columns) {
    this.capacity = columns.capacity;
    this.conns = columns.f64(0);
    this.inPkts = columns.f64(1);
    this.outPkts = columns.f64(2);
    this.inBytes = columns.f64(3);
    this.outBytes = columns.f64(4);
    this.connectFailures = columns.f64(5);
    this.noDest = columns.f64(6);
    this.proto = columns.i32(0);
    this.vip = columns.i32(1);
    this.port = columns.i32(2);
    this.flags = columns.i32(3);
  }

  static bytes(capacity: number): number {
    return Columns.bytes(SHAPE, capacity);
  }

  /** New, empty columns at `byteOffset` (a multiple of 8) of `buffer`; the caller becomes their only writer. */
  static create(buffer: SharedArrayBuffer, byteOffset: number, capacity: number): ServiceColumns {
    return new ServiceColumns(Columns.create(buffer, byteOffset, SHAPE, capacity));
  }

  /** The same columns, for reading, in another thread. */
  static attach(buffer: SharedArrayBuffer, byteOffset: number): ServiceColumns {
    return new ServiceColumns(Columns.attach(buffer, byteOffset, SHAPE));
  }

  clear(id: number): void {
    for (const column of Object.values(this)) if (typeof column === 'object') column[id] = 0;
  }
}
