/** What a link does when the lane to another worker is full: it waits, without loss and in order, but not for ever. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context } from '../../../../stack/context.ts';
import { HANDOVER_FULL } from '../../../../stack/drop.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { BURST, type Device, newStats } from '../../../../stack/netif/device.ts';
import { Handover } from '../../../../stack/steer/handover.ts';
import { LaneIn, LaneOut, laneMemory } from '../../../../stack/steer/lane.ts';
import { Steering } from '../../../../stack/steer/steering.ts';
import { ethernet, ipv4 } from '../../../lib/frames.ts';
import { seeded } from '../../../lib/random.ts';

const SLOTS = { slots: 8192, slotBytes: 2048, bigSlots: 128, bigSlotBytes: 69632 };

/** Always has frames of `bytes` bytes, numbered in their last four. */
class Source implements Device {
  readonly name = 'source';
  readonly caps;
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  given = 0;
  readonly sent: number[] = [];
  private readonly ctx: Context;
  private readonly frame: Uint8Array;
  private readonly bytes: number;

  constructor(ctx: Context, frame: Uint8Array, bytes: number) {
    this.ctx = ctx;
    this.frame = frame;
    this.bytes = bytes;
    this.caps = { mtu: 1500, txChecksum: true, rxChecksum: true, tso: bytes > 1514, scatter: true, queues: 1 };
  }

  rx(out: Int32Array, max: number): number {
    for (let i = 0; i < max; i++) out[i] = numbered(this.ctx, this.frame, this.bytes, this.given++);
    return max;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      this.sent.push(numberOf(this.ctx.pool, frames[i]!));
      this.ctx.sent(frames[i]!);
    }
    return to - from;
  }

  close(): void {}
}

function numbered({ pool }: Context, frame: Uint8Array, bytes: number, number: number): number {
  const f = bytes > 1514 ? pool.allocBig() : pool.alloc();
  const off = pool.off[f]!;
  pool.buf.set(frame, off);
  pool.len[f] = bytes;
  new DataView(pool.buf.buffer).setUint32(off + bytes - 4, number);
  return f;
}

const numberOf = (pool: FramePool, f: number): number =>
  new DataView(pool.buf.buffer).getUint32(pool.off[f]! + pool.len[f]! - 4);

/** A datagram whose flow is worker 1's of two. */
function ofWorkerOne(pool: FramePool): Uint8Array {
  for (let sport = 1; ; sport++) {
    const datagram = [sport >> 8, sport & 255, 0, 80, 0, 26, 0, 0, ...new Uint8Array(18)];
    const packet = ipv4({ src: '10.0.0.1', dst: '10.0.0.10', proto: 17 }, datagram);
    const frame = Uint8Array.from(ethernet('02:00:00:00:00:0a', '02:00:00:00:00:01', 0x0800, packet));
    const f = pool.alloc();
    pool.buf.set(frame, pool.off[f]);
    pool.len[f] = frame.length;
    const owner = new Steering(0, 2).owner(pool, f);
    pool.release(f);
    if (owner === 1) return frame;
  }
}

/** Two workers: the first drives a link whose frames are all the second's. */
function rig(bytes: number) {
  const contexts = [0, 1].map((w) => new Context(FramePool.create(SLOTS), seeded(w + 1)));
  const [near, far] = contexts as [Context, Context];
  const lanes = [laneMemory(), laneMemory()] as const;
  const handovers = contexts.map((ctx, w) => {
    const other = 1 - w;
    const out = new LaneOut(lanes[w]!, FramePool.attach(contexts[other]!.pool.share, false));
    const into = new LaneIn(lanes[other]!, ctx.pool, 1);
    const both = <T>(one: T): (T | null)[] => (w === 0 ? [null, one] : [one, null]);
    return new Handover(ctx, new Steering(w, 2), both(out), both(into), () => {});
  });
  const source = new Source(near, ofWorkerOne(near.pool), bytes);
  const here = handovers[0]!.around(source);
  const there = handovers[1]!.remote('source', 0, { up: true, mtu: 1500 });
  const frames = new Int32Array(BURST);
  const read = (): void => {
    assert.is(here.rx(frames, BURST), 0, 'nothing is for the first');
  };
  const clock = (ms: number): void => {
    for (const ctx of contexts) ctx.tick(ms * 1000);
  };
  clock(1000);
  return { near, far, source, here, there, read, clock, dropped: () => near.drops[HANDOVER_FULL]! };
}

