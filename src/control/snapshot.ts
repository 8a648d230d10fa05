/**
 * All workers as one: the control socket's replies, put together of what each worker publishes (worker-view.ts). Counts are added up,
 * lists joined; services and servers go by name and address, as rows differ between workers.
 *
 * A worker that has died leaves its counts behind, so that sums do not fall when another one begins at zero in its place. What it held is
 * lost: frames count as dropped, sessions as `workers.sessionsLost`.
 */
import type { Config } from '../config/model.ts';
import type { WorkerShare } from '../workers/plan.ts';
import type {
  ConnsReply,
  DropsReply,
  FrameFates,
  RunState,
  ServerStats,
  ServiceStats,
  SessionsReply,
  StatsReply,
} from './api.ts';
import type { NeighReply } from './api-network.ts';
import { ConnList } from './conn-list.ts';
import { Ipvs } from './ipvs.ts';
import { Network } from './network.ts';
import { type WorkerNumbers, WorkerView } from './worker-view.ts';

export interface ProcessInfo {
  readonly version: string;
  readonly pid: number;
  /** Milliseconds since the start. */
  uptimeMs(): number;
}

/** What a dead worker leaves behind. */
interface Remains {
  readonly numbers: WorkerNumbers;
  readonly drops: DropsReply;
}

/** Counters that say what there is now. */
const GAUGES = /^(tcp\.(open|parked|timeWait)|pool\..*|(proxy|l4)\.open)$/;
/** How far the workers come apart in ids of sessions. */
const IDS = 1 << 20;

/** Precondition: the workers run, so their tables exist. */
export class Snapshot {
  /** The view of ipvsadm. */
  readonly ipvs: Ipvs;
  readonly network: Network;
  private config: Config;
  private readonly shares: readonly WorkerShare[];
  private readonly info: ProcessInfo;
  private readonly views: WorkerView[];
  private connList: ConnList;
  /** Of workers that have died, and of those whose successors do not serve yet, by number. */
  private readonly remains: Remains[] = [];
  private readonly dead = new Map<number, Remains>();
  private restarts = 0;
  private sessionsLost = 0;

  /** `shares`: one per worker; the array may get another one for a worker that is started anew. */
  constructor(config: Config, shares: readonly WorkerShare[], info: ProcessInfo) {
    this.config = config;
    this.shares = shares;
    this.info = info;
    this.views = shares.map((share) => new WorkerView(config, share));
    this.ipvs = new Ipvs(shares);
    this.network = new Network(shares);
    this.connList = new ConnList(shares, this.views);
  }

  /** Names come from this configuration from now on. */
  follow(config: Config): void {
    this.config = config;
    for (const view of this.views) view.follow(config);
  }

  get workers(): number {
    return this.views.length;
  }

  /** One worker alone: ids of services and servers mean something there only. */
  of(worker: number): WorkerView {
    return this.views[worker]!;
  }

  /** A worker has died: its numbers are kept. Returns how many sessions and connections it had. */
  lost(worker: number): number {
    const view = this.views[worker]!;
    const numbers = view.numbers();
    const { counters, frames, handed, between } = numbers;
    const sessions = (counters['proxy.open'] ?? 0) + (counters['l4.open'] ?? 0);
    const kept = Object.entries(counters).map(([name, n]) => [name, GAUGES.test(name) ? 0 : n]);
    this.dead.set(worker, {
      numbers: {
        ...{ sessions: 0, handed, between, counters: Object.fromEntries(kept) },
        frames: { ...frames, dropped: frames.dropped + frames.held, held: 0 },
        services: numbers.services.map((service) => ({
          ...service,
          ...QUIET,
          servers: service.servers.map((one) => ({ ...one, ...QUIET })),
        })),
      },
      drops: view.drops(),
    });
    this.sessionsLost += sessions;
    this.restarts++;
    return sessions;
  }

  /** It serves again, with new memory. */
  restarted(worker: number): void {
    this.remains.push(this.dead.get(worker)!);
    this.dead.delete(worker);
    this.views[worker] = new WorkerView(this.config, this.shares[worker]!);
    this.ipvs.replace(worker, this.shares[worker]!);
    this.network.replace(worker, this.shares[worker]!);
    this.connList = new ConnList(this.shares, this.views);
  }

  stats(): StatsReply {
    const all = this.numbers();
    return {
      version: this.info.version,
      pid: this.info.pid,
      state: this.state(),
      uptimeMs: this.info.uptimeMs(),
      sessions: all.reduce((n, { sessions }) => n + sessions, 0),
      frames: this.frames(all),
      counters: { ...sumOf(all.map(({ counters }) => counters)), ...this.ofWorkers(all) },
      services: mergeServices(all.map(({ services }) => services)),
    };
  }

  /** Services that take connections, with their servers. */
  serviceList(): ServiceStats[] {
    return mergeServices(this.numbers().map(({ services }) => services));
  }

