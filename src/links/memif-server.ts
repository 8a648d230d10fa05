/**
 * memif as server: a client (DPDK's net_memif, VPP, another tsvs) brings the memory of rings and buffers; packets are copied
 * between it and the pool. One client at a time; when it goes, the next may come.
 *
 * Each worker has a device with the queues that are its own (memif-served.ts); that of worker 0 meets clients (memif-listen.ts).
 *
 * Ownership: as device.ts says; the bytes are copied, so frames are `sent` at once.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { newStats } from '../../stack/netif/device.ts';
import { MemifBrought } from './memif-brought.ts';
import { isConnected, MemifConnection } from './memif-connection.ts';
import { MemifListen, ringOf } from './memif-listen.ts';
import { closeMemif, isQueueOf, type MemifHandle } from './memif-open.ts';
import type { MemifRing } from './memif-ring.ts';
import { MemifServed } from './memif-served.ts';
import { Places } from './places.ts';
import { SendQueues } from './send-queues.ts';
import { type Syscalls, syscalls } from './syscall.ts';

const LOOK_MS = 100;

export class MemifServer implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  /** Where clients come; -1 but for worker 0. */
  readonly fd: number;
  /** The client's control channel, then the interrupts of the rings that it fills. */
  readonly moreFds: Int32Array;
  readonly revives = true;
  up = false;

  private readonly ctx: Context;
  private readonly sys: Syscalls;
  private readonly handle: MemifHandle;
  private readonly connection: MemifConnection;
  private readonly brought: MemifBrought;
  /** Null but for worker 0. */
  private readonly listen: MemifListen | null;
  private queues: readonly MemifServed[] = [];
  private sending: SendQueues;
  /** The connection we have followed. */
  private followed = 0;
  private armed = false;
  private lookedMs: number;
  private closed = false;

  constructor(ctx: Context, handle: MemifHandle) {
    const { path, queues, mtu, listener, worker, workers } = handle;
    const mine = Math.ceil((queues - worker) / workers);
    this.name = `memif:${path}`;
    this.caps = { mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: mine };
    this.ctx = ctx;
    this.sys = syscalls();
    this.handle = handle;
    this.connection = new MemifConnection(handle.connection, worker, workers);
    this.brought = new MemifBrought(handle.brought, queues);
    this.listen = worker === 0 ? new MemifListen(this.sys, handle, this.connection, this.brought) : null;
    this.sending = new SendQueues(ctx, []);
    this.fd = worker === 0 ? listener : -1;
    this.moreFds = new Int32Array(mine + 1).fill(-1);
    this.lookedMs = (ctx.nowMs - LOOK_MS) | 0;
    this.follow();
  }

  get notice(): string {
    return this.listen?.notice ?? '';
  }

  // Packets

  rx(out: Int32Array, max: number): number {
    if (this.listen !== null && (!this.up || ((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS)) this.look();
    if (this.connection.number !== this.followed) this.follow();
    if (!this.up) return 0;
    let given = 0;
    for (let q = 0; q < this.queues.length; q++) given = this.queues[q]!.receive(out, given, max);
    if (given > 0 && this.armed) this.disarm();
    return given;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    return this.up ? this.sending.send(frames, from, to) : 0;
  }

  prepareSleep(): boolean {
    if (!this.up) return true;
    const { armed, queues } = this;
    // As the client does.
    this.armed = true;
    let quiet = armed;
    for (let q = 0; q < queues.length; q++) {
      const queue = queues[q]!;
      if (armed) queue.fromClient?.drain();
      else queue.fromClient?.wantInterrupts(true);
      if (queue.hasInput()) quiet = false;
    }
    return quiet;
  }

  private disarm(): void {
    this.armed = false;
    const { queues } = this;
    for (let q = 0; q < queues.length; q++) queues[q]!.fromClient?.wantInterrupts(false);
  }

  // The connection

  private look(): void {
    if (this.closed) return;
    this.lookedMs = this.ctx.nowMs;
    this.listen!.look(this.ctx.nowMs);
    this.moreFds[0] = this.listen!.fd;
  }

  /** Takes up a client that there is now, or parts with one that has gone. */
  private follow(): void {
    if (this.closed) return;
    const { connection } = this;
    const { number } = connection;
    this.up = isConnected(number);
    this.armed = false;
    this.moreFds.fill(-1, 1);
    this.queues = this.up ? this.served() : [];
    this.sending = new SendQueues(
      this.ctx,
      this.queues.filter(({ toClient }) => toClient !== null),
    );
    this.queues.forEach(({ fromClient }, i) => {
      fromClient?.wantInterrupts(false);
      this.moreFds[i + 1] = fromClient?.interrupt ?? -1;
    });
    this.followed = number;
    connection.follow(number);
  }

  private served(): MemifServed[] {
    const { ctx, sys, stats, brought, handle } = this;
    const regions = brought.regions().map((region) => ({
      ...region,
      u8: new Uint8Array(sys.view(region.address, region.size)),
      places: new Places(region.address),
    }));
    const [from, to] = [true, false].map((fromClient) =>
      brought
        .rings(fromClient)
        .filter((_, q) => isQueueOf(q, handle))
        .map((ring) => ringOf(sys, ring, regions)),
    ) as [MemifRing[], MemifRing[]];
    const pairs = Math.max(from.length, to.length);
    return Array.from(
      { length: pairs },
      (_, i) => new MemifServed(ctx, sys, stats, regions, from[i] ?? null, to[i] ?? null, handle.mtu),
    );
  }

  close(): void {
    if (this.closed) return;
    this.up = false;
    this.listen?.close();
    this.closed = true;
    this.queues = [];
    this.connection.leave();
    if (this.listen === null) return;
    this.listen.tidy();
    closeMemif(this.handle, true);
  }
}
