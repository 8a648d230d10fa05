/**
 * What a command line of ipvsadm asks for, as data: mutations of the table, and questions. parse.ts makes them, model.ts applies the
 * mutations, format.ts and its neighbours answer the questions. The grammar is that of ipvsadm 1.31 for LVS, with the commands and
 * options that DPVS adds.
 */
import type { Address, Family } from './address.ts';
import type { Protocol } from './names.ts';

/** `low` to `high` of addresses and ports, both ends included; ports 0 to 0 are any, as 0 to 65535. */
export interface AddressRange {
  readonly low: Address;
  readonly high: Address;
  readonly lowPort: number;
  readonly highPort: number;
}

/** What DPVS's -H selects packets by: ranges of either side and interfaces; '' means any. */
export interface Match {
  readonly from: AddressRange | null;
  readonly to: AddressRange | null;
  readonly iif: string;
  readonly oif: string;
}

export type ServiceId =
  | { readonly kind: 'address'; readonly protocol: Protocol; readonly address: Address; readonly port: number }
  /** `mark`: 1 to 2^32 - 1. */
  | { readonly kind: 'fwmark'; readonly mark: number; readonly family: Family }
  /** Protocol `any`, which only we have: TCP, UDP and ICMP. */
  | { readonly kind: 'match'; readonly protocol: Protocol | 'any'; readonly family: Family; readonly match: Match };

export interface Endpoint {
  readonly address: Address;
  readonly port: number;
}

export const PROXY_PROTOCOLS = ['disable', 'v1', 'v2', 'v1-insecure', 'v2-insecure'] as const;
export type ProxyProtocol = (typeof PROXY_PROTOCOLS)[number];

export const ACTIVE_CHECKS = ['tcp', 'udp', 'sctp', 'ping'] as const;
export type ActiveCheck = (typeof ACTIVE_CHECKS)[number];

/** DPVS's --dest-check. Times in seconds; `upConfirms` 0 means the down-only form. */
export interface PassiveCheck {
  readonly downRetries: number;
  readonly upConfirms: number;
  readonly downWaitSec: number;
  readonly inhibitMinSec: number;
  readonly inhibitMaxSec: number;
}
export interface DestCheck {
  readonly passive: PassiveCheck | null;
  readonly active: readonly ActiveCheck[];
}
export const DEFAULT_PASSIVE_CHECK: PassiveCheck = {
  downRetries: 1,
  upConfirms: 1,
  downWaitSec: 3,
  inhibitMinSec: 5,
  inhibitMaxSec: 3600,
};

/** Of conhash: DPVS's two, and the connection as a whole, which only we have. */
export const HASH_TARGETS = ['sip', 'qid', '5tuple'] as const;
export type HashTarget = (typeof HASH_TARGETS)[number];

export interface ServiceSettings {
  readonly scheduler: string;
  /** Bits of -b, in the order of sched-flags.ts: 1, 2, 4. */
  readonly schedFlags: number;
  /** Timeout of persistence in seconds; 0 is none. */
  readonly persistSec: number;
  /** Granularity of persistence: an int32 netmask for IPv4, a prefix length for IPv6. */
  readonly mask: number;
  /** Persistence engine; '' is none. */
  readonly pe: string;
  /** One packet, one decision. */
  readonly ops: boolean;
  readonly synproxy: boolean;
  /** Timeout of established connections in seconds; 0 is the table's own. */
  readonly connTimeoutSec: number;
  readonly proxyProtocol: ProxyProtocol;
  /** What conhash hashes; null for other schedulers. */
  readonly hashTarget: HashTarget | null;
  readonly expireQuiescent: boolean;
  readonly quic: boolean;
  readonly destCheck: DestCheck | null;
}

export type Forward = 'route' | 'masq' | 'tunnel' | 'fullnat' | 'snat';

export const TUNNEL_TYPES = ['ipip', 'gue', 'gre'] as const;
export type TunnelType = (typeof TUNNEL_TYPES)[number];
export const TUNNEL_CHECKSUMS = ['nocsum', 'csum', 'remcsum'] as const;

