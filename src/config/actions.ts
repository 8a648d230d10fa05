/**
 * The changes that lead from one configuration to another, as plain data: made by diff.ts, told to people by
 * action-words.ts, sent to the worker as JSON and applied there to tables (src/workers/apply.ts) and, by `applyTo`, to
 * the model.
 *
 * A service goes by protocol, address and port, a server by address and port: names may change, and sessions know none.
 */
import type {
  Config,
  DestConfig,
  GlobalConfig,
  Ipv4,
  LinkConfig,
  MarkConfig,
  NetworkConfig,
  Proto,
  ServiceConfig,
  TcpSettings,
} from './model.ts';
import type { AddressRole } from './own-addresses.ts';

export interface ServiceRef {
  /** For words only. */
  readonly name: string;
  readonly proto: Proto;
  readonly vip: Ipv4;
  readonly port: number;
}

export interface ServerRef {
  /** For words only. */
  readonly name: string;
  readonly ip: Ipv4;
  readonly port: number;
}

/** A key of the file that changes; null where it does not stand. For words only. */
export interface KeyChange {
  readonly key: string;
  readonly from: string | null;
  readonly to: string | null;
}

/** A service without its servers. */
export type ServiceSettings = Omit<ServiceConfig, 'dests'>;

export type Action =
  | { readonly do: 'addService'; readonly service: ServiceConfig }
  | { readonly do: 'removeService'; readonly at: ServiceRef }
  | {
      readonly do: 'editService';
      readonly at: ServiceRef;
      readonly settings: ServiceSettings;
      readonly changes: readonly KeyChange[];
    }
  | { readonly do: 'addServer'; readonly at: ServiceRef; readonly server: DestConfig }
  | { readonly do: 'removeServer'; readonly at: ServiceRef; readonly server: ServerRef }
  | {
      readonly do: 'editServer';
      readonly at: ServiceRef;
      readonly server: DestConfig;
      readonly changes: readonly KeyChange[];
    }
  /** Schedulers that go in turn follow the order. */
  | { readonly do: 'orderServers'; readonly at: ServiceRef; readonly servers: readonly ServerRef[] }
  | { readonly do: 'orderServices'; readonly services: readonly ServiceRef[] }
  | { readonly do: 'addAddress' | 'removeAddress'; readonly addr: Ipv4; readonly role: AddressRole }
  /** Addresses and routes of the link with this index. */
  | {
      readonly do: 'editLink';
      readonly index: number;
      readonly link: LinkConfig;
      readonly changes: readonly KeyChange[];
    }
  | { readonly do: 'editNetwork'; readonly network: NetworkConfig; readonly changes: readonly KeyChange[] }
  | { readonly do: 'editTcp'; readonly tcp: TcpSettings; readonly changes: readonly KeyChange[] }
  | { readonly do: 'editMarks'; readonly marks: readonly MarkConfig[]; readonly changes: readonly KeyChange[] }
  | { readonly do: 'editGlobal'; readonly global: GlobalConfig; readonly changes: readonly KeyChange[] };

type Endpointed = Pick<ServiceConfig, 'proto' | 'vip' | 'port'>;

export const serviceKey = ({ proto, vip, port }: Endpointed): string => `${proto} ${vip} ${port}`;
export const serverKey = ({ ip, port }: Pick<DestConfig, 'ip' | 'port'>): string => `${ip} ${port}`;

/** The model after the actions. Throws Error when one of them speaks of what is not there, or is there already. */
export function applyTo(config: Config, actions: readonly Action[]): Config {
  return actions.reduce(applyOne, config);
}

function applyOne(config: Config, action: Action): Config {
  const { services } = config;
  switch (action.do) {
    case 'addService':
      demand(!services.some(is(action.service)), `service ${action.service.name} is there already`);
      return { ...config, services: [...services, action.service] };
    case 'removeService':
      return { ...config, services: services.filter((service) => service !== find(config, action.at)) };
    case 'editService':
      return replace(config, action.at, (service) => ({ ...action.settings, dests: service.dests }));
    case 'addServer':
      return replaceServers(config, action.at, (dests) => {
        demand(!dests.some(isServer(action.server)), `server ${action.server.name} is there already`);
        return [...dests, action.server];
      });
    case 'removeServer':
      return replaceServers(config, action.at, (dests) => {
        demand(dests.some(isServer(action.server)), `there is no server ${action.server.name}`);
        return dests.filter((dest) => !isServer(action.server)(dest));
      });
    case 'editServer':
      return replaceServers(config, action.at, (dests) => {
        demand(dests.some(isServer(action.server)), `there is no server ${action.server.name}`);
        return dests.map((dest) => (isServer(action.server)(dest) ? action.server : dest));
      });
    case 'orderServers':
      return replaceServers(config, action.at, (dests) => inOrder(dests, action.servers, serverKey));
    case 'orderServices':
      return { ...config, services: inOrder(services, action.services, serviceKey) };
    case 'editLink':
      return { ...config, links: config.links.map((link, i) => (i === action.index ? action.link : link)) };
    case 'editNetwork':
      return { ...config, network: action.network };
    case 'editTcp':
      return { ...config, tcp: action.tcp };
    case 'editMarks':
      return { ...config, marks: action.marks };
    case 'editGlobal':
      return { ...config, global: action.global };
    // Addresses follow from services and network: own-addresses.ts.
    case 'addAddress':
    case 'removeAddress':
      return config;
  }
}

const is =
  (one: Endpointed) =>
  (other: Endpointed): boolean =>
    serviceKey(one) === serviceKey(other);
const isServer =
  (one: ServerRef) =>
  (other: DestConfig): boolean =>
    serverKey(one) === serverKey(other);

/** Throws Error when there is none. */
export function find(config: Pick<Config, 'services'>, at: ServiceRef): ServiceConfig {
  const service = config.services.find(is(at));
  if (service === undefined) throw new Error(`there is no service ${at.name}`);
  return service;
}

function replace(config: Config, at: ServiceRef, make: (service: ServiceConfig) => ServiceConfig): Config {
  const old = find(config, at);
  return { ...config, services: config.services.map((service) => (service === old ? make(service) : service)) };
}

function replaceServers(
  config: Config,
  at: ServiceRef,
  make: (dests: readonly DestConfig[]) => readonly DestConfig[],
): Config {
  return replace(config, at, (service) => ({ ...service, dests: make(service.dests) }));
}

function inOrder<T, R>(all: readonly T[], order: readonly R[], keyOf: (one: T | R) => string): T[] {
  const byKey = new Map(all.map((one) => [keyOf(one), one]));
  const ordered = order.flatMap((ref) => byKey.get(keyOf(ref)) ?? []);
  demand(ordered.length === all.length && order.length === all.length, 'the order names other ones than there are');
  return ordered;
}

function demand(holds: boolean, message: string): asserts holds {
  if (!holds) throw new Error(message);
}
