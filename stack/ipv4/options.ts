/**
 * The options of a received IPv4 header (RFC 791 §3.1; RFC 1122 §3.2.1.8; RFC 7126).
 *
 * ```
 *  one octet:   | type |                     type 0 ends the list, type 1 is padding
 *  all others:  | type | length | data ... |  length counts type and length themselves
 * ```
 *
 * A host must pass over what it does not understand, so options are walked and otherwise ignored. Refused are:
 * - a list that does not fit its header: the walk cannot go on;
 * - record route and timestamp whose length or pointer cannot be right (RFC 6274 §3.13.2);
 * - loose and strict source routes, which let a sender choose the way of its packet (RFC 7126 §4.3, §4.4).
 *
 * Called by ipv4/input for headers longer than 20 bytes, after wire/ipv4 `check`.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_OPTIONS } from '../drop.ts';
import type { FrameId } from '../types.ts';
import { headerLength, IPV4_LEN } from '../wire/ipv4.ts';

export const OPT_END = 0;
export const OPT_NOP = 1;
export const OPT_RECORD_ROUTE = 7;
export const OPT_TIMESTAMP = 68;
export const OPT_LSRR = 131;
export const OPT_SSRR = 137;

/** Set in the type of an option that every fragment must repeat (RFC 791 §3.1, "copied flag"). */
export const OPT_COPIED = 0x80;

export class OptionWalker {
  /** After a refusal: which octet of the header is wrong, from 0, as ICMP parameter problem wants it (RFC 792). */
  pointer = 0;

  private readonly ctx: Context;

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  /** Walks the options of the frame's IP header (l3). Returns 0 or IP_OPTIONS. */
  walk(f: FrameId): number {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.l3[f]!;
    this.pointer = 0;
    const end = off + headerLength(buf, off);
    let at = off + IPV4_LEN;
    while (at < end) {
      const type = buf[at]!;
      if (type === OPT_END) return 0;
      if (type === OPT_NOP) {
        at += 1;
        continue;
      }
      if (at + 1 >= end) return this.refuse(at - off);
      const length = buf[at + 1]!;
      if (length < 2 || at + length > end) return this.refuse(at + 1 - off);
      switch (type) {
        case OPT_LSRR:
        case OPT_SSRR:
          return this.refuse(at - off);
        case OPT_RECORD_ROUTE: // type, length, pointer, addresses: the first address stands at pointer 4
          if (length < 3) return this.refuse(at + 1 - off);
          if (buf[at + 2]! < 4) return this.refuse(at + 2 - off);
          break;
        case OPT_TIMESTAMP: // type, length, pointer, overflow and flag, stamps: the first stands at pointer 5
          if (length < 4) return this.refuse(at + 1 - off);
          if (buf[at + 2]! < 5) return this.refuse(at + 2 - off);
          break;
      }
      at += length;
    }
    return 0;
  }

  private refuse(pointer: number): number {
    this.pointer = pointer;
    return IP_OPTIONS;
  }
}
