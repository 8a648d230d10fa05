/**
 * A layer-4 director with packets fed to it one by one: what it answers, how each ends, and every frame it sends, decoded
 * by code that shares nothing with it. All neighbours are static; the MAC address of 10.x.y.z ends in z.
 *
 * One port, 10.0.0.0/24 and a default route by 10.0.0.254, so that clients may be anywhere. Director 10.0.0.2, local
 * address 10.0.0.3, VIP 10.0.0.10, server 10.0.0.21.
 */
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4, type L4Limits, type L4Options, type L4Service } from '../../lb/l4.ts';
import { ServiceTable } from '../../lb/service.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { Context } from '../../stack/context.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { Host } from '../../stack/host.ts';
import { PRIMARY, VIP as VIP_FLAG } from '../../stack/inetaddr/addr.ts';
import { F_CSUM_PARTIAL, FramePool, GSO_TCPV4, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import { newStats } from '../../stack/netif/device.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import type { Verdict } from '../../stack/types.ts';
import { dropReason, isDrop } from '../../stack/verdict.ts';
import { MODES, type ModeName } from './l4-net.ts';
import { layer4Service } from './l4-service.ts';
import { naiveChecksum, naiveSum } from './naive-checksum.ts';
import { seeded } from './random.ts';
import { etherFrame, ipPacket } from './segment.ts';
import { ip, outstanding, SMALL_HOST } from './sim.ts';

export const CLIENT = ip('198.51.100.7');
export const GATEWAY = ip('10.0.0.254');
export const DIRECTOR = ip('10.0.0.2');
export const LOCAL = ip('10.0.0.3');
export const VIP = ip('10.0.0.10');
export const SERVER = ip('10.0.0.21');
export const CPORT = 40000;
export const VPORT = 80;
export const RPORT = 8080;

/** An IPv4 packet that was sent, and where to. */
export interface Sent {
  /** Last byte of the destination MAC address. */
  readonly to: number;
  readonly ip: Uint8Array;
  /** Layer 4, whole. */
  readonly l4: Uint8Array;
  readonly src: number;
  readonly dst: number;
  readonly proto: number;
  readonly partial: boolean;
  readonly gsoSize: number;
}

/** What may be unusual about a packet that arrives. */
export interface Arriving {
  readonly partial?: boolean;
  readonly gsoSize?: number;
  /** In a frame to all. */
  readonly broadcast?: boolean;
}

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.length);
export const get16 = (b: Uint8Array, at: number): number => view(b).getUint16(at);
export const get32 = (b: Uint8Array, at: number): number => view(b).getInt32(at);

/** The sum of the pseudo-header and a layer-4 part, 0xffff when its checksum is right. */
export function l4Sum(src: number, dst: number, proto: number, l4: Uint8Array): number {
  const pseudo = new Uint8Array(12);
  const v = view(pseudo);
  v.setInt32(0, src);
  v.setInt32(4, dst);
  v.setUint16(8, proto);
  v.setUint16(10, l4.length);
  return naiveSum([...pseudo, ...l4]);
}

/** A UDP datagram, checksummed unless told not to. */
export function udpBytes(
  src: number,
  dst: number,
  sport: number,
  dport: number,
  data: Uint8Array,
  sum = true,
): Uint8Array {
  const b = new Uint8Array(8 + data.length);
  const v = view(b);
  v.setUint16(0, sport);
  v.setUint16(2, dport);
  v.setUint16(4, b.length);
  b.set(data, 8);
  if (!sum) return b;
  const value = 0xffff - l4Sum(src, dst, 17, b);
  v.setUint16(6, value === 0 ? 0xffff : value);
  return b;
}

/** An ICMP message; `rest` is the second word. */
export function icmpBytes(type: number, code: number, rest: number, data: Uint8Array): Uint8Array {
  const b = new Uint8Array(8 + data.length);
  b[0] = type;
  b[1] = code;
  view(b).setInt32(4, rest);
  b.set(data, 8);
  view(b).setUint16(2, naiveChecksum(b));
  return b;
}

export interface RigOptions {
  readonly mode: ModeName;
  readonly udp?: boolean;
  readonly weight?: number;
  readonly tso?: boolean;
  readonly mtu?: number;
  readonly service?: Partial<L4Service>;
  readonly options?: Partial<L4Options>;
  /** Port of the server where the mode translates it. */
  readonly limits?: L4Limits;
}

