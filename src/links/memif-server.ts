/**
 * memif as server: a client (DPDK's net_memif, VPP, another tsvs) brings the memory of rings and buffers; packets are copied
 * between it and the pool. One client at a time; when it goes, the next may come.
 *
 * Nothing the client writes is believed: regions must be sealed against shrinking and as large as said, rings must lie within them,
 * and each descriptor is checked before its bytes are touched.
 *
 * Ownership: as device.ts says; the bytes are copied, so frames are `sent` at once.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_ERROR, OVERSIZE, POOL_EMPTY } from '../../stack/drop.ts';
import { type FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { Capabilities, Device, DeviceStats } from '../../stack/netif/device.ts';
import { FRAME_OVERHEAD, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import * as m from './memif-message.ts';
import { closeMemif, type MemifHandle } from './memif-open.ts';
import { D_FLAGS_REGION, D_LENGTH, D_OFFSET, MemifRing, NEXT, ringBytes } from './memif-ring.ts';
import { GONE, MemifSocket, NOTHING } from './memif-socket.ts';
import { MAP_FAILED, NativeBytes, PROT_READ_WRITE, type Syscalls, syscalls } from './syscall.ts';
import { objectionTo } from './whole-frame.ts';

const LOOK_MS = 100;
const MAX_REGIONS = 16;
const MAX_REGION_BYTES = 2 ** 32;
const MAX_LOG2 = 14;
const MAP_SHARED = 1;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;
const SEEK_END = 2;
/** From this many bytes on a call of memcpy costs less than a loop. */
const MEMCPY_FROM = 256;

interface Region {
  readonly address: number;
  readonly size: number;
  readonly memory: ArrayBuffer;
  readonly u8: Uint8Array;
}

