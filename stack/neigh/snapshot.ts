/**
 * Reads the rows of a neighbour table from any thread, while its owner goes on writing. Cold: for `tsvs neigh`, metrics
 * and tests.
 *
 * A row whose VERSION is odd, or has moved while it was read, is read again. All words concerned are stored and loaded
 * atomically, in one total order: two equal even versions around the loads mean that no store fell in between.
 */
import { OWN } from '../mem/block.ts';
import type { Ipv4, PortId, Ticks } from '../types.ts';
import { NONE } from './state.ts';
import {
  CONFIRMED,
  FLAGS,
  GENERATION,
  IP,
  MAC_HI,
  MAC_LO,
  PORT,
  PROBES,
  Q_LEN,
  STATE,
  STATIC,
  USED,
  VERSION,
} from './table.ts';

export interface NeighInfo {
  readonly ip: Ipv4;
  readonly port: PortId;
  /** See state.ts; never NONE. */
  readonly state: number;
  readonly macHi: number;
  readonly macLo: number;
  readonly isStatic: boolean;
  readonly generation: number;
  readonly confirmedMs: Ticks;
  readonly usedMs: Ticks;
  readonly probes: number;
  /** Frames that wait for the address. */
  readonly queued: number;
}

/** Attempts per row before it is left out: its owner writes for nanoseconds, we read for nanoseconds. */
const ATTEMPTS = 100;

/** Every entry, in no particular order. `words` comes from `NeighTable.open` or `NeighTable.words`. */
export function listNeighbours(words: Int32Array): NeighInfo[] {
  const found: NeighInfo[] = [];
  const max = words[OWN]!;
  for (let i = 1; i <= max; i++) {
    const info = readRow(words, i << 4);
    if (info !== null) found.push(info);
  }
  return found;
}

function readRow(words: Int32Array, at: number): NeighInfo | null {
  const load = (word: number): number => Atomics.load(words, at + word);
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const version = load(VERSION);
    const state = load(STATE);
    const info: NeighInfo = {
      ip: load(IP),
      port: load(PORT),
      state,
      macHi: load(MAC_HI),
      macLo: load(MAC_LO),
      isStatic: (load(FLAGS) & STATIC) !== 0,
      generation: load(GENERATION),
      confirmedMs: load(CONFIRMED),
      usedMs: load(USED),
      probes: load(PROBES),
      queued: load(Q_LEN),
    };
    if ((version & 1) === 0 && load(VERSION) === version) return state === NONE ? null : info;
  }
  return null;
}
