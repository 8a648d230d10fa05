/**
 * Reads what one worker publishes in shared memory and makes parts of the control socket's replies of it, without stopping the
 * worker; snapshot.ts puts those of all workers together. The numbers of one reply may be some nanoseconds apart; nothing here is
 * exact accounting.
 */
import {
  AVAILABLE,
  DestTable,
  DRAINED,
  HEALTHY,
  INHIBITED,
  MAINT,
  OVERLOAD,
  RAMP_STEPS,
  shareOf,
  UNCHECKED,
  UNHEALTHY,
} from '../../lb/dest.ts';
import { NONE } from '../../lb/health/result.ts';
import { readSessions, type SessionView } from '../../lb/l7/session.ts';
import { LISTED, ServiceColumns } from '../../lb/service-columns.ts';
import {
  FATE_CREATED,
  FATE_DELIVERED,
  FATE_DROPPED,
  FATE_HANDED,
  FATE_RECEIVED,
  FATE_SENT,
  FATE_TAKEN,
} from '../../stack/context.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { Counters } from '../../stack/mem/counters.ts';
import { listNeighbours } from '../../stack/neigh/snapshot.ts';
import { INCOMPLETE, STALE, STATE_NAMES } from '../../stack/neigh/state.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import { formatEndpoint, formatIpv4, formatMacWords } from '../config/address.ts';
import type { Config, ServiceConfig } from '../config/model.ts';
import { formatService } from '../config/service-address.ts';
import { checkWords } from '../log/words.ts';
import { protoName } from '../workers/pipeline.ts';
import { CLOCK_MS, COMMAND, DRAIN, OPEN, RUNNING, STATUS, STOPPED, type WorkerShare } from '../workers/plan.ts';
import type {
  DropsReply,
  FrameFates,
  RunState,
  ServerHealth,
  ServerState,
  ServerStats,
  ServiceStats,
  SessionReply,
  SessionsReply,
  Traffic,
} from './api.ts';
import type { NeighReply } from './api-network.ts';

/** The columns that services and servers have in common. */
type TrafficColumns = Pick<ServiceColumns, 'conns' | 'inBytes' | 'outBytes' | 'connectFailures'>;

/** Ticks wrap after 49 days; what seems to be older is of a moment ago. */
const MAX_AGE_MS = 49 * 24 * 3600 * 1000;

/** What one worker has to say; its sums are those of snapshot.ts. */
export interface WorkerNumbers {
  readonly sessions: number;
  readonly frames: FrameFates;
  /** Given to other workers; and less what was taken from them: over all workers, what is on its way. */
  readonly handed: number;
  readonly between: number;
  readonly counters: Readonly<Record<string, number>>;
  readonly services: readonly ServiceStats[];
}

/** Precondition: the worker runs, so its tables exist. */
export class WorkerView {
  private config: Config;
  private readonly share: WorkerShare;
  private readonly control: Int32Array;
  private readonly fate: Float64Array;
  private readonly dropCounts: Float64Array;
  private readonly counters: Counters;
  private readonly services: ServiceColumns;
  private readonly dests: DestTable;
  private readonly neighbours: Int32Array;

  constructor(config: Config, share: WorkerShare) {
    this.config = config;
    this.share = share;
    this.control = new Int32Array(share.control);
    this.fate = new Float64Array(share.fate);
    this.dropCounts = new Float64Array(share.drops);
    this.counters = Counters.attach(share.counters, 0);
    this.services = ServiceColumns.attach(share.services, 0);
    this.dests = DestTable.attach(share.dests, 0);
    this.neighbours = NeighTable.open(share.neighbours, 0);
  }

  /** Names come from this configuration from now on. */
  follow(config: Config): void {
    this.config = config;
  }

  numbers(): WorkerNumbers {
    return {
      sessions: Atomics.load(this.control, OPEN),
      frames: this.frames(),
      handed: this.fate[FATE_HANDED]!,
      between: this.fate[FATE_HANDED]! - this.fate[FATE_TAKEN]!,
      counters: this.counters.snapshot(),
      services: this.serviceList(),
    };
  }

