/**
 * Who owns which memory: everything the control thread makes for a worker and may read while it runs. All of it is
 * shared memory with one writer, the worker; so counters, sessions and neighbours are read without a message.
 *
 * The control words and the rings of `commands` go the other way: the control thread writes COMMAND, or what changes and then
 * MAIL, and wakes the worker through its eventfd.
 */
import { captureMemory } from '../../lb/capture/record.ts';
import { DestTable } from '../../lb/dest.ts';
import { L4, type L4Limits } from '../../lb/l4.ts';
import { type SessionShare, SessionTable } from '../../lb/l7/session.ts';
import { LOG_RING } from '../../lb/l7/session-log.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { FATE_WORDS } from '../../stack/context.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { Counters } from '../../stack/mem/counters.ts';
import { DEFAULT_POOL, FramePool, type PoolShare } from '../../stack/mem/frame-pool.ts';
import { pageAligned } from '../../stack/mem/region.ts';
import { SpscRing } from '../../stack/mem/spsc-ring.ts';
import { DEFAULT_MAX_NEIGHBOURS, NeighTable } from '../../stack/neigh/table.ts';
import type { FaultRules } from '../../stack/netif/middleware/fault.ts';
import { type Config, MAX_DESTS, MAX_SERVICES, type ServiceConfig } from '../config/model.ts';
import { MAX_WORKERS } from '../config/values.ts';
import { commandMemory } from './commands.ts';
import type { LinkHandle, RemoteLink } from './link.ts';
import { linkMemory } from './link-stats.ts';
import type { Start } from './spread.ts';
import { COUNTER_NAMES } from './stats.ts';

/** Words of `control`. */
export const SLEEPING = 0;
export const COMMAND = 1;
export const STATUS = 2;
/** Sessions open, kept current by the worker for the drain. */
export const OPEN = 3;
/** The worker's clock in ms ticks, as of its last housekeeping: readers tell ages of rows by it. */
export const CLOCK_MS = 4;
/** Counts what was put into `commands`: the control thread adds one to it and wakes the worker. */
export const MAIL = 5;
/** With several workers: 1 when this one has stopped taking connections. All end together. */
export const QUIET = 6;
/** How often the worker has died, times two; odd while it is dead. The control thread writes it. */
export const GENERATION = 7;
/** From here on, by worker: the generation of that one which this one has seen. */
export const SEEN = 16;
const CONTROL_WORDS = SEEN + MAX_WORKERS;

/** Values of COMMAND; each includes what the lower ones mean. */
export const RUN = 0;
export const DRAIN = 1;
export const STOP = 2;

/** Values of STATUS. */
export const STARTING = 0;
export const RUNNING = 1;
export const STOPPED = 2;

export { MAX_DESTS, MAX_SERVICES };
export const MAX_SESSIONS = 32768;
/** Connections at layer 4. Their memory is reserved, and taken as it is used for the first time. */
export const MAX_CONNS: L4Limits = { tcp: 1 << 20, udp: 1 << 18, icmp: 1 << 16, templates: 1 << 16 };

/** Plain data and shared memory: it travels to the worker as workerData. */
export interface WorkerShare {
  readonly control: SharedArrayBuffer;
  /** Changes on their way to the worker (commands.ts). */
  readonly commands: SharedArrayBuffer;
  readonly pool: PoolShare;
  readonly fate: SharedArrayBuffer;
  readonly drops: SharedArrayBuffer;
  readonly counters: SharedArrayBuffer;
  readonly neighbours: SharedArrayBuffer;
  readonly services: SharedArrayBuffer;
  readonly dests: SharedArrayBuffer;
  readonly sessions: SessionShare;
  /** Of link-stats.ts. */
  readonly links: SharedArrayBuffer;
  /** Ring of LOG_RING for the access log; null without one. */
  readonly sessionLog: SharedArrayBuffer | null;
  /** Of lb/capture/record.ts: frames captured while it runs. */
  readonly capture: SharedArrayBuffer;
  /** Of MAX_CONNS; null when no service is of layer 4. */
  readonly connections: SharedArrayBuffer | null;
}

/** Whether a service is of layer 4: packets are passed on, connections are not ended here. */
export const isLayer4 = (service: ServiceConfig): boolean => service.mode !== 'proxy';

/** Whether a worker needs what layer 4 needs. */
export const hasLayer4 = ({ global, services }: Config): boolean => global.layer4 || services.some(isLayer4);

/** Faults of a link on purpose, the same in both directions. */
export interface FaultPlan {
  /** Name of the link; null = every link. */
  readonly link: string | null;
  readonly rules: FaultRules;
  /** 0..2^31-1 */
  readonly seed: number;
}

/** Another worker, as one knows it. */
export interface Peer {
  readonly pool: PoolShare;
  readonly control: SharedArrayBuffer;
  /** Of its link-stats.ts. */
  readonly links: SharedArrayBuffer;
  readonly eventFd: number;
  /** Lanes to it and from it. */
  readonly to: SharedArrayBuffer;
  readonly from: SharedArrayBuffer;
}

export interface WorkerData extends Start {
  readonly index: number;
  /** By worker; null in its own place. Of the only one: just that. */
  readonly peers: readonly (Peer | null)[];
  readonly share: WorkerShare;
  /** In the order of the configuration. */
  readonly links: readonly (LinkHandle | RemoteLink)[];
  readonly eventFd: number;
  /** File that receives every frame as pcapng, or null. */
  readonly capture: string | null;
  /** What goes wrong on links, or null. */
  readonly fault: FaultPlan | null;
}

function ringMemory(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(SpscRing.bytes(LOG_RING));
  SpscRing.create(memory, 0, LOG_RING);
  return memory;
}

export function planWorker(config: Config): WorkerShare {
  const counters = new SharedArrayBuffer(Counters.bytes(COUNTER_NAMES));
  Counters.create(counters, 0, COUNTER_NAMES);
  const services = new SharedArrayBuffer(ServiceColumns.bytes(MAX_SERVICES));
  const dests = new SharedArrayBuffer(DestTable.bytes(MAX_DESTS));
  return {
    control: new SharedArrayBuffer(CONTROL_WORDS * 4),
    commands: commandMemory(),
    pool: FramePool.create(DEFAULT_POOL).share,
    fate: new SharedArrayBuffer(FATE_WORDS * 8),
    drops: new SharedArrayBuffer(DROP_REASONS.length * 8),
    counters,
    neighbours: new SharedArrayBuffer(NeighTable.bytes(DEFAULT_MAX_NEIGHBOURS)),
    services,
    dests,
    sessions: SessionTable.memory(MAX_SESSIONS),
    links: linkMemory(config.links.length),
    sessionLog: config.global.accessLog === null ? null : ringMemory(),
    capture: captureMemory(),
    connections: hasLayer4(config) ? pageAligned(L4.bytes(MAX_CONNS)) : null,
  };
}
