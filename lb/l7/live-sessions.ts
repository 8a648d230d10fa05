/**
 * The sessions that are open, as the worker's own columns beside the rows that others read (session.ts): both
 * connections, what is still to be said, how it ends. The proxy's parts share this table and nothing else.
 *
 * A session is opened when its client is established and closed when both its connections are gone. @hot
 */
import type { Context } from '../../stack/context.ts';
import { abort } from '../../stack/tcp/socket.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { Ipv4 } from '../../stack/types.ts';
import type { ProxyLimits } from './limits.ts';
import type { ProxyStats } from './proxy-stats.ts';
import type { SessionTable } from './session.ts';
import * as ses from './session.ts';
import * as log from './session-log.ts';

/** Servers remembered as tried per session; the configuration allows no more retries than that. */
export const MAX_TRIED = 8;

export class LiveSessions {
  readonly table: SessionTable;
  /** By service id. */
  readonly limits: (ProxyLimits | null)[] = [];

  // By session
  /** The connections' ids in TCP, which parks their blocks when they are quiet; 0 = there is none, or no more. */
  private readonly clientId: Int32Array;
  private readonly serverId: Int32Array;
  /** One of session.ts. */
  readonly state: Uint8Array;
  readonly service: Int32Array;
  readonly dest: Int32Array;
  readonly nTried: Uint8Array;
  /** The server connection got as far as being counted active. */
  readonly active: Uint8Array;
  /** When the client was accepted, and how many ms later the server; -1 = not yet. */
  readonly since: Int32Array;
  readonly connectMs: Int32Array;
  /** Who talks to whom as far as is known: the ends of the client's connection, or whom its header names. */
  readonly srcAddr: Int32Array;
  readonly srcPort: Int32Array;
  readonly dstAddr: Int32Array;
  readonly dstPort: Int32Array;
  /** The client's header is still to come. */
  readonly expects: Uint8Array;
  /** Version of the header that the server is still to get, 0 = none, and the bytes of it that are queued. */
  readonly owes: Uint8Array;
  readonly told: Uint8Array;
  private readonly tried: Int32Array;
  /** Why it ends, of session-log.ts: the first reason counts. */
  private readonly why: Uint8Array;

  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly stats: ProxyStats;
  private sessionLog: log.SessionLog | null = null;

