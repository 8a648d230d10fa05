/**
 * ipvsadm's view of a running tsvs: its table with the numbers of this moment (GET /v1/ipvs), and mutations of it (POST). The rules are
 * those of the tool's own table (src/ipvsadm/model.ts), what they make is checked as a whole configuration, and sent to the worker as one
 * version. Called by changes.ts and server.ts.
 */
import { DestTable, INHIBITED, OVERLOAD } from '../../lb/dest.ts';
import { LISTED, ServiceColumns } from '../../lb/service-columns.ts';
import { type Config, isSchedulerFile, SCHEDULERS } from '../config/model.ts';
import { isErrno, wordsFor } from '../ipvsadm/errno.ts';
import { apply, type Rules } from '../ipvsadm/model.ts';
import type { Mutation, ServiceId } from '../ipvsadm/ops.ts';
import type { Dest, Service } from '../ipvsadm/table.ts';
import { protoOf } from '../workers/pipeline.ts';
import { MAX_CONNS, type WorkerShare } from '../workers/plan.ts';
import type { IpvsChangeReply, IpvsRefusal, IpvsReply, IpvsService } from './api.ts';
import { addressOf, type Endpointed, tableOf, Unsupported, withTable } from './ipvs-config.ts';
import { Ledger, type LedgerStats } from './ledger.ts';
import { ChangeError, type RunningConfig } from './running-config.ts';

/** A file is judged when the worker is to have it. */
const rulesFor = (mutation: Mutation): Rules => {
  const asked = 'settings' in mutation && 'scheduler' in mutation.settings ? mutation.settings.scheduler : '';
  return { schedulers: new Set<string>(isSchedulerFile(asked) ? [asked] : SCHEDULERS) };
};

const NO_STATS: LedgerStats = {
  ...{ conns: 0, inPkts: 0, outPkts: 0, inBytes: 0, outBytes: 0 },
  ...{ cps: 0, inPps: 0, outPps: 0, inBps: 0, outBps: 0 },
};

/** The tables of one worker. */
class Tables {
  private readonly services: ServiceColumns;
  readonly dests: DestTable;
  readonly ledger: Ledger;

  constructor(share: WorkerShare) {
    this.services = ServiceColumns.attach(share.services, 0);
    this.dests = DestTable.attach(share.dests, 0);
    this.ledger = new Ledger(this.services, this.dests);
  }

  zero(service: Endpointed | null): void {
    if (service !== null) {
      const row = this.rowAt(service);
      if (row !== 0) this.ledger.zeroService(row);
      return;
    }
    for (let id = 1; id <= this.services.capacity; id++) if (this.isListed(id)) this.ledger.zeroService(id);
  }

  private isListed(id: number): boolean {
    return this.services.proto[id] !== 0 && (this.services.flags[id]! & LISTED) !== 0;
  }

  /** A service that is new counts from zero. */
  begin(service: ServiceId): void {
    const row = this.serviceRow(service);
    if (row !== 0) this.ledger.beginService(row);
  }

  /** 0 = none. */
  serviceRow(id: ServiceId): number {
    return this.rowAt(addressOf({ id }));
  }

  private rowAt(service: Endpointed): number {
    return this.rowsAt(service).find((row) => this.isListed(row)) ?? 0;
  }

  /** Of the service, and of those that had its place before it and have connections left. */
  private rowsAt({ proto, vip, port }: Endpointed): number[] {
    const { services } = this;
    const number = protoOf(proto);
    const rows: number[] = [];
    for (let row = 1; row <= services.capacity; row++) {
      if (services.vip[row] === vip && services.port[row] === port && services.proto[row] === number) rows.push(row);
    }
    return rows;
  }

  /** Whether connections of the server are left. */
  holds(service: ServiceId, dest: Pick<Dest, 'address' | 'port'>): boolean {
    return this.rowsAt(addressOf({ id: service })).some((row) => this.dests.refs[this.destRow(row, dest)]! > 0);
  }

  destRow(service: number, { address, port }: Pick<Dest, 'address' | 'port'>): number {
    return service === 0 ? 0 : this.dests.find(service, address.words[0]!, port);
  }
}

export class Ipvs {
  /** By worker. */
  private readonly tables: Tables[];
  private readonly hasLayer4: boolean;

  /** Precondition: the workers run, so their tables exist. */
  constructor(shares: readonly WorkerShare[]) {
    this.tables = shares.map((share) => new Tables(share));
    this.hasLayer4 = shares[0]!.connections !== null;
  }

  /** A worker has other memory. */
  replace(worker: number, share: WorkerShare): void {
    this.tables[worker] = new Tables(share);
  }

  /** To be called every ESTIMATE_S of ledger.ts. */
  estimate(): void {
    for (const { ledger } of this.tables) ledger.estimate();
  }

  reply(config: Config): IpvsReply {
    const { services, timeouts } = tableOf(config);
    const size = this.hasLayer4 ? MAX_CONNS.tcp : 0;
    return { size, timeouts, services: services.map((service) => this.withNumbers(service)) };
  }

