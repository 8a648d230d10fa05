/**
 * One worker's TCP: the tables, and what its parts share. Input, output, recovery, timers and listening are functions
 * and classes in the files beside; this file holds the state they work on and the end-of-burst work.
 *
 * During a burst, segments only change control blocks and mark them dirty. When the burst is over `flush` tells owners
 * what happened and then sends, once per connection, whatever is due: so data read in a burst is relayed together, one
 * acknowledgment covers all of it and rides on data where there is some.
 *
 * @hot
 */
import type { Context } from '../context.ts';
import type { Ip4Output } from '../ipv4/output.ts';
import { FlowTable4, slotsFor } from '../mem/flow-table.ts';
import type { TimerHandler, TimerRange, Timers } from '../timer/timers.ts';
import type { Ipv4 } from '../types.ts';
import { DELIVERED } from '../verdict.ts';
import { ArrivedSegment } from './arrived.ts';
import { sendAbort, sendReset, sendTimeWaitAck } from './bare.ts';
import { DEFAULT_TCP, type TcpConfig, type TcpTuning } from './config.ts';
import { Secrets } from './isn.ts';
import { fairShare, hasRoom } from './limits.ts';
import { Listeners } from './listen.ts';
import { output } from './output.ts';
import { Parking } from './park.ts';
import { followLink, mssToSend, PathMtus } from './pmtu.ts';
import { LocalPorts } from './ports.ts';
import { resetRecovery } from './recovery.ts';
import { RTO_INITIAL_MS } from './rtt.ts';
import { SegmentTable } from './segments.ts';
import * as st from './state.ts';
import { TcpStats } from './stats.ts';
import type { SocketOwner, Tcb } from './tcb.ts';
import { armLinger, onTimer, T_COUNT } from './timers.ts';
import { TimeWait, type TimeWaitReply } from './timewait.ts';
import { sendAck } from './transmit.ts';

export class Tcp implements TimerHandler, TimeWaitReply {
  readonly ctx: Context;
  readonly ip: Ip4Output;
  /** Replaced as a whole by `tune`. */
  config: TcpConfig;
  readonly stats = new TcpStats();
  readonly secrets: Secrets;
  readonly segments: SegmentTable;
  /** Key: remote address, local address, remote port << 16 | local port: as an arriving segment has them. */
  readonly flows: FlowTable4;
  readonly timeWait: TimeWait;
  readonly listeners: Listeners;
  readonly ports: LocalPorts;
  readonly paths: PathMtus;
  readonly seg = new ArrivedSegment();
  readonly timers: TimerRange;
  /** Index = id; slot 0 is unused. Null: no such connection, or it is parked. */
  readonly blocks: (Tcb | null)[] = [null];
  readonly parking: Parking;
  /** Largest GSO payload that ip may be given at once; 0 where no port takes GSO frames. Set at composition. */
  gsoMax = 0;
  /** Bytes one connection may hold of what is free, as of this burst (limits.ts). */
  share = 0;

  private readonly freeIds: number[] = [];
  private dirty: Tcb[] = [];
  private nDirty = 0;
  private readonly starved: Tcb[] = [];
  private nStarved = 0;
  private nOpen = 0;

  constructor(ctx: Context, ip: Ip4Output, timers: Timers, config: TcpConfig = DEFAULT_TCP) {
    this.ctx = ctx;
    this.ip = ip;
    this.config = config;
    this.secrets = new Secrets(ctx.random);
    this.segments = new SegmentTable(ctx, config.maxSegments);
    const maxSlots = slotsFor(config.maxConnections + config.maxTimeWait);
    const flowConfig = {
      slots: Math.min(maxSlots, 65536),
      maxSlots,
      seed0: ctx.random.next(),
      seed1: ctx.random.next(),
    };
    this.flows = FlowTable4.create(new SharedArrayBuffer(FlowTable4.bytes(flowConfig)), 0, flowConfig);
    this.timers = timers.range(config.maxConnections * T_COUNT, this);
    this.timeWait = new TimeWait(ctx, this.flows, this, config.maxTimeWait, config.timeWaitMs);
    this.timeWait.attachTimer(timers.range(1, this.timeWait));
    this.parking = new Parking(this, (handler) => timers.range(1, handler), config.maxConnections);
    this.listeners = new Listeners(config.maxHalfOpen);
    this.ports = new LocalPorts(this);
    this.paths = new PathMtus(ctx, this.secrets);
    this.share = fairShare(this);
  }

