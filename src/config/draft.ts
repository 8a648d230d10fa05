/**
 * What a front end has read before it is judged as a whole: values with the places they came from, null where there was none
 * or a wrong one (already complained about). read.ts makes drafts of lb.conf, fstack.ts fills one up, check.ts turns one into the model.
 */
import type { ErrorList, Located, Where } from './error.ts';
import type {
  CheckConfig,
  Cidr,
  GlobalConfig,
  InterfaceAddress,
  Ipv4,
  KeepAliveConfig,
  LinkKind,
  Mac,
  MatchConfig,
  MemifConfig,
  Mode,
  PersistenceConfig,
  Proto,
  RouteConfig,
  ServiceConfig,
  TcpSettings,
  Timeouts,
  XdpMode,
} from './model.ts';
import type { ServerKeys } from './read-section.ts';
import type { ServerValue } from './values.ts';

export interface DraftDest {
  readonly name: string;
  readonly server: Located<ServerValue>;
  readonly keys: ServerKeys;
}

export interface DraftService {
  readonly where: Where;
  /** The name, to which the port is added when there are several. */
  readonly name: string;
  readonly vip: Located<Ipv4> | null;
  readonly mark: Located<number> | null;
  readonly match: Located<MatchConfig> | null;
  readonly ports: Located<readonly number[]> | null;
  readonly proto: Proto;
  /** Null takes the mode of [global]. */
  readonly mode: Mode | null;
  readonly scheduler: string;
  readonly schedOptions: Readonly<Record<string, string>>;
  readonly timeouts: Timeouts;
  /** What is left out is that of [tcp]. */
  readonly keepAlive: Partial<KeepAliveConfig>;
  readonly maxHalfOpen: number;
  readonly retries: number;
  readonly localAddresses: readonly Located<Ipv4>[];
  /** `local_address = none`: not even those of [network]. */
  readonly noLocals: boolean;
  readonly mssClamp: number;
  readonly timestamps: ServiceConfig['timestamps'];
  readonly connTimeoutMs: number;
  readonly expireQuiescent: ServiceConfig['expireQuiescent'];
  readonly persistence: PersistenceConfig | null;
  readonly onePacket: boolean;
  readonly fragments: ServiceConfig['fragments'];
  readonly check: CheckConfig | null;
  /** Null takes that of [global]. */
  readonly slowStartMs: number | null;
  readonly maxConnections: number;
  readonly queueTimeoutMs: number;
  readonly proxyProtocol: 'off' | 'v1' | 'v2';
  readonly acceptProxy: readonly Cidr[];
  readonly backup: Located<ServerValue> | null;
  readonly dests: readonly DraftDest[];
  /** Set when every server could be read: only then the sum of the weights means something. */
  readonly complete: boolean;
}

export interface DraftMark {
  readonly where: Where;
  readonly name: string;
  readonly mark: Located<number> | null;
  readonly match: Located<MatchConfig> | null;
}

export interface DraftLink {
  readonly where: Where;
  readonly name: string;
  readonly kind: LinkKind;
  readonly device: Located<string>;
  readonly offload: 'on' | 'off';
  readonly xdpMode: XdpMode;
  readonly memif: MemifConfig;
  readonly mac: Located<Mac> | null;
  readonly mtu: number;
  readonly addresses: Located<readonly InterfaceAddress[]> | null;
  readonly routes: Located<readonly RouteConfig[]> | null;
  readonly exception: Located<string> | null;
}

export interface DraftNetwork {
  readonly gateway: Located<Ipv4> | null;
  readonly prefixLen: Located<number> | null;
  /** Where the netmask ought to stand, when nobody wrote one. */
  readonly netmaskMissing: { readonly where: Where; readonly message: string; readonly hint: string } | null;
  readonly localAddresses: readonly Located<Ipv4>[];
}

export interface Draft {
  readonly file: string;
  readonly errors: ErrorList;
  readonly global: GlobalConfig;
  readonly tcp: TcpSettings;
  readonly links: readonly DraftLink[];
  readonly network: DraftNetwork;
  /** [vip] mac: our address on the link of the plain form. */
  readonly vipMac: Located<Mac> | null;
  readonly marks: readonly DraftMark[];
  readonly services: readonly DraftService[];
}

/** The backup, too. */
export const allServers = ({ dests, backup }: DraftService): readonly Located<ServerValue>[] => [
  ...dests.map((dest) => dest.server),
  ...(backup ? [backup] : []),
];
