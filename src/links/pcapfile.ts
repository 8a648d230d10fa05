/**
 * Capture files as a device: received frames come from a file, sent frames go to another, either may be left out.
 *
 * Frames are received as fast as asked for, or, with `paced`, at the distances they were recorded at, counted from the
 * first `rx`. A damaged file ends the input: `failure` then says what and where, and `stats.errors` counts it.
 *
 * Ownership: as device.ts says; sending copies into a buffer that is written to the file when full and at close.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import type { Context } from '../../stack/context.ts';
import { OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { HEADROOM } from '../../stack/mem/frame-pool.ts';
import { allocFor, gather } from '../../stack/netif/copy.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId, Micros } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import * as pcapng from '../../stack/wire/pcapng.ts';
import type { PcapPacket } from './pcap-reader.ts';
import { PcapError, PcapReader } from './pcap-reader.ts';

export interface PcapFileOptions {
  /** File to receive from, pcap or pcapng; empty = none. */
  readonly read: string;
  /** File to send to, pcapng, overwritten, another than `read`; empty = none: what is sent is forgotten. */
  readonly write: string;
  /** Keep the recorded distances between received frames. */
  readonly paced: boolean;
  /** Microseconds since 1970 at `ctx.now` = 0, for the time stamps written. */
  readonly epochMicros: Micros;
  readonly mtu: number;
}

const BUFFER_BYTES = 256 * 1024;
const SNAP_LENGTH = BUFFER_BYTES / 2;
const NO_COMMENT = new Uint8Array(0);

export class PcapFileDevice implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd = -1;
  up = true;
  /** What was wrong with the file read, when something was. */
  failure: PcapError | null = null;
  /** Time stamp of the last frame received, in microseconds since 1970. */
  lastTimeMicros = 0;

  private readonly ctx: Context;
  private readonly paced: boolean;
  private readonly epochMicros: Micros;
  private readonly reader: PcapReader | null;
  private readonly output: number;
  private readonly out = new Uint8Array(BUFFER_BYTES);
  private used = 0;
  /** The packet that comes next; null at the end. */
  private pending: PcapPacket | null = null;
  /** What to add to a packet's time to get the `ctx.now` when it is due; NaN until the first `rx`. */
  private shift = Number.NaN;

  /** Throws a PcapError when the file to read is no capture, the system's error when a file cannot be opened. */
  constructor(ctx: Context, options: PcapFileOptions) {
    if (options.read !== '' && options.read === options.write) {
      throw new Error(`pcapfile: ${options.read} cannot be read and overwritten at the same time`);
    }
    this.name = `pcapfile:${options.read || options.write}`;
    this.caps = { mtu: options.mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: true, queues: 1 };
    this.ctx = ctx;
    this.paced = options.paced;
    this.epochMicros = options.epochMicros;
    this.reader = options.read === '' ? null : new PcapReader(options.read);
    this.output = options.write === '' ? -1 : openSync(options.write, 'w');
    if (this.output >= 0) {
      this.used = pcapng.writeSection(this.out, 0, 'tsvs');
      this.used = pcapng.writeInterface(this.out, this.used, options.write, SNAP_LENGTH);
    }
    this.advance();
  }

  /** True when all frames of the file have been received. */
  get ended(): boolean {
    return this.pending === null;
  }

  get nextDueMs(): number {
    if (this.pending === null) return -1;
    if (!this.paced || Number.isNaN(this.shift)) return 0;
    return Math.max(Math.ceil((this.pending.timeMicros + this.shift - this.ctx.now) / 1000), 0);
  }

  private advance(): void {
    this.pending = null;
    try {
      this.pending = this.reader?.next() ?? null;
    } catch (error) {
      if (!(error instanceof PcapError)) throw error;
      this.failure = error;
      this.countError(error.code);
    }
  }

  private countError(what: string): void {
    this.stats.errors[what] = (this.stats.errors[what] ?? 0) + 1;
  }

  rx(out: Int32Array, max: number): number {
    if (!this.up) return 0;
    let given = 0;
    while (given < max && this.pending !== null && this.isDue(this.pending)) {
      const f = this.receive(this.pending);
      if (f !== 0) out[given++] = f;
      this.advance();
    }
    return given;
  }

  private isDue(packet: PcapPacket): boolean {
    if (!this.paced) return true;
    if (Number.isNaN(this.shift)) this.shift = this.ctx.now - packet.timeMicros;
    return packet.timeMicros + this.shift <= this.ctx.now;
  }

  private receive(packet: PcapPacket): FrameId {
    const { pool } = this.ctx;
    const { bytes } = packet;
    const f = allocFor(pool, bytes.length);
    if (f === 0) {
      const fits = bytes.length <= Math.max(pool.config.slotBytes, pool.config.bigSlotBytes) - HEADROOM;
      this.ctx.refuse(0, fits ? POOL_EMPTY : OVERSIZE);
      return 0;
    }
    pool.buf.set(bytes, pool.off[f]!);
    pool.len[f] = bytes.length;
    this.lastTimeMicros = packet.timeMicros;
    this.stats.rxFrames += 1;
    this.stats.rxBytes += bytes.length;
    if (packet.originalLength > bytes.length) this.countError('cut by the capture');
    return f;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    const pool = this.ctx.pool;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const length = pool.wireLength(f);
      if (length > this.caps.mtu + FRAME_OVERHEAD) {
        this.ctx.settle(f, DROP | OVERSIZE);
        continue;
      }
      if (this.output >= 0) this.write(f, length);
      this.stats.txFrames += 1;
      this.stats.txBytes += length;
      this.ctx.sent(f);
    }
    return to - from;
  }

  private write(f: FrameId, length: number): void {
    if (this.used + pcapng.packetBlockLength(length, 0) > BUFFER_BYTES) this.flush();
    gather(this.ctx.pool, f, this.out, this.used + pcapng.PACKET_BYTES);
    const time = this.epochMicros + this.ctx.now;
    this.used = pcapng.writePacket(this.out, this.used, 0, time, length, length, pcapng.DIRECTION_OUT, NO_COMMENT);
  }

  /** Writes out what is buffered. Throws the system's error (disk full). */
  flush(): void {
    for (let at = 0; at < this.used; ) at += writeSync(this.output, this.out, at, this.used - at);
    this.used = 0;
  }

  close(): void {
    if (!this.up) return;
    this.up = false;
    this.pending = null;
    this.reader?.close();
    if (this.output < 0) return;
    this.flush();
    closeSync(this.output);
  }
}