export class MemifServer implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats = newStats();
  readonly fd: number;
  /** The client's control channel, then the interrupts of the rings that it fills. */
  readonly moreFds: Int32Array;
  readonly revives = true;
  up = false;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly handle: MemifHandle;
  private readonly listener: MemifSocket;
  private readonly one: NativeBytes;
  private readonly poolAddress: number;
  private readonly room: number;
  private readonly maxFrame: number;
  private client: MemifSocket | null = null;
  private known = false;
  private regions: Region[] = [];
  private fromClient: MemifRing[] = [];
  private toClient: MemifRing[] = [];
  private readonly interrupts: number[] = [];
  private armed = false;
  private lookedMs: number;
  private closed = false;

  constructor(ctx: Context, handle: MemifHandle) {
    const { path, queues, mtu, listener } = handle;
    this.name = `memif:${path}`;
    this.caps = { mtu, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues };
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.handle = handle;
    this.listener = MemifSocket.of(this.sys, listener);
    this.one = new NativeBytes(this.sys, 8);
    this.poolAddress = this.sys.addressOf(ctx.pool.buf);
    this.room = ctx.pool.config.slotBytes - HEADROOM;
    this.maxFrame = mtu + FRAME_OVERHEAD;
    this.fd = listener;
    this.moreFds = new Int32Array(queues + 1).fill(-1);
    this.lookedMs = (ctx.nowMs - LOOK_MS) | 0;
  }

  // Packets

  rx(out: Int32Array, max: number): number {
    if (this.client === null || !this.up || ((this.ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS) this.control();
    if (!this.up) return 0;
    let given = 0;
    for (let q = 0; q < this.fromClient.length; q++) given = this.receive(this.fromClient[q]!, out, given, max);
    if (given > 0 && this.armed) this.disarm();
    return given;
  }

  private receive(ring: MemifRing, out: Int32Array, first: number, max: number): number {
    const { ctx, pool, stats } = this;
    const tail = ring.tail();
    let n = (ring.head() - tail) & 0xffff;
    if (n === 0) return first;
    if (n > ring.size) n = ring.size;
    if (n > max - first) n = max - first;
    let given = first;
    for (let i = 0; i < n; i++) {
      const d = ring.descriptor(tail + i);
      const length = ring.i32[d + D_LENGTH]! >>> 0;
      const region = this.regionOf(ring, d, length);
      const chained = (ring.i32[d + D_FLAGS_REGION]! & NEXT) !== 0;
      const f = region === null || chained || length > this.room ? 0 : pool.alloc();
      if (f === 0) {
        const late = region === null ? LINK_ERROR : chained || length > this.room ? OVERSIZE : POOL_EMPTY;
        ctx.refuse(0, late);
        continue;
      }
      this.take(region!, ring.i32[d + D_OFFSET]! >>> 0, pool.off[f]!, length);
      pool.len[f] = length;
      stats.rxFrames += 1;
      stats.rxBytes += length;
      out[given++] = f;
    }
    ring.setTail(tail + n);
    return given;
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const ring = this.toClient[0];
    if (!this.up || ring === undefined) return 0;
    const { pool, stats, ctx } = this;
    const tail = ring.tail();
    const room = Math.min((ring.head() - tail) & 0xffff, ring.size);
    let put = 0;
    let i = from;
    for (; i < to; i++) {
      const f = frames[i]!;
      const reason = this.objection(f);
      if (reason !== 0) {
        ctx.settle(f, DROP | reason);
        continue;
      }
      if (put >= room) break;
      const d = ring.descriptor(tail + put);
      const length = pool.len[f]!;
      const region = this.regionOf(ring, d, length);
      put++;
      if (region === null || ring.i32[d + D_LENGTH]! >>> 0 < length) {
        ring.i32[d + D_LENGTH] = 0;
        ctx.settle(f, DROP | LINK_ERROR);
        continue;
      }
      this.give(region, ring.i32[d + D_OFFSET]! >>> 0, pool.off[f]!, length);
      ring.i32[d + D_FLAGS_REGION]! &= ~0xffff;
      ring.i32[d + D_LENGTH] = length;
      stats.txFrames += 1;
      stats.txBytes += length;
      ctx.sent(f);
    }
    if (put > 0) {
      ring.setTail(tail + put);
      ring.wake();
    }
    return i - from;
  }

  private objection(f: FrameId): number {
    const reason = objectionTo(this.pool, f, this.maxFrame);
    if (reason === LINK_ERROR) this.stats.errors['no offload'] = (this.stats.errors['no offload'] ?? 0) + 1;
    return reason;
  }

  /** Copies `length` bytes at `at` of a region to `off` of the pool. */
  private take({ address, u8 }: Region, at: number, off: number, length: number): void {
    const { buf } = this.pool;
    if (length >= MEMCPY_FROM) this.sys.memcpy(this.poolAddress + off, address + at, length);
    else for (let i = 0; i < length; i++) buf[off + i] = u8[at + i]!;
  }

  /** The other way round. */
  private give({ address, u8 }: Region, at: number, off: number, length: number): void {
    const { buf } = this.pool;
    if (length >= MEMCPY_FROM) this.sys.memcpy(address + at, this.poolAddress + off, length);
    else for (let i = 0; i < length; i++) u8[at + i] = buf[off + i]!;
  }

  /** Where the bytes of a descriptor lie; null when they are not within a region. */
  private regionOf(ring: MemifRing, d: number, length: number): Region | null {
    const region = this.regions[ring.i32[d + D_FLAGS_REGION]! >>> 16];
    if (region === undefined) return null;
    return (ring.i32[d + D_OFFSET]! >>> 0) + length <= region.size ? region : null;
  }

  prepareSleep(): boolean {
    if (!this.up) return true;
    const { armed } = this;
    // As the client does.
    this.armed = true;
    let quiet = armed;
    for (const ring of this.fromClient) {
      if (armed) ring.drain();
      else ring.wantInterrupts(true);
      if (ring.head() !== ring.tail()) quiet = false;
    }
    return quiet;
  }

  private disarm(): void {
    this.armed = false;
    for (const ring of this.fromClient) ring.wantInterrupts(false);
  }

  // The connection

  private control(): void {
    if (this.closed) return;
    this.lookedMs = this.ctx.nowMs;
    if (this.client === null) {
      this.client = this.listener.accept();
      if (this.client === null) return;
      const { queues } = this.handle;
      const most = { maxRegion: MAX_REGIONS - 1, maxToClient: queues - 1, maxToServer: queues - 1, maxLog2: MAX_LOG2 };
      this.moreFds[0] = this.client.fd;
      this.client.send(m.hello('tsvs', { minVersion: m.VERSION, maxVersion: m.VERSION, ...most }));
    }
    for (;;) {
      const got = this.client.receive();
      if (got === NOTHING) return;
      if (got === GONE) {
        this.disconnected(null);
        return;
      }
      const refusal = this.answer(got.bytes, got.fd);
      if (refusal !== null) {
        this.disconnected(refusal);
        return;
      }
    }
  }

  /** Null, or the words to end the connection with; empty: the client ended it. Descriptors are kept or closed here. */
  private answer(bytes: Uint8Array, fd: number): string | null {
    const type = m.typeOf(bytes);
    let problem: string | null = null;
    let kept = false;
    if (type === m.DISCONNECT) return '';
    if (type === m.INIT) problem = this.meet(m.readInit(bytes));
    else if (!this.known) problem = 'who are you?';
    else if (this.up) problem = 'connected already';
    else if (type === m.ADD_REGION) problem = this.map(m.readRegion(bytes), fd);
    else if (type === m.ADD_RING) {
      problem = this.add(m.readRing(bytes), fd);
      kept = problem === null;
    } else if (type === m.CONNECT) return this.connect();
    else return null;
    if (fd >= 0 && !kept) this.sys.close(fd);
    if (problem === null) this.client!.send(m.ack());
    return problem;
  }

  private meet({ version, id, mode, secret }: m.Init): string | null {
    if (version !== m.VERSION) return 'Wrong version';
    if (id !== this.handle.id) return 'ID not found';
    if (mode !== 0) return 'Only Ethernet mode';
    if (secret !== this.handle.secret) return this.handle.secret === '' ? 'No secret' : 'Incorrect secret';
    this.known = true;
    return null;
  }

  private map({ index, size }: { index: number; size: number }, fd: number): string | null {
    const { sys } = this;
    if (index !== this.regions.length || index >= MAX_REGIONS) return 'Invalid region index';
    if (fd < 0 || size <= 0 || size > MAX_REGION_BYTES) return 'Invalid region size';
    // A file that became shorter would end us with SIGBUS.
    if ((sys.fcntl(fd, F_GET_SEALS, 0) & F_SEAL_SHRINK) === 0) return 'Region not sealed';
    if (sys.lseek(fd, 0, SEEK_END) < size) return 'Region shorter than said';
    const address = sys.mmap(0, size, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address === MAP_FAILED) return 'Cannot map region';
    const memory = sys.view(address, size);
    this.regions.push({ address, size, memory, u8: new Uint8Array(memory) });
    return null;
  }

  private add({ toServer, index, region, offset, log2 }: m.RingPlace, fd: number): string | null {
    const rings = toServer ? this.fromClient : this.toClient;
    const place = this.regions[region];
    if (index !== rings.length || index >= this.handle.queues) return 'Invalid ring index';
    if (place === undefined || log2 > MAX_LOG2 || offset % 64 !== 0) return 'Invalid ring';
    if (offset + ringBytes(log2) > place.size) return 'Ring outside its region';
    if (fd < 0) return 'Ring without interrupt';
    rings.push(new MemifRing(this.sys, place.memory, offset, log2, fd, this.one));
    this.interrupts.push(fd);
    return null;
  }

  private connect(): string | null {
    const { fromClient, toClient } = this;
    if (fromClient.length === 0 || toClient.length === 0) return 'No rings';
    if (![...fromClient, ...toClient].every((ring) => ring.hasCookie())) return 'Wrong cookie';
    for (const ring of [...fromClient, ...toClient]) ring.reset();
    fromClient.forEach((ring, i) => {
      ring.wantInterrupts(false);
      this.moreFds[i + 1] = ring.interrupt;
    });
    this.client!.send(m.connected('tsvs'));
    this.notice = '';
    this.up = true;
    return null;
  }

  /** `words` are sent before; null: there is nobody any more; empty: nothing is to be said. */
  private disconnected(words: string | null): void {
    if (words !== null && words !== '') {
      this.client?.send(m.disconnect(words));
      this.notice = `a client was refused: ${words}`;
    }
    this.client?.close();
    this.client = null;
    this.known = false;
    this.up = false;
    this.armed = false;
    this.fromClient = [];
    this.toClient = [];
    this.moreFds.fill(-1);
    for (const fd of this.interrupts.splice(0)) this.sys.close(fd);
    for (const { address, size } of this.regions.splice(0)) this.sys.munmap(address, size);
  }

  close(): void {
    if (this.closed) return;
    this.disconnected('closed');
    this.closed = true;
    closeMemif(this.handle);
  }
}
