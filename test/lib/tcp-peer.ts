/**
 * A scripted TCP peer: a test says which segments arrive at a host and which must come out, field by field and to the
 * millisecond, in the manner of packetdrill. The host runs its whole stack over a memory wire; the far end of the wire
 * is the test.
 *
 * Numbers are relative: `seq` of what the peer sends and `ack` of what the host sends count from the peer's ISS, the
 * other two from the host's. What a template leaves out is filled in (sending) or not looked at (expecting).
 */
import * as assert from 'uvu/assert';
import { Context } from '../../stack/context.ts';
import type { Host, HostConfig } from '../../stack/host.ts';
import { F_CSUM_PARTIAL, FramePool, HEADROOM, type PoolConfig } from '../../stack/mem/frame-pool.ts';
import { gather } from '../../stack/netif/copy.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import type { TcpConfig } from '../../stack/tcp/config.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { END_NAMES, STATE_NAMES } from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { naiveChecksum } from './naive-checksum.ts';
import { seeded } from './random.ts';
import {
  type DecodedSegment,
  decodeSegment,
  etherFrame,
  flagBits,
  ipPacket,
  segmentFrame,
  tcpBytes,
} from './segment.ts';
import { ip, makeHost, outstanding, SMALL_HOST } from './sim.ts';
import { checkBlock } from './tcp-laws.ts';

export const HOST = ip('10.0.0.1');
export const PEER = ip('10.0.0.2');

const TINY_POOL: PoolConfig = { slots: 1024, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 };
/** So large that no connection's share of what is free bounds anything. Untouched slots cost nothing. */
const ROOMY_POOL: PoolConfig = { slots: 32768, slotBytes: 2048, bigSlots: 16, bigSlotBytes: 69632 };

/** Writes down what a connection's owner is told, and reads what arrives unless told to leave it. */
export class Recorder implements SocketOwner {
  readonly log: string[] = [];
  readonly bytes: number[] = [];
  tcb: Tcb | null = null;
  autoRead = true;
  readonly rig: TcpRig;

  constructor(rig: TcpRig) {
    this.rig = rig;
  }

  onEstablished(tcb: Tcb): void {
    this.tcb = tcb;
    this.log.push('established');
  }

  onReadable(tcb: Tcb): void {
    this.tcb = tcb;
    if (this.autoRead) this.read();
  }

  onWritable(): void {
    this.log.push('writable');
  }

  onFin(): void {
    this.log.push('fin');
  }

  onClosed(_tcb: Tcb, end: number): void {
    this.log.push(`closed:${END_NAMES[end]}`);
    this.tcb = null;
  }

  /** Reads up to `max` bytes; returns them as text. */
  read(max = 1 << 20): string {
    const at = this.bytes.length;
    const dst = new Uint8Array(Math.min(max, sock.readable(this.tcb!)));
    const n = sock.read(this.rig.host.tcp, this.tcb!, dst, 0, dst.length);
    for (let i = 0; i < n; i++) this.bytes.push(dst[i]!);
    return String.fromCharCode(...this.bytes.slice(at));
  }

  get text(): string {
    return this.bytes.map((c) => String.fromCharCode(c)).join('');
  }

  /** Calls of the socket, followed by the end of the burst, as the loop would have it. */
  write(data: Uint8Array | string): number {
    const bytes = typeof data === 'string' ? ascii(data) : data;
    const n = sock.write(this.rig.host.tcp, this.tcb!, bytes, 0, bytes.length);
    this.rig.pump();
    return n;
  }

  shutdown(): void {
    sock.shutdown(this.rig.host.tcp, this.tcb!);
    this.rig.pump();
  }

  close(): void {
    sock.close(this.rig.host.tcp, this.tcb!);
    this.rig.pump();
  }

  abort(): void {
    sock.abort(this.rig.host.tcp, this.tcb!);
    this.rig.pump();
  }

  get state(): string {
    return this.tcb === null ? 'CLOSED' : STATE_NAMES[this.tcb.state]!;
  }
}

export const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** `n` bytes that repeat only after 251. */
export const pattern = (n: number, from = 0): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (from + i) % 251);

