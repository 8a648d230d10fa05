/**
 * Changes to the numbers and options of a TCP segment (RFC 9293 §3.1, RFC 2018, RFC 7323), for a director whose server
 * counts from another initial number than the client. Each returns its change of the checksum (rewrite.ts).
 *
 * Options are walked only where there are some. A list that is broken is left as it is where it breaks: its reader will
 * judge it. Precondition everywhere: the header at `l4` has passed `check` of wire/tcp.ts.
 * @hot
 */
import { get16, get32, set16, set32 } from '../../stack/wire/bytes.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import * as opt from '../../stack/wire/tcp-options.ts';
import { change16, change32, setWord, swapped } from './rewrite.ts';

const SEQ = 4;
const ACK = 8;

/** Adds `delta` to the sequence number. */
export const shiftSeq = (buf: Uint8Array, l4: number, delta: number): number =>
  setWord(buf, l4 + SEQ, (get32(buf, l4 + SEQ) + delta) | 0);

/** Adds `delta` to the acknowledgment, if there is one, and to the edges of all SACK blocks. */
export function shiftAck(buf: Uint8Array, l4: number, delta: number): number {
  if ((tcp.flags(buf, l4) & tcp.ACK) === 0) return 0;
  const change = setWord(buf, l4 + ACK, (get32(buf, l4 + ACK) + delta) | 0);
  return tcp.dataOffset(buf, l4) === tcp.TCP_LEN ? change : change + shiftSack(buf, l4, delta);
}

/** Adds `delta` to the edges of all SACK blocks. */
export function shiftSack(buf: Uint8Array, l4: number, delta: number): number {
  let change = 0;
  const at = find(buf, l4, opt.OPT_SACK);
  if (at === 0) return 0;
  const end = at + buf[at + 1];
  for (let edge = at + 2; edge + 8 <= end; edge += 8) {
    change += shiftNumber(buf, l4, edge, delta) + shiftNumber(buf, l4, edge + 4, delta);
  }
  return change;
}

/** A number of 32 bits at any distance. */
function shiftNumber(buf: Uint8Array, l4: number, at: number, delta: number): number {
  const before = get32(buf, at);
  const after = (before + delta) | 0;
  set32(buf, at, after);
  const change = change32(before, after);
  return ((at - l4) & 1) === 0 ? change : swapped(change);
}

/** Puts NOPs in the place of a timestamp option. */
export function blankTimestamp(buf: Uint8Array, l4: number): number {
  const at = find(buf, l4, opt.OPT_TIMESTAMP);
  if (at === 0) return 0;
  const end = at + buf[at + 1];
  let change = 0;
  for (let i = at; i < end; i++) {
    const byte = ((i - l4) & 1) === 0 ? 8 : 0;
    change += change16(buf[i] << byte, opt.OPT_NOP << byte);
    buf[i] = opt.OPT_NOP;
  }
  return change;
}

/** The timestamp of the segment, as the list of options has it at this place. */
const VALUE = 2;
const ECHO = 6;
const TIMESTAMP_LEN = 10;

/** Where the timestamp option begins, 0 = there is none that is whole. */
export function timestampAt(buf: Uint8Array, l4: number): number {
  if (tcp.dataOffset(buf, l4) === tcp.TCP_LEN) return 0;
  const at = find(buf, l4, opt.OPT_TIMESTAMP);
  return at !== 0 && buf[at + 1] === TIMESTAMP_LEN ? at : 0;
}

/** The sender's clock, of the option at `at`. */
export const timestampOf = (buf: Uint8Array, at: number): number => get32(buf, at + VALUE);

/** Adds `delta` to the sender's clock, if the segment tells it. */
export function shiftTimestamp(buf: Uint8Array, l4: number, delta: number): number {
  const at = timestampAt(buf, l4);
  return at === 0 ? 0 : shiftNumber(buf, l4, at + VALUE, delta);
}

/** Adds `delta` to the echo of the receiver's clock; it means something with an ACK only (RFC 7323 §3.2). */
export function shiftEcho(buf: Uint8Array, l4: number, delta: number): number {
  const at = (tcp.flags(buf, l4) & tcp.ACK) === 0 ? 0 : timestampAt(buf, l4);
  return at === 0 ? 0 : shiftNumber(buf, l4, at + ECHO, delta);
}

/** Lowers the announced segment size to `mss`; 0 leaves it. A SYN without one is left: it means 536 (RFC 9293 §3.7.1). */
export function clampMss(buf: Uint8Array, l4: number, mss: number): number {
  if (mss === 0) return 0;
  const at = find(buf, l4, opt.OPT_MSS);
  if (at === 0 || buf[at + 1] !== 4) return 0;
  const before = get16(buf, at + 2);
  if (before <= mss) return 0;
  set16(buf, at + 2, mss);
  const change = change16(before, mss);
  return ((at - l4) & 1) === 0 ? change : swapped(change);
}

/** Where the first option of this kind begins, 0 = there is none; its length keeps within the header. */
function find(buf: Uint8Array, l4: number, kind: number): number {
  const end = l4 + tcp.dataOffset(buf, l4);
  for (let at = l4 + tcp.TCP_LEN; at < end; ) {
    const k = buf[at];
    if (k === opt.OPT_END) return 0;
    if (k === opt.OPT_NOP) {
      at++;
      continue;
    }
    if (at + 1 >= end) return 0;
    const length = buf[at + 1];
    if (length < 2 || at + length > end) return 0;
    if (k === kind) return at;
    at += length;
  }
  return 0;
}
