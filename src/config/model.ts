/**
 * The configuration model: what every front end (lb.conf today) loads into and everything else reads.
 * Plain readonly data without methods, so structuredClone carries it: the supervisor passes it to a worker as workerData.
 *
 * How it grows: a member that is fixed to one word today (`af`, `proto`, `mode`) is the discriminant of a union tomorrow. IPv6
 * adds `af: 6` variants with 4 int32 per address, other forwarding modes add members to `Mode` and variants to `ServiceConfig`.
 *
 * IPv4 addresses are int32 in host order (print with formatIpv4), times are milliseconds, ports 0..65535.
 */

/** An IPv4 address as int32 in host order: 192.168.0.1 is 0xc0a80001 | 0. */
export type Ipv4 = number;

/** A MAC address in its one spelling: six lower-case hexadecimal pairs joined by colons. */
export type Mac = string;

/** How packets reach a real server: by connections of our own (layer 7), or as packets (layer 4). */
export const MODES = ['proxy', 'fnat', 'nat', 'dr', 'tun', 'snat'] as const;
export type Mode = (typeof MODES)[number];

export const PROTOS = ['tcp', 'udp', 'icmp'] as const;
/** In the place of a protocol: services that are told by a firewall mark or by ranges of addresses. */
export type Proto = (typeof PROTOS)[number] | 'mark' | 'match';

export const MATCH_PROTOS = ['any', ...PROTOS] as const;

/** Addresses and ports; the ends belong to it. */
export interface AddressRange {
  readonly low: Ipv4;
  readonly high: Ipv4;
  readonly lowPort: number;
  readonly highPort: number;
}

/** What packets a rule is for; null is any. */
export interface MatchConfig {
  readonly proto: (typeof MATCH_PROTOS)[number];
  readonly from: AddressRange | null;
  readonly to: AddressRange | null;
  /** Names of links: where the packet came in, where it would go out. */
  readonly iif: string | null;
  readonly oif: string | null;
}

/** A rule that gives packets a firewall mark. */
export interface MarkConfig {
  readonly name: string;
  readonly mark: number;
  readonly match: MatchConfig;
}

export const LOG_LEVELS = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const LINK_KINDS = ['tap', 'packet', 'xdp', 'pcap', 'memif', 'memory', 'pcapfile'] as const;
/** Links that are an interface of the system, with a MAC address of its own. */
export const INTERFACE_KINDS: readonly LinkKind[] = ['packet', 'xdp', 'pcap'];
export const XDP_MODES = ['auto', 'native', 'generic'] as const;
export type XdpMode = (typeof XDP_MODES)[number];
export const MEMIF_ROLES = ['client', 'server'] as const;
export type MemifRole = (typeof MEMIF_ROLES)[number];

/** How a link of kind memif finds its other side; other links do not look at it. */
export interface MemifConfig {
  readonly role: MemifRole;
  readonly id: number;
  readonly secret: string;
  readonly queues: number;
  /** Packets that a ring holds, a power of two. */
  readonly ring: number;
}

export type LinkKind = (typeof LINK_KINDS)[number];

export const CHECK_KINDS = ['off', 'tcp', 'http'] as const;
export const CHECK_METHODS = ['GET', 'HEAD'] as const;
/** What is said to a server about its client before anything else. */
export const PROXY_PROTOCOLS = ['off', 'v1', 'v2'] as const;

export const SCHEDULERS = [
  'conhash',
  'dh',
  'fo',
  'lblc',
  'lblcr',
  'lc',
  'mh',
  'nq',
  'ovf',
  'rr',
  'sed',
  'sh',
  'twos',
  'wlc',
  'wrr',
] as const;
export type SchedulerName = (typeof SCHEDULERS)[number];

/** What a worker has room for: services, each port one, and servers of all of them together, backups and addresses of SNAT included. */
export const MAX_SERVICES = 256;
export const MAX_DESTS = 4096;

/** Whether a scheduler is one from a file. */
export const isSchedulerFile = (scheduler: string): boolean => /\.(ts|js|mjs)$/.test(scheduler);

