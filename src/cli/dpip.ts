/**
 * `tsvs dpip`: links, addresses, routes and neighbours of a running tsvs, with the grammar and the listings of DPVS's dpip
 * (tools/dpip of github.com/iqiyi/dpvs).
 */

import { PATHS } from '../control/api.ts';
import type {
  AddressesReply,
  AddressRequest,
  FlushRequest,
  LinkReply,
  LinksReply,
  NeighReply,
  NeighRequest,
  PortsReply,
  RouteRequest,
  RoutesReply,
} from '../control/api-network.ts';
import { ask, type Method, send } from '../control/client.ts';
import { EXIT, Failure } from './failure.ts';
import { request } from './request.ts';

const USAGE = `Usage: tsvs dpip [-s] OBJECT { COMMAND | help }
  dpip [-s] link show [ LINK ]
  dpip [-s] addr show [ dev LINK ]
  dpip addr { add | del } ADDR[/PLEN] dev LINK
  dpip addr flush dev LINK
  dpip route show
  dpip route { add | del | set } { PREFIX | default } [ via ADDR ] [ dev LINK ]
  dpip route flush [ dev LINK ]
  dpip neigh show [ dev LINK ]
  dpip neigh { add | del } ADDR [ lladdr MAC ] dev LINK
Options: -4 is understood, -s adds statistics.`;

type Words = Readonly<Record<string, string>>;

/** Words behind `dpip`. Throws Failure. */
export async function dpip(words: readonly string[]): Promise<void> {
  const options = words.filter((word) => word.startsWith('-'));
  const unknown = options.find((option) => !['-4', '-s', '-h', '--help'].includes(option));
  if (unknown !== undefined) throw usage(unknown === '-6' ? 'IPv6 is not supported yet' : `unknown option ${unknown}`);
  const [object, command = 'show', ...rest] = words.filter((word) => !word.startsWith('-'));
  if (object === undefined || object === 'help' || command === 'help' || options.some((one) => /h/.test(one))) {
    console.log(USAGE);
    return;
  }
  const made = text(object, command, rest, options.includes('-s'));
  process.stdout.write(await made);
}

async function text(object: string, command: string, rest: readonly string[], stats: boolean): Promise<string> {
  switch (`${object} ${command}`) {
    case 'link show': {
      const { main } = wordsOf(rest, []);
      await linkOf(main);
      const { links, frames } = await get<LinksReply>(PATHS.links);
      return links
        .filter(({ name }) => main === undefined || name === main)
        .map((link) => formatLink(link, links.indexOf(link) + 1) + (stats ? formatNumbers(link, frames) : ''))
        .join('');
    }
    case 'addr show': {
      const { dev } = wordsOf(rest, ['dev']).named;
      const link = await linkOf(dev);
      const ports = stats ? await get<PortsReply>(PATHS.ports) : null;
      return formatAddresses(await get<AddressesReply>(PATHS.addresses), link, ports);
    }
    case 'addr add':
    case 'addr del': {
      const { main, named } = wordsOf(rest, ['dev', 'scope', 'broadcast', 'valid_lft', 'preferred_lft'], ['sapool']);
      if (main === undefined) throw usage('missing IFADDR');
      if (named['dev'] === undefined) throw usage('no device specified.');
      if (Number(named['valid_lft'] ?? 0) > 0) throw usage('addresses have no lifetime here');
      return change<AddressRequest>(command, PATHS.addresses, { address: main, link: named['dev'] });
    }
    case 'addr flush': {
      const { dev } = wordsOf(rest, ['dev']).named;
      if (dev === undefined) throw usage('no device specified.');
      return change<FlushRequest>(command, PATHS.addresses, { all: true, link: dev });
    }
    case 'route flush': {
      const { dev } = wordsOf(rest, ['dev']).named;
      return change<FlushRequest>(command, PATHS.routes, { all: true, ...(dev && { link: dev }) });
    }
    case 'route show':
      return formatRoutes(await get<RoutesReply>(PATHS.routes));
    case 'route add':
    case 'route set':
    case 'route replace':
    case 'route del': {
      const { main, named } = wordsOf(rest, ['via', 'dev', 'scope']);
      if (main === undefined) throw usage('missing prefix');
      const { via, dev } = named;
      const prefix = main === 'default' ? '0.0.0.0/0' : main;
      return change<RouteRequest>(command, PATHS.routes, { prefix, ...(via && { via }), ...(dev && { link: dev }) });
    }
    case 'neigh show': {
      const { dev } = wordsOf(rest, ['dev']).named;
      return formatNeighbours(await get<NeighReply>(PATHS.neigh), await linkOf(dev));
    }
    case 'neigh add':
    case 'neigh del': {
      const { main, named } = wordsOf(rest, ['dev', 'lladdr']);
      const { dev, lladdr } = named;
      if (main === undefined) throw usage('missing ip address');
      if (dev === undefined) throw usage('no device specified.');
      if (command === 'add' && lladdr === undefined) throw usage('invalid MAC address');
      return change<NeighRequest>(command, PATHS.neigh, { address: main, link: dev, ...(lladdr && { mac: lladdr }) });
    }
    default:
      throw usage(`'${object} ${command}' is not understood\n${USAGE}`);
  }
}

