/**
 * memif as client: packet rings in our memory, which a server (DPDK's testpmd or another program with net_memif, VPP) maps. Its
 * packets arrive in slots of the pool that were lent to it, and ours leave from where they lie: no system call, and no copy.
 *
 * ```
 *  pool --lend--> M2S ring --server fills--> frame          frame --> S2M ring --server takes--> sent, slot free
 * ```
 *
 * While we work the server does not interrupt; before we sleep it is asked to, and the rings are looked at once more.
 * A server that goes away is looked for ten times a second; slots lent to it stay lent meanwhile, as it may still write.
 * memif has no offloads: whole checksums, frames of the MTU. A packet in several descriptors is too long for us and dropped.
 *
 * Ownership: as device.ts says; frames are `sent` when the server has taken them.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN, LINK_ERROR, OVERSIZE, POOL_EMPTY, PORT_CLOSED } from '../../stack/drop.ts';
import { type FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as m from './memif-message.ts';
import { closeMemif, type MemifHandle, ringAt, ringMemory } from './memif-open.ts';
import { D_FLAGS_REGION, D_LENGTH, D_OFFSET, MemifRing, NEXT } from './memif-ring.ts';
import { GONE, MemifSocket, NOTHING } from './memif-socket.ts';
import { NativeBytes, type Syscalls, syscalls } from './syscall.ts';
import { objectionTo } from './whole-frame.ts';

const LOOK_MS = 100;
/** Regions: the rings, and the frame pool. */
const RINGS = 0;
const POOL = 1;
/** Longest packet in one descriptor: what a buffer of DPDK holds. */
const LONGEST = 2048;
/** Slots lent of the pool at most: one in so many. */
const SHARE = 4;

/** A pair of rings, with the frame behind each descriptor. */
class Queue {
  readonly fromServer: MemifRing;
  readonly toServer: MemifRing;
  readonly lent: Int32Array;
  readonly leaving: Int32Array;
  /** From the server: the next to take, and the next to lend. To it: the next to put, and the next that comes back. */
  taken = 0;
  given = 0;
  put = 0;
  back = 0;

  constructor(fromServer: MemifRing, toServer: MemifRing) {
    this.fromServer = fromServer;
    this.toServer = toServer;
    this.lent = new Int32Array(fromServer.size);
    this.leaving = new Int32Array(toServer.size);
  }
}

