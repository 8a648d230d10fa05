/**
 * What the server has said last, as far as a director remembers it in a row (conn-row.ts): enough to reset both ends by numbers they
 * believe, and to tell the client's own FIN or RST from a guess.
 *
 * Who knows addresses and ports of a connection, but not its numbers, could end it here while both ends ignore him (RFC 5961 §3):
 * its timeout would be that of a connection that is over, and the next bare SYN would take its place. So a FIN or RST of the client
 * counts only near what the server has acknowledged; any other goes on to the server, who judges it, and changes no state.
 * Near is further than a window reaches in practice, and leaves a guess 1 chance in 128.
 *
 * With DR and TUN the server is not heard, and every FIN and RST is believed, as in LVS. Called by lb/core.ts and lb/fast.
 * @hot
 */
import type { FramePool } from '../stack/mem/frame-pool.ts';
import type { FrameId } from '../stack/types.ts';
import * as wire from '../stack/wire/tcp.ts';
import * as c from './conn-row.ts';

const NEAR = 1 << 24;

/** A segment of the server: `length` numbers from `seq` on. */
export function heard(rows: Int32Array, at: number, seq: number, length: number, ack: number): void {
  const meta = rows[at + c.META];
  const next = (seq + length) | 0;
  // A segment sent again says nothing new.
  if ((meta & c.F_SERVER_SEEN) === 0 || ((next - rows[at + c.SERVER_SEQ]) | 0) >= 0) rows[at + c.SERVER_SEQ] = next;
  rows[at + c.SERVER_ACK] = ack;
  rows[at + c.META] = meta | c.F_SERVER_SEEN;
}

/** `heard` for the segment at `l4` of a frame. */
export function heardSegment(pool: FramePool, f: FrameId, rows: Int32Array, at: number, l4: number): void {
  const { buf } = pool;
  const flags = wire.flags(buf, l4);
  const data = pool.off[f] + pool.wireLength(f) - l4 - wire.dataOffset(buf, l4);
  const control = ((flags & wire.SYN) !== 0 ? 1 : 0) + ((flags & wire.FIN) !== 0 ? 1 : 0);
  const ack = (flags & wire.ACK) !== 0 ? wire.ack(buf, l4) : rows[at + c.SERVER_ACK];
  heard(rows, at, wire.seq(buf, l4), data + control, ack);
}

/** The flags of the client's segment that may change the state: none, where it would end the connection with a wrong number. */
export function believed(rows: Int32Array, at: number, flags: number, seq: number): number {
  if ((flags & (wire.FIN | wire.RST)) === 0 || (rows[at + c.META] & c.F_SERVER_SEEN) === 0) return flags;
  const acked = rows[at + c.SERVER_ACK];
  // A host behind us (SNAT) has acknowledged nothing while its SYN is under way.
  if (acked === 0) return flags;
  const ahead = (seq + rows[at + c.SEQ_DELTA] - acked) | 0;
  return ahead > -NEAR && ahead < NEAR ? flags : 0;
}