/** The keys of a service that are options of one scheduler: whose, and by what name (lb/sched says with which values). */
export const SCHEDULER_KEYS = {
  hash_key: { scheduler: 'conhash', option: 'key' },
  sh_port: { scheduler: 'sh', option: 'port' },
  sh_fallback: { scheduler: 'sh', option: 'fallback' },
  mh_port: { scheduler: 'mh', option: 'port' },
  mh_fallback: { scheduler: 'mh', option: 'fallback' },
  mh_table: { scheduler: 'mh', option: 'table' },
} as const satisfies Readonly<Record<string, { scheduler: SchedulerName; option: string }>>;
export type SchedulerKey = keyof typeof SCHEDULER_KEYS;

/** The keys that belong to a scheduler. */
export function schedulerKeys(scheduler: string): SchedulerKey[] {
  const keys = Object.keys(SCHEDULER_KEYS) as SchedulerKey[];
  return keys.filter((key) => SCHEDULER_KEYS[key].scheduler === scheduler);
}

/** Permissions of the control socket, in octal. */
export const CONTROL_MODES = ['0660', '0600', '0666'] as const;
export type ControlMode = (typeof CONTROL_MODES)[number];

export const POLLINGS = ['adaptive', 'busy'] as const;
export type Polling = (typeof POLLINGS)[number];

export interface GlobalConfig {
  /** The mode of services that name none. */
  readonly mode: Mode;
  readonly logLevel: LogLevel;
  /** Path of the unix control socket; null leaves the choice to the program. */
  readonly controlSocket: string | null;
  /** Its permissions, and whose group they are for: a name or number; null = that of the process. */
  readonly controlMode: ControlMode;
  readonly controlGroup: string | null;
  /** Who the process becomes once its links are open, by name or number; null = it stays who it is. `group` only with `user`. */
  readonly user: string | null;
  readonly group: string | null;
  /** What it takes to open links again is not given up with the rest; only with `user`. */
  readonly keepCapabilities: boolean;
  readonly workers: number;
  /** What a worker without work does: look for a while and then sleep, or go on looking. */
  readonly polling: Polling;
  /** How long sessions may go on after SIGTERM before they are reset. */
  readonly drainTimeoutMs: number;
  /** File that gets a line for each finished session; null = none. */
  readonly accessLog: string | null;
  /** Layer 4 counts as a hop: TTL is decremented. */
  readonly xmitTtl: boolean;
  /** Of services that say nothing else. */
  readonly slowStartMs: number;
  /** There is a layer 4, whatever the services are: they may come while tsvs runs. */
  readonly layer4: boolean;
  /** Whose IPIP tunnels end here; empty = there is no end of tunnels. */
  readonly ipipFrom: readonly Cidr[];
  /** Whose timeouts connections of layer 4 have, and which of them count as active. */
  readonly timeoutProfile: TimeoutProfile;
  /** Instead of the profile's, in ms; null leaves it. */
  readonly connTimeouts: ConnTimeouts;
}

export const TIMEOUT_PROFILES = ['dpvs', 'lvs'] as const;
export type TimeoutProfile = (typeof TIMEOUT_PROFILES)[number];

/** How long a connection of layer 4 may be silent: established, after a FIN of the server, UDP. */
export interface ConnTimeouts {
  readonly tcpMs: number | null;
  readonly tcpFinMs: number | null;
  readonly udpMs: number | null;
}

/** An address of ours with the length of its network's prefix. */
export interface InterfaceAddress {
  readonly ip: Ipv4;
  readonly prefixLen: number;
}

/** A network that is reached by way of a router. */
export interface RouteConfig extends Cidr {
  readonly gateway: Ipv4;
}

export const CONGESTION = ['cubic', 'reno'] as const;
export const ECN_WORDS = ['passive', 'on', 'off'] as const;
export const SYN_COOKIE_WORDS = ['auto', 'always', 'off'] as const;

