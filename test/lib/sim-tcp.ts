/**
 * Transfers between simulated hosts, and what must hold all the while (tcp-laws.ts): the bytes arrive as they were sent,
 * and nothing is left.
 */
import { createHash } from 'node:crypto';
import * as assert from 'uvu/assert';
import type { Context } from '../../stack/context.ts';
import type { PoolConfig } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import type { WireOptions } from '../../stack/netif/memory.ts';
import { Fault, type FaultRules, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import type { TcpConfig } from '../../stack/tcp/config.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { END_NAMES } from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { naiveChecksum } from './naive-checksum.ts';
import { seeded } from './random.ts';
import { ip, pair, Sim, type SimHost, SMALL_HOST, SMALL_POOL } from './sim.ts';
import { checkBlock, checkFrames, StallDetector } from './tcp-laws.ts';

/** Takes options out of passing SYNs, so that they are not negotiated. */
class OptionFilter implements Device {
  readonly inner: Device;
  private readonly ctx: Context;
  private readonly kinds: readonly number[];

  constructor(inner: Device, ctx: Context, kinds: readonly number[]) {
    this.inner = inner;
    this.ctx = ctx;
    this.kinds = kinds;
  }

  get name() {
    return this.inner.name;
  }
  get caps() {
    return this.inner.caps;
  }
  get stats() {
    return this.inner.stats;
  }
  get fd() {
    return this.inner.fd;
  }
  get up() {
    return this.inner.up;
  }
  tx(frames: Int32Array, from: number, to: number): number {
    return this.inner.tx(frames, from, to);
  }
  close(): void {
    this.inner.close();
  }

  rx(out: Int32Array, max: number): number {
    const { pool } = this.ctx;
    const n = this.inner.rx(out, max);
    for (let i = 0; i < n; i++) {
      const f = out[i]!;
      this.filter(pool.buf.subarray(pool.off[f]!, pool.off[f]! + pool.len[f]!));
    }
    return n;
  }

  private filter(frame: Uint8Array): void {
    if (frame[12] !== 8 || frame[13] !== 0 || frame[23] !== 6 || (frame[47]! & 2) === 0) return;
    const end = 34 + (frame[46]! >> 4) * 4;
    for (let o = 54; o < end; ) {
      const len = frame[o] === 1 ? 1 : frame[o + 1]!;
      if (this.kinds.includes(frame[o]!)) frame.fill(1, o, o + len);
      o += len;
    }
    // Where the checksum is yet to be finished it is not looked at; a right one does no harm.
    const tcp = frame.subarray(34);
    tcp[16] = tcp[17] = 0;
    const all = new Uint8Array(12 + tcp.length);
    all.set(frame.subarray(26, 34));
    all[9] = 6;
    new DataView(all.buffer).setUint16(10, tcp.length);
    all.set(tcp, 12);
    const sum = naiveChecksum(all);
    tcp[16] = sum >> 8;
    tcp[17] = sum & 255;
  }
}

export const NO_SACK = [4];
export const NO_TIMESTAMPS = [8];
export const NO_OPTIONS = [3, 4, 8];

export interface TransferOptions {
  readonly seed: number;
  readonly wire?: Partial<WireOptions>;
  /** What happens to frames in each direction. */
  readonly faults?: Partial<FaultRules>;
  /** TCP options taken from the SYNs. */
  readonly without?: readonly number[];
  readonly connections?: number;
  /** Bytes from the connecting side, and back. */
  readonly up: number;
  readonly down: number;
  /** Bytes read per millisecond and connection; absent = at once. */
  readonly readPerMs?: number;
  readonly noDelay?: number;
  readonly tcp?: Partial<TcpConfig>;
  readonly pool?: PoolConfig;
  readonly limitMs?: number;
  /** Initial sequence number of every connection, for numbers that wrap on the way. */
  readonly iss?: number;
  readonly stepUs?: number;
  /** Sizes of the writes: up to this many bytes each, drawn at random. */
  readonly writeMax?: number;
}

/** One end of a connection: sends its bytes, then the FIN; reads and hashes what comes. */
class End implements SocketOwner {
  ended = '';
  readonly hash = createHash('sha256');
  received = 0;
  private tcb: Tcb | null = null;
  private sent = 0;
  private readonly h: SimHost;
  private readonly data: Uint8Array;
  private readonly o: TransferOptions;
  private readonly random: { next(): number };
  private readonly buf = new Uint8Array(65536);

  constructor(h: SimHost, data: Uint8Array, o: TransferOptions, seed: number) {
    this.h = h;
    this.data = data;
    this.o = o;
    this.random = seeded(seed);
  }

  onEstablished(tcb: Tcb): void {
    this.tcb = tcb;
    tcb.noDelay = this.o.noDelay ?? 1;
    this.push();
  }
  onReadable(): void {
    if (this.o.readPerMs === undefined) this.pull(Number.POSITIVE_INFINITY);
  }
  onWritable(): void {
    this.push();
  }
  onFin(): void {}
  onClosed(_tcb: Tcb, end: number): void {
    this.ended = END_NAMES[end]!;
    this.tcb = null;
  }

  private push(): void {
    const { tcp } = this.h.host;
    while (this.sent < this.data.length) {
      const most = this.o.writeMax === undefined ? 1 << 20 : 1 + ((this.random.next() >>> 1) % this.o.writeMax);
      const n = sock.write(tcp, this.tcb!, this.data, this.sent, Math.min(most, this.data.length - this.sent));
      this.sent += n;
      if (n === 0) return;
    }
    sock.shutdown(tcp, this.tcb!);
  }

  /** Reads up to `max` bytes. */
  pull(max: number): void {
    if (this.tcb === null) return;
    for (let left = max; left > 0; ) {
      const n = sock.read(this.h.host.tcp, this.tcb, this.buf, 0, Math.min(left, this.buf.length));
      if (n === 0) return;
      this.hash.update(this.buf.subarray(0, n));
      this.received += n;
      left -= n;
    }
  }
}

export interface TransferResult {
  readonly ms: number;
  readonly retransmitted: number;
  readonly timeouts: number;
  readonly fastRecoveries: number;
  readonly worstStall: number;
  readonly hosts: readonly [SimHost, SimHost];
}

/** Random bytes, fast. */
function noise(n: number, seed: number): Uint8Array {
  const words = new Int32Array((n + 3) >> 2);
  const r = seeded(seed);
  for (let i = 0; i < words.length; i++) words[i] = r.next();
  return new Uint8Array(words.buffer, 0, n);
}

/** Runs transfers to their end and checks everything there is to check; throws with the seed in the message. */
export function transfer(o: TransferOptions): TransferResult {
  try {
    return run(o);
  } catch (e) {
    (e as Error).message = `${JSON.stringify(o)}: ${(e as Error).message}`;
    throw e;
  }
}

function run(o: TransferOptions): TransferResult {
  const rules: FaultRules = { ...NO_FAULTS, ...o.faults };
  const wire = {
    names: ['a', 'b'],
    mtu: 1500,
    txChecksum: false,
    rxChecksum: false,
    tso: false,
    scatter: false,
    ring: 1024,
    ...o.wire,
  } as WireOptions;
  const config = { ...SMALL_HOST, tcp: { ...SMALL_HOST.tcp, ...o.tcp } };
  const wrap = (device: Device, ctx: Context, side: number): Device => {
    const random = seeded(o.seed * 7919 + side);
    // The filter sees frames before they are damaged: it must not heal them.
    const inner = o.without === undefined ? device : new OptionFilter(device, ctx, o.without);
    return new Fault(ctx, inner, { rx: rules, tx: NO_FAULTS, capacity: 4096 }, random);
  };
  const [a, b] = pair(o.seed, wire, wrap, config, o.pool ?? SMALL_POOL);
  const { iss } = o;
  if (iss !== undefined) for (const h of [a, b]) h.host.tcp.secrets.isn = () => iss;
  const sim = new Sim([a, b], o.stepUs ?? 500);
  const count = o.connections ?? 1;
  const ends: End[] = [];
  const wanted: string[] = [];
  const sha = (d: Uint8Array): string => createHash('sha256').update(d).digest('hex');
  for (let i = 0; i < count; i++) {
    const up = noise(o.up, o.seed * 100 + i);
    const down = noise(o.down, o.seed * 100 + 50 + i);
    const client = new End(a, up, o, o.seed + i);
    const server = new End(b, down, o, o.seed - i);
    b.host.tcp.listeners.add(ip('10.0.0.2'), 80 + i, 16, server, 0);
    assert.ok(a.host.tcp.connect(ip('10.0.0.1'), 0, ip('10.0.0.2'), 80 + i, client, 0) !== null);
    ends.push(client, server);
    wanted.push(sha(down), sha(up));
  }
  const start = sim.now;
  const stalls = new StallDetector();
  const hosts = [a, b] as const;
  let steps = 0;
  const finished = sim.run(o.limitMs ?? 600_000, () => {
    if (o.readPerMs !== undefined) for (const e of ends) e.pull((o.readPerMs * sim.stepUs) / 1000);
    for (const h of hosts) {
      stalls.look(h.host, sim.now / 1000);
      // The invariants are dear on long queues: look often, not always.
      if (steps % 8 === 0) {
        checkFrames(h, false);
        for (const tcb of h.host.tcp.blocks) if (tcb !== null) checkBlock(h.host, tcb);
      }
    }
    steps++;
    return ends.every((e) => e.ended !== '');
  });
  const ms = (sim.now - start) / 1000;
  assert.ok(finished, `not over after ${ms} ms: ${ends.map((e) => `${e.received} ${e.ended}`)}`);
  ends.forEach((e, i) => {
    assert.is(e.ended, 'normal', `end ${i} after ${e.received} bytes`);
    assert.is(e.hash.digest('hex'), wanted[i], `bytes that end ${i} read (${e.received})`);
  });
  // What is still on the wire arrives, an ARP probe perhaps; then nobody holds anything.
  sim.run(10_000, () => hosts.every((h) => h.ctx.pool.inUse === 0));
  for (const h of hosts) {
    checkFrames(h, true);
    assert.is(h.ctx.pool.inUse, 0, 'frames left');
    assert.is(h.host.tcp.segments.used, 0, 'descriptors left');
    assert.is(h.host.tcp.open, 0, 'control blocks left');
  }
  const sumOf = (of: (h: SimHost) => number): number => of(a) + of(b);
  return {
    ms,
    retransmitted: sumOf((h) => h.host.tcp.stats.retransSegs),
    timeouts: sumOf((h) => h.host.tcp.stats.timeouts),
    fastRecoveries: sumOf((h) => h.host.tcp.stats.fastRecoveries),
    worstStall: stalls.worst,
    hosts,
  };
}
