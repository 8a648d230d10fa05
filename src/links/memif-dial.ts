/**
 * The control channel of memif from the side of the client: connects ten times a second until a server is there, tells it of regions and
 * rings, and sees when it has gone. Belongs to worker 0; memif-connection.ts tells the others. Called by memif-client.ts, cold.
 */
import { isConnected, type MemifConnection } from './memif-connection.ts';
import * as m from './memif-message.ts';
import { type MemifHandle, ringAt, ringMemory } from './memif-open.ts';
import type { MemifRing } from './memif-ring.ts';
import { AT_ONCE, GONE, isNobody, MALFORMED, MemifSocket, NOTHING } from './memif-socket.ts';
import { EACCES, errnoName, type Syscalls } from './syscall.ts';

/** Regions: the rings, and then the frame pools by worker. */
const RINGS = 0;
export const FIRST_POOL = 1;
/** A ring that the server has not taken anything from in so many looks, though it is full, has nobody at its other end. */
const PATIENCE = 10;
/** Looks without a connection until that is told. */
const HANDSHAKE = 30;
const NO_MESSAGE = 'the server says what is no message of memif';

export class MemifDial {
  /** What to tell an operator, '' = nothing. */
  notice = '';
  private readonly sys: Syscalls;
  private readonly handle: MemifHandle;
  private readonly connection: MemifConnection;
  /** Of all workers: those to the server, and then those from it. */
  private readonly rings: readonly MemifRing[];
  private socket: MemifSocket | null = null;
  /** What is still to be said in the handshake: each after the answer to the one before. */
  private script: (readonly [Uint8Array, number])[] = [];
  private said = 0;
  /** Looks since the server is there. */
  private looks = 0;
  /** By ring to the server: its tail at the last look, and looks since that has moved. */
  private readonly tails: Int32Array;
  private readonly still: Int32Array;

  constructor(sys: Syscalls, handle: MemifHandle, connection: MemifConnection, rings: readonly MemifRing[]) {
    this.sys = sys;
    this.handle = handle;
    this.connection = connection;
    this.rings = rings;
    this.tails = new Int32Array(handle.queues);
    this.still = new Int32Array(handle.queues);
    const fd = connection.channel;
    if (fd < 0) return;
    // Ours, from before we died.
    this.socket = MemifSocket.of(sys, fd);
    if (!isConnected(connection.number)) this.hangUp();
  }

  /** -1 = none. */
  get fd(): number {
    return this.socket?.fd ?? -1;
  }

  /** Connects, goes on with the handshake, or sees that the server is gone. `mayConnect`: a time to try it. */
  look(mayConnect: boolean): void {
    const { connection } = this;
    if (this.socket === null) {
      if (!mayConnect || !connection.isOver()) return;
      const got = MemifSocket.connect(this.sys, this.handle.path);
      if (typeof got === 'number') {
        if (!isNobody(got)) this.notice = cannotConnect(this.handle.path, got);
        return;
      }
      this.socket = got;
      connection.channel = this.socket.fd;
      this.said = 0;
      this.looks = 0;
      this.script = [];
    }
    for (let n = 0; n < AT_ONCE; n++) {
      const got = this.socket.receive();
      if (got === NOTHING) break;
      const problem = got === GONE ? '' : got === MALFORMED ? NO_MESSAGE : this.hear(got.bytes, got.fd);
      if (problem === null) continue;
      if (problem !== '') this.notice = problem;
      this.hangUp();
      return;
    }
    if (!mayConnect) return;
    if (isConnected(connection.number)) this.watch();
    else if (++this.looks === HANDSHAKE) this.notice = waits(this.script.length > 0);
  }

  private hear(bytes: Uint8Array, fd: number): string | null {
    if (fd >= 0) this.sys.close(fd);
    return this.answer(bytes);
  }

  /** Null, or why this is the end. */
  private answer(bytes: Uint8Array): string | null {
    switch (m.typeOf(bytes)) {
      case m.HELLO:
        return this.script.length > 0 ? 'the server greets twice' : this.begin(m.readHello(bytes));
      case m.ACK:
        return this.next();
      case m.CONNECTED:
        if (isConnected(this.connection.number) || this.said < this.script.length) {
          return 'the server is connected too early';
        }
        this.notice = '';
        this.still.fill(0);
        this.connection.next();
        return null;
      case m.DISCONNECT:
        return `the server ends the connection: ${m.readDisconnect(bytes) || 'it does not say why'}`;
      default:
        return null;
    }
  }

  private begin(hello: m.Hello): string | null {
    const { id, secret, queues, log2, ringFd, pools, interrupts } = this.handle;
    if (hello.minVersion > m.VERSION || hello.maxVersion < m.VERSION) return 'the server speaks another version';
    if (queues - 1 > Math.min(hello.maxToClient, hello.maxToServer)) {
      return `the server takes ${Math.min(hello.maxToClient, hello.maxToServer) + 1} queues, not ${queues}`;
    }
    if (log2 > hello.maxLog2) return `the server takes rings of at most ${1 << hello.maxLog2} entries`;
    if (hello.maxRegion < pools.length) {
      return `the server takes ${hello.maxRegion + 1} regions, and there are ${pools.length + 1}`;
    }
    for (const ring of this.rings) ring.reset();
    const place = (toServer: boolean, index: number, n: number): readonly [Uint8Array, number] => [
      m.addRing({ toServer, index, region: RINGS, offset: ringAt(n, log2), log2 }),
      interrupts[n]!,
    ];
    const each = Array.from({ length: queues }, (_, q) => q);
    this.script = [
      [m.init('tsvs', id, secret), -1],
      [m.addRegion(RINGS, ringMemory(queues, log2)), ringFd],
      ...pools.map(({ fd, bytes }, i) => [m.addRegion(FIRST_POOL + i, bytes), fd] as const),
      ...each.map((q) => place(true, q, q)),
      ...each.map((q) => place(false, q, queues + q)),
      [m.connect('tsvs'), -1],
    ];
    return this.next();
  }

  private next(): string | null {
    const step = this.script[this.said++];
    if (step === undefined) return 'the server answers what was not said';
    return this.socket!.send(step[0], step[1]) ? null : '';
  }

  /** A server with fewer queues than we have leaves our last ones alone, and says nothing. */
  private watch(): void {
    const { tails, still, rings, handle } = this;
    for (let q = 0; q < handle.queues; q++) {
      const ring = rings[q]!;
      const tail = ring.tail();
      const isFull = ((ring.head() - tail) & 0xffff) === ring.size;
      still[q] = isFull && tail === tails[q] ? still[q]! + 1 : 0;
      tails[q] = tail;
      if (still[q] !== PATIENCE) continue;
      this.notice = `nobody takes what is sent by queue ${q} of ${handle.queues}: the other side needs as many (memif_queues, --rxq)`;
    }
  }

  private hangUp(): void {
    const { connection } = this;
    connection.channel = -1;
    this.socket?.close();
    this.socket = null;
    if (isConnected(connection.number)) connection.next();
  }

  close(): void {
    this.socket?.send(m.disconnect('closed'));
    this.hangUp();
  }
}

const waits = (greeted: boolean): string =>
  greeted
    ? 'the server does not go on with the handshake'
    : 'the server does not greet: it serves one client at a time, and may have another one';

function cannotConnect(path: string, errno: number): string {
  const hint =
    errno === EACCES
      ? 'who tsvs runs as (user in [global]) must be allowed to write to it'
      : 'is it the socket of a memif server?';
  return `cannot connect to ${path} (${errnoName(errno)}): ${hint}`;
}
