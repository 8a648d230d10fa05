/**
 * What the control socket answers: HTTP over a unix socket, JSON bodies, paths that begin with the version. The types
 * are shared by the server (server.ts, snapshot.ts) and by the command line, which knows nothing else of the process.
 *
 * Addresses are text as people write it, times are milliseconds, sizes bytes. Counters count from the start of tsvs.
 * Additions keep the version; a change that would break a reader gets a new one.
 */

export const PATHS = {
  stats: '/v1/stats',
  sessions: '/v1/sessions',
  drops: '/v1/drops',
  neigh: '/v1/neigh',
  services: '/v1/services',
  config: '/v1/config',
  reload: '/v1/reload',
} as const;

/** Where a server of a service is shown (GET) and changed (PUT with a ServerWish). */
export function serverPath(service: string, server: string): string {
  return `${PATHS.services}/${encodeURIComponent(service)}/servers/${encodeURIComponent(server)}`;
}

/** Frames by fate: received + created = sent + delivered + dropped + held. */
export interface FrameFates {
  readonly received: number;
  readonly created: number;
  readonly sent: number;
  readonly delivered: number;
  readonly dropped: number;
  /** In queues, sockets and reassembly now. */
  readonly held: number;
}

export type RunState = 'starting' | 'running' | 'draining' | 'stopped';

/** Numbers that a service and each of its servers have. */
export interface Traffic {
  /** `192.168.100.10:80` */
  readonly address: string;
  readonly name: string;
  /** Connections ever given to servers. */
  readonly conns: number;
  /** Established now. */
  readonly active: number;
  /** Being opened now. */
  readonly opening: number;
  /** Payload bytes relayed to the servers. */
  readonly toServers: number;
  /** Payload bytes relayed to the clients. */
  readonly toClients: number;
  readonly connectFailures: number;
}

/**
 * `removed`: no longer in the list, but connections still hold it. `down`: its health checks fail. `drain`, `maint`: the
 * operator wants it so.
 */
export type ServerState = 'up' | 'down' | 'drain' | 'maint' | 'weight 0' | 'overloaded' | 'inhibited' | 'removed';

export interface ServerStats extends Traffic {
  readonly weight: number;
  readonly state: ServerState;
  /** Null when it is not checked. */
  readonly health: ServerHealth | null;
}

export interface ServerHealth {
  readonly up: boolean;
  /** For how long it has been so. */
  readonly sinceMs: number;
  /** How the last check ended, in words, and how long ago; null before the first. */
  readonly lastCheck: string;
  readonly checkedMs: number | null;
}

export interface ServiceStats extends Traffic {
  readonly scheduler: string;
  /** Times no server could be given to a client. */
  readonly noServer: number;
  readonly servers: readonly ServerStats[];
}

export interface StatsReply {
  readonly version: string;
  readonly pid: number;
  readonly state: RunState;
  readonly uptimeMs: number;
  /** Sessions open now. */
  readonly sessions: number;
  readonly frames: FrameFates;
  /** Counters of the modules by name, such as `tcp.segmentsOut`. */
  readonly counters: Readonly<Record<string, number>>;
  readonly services: readonly ServiceStats[];
}

export interface SessionReply {
  readonly id: number;
  readonly state: string;
  readonly service: string;
  readonly client: string;
  readonly vip: string;
  /** Null until a server has been chosen. */
  readonly server: string | null;
  readonly serverAddress: string | null;
  /** Our end of the connection to the server. */
  readonly local: string | null;
  readonly ageMs: number;
  readonly toServer: number;
  readonly toClient: number;
}

export interface SessionsReply {
  readonly sessions: readonly SessionReply[];
}

export interface DropReply {
  readonly name: string;
  /** `peer`: the sender did it; `limit`: a bound of ours was met; `config`: an operator can cure it. */
  readonly kind: string;
  readonly count: number;
  readonly sentence: string;
}

export interface DropsReply {
  readonly total: number;
  /** Reasons that occurred, the most frequent first. */
  readonly drops: readonly DropReply[];
}

export interface NeighReply {
  readonly neighbours: readonly NeighbourReply[];
}

export interface NeighbourReply {
  readonly address: string;
  readonly link: string;
  /** Null while nobody has told it. */
  readonly mac: string | null;
  readonly state: string;
  readonly static: boolean;
  /** Since it last proved to hear us; null if it never did. */
  readonly confirmedMs: number | null;
  /** Frames that wait for its address. */
  readonly queued: number;
}

/** GET /v1/services; a service is below it by its name, a server at `serverPath`. */
export interface ServicesReply {
  readonly services: readonly ServiceStats[];
}

/** GET /v1/config */
export interface ConfigReply {
  /** Counts the changes since the start, which is number 1. */
  readonly version: number;
  /** A file that reproduces the running configuration. */
  readonly text: string;
}

/** POST /v1/reload; an empty body means the file tsvs was started with. */
export interface ReloadRequest {
  readonly file?: string;
}

export interface ReloadReply {
  readonly version: number;
  readonly file: string;
  /** In words; empty when the file says what holds already. */
  readonly changes: readonly string[];
  readonly warnings: readonly string[];
}

/** PUT of a server: at least one of weight and state. */
export interface ServerWish {
  readonly weight?: number;
  /** drain: no new connections; maint: the same, and no health checks; ready: back to normal. */
  readonly state?: 'ready' | 'drain' | 'maint';
  /** For maint: when the sessions that are left are reset, in ms from now; left out: never. */
  readonly deadlineMs?: number;
}

export interface ErrorReply {
  readonly error: string;
  /** What to do about it. */
  readonly hint?: string;
  /** Of a configuration file: every mistake, a line each. */
  readonly errors?: readonly string[];
  /** What could have been asked. */
  readonly paths?: readonly string[];
}