/** What stands alone, and what stands behind a word. Throws Failure. */
function wordsOf(
  rest: readonly string[],
  keys: readonly string[],
  flags: readonly string[] = [],
): { main: string | undefined; named: Words } {
  const named: Record<string, string> = {};
  let main: string | undefined;
  for (let i = 0; i < rest.length; i++) {
    const word = rest[i]!;
    if (flags.includes(word)) continue;
    if (keys.includes(word)) {
      const value = rest[++i];
      if (value === undefined) throw usage(`missing argument for '${word}'`);
      named[word] = value;
    } else if (main === undefined) main = word;
    else throw usage('too many arguments');
  }
  return { main, named };
}

const get = <T>(path: string): Promise<T> => request({}, (socket) => ask<T>(socket, path));

/** The name, if a link has it. Throws Failure. */
async function linkOf(name: string | undefined): Promise<string | undefined> {
  if (name === undefined) return undefined;
  const { links } = await get<LinksReply>(PATHS.links);
  if (links.some((link) => link.name === name)) return name;
  throw usage(`no link is called '${name}'; there is ${links.map((link) => link.name).join(', ')}`);
}

const METHODS: Readonly<Record<string, Method>> = { add: 'POST', set: 'PUT', replace: 'PUT' };

async function change<T extends object>(command: string, path: string, body: T): Promise<string> {
  const method = METHODS[command] ?? 'DELETE';
  await request(
    {},
    (socket) => send(socket, method, path, body),
    (status, { error, hint, errors }) => {
      // The first is the message.
      const more = (errors ?? []).slice(1).map((line) => `\n${line}`);
      return status >= 500 ? null : usage((hint ? `${error}: ${hint}` : error) + more.join(''));
    },
  );
  return '';
}

export function formatLink({ name, mtu, up, mac, offload }: LinkReply, number: number): string {
  const flags = offload === 'on' ? 'OF_RX_IP_CSUM OF_TX_IP_CSUM OF_TX_TCP_CSUM OF_TX_UDP_CSUM ' : '';
  return `${number}: ${name}: socket 0 mtu ${mtu} rx-queue 1 tx-queue 1\n    ${up ? 'UP' : 'DOWN'} \n    addr ${mac.toUpperCase()} ${flags}\n`;
}

export function formatNumbers(link: LinkReply, { inUse, free }: LinksReply['frames']): string {
  const row = (...cells: (string | number)[]): string =>
    `    ${cells.map((cell) => String(cell).padEnd(20)).join('')}\n`;
  return (
    row('ipackets', 'opackets', 'ibytes', 'obytes') +
    row(link.rxFrames, link.txFrames, link.rxBytes, link.txBytes) +
    row('errors', 'imissed', 'mbuf-avail', 'mbuf-inuse') +
    row(link.errors, link.missed, free, inUse)
  );
}

export function formatAddresses({ addresses }: AddressesReply, dev?: string, ports: PortsReply | null = null): string {
  const pools = new Map(ports?.addresses.map((pool) => [pool.address, pool]));
  return addresses
    .filter(({ link }) => dev === undefined || link === dev)
    .map(({ address, prefixLen, link, role }) => {
      const pool = pools.get(address);
      const numbers = pool ? ` sa_used ${pool.used} sa_free ${pool.free} sa_miss ${pool.misses}` : '';
      const more = (role === 'service' ? ' sapool' : '') + numbers;
      return `inet ${address}/${prefixLen} scope global ${link}\n     valid_lft forever preferred_lft forever${more}\n`;
    })
    .join('');
}

export function formatRoutes({ routes }: RoutesReply): string {
  return routes
    .map(({ prefix, prefixLen, via, link, mtu, scope }) => {
      const proto = scope === 'global' ? 'static' : 'auto';
      const flags = scope === 'link' ? 'onlink ' : '';
      return `inet ${prefix}/${prefixLen} via ${via ?? '0.0.0.0'} src 0.0.0.0 dev ${link} mtu ${mtu} tos 0 scope ${scope} metric 0 proto ${proto} ${flags}\n`;
    })
    .join('');
}

export function formatNeighbours({ neighbours }: NeighReply, dev?: string): string {
  return neighbours
    .filter(({ link }) => dev === undefined || link === dev)
    .map(({ address, mac, state, link, static: fixed }) => {
      const hardware = mac === null ? 'mac:incomplate                    ' : `mac: ${mac}`;
      return `ip: ${address.padEnd(48)} ${hardware}   state: ${state.toUpperCase().padEnd(12)}  dev: ${link}  core: 0  ${fixed ? 'static' : ''}\n`;
    })
    .join('');
}

const usage = (message: string): Failure => new Failure(EXIT.USAGE, message);
