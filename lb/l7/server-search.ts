/**
 * Finds a server for a session: asks the scheduler, connects, tries another one when that fails, and lets the session
 * wait, first come, first served, while all servers are full (wait-queue.ts). Called by tcp-proxy.ts. @hot
 */
import type { Context } from '../../stack/context.ts';
import { abort } from '../../stack/tcp/socket.ts';
import * as st from '../../stack/tcp/state.ts';
import type { SocketOwner } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerRange } from '../../stack/timer/timers.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import type { DestTable } from '../dest.ts';
import { FlowKey } from '../sched/index.ts';
import type { ServiceTable } from '../service.ts';
import type { LiveSessions } from './live-sessions.ts';
import type { ProxyEvents, ProxyStats, ServerObserver } from './proxy-stats.ts';
import * as log from './session-log.ts';
import { WaitQueues } from './wait-queue.ts';

const VERSIONS = ['off', 'v1', 'v2'];

export class ServerSearch {
  readonly waiting: WaitQueues;
  /** Addresses connections to servers leave from, in turn among those at the server's port; none there = the VIP. */
  readonly locals: Ipv4[] = [];
  observer: ServerObserver | null = null;

  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly services: ServiceTable;
  private readonly dests: DestTable;
  private readonly live: LiveSessions;
  private readonly timers: TimerRange;
  private readonly stats: ProxyStats;
  private readonly events: ProxyEvents;
  private readonly owner: SocketOwner;
  private readonly flow = new FlowKey();
  private nextLocal = 0;

  /** `owner` gets the events of connections to servers; their tag is the session. */
  constructor(
    ctx: Context,
    tcp: Tcp,
    services: ServiceTable,
    dests: DestTable,
    live: LiveSessions,
    timers: TimerRange,
    stats: ProxyStats,
    events: ProxyEvents,
    owner: SocketOwner,
  ) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.services = services;
    this.dests = dests;
    this.live = live;
    this.timers = timers;
    this.stats = stats;
    this.events = events;
    this.owner = owner;
    this.waiting = new WaitQueues(services.columns.capacity, live.table.capacity);
  }

  /** Where the next connection to a server at `addr` leaves from; `vip` is that of its service. */
  sourceFor(addr: Ipv4, vip: Ipv4): Ipv4 {
    const { locals } = this;
    for (let i = 0; i < locals.length; i++) {
      const local = locals[this.nextLocal++ % locals.length]!;
      if (this.tcp.ip.isNear(local, addr)) return local;
    }
    return vip;
  }

  /** The client may have a server; it waits behind those that wait already. */
  begin(id: number): void {
    if (this.waiting.head(this.live.service[id]) === 0) this.connectNext(id);
    else this.wait(id);
  }

  private wait(id: number): void {
    this.stats.queued++;
    this.waiting.push(this.live.service[id], id);
    this.timers.arm(id, (this.ctx.nowMs + Math.max(this.patience(id), 1)) | 0);
  }

  /** How much longer a session may wait, in ms. */
  private patience(id: number): number {
    return (this.live.since[id] + this.live.limitsOf(id).queueMs - this.ctx.nowMs) | 0;
  }

  /** Lets those that wait have what room there is, in their order. */
  admit(service: number): void {
    // Each once: who is not given a server after all waits again, at the end.
    for (let n = this.waiting.length(service); n > 0; n--) {
      const id = this.waiting.head(service);
      this.setFlow(id);
      if (!this.services.hasRoom(service, this.flow)) return;
      this.waiting.remove(id);
      this.timers.cancel(id);
      this.connectNext(id);
    }
  }

  waitedInVain(id: number): void {
    this.stats.queueTimeouts++;
    this.waiting.remove(id);
    this.live.blame(id, log.NO_SERVER);
    abort(this.tcp, this.live.client(id)!);
  }

  /** What the scheduler goes by. */
  private setFlow(id: number): void {
    const { live } = this;
    const client = live.client(id)!;
    this.flow.set(live.srcAddr[id], client.laddr, live.srcPort[id], client.lport, PROTO_TCP, this.ctx.now);
  }

  /** Chooses a server among those not tried yet and starts connecting; gives up on the client when there is none. */
  private connectNext(id: number): void {
    const { flow, live, services } = this;
    const client = live.client(id)!;
    const service = live.service[id];
    this.setFlow(id);
    for (let i = 0; i < live.nTried[id]; i++) flow.avoid(live.triedDest(id, i));
    for (;;) {
      const dest = services.schedule(service, flow);
      if (dest === 0) break;
      if (this.connect(id, dest, client.laddr)) return;
      // No local port or no route: another server may do.
      if (!this.countFailure(id, dest, st.END_UNREACHABLE) || !flow.avoid(dest)) break;
      this.stats.retries++;
    }
    if (live.nTried[id] === 0 && this.patience(id) > 0 && services.isFull(service)) {
      this.wait(id);
      return;
    }
    if (live.nTried[id] === 0) {
      this.stats.noServer++;
      this.events.noServer(service);
    }
    live.blame(id, live.nTried[id] === 0 ? log.NO_SERVER : log.CONNECT_FAILED);
    abort(this.tcp, client);
  }

  private connect(id: number, dest: number, vip: Ipv4): boolean {
    const { live } = this;
    const addr = this.dests.addr[dest];
    const port = this.dests.port[dest];
    const local = this.sourceFor(addr, vip);
    const server = this.tcp.connect(local, 0, addr, port, this.owner, id);
    if (server === null) return false;
    const { announce, connectMs } = live.limitsOf(id);
    live.setServer(id, server);
    live.dest[id] = dest;
    live.active[id] = 0;
    live.owes[id] = VERSIONS.indexOf(announce);
    live.told[id] = 0;
    this.services.connOpen(dest);
    live.table.tryServer(id, dest, local, server.lport, addr, port);
    this.timers.arm(id, (this.ctx.nowMs + connectMs) | 0);
    return true;
  }

  /** A server did not take a session, with END_*; false when no other may be tried. */
  private countFailure(id: number, dest: number, end: number): boolean {
    this.services.countConnectFailure(dest);
    this.stats.connectFailures++;
    const more = this.live.remember(id, dest);
    this.events.connectFailed(this.live.service[id], dest, end, more);
    return more;
  }

  /** The session's server did not take it, with END_*: the next one, or the end. */
  retry(id: number, end: number): void {
    const dest = this.live.dest[id];
    this.observer?.sessionFailed(dest);
    if (this.countFailure(id, dest, end)) {
      this.stats.retries++;
      this.connectNext(id);
      return;
    }
    this.live.blame(id, log.CONNECT_FAILED);
    abort(this.tcp, this.live.client(id)!);
  }
}
