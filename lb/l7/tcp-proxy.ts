/**
 * The TCP proxy: accepts on virtual services, chooses a server, connects, and relays both ways until both ends are done.
 *
 * | session    | event                                 | effect                                                      |
 * | ---------- | ------------------------------------- | ----------------------------------------------------------- |
 * | (none)     | client established                    | server chosen, connect; CONNECTING                          |
 * | CONNECTING | server established                    | RELAYING                                                    |
 * | CONNECTING | server refuses, is silent, is away    | the next server, up to `retries`; then the client is reset  |
 * | CONNECTING | client gone                           | connect aborted, session over                               |
 * | RELAYING   | data                                  | handed over by reference, while the other side has room     |
 * | RELAYING   | FIN, everything before it relayed     | FIN to the other side (half-close)                          |
 * | RELAYING   | reset or time-out of one side         | reset of the other, session over                            |
 * | RELAYING   | one side closed in good order         | CLOSING                                                     |
 * | CLOSING    | the other closed                      | session over                                                |
 *
 * Memory is bounded on both sides: data moves only while the receiver's send queue has room; otherwise it stays in the
 * sender's receive queue, whose window then closes. A session lives as long as its ends do, unless idle limits are set.
 *
 * Ownership: frames are passed from one connection's queue to the other's by tcp/socket.move.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { Listener } from '../../stack/tcp/listen.ts';
import { abort, canSend, isDrained, keepAlive, move, shutdown } from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerHandler, TimerRange, Timers } from '../../stack/timer/timers.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import type { DestTable } from '../dest.ts';
import { FlowKey } from '../sched/index.ts';
import type { ServiceTable } from '../service.ts';
import type { SessionTable } from './session.ts';
import * as ses from './session.ts';

/** Limits of one service's sessions, in ms; 0 = none, but for `connectMs`. */
export interface ProxyLimits {
  readonly connectMs: number;
  readonly clientMs: number;
  readonly serverMs: number;
  readonly finMs: number;
  /** Further servers to try when connecting fails. */
  readonly retries: number;
}

/** Rare events somebody may want to log; called at the end of a burst. */
export interface ProxyEvents {
  /** Connecting to a server failed with END_*; `retry` = another one is tried. */
  connectFailed(service: number, dest: number, end: number, retry: boolean): void;
  /** No server could be chosen for a client. */
  noServer(service: number): void;
}

/** Who wants to know how each server fares with real sessions. */
export interface ServerObserver {
  sessionConnected(dest: number): void;
  /** The server refused, was silent or could not be reached. */
  sessionFailed(dest: number): void;
}

/** Counters of the proxy. */
export class ProxyStats {
  accepted = 0;
  finished = 0;
  /** Sessions ended by a reset or time-out of the client, of the server, by a limit of ours, by drain. */
  clientAborts = 0;
  serverAborts = 0;
  timeouts = 0;
  drained = 0;
  connectFailures = 0;
  retries = 0;
  noServer = 0;
  tableFull = 0;
  /** Sessions ended because frames ran short and they held many for long. */
  evicted = 0;
}

/** Servers remembered as tried per session; the configuration allows no more retries than that. */
const MAX_TRIED = 8;
const DEFAULT_BACKLOG = 4096;
/**
 * Silence after which an end is asked whether it is still there. A session lives as long as its ends do, and without
 * asking nobody would know that one has vanished. (RFC 9293 §3.8.4 leaves it to the application; its two hours are for
 * hosts, not for a table of sessions.)
 */
const KEEPALIVE_MS = 120_000;
/** How often it is looked whether frames run short, and what counts as short: an eighth of them left. */
const RELIEF_MS = 100;
const SCARCE_SHIFT = 3;
/** Sessions younger than this, or that would empty their queues sooner, are not to blame. */
const RELIEF_AFTER_MS = 2000;

