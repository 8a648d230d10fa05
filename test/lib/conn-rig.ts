/** A connection table under a clock that tests move, and an owner that remembers what ended and why. */
import { type ConnOwner, ConnSpec, ConnTable, type Controller } from '../../lb/conn.ts';
import { END_NAMES, FNAT } from '../../lb/conn-row.ts';
import { Templates } from '../../lb/conn-template.ts';
import { Timers } from '../../stack/timer/timers.ts';
import type { Random } from '../../stack/types.ts';
import { seeded } from './random.ts';

export class ConnRig implements ConnOwner {
  now = 5_000_000;
  nowMs = 5000;
  readonly random: Random;
  readonly timers: Timers;
  readonly conns: ConnTable;
  readonly templates: Templates;
  /** `row reason` of each connection that ended, in order. */
  readonly ended: string[] = [];
  /** Looks at a connection that ends, while it is whole. */
  onEndProbe: (row: number, end: number) => void = () => {};

  /** @param startMs what the tables' clock begins with, as int32 */
  constructor(max: number, activeStates = 0b10, startMs = 5000, seed = 1) {
    this.nowMs = startMs;
    this.random = seeded(seed);
    this.timers = new Timers(max + 16 + 1, startMs);
    const sab = new SharedArrayBuffer(ConnTable.bytes(max) + ConnTable.bytes(16));
    const templateOwner: ConnOwner = { onEnd: (row, end) => this.ended.push(`template ${row} ${END_NAMES[end]}`) };
    this.templates = new Templates(sab, ConnTable.bytes(max), 16, this, this.timers, templateOwner);
    const controller: Controller = this.templates;
    this.conns = new ConnTable(sab, 0, { max, activeStates }, this, this.timers, this, controller);
  }

  onEnd(row: number, end: number): void {
    this.ended.push(`${row} ${END_NAMES[end]}`);
    this.onEndProbe(row, end);
  }

  /** Lets time pass, a millisecond at a time. */
  pass(ms: number): void {
    for (let i = 0; i < ms; i++) {
      this.now += 1000;
      this.nowMs = (this.nowMs + 1) | 0;
      this.timers.advance(this.nowMs);
    }
  }
}

/** A FullNAT connection of client number `i` (0..2^20) by way of a local port that is its own. */
export function specOf(i: number, change: Partial<ConnSpec> = {}): ConnSpec {
  const spec = new ConnSpec();
  spec.caddr = 0x0a000000 + (i >> 4);
  spec.cport = 10000 + (i & 15);
  spec.vaddr = 0x0a640001;
  spec.vport = 80;
  spec.raddr = 0x0ac80001 + (i % 3);
  spec.rport = 8080;
  spec.laddr = 0x0ac900fe + (i >> 15);
  spec.lport = 1025 + (i & 0x7fff);
  spec.mode = FNAT;
  spec.service = 7;
  spec.dest = 1 + (i % 3);
  return Object.assign(spec, change);
}

/** Ports of a packet in one word. */
export const ports = (source: number, destination: number): number => (source << 16) | destination;
