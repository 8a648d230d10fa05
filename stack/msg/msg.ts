/**
 * Messages between two threads, in practice the control thread and one worker: records over four SPSC rings, an urgent and a normal
 * one each way. Cold, but for `poll`, which a worker calls once per burst and which is two loads when nothing has come.
 *
 *   word 0  type (16 bits) | priority << 16
 *   word 1  sequence number of the message, 1.. per sender
 *   word 2  sequence number of the message this one answers, 0 = none
 *   word 3+ fields (layout.ts)
 *
 * Within a priority messages arrive in the order in which they were sent; an urgent one overtakes normal ones. A full ring refuses:
 * `send` says so and counts, the sender keeps what it wanted to say. To speak to several workers is to send on several channels.
 */
import { type BlockKind, demand, LINE_BYTES, LINE_WORDS, OWN, openBlock, writeBlock } from '../mem/block.ts';
import { SpscRing } from '../mem/spsc-ring.ts';
import { decode, encode, type FieldKind, type Fields, type Layout } from './layout.ts';

const KIND: BlockKind = { name: 'message channel', magic: 0x4d534743, version: 1 };
const HEADER = 3;

export const URGENT = 0;
export const NORMAL = 1;
export type Priority = typeof URGENT | typeof NORMAL;

/** The thread that created the channel is side 0. */
export type Side = 0 | 1;

export type ChannelConfig = {
  /** Messages each of the four rings holds, a power of two. */
  readonly capacity: number;
  /** Words of the longest message without its header. */
  readonly words: number;
};

export type Envelope = {
  readonly type: number;
  readonly priority: Priority;
  readonly seq: number;
  /** Sequence number (of the receiver's own) that is answered, 0 = none. */
  readonly replyTo: number;
};

type Handler = (rec: Int32Array, envelope: Envelope) => void;

/** One side of a channel. */
export class Channel {
  /** Messages a full ring refused. */
  refused = 0;
  /** Messages that came and for whose type nobody had asked. */
  unknown = 0;
  private readonly out: readonly [SpscRing, SpscRing];
  private readonly in: readonly [SpscRing, SpscRing];
  private readonly sent: Int32Array;
  private readonly got: Int32Array;
  private readonly handlers = new Map<number, Handler>();
  private lastSeq = 0;

  private constructor(rings: readonly SpscRing[], side: Side) {
    const [urgent01, normal01, urgent10, normal10] = rings as [SpscRing, SpscRing, SpscRing, SpscRing];
    this.out = side === 0 ? [urgent01, normal01] : [urgent10, normal10];
    this.in = side === 0 ? [urgent10, normal10] : [urgent01, normal01];
    this.sent = new Int32Array(urgent01.recordWords);
    this.got = new Int32Array(urgent01.recordWords);
  }

  static bytes(cfg: ChannelConfig): number {
    return LINE_BYTES + 4 * SpscRing.bytes(ringConfig(cfg));
  }

  /** Side 0. */
  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: ChannelConfig): Channel {
    const ringBytes = SpscRing.bytes(ringConfig(cfg));
    writeBlock(sab, byteOffset, KIND, LINE_BYTES, [ringBytes]);
    const at = (i: number) => byteOffset + LINE_BYTES + i * ringBytes;
    return new Channel(
      [0, 1, 2, 3].map((i) => SpscRing.create(sab, at(i), ringConfig(cfg))),
      0,
    );
  }

  /** Side 1; or side 0 in another thread than the one that created it, which then keeps off. */
  static attach(sab: SharedArrayBuffer, byteOffset: number, side: Side = 1): Channel {
    const ringBytes = openBlock(sab, byteOffset, KIND)[OWN];
    const at = (i: number) => byteOffset + LINE_BYTES + i * ringBytes;
    return new Channel(
      [0, 1, 2, 3].map((i) => SpscRing.attach(sab, at(i))),
      side,
    );
  }

  /**
   * Sends a message.
   *
   * @param replyTo sequence number of the message this answers
   * @returns its sequence number, or 0 when the ring was full and nothing was sent
   */
  send<S extends Record<string, FieldKind>>(
    layout: Layout<S>,
    values: Fields<S>,
    priority: Priority = NORMAL,
    replyTo = 0,
  ): number {
    this.checkFits(layout);
    const rec = this.sent;
    const seq = this.lastSeq === 0x7fffffff ? 1 : this.lastSeq + 1;
    rec.fill(0);
    rec[0] = layout.type | (priority << 16);
    rec[1] = seq;
    rec[2] = replyTo;
    encode(layout, values, rec, HEADER);
    if (this.out[priority].push(rec, 0, 1) === 0) {
      this.refused++;
      return 0;
    }
    this.lastSeq = seq;
    return seq;
  }

  /** Has messages of this layout's type handled by `handle`, from now on. One handler per type. */
  on<S extends Record<string, FieldKind>>(
    layout: Layout<S>,
    handle: (values: Fields<S>, envelope: Envelope) => void,
  ): void {
    this.checkFits(layout);
    demand(!this.handlers.has(layout.type), `message type ${layout.type} has a handler already`);
    this.handlers.set(layout.type, (rec, envelope) => handle(decode(layout, rec, HEADER), envelope));
  }

  /** Handles up to `max` messages that have come, urgent ones first. Returns how many came. */
  poll(max: number): number {
    let n = 0;
    while (n < max && (this.take(URGENT) || this.take(NORMAL))) n++;
    return n;
  }

  /** Handles one message of this priority. False: none there. */
  private take(priority: Priority): boolean {
    const rec = this.got;
    if (this.in[priority].pop(rec, 0, 1) === 0) return false;
    const type = rec[0] & 0xffff;
    const handler = this.handlers.get(type);
    if (handler === undefined) this.unknown++;
    else handler(rec, { type, priority, seq: rec[1], replyTo: rec[2] });
    return true;
  }

  private checkFits(layout: Layout): void {
    const room = this.sent.length - HEADER;
    demand(layout.words <= room, `message type ${layout.type} needs ${layout.words} words, the channel has ${room}`);
  }
}

function ringConfig(cfg: ChannelConfig): { capacity: number; words: number } {
  return { capacity: cfg.capacity, words: Math.max(HEADER + cfg.words, LINE_WORDS) };
}
