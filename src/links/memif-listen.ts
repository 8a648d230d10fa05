/**
 * The control channel of memif from the side of the server: waits for a client, maps the regions that it brings, and sees when it has
 * gone. One client at a time, and one that has not got as far as CONNECT within HANDSHAKE_MS makes room for the next. Belongs to worker 0;
 * memif-connection.ts tells the others. Called by memif-server.ts, cold.
 *
 * Nothing the client says is believed: regions must be sealed against shrinking and as large as said, rings must lie within them. What it
 * brought is given back when no worker uses it any more.
 */
import { type BroughtRegion, type BroughtRing, MAX_REGIONS, type MemifBrought } from './memif-brought.ts';
import { isConnected, type MemifConnection } from './memif-connection.ts';
import * as m from './memif-message.ts';
import type { MemifHandle } from './memif-open.ts';
import { MemifRing, ringBytes } from './memif-ring.ts';
import { AT_ONCE, GONE, MALFORMED, MemifSocket, NOTHING } from './memif-socket.ts';
import { F_GETFL, F_SETFL, MAP_FAILED, NativeBytes, O_NONBLOCK, PROT_READ_WRITE, type Syscalls } from './syscall.ts';

const MAX_REGION_BYTES = 2 ** 32;
const MAX_LOG2 = 14;
const MAP_SHARED = 1;
const F_GET_SEALS = 1034;
const F_SEAL_SHRINK = 2;
const SEEK_END = 2;
/** How long a client may take from coming to CONNECT; DPDK and VPP need a few milliseconds. */
export const HANDSHAKE_MS = 3000;
const ACKNOWLEDGED: ReadonlySet<number> = new Set([m.INIT, m.ADD_REGION, m.ADD_RING]);

export class MemifListen {
  /** What to tell an operator, '' = nothing. */
  notice = '';
  private readonly sys: Syscalls;
  private readonly handle: MemifHandle;
  private readonly connection: MemifConnection;
  private readonly brought: MemifBrought;
  private readonly listener: MemifSocket;
  private client: MemifSocket | null = null;
  private known = false;
  /** When the client came. */
  private cameMs = 0;
  /** A client has gone, and what it brought is not given back yet. */
  private over = false;

  constructor(sys: Syscalls, handle: MemifHandle, connection: MemifConnection, brought: MemifBrought) {
    this.sys = sys;
    this.handle = handle;
    this.connection = connection;
    this.brought = brought;
    this.listener = MemifSocket.of(sys, handle.listener);
    const fd = connection.channel;
    if (fd < 0) return;
    // Ours, from before we died.
    this.client = MemifSocket.of(sys, fd);
    if (!isConnected(connection.number)) this.hangUp('');
  }

  /** The client's channel, -1 = none. */
  get fd(): number {
    return this.client?.fd ?? -1;
  }

  /** Meets a client, hears what it says, and sees that it has gone or does not get on. */
  look(nowMs: number): void {
    if (this.client === null && !this.meet(nowMs)) return;
    if (!this.hear() || isConnected(this.connection.number)) return;
    if (((nowMs - this.cameMs) | 0) >= HANDSHAKE_MS) this.hangUp(`Not connected within ${HANDSHAKE_MS / 1000} s`);
  }

  /** False: that was the end of it. */
  private hear(): boolean {
    for (let n = 0; n < AT_ONCE; n++) {
      const got = this.client!.receive();
      if (got === NOTHING) return true;
      const end = got === GONE ? '' : got === MALFORMED ? 'Not a message' : this.answer(got.bytes, got.fd);
      if (end === null) continue;
      this.hangUp(end);
      return false;
    }
    return true;
  }

  /** The next client, once all have parted with the last. */
  private meet(nowMs: number): boolean {
    if (!this.tidy()) return false;
    this.client = this.listener.accept();
    if (this.client === null) return false;
    this.cameMs = nowMs;
    this.connection.channel = this.client.fd;
    const { queues } = this.handle;
    const most = { maxRegion: MAX_REGIONS - 1, maxToClient: queues - 1, maxToServer: queues - 1, maxLog2: MAX_LOG2 };
    this.client.send(m.hello('tsvs', { minVersion: m.VERSION, maxVersion: m.VERSION, ...most }));
    return true;
  }

  /** Gives back what the last client brought; false while somebody uses it. */
  tidy(): boolean {
    if (!this.over) return true;
    if (!this.connection.isOver()) return false;
    const { sys, brought } = this;
    for (const { interrupt } of [...brought.rings(true), ...brought.rings(false)]) sys.close(interrupt);
    for (const { address, size } of brought.regions()) sys.munmap(address, size);
    brought.clear();
    this.over = false;
    return true;
  }

