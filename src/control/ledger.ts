/**
 * Totals since the last zeroing, and rates, of services and servers: what `ipvsadm --stats` and `--rate` show. The worker only
 * counts; zeroing and estimating is done here, beside its columns, so that it costs packets nothing and other readers of the
 * columns see totals that never fall.
 *
 * Rates are LVS's: every two seconds the difference to the last reading moves the average by a quarter of the way, in fixed point
 * (10 bits for connections and packets, 5 for bytes).
 */
import type { DestTable } from '../../lb/dest.ts';
import type { ServiceColumns } from '../../lb/service-columns.ts';

/** Seconds between two readings; the fixed point below counts on it. */
export const ESTIMATE_S = 2;

/** Totals and rates per second. */
export interface LedgerStats {
  readonly conns: number;
  readonly inPkts: number;
  readonly outPkts: number;
  readonly inBytes: number;
  readonly outBytes: number;
  readonly cps: number;
  readonly inPps: number;
  readonly outPps: number;
  readonly inBps: number;
  readonly outBps: number;
}

const COLUMNS = ['conns', 'inPkts', 'outPkts', 'inBytes', 'outBytes'] as const;
type Counted = Readonly<Record<(typeof COLUMNS)[number], Float64Array>>;

/** Fixed point: what a difference of one over two seconds is, and what one per second is. */
const SCALES = [
  { difference: 512, unit: 1024 },
  { difference: 512, unit: 1024 },
  { difference: 512, unit: 1024 },
  { difference: 16, unit: 32 },
  { difference: 16, unit: 32 },
] as const;

class Account {
  /** Whose row it is. */
  readonly owner: string;
  readonly zero: number[];
  readonly last: number[];
  readonly average = COLUMNS.map(() => 0);

  constructor(owner: string, totals: readonly number[], isNew: boolean) {
    this.owner = owner;
    // What a row counted before anybody looked is part of its totals.
    this.zero = isNew ? COLUMNS.map(() => 0) : [...totals];
    this.last = [...totals];
  }
}

/** The accounts of one table. */
class Book {
  private readonly columns: Counted;
  private readonly ownerOf: (id: number) => string;
  private readonly accounts = new Map<number, Account>();

  constructor(columns: Counted, ownerOf: (id: number) => string) {
    this.columns = columns;
    this.ownerOf = ownerOf;
  }

  estimate(id: number): void {
    const account = this.account(id);
    this.totals(id).forEach((total, i) => {
      const rate = (total - account.last[i]!) * SCALES[i]!.difference;
      account.average[i]! += Math.floor((rate - account.average[i]!) / 4);
      account.last[i] = total;
    });
  }

  zero(id: number): void {
    this.accounts.set(id, new Account(this.ownerOf(id), this.totals(id), false));
  }

  stats(id: number): LedgerStats {
    const { zero, average } = this.account(id);
    const [conns, inPkts, outPkts, inBytes, outBytes] = this.totals(id).map((total, i) => total - zero[i]!);
    const rates = average.map((value, i) => Math.floor((value + SCALES[i]!.unit / 2 - 1) / SCALES[i]!.unit));
    const [cps, inPps, outPps, inBps, outBps] = rates;
    return {
      ...{ conns: conns!, inPkts: inPkts!, outPkts: outPkts!, inBytes: inBytes!, outBytes: outBytes! },
      ...{ cps: cps!, inPps: inPps!, outPps: outPps!, inBps: inBps!, outBps: outBps! },
    };
  }

  /** A row that has passed to somebody else begins anew. */
  private account(id: number): Account {
    const owner = this.ownerOf(id);
    const known = this.accounts.get(id);
    const totals = this.totals(id);
    if (known !== undefined && known.owner === owner && totals.every((total, i) => total >= known.zero[i]!))
      return known;
    const account = new Account(owner, totals, true);
    this.accounts.set(id, account);
    return account;
  }

  private totals(id: number): number[] {
    return COLUMNS.map((name) => this.columns[name][id]!);
  }
}

export class Ledger {
  private readonly services: ServiceColumns;
  private readonly dests: DestTable;
  private readonly ofServices: Book;
  private readonly ofDests: Book;

  constructor(services: ServiceColumns, dests: DestTable) {
    this.services = services;
    this.dests = dests;
    this.ofServices = new Book(services, (id) => `${services.proto[id]} ${services.vip[id]} ${services.port[id]}`);
    this.ofDests = new Book(dests, (id) => `${dests.service[id]} ${dests.addr[id]} ${dests.port[id]}`);
  }

  /** To be called every ESTIMATE_S. */
  estimate(): void {
    const { services, dests } = this;
    for (let id = 1; id <= services.capacity; id++) if (services.proto[id] !== 0) this.ofServices.estimate(id);
    for (let id = 1; id <= dests.capacity; id++) if (dests.service[id] !== 0) this.ofDests.estimate(id);
  }

  /** A service and its servers count from zero again. */
  zeroService(id: number): void {
    this.ofServices.zero(id);
    for (let dest = 1; dest <= this.dests.capacity; dest++) if (this.dests.service[dest] === id) this.zeroDest(dest);
  }

  /** A service alone: its servers may be those of one that had its place before. */
  beginService(id: number): void {
    this.ofServices.zero(id);
  }

  zeroDest(id: number): void {
    this.ofDests.zero(id);
  }

  service(id: number): LedgerStats {
    return this.ofServices.stats(id);
  }

  dest(id: number): LedgerStats {
    return this.ofDests.stats(id);
  }
}
