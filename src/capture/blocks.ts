/**
 * Captured frames as pcapng: takes them out of the worker's ring (lb/capture/record.ts) and writes blocks, each with what is known
 * of the frame as its comment. Called by src/control/capture.ts, in the control thread.
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

export class CaptureBlocks {
  private readonly ring: r.CaptureEnds['ring'];
  private readonly names: Naming;
  private readonly epochMicros: number;
  private readonly record = new Int32Array((piecesAtMost() + 1) * r.PIECE_WORDS);
  private readonly bytes = new Uint8Array(this.record.buffer);

  /** `epochMicros`: microseconds since 1970 at the zero of the worker's clock. */
  constructor(ring: r.CaptureEnds['ring'], names: Naming, epochMicros: number) {
    this.ring = ring;
    this.names = names;
    this.epochMicros = epochMicros;
  }

  /** The head of the file: an interface per link, in their order. */
  head(links: readonly string[], snap: number): Uint8Array {
    const out = new Uint8Array(pcapng.HEAD_ROOM * (links.length + 1));
    let at = pcapng.writeSection(out, 0, 'tsvs');
    for (const link of links) at = pcapng.writeInterface(out, at, link, snap);
    return out.slice(0, at);
  }

  /** What has come since, some of it; null when there is nothing. */
  take(): Uint8Array | null {
    if (this.ring.observe() === 0) return null;
    const blocks: Uint8Array[] = [];
    for (let length = 0; length < CHUNK && this.ring.observe() > 0; ) {
      const block = this.next();
      blocks.push(block);
      length += block.length;
    }
    return Buffer.concat(blocks);
  }

  /** The end of the file: how many frames were wanted, and how many of them found no room. */
  tail(taken: number, lost: number, endMicros: number): Uint8Array {
    const out = new Uint8Array(pcapng.HEAD_ROOM);
    return out.slice(0, pcapng.writeStatistics(out, 0, 0, this.epochMicros + endMicros, taken + lost, lost));
  }

  private next(): Uint8Array {
    const { ring, record } = this;
    ring.remove(record, 0);
    const captured = record[r.CAPTURED]!;
    const pieces = r.piecesFor(captured);
    for (let i = 1; i < pieces; i++) ring.remove(record, i * r.PIECE_WORDS);
    ring.release();
    const comment = pcapng.utf8(this.comment());
    const out = new Uint8Array(pcapng.packetBlockLength(captured, comment.length));
    const at = r.HEAD_WORDS * 4;
    out.set(this.bytes.subarray(at, at + captured), pcapng.PACKET_BYTES);
    const time = this.epochMicros + record[r.TIME_HIGH]! * 0x1_0000_0000 + (record[r.TIME_LOW]! >>> 0);
    const direction = record[r.OUTGOING] === 0 ? pcapng.DIRECTION_IN : pcapng.DIRECTION_OUT;
    const iface = Math.max(0, record[r.LINK]! - 1);
    pcapng.writePacket(out, 0, iface, time, captured, record[r.ORIGINAL]!, direction, comment);
    return out;
  }

  /** `drop lb_no_server`, `tx; web/server1, fnat, to the server, ESTABLISHED`. */
  private comment(): string {
    const { record, names } = this;
    const reason = record[r.REASON]!;
    const stage = r.STAGES[record[r.STAGE]!]! + (reason === 0 ? '' : ` ${DROP_REASONS[reason]!.name}`);
    if (record[r.SERVICE] === 0) return stage;
    const meta = record[r.META]!;
    const mode = MODE_NAMES[(meta & MODE_MASK) >> MODE_SHIFT]!.toLowerCase();
    const way = record[r.DIRECTION] === IN ? 'to the server' : 'to the client';
    const state = protocolOf(record[r.PROTOCOL]!)?.states[meta & STATE_MASK] ?? '';
    const server = `${names.serviceName(record[r.SERVICE]!)}/${names.serverName(record[r.DEST]!)}`;
    return `${stage}; ${[server, mode, way, state].join(', ')}`;
  }
}

const piecesAtMost = (): number => r.piecesFor(r.MAX_SNAP);
