/**
 * Resets to both ends of a TCP connection that the director gives up while they believe in it (RFC 9293 §3.5.2): each
 * carries exactly the number its receiver waits for, or it would not be believed (RFC 5961 §3). Only connections whose
 * both directions come by can be ended so: the server's last segment told what both ends wait for.
 * Called by lb/core.ts when a connection ends.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import type { Ip4Output } from '../../stack/ipv4/output.ts';
import { L4_HEADROOM } from '../../stack/mem/frame-pool.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { set16 } from '../../stack/wire/bytes.ts';
import { finish, pseudo4, sum } from '../../stack/wire/checksum.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import * as c from '../conn-row.ts';
import { TCP_CHECKSUM } from './rewrite.ts';

/** Precondition: F_SERVER_SEEN. Returns how many were sent. */
export function resetBoth(ctx: Context, out: Ip4Output, rows: Int32Array, at: number): number {
  const cv = rows[at + c.CVPORTS];
  const rl = rows[at + c.RLPORTS];
  const seq = rows[at + c.SERVER_SEQ];
  const ack = rows[at + c.SERVER_ACK];
  const clientAck = (ack - rows[at + c.SEQ_DELTA]) | 0;
  let sent = reset(ctx, out, rows[at + c.VADDR], rows[at + c.CADDR], cv & 0xffff, cv >>> 16, seq, clientAck);
  sent += reset(ctx, out, rows[at + c.LADDR], rows[at + c.RADDR], rl & 0xffff, rl >>> 16, ack, seq);
  return sent;
}

function reset(
  ctx: Context,
  out: Ip4Output,
  src: Ipv4,
  dst: Ipv4,
  sport: number,
  dport: number,
  seq: number,
  ack: number,
): number {
  const f = ctx.create();
  if (f === 0) return 0;
  const { pool } = ctx;
  const { buf } = pool;
  const at = pool.base(f) + L4_HEADROOM;
  tcp.emit(buf, at, sport, dport, seq, ack, tcp.TCP_LEN, tcp.RST | tcp.ACK, 0, 0);
  const check = finish(sum(buf, pool.i32, at, tcp.TCP_LEN, pseudo4(src, dst, PROTO_TCP, tcp.TCP_LEN)));
  set16(buf, at + TCP_CHECKSUM, check);
  pool.off[f] = at;
  pool.len[f] = tcp.TCP_LEN;
  pool.l4[f] = at;
  ctx.settle(f, out.output(f, src, dst, PROTO_TCP, true));
  return 1;
}