export class TcpProxy implements TimerHandler {
  readonly stats = new ProxyStats();
  readonly sessions: SessionTable;

  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly services: ServiceTable;
  private readonly dests: DestTable;
  private readonly events: ProxyEvents;
  private readonly timers: TimerRange;
  private readonly flow = new FlowKey();
  /** By service id. */
  private readonly limits: (ProxyLimits | null)[] = [];
  /** By service id. */
  private readonly listeners: (Listener | null)[] = [];
  /** Addresses connections to servers leave from; empty = the VIP. */
  private readonly locals: Ipv4[] = [];
  private nextLocal = 0;
  private observer: ServerObserver | null = null;

  // By session
  private readonly client: (Tcb | null)[] = [];
  private readonly server: (Tcb | null)[] = [];
  private readonly state: Uint8Array;
  private readonly service: Int32Array;
  private readonly dest: Int32Array;
  private readonly tried: Int32Array;
  private readonly nTried: Uint8Array;
  /** The server connection got as far as being counted active. */
  private readonly active: Uint8Array;

  /** When the client was accepted. */
  private readonly since: Int32Array;
  private readonly reliefTimer: number;
  private draining = false;

  private readonly clientSide: SocketOwner;
  private readonly serverSide: SocketOwner;

  constructor(
    ctx: Context,
    tcp: Tcp,
    timers: Timers,
    services: ServiceTable,
    dests: DestTable,
    sessions: SessionTable,
    events: ProxyEvents,
  ) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.services = services;
    this.dests = dests;
    this.sessions = sessions;
    this.events = events;
    const n = sessions.capacity + 1;
    this.timers = timers.range(TcpProxy.timersFor(sessions.capacity), this);
    this.reliefTimer = sessions.capacity + 1;
    this.timers.arm(this.reliefTimer, (ctx.nowMs + RELIEF_MS) | 0);
    this.state = new Uint8Array(n);
    this.service = new Int32Array(n);
    this.dest = new Int32Array(n);
    this.tried = new Int32Array(n * MAX_TRIED);
    this.nTried = new Uint8Array(n);
    this.active = new Uint8Array(n);
    this.since = new Int32Array(n);
    this.clientSide = {
      onEstablished: (tcb) => this.accept(tcb),
      onReadable: (tcb) => this.clientReadable(tcb),
      onWritable: (tcb) => this.pump(tcb.tag),
      onFin: (tcb) => this.pump(tcb.tag),
      onClosed: (tcb, end) => this.clientClosed(tcb, end),
    };
    this.serverSide = {
      onEstablished: (tcb) => this.connected(tcb),
      onReadable: (tcb) => this.pump(tcb.tag),
      onWritable: (tcb) => this.pump(tcb.tag),
      onFin: (tcb) => this.pump(tcb.tag),
      onClosed: (tcb, end) => this.serverClosed(tcb, end),
    };
  }

  /** Timers a proxy of this many sessions takes from the worker's. */
  static timersFor(sessions: number): number {
    return sessions + 1;
  }

  /** At most one. */
  observe(observer: ServerObserver): void {
    this.observer = observer;
  }

  /** Addresses connections to servers leave from, in turn; none = from the VIP of the service. */
  setLocalAddresses(addresses: readonly Ipv4[]): void {
    this.locals.length = 0;
    this.locals.push(...addresses);
  }

  /** The first address connections to servers leave from; 0 = from the VIP. */
  get firstLocal(): Ipv4 {
    return this.locals.length === 0 ? 0 : this.locals[0];
  }

  /** Starts accepting for a service. Throws when somebody else listens there. */
  listen(service: number, vip: Ipv4, port: number, limits: ProxyLimits, backlog = DEFAULT_BACKLOG): void {
    this.listeners[service] = this.tcp.listeners.add(vip, port, backlog, this.clientSide, service);
    this.setLimits(service, limits);
  }

  /** Other limits for a service. Sessions follow at their next time-out; an idle limit where none was begins with the next ones. */
  setLimits(service: number, limits: ProxyLimits): void {
    this.limits[service] = { ...limits, retries: Math.min(limits.retries, MAX_TRIED - 1) };
  }

  /** Stops accepting for a service; its sessions go on. Who is halfway through the handshake is refused when it completes. */
  unlisten(service: number): void {
    const listener = this.listeners[service];
    if (listener !== null && listener !== undefined) this.tcp.listeners.remove(listener);
    this.listeners[service] = null;
  }

  /** Stops accepting; sessions go on. Who is halfway through the handshake is refused when it completes. */
  stopListening(): void {
    this.draining = true;
    for (let service = 0; service < this.listeners.length; service++) this.unlisten(service);
  }

  /** Resets the sessions that a server has. Returns how many. */
  resetServer(dest: number): number {
    let n = 0;
    for (let id = 1; id <= this.sessions.highest; id++) {
      if (this.state[id] === ses.FREE || this.dest[id] !== dest || this.server[id] === null) continue;
      this.stats.drained++;
      this.abortBoth(id);
      n++;
    }
    return n;
  }

  /** Whether a session has a connection from or to this address of ours. */
  uses(addr: Ipv4): boolean {
    for (let id = 1; id <= this.sessions.highest; id++) {
      if (this.state[id] === ses.FREE) continue;
      if (this.client[id]?.laddr === addr || this.server[id]?.laddr === addr) return true;
    }
    return false;
  }

  /** Resets every session that is left. */
  abortAll(): void {
    for (let id = 1; id <= this.sessions.highest; id++) {
      if (this.state[id] === ses.FREE) continue;
      this.stats.drained++;
      this.abortBoth(id);
    }
  }

  get open(): number {
    return this.sessions.used;
  }

  // The client's side

  private accept(client: Tcb): void {
    const service = client.tag; // the listener's tag
    if (this.draining || this.services.lookup(PROTO_TCP, client.laddr, client.lport) !== service) {
      client.owner = null;
      abort(this.tcp, client);
      return;
    }
    this.stats.accepted++;
    const id = this.sessions.open(service, client.raddr, client.rport, client.laddr, client.lport, this.ctx.nowMs);
    if (id === 0) {
      this.stats.tableFull++;
      client.owner = null;
      abort(this.tcp, client);
      return;
    }
    client.tag = id;
    keepAlive(this.tcp, client, KEEPALIVE_MS);
    this.client[id] = client;
    this.server[id] = null;
    this.state[id] = ses.CONNECTING;
    this.service[id] = service;
    this.dest[id] = 0;
    this.nTried[id] = 0;
    this.since[id] = this.ctx.nowMs;
    this.connectNext(id);
  }

  private clientReadable(client: Tcb): void {
    // Before a server is there, what the client says waits in its receive queue.
    if (this.state[client.tag] >= ses.RELAYING) this.pump(client.tag);
  }

  private clientClosed(client: Tcb, end: number): void {
    const id = client.tag;
    if (this.state[id] === ses.FREE || this.client[id] !== client) return;
    this.client[id] = null;
    const server = this.server[id];
    if (end !== st.END_NORMAL && server !== null) {
      if (end !== st.END_ABORTED) this.stats.clientAborts++;
      abort(this.tcp, server);
    } else if (this.state[id] === ses.CONNECTING && server !== null) abort(this.tcp, server);
    this.oneSideGone(id);
  }

  // The server's side

  /** Chooses a server among those not tried yet and starts connecting; gives up on the client when there is none. */
  private connectNext(id: number): void {
    const client = this.client[id]!;
    const service = this.service[id];
    const { flow } = this;
    flow.set(client.raddr, client.laddr, client.rport, client.lport, PROTO_TCP, this.ctx.now);
    for (let i = 0; i < this.nTried[id]; i++) flow.avoid(this.tried[id * MAX_TRIED + i]);
    for (;;) {
      const dest = this.services.schedule(service, flow);
      if (dest === 0) break;
      if (this.connect(id, dest, client.laddr)) return;
      // No local port or no route: another server may do.
      this.services.countConnectFailure(dest);
      this.stats.connectFailures++;
      const more = this.remember(id, dest);
      this.events.connectFailed(service, dest, st.END_UNREACHABLE, more);
      if (!more || !flow.avoid(dest)) break;
      this.stats.retries++;
    }
    if (this.nTried[id] === 0) {
      this.stats.noServer++;
      this.events.noServer(service);
    }
    abort(this.tcp, client);
  }

  private connect(id: number, dest: number, vip: Ipv4): boolean {
    const addr = this.dests.addr[dest];
    const port = this.dests.port[dest];
    const local = this.locals.length === 0 ? vip : this.locals[this.nextLocal++ % this.locals.length];
    const server = this.tcp.connect(local, 0, addr, port, this.serverSide, id);
    if (server === null) return false;
    this.server[id] = server;
    this.dest[id] = dest;
    this.active[id] = 0;
    this.services.connOpen(dest);
    this.sessions.tryServer(id, dest, local, server.lport, addr, port);
    this.timers.arm(id, (this.ctx.nowMs + this.limits[this.service[id]]!.connectMs) | 0);
    return true;
  }

  /** Notes that a server failed this session; false when the retries are used up. */
  private remember(id: number, dest: number): boolean {
    const n = this.nTried[id];
    if (n < MAX_TRIED) {
      this.tried[id * MAX_TRIED + n] = dest;
      this.nTried[id] = n + 1;
    }
    return n < this.limits[this.service[id]]!.retries;
  }

  private connected(server: Tcb): void {
    const id = server.tag;
    keepAlive(this.tcp, server, KEEPALIVE_MS);
    this.state[id] = ses.RELAYING;
    this.active[id] = 1;
    this.observer?.sessionConnected(this.dest[id]);
    this.dests.connActive(this.dest[id]);
    this.sessions.setState(id, ses.RELAYING);
    this.timers.cancel(id);
    this.armIdle(id);
    this.pump(id);
  }

  private serverClosed(server: Tcb, end: number): void {
    const id = server.tag;
    if (this.state[id] === ses.FREE || this.server[id] !== server) return;
    this.server[id] = null;
    this.dests.connClose(this.dest[id], this.active[id] !== 0);
    const client = this.client[id];
    if (this.state[id] === ses.CONNECTING) {
      this.timers.cancel(id);
      if (client === null) {
        this.oneSideGone(id);
        return;
      }
      // Only our own connect limit aborts a connection that is being opened for a client that is still there.
      this.retry(id, end === st.END_ABORTED ? st.END_TIMEOUT : end);
      return;
    }
    if (end !== st.END_NORMAL && client !== null) {
      if (end !== st.END_ABORTED) this.stats.serverAborts++;
      abort(this.tcp, client);
    }
    this.oneSideGone(id);
  }

  private retry(id: number, end: number): void {
    const dest = this.dest[id];
    const service = this.service[id];
    this.services.countConnectFailure(dest);
    this.observer?.sessionFailed(dest);
    this.stats.connectFailures++;
    const more = this.remember(id, dest);
    this.events.connectFailed(service, dest, end, more);
    if (more) {
      this.stats.retries++;
      this.connectNext(id);
    } else abort(this.tcp, this.client[id]!);
  }

  // Both

  /** Relays what can be relayed, both ways, and passes on the end of what was said. */
  private pump(id: number): void {
    const client = this.client[id];
    const server = this.server[id];
    if (client === null || server === null || this.state[id] < ses.RELAYING) {
      // One end is gone in good order: nothing can be relayed to it any more.
      return;
    }
    const up = move(this.tcp, client, server);
    if (up > 0) {
      this.sessions.toServer[id] += up;
      this.services.countIn(this.dest[id], 0, up);
    }
    const down = move(this.tcp, server, client);
    if (down > 0) {
      this.sessions.toClient[id] += down;
      this.services.countOut(this.dest[id], 0, down);
    }
    if (isDrained(client) && canSend(server)) this.passFin(id, server);
    if (isDrained(server) && canSend(client)) this.passFin(id, client);
  }

  private passFin(id: number, to: Tcb): void {
    shutdown(this.tcp, to);
    const { finMs } = this.limits[this.service[id]]!;
    if (finMs > 0) this.armIdle(id);
  }

  private oneSideGone(id: number): void {
    if (this.client[id] !== null || this.server[id] !== null) {
      this.state[id] = ses.CLOSING;
      this.sessions.setState(id, ses.CLOSING);
      return;
    }
    this.state[id] = ses.FREE;
    this.timers.cancel(id);
    this.stats.finished++;
    this.sessions.close(id);
  }

  private abortBoth(id: number): void {
    const client = this.client[id];
    const server = this.server[id];
    if (client !== null) abort(this.tcp, client);
    if (server !== null) abort(this.tcp, server);
  }

  // Limits

  /** The tightest idle limit that applies, in ms; 0 = none. */
  private idleLimit(id: number): number {
    const l = this.limits[this.service[id]]!;
    const client = this.client[id];
    const server = this.server[id];
    const half = (client !== null && client.finQueued !== 0) || (server !== null && server.finQueued !== 0);
    let limit = 0;
    if (l.clientMs > 0) limit = l.clientMs;
    if (l.serverMs > 0 && (limit === 0 || l.serverMs < limit)) limit = l.serverMs;
    if (half && l.finMs > 0 && (limit === 0 || l.finMs < limit)) limit = l.finMs;
    return limit;
  }

  private armIdle(id: number): void {
    const limit = this.idleLimit(id);
    if (limit > 0) this.timers.arm(id, (this.ctx.nowMs + limit) | 0);
  }

  onTimer(id: number): void {
    if (id === this.reliefTimer) {
      this.relieve();
      this.timers.arm(id, (this.ctx.nowMs + RELIEF_MS) | 0);
      return;
    }
    if (this.state[id] === ses.CONNECTING) {
      // As if the server had refused: serverClosed does the rest.
      const server = this.server[id];
      if (server !== null) abort(this.tcp, server);
      return;
    }
    const left = this.idleLeft(id);
    if (left > 0) {
      this.timers.arm(id, (this.ctx.nowMs + left) | 0);
      return;
    }
    this.stats.timeouts++;
    this.abortBoth(id);
  }

  /** How long until the first idle limit is reached, by when each side was last heard. */
  private idleLeft(id: number): number {
    const l = this.limits[this.service[id]]!;
    const client = this.client[id];
    const server = this.server[id];
    const { nowMs } = this.ctx;
    let left = 0x7fffffff;
    const silentClient = client === null ? 0 : (nowMs - client.lastDataMs) | 0;
    const silentServer = server === null ? 0 : (nowMs - server.lastDataMs) | 0;
    if (l.clientMs > 0 && client !== null) left = Math.min(left, l.clientMs - silentClient);
    if (l.serverMs > 0 && server !== null) left = Math.min(left, l.serverMs - silentServer);
    const half = (client !== null && client.finQueued !== 0) || (server !== null && server.finQueued !== 0);
    if (half && l.finMs > 0) left = Math.min(left, l.finMs - Math.min(silentClient, silentServer));
    return left;
  }

  // Scarcity

  /**
   * Limits per connection (tcp/limits.ts) slow the taking of memory down, but what a peer does not read stays. So when
   * frames run short the session that would take longest to empty its queues, at the rate it has moved data so far, is
   * ended; one at a time, until there is enough again.
   */
  private relieve(): void {
    const { pool } = this.ctx;
    const { slots, bigSlots } = pool.config;
    if (pool.freeSmallCount >= slots >> SCARCE_SHIFT && pool.freeBigCount >= bigSlots >> SCARCE_SHIFT) return;
    let worst = 0;
    let longest = RELIEF_AFTER_MS;
    for (let id = 1; id <= this.sessions.highest; id++) {
      if (this.state[id] === ses.FREE) continue;
      const age = (this.ctx.nowMs - this.since[id]) | 0;
      if (age < RELIEF_AFTER_MS) continue;
      const drainMs = (this.heldBy(id) * age) / (1 + this.sessions.toServer[id] + this.sessions.toClient[id]);
      if (drainMs <= longest) continue;
      longest = drainMs;
      worst = id;
    }
    if (worst === 0) return;
    this.stats.evicted++;
    this.abortBoth(worst);
  }

  /** Bytes a session has in its four queues. */
  private heldBy(id: number): number {
    const client = this.client[id];
    const server = this.server[id];
    return (
      (client === null ? 0 : client.sndQueued + client.rcvQueued + client.ofoBytes) +
      (server === null ? 0 : server.sndQueued + server.rcvQueued + server.ofoBytes)
    );
  }
}
