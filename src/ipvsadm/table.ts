/**
 * The table of virtual services as plain data: what the commands change, and what the listings show. model.ts makes a new one from an
 * old one; a running director fills in the counters and connections of a snapshot.
 */
import { type Address, sameAddress } from './address.ts';
import type { Protocol } from './names.ts';
import type {
  AddressRange,
  Daemon,
  DestSettings,
  Endpoint,
  LocalAddress,
  ServiceId,
  ServiceSettings,
  Subject,
  Timeouts,
} from './ops.ts';

/** Totals since the last zeroing, and rates per second. 64 bits. */
const MAX_PORT = 65_535;

export interface Stats {
  readonly conns: bigint;
  readonly inPkts: bigint;
  readonly outPkts: bigint;
  readonly inBytes: bigint;
  readonly outBytes: bigint;
  readonly cps: bigint;
  readonly inPps: bigint;
  readonly outPps: bigint;
  readonly inBps: bigint;
  readonly outBps: bigint;
}

export const ZERO_STATS: Stats = {
  conns: 0n,
  inPkts: 0n,
  outPkts: 0n,
  inBytes: 0n,
  outBytes: 0n,
  cps: 0n,
  inPps: 0n,
  outPps: 0n,
  inBps: 0n,
  outBps: 0n,
};

export interface Dest extends Endpoint {
  readonly settings: DestSettings;
  readonly stats: Stats;
  readonly activeConns: number;
  readonly inactConns: number;
  readonly persistConns: number;
  /** Set by the health check and by the thresholds. */
  readonly inhibited: boolean;
  readonly overloaded: boolean;
}

export interface LocalEntry extends LocalAddress {
  readonly conflicts: bigint;
  readonly conns: number;
}

export interface Service {
  readonly id: ServiceId;
  readonly settings: ServiceSettings;
  readonly stats: Stats;
  /** The server added last comes first: that is where the schedulers begin. */
  readonly dests: readonly Dest[];
  readonly laddrs: readonly LocalEntry[];
  readonly deny: readonly Subject[];
  readonly allow: readonly Subject[];
}

export interface Table {
  /** In the order of adding. */
  readonly services: readonly Service[];
  readonly timeouts: Timeouts;
}

export const EMPTY_TABLE: Table = { services: [], timeouts: { tcp: 900, tcpfin: 120, udp: 300 } };

export interface Connection {
  /** `ip`: a template of a fwmark service. */
  readonly protocol: Protocol | 'ip';
  readonly expireSec: number;
  readonly state: string;
  readonly client: Endpoint;
  readonly virtual: Endpoint;
  readonly dest: Endpoint;
  /** FullNAT and SNAT only. */
  readonly local: Endpoint | null;
  readonly worker: number;
  readonly template: boolean;
  readonly pe: { readonly name: string; readonly data: string } | null;
}

/** Everything the listings can show. */
export interface Snapshot extends Table {
  /** Buckets of the connection table. */
  readonly tableSize: number;
  readonly conns: readonly Connection[];
  readonly daemons: readonly Daemon[];
}

export const snapshotOf = (table: Table): Snapshot => ({ ...table, tableSize: 4096, conns: [], daemons: [] });

export function sameService(a: ServiceId, b: ServiceId): boolean {
  switch (a.kind) {
    case 'address':
      return b.kind === a.kind && b.protocol === a.protocol && sameEndpoint(a, b);
    case 'fwmark':
      return b.kind === a.kind && b.mark === a.mark && b.family === a.family;
    case 'match': {
      if (b.kind !== a.kind || b.protocol !== a.protocol || b.family !== a.family) return false;
      const { from, to, iif, oif } = a.match;
      return sameRange(from, b.match.from) && sameRange(to, b.match.to) && iif === b.match.iif && oif === b.match.oif;
    }
  }
}

export const sameEndpoint = (a: Endpoint, b: Endpoint): boolean =>
  a.port === b.port && sameAddress(a.address, b.address);

function sameRange(a: AddressRange | null, b: AddressRange | null): boolean {
  if (a === null || b === null) return a === b;
  return sameAddress(a.low, b.low) && sameAddress(a.high, b.high) && samePorts(a, b);
}

export const isAnyPort = ({ lowPort, highPort }: Pick<AddressRange, 'lowPort' | 'highPort'>): boolean =>
  lowPort === 0 && (highPort === 0 || highPort === MAX_PORT);

const samePorts = (a: AddressRange, b: AddressRange): boolean =>
  (isAnyPort(a) && isAnyPort(b)) || (a.lowPort === b.lowPort && a.highPort === b.highPort);

export function sameSubject(a: Subject, b: Subject): boolean {
  if (a.kind === 'ipset') return b.kind === 'ipset' && a.name === b.name;
  return b.kind === 'address' && sameAddress(a.address, b.address);
}

export const sameLocal = (a: LocalAddress, b: { readonly address: Address }): boolean =>
  sameAddress(a.address, b.address);
