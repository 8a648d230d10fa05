/**
 * The segment being processed: its fields, parsed once, in one reused record. TCP handles one segment at a time, so one
 * record per worker is enough.
 * @hot
 */
import type { FrameId, Ipv4 } from '../types.ts';
import { TcpOptions } from '../wire/tcp-options.ts';

export class ArrivedSegment {
  frame: FrameId = 0;
  src: Ipv4 = 0;
  dst: Ipv4 = 0;
  sport = 0;
  dport = 0;
  seq = 0;
  ack = 0;
  flags = 0;
  /** The TOS byte of the IP header. */
  tos = 0;
  /** Unscaled, as on the wire. */
  window = 0;
  /** Payload: absolute offset and bytes. */
  off = 0;
  len = 0;
  /** Segments the peer's link layer merged into this one (at least 1). */
  merged = 1;
  readonly options = new TcpOptions();
}
