/**
 * Locality-based least connections with replication: a destination address has a set of servers and goes to the one of
 * them with the least load per weight. When that is overloaded while another server is half idle, or none of the set can take
 * connections, the choice of wlc joins the set. A set of several that has not changed for 24 hours loses its most loaded member.
 *
 * Sets are chains of cells in fixed columns; when the cells are used up a choice is made but not remembered.
 */

import { shareOf } from '../dest.ts';
import { eligible, type FlowKey, type Scheduler, type SchedulerFactory, type SchedView } from './contract.ts';
import { DestCache, EXPIRE_S, known, seconds } from './dest-cache.ts';
import { connLoad, leastWeighted, relievable } from './load.ts';

/** Two servers per address on average. */
const CELLS = 2 * DestCache.CAPACITY;

class LocalityReplicated implements Scheduler {
  readonly name = 'lblcr';
  private readonly view: SchedView;
  /** Destination address -> the set's first cell. Newest members come first. */
  private readonly cache = new DestCache();
  /** By entry of the cache: when the set last changed, in seconds. */
  private readonly changed = new Int32Array(DestCache.CAPACITY);
  /** By cell, 1..CELLS: its server and the next cell, 0 = the last. Free cells are a chain as well. */
  private readonly server = new Int32Array(CELLS + 1);
  private readonly next = new Int32Array(CELLS + 1);
  private free = 1;

  constructor(view: SchedView) {
    this.view = view;
    for (let cell = 1; cell < CELLS; cell++) this.next[cell] = cell + 1;
  }

  update(): void {
    const { ids, count } = this.view;
    const listed = new Set(ids.subarray(0, count));
    this.cache.forEach((entry) => {
      for (let cell = this.cache.value[entry]!; cell !== 0; ) {
        const next = this.next[cell]!;
        if (!listed.has(this.server[cell]!)) this.erase(entry, cell);
        cell = next;
      }
    });
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const { view, cache } = this;
    const nowS = seconds(flow.now);
    let entry = cache.find(flow.dst, nowS);
    if (entry >= 0) {
      const id = this.leastOf(entry, flow);
      const first = cache.value[entry]!;
      if (this.next[first] !== 0 && nowS - this.changed[entry]! > EXPIRE_S) {
        this.erase(entry, this.mostLoaded(first));
        this.changed[entry] = nowS;
      }
      if (id !== 0 && !relievable(view, id)) return id;
    }
    const id = leastWeighted(view, flow);
    if (id === 0) return 0;
    if (entry < 0) {
      entry = cache.claim(flow.dst, nowS);
      while (cache.value[entry] !== 0) this.erase(entry, cache.value[entry]!);
    }
    this.join(entry, id, nowS);
    return id;
  }

  keep(): () => void {
    const { changed, server, next, free } = this;
    const columns = [changed, server, next];
    const kept = columns.map((column) => column.slice());
    const cache = this.cache.keep();
    return () => {
      cache();
      columns.forEach((column, i) => void column.set(kept[i]!));
      this.free = free;
    };
  }

  explain(flow: FlowKey): string {
    return known(this.cache, flow);
  }

  /** The eligible server of a set with the least load per weight, of equals the newest; 0 = none. */
  private leastOf(entry: number, flow: FlowKey): number {
    const { dests } = this.view;
    let least = 0;
    for (let cell = this.cache.value[entry]!; cell !== 0; cell = this.next[cell]!) {
      const id = this.server[cell]!;
      if (!eligible(dests, id, flow)) continue;
      if (least === 0 || connLoad(dests, least) * shareOf(dests, id) > connLoad(dests, id) * shareOf(dests, least)) {
        least = id;
      }
    }
    return least;
  }

  /** The cell of the server with the most load per weight in a set; one of weight 0 counts as the most loaded. */
  private mostLoaded(first: number): number {
    const { dests } = this.view;
    let most = first;
    for (let cell = this.next[first]!; cell !== 0; cell = this.next[cell]!) {
      const a = this.server[most]!;
      const b = this.server[cell]!;
      if (dests.weight[a] === 0) break;
      if (dests.weight[b] === 0 || connLoad(dests, a) * dests.weight[b]! < connLoad(dests, b) * dests.weight[a]!) {
        most = cell;
      }
    }
    return most;
  }

  private join(entry: number, id: number, nowS: number): void {
    const { cache } = this;
    for (let cell = cache.value[entry]!; cell !== 0; cell = this.next[cell]!) if (this.server[cell] === id) return;
    const cell = this.free;
    if (cell === 0) return;
    this.free = this.next[cell]!;
    this.server[cell] = id;
    this.next[cell] = cache.value[entry]!;
    cache.value[entry] = cell;
    this.changed[entry] = nowS;
  }

  /** Takes a cell out of a set; an entry whose set is empty is free. */
  private erase(entry: number, cell: number): void {
    const { cache, next } = this;
    if (cache.value[entry] === cell) {
      cache.value[entry] = next[cell]!;
    } else {
      let before = cache.value[entry]!;
      while (next[before] !== cell) before = next[before]!;
      next[before] = next[cell]!;
    }
    next[cell] = this.free;
    this.free = cell;
  }
}

export const lblcr: SchedulerFactory = {
  name: 'lblcr',
  summary: 'locality-based least connections with replication: an address asked for has a set of servers that grows',
  options: {},
  create: (view) => new LocalityReplicated(view),
};