  /** Other settings from now on: for connections opened from then on, and for what waits in TIME_WAIT. */
  tune(tuning: TcpTuning): void {
    this.config = { ...this.config, ...tuning };
    this.listeners.maxHalfOpen = tuning.maxHalfOpen;
    this.timeWait.setDuration(tuning.timeWaitMs);
  }

  /** Connections, parked ones included. */
  get open(): number {
    return this.nOpen;
  }

  /** The connection with this id, or null. A parked one is given a block. */
  block(id: number): Tcb | null {
    return this.blocks[id] ?? (this.parking.isParked(id) ? this.parking.wake(id) : null);
  }

  /** Our address of the connection with this id; 0 = there is none. Wakes nobody. */
  localAddress(id: number): Ipv4 {
    return this.blocks[id]?.laddr ?? (this.parking.isParked(id) ? this.parking.localAddress(id) : 0);
  }

  /** A fresh control block in the flow table, or null when there is no room. */
  allocate(laddr: Ipv4, lport: number, raddr: Ipv4, rport: number): Tcb | null {
    const id = this.freeIds.pop() ?? this.blocks.length;
    if (id > this.config.maxConnections) return null;
    if (id === this.blocks.length) this.blocks.push(null);
    if (!this.flows.insert(raddr, laddr, (rport << 16) | lport, id)) {
      this.freeIds.push(id);
      return null;
    }
    const tcb = this.parking.take(id);
    this.blocks[id] = tcb;
    this.nOpen++;
    tcb.laddr = laddr;
    tcb.raddr = raddr;
    tcb.lport = lport;
    tcb.rport = rport;
    this.clear(tcb);
    return tcb;
  }

  /** Brings every field a connection reads before it writes to its starting value. */
  clear(tcb: Tcb): void {
    const { config } = this;
    tcb.owner = null;
    tcb.mayPark = 0;
    tcb.tag = 0;
    tcb.events = 0;
    tcb.end = st.END_NORMAL;
    tcb.listener = 0;
    tcb.sndHead = tcb.sndTail = tcb.sndNext = 0;
    tcb.sndQueued = tcb.sndSegs = 0;
    tcb.sndBuf = config.sndBuf;
    tcb.rcvBuf = config.rcvBuf;
    tcb.rcvLimit = Math.min(config.bufStart, config.rcvBuf);
    tcb.rcvRead = 0;
    tcb.sndWnd = tcb.maxSndWnd = 0;
    tcb.finQueued = tcb.wantWrite = 0;
    tcb.rcvHead = tcb.rcvTail = 0;
    tcb.rcvQueued = 0;
    tcb.ofoHead = tcb.ofoTail = tcb.ofoBytes = tcb.ofoCount = tcb.ofoSmall = 0;
    tcb.finReceived = tcb.finPending = tcb.readClosed = tcb.closing = 0;
    tcb.mss = tcb.peerMss = 536; // RFC 9293 §3.7.1 (MUST-15)
    tcb.holeMtu = 0;
    tcb.ecnOk = tcb.ecnEcho = tcb.cwrOwed = 0;
    tcb.tsOk = tcb.sackOk = tcb.sndWscale = tcb.rcvWscale = 0;
    tcb.tsRecent = 0;
    tcb.noDelay = 1;
    tcb.ackNow = tcb.ackPending = tcb.dupAcksOwed = 0;
    tcb.rcvMss = 536;
    tcb.quickAcks = 8;
    tcb.challengeMs = (this.ctx.nowMs - 10_000) | 0;
    tcb.dsackOwed = 0;
    resetRecovery(this, tcb);
    tcb.srtt = tcb.rttvar = 0;
    tcb.rtoMs = RTO_INITIAL_MS;
    tcb.backoff = tcb.probes = tcb.synRetries = 0;
    tcb.keep = null;
    tcb.keepProbes = 0;
    tcb.userTimeoutMs = config.userTimeoutMs;
    tcb.softError = 0;
    tcb.lastSendMs = tcb.lastRecvMs = tcb.lastDataMs = tcb.progressMs = this.ctx.nowMs;
  }

