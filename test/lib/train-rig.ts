/**
 * Segments by hand on their way out: a burst comes in by one port and leaves by others that cut segments, or by one that
 * does not. What left is kept as it left, and as it is once cut, by the stack's own cutter.
 */
import * as assert from 'uvu/assert';
import { Context } from '../../stack/context.ts';
import { packetLength } from '../../stack/ipv4/plain.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, FramePool } from '../../stack/mem/frame-pool.ts';
import { gather } from '../../stack/netif/copy.ts';
import { type Capabilities, type Device, newStats } from '../../stack/netif/device.ts';
import { finishChecksum, Segmenter } from '../../stack/netif/gso.ts';
import { Netif } from '../../stack/netif/port.ts';
import { STOLEN } from '../../stack/verdict.ts';
import { naiveChecksum } from './naive-checksum.ts';
import { seeded } from './random.ts';
import { type Segment, segmentFrame } from './segment.ts';
import { outstanding } from './sim.ts';

/** Ports that cut, and one that does not. */
export const CUTS = 2;
export const CUTS_TOO = 3;
export const PLAIN = 4;

export interface Fed {
  readonly frame: Uint8Array;
  /** The port it leaves by; CUTS when left out. */
  readonly port?: number;
  /** The link says that its checksum is right. */
  readonly vouched?: boolean;
}

export interface Left {
  readonly port: number;
  readonly gsoSize: number;
  /** As it left, header and payload together. */
  readonly frame: Uint8Array;
}

/** Bytes that tell where they belong. */
export const data = (length: number, from = 0): Uint8Array => Uint8Array.from({ length }, (_, i) => (from + i) * 7 + 3);

const BASE: Segment = {
  src: 0x0a000001,
  dst: 0x0a000002,
  sport: 80,
  dport: 40000,
  seq: 0,
  ack: 5,
  flags: 'A',
  win: 512,
  data: data(0),
};

/** A frame with a segment of identification `ident`; `change` sees its bytes before the IP header's checksum is made anew. */
export function segment(s: Partial<Segment>, ident: number, change?: (frame: Uint8Array) => void): Uint8Array {
  const whole = { ...BASE, ...s };
  const frame = segmentFrame(whole, ident);
  if (change === undefined) return frame;
  change(frame);
  frame.fill(0, 24, 26);
  const sum = naiveChecksum(frame.subarray(14, 34));
  frame.set([sum >> 8, sum & 255], 24);
  return frame;
}

class Way implements Device {
  readonly name = 'way';
  readonly stats = newStats();
  readonly fd = -1;
  up = true;
  /** Frames it takes from now on. */
  room = Number.POSITIVE_INFINITY;
  readonly caps: Capabilities;
  private readonly rig: TrainRig;

  constructor(rig: TrainRig, tso: boolean) {
    this.rig = rig;
    this.caps = { mtu: 9000, txChecksum: tso, rxChecksum: true, tso, scatter: tso, queues: 1 };
  }

  rx(out: Int32Array, max: number): number {
    return this.rig.bring(out, max);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const n = Math.min(to - from, this.room);
    this.room -= n;
    for (let i = from; i < from + n; i++) this.rig.leave(frames[i]!);
    return n;
  }

  close(): void {}
}

export class TrainRig {
  readonly ctx: Context;
  readonly netif: Netif;
  readonly devices: Way[];
  private readonly segmenter: Segmenter;
  private waiting: readonly Fed[] = [];
  private left: Left[] = [];
  private pieces: Uint8Array[] = [];

  constructor(bigSlots = 8, slots = 256) {
    this.ctx = new Context(FramePool.create({ slots, slotBytes: 2048, bigSlots, bigSlotBytes: 69632 }), seeded(1));
    this.netif = new Netif(this.ctx);
    this.segmenter = new Segmenter(this.ctx);
    this.devices = [false, true, true, false].map((tso) => new Way(this, tso));
    for (const device of this.devices) this.netif.addPort(device, 0x0200, 1);
    this.netif.attachShortCut({ burst: (_, frames, verdicts, n) => this.forward(frames, verdicts, n) }, true);
  }

  /** One burst: what left because of it. */
  burst(fed: readonly Fed[]): Left[] {
    this.receive(fed);
    return this.flush();
  }

  receive(fed: readonly Fed[]): void {
    this.waiting = fed;
    this.netif.receive(this.netif.port(1)!);
  }

  flush(): Left[] {
    this.netif.flush();
    assert.is(outstanding(this.ctx), this.ctx.pool.inUse, 'conservation');
    assert.is(this.netif.held(), this.ctx.pool.inUse, 'held by the queues');
    return this.left.splice(0);
  }

  /** What has left since the last call, as a wire carries it. */
  cut(): Uint8Array[] {
    return this.pieces.splice(0);
  }

  bring(out: Int32Array, max: number): number {
    const { pool } = this.ctx;
    const n = Math.min(max, this.waiting.length);
    for (let i = 0; i < n; i++) {
      const { frame, vouched } = this.waiting[i]!;
      const f = pool.alloc();
      pool.buf.set(frame, pool.off[f]!);
      pool.len[f] = frame.length;
      pool.flags[f] = vouched ? F_CSUM_VALID : 0;
      out[i] = f;
    }
    return n;
  }

  leave(f: number): void {
    const { ctx, left, pieces } = this;
    const { pool } = ctx;
    const bytes = (g: number): Uint8Array => {
      const b = new Uint8Array(pool.wireLength(g));
      gather(pool, g, b, 0);
      return b;
    };
    left.push({ port: pool.port[f]!, gsoSize: pool.gsoSize[f]!, frame: bytes(f) });
    if (pool.gsoSize[f] === 0) {
      pieces.push(bytes(f));
      ctx.sent(f);
      return;
    }
    const transmit = (g: number): typeof STOLEN => {
      if ((pool.flags[g]! & F_CSUM_PARTIAL) !== 0) finishChecksum(pool, g);
      pieces.push(bytes(g));
      ctx.sent(g);
      return STOLEN;
    };
    assert.is(this.segmenter.segment(f, this.netif.port(1)!, { transmit }), STOLEN);
  }

  private forward(frames: Int32Array, verdicts: Int32Array, n: number): number {
    const { ctx, netif } = this;
    const { pool } = ctx;
    for (let i = 0; i < n; i++) {
      const f = frames[i]!;
      const w = (pool.off[f]! + 14) >> 2;
      const port = this.waiting[i]!.port ?? CUTS;
      ctx.settle(f, netif.transmitSegment(f, w, packetLength(pool.i32, w), port));
      verdicts[i] = STOLEN;
    }
    return n;
  }
}