/** How silent peers are asked whether they are there; idleMs 0 = they are not. */
export interface KeepAliveConfig {
  readonly idleMs: number;
  readonly intervalMs: number;
  readonly count: number;
}

/** Of the connections that end here. */
export interface TcpSettings {
  readonly congestion: (typeof CONGESTION)[number];
  readonly ecn: (typeof ECN_WORDS)[number];
  /** Bytes; 0 = as the links allow. */
  readonly mssClamp: number;
  /** How long data may stay unacknowledged; 0 = until retransmission gives up. */
  readonly userTimeoutMs: number;
  /** Of services that say nothing else. */
  readonly keepAlive: KeepAliveConfig;
  /** Half-open connections over all services. */
  readonly maxHalfOpen: number;
  readonly synCookies: (typeof SYN_COOKIE_WORDS)[number];
  readonly timeWaitMs: number;
}

export interface LinkConfig {
  readonly name: string;
  readonly kind: LinkKind;
  /** tap, packet, xdp: the interface; memif: the unix socket; pcapfile: the capture to replay; memory: the wire's name. */
  readonly device: string;
  /** Checksum and segmentation offload (the virtio-net header) on links that can. */
  readonly offload: 'on' | 'off';
  /** Where the XDP program runs; other links do not look at it. */
  readonly xdpMode: XdpMode;
  readonly memif: MemifConfig;
  /** Our own address on this link; null takes that of the interface. */
  readonly mac: Mac | null;
  /** Bytes of an IP packet, without the Ethernet header. */
  readonly mtu: number;
  /** Addresses of ours here, with the networks that are at this link besides the one of [network], which is at the first. */
  readonly addresses: readonly InterfaceAddress[];
  readonly routes: readonly RouteConfig[];
  /** The TAP by which the host gets what is not ours; null = nobody does. */
  readonly exception: string | null;
}

export interface NetworkConfig {
  readonly gateway: Ipv4 | null;
  readonly prefixLen: number;
  /** Source addresses of connections to servers; empty means the VIP. A VIP may be among them. */
  readonly localAddresses: readonly Ipv4[];
}

/** Zero means "no limit", except for connectMs, which is at least 1. */
export interface Timeouts {
  /** Until a server must have answered the SYN; then the next server is tried. */
  readonly connectMs: number;
  /** Longest silence of the client. */
  readonly clientMs: number;
  /** Longest silence of the server. */
  readonly serverMs: number;
  /** Longest silence once one side has closed its direction. */
  readonly finMs: number;
}

/** A real server. */
export interface DestConfig {
  readonly name: string;
  readonly af: 4;
  readonly ip: Ipv4;
  readonly port: number;
  /** Share of the connections, 0..65535; 0 takes no new ones. */
  readonly weight: number;
  /** Static neighbour entry; null asks by ARP. */
  readonly mac: Mac | null;
  /** Layer 4: how packets reach this server; left out: as the service says. */
  readonly mode?: Mode;
  /** Connections of this server: from `upper` on no new ones, until there are fewer than `lower`. Left out: maxConnections. */
  readonly upper?: number;
  readonly lower?: number;
}

/** A network of clients; the bits behind the prefix are 0. */
export interface Cidr {
  readonly network: Ipv4;
  readonly prefixLen: number;
}

export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

export interface HttpCheckConfig {
  readonly method: (typeof CHECK_METHODS)[number];
  readonly path: string;
  /** Null: the server's address. */
  readonly host: string | null;
  readonly status: readonly StatusRange[];
  /** Text that must occur in the body; empty = any body. */
  readonly body: string;
}

/** How the servers of a service are checked. */
export interface CheckConfig {
  /** Null: the server's. */
  readonly port: number | null;
  readonly intervalMs: number;
  readonly timeoutMs: number;
  readonly rise: number;
  readonly fall: number;
  readonly start: 'up' | 'down';
  /** Sessions that cannot connect count as failed checks. */
  readonly passive: boolean;
  /** Null: opening a connection is all. */
  readonly http: HttpCheckConfig | null;
}

