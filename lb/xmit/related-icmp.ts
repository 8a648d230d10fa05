/**
 * ICMP errors about packets of tracked connections (RFC 792, RFC 1191): translated as their subject was, so that the end
 * that sent it recognises it (RFC 5508 §4.2 says the same of NATs).
 *
 * ```
 *  the error comes from      quotes what we sent, as         becomes                       quoting
 *  the server's side         LIP:lport -> RIP:rport          from VIP, to the client       CIP:cport -> VIP:vport, number - delta
 *  the client's side         VIP:vport -> CIP:cport          from LIP, to the server       RIP:rport -> LIP:lport, acknowledgment + delta
 *  a tunnel                  us -> RIP, in it the client's   from VIP, to the client       what was in the tunnel; MTU - 20
 * ```
 *
 * Eight bytes of the quoted layer 4 are all that is there for certain: ports, and with TCP the number. What follows is
 * corrected as far as it reaches. With DR and TUN an error from the client's side goes to the server as it is.
 * An error refreshes no timer and changes no state. Its checksum is verified, then made anew.
 *
 * Called by lb/core.ts. Ownership: PASS leaves the frame to the stack (not one of ours); otherwise as transmit.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { FrameId, Ipv4, Verdict } from '../../stack/types.ts';
import { PASS } from '../../stack/verdict.ts';
import { get32, set16 } from '../../stack/wire/bytes.ts';
import { finish, sum } from '../../stack/wire/checksum.ts';
import * as icmp from '../../stack/wire/icmp4.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import { isQuery, ports as queryPorts } from '../proto/icmp.ts';
import type { Xmit, XmitStack } from './index.ts';
import {
  adjust,
  adjustUdp,
  reversed,
  setAddresses,
  setQueryId,
  setWord,
  TCP_CHECKSUM,
  UDP_CHECKSUM,
} from './rewrite.ts';

/** Of layer 4 in a quote at least. */
const QUOTED = 8;
/** Precedence internetwork control, as errors made here have it (RFC 1812 §4.3.2.5). */
const TOS = 0xc0;

export class RelatedIcmp {
  /** Errors translated. */
  translated = 0;

  private readonly ctx: Context;
  private readonly stack: XmitStack;
  private readonly xmit: Xmit;
  private readonly tcp: ConnTable;
  private readonly udp: ConnTable;
  private readonly icmp: ConnTable;

  constructor(stack: XmitStack, xmit: Xmit, tcp: ConnTable, udp: ConnTable, icmp: ConnTable) {
    this.ctx = stack.ctx;
    this.stack = stack;
    this.xmit = xmit;
    this.tcp = tcp;
    this.udp = udp;
    this.icmp = icmp;
  }

  /** An unfragmented ICMP packet, `off` and l3 at its IP header. */
  input(f: FrameId): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.l4[f];
    const end = pool.off[f] + pool.len[f];
    if (pool.fragLen[f] !== 0 || end - l4 < icmp.ICMP_LEN || !isTranslated(icmp.type(buf, l4))) return PASS;
    const inner = l4 + icmp.ICMP_LEN;
    const innerL4 = quotedL4(buf, inner, end);
    if (innerL4 === 0) return PASS;
    const proto = ip.proto(buf, inner);
    if (proto === ip.PROTO_IPIP) return this.fromTunnel(f, l4, inner, innerL4, end);
    const table = this.tableOf(proto);
    if (table === null) return PASS;
    const ports = quotedPorts(buf, proto, innerL4);
    if (ports === 0) return PASS;
    const hit = table.find(ip.dst(buf, inner), ip.src(buf, inner), reversed(ports));
    if (hit === 0 || icmp.check(buf, pool.i32, l4, end) !== 0) return PASS;
    const { rows } = table;
    const at = c.rowOf(hit) << c.ROW_SHIFT;
    this.translated += 1;
    if (c.dirOf(hit) === c.OUT) return this.toClient(f, rows, at, inner, innerL4, end);
    if (!c.seesReplies((rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT)) {
      return this.xmit.send(f, rows, at, c.IN, ip.PROTO_ICMP);
    }
    return this.toServer(f, rows, at, inner, innerL4, end);
  }

  private toClient(f: FrameId, rows: Int32Array, at: number, inner: number, innerL4: number, end: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const { way } = this.xmit;
    const verdict = way.find(f, rows[at + c.CADDR], 0);
    if (verdict !== PASS) return verdict;
    setAddresses(buf, pool.l3[f], rows[at + c.VADDR], rows[at + c.CADDR]);
    let change = setAddresses(buf, inner, rows[at + c.CADDR], rows[at + c.VADDR]);
    if (ip.proto(buf, inner) === ip.PROTO_ICMP) {
      setQueryId(buf, innerL4, rows[at + c.CVPORTS]);
      this.sealError(f, end);
      return way.go(f);
    }
    change += setWord(buf, innerL4, rows[at + c.CVPORTS]);
    if (ip.proto(buf, inner) === ip.PROTO_TCP) {
      change += setWord(buf, innerL4 + 4, (get32(buf, innerL4 + 4) - rows[at + c.SEQ_DELTA]) | 0);
    }
    this.seal(f, inner, innerL4, end, change);
    return way.go(f);
  }

