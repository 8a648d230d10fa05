/**
 * Moves data between a session's two connections, and passes on the end of what was said.
 *
 * Memory is bounded on both sides: data moves only while the receiver's send queue has room; otherwise it stays in the
 * sender's receive queue, whose window then closes. Frames are passed from one connection's queue to the other's by
 * tcp/socket.move. Called by tcp-proxy.ts on every event of either connection.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { canSend, isDrained, move, shutdown, write } from '../../stack/tcp/socket.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerRange } from '../../stack/timer/timers.ts';
import type { ServiceTable } from '../service.ts';
import { idleLimit } from './idle.ts';
import type { LiveSessions } from './live-sessions.ts';
import { Endpoints, header } from './proxy-protocol.ts';
import * as ses from './session.ts';

export class Relay {
  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly services: ServiceTable;
  private readonly live: LiveSessions;
  private readonly timers: TimerRange;
  private readonly endpoints = new Endpoints();

  constructor(ctx: Context, tcp: Tcp, services: ServiceTable, live: LiveSessions, timers: TimerRange) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.services = services;
    this.live = live;
    this.timers = timers;
  }

  /** Relays what can be relayed, both ways, and passes on the end of what was said. */
  pump(id: number): void {
    const { live } = this;
    const client = live.client(id);
    const server = live.server(id);
    if (client === null || server === null || live.state[id] < ses.RELAYING) {
      // One end is gone in good order: nothing can be relayed to it any more.
      return;
    }
    if (live.owes[id] !== 0 && !this.announce(id, server)) return;
    const up = move(this.tcp, client, server);
    if (up > 0) {
      live.table.toServer[id] += up;
      this.services.countIn(live.dest[id], 0, up);
    }
    const down = move(this.tcp, server, client);
    if (down > 0) {
      live.table.toClient[id] += down;
      this.services.countOut(live.dest[id], 0, down);
    }
    if (isDrained(client) && canSend(server)) this.passFin(id, server);
    if (isDrained(server) && canSend(client)) this.passFin(id, client);
  }

  /** Tells the server about the client, before anything else; false while not all of it could be queued. */
  private announce(id: number, server: Tcb): boolean {
    const { endpoints, live } = this;
    endpoints.src = live.srcAddr[id];
    endpoints.sport = live.srcPort[id];
    endpoints.dst = live.dstAddr[id];
    endpoints.dport = live.dstPort[id];
    const bytes = header(live.owes[id] === 1 ? 'v1' : 'v2', endpoints);
    live.told[id] += write(this.tcp, server, bytes, live.told[id], bytes.length - live.told[id]);
    if (live.told[id] < bytes.length) return false;
    live.owes[id] = 0;
    return true;
  }

  private passFin(id: number, to: Tcb): void {
    shutdown(this.tcp, to);
    if (this.live.limitsOf(id).finMs > 0) this.armIdle(id);
  }

  /** The session's timer goes off at the tightest idle limit that applies, if any. */
  armIdle(id: number): void {
    const { live } = this;
    const limit = idleLimit(live.limitsOf(id), live.client(id), live.server(id));
    if (limit > 0) this.timers.arm(id, (this.ctx.nowMs + limit) | 0);
  }
}