/** Connections of a server that is drained or gone: they go on; those of a removed one end; all end. */
export const EXPIRE_QUIESCENT = ['off', 'removed', 'on'] as const;

/** What becomes of fragments: put together first, passed on as they come (dr, tun), dropped. */
export const FRAGMENT_POLICIES = ['reassemble', 'forward', 'drop'] as const;

/** FullNAT: the timestamp option of TCP is taken out of the SYN, or goes on with values of our own. */
export const TIMESTAMPS = ['strip', 'translate'] as const;

/** How clients are remembered, so that they come to the same server again. */
export interface PersistenceConfig {
  /** From the last connection on. */
  readonly timeoutMs: number;
  /** int32; clients that differ only in other bits count as one. */
  readonly netmask: number;
  /** A server of weight 0, or drained, gets nobody back. */
  readonly expireQuiescent: boolean;
}

/** A virtual service: one VIP and one port, or all; a firewall mark; or what a match says. */
export interface ServiceConfig {
  readonly name: string;
  readonly af: 4;
  readonly proto: Proto;
  /** `mark`: the mark. `match`: a number that tells it from others (matchId of match.ts). */
  readonly vip: Ipv4;
  /** 0 = all ports. */
  readonly port: number;
  /** With proto `match`, else null. */
  readonly match: MatchConfig | null;
  readonly mode: Mode;
  /** A SchedulerName, or the absolute path of a file with a scheduler in it. */
  readonly scheduler: string;
  /** Every option the scheduler has, by its own name for it. */
  readonly schedOptions: Readonly<Record<string, string>>;
  readonly timeouts: Timeouts;
  readonly keepAlive: KeepAliveConfig;
  /** Half-open connections of this service. */
  readonly maxHalfOpen: number;
  /** How many further servers are tried when connecting to the chosen one fails. */
  readonly retries: number;
  /** fnat: where packets to the servers leave from; snat: those to the world; empty otherwise. */
  readonly localAddresses: readonly Ipv4[];
  /** fnat, nat: the largest TCP segment size let through in a SYN, in bytes; 0 = any. */
  readonly mssClamp: number;
  /** fnat: what becomes of TCP's timestamps. */
  readonly timestamps: (typeof TIMESTAMPS)[number];
  /** Layer 4: how long an established TCP connection, or a UDP flow, may be silent; 0 = as [global] says. */
  readonly connTimeoutMs: number;
  /** Layer 4: whose connections end with their next packet. */
  readonly expireQuiescent: (typeof EXPIRE_QUIESCENT)[number];
  /** Layer 4; null: the scheduler chooses for each connection. */
  readonly persistence: PersistenceConfig | null;
  /** Layer 4, UDP, not fnat: each datagram is scheduled, and forgotten. */
  readonly onePacket: boolean;
  /** Layer 4: the same for all services of an address and protocol. */
  readonly fragments: (typeof FRAGMENT_POLICIES)[number];
  /** Null: the servers are not checked. */
  readonly check: CheckConfig | null;
  /** How long a server that comes up takes to get its whole weight; 0 = it has it at once. */
  readonly slowStartMs: number;
  /** Connections that each server may have; 0 = any number. */
  readonly maxConnections: number;
  /** How long a session may wait for a server with room; 0 = not at all. */
  readonly queueTimeoutMs: number;
  readonly proxyProtocol: (typeof PROXY_PROTOCOLS)[number];
  /** Clients that announce the real client by the PROXY protocol; all others are refused. Empty = nobody does. */
  readonly acceptProxy: readonly Cidr[];
  /** Gets the connections that no other server can take; null = they are refused. */
  readonly backup: DestConfig | null;
  readonly dests: readonly DestConfig[];
}

export interface Config {
  readonly global: GlobalConfig;
  readonly tcp: TcpSettings;
  readonly links: readonly LinkConfig[];
  readonly network: NetworkConfig;
  /** Rules, in the order in which they are asked. */
  readonly marks: readonly MarkConfig[];
  readonly services: readonly ServiceConfig[];
}
