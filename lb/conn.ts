/**
 * Tracked connections: one table per protocol and worker. @hot
 * The row's layout is in conn-row.ts, what few packets need in conn-cold.ts, persistence in conn-template.ts. A connection is
 * found by either of its tuples through one index, which holds hashes and rows, not keys: a packet costs one hash, one line of
 * the index and the row's line. For a burst: `hash` all, `touchAll`, `guessAll`, then `confirm` each.
 *
 * Ids are 1..max, last in first out. All memory is reserved in the block the caller gives and touched only as ids are used for the first
 * time; rows never move, the index grows a few slots with each connection (mem/hash-index.ts): nothing pauses.
 *
 * A packet found, its state, timer and counters brought up to date, takes 47 ns with a thousand flows and 120 ns with a million;
 * one at a time 40 and 400 ns (same machine as in mem/hash-index.ts). A connection of nine packets, opened and closed, takes 460 ns.
 *
 * Timers are lazy: a packet moves DUE in the row; the wheel's node is moved when it fires before DUE, or when DUE is to come
 * earlier than it was. Each arming adds up to a second at random, so that what began together does not end together.
 *
 * Called by lb/core.ts (find, open, step, close) and by control (next, close). The owner is told of each end before the row is
 * gone: it sends resets, gives the local port back and takes the connection from its server's counts (lb/dest.ts).
 *
 * | a connection  | here                | at its server (lb/dest.ts), by the caller |
 * | ------------- | ------------------- | ----------------------------------------- |
 * | is opened     | `open`              | connOpen                                  |
 * | changes state | `step`: ACTIVATED   | connActive                                |
 * |               | `step`: DEACTIVATED | connInactive                              |
 * | ends          | `owner.onEnd`       | connClose, active if `isActive(row)`      |
 */
import { HashIndex, indexSlotsFor } from '../stack/mem/hash-index.ts';
import { hsiphash3 } from '../stack/mem/hsiphash.ts';
import { planRegion } from '../stack/mem/region.ts';
import { Slab } from '../stack/mem/slab.ts';
import type { TimerHandler, TimerRange, Timers } from '../stack/timer/timers.ts';
import type { Ipv4, Micros, Random, Ticks } from '../stack/types.ts';
import { ConnCold } from './conn-cold.ts';
import * as c from './conn-row.ts';

export interface ConnConfig {
  /** Connections at most. */
  readonly max: number;
  /** Bit s is set when connections in state s count as active at their server (lb/proto). */
  readonly activeStates: number;
}

/** The clock and the randomness of this worker: a Context. */
export interface ConnClock {
  readonly now: Micros;
  readonly nowMs: Ticks;
  readonly random: Random;
}

export interface ConnOwner {
  /** The connection ends, END_*. The row is still whole, and must not be closed from here. */
  onEnd(row: number, end: number): void;
}

/** What templates promise the table whose connections they control. */
export interface Controller {
  gain(template: number): void;
  lose(template: number): void;
}

/** Until the first change of state, milliseconds. */
export const INIT_TIMEOUT_MS = 3000;
/** A template whose time is over while connections of it live stays for another minute, as in LVS. */
const CONTROL_RENEWAL_MS = 60_000;

/** Rows with one of these are in no index. */
const NOT_FOUND = c.F_INVALID | c.F_ONE_PACKET;

/** `step`: the connection now counts as active at its server, or no longer does. 0: neither. */
export const ACTIVATED = 1;
export const DEACTIVATED = 2;

/** `ConnTable.refusal`: no row or no room in the index; or one of the tuples is another connection's, `rival`. */
export const REFUSED_FULL = 1;
export const REFUSED_IN = 2;
export const REFUSED_OUT = 3;

/** A connection to be opened. A worker reuses one; every field is to be set. */
export class ConnSpec {
  caddr: Ipv4 = 0;
  vaddr: Ipv4 = 0;
  cport = 0;
  vport = 0;
  raddr: Ipv4 = 0;
  laddr: Ipv4 = 0;
  rport = 0;
  lport = 0;
  /** FNAT, NAT, ... */
  mode = 0;
  /** One that counts as inactive: the first packet's `step` comes after. */
  state = 0;
  /** F_* from F_OPENED_OUT on, and F_ONE_PACKET, F_TEMPLATE. */
  flags = 0;
  dest = 0;
  /** 0..65535. */
  service = 0;
  timeoutMs = INIT_TIMEOUT_MS;
}

