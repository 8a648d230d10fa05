/**
 * A test bench for modules that take and make IPv4 packets: a small pool and context, seeded randomness, timers moved
 * by hand, packets written field by field (independently of stack/wire), and the conservation law.
 */
import * as assert from 'uvu/assert';
import { Context, FATE_CREATED, FATE_DELIVERED, FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import type { TimerHandler, TimerRange } from '../../stack/timer/timers.ts';
import type { FrameId, Ticks } from '../../stack/types.ts';
import { naiveChecksum } from './naive-checksum.ts';
import { seeded } from './random.ts';

export function makeContext(slots = 512, bigSlots = 4, seed = 1): Context {
  return new Context(FramePool.create({ slots, slotBytes: 2048, bigSlots, bigSlotBytes: 69632 }), seeded(seed));
}

/** Timers of one handler. `advance` fires what is due, in order. */
export class HandTimers {
  private readonly due = new Map<number, Ticks>();
  private handler: TimerHandler | null = null;

  range(_count: number, handler: TimerHandler): TimerRange {
    this.handler = handler;
    return {
      arm: (i, atMs) => void this.due.set(i, atMs),
      cancel: (i) => void this.due.delete(i),
      isArmed: (i) => this.due.has(i),
    };
  }

  get armed(): number {
    return this.due.size;
  }

  /** Moves the context's clock to `toMs` and fires what is due by then. */
  advance(ctx: Context, toMs: number): void {
    for (;;) {
      let first = 0;
      for (const [i, at] of this.due) {
        if (((at - toMs) | 0) <= 0 && (first === 0 || at < this.due.get(first)!)) first = i;
      }
      if (first === 0) break;
      ctx.tick(this.due.get(first)! * 1000);
      this.due.delete(first);
      this.handler!.onTimer(first);
    }
    ctx.tick(toMs * 1000);
  }
}

export interface PacketFields {
  src?: number;
  dst?: number;
  id?: number;
  proto?: number;
  tos?: number;
  ttl?: number;
  df?: boolean;
  mf?: boolean;
  /** Fragment offset in bytes. */
  offset?: number;
  options?: readonly number[];
  payload?: Uint8Array;
}

export const CLIENT = 0x0a000001;
export const SERVER = 0x0a000002;

/** An IPv4 packet with a right header. Total length and offset are cut to their fields' widths. */
export function ipv4Packet(p: PacketFields): Uint8Array {
  const options = p.options ?? [];
  const payload = p.payload ?? new Uint8Array();
  const header = 20 + options.length;
  const bytes = new Uint8Array(header + payload.length);
  const view = new DataView(bytes.buffer);
  bytes[0] = 0x40 | (header / 4);
  bytes[1] = p.tos ?? 0;
  view.setUint16(2, bytes.length);
  view.setUint16(4, p.id ?? 7);
  view.setUint16(6, (p.df ? 0x4000 : 0) | (p.mf ? 0x2000 : 0) | ((p.offset ?? 0) / 8));
  bytes[8] = p.ttl ?? 64;
  bytes[9] = p.proto ?? 17;
  view.setInt32(12, p.src ?? CLIENT);
  view.setInt32(16, p.dst ?? SERVER);
  bytes.set(options, 20);
  view.setUint16(10, naiveChecksum(bytes.subarray(0, header)));
  bytes.set(payload, header);
  return bytes;
}

/** A received frame as ipv4 parse leaves it: `off` and l3 at the IP header. */
export function receive(ctx: Context, packet: Uint8Array, flags = 0): FrameId {
  const { pool } = ctx;
  const f = packet.length < 1800 ? pool.alloc() : pool.allocBig();
  if (f === 0) throw new Error('the pool of this test is too small');
  ctx.fate[FATE_RECEIVED]! += 1;
  pool.off[f]! += 14;
  pool.len[f] = packet.length;
  pool.buf.set(packet, pool.off[f]!);
  pool.l3[f] = pool.off[f]!;
  pool.l4[f] = pool.off[f]! + (packet[0]! & 15) * 4;
  pool.port[f] = 1;
  pool.flags[f] = flags;
  return f;
}

/** The same with `off` and `len` at layer 4, as protocol handlers get it. */
export function receiveL4(ctx: Context, packet: Uint8Array, flags = 0): FrameId {
  const f = receive(ctx, packet, flags);
  const { pool } = ctx;
  pool.len[f]! -= pool.l4[f]! - pool.off[f]!;
  pool.off[f] = pool.l4[f]!;
  return f;
}

/** A copy of the bytes a frame stands for, payload slice included. */
export function bytesOf(ctx: Context, f: FrameId): Uint8Array {
  const { pool } = ctx;
  const linear = pool.buf.slice(pool.off[f]!, pool.off[f]! + pool.len[f]!);
  if (pool.frag[f] === 0) return linear;
  const bytes = new Uint8Array(linear.length + pool.fragLen[f]!);
  bytes.set(linear);
  bytes.set(pool.buf.slice(pool.fragOff[f]!, pool.fragOff[f]! + pool.fragLen[f]!), linear.length);
  return bytes;
}

/** Distinct bytes, so that misplaced ones show. */
export const pattern = (n: number, seed = 0): Uint8Array =>
  Uint8Array.from({ length: n }, (_, i) => (i * 31 + (i >> 8) * 7 + seed) & 0xff);

export const dropsOf = (ctx: Context, reason: number): number => ctx.drops[reason]!;

/** received + created = sent + delivered + dropped + held, and held is what the pool has out. */
export function assertConserved(ctx: Context, held: number): void {
  const { fate, pool } = ctx;
  assert.is(pool.inUse, held, `${held} frames held`);
  const ended = fate[FATE_SENT]! + fate[FATE_DELIVERED]! + fate[FATE_DROPPED]!;
  assert.is(fate[FATE_RECEIVED]! + fate[FATE_CREATED]!, ended + held, 'conservation of frames');
}
