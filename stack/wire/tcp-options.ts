/**
 * TCP options: MSS (RFC 9293 §3.7.1), window scale and timestamps (RFC 7323), SACK-permitted and SACK (RFC 2018).
 *
 * Reading fills one reused record; unknown options are skipped by their length (RFC 9293 §3.1, MUST-6), a malformed
 * length ends the walk and reports it. Writing returns the number of bytes, always a multiple of four.
 * @hot
 */
import { get16, get32, set16, set32 } from './bytes.ts';

export const OPT_END = 0;
export const OPT_NOP = 1;
export const OPT_MSS = 2;
export const OPT_WSCALE = 3;
export const OPT_SACK_PERMITTED = 4;
export const OPT_SACK = 5;
export const OPT_TIMESTAMP = 8;

/** Largest window shift (RFC 7323 §2.3). */
export const MAX_WSCALE = 14;
export const TIMESTAMP_LEN = 12;
export const MAX_SACK_BLOCKS = 4;

/** NOP NOP kind 8 length 10: how every stack aligns the timestamp option. */
const ALIGNED_TIMESTAMP = (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_TIMESTAMP << 8) | 10;

/** What a segment's options said. */
export class TcpOptions {
  /** 0 = absent. */
  mss = 0;
  /** -1 = absent. */
  wscale = -1;
  sackPermitted = false;
  hasTimestamp = false;
  tsVal = 0;
  tsEcr = 0;
  /** Number of SACK blocks; `sack[2i]` is the left edge, `sack[2i+1]` the right. */
  sackBlocks = 0;
  readonly sack = new Int32Array(MAX_SACK_BLOCKS * 2);

  /** Reads the options in `[off, end)`; false when an option's length is impossible. */
  parse(buf: Uint8Array, off: number, end: number): boolean {
    this.mss = 0;
    this.wscale = -1;
    this.sackPermitted = false;
    this.hasTimestamp = false;
    this.sackBlocks = 0;
    if (end - off === TIMESTAMP_LEN && get32(buf, off) === ALIGNED_TIMESTAMP) {
      this.hasTimestamp = true;
      this.tsVal = get32(buf, off + 4);
      this.tsEcr = get32(buf, off + 8);
      return true;
    }
    while (off < end) {
      const kind = buf[off]!;
      if (kind === OPT_END) return true;
      if (kind === OPT_NOP) {
        off++;
        continue;
      }
      if (off + 1 >= end) return false;
      const len = buf[off + 1]!;
      if (len < 2 || off + len > end) return false;
      this.one(buf, off, kind, len);
      off += len;
    }
    return true;
  }

  private one(buf: Uint8Array, off: number, kind: number, len: number): void {
    switch (kind) {
      case OPT_MSS:
        if (len === 4) this.mss = get16(buf, off + 2);
        break;
      case OPT_WSCALE:
        // RFC 7323 §2.3: a shift above 14 is used as 14.
        if (len === 3) this.wscale = Math.min(buf[off + 2]!, MAX_WSCALE);
        break;
      case OPT_SACK_PERMITTED:
        if (len === 2) this.sackPermitted = true;
        break;
      case OPT_TIMESTAMP:
        if (len === 10) {
          this.hasTimestamp = true;
          this.tsVal = get32(buf, off + 2);
          this.tsEcr = get32(buf, off + 6);
        }
        break;
      case OPT_SACK: {
        const n = Math.min((len - 2) >> 3, MAX_SACK_BLOCKS);
        for (let i = 0; i < n * 2; i++) this.sack[i] = get32(buf, off + 2 + i * 4);
        this.sackBlocks = n;
        break;
      }
    }
  }
}

/** Options of a SYN; pass wscale -1 or false to leave one out. Returns the bytes written. */
export function writeSyn(
  buf: Uint8Array,
  off: number,
  mss: number,
  wscale: number,
  sackPermitted: boolean,
  timestamp: boolean,
  tsVal: number,
  tsEcr: number,
): number {
  let at = off;
  set32(buf, at, (OPT_MSS << 24) | (4 << 16) | mss);
  at += 4;
  if (timestamp) {
    // SACK-permitted takes the place of the two NOPs.
    buf[at] = sackPermitted ? OPT_SACK_PERMITTED : OPT_NOP;
    buf[at + 1] = sackPermitted ? 2 : OPT_NOP;
    buf[at + 2] = OPT_TIMESTAMP;
    buf[at + 3] = 10;
    set32(buf, at + 4, tsVal);
    set32(buf, at + 8, tsEcr);
    at += 12;
  } else if (sackPermitted) {
    set32(buf, at, (OPT_NOP << 24) | (OPT_NOP << 16) | (OPT_SACK_PERMITTED << 8) | 2);
    at += 4;
  }
  if (wscale >= 0) {
    set32(buf, at, (OPT_NOP << 24) | (OPT_WSCALE << 16) | (3 << 8) | wscale);
    at += 4;
  }
  return at - off;
}

export function writeTimestamp(buf: Uint8Array, off: number, tsVal: number, tsEcr: number): number {
  set32(buf, off, ALIGNED_TIMESTAMP);
  set32(buf, off + 4, tsVal);
  set32(buf, off + 8, tsEcr);
  return TIMESTAMP_LEN;
}

/** `blocks` SACK blocks from `edges` (left, right, ...). */
export function writeSack(buf: Uint8Array, off: number, edges: Int32Array, blocks: number): number {
  set16(buf, off, (OPT_NOP << 8) | OPT_NOP);
  buf[off + 2] = OPT_SACK;
  buf[off + 3] = 2 + blocks * 8;
  for (let i = 0; i < blocks * 2; i++) set32(buf, off + 4 + i * 4, edges[i]!);
  return 4 + blocks * 8;
}