export class ConnTable implements TimerHandler {
  /** Rows are 1..max. */
  readonly max: number;
  readonly rows: Int32Array;
  readonly cold: ConnCold;
  /** Why the last `open` gave 0, and which hit was in its way. */
  refusal = 0;
  rival = 0;

  private readonly slab: Slab;
  private readonly index: HashIndex;
  private readonly timers: TimerRange;
  private readonly clock: ConnClock;
  private readonly owner: ConnOwner;
  private readonly controller: Controller | null;
  private readonly activeStates: number;
  private readonly seed0: number;
  private readonly seed1: number;

  /**
   * @param memory zeroed (`pageAligned`, or rows are no cache lines), `bytes(max)` from `byteOffset`, a multiple of 64, on
   * @param timers `max` of them are taken
   * @param controller where `control` finds templates; null in the table of templates itself
   */
  constructor(
    memory: SharedArrayBuffer,
    byteOffset: number,
    config: ConnConfig,
    clock: ConnClock,
    timers: Timers,
    owner: ConnOwner,
    controller: Controller | null = null,
  ) {
    const { max } = config;
    const { at } = planConnTable(max, byteOffset);
    this.max = max;
    this.slab = Slab.create(memory, at.slab, { ids: max });
    this.rows = new Int32Array(memory, at.rows, (max + 1) * c.ROW_WORDS);
    this.cold = new ConnCold(memory, at.cold, this.rows, max);
    this.index = HashIndex.create(memory, at.index, indexConfig(max));
    this.clock = clock;
    this.timers = timers.range(max, this);
    this.owner = owner;
    this.controller = controller;
    this.activeStates = config.activeStates;
    this.seed0 = clock.random.next();
    this.seed1 = clock.random.next();
  }

  /** Bytes of address space; used ones grow with the rows in use. */
  static bytes(max: number): number {
    return planConnTable(max, 0).bytes;
  }

  size(): number {
    return this.slab.used();
  }

  /** Keyed hash of a packet's <source, destination, ports>. */
  hash(src: Ipv4, dst: Ipv4, ports: number): number {
    return hsiphash3(this.seed0, this.seed1, src, dst, ports);
  }

  /** First pass over a burst: loads the lines of the index. Use the result, or the loads are optimised away. */
  touchAll(hashes: Int32Array, n: number): number {
    return this.index.touchAll(hashes, n);
  }

  /** Second pass: loads the rows the packets probably belong to, and puts these guesses into `hits`. Use the result. */
  guessAll(hashes: Int32Array, hits: Int32Array, n: number): number {
    const { index, rows } = this;
    let sink = 0;
    for (let i = 0; i < n; i++) {
      const hit = index.first(hashes[i]);
      hits[i] = hit;
      sink ^= rows[c.rowOf(hit) << c.ROW_SHIFT];
    }
    return sink;
  }

  /** Third pass: `findHashed`, given the guess; right also if connections came and went since `guessAll`. */
  confirm(guess: number, h: number, src: Ipv4, dst: Ipv4, ports: number): number {
    const { rows } = this;
    const row = c.rowOf(guess) << c.ROW_SHIFT;
    const at = row + (guess & 1 ? c.RADDR : c.CADDR);
    if (rows[at] === src && rows[at + 1] === dst && rows[at + 2] === ports && (rows[row + c.META] & NOT_FOUND) === 0) {
      if (guess !== 0) return guess;
    }
    return this.findHashed(h, src, dst, ports);
  }

  /** The connection a packet belongs to, and its direction: `rowOf`, `dirOf`. 0 = none. */
  find(src: Ipv4, dst: Ipv4, ports: number): number {
    return this.findHashed(this.hash(src, dst, ports), src, dst, ports);
  }

  /** `find` with `h = hash(src, dst, ports)`. */
  findHashed(h: number, src: Ipv4, dst: Ipv4, ports: number): number {
    const { rows } = this;
    const { slots } = this.index;
    for (let s = this.index.start(h); ; s += 2) {
      const hit = slots[s + 1];
      if (hit === 0) return 0;
      if (slots[s] !== h) continue;
      const at = (c.rowOf(hit) << c.ROW_SHIFT) + (c.dirOf(hit) === c.OUT ? c.RADDR : c.CADDR);
      if (rows[at] === src && rows[at + 1] === dst && rows[at + 2] === ports) return hit;
    }
  }

