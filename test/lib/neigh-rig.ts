/**
 * A neighbour layer alone: a fake link that records what is sent, timers under a hand-moved clock, and ARP packets
 * written by hand. One host: port 1 with 10.0.0.1/24 and port 2 with 10.0.2.1/24.
 */
import * as assert from 'uvu/assert';
import { Context, FATE_CREATED, FATE_DELIVERED, FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../stack/context.ts';
import { LINK_DOWN } from '../../stack/drop.ts';
import { LocalAddresses } from '../../stack/inetaddr/addr.ts';
import { FramePool, HEADROOM } from '../../stack/mem/frame-pool.ts';
import { createNeigh, DEFAULT_NEIGH, type Neigh, type NeighConfig } from '../../stack/neigh/index.ts';
import type { Link } from '../../stack/neigh/link.ts';
import { listNeighbours, type NeighInfo } from '../../stack/neigh/snapshot.ts';
import { STATE_NAMES } from '../../stack/neigh/state.ts';
import type { TimerHandler, TimerRange } from '../../stack/timer/timers.ts';
import type { FrameId, Ipv4, PortId, Random, Verdict } from '../../stack/types.ts';
import { DROP, STOLEN } from '../../stack/verdict.ts';
import * as arp from '../../stack/wire/arp.ts';

/** `ip(10, 0, 0, 1)` as int32. */
export const ip = (a: number, b: number, c: number, d: number): Ipv4 => (a << 24) | (b << 16) | (c << 8) | d;

export const US = ip(10, 0, 0, 1);
export const PEER = ip(10, 0, 0, 9);
export const OUR_MAC = [0x0200, 0x00000001] as const;
export const PEER_MAC = [0x0210, 0x00000009] as const;
export const OTHER_MAC = [0x0210, 0x000000aa] as const;
export const BROADCAST_MAC = [0xffff, -1] as const;
export type Mac = readonly [hi: number, lo: number];

/** Zero: ReachableTime is half its base, 15 s. */
const noRandom: Random = { next: () => 0 };

/** Timers without a wheel: a map from id to time, per range. */
class FakeTimers {
  private readonly ranges: { handler: TimerHandler; due: Map<number, number> }[] = [];

  range(_count: number, handler: TimerHandler): TimerRange {
    const due = new Map<number, number>();
    this.ranges.push({ handler, due });
    return {
      arm: (i, atMs) => void due.set(i, atMs),
      cancel: (i) => void due.delete(i),
      isArmed: (i) => due.has(i),
    };
  }

  /** The earliest timer due by `limit`, taken out. */
  take(limit: number): { at: number; fire: () => void } | null {
    let best: { at: number; i: number; handler: TimerHandler; due: Map<number, number> } | null = null;
    for (const { handler, due } of this.ranges) {
      for (const [i, at] of due) if (at <= limit && (best === null || at < best.at)) best = { at, i, handler, due };
    }
    if (best === null) return null;
    const { at, i, handler, due } = best;
    due.delete(i);
    return { at, fire: () => handler.onTimer(i) };
  }

  get armed(): number {
    return this.ranges.reduce((n, r) => n + r.due.size, 0);
  }
}

/** A frame as it left: bytes copied, the frame itself is gone. */
export interface Sent {
  readonly port: PortId;
  readonly bytes: Uint8Array;
  readonly atMs: number;
}

export interface Rig {
  readonly ctx: Context;
  readonly addresses: LocalAddresses;
  readonly neigh: Neigh;
  readonly timers: FakeTimers;
  readonly sent: Sent[];
  readonly unreachable: Ipv4[];
  readonly conflicts: { port: PortId; ip: Ipv4; mac: Mac }[];
  /** False makes the link refuse frames. */
  up: boolean;
}

export function rig(config: Partial<NeighConfig> = {}, random = noRandom): Rig {
  const pool = FramePool.create({ slots: 512, slotBytes: 2048, bigSlots: 1, bigSlotBytes: 4096 });
  pool.buf.fill(0xee); // what earlier frames left behind must not show
  const ctx = new Context(pool, random);
  ctx.tick(1_000_000);
  const addresses = new LocalAddresses();
  const timers = new FakeTimers();
  const parts: Omit<Rig, 'neigh'> = {
    ctx,
    addresses,
    timers,
    sent: [],
    unreachable: [],
    conflicts: [],
    up: true,
  };
  const r = parts as Rig;
  const link: Link = {
    transmit(f: FrameId, port: PortId): Verdict {
      if (!r.up) return DROP | LINK_DOWN;
      const off = pool.off[f]!;
      r.sent.push({ port, bytes: pool.buf.slice(off, off + pool.len[f]!), atMs: ctx.nowMs });
      ctx.sent(f);
      return STOLEN;
    },
    macHi: () => OUR_MAC[0],
    macLo: (port) => port,
  };
  const neigh = createNeigh(
    ctx,
    link,
    addresses,
    timers,
    {
      onUnreachable: (f, _port, nextHop) => {
        assert.is(pool.buf[pool.off[f]!], 0x45, 'off stands at the IP header');
        r.unreachable.push(nextHop);
      },
      onConflict: (port, addr, hi, lo) => void r.conflicts.push({ port, ip: addr, mac: [hi, lo] }),
    },
    { ...DEFAULT_NEIGH, ...config },
  );
  addresses.add({ addr: US, prefixLen: 24, port: 1, flags: 0 });
  addresses.add({ addr: ip(10, 0, 2, 1), prefixLen: 24, port: 2, flags: 0 });
  Object.assign(r, { neigh });
  advance(r, 10_000); // the announcements of both addresses
  r.sent.length = 0;
  return r;
}

/** Moves the clock, firing what falls due on the way at its own time. */
export function advance(r: Rig, ms: number): void {
  const end = r.ctx.nowMs + ms;
  for (;;) {
    const next = r.timers.take(end);
    if (next === null) break;
    r.ctx.tick(next.at * 1000);
    next.fire();
  }
  r.ctx.tick(end * 1000);
}

/** An IPv4 packet made here; its last byte is `tag`. */
export function packet(r: Rig, tag = 0): FrameId {
  const f = r.ctx.create();
  assert.ok(f > 0, 'the pool has a frame');
  const off = r.ctx.pool.off[f]! + 14;
  r.ctx.pool.off[f] = off;
  r.ctx.pool.len[f] = 21;
  r.ctx.pool.buf.fill(0, off, off + 21);
  r.ctx.pool.buf[off] = 0x45;
  r.ctx.pool.buf[off + 20] = tag;
  return f;
}

/** Sends a packet to a next hop on port 1 and settles it, as ip output does. */
export function send(r: Rig, to = PEER, tag = 0): Verdict {
  const f = packet(r, tag);
  const v = r.neigh.output.output(f, 1, to);
  r.ctx.settle(f, v);
  return v;
}

/** What an ARP packet says; the defaults are a reply of PEER to us. */
export interface ArpFields {
  readonly op?: number;
  readonly mac?: Mac;
  readonly sender?: Ipv4;
  readonly targetMac?: Mac;
  readonly target?: Ipv4;
  readonly port?: PortId;
}

/** Receives an ARP packet and settles it, as netif does. */
export function hear(r: Rig, fields: ArpFields): Verdict {
  const { op = arp.REPLY, mac = PEER_MAC, sender = PEER, targetMac = OUR_MAC, target = US, port = 1 } = fields;
  const bytes = new Uint8Array(46);
  arp.emit(bytes, 0, op, mac[0], mac[1], sender, targetMac[0], targetMac[1], target);
  return hearBytes(r, bytes, port);
}

export function hearBytes(r: Rig, bytes: Uint8Array, port: PortId): Verdict {
  const { pool, fate } = r.ctx;
  const f = pool.alloc();
  fate[FATE_RECEIVED]! += 1;
  pool.port[f] = port;
  pool.off[f] = pool.base(f) + HEADROOM + 14;
  pool.len[f] = bytes.length;
  pool.buf.set(bytes, pool.off[f]);
  const v = r.neigh.arp.input(f);
  r.ctx.settle(f, v);
  return v;
}

export const reply = (r: Rig, mac: Mac = PEER_MAC): Verdict => hear(r, { mac });
export const gratuitous = (r: Rig, mac: Mac = PEER_MAC): Verdict => hear(r, { op: arp.REQUEST, mac, target: PEER });

export function entry(r: Rig, addr = PEER, port = 1): NeighInfo | undefined {
  return listNeighbours(r.neigh.table.words).find((n) => n.ip === addr && n.port === port);
}

/** By name; 'none' without an entry. */
export const state = (r: Rig, addr = PEER): string => STATE_NAMES[entry(r, addr)?.state ?? 0]!;

/** An ARP packet that was sent. */
export interface SentArp {
  readonly dst: Mac;
  readonly src: Mac;
  readonly op: number;
  readonly senderMac: Mac;
  readonly sender: Ipv4;
  readonly target: Ipv4;
  readonly targetMac: Mac;
  readonly atMs: number;
}

const isArp = (s: Sent): boolean => s.bytes[12] === 0x08 && s.bytes[13] === 0x06;

/** ARP packets sent since the last call, taken out of `sent`. Each must be padded with zeros to 60 bytes. */
export function takeArps(r: Rig): SentArp[] {
  const arps = r.sent.filter(isArp);
  r.sent.splice(0, r.sent.length, ...r.sent.filter((s) => !isArp(s)));
  return arps.map(({ bytes, atMs }) => {
    assert.is(bytes.length, 60);
    assert.ok(
      bytes.subarray(42).every((b) => b === 0),
      'padding is zero',
    );
    const v = new DataView(bytes.buffer, bytes.byteOffset);
    const mac = (at: number): Mac => [v.getUint16(at), v.getInt32(at + 2)];
    return {
      dst: mac(0),
      src: mac(6),
      op: v.getUint16(20),
      senderMac: mac(22),
      sender: v.getInt32(28),
      targetMac: mac(32),
      target: v.getInt32(38),
      atMs,
    };
  });
}

/** Destination MAC and tag of each IPv4 packet sent since the last call. */
export function takePackets(r: Rig): { dst: Mac; tag: number }[] {
  const ips = r.sent.filter((s) => !isArp(s));
  r.sent.splice(0, r.sent.length, ...r.sent.filter(isArp));
  return ips.map(({ bytes }) => {
    const v = new DataView(bytes.buffer, bytes.byteOffset);
    assert.is(v.getUint16(12), 0x0800);
    assert.equal([v.getUint16(6), v.getInt32(8)], OUR_MAC);
    return { dst: [v.getUint16(0), v.getInt32(2)], tag: bytes[34]! };
  });
}

/** received + created = sent + delivered + dropped + held, and what is held is what waits in queues. */
export function assertConserved(r: Rig): void {
  const { fate, pool } = r.ctx;
  const gone = fate[FATE_SENT]! + fate[FATE_DELIVERED]! + fate[FATE_DROPPED]!;
  assert.is(fate[FATE_RECEIVED]! + fate[FATE_CREATED]!, gone + pool.inUse, 'conservation');
  assert.is(r.neigh.queue.held, pool.inUse, 'held in queues');
}
