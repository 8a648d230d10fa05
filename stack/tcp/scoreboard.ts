/**
 * The scoreboard (RFC 6675 §3): what acknowledgments and SACK blocks (RFC 2018) say of each descriptor of a send queue,
 * and the counters that follow from it. RACK is told of each delivery (rack.ts), the round-trip time of samples.
 * @hot
 */
import { hasRoom } from './limits.ts';
import { rackDelivered } from './rack.ts';
import { RTO_MAX_MS, sampleRtt } from './rtt.ts';
import { S_EVER_RETRANS, S_LOST, S_RETRANS, S_SACKED, S_SENT } from './segments.ts';
import { EV_WRITABLE } from './state.ts';
import type { Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** The duplicate that the arrived segment reports (RFC 2883): its edges; equal = it reports none. */
export const dup = { left: 0, right: 0 };

/**
 * RFC 2883 §4: the first block is a duplicate when it lies below the acknowledgment or within the second block. Older than
 * a window ago it is not believed (§5).
 */
export function readDuplicate(tcp: Tcp, tcb: Tcb, ack: number): boolean {
  const { options } = tcp.seg;
  dup.left = dup.right = 0;
  if (options.sackBlocks === 0) return false;
  const left = options.sack[0];
  const right = options.sack[1];
  if (((right - left) | 0) <= 0 || ((left - ack + tcb.maxSndWnd) | 0) < 0) return false;
  if (((right - ack) | 0) > 0) {
    if (options.sackBlocks < 2) return false;
    if (((left - options.sack[2]) | 0) < 0 || ((options.sack[3] - right) | 0) < 0) return false;
  }
  dup.left = left;
  dup.right = right;
  return true;
}

/** Records the arrived SACK blocks on the scoreboard; true when they said something new. */
export function markSacked(tcp: Tcp, tcb: Tcb): boolean {
  const { segments } = tcp;
  const { options } = tcp.seg;
  let news = false;
  for (let b = 0; b < options.sackBlocks; b++) {
    const left = options.sack[b * 2];
    const right = options.sack[b * 2 + 1];
    // Outside what is outstanding: a duplicate (see readDuplicate) or nonsense.
    if (((right - left) | 0) <= 0 || ((left - tcb.sndUna) | 0) < 0 || ((tcb.sndNxt - right) | 0) < 0) continue;
    for (let s = tcb.sndHead; s !== tcb.sndNext; s = segments.next[s]) {
      if (((segments.seq[s] - right) | 0) >= 0) break;
      if (((segments.end(s) - left) | 0) <= 0 || (segments.flags[s] & S_SACKED) !== 0) continue;
      // A descriptor of several segments may be covered in part: cut it, but only between segments. A peer that names
      // single bytes is not to multiply descriptors.
      const before = wholeSegments(tcb, (left - segments.seq[s] + tcb.mss - 1) | 0);
      if (before > 0) {
        if (before < segments.len[s]) cut(tcp, tcb, s, before);
        continue;
      }
      const inside = (right - segments.seq[s]) | 0;
      if (inside < segments.len[s]) {
        const whole = wholeSegments(tcb, inside);
        if (whole === 0 || !cut(tcp, tcb, s, whole)) break;
      }
      sack(tcp, tcb, s);
      news = true;
    }
  }
  return news;
}

/** `n` bytes rounded down to whole segments. */
const wholeSegments = (tcb: Tcb, n: number): number => n - (n % tcb.mss);

/** Cuts a descriptor of a send queue after `n` bytes; false when no other is free. */
export function cut(tcp: Tcp, tcb: Tcb, s: number, n: number): boolean {
  const rest = tcp.segments.split(s, n);
  if (rest === 0) return false;
  tcb.sndSegs++;
  if (tcb.sndTail === s) tcb.sndTail = rest;
  return true;
}

function sack(tcp: Tcp, tcb: Tcb, s: number): void {
  const { segments } = tcp;
  const f = segments.flags[s];
  const size = segments.size(s);
  uncount(tcb, f, size);
  rackDelivered(tcp, tcb, segments.sentAt[s], segments.end(s), (f & S_EVER_RETRANS) !== 0);
  segments.flags[s] = (f & ~(S_LOST | S_RETRANS)) | S_SACKED;
  tcb.sackedOut += size;
}

/** Takes numbers out of the counters their flags put them in. */
function uncount(tcb: Tcb, flags: number, size: number): void {
  if ((flags & S_SACKED) !== 0) tcb.sackedOut -= size;
  if ((flags & S_LOST) !== 0) tcb.lostOut -= size;
  if ((flags & S_RETRANS) !== 0) tcb.retransOut -= size;
}

/** Frees what `ack` covers and moves SND.UNA there; takes an RTT sample where one is sound. */
export function clean(tcp: Tcp, tcb: Tcb, ack: number): void {
  const { segments } = tcp;
  const { flags, len, next, seq } = segments;
  let sample = -1;
  let ambiguous = false;
  let s = tcb.sndHead;
  while (s !== 0 && s !== tcb.sndNext) {
    const f = flags[s];
    if (((ack - segments.end(s)) | 0) < 0) {
      const part = (ack - seq[s]) | 0;
      if (part > 0) {
        if ((f & S_SACKED) === 0) {
          // Segments of one descriptor left together, so the first of them tell as much.
          if ((f & S_EVER_RETRANS) !== 0) ambiguous = true;
          else sample = ((tcp.ctx.now | 0) - segments.sentAt[s]) | 0;
          rackDelivered(tcp, tcb, segments.sentAt[s], ack, (f & S_EVER_RETRANS) !== 0);
        }
        uncount(tcb, f, part);
        tcb.sndQueued -= part;
        segments.trim(s, part);
      }
      break;
    }
    // The newest descriptor that was sent once and not SACKed before says how long the path takes now; but not when it
    // waited behind one that was sent again.
    if ((f & S_EVER_RETRANS) !== 0) ambiguous = true;
    else if ((f & (S_SACKED | S_SENT)) === S_SENT) sample = ((tcp.ctx.now | 0) - segments.sentAt[s]) | 0;
    if ((f & S_SACKED) === 0) rackDelivered(tcp, tcb, segments.sentAt[s], segments.end(s), (f & S_EVER_RETRANS) !== 0);
    uncount(tcb, f, segments.size(s));
    tcb.sndQueued -= len[s];
    if (tcb.lostHint === s) tcb.lostHint = 0;
    const after = next[s];
    segments.free(s);
    tcb.sndSegs--;
    s = after;
  }
  tcb.sndHead = s;
  if (s === 0) tcb.sndTail = 0;
  tcb.sndUna = ack;
  tcb.probes = 0;
  tcb.backoff = 0;
  if (sample >= 0 && !ambiguous) {
    tcb.ackRtt = sample;
    sampleRtt(tcb, sample);
  } else if (tcb.tsOk !== 0 && tcp.seg.options.hasTimestamp) {
    // The echo tells which of several sendings was received (RFC 7323 §4.1), to the millisecond.
    const ms = (tcp.ctx.nowMs + tcb.tsOffset - tcp.seg.options.tsEcr) | 0;
    if (ms >= 0 && ms <= RTO_MAX_MS) sampleRtt(tcb, ms * 1000);
  }
  // Otherwise a backed-off time-out stays until there is a sample (Karn's algorithm, RFC 6298 §5): a path that has become
  // slower than the time-out would never give one.
  if (tcb.wantWrite !== 0 && hasRoom(tcp, tcb, 1)) {
    tcb.wantWrite = 0;
    tcp.notify(tcb, EV_WRITABLE);
  }
}