export interface Sent {
  flags: string;
  seq?: number;
  ack?: number;
  win?: number;
  data?: Uint8Array | string;
  mss?: number;
  wscale?: number;
  sackOk?: boolean;
  /** Absolute value and echo; null = leave the option out though it was negotiated. */
  ts?: readonly [number, number] | null;
  /** Relative edges. */
  sack?: readonly (readonly [number, number])[];
}

export interface Expected {
  flags?: string;
  seq?: number;
  ack?: number;
  win?: number;
  data?: Uint8Array | string;
  len?: number;
  mss?: number | null;
  wscale?: number | null;
  sackOk?: boolean;
  ts?: boolean;
  tsEcr?: number;
  sack?: readonly (readonly [number, number])[];
  /** Milliseconds of `rig.t` when it left. */
  at?: number;
}

export interface RigOptions {
  readonly seed?: number;
  readonly wire?: Partial<WireOptions>;
  readonly tcp?: Partial<TcpConfig>;
  readonly pool?: PoolConfig;
  /** The host's initial sequence number, for tests of wrapping. */
  readonly iss?: number;
  readonly ttl?: number;
}

interface Captured {
  at: number;
  segment: DecodedSegment;
  frame: Uint8Array;
}

export class TcpRig {
  readonly host: Host;
  readonly ctx: Context;
  /** Every segment that came out, also those a conversation has consumed. */
  readonly sent: Captured[] = [];
  /** Packets of other protocols that came out. */
  readonly others: Uint8Array[] = [];
  /** Segments that belong to no conversation are decoded and forgotten, instead of failing the test. */
  ignoreStrangers = false;
  private readonly far: Device;
  private readonly farCtx: Context;
  private readonly talks: Conversation[] = [];
  private readonly start = 5_000_000;
  private now = this.start;

  constructor(options: RigOptions = {}) {
    const config: HostConfig = {
      ...SMALL_HOST,
      // Full buffers from the start: limits.ts has tests of its own.
      tcp: {
        ...SMALL_HOST.tcp,
        maxConnections: 64,
        maxTimeWait: 8,
        maxSegments: 4096,
        bufStart: SMALL_HOST.tcp.rcvBuf,
        ...options.tcp,
      },
      ttl: options.ttl ?? SMALL_HOST.ttl,
    };
    const made = makeHost(options.seed ?? 1, config, options.pool ?? ROOMY_POOL);
    this.host = made.host;
    this.ctx = made.ctx;
    this.farCtx = new Context(FramePool.create(TINY_POOL), seeded(99));
    const [near, far] = memoryWire(this.ctx, this.farCtx, { ...PLAIN_WIRE, ...options.wire });
    this.far = far;
    const port = this.host.addPort(near, 0x0200, 1);
    this.host.addresses.add({ addr: HOST, prefixLen: 24, port: port.id, flags: 1 });
    const { iss } = options;
    if (iss !== undefined) this.host.tcp.secrets.isn = () => iss;
    this.ctx.tick(this.now);
    // The peer's address is known before the test begins.
    this.inject(this.arp(1));
    this.pump();
  }

  /** Milliseconds since the start. */
  get t(): number {
    return (this.now - this.start) / 1000;
  }

  private arp(operation: number): Uint8Array {
    const f = new Uint8Array(60);
    const broadcast = operation === 1;
    f.set(broadcast ? [255, 255, 255, 255, 255, 255] : [2, 0, 0, 0, 0, 1], 0);
    f.set([2, 0, 0, 0, 0, 2, 8, 6, 0, 1, 8, 0, 6, 4, 0, operation, 2, 0, 0, 0, 0, 2, 10, 0, 0, 2], 6);
    if (!broadcast) f.set([2, 0, 0, 0, 0, 1], 32);
    f.set([10, 0, 0, 1], 38);
    return f;
  }

