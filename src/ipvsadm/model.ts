/**
 * The rules of the table: what each mutation does to it, or why not. A table is never changed: applying a mutation gives a new one, so
 * that a snapshot already handed out stays whole, and a batch can be dropped.
 */
import { isUnicast } from './address.ts';
import type { Errno } from './errno.ts';
import type { DestSettings, Endpoint, Mutation, ServiceId, ServiceSettings, Timeouts } from './ops.ts';
import {
  type Dest,
  type Service,
  sameEndpoint,
  sameLocal,
  sameService,
  sameSubject,
  type Table,
  ZERO_STATS,
} from './table.ts';

/** Schedulers of LVS and DPVS. `none` leaves a service without one. */
export const SCHEDULERS: ReadonlySet<string> = new Set(
  'rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf twos mh conhash none'.split(' '),
);
export const PERSISTENCE_ENGINES: ReadonlySet<string> = new Set(['sip']);

export interface Rules {
  readonly schedulers: ReadonlySet<string>;
}
export const DEFAULT_RULES: Rules = { schedulers: SCHEDULERS };

export type Applied = { readonly ok: true; readonly table: Table } | { readonly ok: false; readonly errno: Errno };

const refuse = (errno: Errno): Applied => ({ ok: false, errno });

export function apply(table: Table, mutation: Mutation, rules: Rules = DEFAULT_RULES): Applied {
  const done = (services: readonly Service[]): Applied => ({ ok: true, table: { ...table, services } });
  switch (mutation.op) {
    case 'flush':
      return done([]);
    case 'set-timeouts':
      return { ok: true, table: { ...table, timeouts: mergeTimeouts(table.timeouts, mutation.timeouts) } };
    case 'start-daemon':
    case 'stop-daemon':
      return refuse('ENOSYS');
    case 'zero':
      if (mutation.service === null) return done(table.services.map(zeroed));
      break;
    case 'add-service': {
      if (find(table, mutation.service) !== undefined) return refuse('EEXIST');
      const errno = flawOf(mutation.settings, rules);
      return errno === null
        ? done([...table.services, newService(mutation.service, mutation.settings)])
        : refuse(errno);
    }
    default:
  }

  const id = mutation.service;
  const service = id === null ? undefined : find(table, id);
  if (service === undefined) return refuse('ESRCH');
  if (mutation.op === 'delete-service') return done(table.services.filter((one) => one !== service));
  const changed = changeService(service, mutation, rules);
  if (typeof changed === 'string') return refuse(changed);
  return done(table.services.map((one) => (one === service ? changed : one)));
}

export const find = (table: Table, id: ServiceId): Service | undefined =>
  table.services.find((service) => sameService(service.id, id));

type OfService = Exclude<
  Mutation,
  { op: 'flush' | 'set-timeouts' | 'start-daemon' | 'stop-daemon' | 'add-service' | 'delete-service' }
>;

/** The service after the mutation, or why it cannot be. */
function changeService(service: Service, mutation: OfService, rules: Rules): Service | Errno {
  switch (mutation.op) {
    case 'zero':
      return zeroed(service);
    case 'edit-service':
      return flawOf(mutation.settings, rules) ?? { ...service, settings: mutation.settings };
    case 'add-dest':
    case 'edit-dest':
    case 'delete-dest':
      return changeDests(service, mutation);
    case 'add-laddr':
      if (service.laddrs.some((one) => sameLocal(one, mutation.local))) return 'EEXIST';
      return { ...service, laddrs: [...service.laddrs, { ...mutation.local, conflicts: 0n, conns: 0 }] };
    case 'delete-laddr': {
      const laddrs = service.laddrs.filter((one) => !sameLocal(one, mutation.local));
      return laddrs.length === service.laddrs.length ? 'ENOENT' : { ...service, laddrs };
    }
    case 'add-subject': {
      const entries = service[mutation.list];
      if (entries.some((one) => sameSubject(one, mutation.subject))) return 'EEXIST';
      return { ...service, [mutation.list]: [...entries, mutation.subject] };
    }
    case 'delete-subject': {
      const entries = service[mutation.list].filter((one) => !sameSubject(one, mutation.subject));
      return entries.length === service[mutation.list].length ? 'ENOENT' : { ...service, [mutation.list]: entries };
    }
  }
}

type OfDest = Extract<Mutation, { op: 'add-dest' | 'edit-dest' | 'delete-dest' }>;

function changeDests(service: Service, mutation: OfDest): Service | Errno {
  const old = service.dests.find((dest) => sameEndpoint(dest, mutation.dest));
  if (mutation.op === 'delete-dest') {
    return old === undefined ? 'ENOENT' : { ...service, dests: service.dests.filter((dest) => dest !== old) };
  }
  const { settings } = mutation;
  if (settings.lower > settings.upper) return 'ERANGE';
  if (mutation.op === 'edit-dest') {
    if (old === undefined) return 'ENOENT';
    return { ...service, dests: service.dests.map((dest) => (dest === old ? { ...dest, settings } : dest)) };
  }
  if (old !== undefined) return 'EEXIST';
  if (!isUnicast(mutation.dest.address)) return 'EINVAL';
  return { ...service, dests: [newDest(mutation.dest, settings), ...service.dests] };
}

function newService(id: ServiceId, settings: ServiceSettings): Service {
  return { id, settings, stats: ZERO_STATS, dests: [], laddrs: [], deny: [], allow: [] };
}

function newDest({ address, port }: Endpoint, settings: DestSettings): Dest {
  const counters = { stats: ZERO_STATS, activeConns: 0, inactConns: 0, persistConns: 0 };
  return { address, port, settings, ...counters, inhibited: false, overloaded: false };
}

function flawOf({ scheduler, pe }: ServiceSettings, rules: Rules): Errno | null {
  if (!rules.schedulers.has(scheduler)) return 'ENOENT';
  return pe === '' || PERSISTENCE_ENGINES.has(pe) ? null : 'ENOENT';
}

/** Counters of connections are states, not sums: they stay. */
function zeroed(service: Service): Service {
  return { ...service, stats: ZERO_STATS, dests: service.dests.map((dest) => ({ ...dest, stats: ZERO_STATS })) };
}

function mergeTimeouts(old: Timeouts, { tcp, tcpfin, udp }: Timeouts): Timeouts {
  return { tcp: tcp || old.tcp, tcpfin: tcpfin || old.tcpfin, udp: udp || old.udp };
}