  /** A new connection, counted as inactive. 0 when it is refused (`refusal`); nothing has been changed then. */
  open(spec: ConnSpec): number {
    const { rows, clock } = this;
    const cvports = (spec.cport << 16) | spec.vport;
    const rlports = (spec.rport << 16) | spec.lport;
    const indexed = (spec.flags & c.F_ONE_PACKET) === 0;
    const both = indexed && (spec.flags & c.F_TEMPLATE) === 0 && c.seesReplies(spec.mode);
    this.refusal = 0;
    this.rival = 0;
    const hashIn = this.hash(spec.caddr, spec.vaddr, cvports);
    const hashOut = this.hash(spec.raddr, spec.laddr, rlports);
    if (indexed && this.taken(hashIn, spec.caddr, spec.vaddr, cvports)) return this.refuse(REFUSED_IN);
    if (both) {
      const same = spec.caddr === spec.raddr && spec.vaddr === spec.laddr && cvports === rlports;
      if (same || this.taken(hashOut, spec.raddr, spec.laddr, rlports)) return this.refuse(REFUSED_OUT);
    }
    const row = this.slab.alloc();
    if (row === 0) return this.refuse(REFUSED_FULL);
    const at = row << c.ROW_SHIFT;
    rows[at + c.CADDR] = spec.caddr;
    rows[at + c.VADDR] = spec.vaddr;
    rows[at + c.CVPORTS] = cvports;
    rows[at + c.RADDR] = spec.raddr;
    rows[at + c.LADDR] = spec.laddr;
    rows[at + c.RLPORTS] = rlports;
    rows[at + c.META] = spec.flags | (spec.mode << c.MODE_SHIFT) | spec.state;
    rows[at + c.DEST] = spec.dest;
    rows[at + c.SERVICE_HOP] = spec.service << 16;
    rows[at + c.DUE] = (clock.nowMs + spec.timeoutMs) | 0;
    for (let i = c.SEQ_DELTA; i < c.ROW_WORDS; i++) rows[at + i] = 0;
    // A connection's means nothing without F_CONTROLLED; to clear it would cost a line of memory.
    if ((spec.flags & c.F_TEMPLATE) !== 0) this.cold.control[row] = 0;
    this.cold.openedS[row] = Math.floor(clock.now / 1e6);
    if (!indexed) return row;
    if (!this.enter(row, hashIn, both, hashOut)) {
      this.slab.free(row);
      return this.refuse(REFUSED_FULL);
    }
    this.arm(row, spec.timeoutMs);
    return row;
  }

  /**
   * A packet that belongs: the connection enters `state` (or stays in it) and is due in `timeoutMs` from now.
   * ACTIVATED or DEACTIVATED when the server's counts are to change.
   */
  step(row: number, state: number, timeoutMs: number): number {
    const { rows } = this;
    this.refresh(row, timeoutMs);
    const at = (row << c.ROW_SHIFT) + c.META;
    const meta = rows[at];
    if ((meta & c.STATE_MASK) === state) return 0;
    const active = ((this.activeStates >>> state) & 1) !== 0;
    rows[at] = (meta & ~(c.STATE_MASK | c.F_ACTIVE)) | state | (active ? c.F_ACTIVE : 0);
    if (active === ((meta & c.F_ACTIVE) !== 0)) return 0;
    return active ? ACTIVATED : DEACTIVATED;
  }

  /** Due in `timeoutMs` from now, in the same state. */
  refresh(row: number, timeoutMs: number): void {
    const at = (row << c.ROW_SHIFT) + c.DUE;
    const due = (this.clock.nowMs + timeoutMs) | 0;
    const before = this.rows[at];
    this.rows[at] = due;
    if (((due - before) | 0) < 0) this.arm(row, timeoutMs);
  }

  state(row: number): number {
    return this.rows[(row << c.ROW_SHIFT) + c.META] & c.STATE_MASK;
  }

  isActive(row: number): boolean {
    return (this.rows[(row << c.ROW_SHIFT) + c.META] & c.F_ACTIVE) !== 0;
  }

  service(row: number): number {
    return this.rows[(row << c.ROW_SHIFT) + c.SERVICE_HOP] >>> 16;
  }

  /** Milliseconds until it is due, 0 when that has passed. */
  dueIn(row: number): number {
    return Math.max(0, (this.rows[(row << c.ROW_SHIFT) + c.DUE] - this.clock.nowMs) | 0);
  }