  /** Services that take connections, with their servers. */
  serviceList(): ServiceStats[] {
    return this.serviceIds().map((id) => this.serviceStats(id));
  }

  sessions(): SessionsReply {
    const sessions = readSessions(this.share.sessions).map((view) => this.sessionReply(view));
    return { sessions: sessions.sort((a, b) => b.ageMs - a.ageMs || a.id - b.id) };
  }

  drops(): DropsReply {
    const drops = DROP_REASONS.map(({ name, kind, sentence }, i) => ({
      name,
      kind,
      count: this.dropCounts[i]!,
      sentence,
    }))
      .filter((drop) => drop.count > 0)
      .sort((a, b) => b.count - a.count);
    return { total: drops.reduce((sum, drop) => sum + drop.count, 0), drops };
  }

  neigh(): NeighReply {
    const rows = listNeighbours(this.neighbours).sort((a, b) => (a.ip >>> 0) - (b.ip >>> 0));
    const neighbours = rows.map((row) => ({
      address: formatIpv4(row.ip),
      link: this.config.links[row.port - 1]?.name ?? `port ${row.port}`,
      mac: row.state >= STALE ? formatMacWords(row.macHi, row.macLo) : null,
      state: STATE_NAMES[row.state]!,
      static: row.isStatic,
      confirmedMs:
        row.state <= INCOMPLETE || row.isStatic || row.confirmedMs === 0 ? null : this.since(row.confirmedMs),
      queued: row.queued,
    }));
    return { neighbours };
  }

  frames(): FrameFates {
    const { fate } = this;
    // What another worker handed over was received there.
    const received = fate[FATE_RECEIVED]! - fate[FATE_TAKEN]!;
    const created = fate[FATE_CREATED]!;
    const sent = fate[FATE_SENT]!;
    const delivered = fate[FATE_DELIVERED]!;
    const dropped = fate[FATE_DROPPED]!;
    const held = Math.max(0, received + created + fate[FATE_TAKEN]! - sent - delivered - dropped - fate[FATE_HANDED]!);
    return { received, created, sent, delivered, dropped, held };
  }

  /** One counter of the worker's, by name. */
  counter(name: string): number {
    return this.counters.values[this.counters.index(name)]!;
  }

  /** The name of a service for logs and tables. */
  serviceName(id: number): string {
    return this.serviceConfig(id)?.name ?? this.serviceAddress(id);
  }

  /** `192.168.100.11:80` */
  serverAddress(dest: number): string {
    return formatEndpoint(this.dests.addr[dest]!, this.dests.port[dest]!);
  }

  state(): RunState {
    const status = Atomics.load(this.control, STATUS);
    if (status === STOPPED) return 'stopped';
    if (status !== RUNNING) return 'starting';
    return Atomics.load(this.control, COMMAND) >= DRAIN ? 'draining' : 'running';
  }

  /** Milliseconds between one of the worker's ticks and now, as far as the worker has told its clock. */
  private since(tick: number): number {
    const ms = (Atomics.load(this.control, CLOCK_MS) - tick) >>> 0;
    return ms > MAX_AGE_MS ? 0 : ms;
  }

  private serviceIds(): number[] {
    const { services } = this;
    return rows(services.capacity, (id) => services.proto[id] !== 0 && (services.flags[id]! & LISTED) !== 0);
  }

  private serviceStats(id: number): ServiceStats {
    const { services, dests } = this;
    const held = (dest: number): boolean => (dests.flags[dest]! & AVAILABLE) !== 0 || dests.refs[dest]! > 0;
    const servers = rows(dests.capacity, (dest) => dests.service[dest] === id && held(dest)).map((dest) =>
      this.serverStats(dest),
    );
    return {
      name: this.serviceName(id),
      address: this.serviceAddress(id),
      scheduler: this.serviceConfig(id)?.scheduler ?? '',
      ...traffic(services, id),
      active: servers.reduce((sum, server) => sum + server.active, 0),
      inactive: servers.reduce((sum, server) => sum + server.inactive, 0),
      noServer: services.noDest[id]!,
      servers,
    };
  }

