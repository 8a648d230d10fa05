/**
 * Reads what trusted announcers say about their clients (proxy-protocol.ts) before a session gets a server; whoever is not
 * trusted, says something else or says it too slowly is reset. Called by tcp-proxy.ts; once per connection: cold.
 */
import type { Context } from '../../stack/context.ts';
import { abort, consume, copyUnread } from '../../stack/tcp/socket.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { TimerRange } from '../../stack/timer/timers.ts';
import { contains } from './limits.ts';
import type { LiveSessions } from './live-sessions.ts';
import { Endpoints, HEADER_MAX, INCOMPLETE, parse } from './proxy-protocol.ts';
import type { ProxyStats } from './proxy-stats.ts';
import * as log from './session-log.ts';

export class HeaderReader {
  private readonly ctx: Context;
  private readonly tcp: Tcp;
  private readonly live: LiveSessions;
  private readonly timers: TimerRange;
  private readonly stats: ProxyStats;
  private readonly endpoints = new Endpoints();
  private readonly unread = new Uint8Array(HEADER_MAX);

  constructor(ctx: Context, tcp: Tcp, live: LiveSessions, timers: TimerRange, stats: ProxyStats) {
    this.ctx = ctx;
    this.tcp = tcp;
    this.live = live;
    this.timers = timers;
    this.stats = stats;
  }

  /** A session of a service with announcers begins: its header is expected, if it comes from one of them. */
  expect(id: number, client: Tcb): void {
    const { live } = this;
    const { announcers, connectMs } = live.limitsOf(id);
    if (!announcers.some((one) => contains(one, client.raddr))) {
      this.stats.untrusted++;
      live.blame(id, log.UNTRUSTED);
      abort(this.tcp, client);
      return;
    }
    live.expects[id] = 1;
    this.timers.arm(id, (this.ctx.nowMs + connectMs) | 0);
  }

  /** What an announcer says of its client, once it has said all of it: true when the session may have a server. */
  read(id: number, client: Tcb): boolean {
    const { endpoints, unread, live } = this;
    const length = parse(unread, copyUnread(this.tcp, client, unread), endpoints);
    if (length === INCOMPLETE) return false;
    if (length < 0) {
      this.refuse(id);
      return false;
    }
    consume(this.tcp, client, length);
    live.expects[id] = 0;
    this.timers.cancel(id);
    if (endpoints.known) {
      live.srcAddr[id] = endpoints.src;
      live.srcPort[id] = endpoints.sport;
      live.dstAddr[id] = endpoints.dst;
      live.dstPort[id] = endpoints.dport;
      live.table.setClient(id, endpoints.src, endpoints.sport);
    }
    return true;
  }

  /** It was no header, not all of one, or none in time. */
  refuse(id: number): void {
    const { live } = this;
    this.stats.badHeaders++;
    live.expects[id] = 0;
    live.blame(id, log.BAD_HEADER);
    abort(this.tcp, live.client(id)!);
  }
}