  /** Puts a block on the list of those `flush` will look at. */
  touch(tcb: Tcb): void {
    if (tcb.dirty !== 0) return;
    tcb.dirty = 1;
    this.dirty[this.nDirty++] = tcb;
  }

  notify(tcb: Tcb, event: number): void {
    tcb.events |= event;
    this.touch(tcb);
  }

  /** A block that found no frame or descriptor: it tries again with the next burst. */
  starve(tcb: Tcb): void {
    if (tcb.starved !== 0) return;
    tcb.starved = 1;
    this.starved[this.nStarved++] = tcb;
  }

  private feedStarved(): void {
    const n = this.nStarved;
    this.nStarved = 0;
    for (let i = 0; i < n; i++) {
      const tcb = this.starved[i];
      tcb.starved = 0;
      if (tcb.state === st.CLOSED) continue;
      if (tcb.wantWrite !== 0 && hasRoom(this, tcb, 0)) {
        tcb.wantWrite = 0;
        this.notify(tcb, st.EV_WRITABLE);
      } else this.touch(tcb);
    }
  }

  /** End of a burst: owners are told, then each touched connection sends what is due. Ends when nothing is dirty. */
  flush(): void {
    this.share = fairShare(this);
    if (this.nStarved > 0) this.feedStarved();
    while (this.nDirty > 0) {
      // Owners first, for all of them: what one connection received may be what another has to send.
      const n = this.nDirty;
      for (let i = 0; i < n; i++) this.tell(this.dirty[i]);
      for (let i = 0; i < n; i++) {
        const tcb = this.dirty[i];
        tcb.dirty = 0;
        if (tcb.state !== st.CLOSED) output(this, tcb);
        // Another owner's turn took what was unread, after this one had been passed by.
        else if (tcb.closing !== 0 && tcb.rcvQueued === 0) tcb.events |= st.EV_CLOSED;
        if (tcb.events !== 0) this.touch(tcb);
      }
      // What became dirty meanwhile waits behind: bring it to the front.
      const more = this.nDirty - n;
      for (let i = 0; i < more; i++) this.dirty[i] = this.dirty[n + i];
      this.nDirty = more;
    }
  }

  private tell(tcb: Tcb): void {
    if (tcb.closing !== 0 && tcb.rcvQueued === 0) tcb.events |= st.EV_CLOSED;
    const events = tcb.events;
    if (events === 0) return;
    tcb.events = 0;
    const { owner } = tcb;
    if (owner !== null) {
      if ((events & st.EV_ESTABLISHED) !== 0) owner.onEstablished(tcb);
      if ((events & st.EV_READABLE) !== 0 && tcb.owner !== null) owner.onReadable(tcb);
      if ((events & st.EV_WRITABLE) !== 0 && tcb.owner !== null) owner.onWritable(tcb);
      if ((events & st.EV_FIN) !== 0 && tcb.owner !== null) owner.onFin(tcb);
    }
    if ((events & st.EV_CLOSED) !== 0) {
      const last = tcb.owner;
      if (tcb.end === st.END_NORMAL && tcb.rcvQueued > 0 && last !== null) {
        // The peer is done and gone, the owner is not: the end is told once everything has been read.
        tcb.closing = 1;
        return;
      }
      tcb.owner = null;
      tcb.closing = 0;
      if (last !== null) last.onClosed(tcb, tcb.end);
      this.recycle(tcb);
    }
  }

