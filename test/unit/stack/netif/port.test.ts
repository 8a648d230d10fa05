/** Netif: what happens to a frame between the stack and a device that can do less, or is away. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context, FATE_DROPPED, FATE_SENT } from '../../../../stack/context.ts';
import { LINK_DOWN, OVERSIZE, PORT_CLOSED, TX_FULL } from '../../../../stack/drop.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { type Capabilities, type Device, newStats } from '../../../../stack/netif/device.ts';
import { Netif } from '../../../../stack/netif/port.ts';
import { DROP, STOLEN } from '../../../../stack/verdict.ts';
import { seeded } from '../../../lib/random.ts';
import { outstanding } from '../../../lib/sim.ts';

/** A device that takes as many frames as it is told to. */
class Sink implements Device {
  readonly name = 'sink';
  readonly stats = newStats();
  readonly fd = -1;
  up = true;
  room = Number.POSITIVE_INFINITY;
  readonly taken: number[][] = [];
  readonly caps: Capabilities;
  private readonly ctx: Context;

  constructor(ctx: Context, caps: Partial<Capabilities> = {}) {
    this.ctx = ctx;
    this.caps = { mtu: 9000, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1, ...caps };
  }

  rx(): number {
    return 0;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const n = Math.min(to - from, this.room);
    this.room -= n;
    const { pool } = this.ctx;
    for (let i = from; i < from + n; i++) {
      const f = frames[i]!;
      this.taken.push(Array.from(pool.buf.slice(pool.off[f]!, pool.off[f]! + pool.len[f]!)));
      this.ctx.sent(f);
    }
    return n;
  }

  close(): void {
    this.up = false;
  }
}

function rig(caps: Partial<Capabilities> = {}): { ctx: Context; netif: Netif; sink: Sink; port: number } {
  const ctx = new Context(
    FramePool.create({ slots: 4096, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 }),
    seeded(1),
  );
  const netif = new Netif(ctx);
  const sink = new Sink(ctx, caps);
  return { ctx, netif, sink, port: netif.addPort(sink, 0x0200, 1).id };
}

function frame(ctx: Context, bytes: readonly number[]): number {
  const f = ctx.create();
  ctx.pool.buf.set(bytes, ctx.pool.off[f]!);
  ctx.pool.len[f] = bytes.length;
  return f;
}

/** `head` followed by a slice of another frame. */
function scattered(ctx: Context, head: readonly number[], payload: number, length: number): number {
  const f = frame(ctx, head);
  ctx.pool.frag[f] = payload;
  ctx.pool.fragOff[f] = ctx.pool.off[payload]!;
  ctx.pool.fragLen[f] = length;
  return f;
}

test('frames leave in the order in which they were queued, at the flush', () => {
  const { ctx, netif, sink, port } = rig();
  for (let i = 0; i < 5; i++) assert.is(netif.transmit(frame(ctx, [i]), port), STOLEN);
  assert.is(netif.held(), 5);
  assert.equal(sink.taken, []);
  netif.flush();
  assert.equal(sink.taken, [[0], [1], [2], [3], [4]]);
  assert.is(ctx.pool.inUse, 0);
  assert.is(ctx.fate[FATE_SENT], 5);
});

test('what a device does not take waits, and goes first the next time', () => {
  const { ctx, netif, sink, port } = rig();
  for (let i = 0; i < 4; i++) netif.transmit(frame(ctx, [i]), port);
  sink.room = 1;
  netif.flush();
  assert.is(netif.held(), 3);
  netif.transmit(frame(ctx, [4]), port);
  sink.room = 100;
  netif.flush();
  assert.equal(sink.taken, [[0], [1], [2], [3], [4]]);
});

test('a full queue refuses the frame, which stays the caller’s', () => {
  const { ctx, netif, sink, port } = rig();
  sink.room = 0;
  let queued = 0;
  for (;;) {
    const f = frame(ctx, [1]);
    const verdict = netif.transmit(f, port);
    if (verdict === STOLEN) {
      queued++;
      continue;
    }
    assert.is(verdict, DROP | TX_FULL);
    ctx.settle(f, verdict);
    break;
  }
  assert.is(netif.held(), queued);
  assert.is(ctx.drops[TX_FULL], 1);
  assert.is(outstanding(ctx), ctx.pool.inUse);
});

test('a frame larger than one slot is handed to a scatter device whole, and refused for one that is not', () => {
  for (const scatter of [true, false]) {
    const { ctx, netif, port } = rig({ scatter });
    const payload = ctx.createBig();
    ctx.pool.len[payload] = 8000;
    const f = scattered(ctx, [1, 2, 3], payload, 8000);
    const verdict = netif.transmit(f, port);
    assert.is(verdict, scatter ? STOLEN : DROP | OVERSIZE);
    ctx.settle(f, verdict);
    netif.flush();
    assert.is(ctx.pool.inUse, 0);
  }
});

test('a slice that fits is joined for a device that cannot scatter', () => {
  const { ctx, netif, sink, port } = rig();
  const payload = frame(ctx, [7, 8, 9]);
  netif.transmit(scattered(ctx, [1, 2], payload, 3), port);
  netif.flush();
  assert.equal(sink.taken, [[1, 2, 7, 8, 9]]);
  assert.is(ctx.pool.inUse, 0);
});

test('a port that is down, or unknown, takes nothing', () => {
  const { ctx, netif, sink, port } = rig();
  const f = frame(ctx, [1]);
  assert.is(netif.transmit(f, 77), DROP | LINK_DOWN);
  sink.up = false;
  assert.is(netif.transmit(f, port), DROP | LINK_DOWN);
  assert.not(netif.isUp(port));
  ctx.settle(f, DROP | LINK_DOWN);
});

test('frames queued for a device that goes away are dropped and counted', () => {
  const { ctx, netif, sink, port } = rig();
  for (let i = 0; i < 3; i++) netif.transmit(frame(ctx, [i]), port);
  sink.room = 0;
  sink.up = false;
  netif.flush();
  assert.is(ctx.drops[LINK_DOWN], 3);
  assert.is(ctx.pool.inUse, 0);
});

test('closing drops what the device would not take', () => {
  const { ctx, netif, sink, port } = rig();
  for (let i = 0; i < 3; i++) netif.transmit(frame(ctx, [i]), port);
  sink.room = 1;
  netif.close();
  assert.is(sink.taken.length, 1);
  assert.is(ctx.drops[PORT_CLOSED], 2);
  assert.is(ctx.fate[FATE_DROPPED], 2);
  assert.is(ctx.pool.inUse, 0);
  assert.not(sink.up);
});

test.run();
