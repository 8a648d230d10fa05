/**
 * What the control socket answers: HTTP over a unix socket, JSON bodies, paths that begin with the version. The types
 * are shared by the server (server.ts, snapshot.ts) and by the command line, which knows nothing else of the process; those of
 * links, addresses, routes and neighbours are in api-network.ts.
 *
 * Addresses are text as people write it, times are milliseconds, sizes bytes. Counters count from the start of tsvs.
 * Additions keep the version; a change that would break a reader gets a new one.
 */

import type { Errno } from '../ipvsadm/errno.ts';
import type { LocalAddress, Mutation } from '../ipvsadm/ops.ts';
import type { Dest, Service } from '../ipvsadm/table.ts';
import type { LedgerStats } from './ledger.ts';

export type { WhyReply } from './why-reply.ts';

export const PATHS = {
  stats: '/v1/stats',
  sessions: '/v1/sessions',
  drops: '/v1/drops',
  neigh: '/v1/neigh',
  services: '/v1/services',
  config: '/v1/config',
  reload: '/v1/reload',
  conns: '/v1/conns',
  timeouts: '/v1/timeouts',
  zero: '/v1/zero',
  ipvs: '/v1/ipvs',
  links: '/v1/links',
  addresses: '/v1/addresses',
  routes: '/v1/routes',
  ports: '/v1/ports',
  why: '/v1/why',
  capture: '/v1/capture',
} as const;

/** POST of the path `capture`: what stands behind its body, which is a file of pcapng. */
export const CAPTURE_TRAILERS = {
  /** Frames in it, and frames that should be but found no room. */
  frames: 'Capture-Frames',
  lost: 'Capture-Lost',
  /** Why it ended, in words. */
  end: 'Capture-End',
} as const;

/** Where a service is shown (GET), made or replaced (PUT), changed (PATCH) and removed (DELETE). */
export function servicePath(service: string): string {
  return `${PATHS.services}/${encodeURIComponent(service)}`;
}

/** Where a local address of a service is added (PUT) and removed (DELETE). */
export function localPath(service: string, address: string): string {
  return `${servicePath(service)}/local-addresses/${address}`;
}

/** Where a server of a service is shown (GET), changed (PUT with a ServerWish) and removed (DELETE). */
export function serverPath(service: string, server: string): string {
  return `${servicePath(service)}/servers/${encodeURIComponent(server)}`;
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
  /** Established now; with `timeout_profile = lvs` those as well that are being opened. */
  readonly active: number;
  /**
   * Not active, now. Layer 7: being opened. Layer 4, as LVS's InActConn: being opened or closed, ended and remembered until their
   * timeouts, and all of UDP and ICMP. They count for the limits of connections.
   */
  readonly inactive: number;
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
  /** The part of it that the server has got so far: less than `weight` in slow start only. */
  readonly weightNow: number;
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

/** PUT of a server: at least one of them. */
export interface ServerWish {
  readonly weight?: number;
  /** Connections at which it gets no new ones, and below which it does again. */
  readonly upper?: number;
  readonly lower?: number;
  /** drain: no new connections; maint: the same, and no health checks; ready: back to normal. */
  readonly state?: 'ready' | 'drain' | 'maint';
  /** For maint: when the sessions that are left are reset, in ms from now; left out: never. */
  readonly deadlineMs?: number;
}

/** A service by the keys of its section in lb.conf, but for count and serverN; lists may be arrays. With PATCH null takes a key out. */
export interface ServiceRequest {
  readonly [key: string]: string | number | boolean | null | readonly string[] | readonly ServerRequest[];
}

/** POST of a server to `servicePath`/servers, and an element of `servers` of a ServiceRequest. */
export interface ServerRequest {
  /** `10.0.0.11:80` */
  readonly address: string;
  /** 1 when left out. */
  readonly weight?: number;
  /** Left out: asked for by ARP. */
  readonly mac?: string;
  /** Left out: the address. */
  readonly name?: string;
  readonly mode?: string;
  readonly upper?: number;
  readonly lower?: number;
  /** In the list of servers, where schedulers begin at the first; `last` when left out. */
  readonly place?: 'first' | 'last';
}

/** GET and PUT of /v1/timeouts, seconds: how long connections of layer 4 may be silent. */
export interface TimeoutsReply {
  readonly tcp: number;
  readonly tcpfin: number;
  readonly udp: number;
}

/** POST /v1/zero: the statistics that ipvsadm shows, of one service or of all. */
export interface ZeroRequest {
  readonly service?: string;
}

/** The answer to changes that have none of their own. */
export interface ChangeReply {
  readonly version: number;
  /** In words; empty when that held already. */
  readonly changes: readonly string[];
}

/** A connection of layer 4, or a template of persistence. */
export interface ConnReply {
  /** No connection: which server a client is to be sent to again. Its client has port 0. */
  readonly template: boolean;
  readonly proto: string;
  readonly state: string;
  /** Until it is over unless a packet comes. */
  readonly expiresMs: number;
  /** FNAT, NAT, DR, TUN */
  readonly mode: string;
  readonly service: string;
  /** Of the server. */
  readonly name: string;
  readonly client: string;
  readonly vip: string;
  readonly server: string;
  /** FullNAT: our end towards the server. */
  readonly local: string | null;
  readonly packetsIn: number;
  readonly packetsOut: number;
  /** IP headers included. */
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** GET /v1/conns */
export interface ConnsReply {
  /** Connections there are, whatever was asked for. */
  readonly total: number;
  readonly conns: readonly ConnReply[];
  /** What `after` is to be for the next page; null when this was the last. */
  readonly next: string | null;
}

/** DELETE /v1/conns: exactly one connection. */
export interface ConnRequest {
  readonly proto: 'tcp' | 'udp';
  readonly client: string;
  readonly vip: string;
}

/** GET /v1/ipvs: the services of layer 4 as ipvsadm has them, addresses and settings in the form of src/ipvsadm. */
export interface IpvsReply {
  /** Connections of TCP that there can be. */
  readonly size: number;
  readonly timeouts: TimeoutsReply;
  readonly services: readonly IpvsService[];
}

/** Numbers in place of the 64-bit integers that JSON has not. */
export type IpvsService = Omit<Service, 'stats' | 'dests' | 'laddrs'> & {
  readonly stats: LedgerStats;
  readonly dests: readonly (Omit<Dest, 'stats'> & { readonly stats: LedgerStats })[];
  readonly laddrs: readonly LocalAddress[];
};

/** POST /v1/ipvs */
export interface IpvsRequest {
  /** In this order; they hold together, as one version. */
  readonly mutations: readonly Mutation[];
  /** The first that is refused ends it, and nothing has changed. Otherwise it is passed over. */
  readonly atomic?: boolean;
}

export interface IpvsChangeReply {
  readonly version: number;
  /** For each mutation: null when it was done. */
  readonly results: readonly (IpvsRefusal | null)[];
}

export interface IpvsRefusal {
  readonly errno: Errno;
  readonly error: string;
}

export interface ErrorReply {
  /** For programs: BAD_REQUEST, NOT_FOUND, CONFLICT, INVALID, ... or a word of errno. */
  readonly code: string;
  readonly error: string;
  /** What to do about it. */
  readonly hint?: string;
  /** Of a configuration file: every mistake, a line each. */
  readonly errors?: readonly string[];
  /** What could have been asked. */
  readonly paths?: readonly string[];
}