export class L4Rig {
  readonly ctx: Context;
  readonly host: Host;
  readonly l4: L4;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  readonly service: number;
  readonly rport: number;
  /** What the service wants of layer 4; to be set again when its servers have changed. */
  readonly wanted: L4Service;
  /** Names of the drops, and 'sent' or 'delivered', of the frames that were fed. */
  readonly fates: string[] = [];
  now = 1_000_000;
  /** Checksums of what is sent are verified. */
  judging = true;
  private readonly waiting: number[] = [];
  private readonly out: Sent[] = [];
  private readonly fed = new Set<number>();

  constructor(options: RigOptions) {
    const { mode, tso = false, mtu = 1500, weight = 1 } = options;
    const limits = options.limits ?? { tcp: 64, udp: 64, icmp: 16, templates: 16 };
    this.rport = mode === 'FNAT' || mode === 'NAT' ? RPORT : VPORT;
    const pool = FramePool.create({ slots: 1024, slotBytes: 2048, bigSlots: 16, bigSlotBytes: 69632 });
    const ctx = new Context(pool, seeded(5));
    ctx.tick(this.now);
    this.ctx = ctx;
    const neighbours = new SharedArrayBuffer(NeighTable.bytes(SMALL_HOST.neigh.maxNeighbours));
    const host = new Host(ctx, { onConflict: () => {} }, SMALL_HOST, neighbours, L4.timersFor(limits));
    this.host = host;
    const device = {
      name: 'rig',
      caps: { mtu, txChecksum: tso, rxChecksum: tso, tso, scatter: tso, queues: 1 },
      stats: newStats(),
      fd: -1,
      up: true,
      rx: (frames: Int32Array, max: number) => this.rx(frames, max),
      tx: (frames: Int32Array, from: number, to: number) => this.tx(frames, from, to),
      close: () => {},
    };
    const port = host.addPort(device, 0x0200, 1);
    host.addresses.add({ addr: DIRECTOR, prefixLen: 24, port: port.id, flags: PRIMARY });
    host.addresses.add({ addr: LOCAL, prefixLen: 24, port: port.id, flags: 0 });
    host.addresses.add({ addr: VIP, prefixLen: 24, port: port.id, flags: VIP_FLAG });
    const route = { prefix: 0, len: 0, port: port.id, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
    host.routes.add({ ...route, gateway: GATEWAY });
    for (const a of [GATEWAY, SERVER]) host.neigh.nud.setStatic(a, port.id, 0x0200, a & 255);

    this.dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(16)), 0, 16);
    const columns = ServiceColumns.create(new SharedArrayBuffer(ServiceColumns.bytes(8)), 0, 8);
    this.services = new ServiceTable(columns, this.dests, { random: ctx.random, worker: 0, workers: 1 });
    this.l4 = new L4(
      host,
      this.services,
      this.dests,
      new SharedArrayBuffer(L4.bytes(limits)),
      { portsScarce: () => {} },
      { limits, profile: 'dpvs', decrementTtl: false, maxServices: 8, ...options.options },
    );
    this.service = this.services.add({ proto: options.udp ? 17 : 6, vip: VIP, port: VPORT, scheduler: 'rr' });
    this.services.setDests(this.service, [{ addr: SERVER, port: this.rport, weight }]);
    this.wanted = layer4Service(MODES[mode], { localAddresses: [LOCAL], ...options.service });
    this.l4.setService(this.service, this.wanted);
    ctx.probe = (f, verdict) => this.settled(f, verdict);
    this.step();
    this.out.length = 0;
  }

  /** The packet arrives; what was sent because of it. */
  feed(packet: Uint8Array, arriving: Arriving = {}): Sent[] {
    this.put(packet, arriving);
    return this.step();
  }

  /** The packets arrive in one burst. */
  feedAll(packets: readonly Uint8Array[]): Sent[] {
    for (const packet of packets) this.put(packet, {});
    return this.step();
  }

  private put(packet: Uint8Array, arriving: Arriving): void {
    const { pool } = this.ctx;
    const frame = etherFrame(packet);
    if (arriving.broadcast) frame.fill(0xff, 0, 6);
    const f = frame.length + HEADROOM > pool.config.slotBytes ? pool.allocBig() : pool.alloc();
    assert.ok(f !== 0, 'the pool is empty');
    const off = pool.off[f]!;
    pool.buf.set(frame, off);
    pool.len[f] = frame.length;
    if (arriving.partial) {
      pool.flags[f] = F_CSUM_PARTIAL;
      pool.csumStart[f] = off + 34;
      pool.csumOff[f] = packet[9] === 6 ? 16 : 6;
    }
    if (arriving.gsoSize !== undefined) {
      pool.gsoType[f] = GSO_TCPV4;
      pool.gsoSize[f] = arriving.gsoSize;
    }
    this.waiting.push(f);
    this.fed.add(f);
  }

  /** A turn; what was sent in it. */
  step(us = 100): Sent[] {
    this.now += us;
    this.out.length = 0;
    this.host.turn(this.now);
    assert.is(outstanding(this.ctx), this.ctx.pool.inUse, 'conservation');
    return [...this.out];
  }

  /** How the last packet that was fed ended. */
  get fate(): string {
    return this.fates.at(-1)!;
  }

  /** Row of the only connection, 0 when there is none. */
  get row(): number {
    return this.l4.tcp.next(0) || this.l4.udp.next(0);
  }

  word(index: number): number {
    const table = this.l4.tcp.size() > 0 ? this.l4.tcp : this.l4.udp;
    return table.rows[(this.row << c.ROW_SHIFT) + index]!;
  }

  /** FullNAT's local port. */
  get lport(): number {
    return this.word(c.RLPORTS) & 0xffff;
  }

  private rx(frames: Int32Array, max: number): number {
    const n = Math.min(max, this.waiting.length);
    for (let i = 0; i < n; i++) frames[i] = this.waiting.shift()!;
    return n;
  }

  private tx(frames: Int32Array, from: number, to: number): number {
    const { pool } = this.ctx;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      if (this.fed.delete(f)) this.fates.push('sent');
      const bytes = new Uint8Array(pool.wireLength(f));
      bytes.set(pool.buf.subarray(pool.off[f], pool.off[f]! + pool.len[f]!));
      bytes.set(pool.buf.subarray(pool.fragOff[f], pool.fragOff[f]! + pool.fragLen[f]!), pool.len[f]);
      const partial = (pool.flags[f]! & F_CSUM_PARTIAL) !== 0;
      if (get16(bytes, 12) === 0x0800) this.out.push(decode(bytes, partial, pool.gsoSize[f]!, this.judging));
      if (partial) {
        const proto = bytes[14 + 9] === 4 ? 54 : 34;
        assert.is(pool.csumStart[f]! - pool.off[f]!, proto, 'where the checksum begins');
      }
      this.ctx.sent(f);
    }
    return to - from;
  }

  private settled(f: number, verdict: Verdict): void {
    if (!this.fed.delete(f)) return;
    this.fates.push(isDrop(verdict) ? DROP_REASONS[dropReason(verdict)]!.name : 'delivered');
  }
}

