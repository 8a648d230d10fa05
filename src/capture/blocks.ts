/**
 * Captured frames as pcapng: takes them out of the rings of the workers (lb/capture/record.ts), by time, and writes blocks, each with
 * what is known of the frame as its comment. What is not written yet stays in the rings, but for one frame of each. Called by src/control/capture.ts, in the control thread.
 */

import * as r from '../../lb/capture/record.ts';
import { IN, MODE_MASK, MODE_NAMES, MODE_SHIFT, STATE_MASK } from '../../lb/conn-row.ts';
import { protocolOf } from '../../lb/proto/index.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import * as pcapng from '../../stack/wire/pcapng.ts';

/** Names of rows. */
export interface Naming {
  serviceName(id: number): string;
  serverName(dest: number): string;
}

/** Bytes given out at once at most, but for a frame that is larger. */
const CHUNK = 256 * 1024;

/** The frames of one worker, oldest first, each as a block with its comment. */
export class CapturedFrames {
  private readonly ring: r.CaptureEnds['ring'];
  private readonly names: Naming;
  private readonly epochMicros: number;
  private readonly suffix: string;
  /** A head and the bytes behind it, of the next frame when `staged`. */
  private readonly record = new Int32Array((piecesAtMost() + 1) * r.PIECE_WORDS);
  private readonly bytes = new Uint8Array(this.record.buffer);
  private staged = false;

  /** `epochMicros`: microseconds since 1970 at the zero of the worker's clock. `suffix` is put behind the stage. */
  constructor(ring: r.CaptureEnds['ring'], names: Naming, epochMicros: number, suffix = '') {
    this.ring = ring;
    this.names = names;
    this.epochMicros = epochMicros;
    this.suffix = suffix;
  }

  /** When the next frame was seen, in microseconds since 1970; infinity when there is none yet. */
  time(): number {
    const { ring, record } = this;
    if (!this.staged) {
      if (ring.observe() === 0) return Number.POSITIVE_INFINITY;
      ring.remove(record, 0);
      const pieces = r.piecesFor(record[r.CAPTURED]!);
      for (let i = 1; i < pieces; i++) ring.remove(record, i * r.PIECE_WORDS);
      ring.release();
      this.staged = true;
    }
    return this.epochMicros + record[r.TIME_HIGH]! * 0x1_0000_0000 + (record[r.TIME_LOW]! >>> 0);
  }

  /** The block of the next frame. Precondition: there is one. */
  take(): Uint8Array {
    const { record } = this;
    const time = this.time();
    this.staged = false;
    const captured = record[r.CAPTURED]!;
    const comment = pcapng.utf8(this.comment());
    const out = new Uint8Array(pcapng.packetBlockLength(captured, comment.length));
    const at = r.HEAD_WORDS * 4;
    out.set(this.bytes.subarray(at, at + captured), pcapng.PACKET_BYTES);
    const direction = record[r.OUTGOING] === 0 ? pcapng.DIRECTION_IN : pcapng.DIRECTION_OUT;
    const iface = Math.max(0, record[r.LINK]! - 1);
    pcapng.writePacket(out, 0, iface, time, captured, record[r.ORIGINAL]!, direction, comment);
    return out;
  }

  /** `drop lb_no_server`, `tx; web/server1, fnat, to the server, ESTABLISHED`. */
  private comment(): string {
    const { record, names } = this;
    const reason = record[r.REASON]!;
    const why = reason === 0 ? '' : ` ${DROP_REASONS[reason]!.name}`;
    const stage = `${r.STAGES[record[r.STAGE]!]!}${why}${this.suffix}`;
    if (record[r.SERVICE] === 0) return stage;
    const meta = record[r.META]!;
    const mode = MODE_NAMES[(meta & MODE_MASK) >> MODE_SHIFT]!.toLowerCase();
    const way = record[r.DIRECTION] === IN ? 'to the server' : 'to the client';
    const state = protocolOf(record[r.PROTOCOL]!)?.states[meta & STATE_MASK] ?? '';
    const server = `${names.serviceName(record[r.SERVICE]!)}/${names.serverName(record[r.DEST]!)}`;
    return `${stage}; ${[server, mode, way, state].join(', ')}`;
  }
}

/** The frames of all workers as one file, by time. */
export class CaptureBlocks {
  /** Frames given out. */
  taken = 0;
  private readonly workers: readonly CapturedFrames[];

  constructor(workers: readonly CapturedFrames[]) {
    this.workers = workers;
  }

  /** The head of the file: an interface per link, in their order. */
  head(links: readonly string[], snap: number): Uint8Array {
    const out = new Uint8Array(pcapng.HEAD_ROOM * (links.length + 1));
    let at = pcapng.writeSection(out, 0, 'tsvs');
    for (const link of links) at = pcapng.writeInterface(out, at, link, snap);
    return out.slice(0, at);
  }

  /**
   * What has come since, some of it, at most `most` frames; null when there is nothing. A worker from which nothing has come may still
   * bring what it saw before: then only frames from before `until` are given, in microseconds since 1970.
   */
  take(until: number, most = Number.POSITIVE_INFINITY): Uint8Array | null {
    const blocks: Uint8Array[] = [];
    for (let length = 0; length < CHUNK && blocks.length < most; ) {
      const times = this.workers.map((worker) => worker.time());
      const first = Math.min(...times);
      if (first === Number.POSITIVE_INFINITY || (first >= until && Math.max(...times) === Number.POSITIVE_INFINITY))
        break;
      const block = this.workers[times.indexOf(first)]!.take();
      blocks.push(block);
      length += block.length;
    }
    this.taken += blocks.length;
    return blocks.length === 0 ? null : Buffer.concat(blocks);
  }

  /** The end of the file, at `endMicros` since 1970: how many frames found no room. */
  tail(lost: number, endMicros: number): Uint8Array {
    const out = new Uint8Array(pcapng.HEAD_ROOM);
    return out.slice(0, pcapng.writeStatistics(out, 0, 0, endMicros, this.taken + lost, lost));
  }
}

const piecesAtMost = (): number => r.piecesFor(r.MAX_SNAP);
