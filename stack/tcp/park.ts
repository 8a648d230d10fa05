/**
 * Parking: what is kept of a connection on which nothing happens. A control block is over a kilobyte, nearly all of it
 * about data on its way. When all has been acknowledged both ways and it has been quiet for a while, the block is given
 * back, and the words below remain as a row; the next segment, timer or call of the owner brings a block back as it was.
 * What is forgotten is what RFC 5681 §4.1 and RFC 9438 §5.8 give no meaning to after idling: where in a round or a curve
 * the sender was; and that a D-SACK of before might yet have undone a reduction, which then stands.
 *
 * Only connections whose owner knows them by id and not by block are parked (socket.ts, allowParking). While parked a
 * connection keeps its id, its flow, its owner and its keepalive timer, and counts as open.
 *
 * Looked for in steps: every STEP_MS a part of the blocks, so each within ROUND_MS, and only while there are candidates.
 */
import type { TimerHandler, TimerRange } from '../timer/timers.ts';
import type { Ipv4 } from '../types.ts';
import { followLink } from './pmtu.ts';
import * as st from './state.ts';
import { CA_OPEN, type KeepAlive, type SocketOwner, Tcb } from './tcb.ts';
import type { Tcp } from './tcp.ts';
import { isQuiet } from './timers.ts';

/** Quiet for so long, in ms: both ways, data and acknowledgments. */
export const PARK_AFTER_MS = 250;
const STEP_MS = 25;
const ROUND_MS = 250;
/** Blocks kept for the next connections. What a burst needed beyond that goes back to the heap. */
const MAX_SPARE = 4096;

type Word = { [K in keyof Tcb]: Tcb[K] extends number ? K : never }[keyof Tcb];

/** One word of the row each. */
const WORDS = [
  'laddr',
  'raddr',
  'tag',
  'iss',
  'irs',
  'sndNxt',
  'sndWnd',
  'sndWl1',
  'sndWl2',
  'maxSndWnd',
  'sndBuf',
  'rcvNxt',
  'rcvAdv',
  'rcvBuf',
  'rcvLimit',
  'rcvRead',
  'rcvMss',
  'tsRecent',
  'tsRecentMs',
  'tsOffset',
  'challengeMs',
  'cwnd',
  'ssthresh',
  'cubicMax',
  'cubicPrior',
  'minRtt',
  'minRttMs',
  'rackRtt',
  'srtt',
  'rttvar',
  'rtoMs',
  'lastSendMs',
  'lastRecvMs',
  'lastDataMs',
  'progressMs',
  'userTimeoutMs',
] as const satisfies readonly Word[];
/** Then lport << 16 | rport, peerMss << 16 | mss, and bits. */
const PORTS = WORDS.length;
const SIZES = PORTS + 1;
const BITS = SIZES + 1;
const ROW_WORDS = BITS + 1;

// Where they stand in the last word: one each, two for the probe, four for each scale and the count; then what is known of
// reordering on the path (RFC 8985 §6.2 step 4).
const TS_OK = 0;
const SACK_OK = 1;
const ECN_OK = 2;
const NO_DELAY = 3;
const WANT_WRITE = 4;
const RTT_FRESH = 5;
const TLP = 6;
const SND_WSCALE = 8;
const RCV_WSCALE = 12;
const QUICK_ACKS = 16;
const REO_SEEN = 20;
const REO_PERSIST = 21;
const REO_MULT = 26;
/** What six bits hold: the window is a smoothed round trip by then. */
const MAX_REO_MULT = 63;

export class Parking implements TimerHandler {
  private readonly tcp: Tcp;
  private readonly timer: TimerRange;
  private readonly rows: Int32Array;
  /** By id; null = not parked. */
  private readonly owners: (SocketOwner | null)[] = [];
  private readonly keeps: (KeepAlive | null)[] = [];
  private readonly spare: Tcb[] = [];
  private nParked = 0;
  /** The block that the next step begins with, and whether this round has met one that may be parked some day. */
  private next = 1;
  private candidates = true;

  constructor(tcp: Tcp, timer: (handler: TimerHandler) => TimerRange, maxConnections: number) {
    this.tcp = tcp;
    this.timer = timer(this);
    this.rows = new Int32Array((maxConnections + 1) * ROW_WORDS);
  }

  /** Connections without a block. */
  get parked(): number {
    return this.nParked;
  }

  isParked(id: number): boolean {
    return (this.owners[id] ?? null) !== null;
  }

  /** Precondition: `id` is parked. */
  localAddress(id: number): Ipv4 {
    return this.rows[id * ROW_WORDS + WORDS.indexOf('laddr')]!;
  }

  /** A block, of any content. */
  take(id: number): Tcb {
    const tcb = this.spare.pop() ?? new Tcb(id);
    tcb.id = id;
    return tcb;
  }

  /** The opposite. */
  give(tcb: Tcb): void {
    if (this.spare.length < MAX_SPARE) this.spare.push(tcb);
  }

  /** There is a connection that may be parked when it gets quiet. */
  watch(): void {
    this.candidates = true;
    if (!this.timer.isArmed(1)) this.timer.arm(1, (this.tcp.ctx.nowMs + STEP_MS) | 0);
  }

  onTimer(): void {
    const { blocks } = this.tcp;
    const end = Math.min(this.next + Math.ceil((blocks.length * STEP_MS) / ROUND_MS), blocks.length);
    for (let id = this.next; id < end; id++) {
      const tcb = blocks[id]!;
      if (tcb === null || tcb.mayPark === 0 || tcb.state !== st.ESTABLISHED) continue;
      if (!this.tryToPark(tcb)) this.candidates = true;
    }
    this.next = end;
    if (end === blocks.length) {
      if (!this.candidates) return;
      this.candidates = false;
      this.next = 1;
    }
    this.timer.arm(1, (this.tcp.ctx.nowMs + STEP_MS) | 0);
  }

