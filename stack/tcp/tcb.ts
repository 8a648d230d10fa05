/**
 * The transmission control block (RFC 9293 §3.3.1): everything one connection remembers. Blocks are made once and
 * reused, so opening and closing connections allocates nothing; all fields are numbers (shape fixed in the field
 * initialisers) but for the owner.
 *
 * Units: sequence numbers and times are int32 and compared with `(a - b) | 0`; sizes are bytes; `...Ms` are timer ticks.
 * How long ago something was is `(nowMs - then) >>> 0`: a connection may be quiet for longer than the 24 days of `| 0`.
 * @hot
 */
import type { FrameId, Ipv4, Ticks } from '../types.ts';
import type { SegmentId } from './segments.ts';
import { CLOSED } from './state.ts';

/** How a silent peer is asked whether it is there (RFC 9293 §3.8.4). Shared by connections, never changed in place. */
export interface KeepAlive {
  /** Silence before the first probe, and between probes. */
  readonly idleMs: number;
  readonly intervalMs: number;
  /** Unanswered probes after which the peer counts as gone. */
  readonly count: number;
}

/** Who uses a connection: told what happened at the end of each burst, never from within the stack. */
export interface SocketOwner {
  onEstablished(tcb: Tcb): void;
  /** New data, or the peer's FIN with all data read, may be waiting. */
  onReadable(tcb: Tcb): void;
  /** Room in the send queue after it had been full. */
  onWritable(tcb: Tcb): void;
  /** The peer closed its half. Data received before may still be unread. */
  onFin(tcb: Tcb): void;
  /** The connection is gone (END_*); the block will be reused after this call returns. */
  onClosed(tcb: Tcb, end: number): void;
}

/** Congestion phases (RFC 5681, RFC 6582): open, fast recovery, recovery after a time-out. */
export const CA_OPEN = 0;
export const CA_RECOVERY = 1;
export const CA_LOSS = 2;

export class Tcb {
  /** 1..n, for the tables that store ints: the connection's, whichever block it has at the moment (park.ts). */
  id: number;
  state = CLOSED;
  owner: SocketOwner | null = null;
  /** The owner's own number for this connection. */
  tag = 0;
  /** EV_* not yet delivered. */
  events = 0;
  /** In the list of blocks to be looked at when the burst ends. */
  dirty = 0;
  /** In the list of blocks that could not go on for want of a frame or descriptor. */
  starved = 0;
  /** The owner knows the connection by its id: it may be parked when it is quiet. */
  mayPark = 0;
  /** END_*, once closed. */
  end = 0;

  // Who talks to whom
  laddr: Ipv4 = 0;
  raddr: Ipv4 = 0;
  lport = 0;
  rport = 0;
  /** Listener this came from, 0 = made by connect. */
  listener = 0;

  // Send sequence space
  sndUna = 0;
  sndNxt = 0;
  /** Peer's window, scaled, in bytes, and the numbers of the segment that last updated it. */
  sndWnd = 0;
  sndWl1 = 0;
  sndWl2 = 0;
  /** Largest window the peer ever offered (RFC 9293 §3.8.6.2.1, RFC 5961 §5). */
  maxSndWnd = 0;
  iss = 0;
  sndHead: SegmentId = 0;
  sndTail: SegmentId = 0;
  /** First descriptor never sent. */
  sndNext: SegmentId = 0;
  /** Payload bytes queued, sent or not, and the descriptors they take: each may pin a slot. */
  sndQueued = 0;
  sndSegs = 0;
  sndBuf = 0;
  /** Sequence number the next queued byte will get. */
  sndEnd = 0;
  /** The owner has closed its half: the last descriptor carries (or is) the FIN. */
  finQueued = 0;
  /** The owner found the queue full and wants EV_WRITABLE. */
  wantWrite = 0;

