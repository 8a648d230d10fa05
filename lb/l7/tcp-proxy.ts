/**
 * The TCP proxy: accepts on virtual services, chooses a server, connects, and relays both ways until both ends are done.
 *
 * | session    | event                                 | effect                                                      |
 * | ---------- | ------------------------------------- | ----------------------------------------------------------- |
 * | (none)     | client established                    | server chosen, connect; CONNECTING                          |
 * | (none)     | the same, announcers only             | CONNECTING, but first its header is read (proxy-protocol.ts) |
 * | CONNECTING | header wrong, or not in time          | client reset, session over                                  |
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
import {
  abort,
  canSend,
  consume,
  copyUnread,
  isDrained,
  keepAlive,
  move,
  shutdown,
  write,
} from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerHandler, TimerRange, Timers } from '../../stack/timer/timers.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import type { DestTable } from '../dest.ts';
import { FlowKey } from '../sched/index.ts';
import type { ServiceTable } from '../service.ts';
import { Endpoints, HEADER_MAX, header, INCOMPLETE, parse } from './proxy-protocol.ts';
import type { SessionTable } from './session.ts';
import * as ses from './session.ts';
import * as log from './session-log.ts';
import { WaitQueues } from './wait-queue.ts';

/** A network of clients. */
export interface Network {
  readonly network: Ipv4;
  readonly prefixLen: number;
}

/** Limits of one service's sessions, in ms (0 = none, but for `connectMs`), and what is said before their data. */
export interface ProxyLimits {
  readonly connectMs: number;
  readonly clientMs: number;
  readonly serverMs: number;
  readonly finMs: number;
  /** Further servers to try when connecting fails. */
  readonly retries: number;
  /** What servers are told about the client first: the PROXY protocol, in this version. */
  readonly announce: 'off' | 'v1' | 'v2';
  /** Who tells us about clients in the same way; everybody else is refused. Empty: connections begin with data. */
  readonly announcers: readonly Network[];
  /** How long a session may wait for a server with room, in ms; 0 = it is refused at once. */
  readonly queueMs: number;
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
  /** Clients reset because they may not announce others, and because what they announced was no PROXY header. */
  untrusted = 0;
  badHeaders = 0;
  /** Lines that the access log lacks because it could not keep up. */
  logLost = 0;
  /** Sessions that waited for a server with room, and those that did so in vain. */
  queued = 0;
  queueTimeouts = 0;
}

const VERSIONS = ['off', 'v1', 'v2'];