  /** Makes the connection one of the template's, which will live at least as long. Precondition: it is of none. */
  control(row: number, template: number): void {
    this.rows[(row << c.ROW_SHIFT) + c.META] |= c.F_CONTROLLED;
    this.cold.control[row] = template;
    this.controller!.gain(template);
  }

  /** Takes it out of the index: no packet finds it again, its timer runs on. */
  invalidate(row: number): void {
    const at = (row << c.ROW_SHIFT) + c.META;
    if ((this.rows[at] & NOT_FOUND) !== 0) return;
    this.leave(row);
    this.rows[at] |= c.F_INVALID;
  }

  /** Ends the connection: the owner is told, then the row is free. Throws when there is none: its owner is broken. */
  close(row: number, end: number): void {
    if (!this.slab.isUsed(row)) throw unused(row);
    this.owner.onEnd(row, end);
    const meta = this.rows[(row << c.ROW_SHIFT) + c.META];
    if ((meta & NOT_FOUND) === 0) this.leave(row);
    if ((meta & c.F_ONE_PACKET) === 0) this.timers.cancel(row);
    if ((meta & c.F_CONTROLLED) !== 0) this.controller!.lose(this.cold.control[row]);
    this.rows[(row << c.ROW_SHIFT) + c.META] = c.F_INVALID;
    this.slab.free(row);
  }

  /** The next row in use after `row`, 0 at the end. To list or flush a few at a time; rows may come and go between. */
  next(row: number): number {
    const { slab } = this;
    const highest = slab.highest();
    for (let id = row + 1; id <= highest; id++) if (slab.isUsed(id)) return id;
    return 0;
  }

  onTimer(row: number): void {
    const at = row << c.ROW_SHIFT;
    const left = (this.rows[at + c.DUE] - this.clock.nowMs) | 0;
    if (left > 0) {
      this.arm(row, left);
    } else if ((this.rows[at + c.META] & c.F_TEMPLATE) !== 0 && this.cold.control[row] > 0) {
      this.rows[at + c.DUE] = (this.clock.nowMs + CONTROL_RENEWAL_MS) | 0;
      this.arm(row, CONTROL_RENEWAL_MS);
    } else {
      this.close(row, c.END_EXPIRED);
    }
  }

  /** At `ms` from now and up to a second more. */
  private arm(row: number, ms: number): void {
    const jitter = ((this.clock.random.next() >>> 16) * 1001) >>> 16;
    this.timers.arm(row, (this.clock.nowMs + ms + jitter) | 0);
  }

  private taken(h: number, src: Ipv4, dst: Ipv4, ports: number): boolean {
    this.rival = this.findHashed(h, src, dst, ports);
    return this.rival !== 0;
  }

  private refuse(why: number): number {
    this.refusal = why;
    return 0;
  }

  private enter(row: number, hashIn: number, both: boolean, hashOut: number): boolean {
    const { index } = this;
    const hit = row << 1;
    if (!index.insert(hashIn, hit | c.IN)) return false;
    if (!both || index.insert(hashOut, hit | c.OUT)) return true;
    index.remove(hashIn, hit | c.IN);
    return false;
  }

  private leave(row: number): void {
    const { rows, index } = this;
    const at = row << c.ROW_SHIFT;
    const hit = row << 1;
    index.remove(this.hash(rows[at + c.CADDR], rows[at + c.VADDR], rows[at + c.CVPORTS]), hit | c.IN);
    const meta = rows[at + c.META];
    if ((meta & c.F_TEMPLATE) !== 0 || !c.seesReplies((meta & c.MODE_MASK) >> c.MODE_SHIFT)) return;
    index.remove(this.hash(rows[at + c.RADDR], rows[at + c.LADDR], rows[at + c.RLPORTS]), hit | c.OUT);
  }
}

/** Apart, and so is its like in the slab: V8 would make the number's text, which both need, before it asks for either. */
function unused(row: number): Error {
  return new Error(`connection ${row} is not in use`);
}

/** Two entries per connection at most; small at first, so that few connections share few lines. */
function indexConfig(max: number): { slots: number; maxSlots: number } {
  return { slots: 1024, maxSlots: indexSlotsFor(2 * max) };
}

/** Where the parts of a table of `max` connections are. */
export function planConnTable(max: number, start: number) {
  const rows = (max + 1) * c.ROW_WORDS * 4;
  return planRegion(
    {
      rows,
      cold: ConnCold.bytes(max),
      slab: Slab.bytes({ ids: max }),
      index: HashIndex.bytes(indexConfig(max)),
    },
    start,
  );
}
