/**
 * The TCP proxy: accepts on virtual services, chooses a server, connects, and relays both ways until both ends are done.
 *
 * | session    | event                                 | effect                                                     |
 * | ---------- | ------------------------------------- | ---------------------------------------------------------- |
 * | (none)     | client established                    | server chosen (server-search.ts), connect; CONNECTING      |
 * | (none)     | the same, announcers only             | CONNECTING, but first its header is read (header-reader.ts) |
 * | CONNECTING | header wrong, or not in time          | client reset, session over                                 |
 * | CONNECTING | server established                    | RELAYING                                                   |
 * | CONNECTING | server refuses, is silent, is away    | the next server, up to `retries`; then the client is reset |
 * | CONNECTING | client gone                           | connect aborted, session over                              |
 * | RELAYING   | data                                  | handed over by reference (relay.ts)                        |
 * | RELAYING   | FIN, everything before it relayed     | FIN to the other side (half-close)                         |
 * | RELAYING   | reset or time-out of one side         | reset of the other, session over                           |
 * | RELAYING   | one side closed in good order         | CLOSING                                                    |
 * | CLOSING    | the other closed                      | session over                                               |
 *
 * A session lives as long as its ends do, for which both are asked now and then whether they are there, unless idle limits are set (idle.ts) or it holds too much (relief.ts). This file
 * has the events of connections and timers; live-sessions.ts is what the parts share.
 *
 * Called by stack/tcp at the end of a burst, by the timers, and by src/workers for what the operator wants.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { Listener } from '../../stack/tcp/listen.ts';
import { abort, allowParking, keepAlive } from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerHandler, TimerRange, Timers } from '../../stack/timer/timers.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import type { DestTable } from '../dest.ts';
import type { ServiceTable } from '../service.ts';
import { HeaderReader } from './header-reader.ts';
import { idleLeft } from './idle.ts';
import type { ProxyLimits } from './limits.ts';
import { LiveSessions, MAX_TRIED } from './live-sessions.ts';
import { type ProxyEvents, ProxyStats, type ServerObserver } from './proxy-stats.ts';
import { Relay } from './relay.ts';
import { RELIEF_MS, relieve } from './relief.ts';
import { ServerSearch } from './server-search.ts';
import type { SessionTable } from './session.ts';
import * as ses from './session.ts';
import * as log from './session-log.ts';

export class TcpProxy implements TimerHandler {
  readonly stats = new ProxyStats();
  readonly sessions: SessionTable;

  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly services: ServiceTable;
  private readonly dests: DestTable;
  private readonly live: LiveSessions;
  private readonly search: ServerSearch;
  private readonly headers: HeaderReader;
  private readonly relay: Relay;
  private readonly timers: TimerRange;
  private readonly reliefTimer: number;
  private readonly clientSide: SocketOwner;
  /** By service id. */
  private readonly listeners: (Listener | null)[] = [];
  private draining = false;

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
    const { stats } = this;
    this.timers = timers.range(TcpProxy.timersFor(sessions.capacity), this);
    this.reliefTimer = sessions.capacity + 1;
    this.timers.arm(this.reliefTimer, (ctx.nowMs + RELIEF_MS) | 0);
    const pump = (tcb: Tcb): void => this.relay.pump(tcb.tag);
    this.clientSide = {
      onEstablished: (tcb) => this.accept(tcb),
      onReadable: (tcb) => this.clientReadable(tcb),
      onWritable: pump,
      onFin: (tcb) => this.clientFin(tcb),
      onClosed: (tcb, end) => this.clientClosed(tcb, end),
    };
    const serverSide: SocketOwner = {
      onEstablished: (tcb) => this.connected(tcb),
      onReadable: pump,
      onWritable: pump,
      onFin: pump,
      onClosed: (tcb, end) => this.serverClosed(tcb, end),
    };
    this.live = new LiveSessions(ctx, tcp, sessions, stats);
    this.relay = new Relay(ctx, tcp, services, this.live, this.timers);
    this.headers = new HeaderReader(ctx, tcp, this.live, this.timers, stats);
    this.search = new ServerSearch(ctx, tcp, services, dests, this.live, this.timers, stats, events, serverSide);
  }

  /** Timers a proxy of this many sessions takes from the worker's. */
  static timersFor(sessions: number): number {
    return sessions + 1;
  }

  // What the operator wants

  /** At most one. */
  observe(observer: ServerObserver): void {
    this.search.observer = observer;
  }

  /** Addresses connections to servers leave from, in turn among those at the server's port; none there = from the VIP. */
  setLocalAddresses(addresses: readonly Ipv4[]): void {
    this.search.locals.length = 0;
    this.search.locals.push(...addresses);
  }

  /** Where the next connection to a server at `addr` leaves from; `vip` is that of its service. */
  sourceFor(addr: Ipv4, vip: Ipv4): Ipv4 {
    return this.search.sourceFor(addr, vip);
  }

  /** Gets every session that ends; null = nobody does. */
  logTo(sessionLog: log.SessionLog | null): void {
    this.live.logTo(sessionLog);
  }

  /** Starts accepting for a service. Throws when somebody else listens there. */
  listen(service: number, vip: Ipv4, port: number, limits: ProxyLimits): void {
    this.listeners[service] = this.tcp.listeners.add(vip, port, limits.maxHalfOpen, this.clientSide, service);
    this.setLimits(service, limits);
  }

  /** Other limits for a service. Sessions follow at their next time-out; an idle limit where none was begins with the next ones. */
  setLimits(service: number, limits: ProxyLimits): void {
    const listener = this.listeners[service];
    if (listener !== null && listener !== undefined) listener.backlog = limits.maxHalfOpen;
    this.live.limits[service] = { ...limits, retries: Math.min(limits.retries, MAX_TRIED - 1) };
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
    return this.live.abortServer(dest);
  }

  /** Resets every session that is left. */
  abortAll(): void {
    this.live.abortAll();
  }

  /** Whether a session has a connection from or to this address of ours. */
  uses(addr: Ipv4): boolean {
    return this.live.uses(addr);
  }

  get open(): number {
    return this.sessions.used;
  }

  // The client's side

  private accept(client: Tcb): void {
    const service = client.tag; // the listener's tag
    if (this.draining || this.services.lookup(PROTO_TCP, client.laddr, client.lport) !== service) {
      this.turnAway(client);
      return;
    }
    this.stats.accepted++;
    const id = this.live.open(service, client);
    if (id === 0) {
      this.stats.tableFull++;
      this.turnAway(client);
      return;
    }
    const { announcers, keepAlive: keep } = this.live.limitsOf(id);
    keepAlive(this.tcp, client, keep);
    if (announcers.length > 0) this.headers.expect(id, client);
    else this.search.begin(id);
  }

  private turnAway(client: Tcb): void {
    client.owner = null;
    abort(this.tcp, client);
  }

  private clientReadable(client: Tcb): void {
    const id = client.tag;
    if (this.live.expects[id] !== 0 && this.headers.read(id, client)) this.search.begin(id);
    // Before a server is there, what the client says waits in its receive queue.
    this.relay.pump(id);
  }

  private clientFin(client: Tcb): void {
    if (this.live.expects[client.tag] !== 0) this.headers.refuse(client.tag);
    else this.relay.pump(client.tag);
  }

  private clientClosed(client: Tcb, end: number): void {
    const { live } = this;
    const id = client.tag;
    if (!live.clientGone(id, client)) return;
    const server = live.server(id);
    if (end !== st.END_ABORTED) {
      if (live.state[id] === ses.CONNECTING) live.blame(id, log.CLIENT_LEFT);
      else if (end !== st.END_NORMAL) live.blame(id, end === st.END_RESET ? log.CLIENT_RESET : log.CLIENT_LOST);
    }
    if (end !== st.END_NORMAL && server !== null) {
      if (end !== st.END_ABORTED) this.stats.clientAborts++;
      abort(this.tcp, server);
    } else if (live.state[id] === ses.CONNECTING && server !== null) abort(this.tcp, server);
    this.oneSideGone(id);
  }

  // The server's side

  private connected(server: Tcb): void {
    const { live } = this;
    const id = server.tag;
    keepAlive(this.tcp, server, live.limitsOf(id).keepAlive);
    allowParking(this.tcp, server);
    const client = live.client(id);
    if (client !== null) allowParking(this.tcp, client);
    live.setState(id, ses.RELAYING);
    live.active[id] = 1;
    live.connectMs[id] = (this.ctx.nowMs - live.since[id]) | 0;
    this.search.observer?.sessionConnected(live.dest[id]);
    this.dests.connActive(live.dest[id]);
    this.timers.cancel(id);
    this.relay.armIdle(id);
    this.relay.pump(id);
  }

  private serverClosed(server: Tcb, end: number): void {
    const { live } = this;
    const id = server.tag;
    if (!live.serverGone(id, server)) return;
    this.dests.connClose(live.dest[id], live.active[id] !== 0);
    this.search.admit(live.service[id]);
    const client = live.client(id);
    if (live.state[id] === ses.CONNECTING) {
      this.timers.cancel(id);
      if (client === null) {
        this.oneSideGone(id);
        return;
      }
      // Only our own connect limit aborts a connection that is being opened for a client that is still there.
      this.search.retry(id, end === st.END_ABORTED ? st.END_TIMEOUT : end);
      return;
    }
    if (end !== st.END_NORMAL && end !== st.END_ABORTED) {
      live.blame(id, end === st.END_RESET ? log.SERVER_RESET : log.SERVER_LOST);
    }
    if (end !== st.END_NORMAL && client !== null) {
      if (end !== st.END_ABORTED) this.stats.serverAborts++;
      abort(this.tcp, client);
    }
    this.oneSideGone(id);
  }

  // Both

  private oneSideGone(id: number): void {
    const { live } = this;
    if (!live.isOver(id)) {
      live.setState(id, ses.CLOSING);
      return;
    }
    this.search.waiting.remove(id);
    this.timers.cancel(id);
    live.close(id);
  }

  onTimer(id: number): void {
    const { live } = this;
    if (id === this.reliefTimer) this.lookAround();
    else if (live.expects[id] !== 0) this.headers.refuse(id);
    else if (this.search.waiting.holds(id)) this.search.waitedInVain(id);
    else if (live.state[id] === ses.CONNECTING) {
      // As if the server had refused: serverClosed does the rest.
      const server = live.server(id);
      if (server !== null) abort(this.tcp, server);
    } else this.endIfIdle(id);
  }

  private lookAround(): void {
    relieve(this.ctx, this.live, this.stats);
    // Servers also get room by health checks and by the operator.
    for (let service = 1; service < this.live.limits.length; service++) this.search.admit(service);
    this.timers.arm(this.reliefTimer, (this.ctx.nowMs + RELIEF_MS) | 0);
  }

  private endIfIdle(id: number): void {
    const { live } = this;
    const left = idleLeft(live.limitsOf(id), live.client(id), live.server(id), this.ctx.nowMs);
    if (left > 0) {
      this.timers.arm(id, (this.ctx.nowMs + left) | 0);
      return;
    }
    this.stats.timeouts++;
    live.blame(id, log.IDLE);
    live.abort(id);
  }
}