const contains = ({ network, prefixLen }: Network, addr: Ipv4): boolean =>
  prefixLen === 0 || (addr ^ network) >>> (32 - prefixLen) === 0;

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
  private sessionLog: log.SessionLog | null = null;

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

  /** When the client was accepted, and how many ms later the server; -1 = not yet. */
  private readonly since: Int32Array;
  private readonly connectMs: Int32Array;
  /** Who talks to whom as far as is known: the ends of the client's connection, or whom its header names. */
  private readonly srcAddr: Int32Array;
  private readonly srcPort: Int32Array;
  private readonly dstAddr: Int32Array;
  private readonly dstPort: Int32Array;
  /** The client's header is still to come. */
  private readonly expects: Uint8Array;
  /** Version of the header that the server is still to get, 0 = none, and the bytes of it that are queued. */
  private readonly owes: Uint8Array;
  private readonly told: Uint8Array;
  /** Why it ends, of session-log.ts: the first reason counts. */
  private readonly why: Uint8Array;
  private readonly waiting: WaitQueues;
  private readonly endpoints = new Endpoints();
  private readonly unread = new Uint8Array(HEADER_MAX);
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
    this.connectMs = new Int32Array(n);
    this.srcAddr = new Int32Array(n);
    this.srcPort = new Int32Array(n);
    this.dstAddr = new Int32Array(n);
    this.dstPort = new Int32Array(n);
    this.expects = new Uint8Array(n);
    this.owes = new Uint8Array(n);
    this.told = new Uint8Array(n);
    this.why = new Uint8Array(n);
    this.waiting = new WaitQueues(services.columns.capacity, sessions.capacity);
    this.clientSide = {
      onEstablished: (tcb) => this.accept(tcb),
      onReadable: (tcb) => this.clientReadable(tcb),
      onWritable: (tcb) => this.pump(tcb.tag),
      onFin: (tcb) => this.clientFin(tcb),
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

  /** Gets every session that ends; null = nobody does. */
  logTo(sessionLog: log.SessionLog | null): void {
    this.sessionLog = sessionLog;
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
      this.blame(id, log.DRAINED);
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
      this.blame(id, log.DRAINED);
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
    this.connectMs[id] = -1;
    this.srcAddr[id] = client.raddr;
    this.srcPort[id] = client.rport;
    this.dstAddr[id] = client.laddr;
    this.dstPort[id] = client.lport;
    this.expects[id] = 0;
    this.why[id] = log.NORMAL;
    const { announcers, connectMs } = this.limits[service]!;
    if (announcers.length === 0) {
      this.begin(id);
      return;
    }
    if (!announcers.some((one) => contains(one, client.raddr))) {
      this.stats.untrusted++;
      this.blame(id, log.UNTRUSTED);
      abort(this.tcp, client);
      return;
    }
    this.expects[id] = 1;
    this.timers.arm(id, (this.ctx.nowMs + connectMs) | 0);
  }

  private clientReadable(client: Tcb): void {
    if (this.expects[client.tag] !== 0) this.readHeader(client.tag, client);
    // Before a server is there, what the client says waits in its receive queue.
    if (this.state[client.tag] >= ses.RELAYING) this.pump(client.tag);
  }

  private clientFin(client: Tcb): void {
    if (this.expects[client.tag] !== 0) this.refuseHeader(client.tag);
    else this.pump(client.tag);
  }

  /** What an announcer says of its client, once it has said all of it. */
  private readHeader(id: number, client: Tcb): void {
    const { endpoints, unread } = this;
    const length = parse(unread, copyUnread(this.tcp, client, unread), endpoints);
    if (length === INCOMPLETE) return;
    if (length < 0) {
      this.refuseHeader(id);
      return;
    }
    consume(this.tcp, client, length);
    this.expects[id] = 0;
    this.timers.cancel(id);
    if (endpoints.known) {
      this.srcAddr[id] = endpoints.src;
      this.srcPort[id] = endpoints.sport;
      this.dstAddr[id] = endpoints.dst;
      this.dstPort[id] = endpoints.dport;
      this.sessions.setClient(id, endpoints.src, endpoints.sport);
    }
    this.begin(id);
  }

  private refuseHeader(id: number): void {
    this.stats.badHeaders++;
    this.expects[id] = 0;
    this.blame(id, log.BAD_HEADER);
    abort(this.tcp, this.client[id]!);
  }

  private blame(id: number, why: number): void {
    if (this.why[id] === log.NORMAL) this.why[id] = why;
  }

  private clientClosed(client: Tcb, end: number): void {
    const id = client.tag;
    if (this.state[id] === ses.FREE || this.client[id] !== client) return;
    this.client[id] = null;
    const server = this.server[id];
    if (end !== st.END_ABORTED) {
      if (this.state[id] === ses.CONNECTING) this.blame(id, log.CLIENT_LEFT);
      else if (end !== st.END_NORMAL) this.blame(id, end === st.END_RESET ? log.CLIENT_RESET : log.CLIENT_LOST);
    }
    if (end !== st.END_NORMAL && server !== null) {
      if (end !== st.END_ABORTED) this.stats.clientAborts++;
      abort(this.tcp, server);
    } else if (this.state[id] === ses.CONNECTING && server !== null) abort(this.tcp, server);
    this.oneSideGone(id);
  }

  // The server's side

  /** The client may have a server; it waits behind those that wait already. */
  private begin(id: number): void {
    const service = this.service[id];
    if (this.waiting.head(service) === 0) this.connectNext(id);
    else this.wait(id);
  }

  private wait(id: number): void {
    this.stats.queued++;
    this.waiting.push(this.service[id], id);
    this.timers.arm(id, (this.ctx.nowMs + Math.max(this.patience(id), 1)) | 0);
  }

  /** How much longer a session may wait, in ms. */
  private patience(id: number): number {
    return (this.since[id] + this.limits[this.service[id]]!.queueMs - this.ctx.nowMs) | 0;
  }

  /** Lets those that wait have what room there is, in their order. */
  private admit(service: number): void {
    // Each once: who is not given a server after all waits again, at the end.
    for (let n = this.waiting.length(service); n > 0; n--) {
      const id = this.waiting.head(service);
      const client = this.client[id]!;
      this.flow.set(this.srcAddr[id], client.laddr, this.srcPort[id], client.lport, PROTO_TCP, this.ctx.now);
      if (!this.services.hasRoom(service, this.flow)) return;
      this.waiting.remove(id);
      this.timers.cancel(id);
      this.connectNext(id);
    }
  }

  private waitedInVain(id: number): void {
    this.stats.queueTimeouts++;
    this.waiting.remove(id);
    this.blame(id, log.NO_SERVER);
    abort(this.tcp, this.client[id]!);
  }

  /** Chooses a server among those not tried yet and starts connecting; gives up on the client when there is none. */
  private connectNext(id: number): void {
    const client = this.client[id]!;
    const service = this.service[id];
    const { flow } = this;
    flow.set(this.srcAddr[id], client.laddr, this.srcPort[id], client.lport, PROTO_TCP, this.ctx.now);
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
    if (this.nTried[id] === 0 && this.patience(id) > 0 && this.services.isFull(service)) {
      this.wait(id);
      return;
    }
    if (this.nTried[id] === 0) {
      this.stats.noServer++;
      this.events.noServer(service);
    }
    this.blame(id, this.nTried[id] === 0 ? log.NO_SERVER : log.CONNECT_FAILED);
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
    this.owes[id] = VERSIONS.indexOf(this.limits[this.service[id]]!.announce);
    this.told[id] = 0;
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
    this.connectMs[id] = (this.ctx.nowMs - this.since[id]) | 0;
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
    this.admit(this.service[id]);
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
    if (end !== st.END_NORMAL && end !== st.END_ABORTED) {
      this.blame(id, end === st.END_RESET ? log.SERVER_RESET : log.SERVER_LOST);
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
      return;
    }
    this.blame(id, log.CONNECT_FAILED);
    abort(this.tcp, this.client[id]!);
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
    if (this.owes[id] !== 0 && !this.announce(id, server)) return;
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

  /** Tells the server about the client, before anything else; false while not all of it could be queued. */
  private announce(id: number, server: Tcb): boolean {
    const { endpoints } = this;
    endpoints.src = this.srcAddr[id];
    endpoints.sport = this.srcPort[id];
    endpoints.dst = this.dstAddr[id];
    endpoints.dport = this.dstPort[id];
    const bytes = header(this.owes[id] === 1 ? 'v1' : 'v2', endpoints);
    this.told[id] += write(this.tcp, server, bytes, this.told[id], bytes.length - this.told[id]);
    if (this.told[id] < bytes.length) return false;
    this.owes[id] = 0;
    return true;
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
    this.waiting.remove(id);
    this.timers.cancel(id);
    this.stats.finished++;
    if (this.sessionLog !== null) this.record(id, this.sessionLog);
    this.sessions.close(id);
  }

  private record(id: number, sessionLog: log.SessionLog): void {
    const { now, nowMs } = this.ctx;
    const ms = (nowMs - this.since[id]) | 0;
    sessionLog.finished(this.sessions, id, now, ms, this.connectMs[id], this.nTried[id], this.why[id]);
    this.stats.logLost = sessionLog.lost;
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
      // Servers also get room by health checks and by the operator.
      for (let service = 1; service < this.limits.length; service++) this.admit(service);
      this.timers.arm(id, (this.ctx.nowMs + RELIEF_MS) | 0);
      return;
    }
    if (this.expects[id] !== 0) {
      this.refuseHeader(id);
      return;
    }
    if (this.waiting.holds(id)) {
      this.waitedInVain(id);
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
    this.blame(id, log.IDLE);
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
    this.blame(worst, log.EVICTED);
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
