/**
 * A device that records every frame that passes, in pcapng, and hands the bytes to a sink. What the sink does with them is
 * not this file's business; it gets whole blocks, at the latest when a burst ends.
 *
 * Both directions are recorded and told apart by epb_flags, received frames as the link delivered them, sent frames as the
 * link took them: with offloads on, 64 KB segments and unfinished checksums are in the file because they were on the wire.
 * Sending goes frame by frame, so that exactly what the link accepted is recorded.
 *
 * Frames dropped elsewhere can be added with the verdict as a comment: `ctx.probe = (f, v) => writer.record(f, DIRECTION_IN, name(v))`.
 */
import type { Context } from '../../context.ts';
import type { FrameId, Micros } from '../../types.ts';
import * as pcapng from '../../wire/pcapng.ts';
import { DIRECTION_IN, DIRECTION_OUT } from '../../wire/pcapng.ts';
import { copyBytes } from '../copy.ts';
import type { Device } from '../device.ts';
import { Wrapper } from './wrapper.ts';

export interface PcapWriterOptions {
  /** Takes the bytes at once: the array is reused as soon as it returns. */
  readonly sink: (bytes: Uint8Array) => void;
  /** Microseconds since 1970 at `ctx.now` = 0. */
  readonly epochMicros: Micros;
  /** Bytes recorded of each frame at most. */
  readonly snapLength: number;
  /** Which interface of the file this is, from 0: the first writes the head of the file. Absent: 0. */
  readonly iface?: number;
}

const BUFFER_BYTES = 256 * 1024;
const NO_COMMENT = new Uint8Array(0);

export class PcapWriter extends Wrapper {
  private readonly ctx: Context;
  private readonly options: PcapWriterOptions;
  private readonly iface: number;
  private readonly out = new Uint8Array(BUFFER_BYTES);
  /** Bytes in `out` that the sink has not seen. */
  private used = 0;
  private closed = false;

  /** Writes the head of the file, or what describes this interface, to the sink. Interfaces are made in their order. */
  constructor(ctx: Context, inner: Device, options: PcapWriterOptions) {
    if (options.snapLength < 1 || options.snapLength > BUFFER_BYTES / 2) {
      throw new Error(`pcap: snapLength must be 1..${BUFFER_BYTES / 2}, not ${options.snapLength}`);
    }
    super(inner);
    this.ctx = ctx;
    this.options = options;
    this.iface = options.iface ?? 0;
    if (this.iface === 0) this.used = pcapng.writeSection(this.out, 0, 'tsvs');
    this.used = pcapng.writeInterface(this.out, this.used, inner.name, options.snapLength);
    this.flush();
  }

  override rx(out: Int32Array, max: number): number {
    const n = this.inner.rx(out, max);
    for (let i = 0; i < n; i++) this.append(out[i]!, DIRECTION_IN, NO_COMMENT);
    this.flush();
    return n;
  }

  override tx(frames: Int32Array, from: number, to: number): number {
    let i = from;
    for (; i < to; i++) {
      // Recorded before it is sent, because the frame is freed then; taken back when the link did not want it.
      const mark = this.append(frames[i]!, DIRECTION_OUT, NO_COMMENT);
      if (this.inner.tx(frames, i, i + 1) === 0) {
        this.used = mark;
        break;
      }
    }
    this.flush();
    return i - from;
  }

  /** Adds a frame that did not pass here, or did for the second time. */
  record(f: FrameId, direction: number, comment: string): void {
    if (this.closed) return;
    this.append(f, direction, pcapng.utf8(comment));
  }

  /** Returns the position in `out` where the block starts. */
  private append(f: FrameId, direction: number, comment: Uint8Array): number {
    const pool = this.ctx.pool;
    const original = pool.wireLength(f);
    const captured = Math.min(original, this.options.snapLength);
    if (this.used + pcapng.packetBlockLength(captured, comment.length) > BUFFER_BYTES) this.flush();
    const start = this.used;
    const time = this.options.epochMicros + this.ctx.now;
    const linear = Math.min(pool.len[f]!, captured);
    copyBytes(pool.buf, pool.off[f]!, linear, this.out, start + pcapng.PACKET_BYTES);
    if (captured > linear) {
      copyBytes(pool.buf, pool.fragOff[f]!, captured - linear, this.out, start + pcapng.PACKET_BYTES + linear);
    }
    this.used = pcapng.writePacket(this.out, start, this.iface, time, captured, original, direction, comment);
    return start;
  }

  /** Hands what is buffered to the sink. */
  flush(): void {
    if (this.used === 0) return;
    this.options.sink(this.out.subarray(0, this.used));
    this.used = 0;
  }

  override close(): void {
    if (this.closed) return;
    this.closed = true;
    this.flush();
    this.inner.close();
  }
}