  sessions(): SessionsReply {
    const sessions = this.views.flatMap((view, worker) =>
      this.dead.has(worker) ? [] : view.sessions().sessions.map((one) => ({ ...one, id: one.id + worker * IDS })),
    );
    return { sessions: sessions.sort((a, b) => b.ageMs - a.ageMs || a.id - b.id) };
  }

  /** A page of the connections of layer 4; `search` as in conn-list.ts. Throws ChangeError. */
  conns(search: string): ConnsReply {
    return this.connList.page(search);
  }

  drops(): DropsReply {
    const found = new Map<string, DropsReply['drops'][number]>();
    const ofLiving = this.views.map((view, worker) => this.dead.get(worker)?.drops ?? view.drops());
    for (const { drops } of [...ofLiving, ...this.remains.map((one) => one.drops)]) {
      for (const drop of drops) {
        const known = found.get(drop.name);
        found.set(drop.name, known === undefined ? drop : { ...known, count: known.count + drop.count });
      }
    }
    const drops = [...found.values()].sort((a, b) => b.count - a.count);
    return { total: drops.reduce((sum, drop) => sum + drop.count, 0), drops };
  }

  /** Each worker knows the neighbours that it needs: of those that several know, what the latest to hear of them says. */
  neigh(): NeighReply {
    const found = new Map<string, NeighReply['neighbours'][number]>();
    for (const row of this.views.flatMap((view) => view.neigh().neighbours)) {
      const key = `${row.address} ${row.link}`;
      const known = found.get(key);
      const age = (one: typeof row): number => one.confirmedMs ?? Number.POSITIVE_INFINITY;
      if (known === undefined) found.set(key, row);
      else found.set(key, { ...(age(row) < age(known) ? row : known), queued: known.queued + row.queued });
    }
    return { neighbours: [...found.values()] };
  }

  frames(all = this.numbers()): FrameFates {
    const sum = sumOf(all.map(({ frames }) => ({ ...frames }))) as unknown as FrameFates;
    // Between two workers it is nobody's, and not lost.
    const between = all.reduce((n, one) => n + one.between, 0);
    return { ...sum, held: sum.held + Math.max(0, between) };
  }

  /** One counter of the workers', by name. */
  counter(name: string): number {
    return this.numbers().reduce((n, { counters }) => n + (counters[name] ?? 0), 0);
  }

  private numbers(): WorkerNumbers[] {
    const ofLiving = this.views.map((view, worker) => this.dead.get(worker)?.numbers ?? view.numbers());
    return [...ofLiving, ...this.remains.map(({ numbers }) => numbers)];
  }

  private ofWorkers(all: readonly WorkerNumbers[]): Record<string, number> {
    if (this.views.length === 1) return {};
    return {
      'workers.running': this.views.length - this.dead.size,
      'workers.restarts': this.restarts,
      'workers.sessionsLost': this.sessionsLost,
      // ARP goes to everybody; the rest came to another worker than its own.
      'workers.handedOver': all.reduce((n, { handed }) => n + handed, 0),
    };
  }

  /** That of the least advanced. */
  private state(): RunState {
    const states = this.views.map((view) => view.state());
    return (['running', 'draining', 'starting', 'stopped'] as const).find((one) => states.includes(one)) ?? 'starting';
  }
}

const QUIET = { active: 0, inactive: 0 };

function sumOf(list: readonly Readonly<Record<string, number>>[]): Record<string, number> {
  const sum: Record<string, number> = {};
  for (const one of list) for (const [name, n] of Object.entries(one)) sum[name] = (sum[name] ?? 0) + n;
  return sum;
}

const COUNTED = ['conns', 'active', 'inactive', 'toServers', 'toClients', 'connectFailures'] as const;

const counted = (a: ServerStats | ServiceStats, b: ServerStats | ServiceStats) =>
  Object.fromEntries(COUNTED.map((name) => [name, a[name] + b[name]])) as Pick<ServiceStats, (typeof COUNTED)[number]>;

/** The first worker checks and knows the order; of a server that only others still know, they tell. */
function mergeServices(lists: readonly (readonly ServiceStats[])[]): ServiceStats[] {
  const [first = [], ...others] = lists;
  const merged = new Map(first.map((service) => [service.address, service]));
  for (const service of others.flat()) {
    const known = merged.get(service.address);
    if (known === undefined) continue;
    const servers = new Map(known.servers.map((server) => [server.address, server]));
    for (const server of service.servers) {
      const same = servers.get(server.address);
      if (same !== undefined) servers.set(server.address, { ...same, ...counted(same, server) });
      else if (server.active + server.inactive > 0) servers.set(server.address, server);
    }
    const noServer = known.noServer + service.noServer;
    merged.set(service.address, { ...known, ...counted(known, service), noServer, servers: [...servers.values()] });
  }
  return [...merged.values()];
}