  /** Puts a frame on the wire. */
  inject(frame: Uint8Array): void {
    const { pool } = this.farCtx;
    const f = frame.length <= pool.config.slotBytes - HEADROOM ? this.farCtx.create() : this.farCtx.createBig();
    assert.ok(f !== 0, 'the test has no frame left');
    pool.buf.set(frame, pool.off[f]!);
    pool.len[f] = frame.length;
    assert.is(this.far.tx(Int32Array.of(f), 0, 1), 1);
  }

  /** Lets the host work, at this instant, until it has nothing more to do, and takes what it sent. */
  pump(): void {
    let quiet = false;
    while (!quiet) {
      quiet = this.host.turn(this.now) === 0;
      quiet = this.collect() === 0 && quiet;
    }
    this.check();
  }

  private collect(): number {
    const burst = new Int32Array(64);
    const { pool } = this.farCtx;
    const n = this.far.rx(burst, 64);
    for (let i = 0; i < n; i++) {
      const f = burst[i]!;
      const frame = new Uint8Array(pool.wireLength(f));
      gather(pool, f, frame, 0);
      const partial = (pool.flags[f]! & F_CSUM_PARTIAL) !== 0;
      this.farCtx.fate[0]! += 1;
      this.farCtx.settle(f, 0);
      if (frame[12] === 8 && frame[13] === 6) {
        if (frame[21] === 1 && frame[41] === 2) this.inject(this.arp(2));
        continue;
      }
      if (frame[23] !== 6) {
        this.others.push(frame);
        continue;
      }
      const segment = decodeSegment(frame, partial);
      const c = { at: this.t, segment, frame };
      this.sent.push(c);
      const talk = this.talks.find((k) => k.hostPort === segment.sport && k.peerPort === segment.dport);
      if (talk === undefined && this.ignoreStrangers) continue;
      if (talk === undefined) throw new Error(`a segment for nobody: ${JSON.stringify(segment)}`);
      talk.queue.push(c);
    }
    return n;
  }

  /** Lets time pass, from timer to timer. */
  advance(ms: number): void {
    const end = this.now + ms * 1000;
    for (;;) {
      const left = (end - this.now) / 1000;
      if (left <= 0) break;
      this.now += Math.min(Math.max(this.host.nextDue(Math.ceil(left)), 1), left) * 1000;
      this.pump();
    }
  }

  /** What holds whenever the host rests. */
  check(): void {
    const { ctx, host } = this;
    const held = Object.values(host.held()).reduce((a, b) => a + b, 0);
    assert.is(outstanding(ctx), ctx.pool.inUse, 'received + created = sent + delivered + dropped + in use');
    assert.is(held, ctx.pool.inUse, `frames in use are held by somebody: ${JSON.stringify(host.held())}`);
    for (const tcb of host.tcp.blocks) if (tcb !== null) checkBlock(host, tcb);
  }

  /** A listener and its recorder. */
  listen(port: number, backlog = 16): Recorder {
    const recorder = new Recorder(this);
    this.host.tcp.listeners.add(HOST, port, backlog, recorder, 0);
    return recorder;
  }

  /** A conversation in which the host's port is known. */
  talk(hostPort: number, peerPort = 40000, iss = 1000): Conversation {
    const c = new Conversation(this, hostPort, peerPort, iss);
    this.talks.push(c);
    return c;
  }

  /** The host connects to the peer's port 80; nothing has been answered yet. */
  connect(peerIss = 1000, hostPort = 0): [Conversation, Recorder] {
    const recorder = new Recorder(this);
    const tcb = this.host.tcp.connect(HOST, hostPort, PEER, 80, recorder, 0);
    assert.ok(tcb !== null, 'connect');
    recorder.tcb = tcb;
    const c = this.talk(tcb!.lport, 80, peerIss);
    c.hostIss = tcb!.iss;
    this.pump();
    return [c, recorder];
  }

  /** A connection the peer opened: established, with the options given on the SYN. */
  accept(syn: Partial<Sent> = { mss: 1460 }, port = 80, peerPort = 40000, iss = 1000): [Conversation, Recorder] {
    const recorder = this.listen(port);
    const c = this.talk(port, peerPort, iss);
    c.open(syn);
    return [c, recorder];
  }