  constructor(ctx: Context, tcp: Tcp, table: SessionTable, stats: ProxyStats) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.table = table;
    this.stats = stats;
    const n = table.capacity + 1;
    this.clientId = new Int32Array(n);
    this.serverId = new Int32Array(n);
    this.state = new Uint8Array(n);
    this.service = new Int32Array(n);
    this.dest = new Int32Array(n);
    this.tried = new Int32Array(n * MAX_TRIED);
    this.nTried = new Uint8Array(n);
    this.active = new Uint8Array(n);
    this.since = new Int32Array(n);
    this.connectMs = new Int32Array(n);
    this.srcAddr = new Int32Array(n);
    this.srcPort = new Int32Array(n);
    this.dstAddr = new Int32Array(n);
    this.dstPort = new Int32Array(n);
    this.expects = new Uint8Array(n);
    this.owes = new Uint8Array(n);
    this.told = new Uint8Array(n);
    this.why = new Uint8Array(n);
  }

  /** Gets every session that ends; null = nobody does. */
  logTo(sessionLog: log.SessionLog | null): void {
    this.sessionLog = sessionLog;
  }

  /** A new session of a client, without a server yet; 0 when the table is full. */
  open(service: number, client: Tcb): number {
    const { nowMs } = this.ctx;
    const id = this.table.open(service, client.raddr, client.rport, client.laddr, client.lport, nowMs);
    if (id === 0) return 0;
    client.tag = id;
    this.clientId[id] = client.id;
    this.serverId[id] = 0;
    this.state[id] = ses.CONNECTING;
    this.service[id] = service;
    this.dest[id] = 0;
    this.nTried[id] = 0;
    this.since[id] = nowMs;
    this.connectMs[id] = -1;
    this.srcAddr[id] = client.raddr;
    this.srcPort[id] = client.rport;
    this.dstAddr[id] = client.laddr;
    this.dstPort[id] = client.lport;
    this.expects[id] = 0;
    this.why[id] = log.NORMAL;
    return id;
  }

  /** The client's connection, null = there is none any more. Not to be kept beyond the event at hand. */
  client(id: number): Tcb | null {
    return this.tcp.block(this.clientId[id]);
  }

  /** The same for the server's. */
  server(id: number): Tcb | null {
    return this.tcp.block(this.serverId[id]);
  }

  /** The session's connection to a server is this one from now on. */
  setServer(id: number, server: Tcb): void {
    this.serverId[id] = server.id;
  }

  /** Forgets the client's connection; false when `client` is not the session's. */
  clientGone(id: number, client: Tcb): boolean {
    if (this.state[id] === ses.FREE || this.clientId[id] !== client.id) return false;
    this.clientId[id] = 0;
    return true;
  }

  /** The same for the server's. */
  serverGone(id: number, server: Tcb): boolean {
    if (this.state[id] === ses.FREE || this.serverId[id] !== server.id) return false;
    this.serverId[id] = 0;
    return true;
  }

  /** Neither connection is left. */
  isOver(id: number): boolean {
    return (this.clientId[id] | this.serverId[id]) === 0;
  }

  /** Precondition: both connections are gone. */
  close(id: number): void {
    this.state[id] = ses.FREE;
    this.stats.finished++;
    if (this.sessionLog !== null) this.record(id, this.sessionLog);
    this.table.close(id);
  }

  private record(id: number, sessionLog: log.SessionLog): void {
    const { now, nowMs } = this.ctx;
    const ms = (nowMs - this.since[id]) >>> 0;
    sessionLog.finished(this.table, id, now, ms, this.connectMs[id], this.nTried[id], this.why[id]);
    this.stats.logLost = sessionLog.lost;
  }

  setState(id: number, state: number): void {
    this.state[id] = state;
    this.table.setState(id, state);
  }

  limitsOf(id: number): ProxyLimits {
    return this.limits[this.service[id]]!;
  }

  /** The session ends for this reason, of session-log.ts, unless it has another one already. */
  blame(id: number, why: number): void {
    if (this.why[id] === log.NORMAL) this.why[id] = why;
  }

  /** The `i`th server that failed the session, of `nTried`. */
  triedDest(id: number, i: number): number {
    return this.tried[id * MAX_TRIED + i];
  }

  /** Notes that a server failed this session; false when the retries are used up. */
  remember(id: number, dest: number): boolean {
    const n = this.nTried[id];
    if (n < MAX_TRIED) {
      this.tried[id * MAX_TRIED + n] = dest;
      this.nTried[id] = n + 1;
    }
    return n < this.limitsOf(id).retries;
  }

  /** Resets what a session has; it is closed by the events that follow. */
  abort(id: number): void {
    const client = this.client(id);
    const server = this.server(id);
    if (client !== null) abort(this.tcp, client);
    if (server !== null) abort(this.tcp, server);
  }

  /** Resets the sessions that a server has. Returns how many. */
  abortServer(dest: number): number {
    let n = 0;
    for (let id = 1; id <= this.table.highest; id++) {
      if (this.state[id] === ses.FREE || this.dest[id] !== dest || this.serverId[id] === 0) continue;
      this.drain(id);
      n++;
    }
    return n;
  }

  /** Resets every session that is left. */
  abortAll(): void {
    for (let id = 1; id <= this.table.highest; id++) if (this.state[id] !== ses.FREE) this.drain(id);
  }

  private drain(id: number): void {
    this.stats.drained++;
    this.blame(id, log.DRAINED);
    this.abort(id);
  }

  /** Whether a session has a connection from or to this address of ours. */
  uses(addr: Ipv4): boolean {
    for (let id = 1; id <= this.table.highest; id++) {
      if (this.state[id] === ses.FREE) continue;
      const { tcp, clientId, serverId } = this;
      if (tcp.localAddress(clientId[id]) === addr || tcp.localAddress(serverId[id]) === addr) return true;
    }
    return false;
  }

  /** Bytes a session has in its four queues. */
  heldBy(id: number): number {
    return this.queued(this.clientId[id]) + this.queued(this.serverId[id]);
  }

  private queued(connection: number): number {
    const tcb = this.tcp.blocks[connection] ?? null;
    // Parked ones have nothing queued.
    return tcb === null ? 0 : tcb.sndQueued + tcb.rcvQueued + tcb.ofoBytes;
  }
}
