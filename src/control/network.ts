/**
 * Links, addresses and routes of a running tsvs: shown as they follow from its configuration, and changed in it. Static neighbours
 * are no part of the configuration: they are told to the worker alone. Called by changes.ts and server.ts.
 */
import { Counters } from '../../stack/mem/counters.ts';
import { formatIpv4, formatMacWords, networkOf, parseIpv4 } from '../config/address.ts';
import type { Config, Ipv4, LinkConfig } from '../config/model.ts';
import { homeOf, ownAddresses } from '../config/own-addresses.ts';
import { type LinkNumbers, LinkStats } from '../workers/link-stats.ts';
import type { WorkerShare } from '../workers/plan.ts';
import type {
  AddressesReply,
  AddressRequest,
  FlushRequest,
  LinkReply,
  LinksReply,
  RouteReply,
  RouteRequest,
  RoutesReply,
} from './api-network.ts';
import { ChangeError } from './running-config.ts';

export class Network {
  /** By worker. */
  private readonly links: LinkStats[];
  private readonly counters: Counters[];

  constructor(shares: readonly WorkerShare[]) {
    this.links = shares.map((share) => new LinkStats(share.links));
    this.counters = shares.map((share) => Counters.attach(share.counters, 0));
  }

  /** A worker has other memory. */
  replace(worker: number, share: WorkerShare): void {
    this.links[worker] = new LinkStats(share.links);
    this.counters[worker] = Counters.attach(share.counters, 0);
  }

  linkList({ links }: Config): LinksReply {
    const counter = (name: string): number =>
      this.counters.reduce((n, counters) => n + counters.values[counters.index(name)]!, 0);
    return {
      links: links.map(({ name, kind, device, mtu: most, offload }, i): LinkReply => {
        const { macHi, macLo, mtu, ...numbers } = this.numbers(i);
        return { name, kind, device, mtu: Math.min(mtu, most), offload, mac: formatMacWords(macHi, macLo), ...numbers };
      }),
      frames: { inUse: counter('pool.inUse'), free: counter('pool.freeSmall') + counter('pool.freeBig') },
    };
  }

  /** Each worker counts what passes its queue. */
  private numbers(index: number): LinkNumbers {
    const [first, ...others] = this.links.map((links) => links.read(index));
    let sum = first!;
    for (const one of others) sum = { ...sum, ...countsOf(sum, one) };
    return sum;
  }
}

const COUNTS = ['rxFrames', 'rxBytes', 'txFrames', 'txBytes', 'missed', 'errors'] as const;
const countsOf = (a: LinkNumbers, b: LinkNumbers): Partial<LinkNumbers> =>
  Object.fromEntries(COUNTS.map((name) => [name, a[name] + b[name]]));

export function addressList(config: Config): AddressesReply {
  const addresses = [...ownAddresses(config)].map(([addr, role]) => {
    const { link, prefixLen } = homeOf(config, addr);
    return { address: formatIpv4(addr), prefixLen, link: config.links[link]!.name, role };
  });
  return { addresses };
}

/** What follows from the addresses, then what leads through routers. `state`: the links as they are now, which may take less than configured. */
export function routeList(
  config: Config,
  state: readonly Pick<LinkReply, 'name' | 'mtu'>[] = config.links,
): RoutesReply {
  const { links, network } = config;
  const route = (prefix: Ipv4, prefixLen: number, link: string, scope: RouteReply['scope'], via: string | null) => ({
    ...{ prefix: formatIpv4(prefix), prefixLen, via, link, scope },
    mtu: state.find(({ name }) => name === link)!.mtu,
  });
  const own = [...ownAddresses(config).keys()].map((addr) => ({ addr, ...homeOf(config, addr) }));
  const hosts = own.map(({ addr, link }) => route(addr, 32, links[link]!.name, 'host', null));
  const nets = new Map(
    own
      .filter(({ prefixLen }) => prefixLen < 32)
      .map(({ addr, link, prefixLen }) => {
        const at = route(networkOf(addr, prefixLen), prefixLen, links[link]!.name, 'link', null);
        return [`${at.prefix}/${prefixLen} ${at.link}`, at] as const;
      }),
  );
  const routers = links.flatMap(({ name, routes }) =>
    routes.map((one) => route(one.network, one.prefixLen, name, 'global', formatIpv4(one.gateway))),
  );
  const { gateway } = network;
  const last =
    gateway === null ? [] : [route(0, 0, links[homeOf(config, gateway).link]!.name, 'global', formatIpv4(gateway))];
  return { routes: [...hosts, ...nets.values(), ...routers, ...last] };
}

/** Throws ChangeError. */
export function addAddress(config: Config, { address, link }: AddressRequest): Config {
  const { ip, prefixLen } = prefixOf(address);
  const held = ownAddresses(config).get(ip);
  if (held !== undefined) throw new ChangeError(409, `${formatIpv4(ip)} is ours already, as a ${ROLE_WORDS[held]}`, '');
  return withLink(config, link, (one) => ({ ...one, addresses: [...one.addresses, { ip, prefixLen }] }));
}

const ROLE_WORDS = { local: 'local address', service: "service's local address", vip: 'virtual address' } as const;