  /** Throws ChangeError, of which nothing has come then. */
  async change(mutations: readonly Mutation[], atomic: boolean, running: RunningConfig): Promise<IpvsChangeReply> {
    if (!this.hasLayer4) {
      throw new ChangeError(
        409,
        'tsvs was started without layer 4',
        'put layer4 = on into [global] and restart it',
        [],
        'ENOSYS',
      );
    }
    const steps = mutations.map((mutation) => (held: Config) => step(held, mutation));
    const comesBack = mutations.map((mutation) => this.comesBack(mutation));
    const errors = await running.changeEach(steps, atomic);
    const results = errors.map((error) => (error === null ? null : refusalOf(error)));
    mutations.forEach((mutation, i) => {
      if (results[i] === null) this.follow(mutation, comesBack[i]!);
    });
    return { version: running.version, results };
  }

  /** Statistics of a service, or of all, count from zero again. */
  zero(service: Endpointed | null): void {
    for (const tables of this.tables) tables.zero(service);
  }

  /** A server of which connections are left takes them and its statistics back, as in IPVS. */
  private comesBack(mutation: Mutation): boolean {
    if (mutation.op !== 'add-dest') return false;
    try {
      return this.tables.some((tables) => tables.holds(mutation.service, mutation.dest));
    } catch (error) {
      if (error instanceof Unsupported) return false;
      throw error;
    }
  }

  /** What is new counts from zero, whoever had its row before. */
  private follow(mutation: Mutation, comesBack: boolean): void {
    if (mutation.op === 'zero') {
      this.zero(mutation.service === null ? null : addressOf({ id: mutation.service }));
    } else if (mutation.op === 'add-service') {
      for (const tables of this.tables) tables.begin(mutation.service);
    } else if (mutation.op === 'add-dest' && !comesBack) {
      for (const tables of this.tables) {
        const row = tables.destRow(tables.serviceRow(mutation.service), mutation.dest);
        if (row !== 0) tables.ledger.zeroDest(row);
      }
    }
  }

  private withNumbers(service: Service): IpvsService {
    const rows = this.tables.map((tables) => ({ tables, row: tables.serviceRow(service.id) }));
    const known = rows.filter(({ row }) => row !== 0);
    return {
      ...service,
      stats: sumOf(known.map(({ tables, row }) => tables.ledger.service(row))),
      laddrs: service.laddrs.map(({ address, device }) => ({ address, device })),
      dests: service.dests.map((dest) => {
        const found = known
          .map(({ tables, row }) => ({ tables, id: tables.destRow(row, dest) }))
          .filter(({ id }) => id !== 0);
        if (found.length === 0) return { ...dest, stats: NO_STATS };
        const sum = (column: 'activeConns' | 'inactConns' | 'persistent'): number =>
          found.reduce((n, { tables, id }) => n + tables.dests[column][id]!, 0);
        const [{ tables, id }] = found as [(typeof found)[number]];
        const flags = tables.dests.flags[id]!;
        return {
          ...dest,
          stats: sumOf(found.map((one) => one.tables.ledger.dest(one.id))),
          activeConns: sum('activeConns'),
          inactConns: sum('inactConns'),
          persistConns: sum('persistent'),
          inhibited: (flags & INHIBITED) !== 0,
          overloaded: (flags & OVERLOAD) !== 0,
        };
      }),
    };
  }
}

function sumOf(stats: readonly LedgerStats[]): LedgerStats {
  const names = Object.keys(NO_STATS) as (keyof LedgerStats)[];
  return stats.reduce<LedgerStats>(
    (sum, one) => Object.fromEntries(names.map((name) => [name, sum[name] + one[name]])) as unknown as LedgerStats,
    NO_STATS,
  );
}

function refusalOf({ code, message, hint }: ChangeError): IpvsRefusal {
  return { errno: isErrno(code) ? code : 'EINVAL', error: hint === '' ? message : `${message}; ${hint}` };
}

/** The configuration after a mutation. Throws ChangeError with an errno. */
function step(config: Config, mutation: Mutation): Config {
  try {
    if (mutation.op === 'add-service' && isOfProxy(config, mutation.service)) {
      throw new ChangeError(409, 'a service of mode proxy has this address', '', [], 'EEXIST');
    }
    const applied = apply(tableOf(config), mutation, rulesFor(mutation));
    if (!applied.ok) {
      const { errno } = applied;
      throw new ChangeError(errno === 'ESRCH' ? 404 : 409, wordsFor(mutation, errno), '', [], errno);
    }
    return mutation.op === 'zero' ? config : withTable(config, applied.table);
  } catch (error) {
    if (!(error instanceof Unsupported)) throw error;
    throw new ChangeError(409, `not supported yet: ${error.message}`, '', [], 'ENOSYS');
  }
}

function isOfProxy(config: Config, id: ServiceId): boolean {
  const { proto, vip, port } = addressOf({ id });
  return config.services.some(
    (one) => one.mode === 'proxy' && one.proto === proto && one.vip === vip && one.port === port,
  );
}
