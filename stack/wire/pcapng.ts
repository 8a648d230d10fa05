/**
 * Writes pcapng blocks (draft-ietf-opsawg-pcapng §3, §4): section header, interface description, enhanced packet,
 * interface statistics.
 * Pure functions over a byte array; reading is in src/links, because only files are read.
 *
 * ```
 *  block:  type u32 | total length u32 | body, padded to 4 | total length u32          machine order (little endian)
 *  EPB body: interface u32 | timestamp high u32 | low u32 | captured u32 | original u32 | bytes, padded | options
 *  option:  code u16 | length u16 | value, padded to 4                                   ended by code 0, length 0
 * ```
 *
 * Timestamps are microseconds (if_tsresol 6). Text is written as UTF-8.
 */

export const BLOCK_SECTION = 0x0a0d0d0a;
export const BLOCK_INTERFACE = 1;
export const BLOCK_SIMPLE_PACKET = 3;
export const BLOCK_STATISTICS = 5;
export const BLOCK_ENHANCED_PACKET = 6;
export const BYTE_ORDER_MAGIC = 0x1a2b3c4d;
export const LINKTYPE_ETHERNET = 1;

/** Values of the direction bits of epb_flags. */
export const DIRECTION_IN = 1;
export const DIRECTION_OUT = 2;

const OPT_COMMENT = 1;
const OPT_SHB_USERAPPL = 4;
const OPT_IF_NAME = 2;
const OPT_IF_TSRESOL = 9;
const OPT_EPB_FLAGS = 2;
const OPT_ISB_IFRECV = 4;
const OPT_ISB_IFDROP = 5;

/** Distance of a packet's bytes from the start of its block. */
export const PACKET_BYTES = 28;

/** Bytes that the blocks of a file's head may need, names of up to 255 bytes included. */
export const HEAD_ROOM = 1024;

/** Bytes of an enhanced packet block for `len` bytes of frame and a comment of `commentLen` bytes. */
export const packetBlockLength = (len: number, commentLen: number): number =>
  PACKET_BYTES + pad(len) + 8 + (commentLen > 0 ? 4 + pad(commentLen) : 0) + 8;

const pad = (n: number): number => (n + 3) & ~3;

function put16(out: Uint8Array, at: number, v: number): void {
  out[at] = v;
  out[at + 1] = v >> 8;
}

function put32(out: Uint8Array, at: number, v: number): void {
  out[at] = v;
  out[at + 1] = v >> 8;
  out[at + 2] = v >> 16;
  out[at + 3] = v >> 24;
}

/** UTF-8 without a TextEncoder: that is not part of the language. */
export function utf8(text: string): Uint8Array {
  const bytes: number[] = [];
  for (const char of text) {
    const c = char.codePointAt(0)!;
    if (c < 0x80) bytes.push(c);
    else if (c < 0x800) bytes.push(0xc0 | (c >> 6), 0x80 | (c & 63));
    else if (c < 0x10000) bytes.push(0xe0 | (c >> 12), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
    else bytes.push(0xf0 | (c >> 18), 0x80 | ((c >> 12) & 63), 0x80 | ((c >> 6) & 63), 0x80 | (c & 63));
  }
  return Uint8Array.from(bytes);
}

function option(out: Uint8Array, at: number, code: number, value: Uint8Array): number {
  put16(out, at, code);
  put16(out, at + 2, value.length);
  put32(out, at + 4 + (value.length & ~3), 0);
  out.set(value, at + 4);
  return at + 4 + pad(value.length);
}

function endBlock(out: Uint8Array, start: number, at: number): number {
  put32(out, at, 0); // opt_endofopt
  const length = at + 8 - start;
  put32(out, start + 4, length);
  put32(out, at + 4, length);
  return at + 8;
}

/** Writes a section header; returns the position behind it. `application` is the program's name. */
export function writeSection(out: Uint8Array, at: number, application: string): number {
  put32(out, at, BLOCK_SECTION);
  put32(out, at + 8, BYTE_ORDER_MAGIC);
  put16(out, at + 12, 1);
  put16(out, at + 14, 0);
  put32(out, at + 16, -1); // section length: not specified
  put32(out, at + 20, -1);
  return endBlock(out, at, option(out, at + 24, OPT_SHB_USERAPPL, utf8(application)));
}

/** Writes the description of an Ethernet interface, which later packets refer to by its order of appearance. */
export function writeInterface(out: Uint8Array, at: number, name: string, snapLength: number): number {
  put32(out, at, BLOCK_INTERFACE);
  put16(out, at + 8, LINKTYPE_ETHERNET);
  put16(out, at + 10, 0);
  put32(out, at + 12, snapLength);
  const next = option(out, at + 16, OPT_IF_NAME, utf8(name));
  return endBlock(out, at, option(out, next, OPT_IF_TSRESOL, Uint8Array.of(6)));
}

/** Writes how many frames an interface has seen, and how many of them are not in the file. */
export function writeStatistics(
  out: Uint8Array,
  at: number,
  iface: number,
  timeMicros: number,
  received: number,
  dropped: number,
): number {
  put32(out, at, BLOCK_STATISTICS);
  put32(out, at + 8, iface);
  put32(out, at + 12, Math.floor(timeMicros / 4294967296));
  put32(out, at + 16, timeMicros >>> 0);
  const next = option(out, at + 20, OPT_ISB_IFRECV, count64(received));
  return endBlock(out, at, option(out, next, OPT_ISB_IFDROP, count64(dropped)));
}

function count64(n: number): Uint8Array {
  const bytes = new Uint8Array(8);
  put32(bytes, 0, n >>> 0);
  put32(bytes, 4, Math.floor(n / 4294967296));
  return bytes;
}

/**
 * Writes everything of an enhanced packet block but the packet's bytes, which the caller puts at `at + PACKET_BYTES`.
 * `timeMicros` counts from 1970; `captured <= original`; `direction` is DIRECTION_*; `comment` may be empty.
 */
export function writePacket(
  out: Uint8Array,
  at: number,
  iface: number,
  timeMicros: number,
  captured: number,
  original: number,
  direction: number,
  comment: Uint8Array,
): number {
  put32(out, at, BLOCK_ENHANCED_PACKET);
  put32(out, at + 8, iface);
  put32(out, at + 12, Math.floor(timeMicros / 4294967296));
  put32(out, at + 16, timeMicros >>> 0);
  put32(out, at + 20, captured);
  put32(out, at + 24, original);
  let next = at + PACKET_BYTES + captured;
  while (((next - at) & 3) !== 0) out[next++] = 0;
  put16(out, next, OPT_EPB_FLAGS);
  put16(out, next + 2, 4);
  put32(out, next + 4, direction);
  next += 8;
  if (comment.length > 0) next = option(out, next, OPT_COMMENT, comment);
  return endBlock(out, at, next);
}