  private tryToPark(tcb: Tcb): boolean {
    const { nowMs } = this.tcp.ctx;
    if ((nowMs - tcb.lastRecvMs) >>> 0 < PARK_AFTER_MS || (nowMs - tcb.lastSendMs) >>> 0 < PARK_AFTER_MS) return false;
    if (!isAtRest(tcb) || !isQuiet(this.tcp, tcb)) return false;
    this.park(tcb);
    return true;
  }

  private park(tcb: Tcb): void {
    const { rows, tcp } = this;
    const { id } = tcb;
    const row = id * ROW_WORDS;
    for (let i = 0; i < WORDS.length; i++) rows[row + i] = tcb[WORDS[i]!];
    rows[row + PORTS] = (tcb.lport << 16) | tcb.rport;
    rows[row + SIZES] = (tcb.peerMss << 16) | tcb.mss;
    rows[row + BITS] =
      (tcb.tsOk << TS_OK) |
      (tcb.sackOk << SACK_OK) |
      (tcb.ecnOk << ECN_OK) |
      (tcb.noDelay << NO_DELAY) |
      (tcb.wantWrite << WANT_WRITE) |
      (tcb.rttFresh << RTT_FRESH) |
      (tcb.tlp << TLP) |
      (tcb.sndWscale << SND_WSCALE) |
      (tcb.rcvWscale << RCV_WSCALE) |
      (tcb.quickAcks << QUICK_ACKS) |
      (tcb.reoSeen << REO_SEEN) |
      (tcb.reoPersist << REO_PERSIST) |
      (Math.min(tcb.reoMult, MAX_REO_MULT) << REO_MULT);
    while (this.owners.length <= id) {
      this.owners.push(null);
      this.keeps.push(null);
    }
    this.owners[id] = tcb.owner;
    this.keeps[id] = tcb.keep;
    tcb.owner = null;
    tcb.state = st.CLOSED;
    tcp.blocks[id] = null;
    this.give(tcb);
    this.nParked++;
  }

  /** Brings a connection's block back. Precondition: `id` is parked. */
  wake(id: number): Tcb {
    const { rows, tcp } = this;
    const row = id * ROW_WORDS;
    const tcb = this.take(id);
    tcb.state = st.ESTABLISHED;
    tcp.clear(tcb);
    for (let i = 0; i < WORDS.length; i++) tcb[WORDS[i]!] = rows[row + i]!;
    tcb.lport = rows[row + PORTS]! >>> 16;
    tcb.rport = rows[row + PORTS]! & 0xffff;
    tcb.peerMss = rows[row + SIZES]! >>> 16;
    tcb.mss = rows[row + SIZES]! & 0xffff;
    const bits = rows[row + BITS]!;
    tcb.tsOk = (bits >>> TS_OK) & 1;
    tcb.sackOk = (bits >>> SACK_OK) & 1;
    tcb.ecnOk = (bits >>> ECN_OK) & 1;
    tcb.noDelay = (bits >>> NO_DELAY) & 1;
    tcb.wantWrite = (bits >>> WANT_WRITE) & 1;
    tcb.rttFresh = (bits >>> RTT_FRESH) & 1;
    tcb.tlp = (bits >>> TLP) & 3;
    tcb.sndWscale = (bits >>> SND_WSCALE) & 15;
    tcb.rcvWscale = (bits >>> RCV_WSCALE) & 15;
    tcb.quickAcks = (bits >>> QUICK_ACKS) & 15;
    tcb.reoSeen = (bits >>> REO_SEEN) & 1;
    tcb.reoPersist = (bits >>> REO_PERSIST) & 31;
    tcb.reoMult = bits >>> REO_MULT;
    followLink(tcp, tcb);
    tcb.sndUna = tcb.sndEnd = tcb.recover = tcb.tlpEnd = tcb.sndNxt;
    // What was reduced for was said, on data behind it: from here on echoes are news.
    tcb.ecnEnd = (tcb.sndNxt - 1) | 0;
    tcb.ackSent = tcb.rcvNxt;
    const { cwnd } = tcb;
    tcp.config.congestion.init(tcb);
    tcb.cwnd = cwnd;
    tcb.owner = this.owners[id]!;
    tcb.keep = this.keeps[id]!;
    tcb.mayPark = 1;
    this.owners[id] = null;
    this.nParked--;
    tcp.blocks[id] = tcb;
    this.watch();
    return tcb;
  }
}

/** Nothing is under way in either direction, said or owed: what is not in the row is as `wake` leaves it. */
function isAtRest(tcb: Tcb): boolean {
  return (
    (tcb.events | tcb.dirty | tcb.starved | tcb.closing | tcb.readClosed) === 0 &&
    (tcb.sndHead | tcb.finQueued | tcb.rcvHead | tcb.ofoHead | tcb.finReceived | tcb.finPending) === 0 &&
    tcb.caState === CA_OPEN &&
    tcb.sndUna === tcb.sndNxt &&
    tcb.rcvNxt === tcb.ackSent &&
    (tcb.ackNow | tcb.ackPending | tcb.dupAcksOwed | tcb.dsackOwed | tcb.ecnEcho | tcb.cwrOwed) === 0 &&
    (tcb.holeMtu | tcb.softError | tcb.keepProbes | tcb.backoff | tcb.probes) === 0
  );
}