/** Reads a frame and judges every checksum of a packet that is whole; a tunnelled one as well. */
function decode(frame: Uint8Array, partial: boolean, gsoSize: number, judging: boolean): Sent {
  const packet = frame.slice(14);
  assert.is(get16(packet, 2), packet.length, 'total length');
  const header = (packet[0]! & 15) * 4;
  assert.is(naiveSum(packet.subarray(0, header)), 0xffff, 'IPv4 header checksum');
  const src = get32(packet, 12);
  const dst = get32(packet, 16);
  const proto = packet[9]!;
  const l4 = packet.subarray(header);
  if (judging && (get16(packet, 6) & 0x3fff) === 0) judge(src, dst, proto, l4, partial);
  return { to: frame[5]!, ip: packet, l4, src, dst, proto, partial, gsoSize };
}

function judge(src: number, dst: number, proto: number, l4: Uint8Array, partial: boolean): void {
  if (proto === 1) assert.is(naiveSum(l4), 0xffff, 'ICMP checksum');
  else if (proto === 4) {
    assert.is(naiveSum(l4.subarray(0, 20)), 0xffff, 'inner IPv4 header checksum');
    assert.is(get16(l4, 2), l4.length, 'inner total length');
    judge(get32(l4, 12), get32(l4, 16), l4[9]!, l4.subarray(20), partial);
  } else if (partial) {
    const held = get16(l4, proto === 6 ? 16 : 6);
    const pseudo = l4Sum(src, dst, proto, new Uint8Array(0));
    const length = naiveSum([l4.length >> 8, l4.length & 255]);
    const sum = pseudo + length;
    assert.is(held, sum > 0xffff ? sum - 0xffff : sum, 'sum of the pseudo-header');
  } else if (proto === 6 || get16(l4, 6) !== 0) assert.is(l4Sum(src, dst, proto, l4), 0xffff, 'layer-4 checksum');
}

export { ipPacket };
