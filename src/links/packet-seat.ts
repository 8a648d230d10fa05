/**
 * Where the socket of a worker is, in memory that outlives the thread: one that begins anew after another died goes on with the same
 * socket, at the same slot of its ring. Sockets in a fanout group cannot be bound again (packet(7)), so for an interface that was created
 * anew worker 0 opens new ones, for all in their order, and offers each worker its own.
 *
 * | words              | writer                                             |
 * | ------------------ | -------------------------------------------------- |
 * | FD .. AT           | the worker                                         |
 * | OFFERED_FD ..      | worker 0, while nothing is offered                 |
 * | OFFER              | worker 0 sets it; who takes the offer resets it    |
 *
 * Called by packet.ts, packet-ring.ts and packet-open.ts. Cold, but for AT.
 */

/** An open socket, bound to an interface. */
export interface PacketSocket {
  readonly fd: number;
  /** Address of the ring; 0 when there is none. */
  readonly ringAddress: number;
  /** Index of the interface. */
  readonly index: number;
}

const FD = 0;
const AT = 4;
const OFFERED_FD = 5;
const OFFER = 9;
const WORDS = 10;

export class PacketSeat {
  /** The slot of the ring that is filled next is `words[at]`. */
  readonly words: Int32Array;
  readonly at: number;
  private readonly base: number;

  constructor(memory: SharedArrayBuffer, worker: number) {
    this.words = new Int32Array(memory);
    this.base = worker * WORDS;
    this.at = this.base + AT;
  }

  /** Memory for these sockets, one for each worker. */
  static memory(sockets: readonly PacketSocket[]): SharedArrayBuffer {
    const memory = new SharedArrayBuffer(sockets.length * WORDS * 4);
    sockets.forEach((socket, worker) => void new PacketSeat(memory, worker).sit(socket));
    return memory;
  }

  get socket(): PacketSocket {
    return this.read(FD);
  }

  /** Another socket, with a new ring. */
  sit(socket: PacketSocket): void {
    this.write(FD, socket);
    this.words[this.at] = 0;
  }

  /** It was bound again. */
  boundTo(index: number): void {
    this.write(FD, { ...this.socket, index });
  }

  offer(socket: PacketSocket): void {
    this.write(OFFERED_FD, socket);
    Atomics.store(this.words, this.base + OFFER, 1);
  }

  /** What is offered, once; null when nothing is. It is the caller's then, who may also be worker 0, whose offer nobody took. */
  takeOffer(): PacketSocket | null {
    const { words, base } = this;
    const offered = this.read(OFFERED_FD);
    return Atomics.compareExchange(words, base + OFFER, 1, 0) === 1 ? offered : null;
  }

  private read(from: number): PacketSocket {
    const word = (n: number): number => Atomics.load(this.words, this.base + from + n);
    return { fd: word(0), ringAddress: word(1) * 0x1_0000_0000 + (word(2) >>> 0), index: word(3) };
  }

  private write(from: number, { fd, ringAddress, index }: PacketSocket): void {
    const values = [fd, Math.floor(ringAddress / 0x1_0000_0000), ringAddress | 0, index];
    values.forEach((value, n) => void Atomics.store(this.words, this.base + from + n, value));
  }
}
