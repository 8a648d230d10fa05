/**
 * Warms a way of layer 4: frames of clients, made here, pass the director; where the server's answers come back through it, each frame
 * to the server is turned round. In each round some connections open, pass packets in turn, and end; UDP just passes packets.
 */
import { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { type Device, newStats } from '../../stack/netif/device.ts';
import type { FrameId } from '../../stack/types.ts';
import { get16, set16 } from '../../stack/wire/bytes.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import * as udp from '../../stack/wire/udp.ts';
import type { Config } from '../config/model.ts';
import { SeededRandom } from '../workers/seeded.ts';
import { buildScene, CLIENT, MAC_HI, PORT, SERVER, START_US, VIP, type Way } from './scene.ts';

const POOL = { slots: 1024, slotBytes: 2048, bigSlots: 2, bigSlotBytes: 69632 };
/** Connections of a round, and packets of each between its first and its last. */
const FLOWS = 48;
const PACKETS = 16;
const TURN_US = 20;
const FIRST_PORT = 10_000;
const PORTS = 50_000;
/** Bytes of a frame: 60, as the shortest that Ethernet has. */
const FRAME = 60;
const L4 = eth.ETH_LEN + ip.IPV4_LEN;
const WINDOW = 500;

/** The far end: gives what a client sends, and answers for the server. */
class Mirror implements Device {
  readonly name = 'mirror';
  readonly caps = { mtu: 1500, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1 };
  readonly stats = newStats();
  readonly fd = -1;
  readonly up = true;
  /** Frames that clients still have to send in this phase, and the TCP flags of them. */
  left = 0;
  flags = 0;
  /** Of the connections of this round. */
  firstPort = FIRST_PORT;
  /** Frames that came to the server. */
  arrived = 0;
  private readonly ctx: Context;
  private readonly proto: number;
  private readonly answers: boolean;
  private readonly waiting = new Int32Array(4096);
  private nWaiting = 0;
  private given = 0;

  constructor(ctx: Context, proto: number, answers: boolean) {
    this.ctx = ctx;
    this.proto = proto;
    this.answers = answers;
  }

  rx(out: Int32Array, max: number): number {
    let n = 0;
    while (n < max && this.nWaiting > 0) out[n++] = this.waiting[--this.nWaiting]!;
    while (n < max && this.left > 0) {
      const f = this.ctx.pool.alloc();
      if (f === 0) break;
      this.left--;
      this.make(f, this.firstPort + (this.given++ % FLOWS));
      out[n++] = f;
    }
    return n;
  }

  private make(f: FrameId, port: number): void {
    const { buf, i32, off, len } = this.ctx.pool;
    const at = off[f]!;
    len[f] = FRAME;
    eth.emit(buf, at, MAC_HI, VIP, MAC_HI, CLIENT, eth.ETHERTYPE_IPV4);
    ip.emit(buf, at + eth.ETH_LEN, 0, FRAME - eth.ETH_LEN, port, ip.DF, ip.DEFAULT_TTL, this.proto, CLIENT, VIP);
    ip.fillChecksum(buf, i32, at + eth.ETH_LEN);
    if (this.proto === ip.PROTO_UDP) udp.emit(buf, at + L4, port, PORT, FRAME - L4, 0);
    else tcp.emit(buf, at + L4, port, PORT, 1000, 2000, tcp.TCP_LEN, this.flags, WINDOW, 0);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    const { ctx } = this;
    const { buf, off } = ctx.pool;
    for (let i = from; i < to; i++) {
      const f = frames[i]!;
      const at = off[f]!;
      if (eth.type(buf, at) === eth.ETHERTYPE_IPV4 && eth.dstLo(buf, at) === SERVER) {
        this.arrived++;
        if (this.answers && this.nWaiting < this.waiting.length) this.answer(at);
      }
      ctx.sent(f);
    }
    return to - from;
  }

  /** Its answer: ends exchanged, and a SYN acknowledged with one. */
  private answer(at: number): void {
    const { pool } = this.ctx;
    const f = pool.alloc();
    if (f === 0) return;
    const { buf, i32, off, len } = pool;
    const to = off[f]!;
    const l3 = at + eth.ETH_LEN;
    const l4 = l3 + ip.headerLength(buf, l3);
    buf.copyWithin(to, at, at + FRAME);
    len[f] = FRAME;
    eth.emit(buf, to, MAC_HI, VIP, MAC_HI, SERVER, eth.ETHERTYPE_IPV4);
    const [src, dst] = [ip.dst(buf, l3), ip.src(buf, l3)];
    ip.emit(buf, to + eth.ETH_LEN, 0, FRAME - eth.ETH_LEN, 1, ip.DF, ip.DEFAULT_TTL, this.proto, src, dst);
    ip.fillChecksum(buf, i32, to + eth.ETH_LEN);
    const [from, port] = [get16(buf, l4), get16(buf, l4 + 2)];
    set16(buf, to + L4, port);
    set16(buf, to + L4 + 2, from);
    if (this.proto === ip.PROTO_TCP) {
      const flags = tcp.flags(buf, l4);
      tcp.emit(buf, to + L4, port, from, 5000, 1001, tcp.TCP_LEN, flags | tcp.ACK, WINDOW, 0);
    }
    this.waiting[this.nWaiting++] = f;
  }

  close(): void {}
}

/** The director, ready for rounds; each returns whether all packets came to the server. */
export function directorRounds(config: Config, { mode, proto }: Way, several: boolean): () => boolean {
  const ctx = new Context(FramePool.create(POOL), new SeededRandom(1));
  let now = START_US;
  ctx.tick(now);
  const number = proto === 'udp' ? ip.PROTO_UDP : ip.PROTO_TCP;
  const mirror = new Mirror(ctx, number, mode === 'fnat' || mode === 'nat');
  const { host, ports } = buildScene(ctx, config, mirror, several);
  for (const addr of [CLIENT, SERVER]) host.neigh.nud.setStatic(addr, ports[0]!.id, MAC_HI, addr);
  const pass = (flags: number, packets: number): boolean => {
    mirror.flags = flags;
    mirror.left = packets;
    mirror.arrived = 0;
    do host.turn((now += TURN_US));
    while (mirror.left > 0);
    // What was turned round, and what that led to.
    while (host.turn((now += TURN_US)) > 0);
    return mirror.arrived === packets;
  };
  return () => {
    mirror.firstPort = FIRST_PORT + ((mirror.firstPort - FIRST_PORT + FLOWS) % PORTS);
    const opened = pass(tcp.SYN, FLOWS);
    const passed = pass(tcp.ACK, FLOWS * PACKETS);
    const ended = pass(tcp.FIN | tcp.ACK, FLOWS);
    // Long enough for the connections to be forgotten.
    for (let i = 0; i < 20; i++) host.turn((now += 1_000_000));
    return opened && passed && ended;
  };
}
