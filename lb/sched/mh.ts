/**
 * Maglev hashing: the client's address decides, through a table that is nearly even and nearly the same
 * when servers come and go. Directors with the same servers have the same table, whatever the order of adding: servers take
 * their turns from the highest address and port down. IPVS takes them in the order of its list, newest first; so the
 * tables agree with a kernel's whose servers were added in ascending order.
 *
 * Options: `port` and `fallback` as of sh; `table`, the number of entries. A hundred entries per server keep
 * shares within 1 % of each other. A server whose weight becomes 0 keeps the entries it had (as in IPVS): with `fallback` only
 * its own clients move, and they come back with it; without, they are refused until it is removed.
 */

import {
  eligible,
  type FlowKey,
  type SchedOptions,
  type Scheduler,
  type SchedulerFactory,
  type SchedView,
} from './contract.ts';
import { buildTable, type Claim, entryOf, TABLE_SIZES } from './maglev.ts';

/** Entries a fallback looks at per server of the list before it takes whoever is left. */
const TRIES_PER_SERVER = 16;

class Maglev implements Scheduler {
  readonly name = 'mh';
  readonly admits: 'clients' | 'connections';
  private readonly view: SchedView;
  private readonly byPort: boolean;
  private readonly fallback: boolean;
  private readonly size: number;
  private claims: readonly Claim[] = [];
  private table: Int32Array<ArrayBuffer>;

  constructor(view: SchedView, options: SchedOptions) {
    this.view = view;
    this.byPort = options['port'] === 'on';
    this.admits = this.byPort ? 'connections' : 'clients';
    this.fallback = options['fallback'] === 'on';
    this.size = Number(options['table'] ?? TABLE_SIZES[0]);
    this.table = new Int32Array(this.size);
    this.update();
  }

  update(): void {
    const claims = this.newClaims();
    if (sameClaims(claims, this.claims)) return;
    this.claims = claims;
    this.table = buildTable(claims, this.size);
  }

  /** @hot */
  pick(flow: FlowKey): number {
    const value = this.byPort ? flow.src + flow.sport : flow.src;
    const entry = entryOf(value, this.size);
    const id = this.table[entry]!;
    if (id === 0) return 0;
    if (eligible(this.view.dests, id, flow)) return id;
    return this.fallback ? this.standIn(flow, value, entry) : 0;
  }

  explain(flow: FlowKey): string {
    const what = this.byPort ? 'source address and port' : 'source address';
    const entry = entryOf(this.byPort ? flow.src + flow.sport : flow.src, this.size);
    return `${what} on entry ${entry} of ${this.size}${this.fallback ? ', with fallback' : ''}`;
  }

  /** IPVS's tries, each a hash of its own, for as long as they are likely to help. */
  private standIn(flow: FlowKey, value: number, entry: number): number {
    const { dests, ids, count } = this.view;
    let left = 0;
    for (let i = 0; i < count; i++) {
      left = ids[(entry + i) % count]!;
      if (eligible(dests, left, flow)) break;
      left = 0;
    }
    if (left === 0) return 0;
    const tries = Math.min(this.size, TRIES_PER_SERVER * count);
    for (let i = 0; i < tries; i++) {
      const id = this.table[entryOf(value + ((entry + i) % this.size), this.size)]!;
      if (eligible(dests, id, flow)) return id;
    }
    return left;
  }

  /** Who has a share now, each with the last weight above 0 that it had while listed. */
  private newClaims(): Claim[] {
    const { dests, ids, count } = this.view;
    const before = new Map(this.claims.map((claim) => [claim.id, claim]));
    const claims: Claim[] = [];
    for (const id of ids.subarray(0, count)) {
      const addr = dests.addr[id]!;
      const port = dests.port[id]!;
      const old = before.get(id);
      const last = old !== undefined && old.addr === addr && old.port === port ? old.weight : 0;
      const weight = dests.weight[id]! || last;
      if (weight > 0) claims.push({ id, addr, port, weight });
    }
    return claims.sort((a, b) => (b.addr >>> 0) - (a.addr >>> 0) || b.port - a.port);
  }
}

function sameClaims(a: readonly Claim[], b: readonly Claim[]): boolean {
  const same = (x: Claim, y: Claim): boolean =>
    x.id === y.id && x.addr === y.addr && x.port === y.port && x.weight === y.weight;
  return a.length === b.length && a.every((claim, i) => same(claim, b[i]!));
}

export const mh: SchedulerFactory = {
  name: 'mh',
  summary: 'Maglev hashing of the client address: even shares, few moves when servers come and go',
  options: { port: ['off', 'on'], fallback: ['off', 'on'], table: TABLE_SIZES.map(String) },
  mayRefuse: (options) => (options['fallback'] === 'on' ? null : 'without fallback an entry has no stand-in'),
  create: (view, options) => new Maglev(view, options),
};
