/**
 * An ICMP echo client (RFC 792) on a host of our own. A stack has no use for echo replies and drops them, so they are
 * seen where every frame ends: in the context's probe.
 */
import type { Host } from '../../stack/host.ts';
import { L4_HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { FrameId, Ipv4, Micros } from '../../stack/types.ts';
import * as icmp from '../../stack/wire/icmp4.ts';
import * as ip from '../../stack/wire/ipv4.ts';

const ID = 0x7476;
const DATA_BYTES = 56;

export interface Echo {
  readonly seq: number;
  readonly sentUs: Micros;
  /** -1 until the answer is there. */
  rttUs: number;
  /** Bytes of ICMP that came back, and the TTL they had. */
  bytes: number;
  ttl: number;
}

export class Pinger {
  private readonly host: Host;
  private readonly dst: Ipv4;
  private readonly waiting = new Map<number, Echo>();

  constructor(host: Host, dst: Ipv4) {
    this.host = host;
    this.dst = dst;
    host.ctx.probe = (f) => this.look(f);
  }

  /** Sends one request; the answer is noted in what this returns. */
  send(seq: number, now: Micros): Echo {
    const echo: Echo = { seq, sentUs: now, rttUs: -1, bytes: 0, ttl: 0 };
    const { ctx } = this.host;
    const { pool } = ctx;
    const f = ctx.create();
    if (f === 0) return echo;
    const off = pool.base(f) + L4_HEADROOM;
    const len = icmp.ICMP_LEN + DATA_BYTES;
    for (let i = 0; i < DATA_BYTES; i++) pool.buf[off + icmp.ICMP_LEN + i] = i;
    icmp.emit(pool.buf, pool.i32, off, icmp.ECHO_REQUEST, 0, (ID << 16) | seq, len);
    pool.off[f] = off;
    pool.len[f] = len;
    this.waiting.set(seq, echo);
    ctx.settle(f, this.host.ip.output(f, this.host.sourceTowards(this.dst), this.dst, ip.PROTO_ICMP, false));
    return echo;
  }

  private look(f: FrameId): void {
    const { pool, now } = this.host.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const l4 = pool.off[f]!;
    if (l4 - l3 !== ip.IPV4_LEN || pool.len[f]! < icmp.ICMP_LEN || ip.proto(buf, l3) !== ip.PROTO_ICMP) return;
    if (icmp.type(buf, l4) !== icmp.ECHO_REPLY || icmp.echoId(buf, l4) !== ID || ip.src(buf, l3) !== this.dst) return;
    const echo = this.waiting.get(icmp.echoSeq(buf, l4));
    if (echo === undefined || echo.rttUs >= 0) return;
    echo.rttUs = now - echo.sentUs;
    echo.bytes = pool.len[f]!;
    echo.ttl = ip.ttl(buf, l3);
  }
}