  // Receive sequence space
  rcvNxt = 0;
  irs = 0;
  /** Right edge of the window as last advertised: never moves left (RFC 9293 §3.8.6.2.2). */
  rcvAdv = 0;
  /** RCV.NXT when we last sent an acknowledgment (Last.ACK.sent of RFC 7323). */
  ackSent = 0;
  rcvHead: FrameId = 0;
  rcvTail: FrameId = 0;
  rcvQueued = 0;
  rcvBuf = 0;
  /** Bytes the peer may send ahead of the reader: grows towards rcvBuf with what is read (limits.ts). */
  rcvLimit = 0;
  rcvRead = 0;
  /** Out-of-order frames in sequence order, linked by pool.next; their payload bytes. */
  ofoHead: FrameId = 0;
  ofoBytes = 0;
  ofoCount = 0;
  /** The last of them, and how many carry little. */
  ofoTail: FrameId = 0;
  ofoSmall = 0;
  /** Left edges of the newest one and of those that opened the SACK options before it (sack.ts). */
  ofoRecent = 0;
  ofoRecent2 = 0;
  ofoRecent3 = 0;
  /** The peer's FIN has been reached. */
  finReceived = 0;
  /** A FIN waits beyond a hole, at this sequence number. */
  finPending = 0;
  finSeq = 0;
  /** Nobody will read any more: further data is answered with a reset (RFC 9293 §3.6.1). */
  readClosed = 0;
  /** Closed in order, but the owner has not read everything: it will hear of the end when it has. */
  closing = 0;

  // Options
  /** Payload bytes per segment we may send: the peer's MSS, the path's MTU, less our options. */
  mss = 536;
  /** Largest segment the peer accepts, options included in its own count. */
  peerMss = 536;
  /** The path MTU that a black hole was found to take, until an acknowledgment proves it; 0 = none (pmtu.ts). */
  holeMtu = 0;
  tsOk = 0;
  tsRecent = 0;
  tsRecentMs: Ticks = 0;
  tsOffset = 0;
  sackOk = 0;
  sndWscale = 0;
  rcvWscale = 0;
  noDelay = 1;

  // ECN (ecn.ts)
  ecnOk = 0;
  /** We echo a mark until the peer says that it has reduced its window. */
  ecnEcho = 0;
  /** We have reduced ours and owe it word. */
  cwrOwed = 0;
  /** SND.NXT when we last did: up to there echoes are old. */
  ecnEnd = 0;

  // Acknowledging
  ackNow = 0;
  /** Bytes received in order since the last acknowledgment. */
  ackPending = 0;
  /** Largest segment the peer has sent: two of them are acknowledged without delay (RFC 5681 §4.2). */
  rcvMss = 0;
  /** Segments that came out of order since the last acknowledgment, each worth one to a peer without SACK. */
  dupAcksOwed = 0;
  /** A duplicate arrived and is to be reported (RFC 2883): its edges. */
  dsackOwed = 0;
  dsackLeft = 0;
  dsackRight = 0;
  /** Acknowledgments left that are delayed by little only (QUICK_ACK_MS). */
  quickAcks = 0;
  /** When the last challenge ACK went out (RFC 5961 §7). */
  challengeMs: Ticks = 0;

  // Loss recovery
  caState = 0;
  cwnd = 0;
  ssthresh = 0;
  /** Bytes acknowledged towards the next increase in congestion avoidance. */
  cwndAcked = 0;
  dupAcks = 0;
  /** SND.NXT when recovery began. */
  recover = 0;
  /** Sequence numbers sent and since sacked, deemed lost, sent again: the terms of pipe (RFC 6675 §4). */
  sackedOut = 0;
  lostOut = 0;
  retransOut = 0;
  /** The next retransmission goes out whatever the window says (RFC 6675 §5 step 4.3, RFC 6582 §3.2 step 3). */
  forceRetrans = 0;
  /** Where the search for the next lost descriptor begins; 0 = at the head. */
  lostHint: SegmentId = 0;
  /** What T_REXMIT was armed for last (FOR_*), for when; and when the time-out is due, whatever it is armed for. */
  rexmitFor = 0;
  rexmitAtMs: Ticks = 0;
  rtoDueMs: Ticks = 0;

