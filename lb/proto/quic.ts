/**
 * QUIC as a director sees it: datagrams of UDP whose connection is told by an id in clear, the same after its client has moved to
 * another address (RFC 8999 §5, RFC 9000 §17). Nothing of it is tracked; conhash may go by the id (lb/sched/conhash.ts).
 *
 * A long header has the length of the id, a short one does not (RFC 8999 §5.2): so eight bytes count, which every client's first
 * id has at least (RFC 9000 §7.2).
 *
 * Called by lb/opener.ts, per connection.
 * @hot
 */
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../stack/types.ts';
import { get32 } from '../../stack/wire/bytes.ts';
import { UDP_LEN } from '../../stack/wire/udp.ts';

const LONG_HEADER = 0x80;
/** Of a long header: flags, version. Then the length of the id, and the id. */
const LENGTH_AT = 5;
const COUNTED = 8;

/** Where the first eight bytes of a datagram's destination connection id are in the pool; 0 = it has none that long. */
export function connectionIdAt(pool: FramePool, f: FrameId): number {
  const { buf } = pool;
  const data = pool.l4[f] + UDP_LEN;
  const end = pool.off[f] + pool.len[f];
  if (data >= end) return 0;
  if ((buf[data] & LONG_HEADER) === 0) return data + 1 + COUNTED <= end ? data + 1 : 0;
  const id = data + LENGTH_AT + 1;
  return id + COUNTED <= end && buf[data + LENGTH_AT] >= COUNTED ? id : 0;
}

/** The two words of an id, as schedulers get them. */
export const idHigh = (buf: Uint8Array, at: number): number => get32(buf, at);
export const idLow = (buf: Uint8Array, at: number): number => get32(buf, at + 4);
