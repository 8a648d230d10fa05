/**
 * Clients and servers that talk through a FullNAT director, 64 pairs at a time, a packet of each in one burst. Each `open`
 * begins with clients that were not there yet.
 */
import { get16, get32, set32 } from '../../stack/wire/bytes.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { address, L3, L4_AT, type Sink, type Source } from './generator.ts';
import { clientOf, VIP, type World } from './l4-world.ts';

const BATCH = 64;
const { SYN, ACK, FIN, PSH } = tcp;

export class Conversations {
  /** How many talk at the same time. */
  readonly size = BATCH;
  private readonly world: World;
  /** How the director presents each client to its server. */
  private readonly local = new Int32Array(BATCH);
  private readonly server = new Int32Array(BATCH);
  private readonly port = new Int32Array(BATCH);
  private readonly number = new Int32Array(BATCH);
  /** The first of the clients that talk. */
  private first = -BATCH;
  // Of the segments to be sent.
  private flags = 0;
  private seq = 0;
  private ack = 0;

  constructor(world: World) {
    this.world = world;
  }

  /** SYN, SYN-ACK, ACK. */
  open(): void {
    const { device } = this.world;
    this.first += BATCH;
    device.sink = this.learn;
    this.send(this.fromClient, SYN, 1000, 0);
    device.sink = null;
    this.send(this.fromServer, SYN | ACK, 5000, 1);
    this.send(this.fromClient, ACK, 1001, 5001);
  }

  /** Request, answer. */
  exchange(): void {
    this.send(this.fromClient, PSH | ACK, 1001, 5001);
    this.send(this.fromServer, PSH | ACK, 5001, 1);
  }

  /** FIN, acknowledgment, FIN, acknowledgment. */
  close(): void {
    this.send(this.fromClient, FIN | ACK, 1001, 5001);
    this.send(this.fromServer, ACK, 5001, 2);
    this.send(this.fromServer, FIN | ACK, 5001, 2);
    this.send(this.fromClient, ACK, 1002, 5002);
  }

  private readonly fromClient: Source = ({ buf, i32, off }, frames, n, first) => {
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      address(i32, at, clientOf((this.first + first + i) & 0xffffff), VIP);
      this.segment(buf, at, this.seq, this.ack);
    }
  };

  private readonly fromServer: Source = ({ buf, i32, off }, frames, n, first) => {
    const { server, local, port, number } = this;
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      const k = first + i;
      address(i32, at, server[k]!, local[k]!);
      set32(buf, at + L4_AT, (80 << 16) | port[k]!);
      this.segment(buf, at, this.seq, (number[k]! + this.ack) | 0);
    }
  };

  private segment(buf: Uint8Array, off: number, seq: number, ack: number): void {
    set32(buf, off + L4_AT + 4, seq);
    set32(buf, off + L4_AT + 8, ack);
    buf[off + L4_AT + 13] = this.flags;
  }

  private readonly learn: Sink = (buf, off, i) => {
    this.local[i] = get32(buf, off + L3 + 12);
    this.server[i] = get32(buf, off + L3 + 16);
    this.port[i] = get16(buf, off + L4_AT);
    this.number[i] = get32(buf, off + L4_AT + 4);
  };

  /** A server's acknowledgment counts from the number its client was given. */
  private send(source: Source, flags: number, seq: number, ack: number): void {
    const { world } = this;
    const { device } = world;
    device.restart();
    device.source = source;
    this.flags = flags;
    this.seq = seq;
    this.ack = ack;
    world.run(BATCH, 2);
    if (device.sent !== BATCH) throw new Error(`l4: ${device.sent} of ${BATCH} packets went on`);
  }
}
