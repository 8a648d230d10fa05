/**
 * Acknowledgments and loss: what left the network, what is lost, what to send again. SACK-based recovery after
 * RFC 6675, NewReno (RFC 6582) for peers without SACK, time-outs after RFC 5681 §3.1 and RFC 6298 §5.
 *
 * | phase    | enters when                                        | leaves when                        |
 * | -------- | -------------------------------------------------- | ---------------------------------- |
 * | OPEN     | at the start                                       |                                    |
 * | RECOVERY | three duplicates, or SACKed bytes beyond a hole    | SND.UNA reaches `recover`, or RTO  |
 * | LOSS     | the retransmission timer fired                     | SND.UNA reaches `recover`          |
 *
 * Numbers in the network, pipe (RFC 6675 §4): sent and not acknowledged, less SACKed, less lost, plus sent again. A FIN
 * counts as one, as everywhere in sequence space. What is deemed lost is sent again in every phase. Without SACK each duplicate acknowledgment stands for one segment that left.
 * @hot
 */
import { hasRoom } from './limits.ts';
import { RTO_MAX_MS, sampleRtt } from './rtt.ts';
import { S_EVER_RETRANS, S_LOST, S_RETRANS, S_SACKED, S_SENT } from './segments.ts';
import { EV_WRITABLE } from './state.ts';
import { CA_LOSS, CA_OPEN, CA_RECOVERY, type Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';

/** RFC 5681 §3.2. */
const DUP_THRESHOLD = 3;

/** Bytes believed to be in the network. */
export function pipe(tcb: Tcb): number {
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  const left = tcb.sackOk !== 0 ? tcb.sackedOut : Math.min(tcb.dupAcks * tcb.mss, flight);
  const p = flight - left - tcb.lostOut + tcb.retransOut;
  return p > 0 ? p : 0;
}

/**
 * Takes an acceptable acknowledgment: `acked` = bytes by which it moves SND.UNA (0 for a duplicate), `duplicate` = it
 * meets RFC 5681's definition of one. SACK blocks are read from the arrived segment.
 */
export function acknowledge(tcp: Tcp, tcb: Tcb, ack: number, duplicate: boolean): void {
  const acked = (ack - tcb.sndUna) | 0;
  const news = tcb.sackOk !== 0 && tcp.seg.options.sackBlocks > 0 && markSacked(tcp, tcb);
  if (acked > 0) {
    clean(tcp, tcb, ack);
    if (tcb.caState === CA_OPEN) tcb.dupAcks = 0;
  } else if (duplicate && (tcb.sackOk === 0 || news)) tcb.dupAcks++;

  switch (tcb.caState) {
    case CA_OPEN:
      if (acked > 0) {
        tcp.config.congestion.onAck(tcb, acked);
        // Keeps `recover` within reach of the comparison.
        if (((ack - tcb.recover) | 0) > 0) tcb.recover = (ack - 1) | 0;
      }
      break;
    case CA_RECOVERY:
      if (((ack - tcb.recover) | 0) >= 0) leaveRecovery(tcb);
      else if (acked > 0) {
        // RFC 6582 §3.2 step 3: a partial acknowledgment means that the next hole is lost too.
        if (tcb.sackOk === 0) tcb.dupAcks = Math.max(tcb.dupAcks - Math.ceil(acked / tcb.mss), 0);
        markHeadLost(tcp, tcb);
        markLost(tcp, tcb);
      } else if (news) markLost(tcp, tcb);
      break;
    case CA_LOSS:
      if (((ack - tcb.recover) | 0) >= 0) {
        tcb.caState = CA_OPEN;
        tcb.dupAcks = 0;
      }
      if (acked > 0) tcp.config.congestion.onAck(tcb, acked);
      break;
  }
  // Also right after leaving: what was sent during recovery may have been lost.
  if (tcb.caState === CA_OPEN && isLossDetected(tcb)) enterRecovery(tcp, tcb);
}

function isLossDetected(tcb: Tcb): boolean {
  // RFC 6675 §4 IsLost: more than two segments' worth SACKed beyond the first hole.
  if (tcb.sackOk !== 0) return tcb.dupAcks >= DUP_THRESHOLD || tcb.sackedOut > (DUP_THRESHOLD - 1) * tcb.mss;
  // RFC 6582 §3.2 step 2: until SND.UNA passes `recover`, duplicates may come from what recovery sent in vain.
  return tcb.dupAcks >= DUP_THRESHOLD && ((tcb.sndUna - tcb.recover) | 0) > 0;
}

function enterRecovery(tcp: Tcp, tcb: Tcb): void {
  tcp.stats.fastRecoveries++;
  tcb.caState = CA_RECOVERY;
  tcb.recover = tcb.sndNxt;
  tcb.ssthresh = tcp.config.congestion.ssthresh(tcb);
  tcb.cwnd = tcb.ssthresh;
  tcb.cwndAcked = 0;
  markHeadLost(tcp, tcb);
  markLost(tcp, tcb);
}

function leaveRecovery(tcb: Tcb): void {
  tcb.caState = CA_OPEN;
  tcb.dupAcks = 0;
  tcb.forceRetrans = 0;
  // RFC 6582 §3.2 step 3 (1): no burst when little is in flight.
  const flight = (tcb.sndNxt - tcb.sndUna) | 0;
  tcb.cwnd = Math.min(tcb.ssthresh, Math.max(flight, tcb.mss) + tcb.mss);
}

/** The retransmission timer fired: everything not SACKed is deemed lost, and slow start begins anew. */
export function enterLoss(tcp: Tcp, tcb: Tcb): void {
  if (tcb.caState !== CA_LOSS) tcb.ssthresh = tcp.config.congestion.ssthresh(tcb);
  tcb.caState = CA_LOSS;
  tcb.recover = tcb.sndNxt;
  tcb.cwnd = tcb.mss;
  tcb.cwndAcked = 0;
  tcb.dupAcks = 0;
  deemLost(tcp, tcb);
}

/** Everything sent and not SACKed is to be sent again, without a word on congestion. */
export function deemLost(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const { flags, next } = segments;
  // The peer may forget what it SACKed (RFC 2018 §8): a SACKed head says that it did.
  const reneged = (flags[tcb.sndHead] & S_SACKED) !== 0;
  tcb.lostOut = 0;
  tcb.retransOut = 0;
  if (reneged) tcb.sackedOut = 0;
  for (let s = tcb.sndHead; s !== tcb.sndNext; s = next[s]) {
    if (reneged) flags[s] &= ~S_SACKED;
    flags[s] &= ~S_RETRANS;
    if ((flags[s] & S_SACKED) !== 0) continue;
    flags[s] |= S_LOST;
    tcb.lostOut += segments.size(s);
  }
  tcb.lostHint = tcb.sndHead;
  tcb.forceRetrans = 0;
}

function markHeadLost(tcp: Tcp, tcb: Tcb): void {
  const { flags } = tcp.segments;
  const s = tcb.sndHead;
  if (s === 0 || s === tcb.sndNext || (flags[s] & (S_SACKED | S_LOST)) !== 0) return;
  // Of a GSO-sized descriptor only the first segment is known to be missing.
  if (tcp.segments.len[s] > tcb.mss) cut(tcp, tcb, s, tcb.mss);
  lose(tcp, tcb, s);
  tcb.lostHint = s;
  tcb.forceRetrans = 1;
}

/** RFC 6675 §4, IsLost: lost is what has more than two segments' worth of SACKed data beyond it. */
function markLost(tcp: Tcp, tcb: Tcb): void {
  const { segments } = tcp;
  const enough = (DUP_THRESHOLD - 1) * tcb.mss;
  let beyond = tcb.sackedOut;
  for (let s = tcb.sndHead; s !== tcb.sndNext && beyond > enough; s = segments.next[s]) {
    if ((segments.flags[s] & S_SACKED) !== 0) beyond -= segments.size(s);
    else if ((segments.flags[s] & S_LOST) === 0) lose(tcp, tcb, s);
  }
  tcb.lostHint = tcb.sndHead;
}

function lose(tcp: Tcp, tcb: Tcb, s: number): void {
  const { segments } = tcp;
  segments.flags[s] |= S_LOST;
  tcb.lostOut += segments.size(s);
}

/** Records the arrived SACK blocks on the scoreboard; true when they said something new. */
function markSacked(tcp: Tcp, tcb: Tcb): boolean {
  const { segments } = tcp;
  const { options } = tcp.seg;
  let news = false;
  for (let b = 0; b < options.sackBlocks; b++) {
    const left = options.sack[b * 2];
    const right = options.sack[b * 2 + 1];
    // Outside what is outstanding: D-SACK (RFC 2883) or nonsense.
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
function clean(tcp: Tcp, tcb: Tcb, ack: number): void {
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
  if (sample >= 0 && !ambiguous) sampleRtt(tcb, sample);
  else if (tcb.tsOk !== 0 && tcp.seg.options.hasTimestamp) {
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