  private toServer(f: FrameId, rows: Int32Array, at: number, inner: number, innerL4: number, end: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const { way } = this.xmit;
    const verdict = way.find(f, rows[at + c.RADDR], 0);
    if (verdict !== PASS) return verdict;
    // A host behind us may know which router of the world complains; a server knows the local address alone.
    const routed = (rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT === c.SNAT;
    setAddresses(buf, pool.l3[f], routed ? ip.src(buf, pool.l3[f]) : rows[at + c.LADDR], rows[at + c.RADDR]);
    let change = setAddresses(buf, inner, rows[at + c.RADDR], rows[at + c.LADDR]);
    if (ip.proto(buf, inner) === ip.PROTO_ICMP) {
      setQueryId(buf, innerL4, rows[at + c.RLPORTS]);
      this.sealError(f, end);
      return way.go(f);
    }
    change += setWord(buf, innerL4, rows[at + c.RLPORTS]);
    if (ip.proto(buf, inner) === ip.PROTO_TCP && innerL4 + 12 <= end) {
      change += setWord(buf, innerL4 + 8, (get32(buf, innerL4 + 8) + rows[at + c.SEQ_DELTA]) | 0);
    }
    this.seal(f, inner, innerL4, end, change);
    return way.go(f);
  }

  /** The checksum of the quoted packet, if it reaches that far, and that of the error. */
  private seal(f: FrameId, inner: number, innerL4: number, end: number, change: number): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    if (ip.proto(buf, inner) === ip.PROTO_TCP) {
      if (innerL4 + TCP_CHECKSUM + 2 <= end) adjust(buf, innerL4 + TCP_CHECKSUM, change);
    } else adjustUdp(buf, innerL4 + UDP_CHECKSUM, change);
    this.sealError(f, end);
  }

  private sealError(f: FrameId, end: number): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    const l4 = pool.l4[f];
    set16(buf, l4 + 2, 0);
    set16(buf, l4 + 2, finish(sum(buf, pool.i32, l4, end - l4, 0)));
  }

  /** Something between us and a server complains of our tunnel: the client learns what concerns its own packet. */
  private fromTunnel(f: FrameId, l4: number, outer: number, tunnelled: number, end: number): Verdict {
    const { pool } = this.ctx;
    const { buf } = pool;
    const tunnelledL4 = quotedL4(buf, tunnelled, end);
    if (tunnelledL4 === 0) return PASS;
    const table = this.tableOf(ip.proto(buf, tunnelled));
    if (table === null) return PASS;
    const client: Ipv4 = ip.src(buf, tunnelled);
    const vip: Ipv4 = ip.dst(buf, tunnelled);
    const hit = table.find(client, vip, quotedPorts(buf, ip.proto(buf, tunnelled), tunnelledL4));
    if (
      hit === 0 ||
      !leadsTo(table.rows, c.rowOf(hit) << c.ROW_SHIFT, ip.dst(buf, outer)) ||
      icmp.check(buf, pool.i32, l4, end) !== 0
    )
      return PASS;
    const type = icmp.type(buf, l4);
    const code = icmp.code(buf, l4);
    let rest = icmp.rest(buf, l4);
    if (type === icmp.UNREACHABLE && code === icmp.UNREACH_FRAG_NEEDED) {
      rest = Math.max(0, (rest & 0xffff) - ip.IPV4_LEN);
    }
    // The client's packet moves up to the ICMP header, in the place of the tunnel's.
    const length = icmp.ICMP_LEN + end - tunnelled;
    buf.copyWithin(l4 + icmp.ICMP_LEN, tunnelled, end);
    icmp.emit(buf, pool.i32, l4, type, code, rest, length);
    pool.off[f] = l4;
    pool.len[f] = length;
    pool.flags[f] = 0;
    this.translated += 1;
    return this.stack.ip.output(f, vip, client, ip.PROTO_ICMP, false, TOS);
  }

  private tableOf(proto: number): ConnTable | null {
    if (proto === ip.PROTO_TCP) return this.tcp;
    if (proto === ip.PROTO_UDP) return this.udp;
    return proto === ip.PROTO_ICMP ? this.icmp : null;
  }
}

/** Ports, or pseudo ports, of a quoted packet; 0 = it is none that could be tracked. */
function quotedPorts(buf: Uint8Array, proto: number, l4: number): number {
  if (proto !== ip.PROTO_ICMP) return get32(buf, l4);
  return isQuery(buf[l4]) ? queryPorts(buf[l4], buf[l4 + 1], get32(buf, l4 + 4) >>> 16) : 0;
}

/** Whether the connection's packets go to the server through a tunnel. */
const leadsTo = (rows: Int32Array, at: number, addr: Ipv4): boolean =>
  (rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT === c.TUN && rows[at + c.RADDR] === addr;

const isTranslated = (type: number): boolean =>
  type === icmp.UNREACHABLE ||
  type === icmp.SOURCE_QUENCH ||
  type === icmp.TIME_EXCEEDED ||
  type === icmp.PARAMETER_PROBLEM;

/** Where layer 4 of a quoted packet begins, 0 when there is none to be seen. */
function quotedL4(buf: Uint8Array, inner: number, end: number): number {
  if (end - inner < ip.IPV4_LEN || buf[inner] >> 4 !== 4) return 0;
  const l4 = inner + ip.headerLength(buf, inner);
  if (l4 - inner < ip.IPV4_LEN || l4 + QUOTED > end || ip.fragmentOffset(buf, inner) !== 0) return 0;
  return l4;
}