export class MemifClient implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd: number;
  readonly moreFds: Int32Array;
  readonly revives = true;
  up = false;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly handle: MemifHandle;
  private readonly queues: readonly Queue[];
  private readonly capacity: number;
  private readonly maxFrame: number;
  private readonly toLend: number;
  private socket: MemifSocket | null = null;
  /** What is still to be said in the handshake: each after the answer to the one before. */
  private script: (readonly [Uint8Array, number])[] = [];
  private said = 0;
  private armed = false;
  private lookedMs: number;
  private closed = false;
  /** Consumes what touching gave, so that the loads are not optimised away. */
  private touched = 0;

  /** Drives what `openMemif` opened over this context's pool; everything in it is ours from now on. */
  constructor(ctx: Context, handle: MemifHandle) {
    const { path, queues, log2, ringAddress, interrupts, mtu } = handle;
    const { slots, slotBytes } = ctx.pool.config;
    this.name = `memif:${path}`;
    this.caps = { mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues };
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.handle = handle;
    this.capacity = slotBytes - HEADROOM;
    this.maxFrame = Math.min(mtu + FRAME_OVERHEAD, LONGEST);
    this.toLend = Math.min((1 << log2) - 1, Math.floor(slots / SHARE / queues));
    const memory = this.sys.view(ringAddress, ringMemory(queues, log2));
    const one = new NativeBytes(this.sys, 8);
    const ring = (n: number): MemifRing => new MemifRing(this.sys, memory, ringAt(n, log2), log2, interrupts[n]!, one);
    this.queues = Array.from({ length: queues }, (_, q) => new Queue(ring(queues + q), ring(q)));
    this.fd = this.queues[0]!.fromServer.interrupt;
    // The other rings to us, and the control channel, which is last.
    this.moreFds = Int32Array.from([...this.queues.slice(1).map((q) => q.fromServer.interrupt), -1]);
    this.lookedMs = (ctx.nowMs - LOOK_MS) | 0;
  }

  // Packets

  rx(out: Int32Array, max: number): number {
    if (!this.up || ((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS) this.control();
    if (!this.up) return 0;
    let given = 0;
    for (let q = 0; q < this.queues.length; q++) {
      const queue = this.queues[q]!;
      this.reap(queue);
      given = this.receive(queue, out, given, max);
    }
    if (given > 0 && this.armed) this.disarm();
    return given;
  }

  private receive(queue: Queue, out: Int32Array, first: number, max: number): number {
    const { ctx, pool, capacity, stats } = this;
    const { fromServer: ring, lent } = queue;
    const { i32 } = ring;
    let n = (ring.tail() - queue.taken) & 0xffff;
    if (n === 0) return first;
    if (n > max - first) n = max - first;
    let given = first;
    let bytes = 0;
    for (let i = 0; i < n; i++) {
      const index = (queue.taken + i) & 0xffff;
      const f = lent[index & ring.mask]!;
      const d = ring.descriptor(index);
      const length = i32[d + D_LENGTH]!;
      const chained = (i32[d + D_FLAGS_REGION]! & NEXT) !== 0;
      const next = chained || length > capacity || length < 0 ? 0 : pool.lend();
      if (next === 0) {
        ctx.refuse(0, chained ? OVERSIZE : length > capacity || length < 0 ? LINK_ERROR : POOL_EMPTY);
        this.lend(queue, f);
        continue;
      }
      this.lend(queue, next);
      pool.receive(f);
      pool.len[f] = length;
      bytes += length;
      out[given++] = f;
    }
    queue.taken = (queue.taken + n) & 0xffff;
    ring.setHead(queue.given);
    this.touch(out, first, given);
    stats.rxFrames += given - first;
    stats.rxBytes += bytes;
    return given;
  }

  /** Loads the headers, which lie in another core's cache, in a loop of nothing else, so that the loads overlap. */
  private touch(frames: Int32Array, from: number, to: number): void {
    const { i32, off } = this.pool;
    let sum = 0;
    for (let i = from; i < to; i++) sum ^= i32[(off[frames[i]!]! + ETH_LEN) >> 2]!;
    this.touched ^= sum;
  }

  private lend(queue: Queue, f: FrameId): void {
    const { fromServer: ring } = queue;
    const d = ring.descriptor(queue.given);
    ring.i32[d + D_FLAGS_REGION] = POOL << 16;
    ring.i32[d + D_LENGTH] = this.capacity;
    ring.i32[d + D_OFFSET] = this.pool.base(f) + HEADROOM;
    queue.lent[queue.given & ring.mask] = f;
    queue.given = (queue.given + 1) & 0xffff;
  }

  get held(): number {
    return this.queues.reduce((n, { put, back }) => n + ((put - back) & 0xffff), 0);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    const queue = this.queues[0]!;
    this.reap(queue);
    const { pool, stats } = this;
    const { toServer: ring, leaving } = queue;
    const { i32 } = ring;
    let room = ring.size - ((queue.put - queue.back) & 0xffff);
    let i = from;
    let bytes = 0;
    let put = queue.put;
    for (; i < to && room > 0; i++) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        this.ctx.settle(f, DROP | reason);
        continue;
      }
      const length = pool.len[f]!;
      const d = ring.descriptor(put);
      i32[d + D_FLAGS_REGION] = POOL << 16;
      i32[d + D_LENGTH] = length;
      i32[d + D_OFFSET] = pool.off[f]!;
      leaving[put & ring.mask] = f;
      put = (put + 1) & 0xffff;
      bytes += length;
      room--;
    }
    const n = (put - queue.put) & 0xffff;
    if (n > 0) {
      queue.put = put;
      ring.setHead(put);
      ring.wake();
      stats.txFrames += n;
      stats.txBytes += bytes;
    }
    return i - from;
  }

  private objection(f: FrameId): number {
    const reason = objectionTo(this.pool, f, this.maxFrame);
    if (reason === LINK_ERROR) this.stats.errors['no offload'] = (this.stats.errors['no offload'] ?? 0) + 1;
    return reason;
  }

  /** Ends the way of frames that the server has taken. */
  private reap(queue: Queue): void {
    const { toServer: ring, leaving } = queue;
    const n = (ring.tail() - queue.back) & 0xffff;
    // A server that says more than we gave it is not believed.
    if (n === 0 || n > ((queue.put - queue.back) & 0xffff)) return;
    const at = queue.back & ring.mask;
    const whole = Math.min(n, ring.size - at);
    this.ctx.sentAll(leaving, at, at + whole);
    if (n > whole) this.ctx.sentAll(leaving, 0, n - whole);
    queue.back = (queue.back + n) & 0xffff;
  }

  prepareSleep(): boolean {
    if (!this.up) return true;
    const { armed, queues } = this;
    // A server looks whether it is to interrupt before others see what it put into the ring (DPDK has no fence there): the
    // ring is looked at again after a turn of the loop, when that has passed.
    this.armed = true;
    let quiet = armed;
    for (let q = 0; q < queues.length; q++) {
      const { fromServer, taken } = queues[q]!;
      if (armed) fromServer.drain();
      else fromServer.wantInterrupts(true);
      if (fromServer.tail() !== taken) quiet = false;
    }
    return quiet;
  }

  private disarm(): void {
    this.armed = false;
    const { queues } = this;
    for (let q = 0; q < queues.length; q++) queues[q]!.fromServer.wantInterrupts(false);
  }

  /** What is on its way out is looked after although nothing may come in. */
  get nextDueMs(): number {
    return this.up && this.queues.some(({ put, back }) => put !== back) ? 1 : -1;
  }

  // The connection

  /** Looks at the control channel: connects, goes on with the handshake, or sees that the server is gone. */
  private control(): void {
    if (this.closed) return;
    if (this.socket === null) {
      if (((this.ctx.nowMs - this.lookedMs) | 0) < LOOK_MS) return;
      this.lookedMs = this.ctx.nowMs;
      this.socket = MemifSocket.connect(this.sys, this.handle.path);
      if (this.socket === null) return;
      this.said = 0;
      this.script = [];
      this.moreFds[this.moreFds.length - 1] = this.socket.fd;
    }
    this.lookedMs = this.ctx.nowMs;
    for (;;) {
      const got = this.socket.receive();
      if (got === NOTHING) return;
      if (got === GONE) {
        this.disconnected('');
        return;
      }
      if (got.fd >= 0) this.sys.close(got.fd);
      const problem = this.answer(got.bytes);
      if (problem !== null) {
        this.disconnected(problem);
        return;
      }
    }
  }

  /** Null, or why this is the end. */
  private answer(bytes: Uint8Array): string | null {
    switch (m.typeOf(bytes)) {
      case m.HELLO:
        return this.script.length > 0 ? 'the server greets twice' : this.begin(m.readHello(bytes));
      case m.ACK:
        return this.next();
      case m.CONNECTED:
        if (this.up || this.said < this.script.length) return 'the server is connected too early';
        this.connected();
        return null;
      case m.DISCONNECT:
        return `the server ends the connection: ${m.readDisconnect(bytes) || 'it does not say why'}`;
      default:
        return null;
    }
  }

  private begin(hello: m.Hello): string | null {
    const { id, secret, queues, log2, ringFd, poolFd, interrupts } = this.handle;
    if (hello.minVersion > m.VERSION || hello.maxVersion < m.VERSION) return 'the server speaks another version';
    if (queues - 1 > Math.min(hello.maxToClient, hello.maxToServer)) {
      return `the server takes ${Math.min(hello.maxToClient, hello.maxToServer) + 1} queues, not ${queues}`;
    }
    if (log2 > hello.maxLog2) return `the server takes rings of at most ${1 << hello.maxLog2} entries`;
    if (hello.maxRegion < POOL) return 'the server takes one region only';
    for (const queue of this.queues) this.restart(queue);
    const place = (toServer: boolean, index: number, n: number): readonly [Uint8Array, number] => [
      m.addRing({ toServer, index, region: RINGS, offset: ringAt(n, log2), log2 }),
      interrupts[n]!,
    ];
    this.script = [
      [m.init('tsvs', id, secret), -1],
      [m.addRegion(RINGS, ringMemory(queues, log2)), ringFd],
      [m.addRegion(POOL, this.pool.share.memory.byteLength), poolFd],
      ...this.queues.map((_, q) => place(true, q, q)),
      ...this.queues.map((_, q) => place(false, q, queues + q)),
      [m.connect('tsvs'), -1],
    ];
    return this.next();
  }

  private next(): string | null {
    const step = this.script[this.said++];
    if (step === undefined) return 'the server answers what was not said';
    return this.socket!.send(step[0], step[1]) ? null : '';
  }

  /** Empties both rings; what is on its way out is lost, what was lent stays lent until the new connection lends it again. */
  private restart(queue: Queue): void {
    this.abandon(queue, LINK_DOWN);
    queue.fromServer.reset();
    queue.toServer.reset();
    queue.put = 0;
    queue.back = 0;
  }

  private connected(): void {
    for (const queue of this.queues) {
      const { fromServer, lent, taken, given } = queue;
      const frames: FrameId[] = [];
      for (let i = taken; i !== given; i = (i + 1) & 0xffff) frames.push(lent[i & fromServer.mask]!);
      queue.taken = 0;
      queue.given = 0;
      while (frames.length < this.toLend) {
        const f = this.pool.lend();
        if (f === 0) break;
        frames.push(f);
      }
      for (const f of frames) this.lend(queue, f);
      fromServer.wantInterrupts(false);
      fromServer.setHead(queue.given);
    }
    this.notice = '';
    this.armed = false;
    this.up = true;
  }

  private disconnected(why: string): void {
    this.socket?.close();
    this.socket = null;
    this.moreFds[this.moreFds.length - 1] = -1;
    this.up = false;
    if (why !== '') this.notice = why;
    this.lookedMs = this.ctx.nowMs;
    for (const queue of this.queues) this.abandon(queue, LINK_DOWN);
  }

  private abandon(queue: Queue, reason: number): void {
    const { leaving, toServer } = queue;
    for (; queue.back !== queue.put; queue.back = (queue.back + 1) & 0xffff) {
      this.ctx.settle(leaving[queue.back & toServer.mask]!, DROP | reason);
    }
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.up = false;
    for (const queue of this.queues) {
      this.reap(queue);
      this.abandon(queue, PORT_CLOSED);
    }
    this.socket?.send(m.disconnect('closed'));
    this.socket?.close();
    this.socket = null;
    for (const { fromServer, lent, taken, given } of this.queues) {
      for (let i = taken; i !== given; i = (i + 1) & 0xffff) this.pool.takeBack(lent[i & fromServer.mask]!);
    }
    closeMemif(this.handle);
  }
}
