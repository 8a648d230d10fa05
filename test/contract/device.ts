/**
 * The suite that every device passes (stack/netif/device.ts): two ends of a link, each with a context of its own, and the
 * law of conservation on both after each test. The suite plays netif: it counts as received what `rx` returns.
 */
import * as assert from 'uvu/assert';
import { Context, FATE_CREATED, FATE_DELIVERED, FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../stack/context.ts';
import { LINK_ERROR, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { F_CSUM_PARTIAL, FramePool, GSO_TCPV4, HEADROOM, type PoolConfig } from '../../stack/mem/frame-pool.ts';
import { type Device, FRAME_OVERHEAD } from '../../stack/netif/device.ts';
import type { FrameId, Random } from '../../stack/types.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import { finish, pseudo4, sum } from '../../stack/wire/checksum.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';

export interface Rig {
  a: Device;
  b: Device;
  readonly ctxA: Context;
  readonly ctxB: Context;
  /** Called when a frame was sent and has not arrived: waits a little, or does what carries it over. */
  readonly carry?: () => Promise<void> | void;
  /** Sets the MTU of the interfaces at both ends, where that can be done while devices drive them. */
  readonly setMtu?: (mtu: number) => void;
  /** Called when the test is over; the devices are closed already. */
  readonly cleanup?: () => void;
}

export interface Traits {
  /** `tx` takes fewer than it is given when the other end does not receive. */
  readonly bounded: boolean;
}

export const SMALL_POOL: PoolConfig = { slots: 256, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 };

/** xorshift32: seeded, for tests. */
export class SeededRandom implements Random {
  private state: number;

  constructor(seed: number) {
    this.state = seed | 1;
  }

  next(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return Math.imul(x, 0x9e3779b1) ^ (x >>> 15);
  }
}

export const newContext = (config: PoolConfig = SMALL_POOL): Context =>
  new Context(FramePool.create(config), new SeededRandom(1));

export const MAC_A = [2, 0, 0, 0, 0, 0xa];
export const MAC_B = [2, 0, 0, 0, 0, 0xb];
/** After which a device has looked at its interface again. */
const LOOK_US = 1_000_000;
/** IEEE 802 Local Experimental Ethertype 1: no protocol of the kernel minds it. */
const ETHERTYPE_TEST = 0x88b5;

/** Asserts received + created = sent + delivered + dropped + held. */
export function assertConserved(ctx: Context, where: string): void {
  const { fate, pool } = ctx;
  const into = fate[FATE_RECEIVED]! + fate[FATE_CREATED]!;
  const out = fate[FATE_SENT]! + fate[FATE_DELIVERED]! + fate[FATE_DROPPED]!;
  assert.is(into, out + pool.inUse, `${where}: conservation, held ${pool.inUse}`);
}

/** A frame of `len` bytes from A to B, filled with a pattern that depends on `seed`. */
export function testFrame(ctx: Context, len: number, seed: number): FrameId {
  const f = len <= 1900 ? ctx.create() : ctx.createBig();
  const { pool } = ctx;
  const off = pool.off[f]!;
  pool.len[f] = len;
  for (let i = 0; i < len; i++) pool.buf[off + i] = pattern(i, seed);
  pool.buf.set([...MAC_B, ...MAC_A, ETHERTYPE_TEST >> 8, ETHERTYPE_TEST & 255].slice(0, len), off);
  return f;
}

const pattern = (i: number, seed: number): number => (i * 7 + seed * 31) & 255;

/** The frame's bytes as on the wire. */
export function bytesOf(ctx: Context, f: FrameId): Uint8Array {
  const { pool } = ctx;
  const linear = pool.buf.slice(pool.off[f]!, pool.off[f]! + pool.len[f]!);
  const slice = pool.buf.slice(pool.fragOff[f]!, pool.fragOff[f]! + pool.fragLen[f]!);
  return Uint8Array.from([...linear, ...slice]);
}

/**
 * A TCP segment with `payload` bytes in a payload frame of its own, a partial checksum, and, with `gsoSize` > 0, to be cut
 * into segments of that size. From 10.7.0.1:1000 to 10.7.0.2:2000.
 */
export function tcpFrame(ctx: Context, payload: number, gsoSize: number): FrameId {
  const { pool } = ctx;
  const f = testFrame(ctx, 54, 0);
  const off = pool.off[f]!;
  const l4Len = tcp.TCP_LEN + payload;
  pool.buf.fill(0, off + 12, off + 54);
  pool.buf.set([8, 0, 0x45, 0, (l4Len + 20) >> 8, l4Len + 20, 0, 1, 0x40, 0, 64, 6], off + 12);
  pool.buf.set([10, 7, 0, 1, 10, 7, 0, 2], off + 26);
  ipv4.fillChecksum(pool.buf, pool.i32, off + 14);
  pool.buf.set([1000 >> 8, 1000 & 255, 2000 >> 8, 2000 & 255, 0, 0, 0, 1, 0, 0, 0, 1, 0x50, 0x18, 1, 0], off + 34);
  const partial = pseudoSum(ctx, f, l4Len);
  pool.buf[off + 50] = partial >> 8;
  pool.buf[off + 51] = partial;
  pool.flags[f]! |= F_CSUM_PARTIAL;
  pool.csumStart[f] = off + 34;
  pool.csumOff[f] = 16;
  if (gsoSize > 0) {
    pool.gsoType[f] = GSO_TCPV4;
    pool.gsoSize[f] = gsoSize;
  }
  if (payload > 0) {
    const data = payload <= 1900 ? ctx.create() : ctx.createBig();
    // An odd place: nothing may assume alignment of a slice.
    const at = pool.off[data]! + 1;
    for (let i = 0; i < payload; i++) pool.buf[at + i] = pattern(i, 5);
    pool.frag[f] = data;
    pool.fragOff[f] = at;
    pool.fragLen[f] = payload;
  }
  return f;
}

/** The folded pseudo-header sum of a TCP frame without IP options, as a partial checksum field holds it. */
function pseudoSum(ctx: Context, f: FrameId, l4Len: number): number {
  const { pool } = ctx;
  const ip = pool.off[f]! + 14;
  return ~finish(pseudo4(ipv4.src(pool.buf, ip), ipv4.dst(pool.buf, ip), ipv4.PROTO_TCP, l4Len)) & 0xffff;
}

/** True when the TCP checksum of a linear frame without IP options is right. */
export function tcpChecksumIsRight(ctx: Context, f: FrameId): boolean {
  const { pool } = ctx;
  const l4 = pool.off[f]! + 34;
  const l4Len = pool.len[f]! - 34;
  return finish(sum(pool.buf, pool.i32, l4, l4Len, pseudoSum(ctx, f, l4Len))) === 0;
}

function isOurs(ctx: Context, f: FrameId): boolean {
  const { pool } = ctx;
  if (pool.len[f]! < 12) return true;
  return MAC_A.every((byte, i) => pool.buf[pool.off[f]! + 6 + i] === byte);
}

/** One `rx` at B, counted as netif does; frames that the test did not send are put away. */
export function receiveOnce(rig: Rig, max: number): FrameId[] {
  const out = new Int32Array(max);
  const n = rig.b.rx(out, max);
  assert.ok(n >= 0 && n <= max, `rx returned ${n} of at most ${max}`);
  rig.ctxB.fate[FATE_RECEIVED]! += n;
  const ours: FrameId[] = [];
  for (const f of out.subarray(0, n)) {
    if (isOurs(rig.ctxB, f)) ours.push(f);
    else rig.ctxB.settle(f, DELIVERED);
  }
  return ours;
}

/** Receives until `count` frames have come, or no more come. */
export async function receive(rig: Rig, count: number): Promise<FrameId[]> {
  const got: FrameId[] = [];
  for (let patience = 20; got.length < count && patience > 0; ) {
    const some = receiveOnce(rig, 64);
    got.push(...some);
    if (some.length > 0) continue;
    if (rig.carry === undefined) break;
    await rig.carry();
    patience -= 1;
  }
  return got;
}

function send(rig: Rig, ...frames: FrameId[]): number {
  return rig.a.tx(Int32Array.from(frames), 0, frames.length);
}

function finishAll(ctx: Context, frames: FrameId[]): void {
  for (const f of frames) ctx.settle(f, DELIVERED);
}

/** Adds the suite for one kind of device; `add` is uvu's `test` or a stand-in that skips. */
export function deviceContract(
  kind: string,
  add: (name: string, body: () => Promise<void>) => void,
  traits: Traits,
  open: () => Promise<Rig> | Rig,
): void {
  const scene = (name: string, body: (rig: Rig) => Promise<void> | void): void => {
    add(`${kind}: ${name}`, async () => {
      const rig = await open();
      try {
        await body(rig);
        assertConserved(rig.ctxA, 'A');
        assertConserved(rig.ctxB, 'B');
      } finally {
        rig.a.close();
        rig.b.close();
        rig.cleanup?.();
      }
      assertConserved(rig.ctxA, 'A after close');
      assertConserved(rig.ctxB, 'B after close');
      assert.is(rig.ctxA.pool.inUse, 0, 'A holds nothing after close');
      assert.is(rig.ctxB.pool.inUse, 0, 'B holds nothing after close');
    });
  };

  scene('frames arrive in order with the bytes they were sent with', async (rig) => {
    const lengths = [60, 61, 199, 1514, 62, 1000];
    const frames = lengths.map((len, i) => testFrame(rig.ctxA, len, i));
    const bytes = frames.map((f) => bytesOf(rig.ctxA, f));
    assert.is(send(rig, ...frames), frames.length);
    const got = await receive(rig, frames.length);
    assert.is(got.length, frames.length);
    got.forEach((f, i) => {
      assert.equal(bytesOf(rig.ctxB, f), bytes[i], `frame ${i}`);
    });
    // A link that sends in place learns afterwards that the other side has taken them.
    rig.a.rx(new Int32Array(1), 0);
    assert.is(rig.ctxA.fate[FATE_SENT], frames.length);
    assert.is(rig.a.stats.txFrames, frames.length);
    finishAll(rig.ctxB, got);
  });

  scene('received frames leave the documented headroom', async (rig) => {
    send(rig, testFrame(rig.ctxA, 100, 1));
    const [f] = await receive(rig, 1);
    const { pool } = rig.ctxB;
    const headroom = pool.off[f!]! - pool.base(f!);
    assert.ok(headroom >= HEADROOM && ((headroom - HEADROOM) & 3) === 0, `${headroom} bytes`);
    finishAll(rig.ctxB, [f!]);
  });

  scene('an empty link gives nothing', (rig) => {
    assert.is(receiveOnce(rig, 64).length, 0);
    assert.is(rig.a.tx(new Int32Array(4), 0, 0), 0);
  });

  scene('rx gives at most what is asked for, the rest later', async (rig) => {
    for (let i = 0; i < 10; i++) assert.is(send(rig, testFrame(rig.ctxA, 80, i)), 1);
    await rig.carry?.();
    const first = receiveOnce(rig, 3);
    assert.ok(first.length <= 3);
    const rest = await receive(rig, 10 - first.length);
    assert.is(first.length + rest.length, 10);
    finishAll(rig.ctxB, [...first, ...rest]);
  });

  scene('tx sends the named range only', async (rig) => {
    const frames = Int32Array.from([1, 2, 3, 4].map((i) => testFrame(rig.ctxA, 60 + i, i)));
    assert.is(rig.a.tx(frames, 1, 3), 2);
    assert.is(rig.ctxA.pool.inUse, 2 + (rig.a.held ?? 0), 'who has not let a frame go says so');
    const got = await receive(rig, 2);
    assert.equal(
      got.map((f) => rig.ctxB.pool.len[f]),
      [62, 63],
    );
    finishAll(rig.ctxA, [frames[0]!, frames[3]!]);
    finishAll(rig.ctxB, got);
  });

  if (traits.bounded) {
    scene('a burst beyond the ring is taken in part, and the rest after the peer has received', async (rig) => {
      const total = 150;
      const frames = Int32Array.from({ length: total }, (_, i) => testFrame(rig.ctxA, 60 + i, i));
      let sent = rig.a.tx(frames, 0, total);
      assert.ok(sent > 0 && sent < total, `took ${sent} of ${total}`);
      for (let i = sent; i < total; i++) assert.is(rig.ctxA.pool.refs[frames[i]!], 1, 'refused frames stay ours');
      const lengths: number[] = [];
      for (let round = 0; round < total && lengths.length < total; round++) {
        const got = receiveOnce(rig, 64);
        for (const f of got) lengths.push(rig.ctxB.pool.len[f]!);
        finishAll(rig.ctxB, got);
        sent += rig.a.tx(frames, sent, total);
        // A worker receives from every port in every round; that is when middleware sends on what it holds.
        assert.is(rig.a.rx(new Int32Array(8), 8), 0);
        assertConserved(rig.ctxA, 'A meanwhile');
        assertConserved(rig.ctxB, 'B meanwhile');
      }
      assert.equal(
        lengths,
        Array.from({ length: total }, (_, i) => 60 + i),
      );
    });
  }

  scene('a frame beyond the MTU is dropped as oversize', async (rig) => {
    const f = testFrame(rig.ctxA, rig.a.caps.mtu + 19, 1);
    assert.is(send(rig, f, testFrame(rig.ctxA, 70, 2)), 2);
    const got = await receive(rig, 1);
    assert.equal(
      got.map((g) => rig.ctxB.pool.len[g]),
      [70],
    );
    assert.is(rig.ctxA.drops[OVERSIZE], 1);
    finishAll(rig.ctxB, got);
  });

  scene('a frame of the largest size passes', async (rig) => {
    const len = rig.a.caps.mtu + 14;
    send(rig, testFrame(rig.ctxA, len, 3));
    const got = await receive(rig, 1);
    assert.is(rig.ctxB.pool.len[got[0]!], len);
    finishAll(rig.ctxB, got);
  });

  scene('the MTU of its interface falls to the least that IPv4 needs, and grows again', async (rig) => {
    if (rig.setMtu === undefined) return;
    for (const mtu of [ipv4.IPV4_MIN_MTU, 1500]) {
      rig.setMtu(mtu);
      for (const [ctx, device] of [[rig.ctxA, rig.a] as const, [rig.ctxB, rig.b] as const]) {
        ctx.tick(ctx.now + LOOK_US);
        device.rx(new Int32Array(1), 0);
        assert.is(device.caps.mtu, mtu);
      }
      const before = rig.ctxA.drops[OVERSIZE]!;
      const largest = mtu + ETH_LEN;
      const over = mtu + FRAME_OVERHEAD + 1;
      assert.is(send(rig, testFrame(rig.ctxA, largest, 3), testFrame(rig.ctxA, over, 4)), 2);
      const got = await receive(rig, 1);
      assert.equal(
        got.map((f) => rig.ctxB.pool.len[f]),
        [largest],
      );
      assert.is(rig.ctxA.drops[OVERSIZE]! - before, 1);
      finishAll(rig.ctxB, got);
    }
  });

  scene('a runt is dropped, or arrives as the runt it is', async (rig) => {
    assert.is(send(rig, testFrame(rig.ctxA, 10, 1), testFrame(rig.ctxA, 70, 2)), 2);
    const got = await receive(rig, 2);
    assert.is(rig.ctxA.fate[FATE_DROPPED]! + got.length, 2);
    assert.is(rig.ctxB.pool.len[got.at(-1)!], 70);
    finishAll(rig.ctxB, got);
  });

  scene('a payload slice follows the linear part without a gap', async (rig) => {
    if (!rig.a.caps.scatter) return;
    const f = testFrame(rig.ctxA, 101, 1);
    const data = testFrame(rig.ctxA, 1000, 2);
    const { pool } = rig.ctxA;
    rig.ctxA.retain(data);
    pool.frag[f] = data;
    pool.fragOff[f] = pool.off[data]! + 333;
    pool.fragLen[f] = 555;
    const bytes = bytesOf(rig.ctxA, f);
    assert.is(send(rig, f), 1);
    const [g] = await receive(rig, 1);
    assert.equal(bytesOf(rig.ctxB, g!), bytes);
    assert.is(rig.ctxB.pool.frag[g!], 0, 'received frames are linear');
    assert.is(pool.refs[data], 1, 'the slice was given back once');
    finishAll(rig.ctxA, [data]);
    finishAll(rig.ctxB, [g!]);
  });

  scene('an unfinished checksum keeps its place, or is refused where the link cannot finish it', async (rig) => {
    const f = tcpFrame(rig.ctxA, 0, 0);
    assert.is(send(rig, f), 1);
    const got = await receive(rig, 1);
    if (!rig.a.caps.txChecksum) {
      if (rig.ctxA.drops[LINK_ERROR]! > 0) assert.is(got.length, 0);
    } else {
      const { pool } = rig.ctxB;
      const g = got[0]!;
      if (rig.b.caps.rxChecksum) {
        assert.ok(pool.flags[g]! & F_CSUM_PARTIAL, 'partial');
        assert.is(pool.csumStart[g]! - pool.off[g]!, 34);
        assert.is(pool.csumOff[g], 16);
      } else {
        assert.not(pool.flags[g]! & F_CSUM_PARTIAL, 'finished');
        assert.ok(tcpChecksumIsRight(rig.ctxB, g));
      }
    }
    finishAll(rig.ctxB, got);
  });

  scene('64 KB pass in one piece with their segment size, where the link says so', async (rig) => {
    if (!rig.a.caps.tso) return;
    const f = tcpFrame(rig.ctxA, 65000, 1448);
    const bytes = bytesOf(rig.ctxA, f);
    assert.is(send(rig, f), 1);
    const [g] = await receive(rig, 1);
    const { pool } = rig.ctxB;
    assert.is(pool.len[g!], 65054);
    assert.ok(Buffer.compare(bytesOf(rig.ctxB, g!), bytes) === 0, 'bytes');
    assert.is(pool.gsoType[g!], GSO_TCPV4);
    assert.is(pool.gsoSize[g!], 1448);
    assert.is(pool.csumStart[g!]! - pool.off[g!]!, 34);
    assert.is(pool.off[g!]! - pool.base(g!), 130);
    finishAll(rig.ctxB, [g!]);
  });

  scene('a small frame comes in a small slot, next to a large one', async (rig) => {
    if (!rig.a.caps.tso) return;
    send(rig, testFrame(rig.ctxA, 80, 1), tcpFrame(rig.ctxA, 3000, 1000), testFrame(rig.ctxA, 81, 2));
    const got = await receive(rig, 3);
    const { pool } = rig.ctxB;
    assert.equal(
      got.map((g) => pool.len[g]),
      [80, 3054, 81],
    );
    assert.equal(
      got.map((g) => pool.size(g)),
      [2048, 69632, 2048],
    );
    finishAll(rig.ctxB, got);
  });

  scene('frames that find no free slot are counted, and the link goes on afterwards', async (rig) => {
    const hoard: FrameId[] = [];
    while (rig.ctxB.pool.freeSmallCount > 0) hoard.push(rig.ctxB.create());
    for (let i = 0; i < 3; i++) assert.is(send(rig, testFrame(rig.ctxA, 70, i)), 1);
    assert.is((await receive(rig, 3)).length, 0);
    assert.is(rig.ctxB.drops[POOL_EMPTY], 3);
    assertConserved(rig.ctxB, 'B while empty');
    finishAll(rig.ctxB, hoard);
    send(rig, testFrame(rig.ctxA, 75, 9));
    const got = await receive(rig, 1);
    assert.is(rig.ctxB.pool.len[got[0]!], 75);
    finishAll(rig.ctxB, got);
  });

  scene('without a big slot large frames are counted and small ones pass', async (rig) => {
    if (!rig.a.caps.tso) return;
    const hoard: FrameId[] = [];
    while (rig.ctxB.pool.freeBigCount > 0) hoard.push(rig.ctxB.createBig());
    send(rig, tcpFrame(rig.ctxA, 30000, 1448), testFrame(rig.ctxA, 90, 1));
    const got = await receive(rig, 1);
    assert.is(rig.ctxB.pool.len[got[0]!], 90);
    assert.is(rig.ctxB.drops[POOL_EMPTY], 1);
    finishAll(rig.ctxB, [...hoard, ...got]);
  });

  scene('close gives back what is in flight and ends both directions; a second close does nothing', (rig) => {
    for (let i = 0; i < 5; i++) send(rig, testFrame(rig.ctxA, 100, i));
    rig.b.close();
    rig.b.close();
    assert.is(rig.b.up, false);
    assert.is(rig.b.rx(new Int32Array(8), 8), 0);
    const f = testFrame(rig.ctxB, 60, 1);
    assert.is(rig.b.tx(Int32Array.of(f), 0, 1), 0);
    finishAll(rig.ctxB, [f]);
  });

  add(`${kind}: opens again after close`, async () => {
    for (let round = 0; round < 2; round++) {
      const rig = await open();
      try {
        send(rig, testFrame(rig.ctxA, 100 + round, round));
        const got = await receive(rig, 1);
        assert.is(rig.ctxB.pool.len[got[0]!], 100 + round);
        finishAll(rig.ctxB, got);
      } finally {
        rig.a.close();
        rig.b.close();
        rig.cleanup?.();
      }
    }
  });
}
