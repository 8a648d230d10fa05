/**
 * ipvsadm's view of a running tsvs: its table with the numbers of this moment (GET /v1/ipvs), and mutations of it (POST). The rules are
 * those of the tool's own table (src/ipvsadm/model.ts), what they make is checked as a whole configuration, and sent to the worker as one
 * version. Called by changes.ts and server.ts.
 */
import { DestTable, INHIBITED, OVERLOAD } from '../../lb/dest.ts';
import { LISTED, ServiceColumns } from '../../lb/service.ts';
import { type Config, SCHEDULERS } from '../config/model.ts';
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

const RULES: Rules = { schedulers: new Set<string>(SCHEDULERS) };

const NO_STATS: LedgerStats = {
  ...{ conns: 0, inPkts: 0, outPkts: 0, inBytes: 0, outBytes: 0 },
  ...{ cps: 0, inPps: 0, outPps: 0, inBps: 0, outBps: 0 },
};

export class Ipvs {
  private readonly services: ServiceColumns;
  private readonly dests: DestTable;
  private readonly ledger: Ledger;
  private readonly hasLayer4: boolean;

  /** Precondition: the worker runs, so its tables exist. */
  constructor(share: WorkerShare) {
    this.services = ServiceColumns.attach(share.services, 0);
    this.dests = DestTable.attach(share.dests, 0);
    this.ledger = new Ledger(this.services, this.dests);
    this.hasLayer4 = share.connections !== null;
  }

  /** To be called every ESTIMATE_S of ledger.ts. */
  estimate(): void {
    this.ledger.estimate();
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
    const errors = await running.changeEach(steps, atomic);
    const results = errors.map((error) => (error === null ? null : refusalOf(error)));
    mutations.forEach((mutation, i) => {
      if (results[i] === null) this.follow(mutation);
    });
    return { version: running.version, results };
  }

  /** Statistics of a service, or of all, count from zero again. */
  zero(service: Endpointed | null): void {
    if (service !== null) {
      const row = this.rowAt(service);
      if (row !== 0) this.ledger.zeroService(row);
      return;
    }
    for (let id = 1; id <= this.services.capacity; id++) if (this.isListed(id)) this.ledger.zeroService(id);
  }

  /** What is new counts from zero, whoever had its row before. */
  private follow(mutation: Mutation): void {
    if (mutation.op === 'zero' || mutation.op === 'add-service') {
      this.zero(mutation.service === null ? null : addressOf({ id: mutation.service }));
    } else if (mutation.op === 'add-dest') {
      const row = this.destRow(this.serviceRow(mutation.service), mutation.dest);
      if (row !== 0) this.ledger.zeroDest(row);
    }
  }

  private withNumbers(service: Service): IpvsService {
    const row = this.serviceRow(service.id);
    const stats = row === 0 ? NO_STATS : this.ledger.service(row);
    return {
      ...service,
      stats,
      laddrs: service.laddrs.map(({ address, device }) => ({ address, device })),
      dests: service.dests.map((dest) => {
        const id = this.destRow(row, dest);
        if (id === 0) return { ...dest, stats: NO_STATS };
        const { flags, activeConns, inactConns, persistent } = this.dests;
        return {
          ...dest,
          stats: this.ledger.dest(id),
          activeConns: activeConns[id]!,
          inactConns: inactConns[id]!,
          persistConns: persistent[id]!,
          inhibited: (flags[id]! & INHIBITED) !== 0,
          overloaded: (flags[id]! & OVERLOAD) !== 0,
        };
      }),
    };
  }

  private isListed(id: number): boolean {
    return this.services.proto[id] !== 0 && (this.services.flags[id]! & LISTED) !== 0;
  }

  /** 0 = none. */
  private serviceRow(id: ServiceId): number {
    return this.rowAt(addressOf({ id }));
  }

  private rowAt({ proto, vip, port }: Endpointed): number {
    const { services } = this;
    const number = protoOf(proto);
    for (let row = 1; row <= services.capacity; row++) {
      const same = services.vip[row] === vip && services.port[row] === port && services.proto[row] === number;
      if (same && this.isListed(row)) return row;
    }
    return 0;
  }

  private destRow(service: number, { address, port }: Pick<Dest, 'address' | 'port'>): number {
    return service === 0 ? 0 : this.dests.find(service, address.words[0]!, port);
  }
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
    const applied = apply(tableOf(config), mutation, RULES);
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