for (const [what, bytes] of [
  ['small', 60],
  ['large', 30_000],
] as const) {
  test(`${what} frames: a link is read as far as the lane has room, and on when it has some again, in order`, () => {
    const { far, source, there, read, dropped } = rig(bytes);
    const frames = new Int32Array(BURST);
    let next = 0;
    for (let round = 0; round < 40; round++) {
      for (let i = 0; i < 50; i++) read();
      const waiting = source.given - next;
      assert.ok(waiting > 0 && waiting < 2000, `${waiting} on their way`);
      for (let n = 1; n > 0; ) {
        n = there.rx(frames, BURST);
        for (let i = 0; i < n; i++) {
          assert.is(numberOf(far.pool, frames[i]!), next++);
          far.pool.release(frames[i]!);
        }
      }
    }
    assert.is(next, source.given);
    assert.ok(next > 1000, `${next} in all`);
    assert.is(dropped(), 0);
  });
}

test('a worker that takes nothing is waited for 100 ms, then what is its is dropped and counted', () => {
  const { source, read, clock, dropped } = rig(60);
  for (let i = 0; i < 100; i++) read();
  const { given } = source;
  clock(1099);
  read();
  assert.is(source.given, given);
  clock(1100);
  read();
  assert.is(source.given, given + BURST);
  assert.is(dropped(), BURST);
});

test('a worker that takes too little holds up nobody else for longer, and is waited for again when it has caught up', () => {
  const { far, source, there, read, clock, dropped } = rig(60);
  const frames = new Int32Array(BURST);
  const take = (most: number): number => {
    const n = there.rx(frames, most);
    for (let i = 0; i < n; i++) far.pool.release(frames[i]!);
    return n;
  };
  let now = 1000;
  for (; now < 1200; now += 5) {
    clock(now);
    for (let i = 0; i < 50; i++) read();
    take(8);
  }
  const { given } = source;
  for (; now < 1300; now += 5) {
    clock(now);
    for (let i = 0; i < 50; i++) read();
    take(8);
  }
  assert.is(source.given - given, 20 * 50 * BURST, 'the link is read as fast as it goes');
  while (take(BURST) > 0);
  const before = dropped();
  clock(now);
  for (let i = 0; i < 50; i++) read();
  assert.is(dropped(), before);
});

test('a lane that is half full uses up no patience, as long as nothing has to wait', () => {
  const { source, here, read, clock, dropped } = rig(60);
  const frames = new Int32Array(BURST);
  for (let i = 0; i < 6; i++) here.rx(frames, 50);
  for (let now = 1010; now <= 1200; now += 10) {
    clock(now);
    here.rx(frames, 1);
  }
  for (let i = 0; i < 50; i++) read();
  assert.is(source.given, 512, 'as many as the lane holds');
  assert.is(dropped(), 0);
});

test('what a link says of itself is said by the device around it, too', () => {
  const { here, source } = rig(60);
  Object.assign(source, { held: 7, notice: 'odd', brings: () => false });
  assert.equal([here.held, here.notice, here.brings!(0)], [7, 'odd', false]);
});

test('a pool that was short of slots lends them again when it has some', () => {
  const { far, there, read, clock } = rig(60);
  const frames = new Int32Array(BURST);
  const taken: number[] = [];
  for (let f = far.pool.alloc(); f !== 0; f = far.pool.alloc()) taken.push(f);
  const pass = (): number => {
    read();
    const n = there.rx(frames, BURST);
    taken.push(...frames.subarray(0, n));
    return n;
  };
  while (pass() > 0);
  for (const f of taken.splice(0)) far.pool.release(f);
  clock(2000);
  pass();
  pass();
  assert.ok(pass() > 0);
});

test('what a worker sends by the link of another waits in its queue for room', () => {
  const { far, source, here, there, clock } = rig(60);
  const burst = new Int32Array(BURST);
  let made = 0;
  let taken = 0;
  for (let i = 0; i < 100; i++) {
    for (let k = 0; k < BURST; k++) burst[k] = numbered(far, new Uint8Array(60), 60, made++);
    const n = there.tx(burst, 0, BURST);
    taken += n;
    made -= BURST - n;
    for (let k = n; k < BURST; k++) far.pool.release(burst[k]!);
  }
  assert.ok(taken < 2000, `${taken} without anybody taking them`);
  assert.is(far.drops[HANDOVER_FULL], 0);
  here.rx(new Int32Array(1), 0);
  assert.equal(
    source.sent,
    Array.from({ length: taken }, (_, i) => i),
  );
  clock(3000);
  assert.ok(there.tx(Int32Array.of(numbered(far, new Uint8Array(60), 60, made)), 0, 1) === 1);
});

test.run();
