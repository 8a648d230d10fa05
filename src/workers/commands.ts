/**
 * Changes on their way to a worker: batches, numbered one after the other, as JSON cut into pieces that fit the messages of
 * a channel (stack/msg). A worker's thread never returns to its event loop, so it cannot get Node's messages; rings it can
 * read between two bursts. JSON, because names, lists and options have any length and layouts of fixed words have not, and
 * because a change comes a few times a day: it costs microseconds then, and nothing otherwise.
 *
 * Questions (questions.ts), which change nothing, go the same way.
 *
 * The control thread owns a Sender, the worker a Receiver. The answer comes back as a WorkerEvent (events.ts).
 */
import type { AdminState } from '../../lb/dest.ts';
import { layout } from '../../stack/msg/layout.ts';
import { Channel, type ChannelConfig } from '../../stack/msg/msg.ts';
import type { Ipv4 } from '../../stack/types.ts';
import type { Action, ServerRef, ServiceRef } from '../config/actions.ts';
import type { Mac } from '../config/model.ts';
import type { PreparedScheduler } from '../schedulers/install.ts';
import type { Question } from './questions.ts';

/** Changes of what an operator wants at run time; no configuration says so. */
export type StateCommand =
  | { readonly do: 'setState'; readonly at: ServiceRef; readonly server: ServerRef; readonly state: AdminState }
  /** Resets the sessions and connections that the server has now. */
  | { readonly do: 'resetServer'; readonly at: ServiceRef; readonly server: ServerRef };

/** Ends the connection of layer 4 with this client and virtual address. */
export interface CloseCommand {
  readonly do: 'closeConnection';
  readonly proto: 'tcp' | 'udp';
  readonly client: ConnEnd;
  readonly vip: ConnEnd;
}
export interface ConnEnd {
  readonly ip: Ipv4;
  readonly port: number;
}

/** A static neighbour at the link with this index; null removes what is known of it. */
export interface NeighbourCommand {
  readonly do: 'setNeighbour';
  readonly ip: Ipv4;
  readonly link: number;
  readonly mac: Mac | null;
}

/** A health check has changed its mind: for workers that do not check. */
export interface HealthCommand {
  readonly do: 'setHealth';
  readonly at: ServiceRef;
  readonly server: ServerRef;
  readonly up: boolean;
}

export type MomentCommand = StateCommand | CloseCommand | NeighbourCommand | HealthCommand;
export type Command = Action | MomentCommand;

/** Not part of a configuration. */
export const isCommandOfMoment = (command: Command): command is MomentCommand =>
  ['setState', 'resetServer', 'closeConnection', 'setNeighbour', 'setHealth'].includes(command.do);

/** Applied as a whole or not at all. */
export interface Batch {
  /** One more than that of the batch before; the configuration tsvs starts with is number 1. */
  readonly version: number;
  readonly commands: readonly Command[];
  /** From files that the commands name and the worker does not know yet. */
  readonly schedulers?: readonly PreparedScheduler[];
}

export const FIRST_VERSION = 1;
/** Of a batch that is outside of the order: states only, and what has no object is passed over. */
export const UNNUMBERED = 0;

const PIECE_WORDS = 248;
const PIECE_BYTES = PIECE_WORDS * 4;
const CONFIG: ChannelConfig = { capacity: 32, words: PIECE_WORDS + 4 };

/** Piece `piece` of `pieces` of a batch, or of question `version`; `bytes` of `data` count. */
const FIELDS = { version: 'i32', piece: 'i32', pieces: 'i32', bytes: 'i32', data: PIECE_WORDS } as const;
const PIECE = layout(1, FIELDS);
const QUESTION = layout(2, FIELDS);

interface Piece {
  readonly version: number;
  readonly piece: number;
  readonly pieces: number;
  readonly bytes: number;
  readonly data: Int32Array;
}

/** Memory for both ends; made by the control thread. */
export function commandMemory(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(Channel.bytes(CONFIG));
  Channel.create(memory, 0, CONFIG);
  return memory;
}

/** The control thread's end. */
export class Sender {
  private readonly channel: Channel;
  private readonly waiting: { of: typeof PIECE; values: Piece }[] = [];

  constructor(memory: SharedArrayBuffer) {
    this.channel = Channel.attach(memory, 0, 0);
  }

  /** Takes a batch to be sent by `flush`. */
  put({ version, ...content }: Batch): void {
    this.cut(PIECE, version, content);
  }

  /** Takes a question to be sent by `flush`; the answer names its id. */
  ask(id: number, question: Question): void {
    this.cut(QUESTION, id, question);
  }

  private cut(of: typeof PIECE, version: number, content: object): void {
    const text = new TextEncoder().encode(JSON.stringify(content));
    const pieces = Math.ceil(text.length / PIECE_BYTES);
    for (let piece = 0; piece < pieces; piece++) {
      const part = text.subarray(piece * PIECE_BYTES, (piece + 1) * PIECE_BYTES);
      const data = new Int32Array(PIECE_WORDS);
      new Uint8Array(data.buffer).set(part);
      this.waiting.push({ of, values: { version, piece, pieces, bytes: part.length, data } });
    }
  }

  /** Sends what the rings have room for; true when nothing is left to send. The worker is to be woken after it. */
  flush(): boolean {
    while (this.waiting.length > 0) {
      const { of, values } = this.waiting[0]!;
      if (this.channel.send(of, values) === 0) return false;
      this.waiting.shift();
    }
    return true;
  }
}

/** The worker's end. */
export class Receiver {
  private readonly channel: Channel;

  /** `take` gets each batch, and `asked` each question, once it is there as a whole. */
  constructor(
    memory: SharedArrayBuffer,
    take: (batch: Batch) => void,
    asked: (id: number, question: Question) => void = () => {},
  ) {
    this.channel = Channel.attach(memory, 0, 1);
    this.collect(PIECE, (version, content) => take({ version, ...(content as Omit<Batch, 'version'>) }));
    this.collect(QUESTION, (id, question) => asked(id, question as Question));
  }

  private collect(of: typeof PIECE, whole: (version: number, content: unknown) => void): void {
    let text: Uint8Array[] = [];
    this.channel.on(of, ({ version, piece, pieces, bytes, data }) => {
      if (piece === 0) text = [];
      text.push(new Uint8Array(data.buffer, data.byteOffset, bytes));
      if (piece < pieces - 1) return;
      const content: unknown = JSON.parse(join(text));
      text = [];
      whole(version, content);
    });
  }

  /** Takes what has come; two loads when nothing has. */
  poll(): void {
    this.channel.poll(CONFIG.capacity);
  }
}

/** A character may stand across two pieces. */
function join(pieces: readonly Uint8Array[]): string {
  const decoder = new TextDecoder();
  return pieces.map((piece) => decoder.decode(piece, { stream: true })).join('') + decoder.decode();
}
