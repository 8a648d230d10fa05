/**
 * An interface of the system through libpcap as a device. The process of pcap-carrier.ts has the interface; frames pass between it and
 * us as records of a socket, a system call and a copy or two for each. The kernel's own stack sees every frame, too.
 *
 * There is no virtio-net header here: a checksum that a sender on this machine left unfinished is recognised by its value
 * (partial-checksum.ts), and what is longer than the MTU was put together of segments and may be cut again.
 *
 * `up` needs both: the interface, which is looked at ten times a second, and the word of the process that it is open there. When
 * nobody replaces that process any more the link is down for good, and says so.
 *
 * Ownership: as device.ts says; frames are `sent` when the socket has taken them.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LINK_ERROR, POOL_EMPTY } from '../../stack/drop.ts';
import { type FramePool, GSO_TCPV4 } from '../../stack/mem/frame-pool.ts';
import { allocFor } from '../../stack/netif/copy.ts';
import {
  type ChangingCapabilities,
  type Device,
  type DeviceStats,
  FRAME_OVERHEAD,
  newStats,
} from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { DROP } from '../../stack/verdict.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import { TCP_LEN } from '../../stack/wire/tcp.ts';
import { askingSocket, InterfaceQuery } from './ifreq.ts';
import { IOV_BYTES } from './packet-messages.ts';
import { markPartial, partialNotice } from './partial-checksum.ts';
import type { PcapHandle } from './pcap-open.ts';
import { AWAY, FAILED, OPEN, RECORD_MAX, REPORT_BYTES } from './pcap-record.ts';
import { Places } from './places.ts';
import { EAGAIN, EINTR, ENOBUFS, errnoName, MSG_DONTWAIT, NativeBytes, type Syscalls, syscalls } from './syscall.ts';
import { objectionTo } from './whole-frame.ts';

const LOOK_MS = 100;

export class PcapDevice implements Device {
  readonly name: string;
  readonly caps: ChangingCapabilities;
  readonly stats: DeviceStats = newStats();
  fd: number;
  up = true;
  notice = '';

  private readonly ctx: Context;
  private readonly pool: FramePool;
  private readonly sys: Syscalls;
  private readonly query: InterfaceQuery;
  private readonly socket: number;
  private readonly record: NativeBytes;
  private readonly recordAt: bigint;
  private readonly inPool: Places;
  private readonly iov: NativeBytes;
  private readonly iovAt: bigint;
  /** Address of `pool.buf[0]`, in two halves. */
  private readonly low: number;
  private readonly high: number;
  private maxFrame: number;
  /** The process has the interface open, as far as it has said. */
  private open = true;
  private lookedMs: number;

  /** Drives what `openPcap` opened, here or in another thread; the descriptor is ours from now on. */
  constructor(ctx: Context, { name, fd, mtu }: PcapHandle) {
    this.name = `pcap:${name}`;
    this.caps = { mtu, txChecksum: false, rxChecksum: true, tso: false, scatter: false, queues: 1 };
    this.fd = fd;
    this.ctx = ctx;
    this.pool = ctx.pool;
    this.sys = syscalls();
    this.socket = askingSocket(this.sys);
    this.query = new InterfaceQuery(this.sys, this.socket, name);
    this.record = new NativeBytes(this.sys, RECORD_MAX);
    this.recordAt = this.record.pointer();
    this.iov = new NativeBytes(this.sys, IOV_BYTES);
    this.iovAt = this.iov.pointer();
    const address = this.sys.addressOf(ctx.pool.buf);
    this.inPool = new Places(address);
    this.low = address | 0;
    this.high = Math.floor(address / 4294967296);
    this.maxFrame = mtu + FRAME_OVERHEAD;
    this.lookedMs = ctx.nowMs;
    this.up = this.query.isUp();
  }

  /** The process that has libpcap is replaced for as long as there is our end of the socket. */
  get revives(): boolean {
    return this.fd >= 0;
  }

  rx(out: Int32Array, max: number): number {
    if (this.fd < 0) return 0;
    const { sys, ctx } = this;
    if (((ctx.nowMs - this.lookedMs) | 0) >= LOOK_MS) this.look();
    let given = 0;
    for (let turn = 0; turn < max; turn++) {
      const length = sys.recv(this.fd, this.recordAt, RECORD_MAX, MSG_DONTWAIT);
      if (length < ETH_LEN) {
        if (length === REPORT_BYTES) this.heed();
        else if (length === 0 || this.isOver()) this.lose();
        if (length <= 0) break;
        continue;
      }
      const f = this.take(length);
      if (f !== 0) out[given++] = f;
    }
    return given;
  }

  private look(): void {
    this.lookedMs = this.ctx.nowMs;
    // The process does not survive that, and cannot say so.
    if (!this.query.isSetUp()) this.open = false;
    this.up = this.open && this.query.isUp();
    const mtu = this.query.mtu();
    if (mtu <= 0) return;
    this.caps.mtu = mtu;
    this.maxFrame = mtu + FRAME_OVERHEAD;
  }

  /** Makes a frame of the record; 0 when there is no slot for it. */
  private take(length: number): FrameId {
    const { pool, stats } = this;
    const f = allocFor(pool, length);
    if (f === 0) {
      this.ctx.refuse(0, POOL_EMPTY);
      return 0;
    }
    this.sys.memcpy(this.inPool.at(pool.off[f]!), this.recordAt, length);
    pool.len[f] = length;
    if (markPartial(pool, f)) this.unfinished(f);
    stats.rxFrames += 1;
    stats.rxBytes += length;
    return f;
  }

  /**
   * A frame with an unfinished checksum may be segments of TCP in one: nobody says how long each was, so as long as the MTU allows. One of
   * which it allows none stays what it is.
   */
  private unfinished(f: FrameId): void {
    const { pool } = this;
    if (this.notice === '') this.notice = partialNotice(this.name.slice('pcap:'.length));
    const ip = pool.off[f]! + ETH_LEN;
    if (pool.len[f]! <= this.maxFrame || pool.buf[ip + 9] !== ipv4.PROTO_TCP) return;
    const l4 = pool.csumStart[f]!;
    const header = (pool.buf[l4 + 12]! >> 4) << 2;
    const size = this.caps.mtu - (l4 - ip) - header;
    if (header < TCP_LEN || size <= 0) return;
    pool.gsoType[f] = GSO_TCPV4;
    pool.gsoSize[f] = size;
  }

  /** Takes note of a report. */
  private heed(): void {
    const { i32 } = this.record;
    this.stats.missed += i32[1]! >>> 0;
    const refused = i32[2]! >>> 0;
    if (refused > 0) this.stats.errors['refused'] = (this.stats.errors['refused'] ?? 0) + refused;
    const state = i32[0]!;
    if (state === AWAY && this.open) this.countName('restarted');
    this.open = state === OPEN;
    if (state === FAILED) this.notice = CANNOT_OPEN;
    else if (this.notice === CANNOT_OPEN) this.notice = '';
    this.look();
  }

  /** After a call that failed: whether the other side is gone. */
  private isOver(): boolean {
    const errno = this.sys.errno();
    if (errno === EAGAIN || errno === EINTR || errno === ENOBUFS) return false;
    this.countName(errnoName(errno));
    return true;
  }

  private lose(): void {
    this.notice = ENDED;
    this.close();
  }

  tx(frames: Int32Array, from: number, to: number): number {
    if (!this.up) return 0;
    const { ctx, pool, iov, stats } = this;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const reason = objectionTo(pool, f, this.maxFrame);
      if (reason !== 0) {
        if (reason === LINK_ERROR) this.countName('no offload');
        ctx.settle(f, DROP | reason);
        continue;
      }
      const length = pool.len[f]!;
      iov.setAddress(0, this.low, this.high, pool.off[f]!);
      iov.set64(8, length);
      if (this.sys.writev(this.fd, this.iovAt, 1) < 0) {
        // Full: the rest stays with the caller. What the other side left unread shows at the next look.
        this.isOver();
        return i - from;
      }
      stats.txFrames += 1;
      stats.txBytes += length;
      ctx.sent(f);
    }
    return to - from;
  }

  private countName(name: string): void {
    this.stats.errors[name] = (this.stats.errors[name] ?? 0) + 1;
  }

  close(): void {
    if (this.fd < 0) return;
    this.up = false;
    this.sys.close(this.fd);
    this.fd = -1;
    if (this.socket >= 0) this.sys.close(this.socket);
  }
}

const CANNOT_OPEN =
  'the interface is there, and libpcap cannot open it: is its type Ethernet, and are the rights still there?';
const ENDED = 'the process that has libpcap has ended, and the shell that starts it again: start tsvs again';
