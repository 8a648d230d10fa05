/**
 * One connection of a packet script, as both ends of the wire know it: ports, where numbers count from, what was written
 * and read, and what the host's owner was told.
 */
import { END_NAMES } from '../../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../../stack/tcp/tcb.ts';

/** The byte at a relative sequence number, wherever a script does not say what the data is. */
export const patternAt = (seq: number): number => seq % 251;

export class Connection {
  readonly n: number;
  hostPort: number;
  peerPort: number;
  readonly peerIss: number;
  /** The host's initial number, once it has sent its SYN. */
  hostIss: number | null = null;
  /** The host's timestamp at the script's start, once it has sent one; and the one it sent last. */
  tsBase: number | null = null;
  lastTs = 0;
  tcb: Tcb | null = null;
  /** What the host's application wrote, in order. */
  readonly written: number[] = [];
  /** Bytes the application has read; all of them as the pattern has them while no data was spelt out. */
  readBytes = 0;
  spelt = false;
  readonly events: string[] = [];
  end = 'none';
  accepted = false;

  constructor(n: number, hostPort: number, peerIss: number) {
    this.n = n;
    this.hostPort = hostPort;
    this.peerPort = 40_000 + n;
    this.peerIss = peerIss;
  }
}

/** Tells each connection what happened to it. */
export class Owner implements SocketOwner {
  private readonly find: (tcb: Tcb) => Connection;
  private readonly nagle: boolean;

  constructor(find: (tcb: Tcb) => Connection, nagle: boolean) {
    this.find = find;
    this.nagle = nagle;
  }

  private note(tcb: Tcb, event: string): Connection {
    const c = this.find(tcb);
    c.tcb = tcb;
    c.events.push(event);
    return c;
  }

  onEstablished(tcb: Tcb): void {
    this.note(tcb, 'established');
    if (this.nagle) tcb.noDelay = 0;
  }

  onReadable(tcb: Tcb): void {
    this.find(tcb).tcb = tcb;
  }

  onWritable(tcb: Tcb): void {
    this.note(tcb, 'writable');
  }

  onFin(tcb: Tcb): void {
    this.note(tcb, 'fin');
  }

  onClosed(tcb: Tcb, end: number): void {
    const c = this.note(tcb, 'closed');
    c.end = END_NAMES[end]!;
    c.tcb = null;
  }
}
