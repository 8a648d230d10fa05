/**
 * Unfinished TCP and UDP checksums on links that cannot say so. A sender on the same machine leaves the sum over the payload to a
 * network card that a veth pair does not have; in the checksum's place stands the sum of the pseudo-header (RFC 9293 §3.1), and
 * a frame that has exactly this there is taken as such a one.
 *
 * A finished checksum looks so by chance once in 65,536 frames. Nothing is lost then: finished again, it comes out the same.
 * @hot
 */
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { F_CSUM_PARTIAL } from '../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../stack/types.ts';
import { finish, pseudo4 } from '../../stack/wire/checksum.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';

/** Where the checksum stands in a TCP and in a UDP header. */
const TCP_FIELD = 16;
const UDP_FIELD = 6;

/** What an operator should know once such a frame has come by interface `name`. */
export const partialNotice = (name: string): string =>
  `frames arrive with unfinished checksums, from a sender on this machine: tsvs finishes them; 'ethtool -K PEER tx off' at the other end of ${name} spares it that`;

/** Marks a received frame whose checksum is unfinished; returns whether it is. */
export function markPartial(pool: FramePool, f: FrameId): boolean {
  const { buf } = pool;
  const off = pool.off[f]!;
  const ip = off + ETH_LEN;
  const room = pool.len[f]! - ETH_LEN;
  // IPv4, its header within the frame, and no fragment.
  if (room < ipv4.IPV4_LEN || buf[off + 12] !== 8 || buf[off + 13] !== 0 || buf[ip]! >> 4 !== 4) return false;
  if (((buf[ip + 6]! & 0x3f) | buf[ip + 7]!) !== 0) return false;
  const proto = buf[ip + 9]!;
  const field = proto === ipv4.PROTO_TCP ? TCP_FIELD : UDP_FIELD;
  if (field === UDP_FIELD && proto !== ipv4.PROTO_UDP) return false;
  const headers = (buf[ip]! & 15) << 2;
  const length = ((buf[ip + 2]! << 8) | buf[ip + 3]!) - headers;
  if (headers < ipv4.IPV4_LEN || length < field + 2 || headers + length > room) return false;
  const l4 = ip + headers;
  const found = (buf[l4 + field]! << 8) | buf[l4 + field + 1]!;
  if (found === 0) return false;
  const bare = ~finish(pseudo4(ipv4.src(buf, ip), ipv4.dst(buf, ip), proto, length)) & 0xffff;
  if (found !== bare) return false;
  pool.flags[f]! |= F_CSUM_PARTIAL;
  pool.csumStart[f] = l4;
  pool.csumOff[f] = field;
  return true;
}