  // RACK (RFC 8985 §5.3); microseconds, int32
  /** When the segment sent last of those delivered was sent, its end, and the time it took. */
  rackXmit = 0;
  rackEnd = 0;
  rackRtt = 0;
  /** Highest number delivered before this acknowledgment, and with it. */
  rackFack = 0;
  rackFackNext = 0;
  minRtt = 0;
  minRttMs: Ticks = 0;
  reoSeen = 0;
  reoMult = 1;
  /** Recoveries until reoMult falls back to 1. */
  reoPersist = 0;
  /** The round in which a D-SACK was seen ends here; 0 in `reoInRound` = none was. */
  reoRound = 0;
  reoInRound = 0;

  // Tail loss probe (RFC 8985 §7.1)
  /** TLP_NONE, or which kind of probe is out; SND.NXT after it. */
  tlp = 0;
  tlpEnd = 0;
  /** An RTT sample was taken since the last probe. */
  rttFresh = 0;

  // Proportional rate reduction (RFC 6937 §3): bytes
  prrDelivered = 0;
  prrOut = 0;
  prrFlight = 0;
  /** When the window was last reduced, int32 microseconds. */
  reducedAt = 0;

  // Undo (RFC 4015, RFC 2883): what held before the window was reduced
  /** An undo is possible; from here on; until this is acknowledged. */
  undoable = 0;
  undoMarker = 0;
  undoEnd = 0;
  /** 1 = something was sent again, 2 = and acknowledged; bytes not reported as duplicates; when the first was sent. */
  undoSent = 0;
  undoBytes = 0;
  undoMs: Ticks = 0;
  priorCwnd = 0;
  priorSsthresh = 0;

  // Congestion control: what the algorithm in use makes of it (cubic.ts)
  /** The window filled the path when data was last sent: it may grow (RFC 9438 §4.2). */
  cwndLimited = 0;
  /** CUBIC (RFC 9438 §4.1): W_max, K in ms, t counts from cubicEpochMs; W_est, cwnd_prior; the last acknowledgment. */
  cubicMax = 0;
  cubicK = 0;
  cubicEpoch = 0;
  cubicEpochMs: Ticks = 0;
  cubicReno = 0;
  cubicPrior = 0;
  cubicAckMs: Ticks = 0;
  cubicUndoMax = 0;
  cubicUndoK = 0;
  cubicUndoEpoch = 0;
  cubicUndoEpochMs: Ticks = 0;
  cubicUndoReno = 0;
  cubicUndoPrior = 0;
  /** HyStart++ (RFC 9406): end of the round, least RTTs (us) of it and the one before, samples, phase. */
  hyEnd = 0;
  hyLast = 0;
  hyNow = 0;
  hySamples = 0;
  hyBase = 0;
  hyPhase = 0;

  // Round-trip time, RFC 6298; microseconds
  srtt = 0;
  rttvar = 0;
  /** The sample that came with the acknowledgment at hand, -1 = none. */
  ackRtt = -1;
  rtoMs = 1000;
  /** Time-outs in a row. */
  backoff = 0;
  /** Zero-window probes in a row. */
  probes = 0;
  /** When data was last sent, for restart after idle (RFC 5681 §4.1). */
  lastSendMs: Ticks = 0;
  lastRecvMs: Ticks = 0;
  synRetries = 0;
  /** How long data may stay unacknowledged, 0 = as long as retransmission tries; and since when it does (user-timeout.ts). */
  userTimeoutMs = 0;
  stuckMs: Ticks = 0;
  /** END_UNREACHABLE once a router has said so, until there is progress; 0 = nothing was said. */
  softError = 0;
  /** Whether a silent peer is asked if it is there; null = never. Probes unanswered so far. */
  keep: KeepAlive | null = null;
  keepProbes = 0;
  /** When data last arrived, or was last acknowledged. */
  lastDataMs: Ticks = 0;
  /** When IP was last told that the peer hears us. */
  progressMs: Ticks = 0;

  constructor(id: number) {
    this.id = id;
  }
}