  /**
   * Ends a connection: queues are freed, timers stopped, the flow forgotten (or handed to TIME_WAIT). The owner is told
   * at the end of the burst; the block is reused only after that.
   */
  close(tcb: Tcb, end: number, timeWait: boolean): void {
    if (tcb.state === st.CLOSED) return;
    const ports = (tcb.rport << 16) | tcb.lport;
    if (timeWait) this.timeWait.enter(tcb, this.flows.hash(tcb.raddr, tcb.laddr, ports));
    else this.flows.remove(tcb.raddr, tcb.laddr, ports);
    if (tcb.state === st.SYN_RECEIVED) this.listeners.halfOpenDone(tcb.listener);
    tcb.state = st.CLOSED;
    tcb.end = end;
    for (let t = 0; t < T_COUNT; t++) this.timers.cancel((tcb.id - 1) * T_COUNT + 1 + t);
    this.freeSendQueue(tcb);
    this.freeOutOfOrder(tcb);
    // What was received in order stays readable until the owner has heard of the end, unless it was a reset.
    if (end !== st.END_NORMAL) this.freeReceiveQueue(tcb);
    this.notify(tcb, st.EV_CLOSED);
  }

  /** Resets every connection there is, half-open ones too: the host is about to go. */
  abortAll(): void {
    for (let id = 1; id < this.blocks.length; id++) {
      const tcb = this.block(id);
      if (tcb === null || tcb.state === st.CLOSED) continue;
      if (tcb.state !== st.SYN_SENT) sendAbort(this, tcb);
      this.close(tcb, st.END_ABORTED, false);
    }
  }

  /** The MTU of a link has changed. Cold; parked connections look when they wake. */
  followLinks(): void {
    for (const tcb of this.blocks) {
      if (tcb !== null && tcb.state !== st.CLOSED && followLink(this, tcb)) this.touch(tcb);
    }
  }

  /** The owner will not read what a closed connection left behind, whether it has heard of the end already or is about to. */
  discard(tcb: Tcb): void {
    if (tcb.owner === null) return;
    this.freeReceiveQueue(tcb);
    this.touch(tcb);
  }

  /** Both FINs are exchanged: the block goes, a row of TIME_WAIT stays. What is unread is still delivered. */
  enterTimeWait(tcb: Tcb): void {
    // The acknowledgment of the peer's FIN would be lost with the block: send it first.
    if (tcb.ackNow !== 0) sendAck(this, tcb);
    this.close(tcb, st.END_NORMAL, true);
  }

  /** A connection nobody reads is not kept in FIN_WAIT_2 for ever. */
  lingerIfOrphan(tcb: Tcb): void {
    if (tcb.readClosed !== 0) armLinger(this, tcb);
  }

  private recycle(tcb: Tcb): void {
    this.freeReceiveQueue(tcb);
    this.nOpen--;
    this.blocks[tcb.id] = null;
    this.freeIds.push(tcb.id);
    this.parking.give(tcb);
  }

  private freeSendQueue(tcb: Tcb): void {
    for (let s = tcb.sndHead; s !== 0; ) {
      const next = this.segments.next[s];
      this.segments.free(s);
      s = next;
    }
    tcb.sndHead = tcb.sndTail = tcb.sndNext = 0;
    tcb.sndQueued = tcb.sndSegs = 0;
    tcb.sackedOut = tcb.lostOut = tcb.retransOut = tcb.lostHint = 0;
  }

  freeOutOfOrder(tcb: Tcb): void {
    this.freeFrames(tcb.ofoHead);
    tcb.ofoHead = tcb.ofoTail = tcb.ofoBytes = tcb.ofoCount = tcb.ofoSmall = 0;
  }

  private freeReceiveQueue(tcb: Tcb): void {
    this.freeFrames(tcb.rcvHead);
    tcb.rcvHead = tcb.rcvTail = 0;
    tcb.rcvQueued = 0;
  }

  private freeFrames(head: number): void {
    const { next } = this.ctx.pool;
    for (let f = head; f !== 0; ) {
      const after = next[f];
      this.ctx.settle(f, DELIVERED);
      f = after;
    }
  }

