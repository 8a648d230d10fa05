/**
 * NAT and FullNAT: addresses, ports and, with FullNAT, TCP's numbers rewritten in place.
 *
 * ```
 *               from the client              to the server
 *  NAT          CIP:cport -> VIP:vport       CIP:cport -> RIP:rport
 *  FullNAT      CIP:cport -> VIP:vport       LIP:lport -> RIP:rport     number + delta
 *               from the server              to the client
 *  NAT          RIP:rport -> CIP:cport       VIP:vport -> CIP:cport
 *  FullNAT      RIP:rport -> LIP:lport       VIP:vport -> CIP:cport     acknowledgment, SACK - delta
 *               from a host behind us        to the world
 *  SNAT         host:port -> CIP:cport       VIP:vport -> CIP:cport     VIP is an address of the service's pool
 *               from the world               to the host
 *  SNAT         CIP:cport -> VIP:vport       CIP:cport -> host:port
 * ```
 *
 * All are one rewrite, because a row names whom the server believes to talk to: the client, or a local address.
 * ICMP queries have an identifier in the place of the client's port. SNAT is what a router does: TTL is decremented.
 *
 * With FullNAT many clients share a local address, and what a server remembers of <LIP, lport> is of whoever had it last.
 * So a connection begins with a number of our own (RFC 6528), which rises from one connection of the four-tuple to the
 * next, as the server expects (RFC 6191); it is chosen with the first SYN and kept when the SYN is sent again. Timestamps
 * of different clients do not rise: the option is taken out of the SYN, and so is not used at all (RFC 7323 §2.3). Or, where the
 * service wants it, they are translated likewise: a connection begins with our own clock, in milliseconds, and goes on by the client's.
 *
 * Ownership: as Way.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { Secrets } from '../../stack/tcp/isn.ts';
import type { FrameId, Verdict } from '../../stack/types.ts';
import { PASS } from '../../stack/verdict.ts';
import { PROTO_ICMP, PROTO_TCP } from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import * as c from '../conn-row.ts';
import { fixTcp, fixUdp, reversed, setAddresses, setQueryId, setWord } from './rewrite.ts';
import {
  blankTimestamp,
  clampMss,
  shiftAck,
  shiftEcho,
  shiftSeq,
  shiftTimestamp,
  timestampAt,
  timestampOf,
} from './tcp.ts';
import type { Way } from './way.ts';

const isRouted = (rows: Int32Array, at: number): boolean =>
  (rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT === c.SNAT;

export class Nat {
  private readonly ctx: Context;
  private readonly way: Way;
  private readonly secrets: Secrets;
  /** Largest segment size let through in a SYN, by service; 0 = any. */
  private readonly mss: Int32Array;
  /** By service, FullNAT: 1 = timestamps are translated, 0 = taken out. */
  private readonly timestamps: Uint8Array;

  constructor(ctx: Context, way: Way, mss: Int32Array, timestamps: Uint8Array) {
    this.ctx = ctx;
    this.way = way;
    this.secrets = new Secrets(ctx.random);
    this.mss = mss;
    this.timestamps = timestamps;
  }

  /** `rows[at..]` is the connection. */
  toServer(f: FrameId, rows: Int32Array, at: number, proto: number): Verdict {
    const { way } = this;
    const raddr = rows[at + c.RADDR];
    const verdict = way.find(f, raddr, 0, isRouted(rows, at));
    if (verdict !== PASS) return verdict;
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.l4[f];
    const addresses = setAddresses(buf, pool.l3[f], rows[at + c.LADDR], raddr);
    if (proto === PROTO_ICMP) return this.query(f, reversed(rows[at + c.RLPORTS]));
    let content = setWord(buf, l4, reversed(rows[at + c.RLPORTS]));
    if (proto === PROTO_TCP) {
      if ((tcp.flags(buf, l4) & tcp.SYN) !== 0) content += this.synToServer(pool, l4, rows, at);
      const delta = rows[at + c.SEQ_DELTA];
      if (delta !== 0) content += shiftSeq(buf, l4, delta);
      if ((rows[at + c.META] & c.F_TIMESTAMPS) !== 0) content += shiftTimestamp(buf, l4, rows[at + c.TS_DELTA]);
      fixTcp(pool, f, l4, addresses, content);
    } else fixUdp(pool, f, l4, addresses, content);
    return way.go(f);
  }

  toClient(f: FrameId, rows: Int32Array, at: number, proto: number): Verdict {
    const { way } = this;
    const caddr = rows[at + c.CADDR];
    const verdict = way.find(f, caddr, 0, isRouted(rows, at));
    if (verdict !== PASS) return verdict;
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.l4[f];
    const addresses = setAddresses(buf, pool.l3[f], rows[at + c.VADDR], caddr);
    if (proto === PROTO_ICMP) return this.query(f, reversed(rows[at + c.CVPORTS]));
    let content = setWord(buf, l4, reversed(rows[at + c.CVPORTS]));
    if (proto === PROTO_TCP) {
      const delta = rows[at + c.SEQ_DELTA];
      if (delta !== 0) content += shiftAck(buf, l4, -delta | 0);
      if ((rows[at + c.META] & c.F_TIMESTAMPS) !== 0) content += shiftEcho(buf, l4, -rows[at + c.TS_DELTA] | 0);
      if ((tcp.flags(buf, l4) & tcp.SYN) !== 0) content += clampMss(buf, l4, this.mssOf(rows, at));
      fixTcp(pool, f, l4, addresses, content);
    } else fixUdp(pool, f, l4, addresses, content);
    return way.go(f);
  }

  private query(f: FrameId, ports: number): Verdict {
    const { pool } = this.ctx;
    setQueryId(pool.buf, pool.l4[f], ports);
    return this.way.go(f);
  }

  private synToServer(pool: FramePool, l4: number, rows: Int32Array, at: number): number {
    const { buf } = pool;
    const change = clampMss(buf, l4, this.mssOf(rows, at));
    const meta = rows[at + c.META];
    if ((meta & c.MODE_MASK) >> c.MODE_SHIFT !== c.FNAT) return change;
    if ((meta & c.F_SEQ_SHIFTED) === 0) {
      const rl = rows[at + c.RLPORTS];
      const isn = this.secrets.isn(this.ctx.now, rows[at + c.LADDR], rl & 0xffff, rows[at + c.RADDR], rl >>> 16);
      rows[at + c.SEQ_DELTA] = (isn - tcp.seq(buf, l4)) | 0;
      rows[at + c.META] = meta | c.F_SEQ_SHIFTED;
    }
    if (this.timestamps[rows[at + c.SERVICE_HOP] >>> 16] === 0) return change + blankTimestamp(buf, l4);
    this.chooseTimestamp(buf, l4, rows, at);
    return change;
  }

  /** With the first SYN: by how much the client's clock is shifted. */
  private chooseTimestamp(buf: Uint8Array, l4: number, rows: Int32Array, at: number): void {
    const option = timestampAt(buf, l4);
    if (option === 0 || (rows[at + c.META] & c.F_TIMESTAMPS) !== 0) return;
    const { ctx, secrets } = this;
    const clock = (ctx.nowMs + secrets.timestampOffset(rows[at + c.LADDR], rows[at + c.RADDR])) | 0;
    rows[at + c.TS_DELTA] = (clock - timestampOf(buf, option)) | 0;
    rows[at + c.META] |= c.F_TIMESTAMPS;
  }

  private mssOf(rows: Int32Array, at: number): number {
    return this.mss[rows[at + c.SERVICE_HOP] >>> 16];
  }
}