  /** Null, or the words to end the connection with; empty: the client ended it. The descriptor is kept or closed here. */
  private answer(bytes: Uint8Array, fd: number): string | null {
    const type = m.typeOf(bytes);
    const problem = this.heed(type, bytes, fd);
    if (fd >= 0 && (type !== m.ADD_RING || problem !== null)) this.sys.close(fd);
    if (problem === null && ACKNOWLEDGED.has(type)) this.client!.send(m.ack());
    return problem;
  }

  private heed(type: number, bytes: Uint8Array, fd: number): string | null {
    if (type === m.DISCONNECT) return '';
    if (type === m.INIT) return this.know(m.readInit(bytes));
    if (!this.known) return 'who are you?';
    if (isConnected(this.connection.number)) return 'connected already';
    if (type === m.ADD_REGION) return this.map(m.readRegion(bytes), fd);
    if (type === m.ADD_RING) return this.add(m.readRing(bytes), fd);
    return type === m.CONNECT ? this.connect() : null;
  }

  private know({ version, id, mode, secret }: m.Init): string | null {
    if (version !== m.VERSION) return 'Wrong version';
    if (id !== this.handle.id) return 'ID not found';
    if (mode !== 0) return 'Only Ethernet mode';
    if (secret !== this.handle.secret) return this.handle.secret === '' ? 'No secret' : 'Incorrect secret';
    this.known = true;
    return null;
  }

  private map({ index, size }: { index: number; size: number }, fd: number): string | null {
    const { sys, brought } = this;
    if (index !== brought.regions().length || index >= MAX_REGIONS) return 'Invalid region index';
    if (fd < 0 || size <= 0 || size > MAX_REGION_BYTES) return 'Invalid region size';
    // A file that became shorter would end us with SIGBUS.
    const seals = sys.fcntl(fd, F_GET_SEALS, 0);
    if (seals < 0 || (seals & F_SEAL_SHRINK) === 0) return 'Region not sealed';
    if (sys.lseek(fd, 0, SEEK_END) < size) return 'Region shorter than said';
    const address = sys.mmap(0, size, PROT_READ_WRITE, MAP_SHARED, fd, 0);
    if (address === MAP_FAILED) return 'Cannot map region';
    brought.addRegion({ address, size });
    return null;
  }

  private add(ring: m.RingPlace, fd: number): string | null {
    const { toServer, index, region, offset, log2 } = ring;
    const place = this.brought.regions()[region];
    if (index !== this.brought.rings(toServer).length || index >= this.handle.queues) return 'Invalid ring index';
    if (place === undefined || log2 > MAX_LOG2 || offset % 64 !== 0) return 'Invalid ring';
    if (offset + ringBytes(log2) > place.size) return 'Ring outside its region';
    if (fd < 0) return 'Ring without interrupt';
    // Neither reading nor writing it may hold us up.
    const flags = this.sys.fcntl(fd, F_GETFL, 0);
    if (this.sys.fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) return 'Invalid interrupt';
    this.brought.addRing(ring, fd);
    return null;
  }

  private connect(): string | null {
    const { sys, brought, handle } = this;
    const regions = brought.regions();
    const [fromClient, toClient] = [brought.rings(true), brought.rings(false)];
    if (fromClient.length === 0 || toClient.length === 0) return 'No rings';
    if (Math.min(fromClient.length, toClient.length) < handle.workers) {
      return `Too few queues: ${handle.workers} workers need one each`;
    }
    const rings = [...fromClient, ...toClient].map((ring) => ringOf(sys, ring, regions));
    if (!rings.every((ring) => ring.hasCookie())) return 'Wrong cookie';
    for (const ring of rings) ring.reset();
    this.client!.send(m.connected('tsvs'));
    this.notice = '';
    this.connection.next();
    return null;
  }

  /** `words` are sent before; empty: there is nobody any more, or nothing to be said. */
  private hangUp(words: string): void {
    const { connection } = this;
    if (words !== '') {
      this.client?.send(m.disconnect(words));
      this.notice = `a client was refused: ${words}`;
    }
    this.client?.close();
    this.client = null;
    connection.channel = -1;
    this.known = false;
    this.over = true;
    if (isConnected(connection.number)) connection.next();
  }

  /** What the client brought stays until `tidy`. */
  close(): void {
    this.hangUp('closed');
  }
}

/** A ring within the regions, which are mapped. */
export function ringOf(sys: Syscalls, ring: BroughtRing, regions: readonly BroughtRegion[]): MemifRing {
  const { region, offset, log2, interrupt } = ring;
  const { address, size } = regions[region]!;
  return new MemifRing(sys, sys.view(address, size), offset, log2, interrupt, new NativeBytes(sys, 8));
}
