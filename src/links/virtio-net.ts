/**
 * struct virtio_net_hdr_v1 (virtio 1.2 §5.1.6), which a TAP or packet socket puts in front of every frame when asked to,
 * in machine (little endian) order:
 *
 * ```
 *  0 flags u8     1 NEEDS_CSUM: layer-4 checksum holds the pseudo-header sum; 2 DATA_VALID: it was verified
 *  1 gso_type u8  0 none, 1 TCPv4, 4 TCPv6; 0x80 is or-ed in when the segments carry ECN's CWR
 *  2 hdr_len u16  bytes of all headers, a hint       4 gso_size u16     payload bytes per segment
 *  6 csum_start u16  where the sum starts            8 csum_offset u16  the checksum field, from csum_start
 * 10 num_buffers u16  unused here; packet sockets leave it out
 * ```
 *
 * Positions are relative to the frame's first byte; those of the pool's columns are absolute.
 * @hot
 */
import type { FramePool } from '../../stack/mem/frame-pool.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, GSO_NONE, GSO_TCPV4, GSO_TCPV6 } from '../../stack/mem/frame-pool.ts';
import type { FrameId } from '../../stack/types.ts';

export const VNET_HDR_LEN = 12;
/** Without num_buffers: struct virtio_net_hdr, as packet sockets have it. */
export const VNET_HDR_SHORT = 10;

const NEEDS_CSUM = 1;
const DATA_VALID = 2;
const GSO_ECN = 0x80;
const TCP_CWR = 0x80;

/**
 * Sets the frame's checksum and segmentation metadata from the header at `at`; `pool.off[f]` and `len[f]` are set
 * already. False when the header contradicts the frame: whoever finished that checksum would write outside of it.
 */
export function readHeader(pool: FramePool, f: FrameId, at: number): boolean {
  const buf = pool.buf;
  const flags = buf[at]!;
  if ((flags & NEEDS_CSUM) !== 0) {
    const start = buf[at + 6]! | (buf[at + 7]! << 8);
    const field = buf[at + 8]! | (buf[at + 9]! << 8);
    if (start + field + 2 > pool.len[f]!) return false;
    pool.flags[f]! |= F_CSUM_PARTIAL;
    pool.csumStart[f] = pool.off[f]! + start;
    pool.csumOff[f] = field;
  } else if ((flags & DATA_VALID) !== 0) {
    pool.flags[f]! |= F_CSUM_VALID;
  }
  const gso = buf[at + 1]! & ~GSO_ECN;
  if (gso === GSO_NONE) return true;
  const size = buf[at + 4]! | (buf[at + 5]! << 8);
  // Only what was asked for with TUNSETOFFLOAD may come.
  if ((gso !== GSO_TCPV4 && gso !== GSO_TCPV6) || size === 0) return false;
  pool.gsoType[f] = gso;
  pool.gsoSize[f] = size;
  return true;
}

/** Writes the header of `bytes` (VNET_HDR_*) for the frame at `at`. A frame with segmentation has a partial checksum, as the kernel demands. */
export function writeHeader(pool: FramePool, f: FrameId, at: number, bytes = VNET_HDR_LEN): void {
  const buf = pool.buf;
  for (let i = 0; i < bytes; i++) buf[at + i] = 0;
  if ((pool.flags[f]! & F_CSUM_PARTIAL) === 0) return;
  const start = pool.csumStart[f]!;
  const relative = start - pool.off[f]!;
  buf[at] = NEEDS_CSUM;
  buf[at + 6] = relative;
  buf[at + 7] = relative >> 8;
  buf[at + 8] = pool.csumOff[f]!;
  buf[at + 9] = pool.csumOff[f]! >> 8;
  const gso = pool.gsoType[f]!;
  if (gso === GSO_NONE) return;
  // CWR belongs on the first segment only; the kernel clears it on the others when told that it is there.
  buf[at + 1] = (buf[start + 13]! & TCP_CWR) !== 0 ? gso | GSO_ECN : gso;
  const headers = relative + ((buf[start + 12]! >> 4) << 2);
  buf[at + 2] = headers;
  buf[at + 3] = headers >> 8;
  const size = pool.gsoSize[f]!;
  buf[at + 4] = size;
  buf[at + 5] = size >> 8;
}