  /** An ICMP error from a router, quoting the first 28 bytes of a packet the host sent. */
  icmp(type: number, code: number, rest: number, quoted: Uint8Array): void {
    const m = new Uint8Array(8 + 28);
    const v = new DataView(m.buffer);
    m[0] = type;
    m[1] = code;
    v.setUint32(4, rest);
    m.set(quoted.subarray(14, 14 + 28), 8);
    v.setUint16(2, naiveChecksum(m));
    this.inject(etherFrame(ipPacket(PEER, HOST, 1, m)));
    this.pump();
  }

  /** Frames dropped for `reason`. */
  dropped(reason: number): number {
    return this.ctx.drops[reason]!;
  }

  /** Everything is over: no frame, descriptor, connection is left. */
  assertEmpty(): void {
    assert.is(this.ctx.pool.inUse, 0, 'frames in use');
    assert.is(this.host.tcp.segments.used, 0, 'descriptors in use');
    assert.is(this.host.tcp.open, 0, 'control blocks in use');
  }
}

export class Conversation {
  readonly rig: TcpRig;
  readonly hostPort: number;
  readonly peerPort: number;
  readonly iss: number;
  hostIss = 0;
  /** The next number the peer sends and the next it awaits, relative. */
  seq = 0;
  ack = 0;
  /** Timestamps are in use. */
  ts = false;
  /** The peer's timestamp clock at rig.t = 0. */
  tsBase = 100_000;
  lastHostTs = 0;
  win = 65535;
  readonly queue: Captured[] = [];

  constructor(rig: TcpRig, hostPort: number, peerPort: number, iss: number) {
    this.rig = rig;
    this.hostPort = hostPort;
    this.peerPort = peerPort;
    this.iss = iss;
  }

  /** The whole passive opening. */
  open(syn: Partial<Sent> = {}): void {
    this.send({ flags: 'S', ...syn });
    const sa = this.expect({ flags: 'SA', ack: 1 });
    this.ts = sa.ts !== undefined;
    this.send({ flags: 'A' });
  }

  /** Builds a segment without sending it. */
  frame(s: Sent): Uint8Array {
    return segmentFrame(this.fill(s));
  }

  private fill(s: Sent) {
    const data = typeof s.data === 'string' ? ascii(s.data) : (s.data ?? new Uint8Array());
    const ts =
      s.ts === null
        ? undefined
        : (s.ts ?? (this.ts ? [this.tsBase + Math.floor(this.rig.t), this.lastHostTs] : undefined));
    return {
      src: PEER,
      dst: HOST,
      sport: this.peerPort,
      dport: this.hostPort,
      seq: (this.iss + (s.seq ?? this.seq)) | 0,
      ack: s.flags.includes('A') ? (this.hostIss + (s.ack ?? this.ack)) | 0 : 0,
      flags: s.flags,
      win: s.win ?? this.win,
      data,
      ...(s.mss !== undefined && { mss: s.mss }),
      ...(s.wscale !== undefined && { wscale: s.wscale }),
      ...(s.sackOk !== undefined && { sackOk: s.sackOk }),
      ...(ts !== undefined && { ts: ts as [number, number] }),
      ...(s.sack !== undefined && {
        sack: s.sack.map(([l, r]) => [(this.hostIss + l) | 0, (this.hostIss + r) | 0] as const),
      }),
    };
  }

  /** The segment reaches the host, which then works. Without `seq` it is the next in order. */
  send(s: Sent): void {
    this.put(s);
    this.rig.pump();
  }

  /** The segment lies on the wire: it is received with others, in one burst. */
  put(s: Sent): void {
    const filled = this.fill(s);
    this.rig.inject(segmentFrame(filled));
    if (s.seq === undefined) {
      this.seq += filled.data.length + (s.flags.includes('S') ? 1 : 0) + (s.flags.includes('F') ? 1 : 0);
    }
  }

