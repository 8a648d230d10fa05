/**
 * UDP input (RFC 768, RFC 1122 §4.1.3): checks a datagram and gives it to the socket it is for; a port without socket is
 * answered with ICMP port unreachable. Errors that come back about our own datagrams go to the socket that sent them.
 *
 * Ownership: STOLEN while the datagram waits in a socket's queue, DROP|reason otherwise.
 * @hot
 */
import type { Context } from '../context.ts';
import { UDP_NO_PORT } from '../drop.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID } from '../mem/frame-pool.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DROP } from '../verdict.ts';
import { UNREACH_PORT, UNREACHABLE } from '../wire/icmp4.ts';
import * as ip from '../wire/ipv4.ts';
import * as udp from '../wire/udp.ts';
import type { UdpSockets } from './socket.ts';

/** What is asked of ICMP: send an error about a frame whose IP header is at l3. */
export interface ErrorSender {
  send(about: FrameId, type: number, code: number, rest: number): boolean;
}

export class UdpInput {
  private readonly ctx: Context;
  private readonly sockets: UdpSockets;
  private readonly error: ErrorSender;

  constructor(ctx: Context, sockets: UdpSockets, error: ErrorSender) {
    this.ctx = ctx;
    this.sockets = sockets;
    this.error = error;
  }

  /** `off`/`len` cover the UDP header and its data, l3 and l4 are set. */
  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    const bad = udp.check(buf, off, off + pool.len[f]!);
    if (bad !== 0) return DROP | bad;
    const l3 = pool.l3[f]!;
    const dst = ip.dst(buf, l3);
    // A partial checksum comes from this machine's own memory, over a virtual link: it has crossed no wire.
    if ((pool.flags[f]! & (F_CSUM_VALID | F_CSUM_PARTIAL)) === 0) {
      const wrong = udp.checkSum(buf, pool.i32, off, ip.src(buf, l3), dst);
      if (wrong !== 0) return DROP | wrong;
    }
    const socket = this.sockets.find(dst, udp.dstPort(buf, off));
    if (socket !== null) return socket.enqueue(f);
    this.error.send(f, UNREACHABLE, UNREACH_PORT, 0);
    return DROP | UDP_NO_PORT;
  }

  /** An ICMP error quotes a datagram of ours: its IP header at `inner`, at least 8 bytes of UDP at `l4`. */
  icmpError(type: number, code: number, _rest: number, inner: number, l4: number): void {
    const { buf } = this.ctx.pool;
    const socket = this.sockets.find(ip.src(buf, inner), udp.srcPort(buf, l4));
    if (socket === null || socket.onUnreachable === null) return;
    socket.onUnreachable(ip.dst(buf, inner), udp.dstPort(buf, l4), type, code);
  }
}