  /**
   * Opens a connection. Null when there is no free port towards that peer, no control block or no route, or when `raddr`
   * is no host's (RFC 9293 §3.9.1.1).
   * `laddr` must be a local address; `lport` 0 = choose one.
   */
  connect(laddr: Ipv4, lport: number, raddr: Ipv4, rport: number, owner: SocketOwner, tag: number): Tcb | null {
    const mss = mssToSend(this, raddr);
    if (mss === 0 || !this.ip.isOneHost(raddr)) return null;
    const port = lport !== 0 ? this.ports.claim(laddr, lport, raddr, rport) : this.ports.choose(laddr, raddr, rport);
    if (port === 0) return null;
    const tcb = this.allocate(laddr, port, raddr, rport);
    if (tcb === null) {
      this.replacing(0);
      return null;
    }
    this.stats.activeOpens++;
    tcb.owner = owner;
    tcb.tag = tag;
    tcb.state = st.SYN_SENT;
    this.chooseNumbers(tcb);
    tcb.mss = mss;
    this.listeners.prepareReceive(tcb);
    this.touch(tcb);
    return tcb;
  }

  /** Where the connection in TIME_WAIT ended that the next one replaces; valid while `replaces` is not 0. */
  private oldSndNxt = 0;
  private replaces = 0;

  /** The next connection to open takes the four-tuple of a TIME_WAIT row, given by its flow value; 0 = it does not. */
  replacing(row: number): void {
    this.replaces = row;
    if (row !== 0) this.oldSndNxt = this.timeWait.sndNxt(row);
  }

  /** Initial sequence number and timestamp offset of a connection about to open. */
  chooseNumbers(tcb: Tcb): void {
    tcb.iss = this.secrets.isn(this.ctx.now, tcb.laddr, tcb.lport, tcb.raddr, tcb.rport);
    // RFC 9293 §3.6.1 (MAY-2): beyond every number of the connection before, which may have outrun the clock.
    const floor = (this.oldSndNxt + 65536) | 0;
    if (this.replaces !== 0 && ((tcb.iss - floor) | 0) < 0) tcb.iss = floor;
    this.replaces = 0;
    this.begin(tcb);
  }

  /** Sets what follows from the initial sequence number. */
  begin(tcb: Tcb): void {
    tcb.tsOffset = this.secrets.timestampOffset(tcb.laddr, tcb.raddr);
    tcb.sndUna = tcb.recover = tcb.ecnEnd = tcb.iss;
    tcb.sndNxt = tcb.sndEnd = (tcb.iss + 1) | 0;
  }

  onTimer(i: number): void {
    const tcb = this.block(Math.floor((i - 1) / T_COUNT) + 1);
    if (tcb !== null && tcb.state !== st.CLOSED) onTimer(this, tcb, (i - 1) % T_COUNT);
  }

  /** Answers a segment that belongs to no connection (RFC 9293 §3.10.7.1). */
  reset(seg: ArrivedSegment): void {
    sendReset(this, seg);
  }

  timeWaitAck(
    laddr: Ipv4,
    lport: number,
    raddr: Ipv4,
    rport: number,
    seq: number,
    ack: number,
    wnd: number,
    ts: boolean,
    tsOffset: number,
    tsRecent: number,
  ): void {
    sendTimeWaitAck(this, laddr, lport, raddr, rport, seq, ack, wnd, ts, tsOffset, tsRecent);
  }

  /** Frames held by sockets, for the conservation law's itemised right side: unread, out of order. */
  heldUnread(): number {
    let n = 0;
    const { next } = this.ctx.pool;
    for (const tcb of this.blocks) {
      if (tcb === null) continue;
      for (let f = tcb.rcvHead; f !== 0; f = next[f]) n++;
      for (let f = tcb.ofoHead; f !== 0; f = next[f]) n++;
    }
    return n;
  }

  /** Payload frames held by send queues; one that several descriptors share counts once. */
  heldUnacknowledged(): number {
    const { segments } = this;
    const frames = new Set<number>();
    for (const tcb of this.blocks) {
      if (tcb === null) continue;
      for (let s = tcb.sndHead; s !== 0; s = segments.next[s])
        if (segments.frame[s] !== 0) frames.add(segments.frame[s]);
    }
    return frames.size;
  }
}