  /** The segment with bytes of its TCP part changed, checksum right. */
  sendRaw(s: Sent, change: (tcp: Uint8Array) => void): void {
    const tcp = tcpBytes(this.fill(s));
    change(tcp);
    tcp[16] = tcp[17] = 0;
    const pseudo = new Uint8Array(12 + tcp.length);
    const v = new DataView(pseudo.buffer);
    v.setInt32(0, PEER);
    v.setInt32(4, HOST);
    v.setUint16(8, 6);
    v.setUint16(10, tcp.length);
    pseudo.set(tcp, 12);
    new DataView(tcp.buffer).setUint16(16, naiveChecksum(pseudo));
    this.rig.inject(etherFrame(ipPacket(PEER, HOST, 6, tcp)));
    this.rig.pump();
  }

  /** The next segment that came out must look like this. Returns it as decoded, with relative numbers. */
  expect(e: Expected): DecodedSegment & { at: number; frame: Uint8Array } {
    const c = this.queue.shift();
    if (c === undefined) return assert.unreachable(`nothing was sent, expected ${JSON.stringify(e)}`) as never;
    const { segment: s, at } = c;
    if (s.flags.includes('S')) this.hostIss = s.seq;
    const seq = (s.seq - this.hostIss) | 0;
    const ack = s.flags.includes('A') ? (s.ack - this.iss) | 0 : 0;
    if (s.ts !== undefined) this.lastHostTs = s.ts[0];
    const got: Expected = {};
    const want: Expected = { ...e };
    if (e.flags !== undefined) {
      got.flags = s.flags;
      // PSH is looked at only where the template names it.
      if (!e.flags.includes('P')) got.flags = got.flags.replace('P', '');
      want.flags = [...'SFRPUECA'].filter((l) => e.flags!.includes(l)).join('');
    }
    if (e.seq !== undefined) got.seq = seq;
    if (e.ack !== undefined) got.ack = ack;
    if (e.win !== undefined) got.win = s.win;
    if (e.len !== undefined) got.len = s.data.length;
    if (e.data !== undefined) {
      want.data = String.fromCharCode(...(typeof e.data === 'string' ? ascii(e.data) : e.data));
      got.data = String.fromCharCode(...s.data);
    }
    if (e.mss !== undefined) got.mss = s.mss ?? null;
    if (e.wscale !== undefined) got.wscale = s.wscale ?? null;
    if (e.sackOk !== undefined) got.sackOk = s.sackOk ?? false;
    if (e.ts !== undefined) got.ts = s.ts !== undefined;
    if (e.tsEcr !== undefined) got.tsEcr = s.ts?.[1] ?? -1;
    if (e.sack !== undefined)
      got.sack = (s.sack ?? []).map(([l, r]) => [(l - this.iss) | 0, (r - this.iss) | 0] as const);
    if (e.at !== undefined) got.at = Math.floor(at);
    assert.equal(got, want, `segment sent: ${describe(s, seq, ack)} at ${at} ms`);
    const end = seq + s.data.length + (s.flags.includes('S') ? 1 : 0) + (s.flags.includes('F') ? 1 : 0);
    if (!s.flags.includes('R') && ((end - this.ack) | 0) > 0) this.ack = end;
    return { ...s, seq, ack, at, frame: c.frame };
  }

  /** Nothing (more) came out. */
  expectNone(): void {
    const s = this.queue[0]?.segment;
    if (s === undefined) return;
    const text = describe(s, (s.seq - this.hostIss) | 0, (s.ack - this.iss) | 0);
    assert.unreachable(`${this.queue.length} segment(s) unexpected, the first: ${text}`);
  }

  /** Takes what came out, unseen. */
  take(): DecodedSegment[] {
    const all = this.queue.splice(0).map((c) => c.segment);
    for (const s of all) {
      if (s.ts !== undefined) this.lastHostTs = s.ts[0];
      const end = (s.seq + s.data.length + (flagBits(s.flags) & 3 ? 1 : 0) - this.hostIss) | 0;
      if (((end - this.ack) | 0) > 0) this.ack = end;
    }
    return all;
  }
}

const describe = (s: DecodedSegment, seq: number, ack: number): string =>
  `${s.flags} seq ${seq}..${seq + s.data.length} ack ${ack} win ${s.win}${s.sack ? ` sack x${s.sack.length}` : ''}`;