  private serverStats(dest: number): ServerStats {
    const { dests } = this;
    return {
      name: this.serverName(dest),
      address: this.serverAddress(dest),
      weight: dests.weight[dest]!,
      weightNow: shareOf(dests, dest) / RAMP_STEPS,
      state: serverState(dests.flags[dest]!, dests.weight[dest]!),
      ...traffic(dests, dest),
      active: dests.activeConns[dest]!,
      inactive: dests.inactConns[dest]!,
      health: this.health(dest),
    };
  }

  private health(dest: number): ServerHealth | null {
    const { dests } = this;
    const state = dests.health[dest]!;
    if (state === UNCHECKED) return null;
    const last = dests.checkResult[dest]!;
    return {
      up: state === HEALTHY,
      sinceMs: this.since(dests.healthMs[dest]!),
      lastCheck: checkWords(last),
      checkedMs: last === NONE ? null : this.since(dests.checkMs[dest]!),
    };
  }

  private sessionReply(view: SessionView): SessionReply {
    const chosen = view.dest !== 0;
    return {
      id: view.id,
      state: view.state,
      service: this.serviceName(view.service),
      client: formatEndpoint(view.clientAddr, view.clientPort),
      vip: formatEndpoint(view.vip, view.vport),
      server: chosen ? this.serverName(view.dest) : null,
      serverAddress: chosen ? formatEndpoint(view.serverAddr, view.serverPort) : null,
      local: chosen ? formatEndpoint(view.localAddr, view.localPort) : null,
      ageMs: this.since(view.startedMs),
      toServer: view.toServer,
      toClient: view.toClient,
    };
  }

  private serviceAddress(id: number): string {
    const { vip, port, proto } = this.services;
    const match = this.serviceConfig(id)?.match ?? null;
    return formatService({ proto: protoName(proto[id]!), vip: vip[id]!, port: port[id]!, match });
  }

  private serviceConfig(id: number): ServiceConfig | undefined {
    const { services } = this;
    const proto = protoName(services.proto[id]!);
    return this.config.services.find(
      (one) => one.proto === proto && one.vip === services.vip[id] && one.port === services.port[id],
    );
  }

  /** The name of a server for logs and tables. */
  serverName(dest: number): string {
    const { dests } = this;
    const service = this.serviceConfig(dests.service[dest]!);
    if (service?.mode === 'snat') return formatIpv4(dests.addr[dest]!);
    const servers = [...(service?.dests ?? []), ...(service?.backup ? [service.backup] : [])];
    const server = servers.find((one) => one.ip === dests.addr[dest] && one.port === dests.port[dest]);
    return server?.name ?? this.serverAddress(dest);
  }
}

/** Row numbers 1..capacity for which `wanted` holds. */
function rows(capacity: number, wanted: (id: number) => boolean): number[] {
  const found: number[] = [];
  for (let id = 1; id <= capacity; id++) if (wanted(id)) found.push(id);
  return found;
}

function traffic(
  columns: TrafficColumns,
  id: number,
): Pick<Traffic, 'conns' | 'toServers' | 'toClients' | 'connectFailures'> {
  return {
    conns: columns.conns[id]!,
    toServers: columns.inBytes[id]!,
    toClients: columns.outBytes[id]!,
    connectFailures: columns.connectFailures[id]!,
  };
}

function serverState(flags: number, weight: number): ServerState {
  if ((flags & AVAILABLE) === 0) return 'removed';
  if ((flags & MAINT) !== 0) return 'maint';
  if ((flags & DRAINED) !== 0) return 'drain';
  if ((flags & UNHEALTHY) !== 0) return 'down';
  if ((flags & INHIBITED) !== 0) return 'inhibited';
  if ((flags & OVERLOAD) !== 0) return 'overloaded';
  return weight === 0 ? 'weight 0' : 'up';
}
