/**
 * memif as client: packet rings in our memory, which a server (DPDK's testpmd or another program with net_memif, VPP) maps. Its
 * packets arrive in slots of the pool that were lent to it, and ours leave from where they lie: no system call, and no copy.
 *
 * ```
 *  pool --lend--> M2S ring --server fills--> frame          frame --> S2M ring --server takes--> sent, slot free
 * ```
 *
 * Each worker has a device with the queues that are its own (memif-queue.ts); that of worker 0 connects (memif-dial.ts). While we
 * work the server does not interrupt; before we sleep it is asked to, and the rings are looked at once more.
 * A server that goes away is looked for ten times a second; slots lent to it stay lent meanwhile, as it may still write.
 * memif has no offloads: whole checksums, frames of the MTU. A packet in several descriptors is too long for us and dropped.
 *
 * Ownership: as device.ts says; frames are `sent` when the server has taken them.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN, PORT_CLOSED } from '../../stack/drop.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { newStats } from '../../stack/netif/device.ts';
import { isConnected, MemifConnection } from './memif-connection.ts';
import { FIRST_POOL, MemifDial } from './memif-dial.ts';
import { closeMemif, isQueueOf, type MemifHandle, ringAt, ringMemory } from './memif-open.ts';
import { MemifQueue } from './memif-queue.ts';
import { MemifRing } from './memif-ring.ts';
import { SendQueues } from './send-queues.ts';
import { NativeBytes, syscalls } from './syscall.ts';

const LOOK_MS = 100;
/** Slots lent of the pool at most: one in so many. */
const SHARE = 4;

export class MemifClient implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd: number;
  /** Interrupts of the other rings to us, and the control channel last. */
  readonly moreFds: Int32Array;
  readonly revives = true;
  up = false;

  private readonly ctx: Context;
  private readonly handle: MemifHandle;
  private readonly connection: MemifConnection;
  /** Null but for worker 0. */
  private readonly dial: MemifDial | null;
  private readonly queues: readonly MemifQueue[];
  private readonly sending: SendQueues;
  private readonly toLend: number;
  /** The connection we have followed. */
  private followed = 0;
  private armed = false;
  private lookedMs: number;
  private closed = false;

  /** Drives what `openMemif` opened over this context's pool; everything in it is ours from now on. */
  constructor(ctx: Context, handle: MemifHandle) {
    const { path, queues, log2, ringAddress, interrupts, mtu, worker, workers } = handle;
    const sys = syscalls();
    const memory = sys.view(ringAddress, ringMemory(queues, log2));
    const one = new NativeBytes(sys, 8);
    const ring = (n: number): MemifRing => new MemifRing(sys, memory, ringAt(n, log2), log2, interrupts[n]!, one);
    const rings = Array.from({ length: queues * 2 }, (_, n) => ring(n));
    const mine = Array.from({ length: queues }, (_, q) => q).filter((q) => isQueueOf(q, handle));
    this.name = `memif:${path}`;
    this.caps = { mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: mine.length };
    this.ctx = ctx;
    this.handle = handle;
    this.toLend = Math.min((1 << log2) - 1, Math.floor(ctx.pool.config.slots / SHARE / mine.length));
    const { stats } = this;
    this.queues = mine.map((q) => new MemifQueue(ctx, stats, rings[queues + q]!, rings[q]!, FIRST_POOL + worker, mtu));
    this.sending = new SendQueues(ctx, this.queues);
    this.fd = this.queues[0]!.fromServer.interrupt;
    this.moreFds = Int32Array.from([...this.queues.slice(1).map((q) => q.fromServer.interrupt), -1]);
    this.connection = new MemifConnection(handle.connection, worker, workers);
    this.dial = worker === 0 ? new MemifDial(sys, handle, this.connection, rings) : null;
    this.lookedMs = (ctx.nowMs - LOOK_MS) | 0;
    // There may be a connection already: we come late, or again.
    if (isConnected(this.connection.number)) for (const queue of this.queues) queue.adopt();
    this.follow();
  }

  get notice(): string {
    return this.dial?.notice ?? '';
  }

  // Packets

  rx(out: Int32Array, max: number): number {
    if (this.dial !== null && (!this.up || ((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS)) this.look();
    if (this.connection.number !== this.followed) this.follow();
    if (!this.up) return 0;
    let given = 0;
    for (let q = 0; q < this.queues.length; q++) {
      const queue = this.queues[q]!;
      queue.reap();
      given = queue.receive(out, given, max);
    }
    if (given > 0 && this.armed) this.disarm();
    return given;
  }

  get held(): number {
    return this.queues.reduce((n, { held }) => n + held, 0);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    return this.up ? this.sending.send(frames, from, to) : 0;
  }

  prepareSleep(): boolean {
    if (!this.up) return true;
    const { armed, queues } = this;
    // A server looks whether it is to interrupt before others see what it put into the ring (DPDK has no fence there): the
    // ring is looked at again after a turn of the loop, when that has passed.
    this.armed = true;
    let quiet = armed;
    for (let q = 0; q < queues.length; q++) {
      const queue = queues[q]!;
      if (armed) queue.fromServer.drain();
      else queue.fromServer.wantInterrupts(true);
      if (queue.hasInput()) quiet = false;
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
    return this.up && this.queues.some(({ out }) => out > 0) ? 1 : -1;
  }

  // The connection

  private look(): void {
    if (this.closed) return;
    const isDue = ((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS;
    if (isDue) this.lookedMs = this.ctx.nowMs;
    this.dial!.look(isDue);
    this.moreFds[this.moreFds.length - 1] = this.dial!.fd;
  }

  /** Takes up a connection that there is now, or parts with one that has ended. */
  private follow(): void {
    if (this.closed) return;
    const { connection, queues } = this;
    const { number } = connection;
    this.up = isConnected(number);
    this.armed = false;
    for (const queue of queues) {
      if (this.up) queue.fill(this.toLend);
      else {
        queue.abandon(LINK_DOWN);
        queue.restart();
      }
    }
    this.followed = number;
    connection.follow(number);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.up = false;
    for (const queue of this.queues) {
      queue.reap();
      queue.abandon(PORT_CLOSED);
    }
    this.dial?.close();
    for (const queue of this.queues) queue.takeBack();
    this.connection.leave();
    if (this.dial !== null) closeMemif(this.handle, this.connection.isAlone());
  }
}