export interface Tunnel {
  readonly type: TunnelType;
  /** UDP destination port of gue; 0 otherwise. */
  readonly port: number;
  readonly checksum: (typeof TUNNEL_CHECKSUMS)[number];
}

export interface DestSettings {
  readonly forward: Forward;
  readonly weight: number;
  /** Connections, active and inactive; 0 is no limit. */
  readonly upper: number;
  readonly lower: number;
  readonly tunnel: Tunnel;
}

/** Seconds. */
export interface Timeouts {
  readonly tcp: number;
  readonly tcpfin: number;
  readonly udp: number;
}

export type DaemonRole = 'master' | 'backup';
export interface Daemon {
  readonly role: DaemonRole;
  readonly device: string;
  readonly syncId: number;
  readonly maxLen: number;
  readonly group: string;
  readonly port: number;
  readonly ttl: number;
}

export interface LocalAddress {
  readonly address: Address;
  readonly device: string;
}

/** An entry of a deny or allow list. */
export type Subject =
  | { readonly kind: 'address'; readonly address: Address }
  | { readonly kind: 'ipset'; readonly name: string };
export type ListName = 'deny' | 'allow';

export type Mutation =
  | { readonly op: 'add-service'; readonly service: ServiceId; readonly settings: ServiceSettings }
  | { readonly op: 'edit-service'; readonly service: ServiceId; readonly settings: ServiceSettings }
  | { readonly op: 'delete-service'; readonly service: ServiceId }
  | { readonly op: 'flush' }
  | { readonly op: 'zero'; readonly service: ServiceId | null }
  | {
      readonly op: 'add-dest' | 'edit-dest';
      readonly service: ServiceId;
      readonly dest: Endpoint;
      readonly settings: DestSettings;
    }
  | { readonly op: 'delete-dest'; readonly service: ServiceId; readonly dest: Endpoint }
  /** 0 leaves a timeout as it is. */
  | { readonly op: 'set-timeouts'; readonly timeouts: Timeouts }
  | { readonly op: 'start-daemon'; readonly daemon: Daemon }
  | { readonly op: 'stop-daemon'; readonly role: DaemonRole }
  | { readonly op: 'add-laddr' | 'delete-laddr'; readonly service: ServiceId; readonly local: LocalAddress }
  | {
      readonly op: 'add-subject' | 'delete-subject';
      readonly list: ListName;
      readonly service: ServiceId;
      readonly subject: Subject;
    };

/** One connection, as --sockpair names it. */
export interface SocketPair {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  readonly source: Endpoint;
  readonly target: Endpoint;
}

export interface ListFormat {
  readonly numeric: boolean;
  readonly stats: boolean;
  readonly rate: boolean;
  readonly thresholds: boolean;
  readonly persistentConn: boolean;
  readonly tunInfo: boolean;
  readonly exact: boolean;
  readonly nosort: boolean;
}

export type Query =
  | { readonly op: 'list-services'; readonly service: ServiceId | null; readonly format: ListFormat }
  /** `cpu` and `pair` are DPVS's: lines are then in DPVS's form. */
  | {
      readonly op: 'list-conns';
      readonly format: ListFormat;
      readonly pair: SocketPair | null;
      readonly cpu: number | null;
    }
  | { readonly op: 'list-timeouts' }
  | { readonly op: 'list-daemons' }
  | { readonly op: 'list-laddrs'; readonly service: ServiceId | null }
  | { readonly op: 'list-subjects'; readonly list: ListName; readonly service: ServiceId | null }
  | { readonly op: 'save'; readonly numeric: boolean };

export type Op = Mutation | Query | { readonly op: 'restore' };

const QUERIES: ReadonlySet<string> = new Set<Query['op']>([
  'list-services',
  'list-conns',
  'list-timeouts',
  'list-daemons',
  'list-laddrs',
  'list-subjects',
  'save',
]);
export const isQuery = (op: Mutation | Query): op is Query => QUERIES.has(op.op);