/** Throws ChangeError. */
export function deleteAddress(config: Config, { address, link }: AddressRequest): Config {
  const { ip } = prefixOf(address);
  const { localAddresses } = config.network;
  if (localAddresses.includes(ip)) {
    const rest = localAddresses.filter((other) => other !== ip);
    return { ...config, network: { ...config.network, localAddresses: rest } };
  }
  return withLink(config, link, (one) => {
    const addresses = one.addresses.filter((other) => other.ip !== ip);
    if (addresses.length < one.addresses.length) return { ...one, addresses };
    const held = ownAddresses(config).get(ip);
    if (held === undefined) throw new ChangeError(404, `${formatIpv4(ip)} is no address of ours`, '');
    throw new ChangeError(409, `${formatIpv4(ip)} is a ${ROLE_WORDS[held]}`, 'it goes with its service');
  });
}

/** Throws ChangeError. */
export function addRoute(config: Config, { prefix, via, link }: RouteRequest): Config {
  const { ip, prefixLen } = prefixOf(prefix);
  const gateway = parseIpv4(via ?? '');
  if (gateway === null)
    throw new ChangeError(400, 'a route needs a router', 'networks at a link come with an address there');
  if (prefixLen === 0) {
    if (config.network.gateway !== null)
      throw new ChangeError(409, 'there is a default route already', 'remove it first');
    return { ...config, network: { ...config.network, gateway } };
  }
  const network = networkOf(ip, prefixLen);
  const at = link ?? config.links[homeOf(config, gateway).link]!.name;
  return withLink(config, at, (one) => {
    if (one.routes.some((other) => other.network === network && other.prefixLen === prefixLen)) {
      throw new ChangeError(409, `there is a route to ${prefix} already`, 'remove it first');
    }
    return { ...one, routes: [...one.routes, { network, prefixLen, gateway }] };
  });
}

/** `addRoute` in the place of the route to the same prefix, if there is one. Throws ChangeError. */
export function setRoute(config: Config, route: RouteRequest): Config {
  const { ip, prefixLen } = prefixOf(route.prefix);
  const network = networkOf(ip, prefixLen);
  const isKnown = config.links.some(({ routes }) =>
    routes.some((one) => one.network === network && one.prefixLen === prefixLen),
  );
  const had = prefixLen === 0 ? config.network.gateway !== null : isKnown;
  return addRoute(had ? deleteRoute(config, route) : config, route);
}

/** No route through a router any more, of a link or at all; the default route is of the link that its router is at. Throws ChangeError. */
export function flushRoutes(config: Config, { link }: FlushRequest): Config {
  if (link !== undefined) linkIndex(config, link);
  const isMeant = (name: string): boolean => link === undefined || name === link;
  const { gateway } = config.network;
  const goes = gateway !== null && isMeant(config.links[homeOf(config, gateway).link]!.name);
  const links = config.links.map((one) => (isMeant(one.name) ? { ...one, routes: [] } : one));
  return { ...config, links, network: { ...config.network, gateway: goes ? null : gateway } };
}

/** No address of ours on a link any more, apart from those of services. Throws ChangeError. */
export function flushAddresses(config: Config, { link }: FlushRequest): Config {
  if (link === undefined) throw new ChangeError(400, 'which link?', 'send {"all": true, "link": "lan"}');
  const flushed = withLink(config, link, (one) => ({ ...one, addresses: [] }));
  const isFirst = config.links[0]!.name === link;
  return isFirst ? { ...flushed, network: { ...flushed.network, localAddresses: [] } } : flushed;
}

/** Throws ChangeError. */
export function deleteRoute(config: Config, { prefix }: RouteRequest): Config {
  const { ip, prefixLen } = prefixOf(prefix);
  const network = networkOf(ip, prefixLen);
  if (prefixLen === 0) {
    if (config.network.gateway === null) throw new ChangeError(404, 'there is no default route', '');
    return { ...config, network: { ...config.network, gateway: null } };
  }
  const found = config.links.find(({ routes }) =>
    routes.some((one) => one.network === network && one.prefixLen === prefixLen),
  );
  if (found === undefined) throw new ChangeError(404, `there is no route to ${prefix} through a router`, '');
  const routes = found.routes.filter((one) => one.network !== network || one.prefixLen !== prefixLen);
  return withLink(config, found.name, (one) => ({ ...one, routes }));
}

function withLink(config: Config, name: string, edit: (link: LinkConfig) => LinkConfig): Config {
  linkIndex(config, name);
  return { ...config, links: config.links.map((link) => (link.name === name ? edit(link) : link)) };
}

/** Throws ChangeError. */
export function linkIndex({ links }: Config, name: string): number {
  const index = links.findIndex((link) => link.name === name);
  if (index < 0) throw new ChangeError(404, `no link is called '${name}'`, links.map((link) => link.name).join(', '));
  return index;
}

/** `10.0.0.1/24`; an address alone is a /32. Throws ChangeError. */
function prefixOf(text: string): { ip: Ipv4; prefixLen: number } {
  const [address = '', length = '32', more] = text.split('/');
  const ip = parseIpv4(address);
  if (ip === null || !/^\d{1,2}$/.test(length) || Number(length) > 32 || more !== undefined) {
    throw new ChangeError(400, `'${text}' is no IPv4 prefix`, 'write it as 10.0.0.1/24');
  }
  return { ip, prefixLen: Number(length) };
}
