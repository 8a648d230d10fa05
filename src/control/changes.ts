/**
 * Requests that change something: what they may look like, and what they are answered. A body that is not understood, a
 * name that does not exist and a change that cannot be are told apart by status and say what would be right. Called by
 * server.ts.
 */
import { z } from 'zod';
import { formatIpv4, isGroupMac, notAHost, parseIpv4, parseMac } from '../config/address.ts';
import { formatError } from '../config/error.ts';
import { load } from '../config/load.ts';
import type { Config, DestConfig, Ipv4, Mac, ServiceConfig } from '../config/model.ts';
import {
  type ChangeReply,
  type ConnRequest,
  type ErrorReply,
  type IpvsRequest,
  PATHS,
  type ReloadRequest,
  type ServerRequest,
  type ServerWish,
  type ServiceRequest,
  type ZeroRequest,
} from './api.ts';
import type { AddressRequest, FlushRequest, NeighRequest, RouteRequest } from './api-network.ts';
import { addServer, deleteServer, deleteService, NO_MAC, patchService, putService, setLocal } from './edit.ts';
import { MUTATION } from './mutation-form.ts';
import {
  addAddress,
  addRoute,
  deleteAddress,
  deleteRoute,
  flushAddresses,
  flushRoutes,
  linkIndex,
  setRoute,
} from './network.ts';
import { ChangeError, ERROR_CODES, find, findServer, type RunningConfig } from './running-config.ts';
import type { Snapshot } from './snapshot.ts';

export interface Answer {
  readonly status: number;
  readonly body: object;
  /** Methods allowed, where another was used. */
  readonly allow?: string;
}

export function refuse(status: number, error: string, more: Partial<ErrorReply> = {}): Answer {
  const body: ErrorReply = { code: ERROR_CODES[status] ?? 'FAILED', error, ...more };
  return { status, body };
}

/** Longest time until a deadline: a day. */
const MAX_DEADLINE_MS = 86_400_000;

const LIMIT = z.int().min(0).max(0x7fffffff).optional();
const SECONDS = z.int().min(0).max(31_535_999).optional();
const ENDPOINT = z.string().regex(/^[\d.]+:\d{1,5}$/);

const SERVER = z.strictObject({
  address: z.string(),
  weight: z.int().optional(),
  mac: z.string().optional(),
  name: z.string().optional(),
  mode: z.string().optional(),
  upper: LIMIT,
  lower: LIMIT,
  place: z.enum(['first', 'last']).optional(),
});
const TEXT = z.union([z.string(), z.number(), z.boolean()]);
const SERVICE = z.object({ servers: z.array(SERVER).optional() }).catchall(z.union([TEXT, z.null(), z.array(TEXT)]));

const FLUSH = z.strictObject({ all: z.literal(true), link: z.string().optional() });

const FORMS = {
  reload: z.strictObject({ file: z.string().min(1).optional() }),
  wish: z
    .strictObject({
      weight: z.int().min(0).max(65535).optional(),
      state: z.enum(['ready', 'drain', 'maint']).optional(),
      deadlineMs: z.int().min(0).max(MAX_DEADLINE_MS).optional(),
      upper: LIMIT,
      lower: LIMIT,
    })
    .refine((wish) => Object.keys(wish).some((key) => key !== 'deadlineMs'))
    .refine(({ state, deadlineMs }) => deadlineMs === undefined || state === 'maint'),
  server: SERVER,
  service: SERVICE,
  timeouts: z.strictObject({ tcp: SECONDS, tcpfin: SECONDS, udp: SECONDS }),
  zero: z.strictObject({ service: z.string().optional() }),
  address: z.union([z.strictObject({ address: z.string(), link: z.string() }), FLUSH]),
  route: z.union([
    z.strictObject({ prefix: z.string(), via: z.string().optional(), link: z.string().optional() }),
    FLUSH,
  ]),
  neigh: z.strictObject({ address: z.string(), link: z.string(), mac: z.string().optional() }),
  conn: z.strictObject({ proto: z.enum(['tcp', 'udp']), client: ENDPOINT, vip: ENDPOINT }),
  ipvs: z.strictObject({
    mutations: z.array(MUTATION).max(10_000),
    atomic: z.boolean().optional(),
  }),
};

const HINTS: Readonly<Record<keyof typeof FORMS, string>> = {
  reload: 'send nothing, or {"file": "/etc/tsvs/lb.conf"}',
  wish: 'send {"weight": 0..65535}, {"upper": 1000, "lower": 800}, {"state": "ready"}, {"state": "drain"} or {"state": "maint", "deadlineMs": 30000}',
  server:
    'send {"address": "10.0.0.11:80", "weight": 1}, and mac, name, mode, upper, lower, place ("first", "last") as needed',
  service:
    'send the keys of [service NAME] in lb.conf, as in {"ip": "10.0.0.10", "ports": 80, "mode": "nat", "servers": [{"address": "10.0.0.11:80"}]}',
  timeouts: 'send seconds, as in {"tcp": 900, "tcpfin": 120, "udp": 300}; 0 or left out: as it is',
  zero: 'send {} or {"service": "web"}',
  address: 'send {"address": "10.1.0.2/24", "link": "lan"}; DELETE takes {"all": true, "link": "lan"} as well',
  route: 'send {"prefix": "10.5.0.0/16", "via": "10.1.0.254"}; DELETE takes {"all": true} as well',
  neigh: 'send {"address": "10.0.0.11", "link": "lan", "mac": "02:00:00:00:00:11"}; DELETE needs no mac',
  conn: 'send {"proto": "tcp", "client": "10.0.0.7:40000", "vip": "10.0.0.10:80"}',
  ipvs: 'send {"mutations": [...]}, as src/ipvsadm/ops.ts has them',
};

/** What a path of the services names; null when it is no such path. */
export interface Names {
  readonly service: string;
  readonly part: 'servers' | 'local-addresses' | null;
  /** A server or a local address; null for the list of them. */
  readonly member: string | null;
}

export function namesIn(path: string): Names | null {
  const form = new RegExp(`^${PATHS.services}/([^/]+)(?:/(servers|local-addresses)(?:/([^/]+))?)?$`);
  const [, service, part = null, member = null] = form.exec(path) ?? [];
  if (service === undefined) return null;
  try {
    const decoded = member === null ? null : decodeURIComponent(member);
    return { service: decodeURIComponent(service), part: part as Names['part'], member: decoded };
  } catch {
    return null;
  }
}

const METHODS: Readonly<Record<string, readonly string[]>> = {
  // server.ts answers it itself: its body is a stream.
  [PATHS.capture]: ['POST', 'DELETE'],
  [PATHS.reload]: ['POST'],
  [PATHS.config]: ['PUT'],
  [PATHS.timeouts]: ['PUT'],
  [PATHS.zero]: ['POST'],
  [PATHS.ipvs]: ['POST'],
  [PATHS.conns]: ['DELETE'],
  [PATHS.addresses]: ['POST', 'DELETE'],
  [PATHS.routes]: ['POST', 'PUT', 'DELETE'],
  [PATHS.neigh]: ['POST', 'DELETE'],
  [PATHS.services]: ['DELETE'],
};

const ROUTE_EDITS: Readonly<Record<string, (config: Config, route: RouteRequest) => Config>> = {
  ...{ POST: addRoute, PUT: setRoute, DELETE: deleteRoute },
};

/** The methods that change something at `path`. */
export function changeMethods(path: string): readonly string[] {
  const names = namesIn(path);
  if (names === null) return METHODS[path] ?? [];
  if (names.part === null) return ['PUT', 'PATCH', 'DELETE'];
  if (names.member !== null) return ['PUT', 'DELETE'];
  return names.part === 'servers' ? ['POST'] : [];
}

/** Whether there is something to read at a path of the services. */
export const isShown = ({ part, member }: Names): boolean => part === null || (part === 'servers' && member !== null);

/** Makes a change. Never throws. Precondition: `method` is among the `changeMethods(path)`. */
export async function change(
  method: string,
  path: string,
  body: string,
  running: RunningConfig,
  snapshot: Snapshot,
): Promise<Answer> {
  try {
    const names = namesIn(path);
    if (names === null) return { status: 200, body: await changeWhole(method, path, body, running, snapshot) };
    return await changeService(method, path, names, body, running, snapshot);
  } catch (error) {
    if (!(error instanceof ChangeError)) return refuse(500, String(error));
    const { status, message, hint, errors, code } = error;
    return refuse(status, message, { code, ...(hint && { hint }), ...(errors.length > 0 && { errors }) });
  }
}

async function changeWhole(
  method: string,
  path: string,
  body: string,
  running: RunningConfig,
  snapshot: Snapshot,
): Promise<object> {
  const done = (changes: readonly string[]): ChangeReply => ({ version: running.version, changes });
  switch (path) {
    case PATHS.reload: {
      const { file } = read<ReloadRequest>('reload', body === '' ? '{}' : body);
      return running.reload(file);
    }
    case PATHS.config:
      return done(await running.change(() => configOf(body)));
    case PATHS.services:
      return done(await running.change((held) => ({ ...held, services: [] })));
    case PATHS.timeouts: {
      const asked = read<{ tcp?: number; tcpfin?: number; udp?: number }>('timeouts', body);
      const timeouts = { tcp: 0, tcpfin: 0, udp: 0, ...asked };
      await snapshot.ipvs.change([{ op: 'set-timeouts', timeouts }], true, running);
      return snapshot.ipvs.reply(running.config).timeouts;
    }
    case PATHS.zero: {
      const { service } = read<ZeroRequest>('zero', body === '' ? '{}' : body);
      snapshot.ipvs.zero(service === undefined ? null : find(running.config, service));
      return done([]);
    }
    case PATHS.addresses: {
      const asked = read<AddressRequest | FlushRequest>('address', body);
      if ('all' in asked && method === 'POST') throw new ChangeError(400, 'all what?', HINTS.address);
      return done(
        await running.change((held) => {
          if ('all' in asked) return flushAddresses(held, asked);
          return method === 'POST' ? addAddress(held, asked) : deleteAddress(held, asked);
        }),
      );
    }
    case PATHS.routes: {
      const asked = read<RouteRequest | FlushRequest>('route', body);
      if ('all' in asked && method !== 'DELETE') throw new ChangeError(400, 'all what?', HINTS.route);
      return done(
        await running.change((held) => {
          if ('all' in asked) return flushRoutes(held, asked);
          return ROUTE_EDITS[method]!(held, asked);
        }),
      );
    }
    case PATHS.neigh: {
      const { address, link, mac } = read<NeighRequest>('neigh', body);
      const ip = parseIpv4(address);
      const known = mac === undefined ? null : parseMac(mac);
      if (ip === null || (method === 'POST' && known === null))
        throw new ChangeError(400, 'address or mac is none', HINTS.neigh);
      const index = linkIndex(running.config, link);
      if (method === 'POST') checkNeighbour(ip, known!);
      else if (!snapshot.neigh().neighbours.some((one) => one.address === address && one.link === link)) {
        throw new ChangeError(404, `${address} is no neighbour on ${link}`, '');
      }
      await running.setNeighbour({
        ...{ do: 'setNeighbour', ip, link: index },
        mac: method === 'POST' ? known : null,
      });
      return done([]);
    }
    case PATHS.conns: {
      const { proto, client, vip } = read<ConnRequest>('conn', body);
      await running.closeConnection({ do: 'closeConnection', proto, client: endOf(client), vip: endOf(vip) });
      return done([]);
    }
    default: {
      const { mutations, atomic = false } = read<IpvsRequest>('ipvs', body);
      return snapshot.ipvs.change(mutations, atomic, running);
    }
  }
}

/** Throws ChangeError. */
function checkNeighbour(ip: Ipv4, mac: Mac): void {
  const wrong = notAHost(ip);
  if (wrong !== '') throw new ChangeError(400, `${formatIpv4(ip)} ${wrong}`, 'write the address of a host');
  if (isGroupMac(mac) || mac === NO_MAC)
    throw new ChangeError(400, `${mac} is not the MAC address of one host`, HINTS.neigh);
}

async function changeService(
  method: string,
  path: string,
  { service, part, member }: Names,
  body: string,
  running: RunningConfig,
  snapshot: Snapshot,
): Promise<Answer> {
  const whose = (): ServiceConfig => find(running.config, service);
  const done = (changes: readonly string[]): Answer => {
    const reply: ChangeReply = { version: running.version, changes };
    return { status: 200, body: reply };
  };
  if (part === null) {
    if (method !== 'PUT') whose();
    if (method === 'DELETE') return done(await running.change((held) => deleteService(held, service)));
    const keys = read<ServiceRequest>('service', body);
    const make = method === 'PUT' ? putService : patchService;
    const changes = await running.change((held) => make(held, service, keys));
    // Services of several ports are several services.
    const shown = show(path, snapshot);
    return shown.status === 200 ? shown : done(changes);
  }
  if (part === 'local-addresses') {
    const addr = parseIpv4(member!);
    if (addr === null) throw new ChangeError(400, `'${member}' is no address`, 'as in 10.0.0.30');
    return done(await running.change((held) => setLocal(held, find(held, service), addr, method === 'PUT')));
  }
  if (member === null) {
    const server = read<ServerRequest>('server', body);
    return done(await running.change((held) => addServer(held, find(held, service), server)));
  }
  if (method === 'DELETE') {
    const one = (held: typeof running.config): [ServiceConfig, DestConfig] => findServer(held, service, member);
    return done(await running.change((held) => deleteServer(held, ...one(held))));
  }
  await running.setServer(service, member, read<ServerWish>('wish', body));
  return show(path, snapshot);
}

/** A service or a server of it. */
export function show(path: string, snapshot: Snapshot): Answer {
  const names = namesIn(path);
  const services = snapshot.serviceList();
  const service = services.find(({ name }) => name === names?.service);
  if (service === undefined) {
    return refuse(404, `no service is called '${names?.service}'`, {
      hint: services.map((one) => one.name).join(', '),
    });
  }
  if (!names?.member) return { status: 200, body: service };
  const server = service.servers.find(({ name, state }) => name === names.member && state !== 'removed');
  if (server !== undefined) return { status: 200, body: server };
  const hint = service.servers.map((one) => one.name).join(', ');
  return refuse(404, `no server of ${service.name} is called '${names.member}'`, { hint });
}

/** A whole configuration, as the text of lb.conf or as what GET gives. Throws ChangeError. */
function configOf(body: string) {
  const text = body.trimStart().startsWith('{') ? read<{ text: string }>(CONFIG_FORM, body, CONFIG_HINT).text : body;
  const loaded = load(text, 'request');
  if ('model' in loaded) return loaded.model;
  throw new ChangeError(422, 'the configuration has errors', 'nothing has changed', loaded.errors.map(formatError));
}
const CONFIG_FORM = z.object({ text: z.string() });
const CONFIG_HINT = 'send lb.conf as it is, or {"text": "..."}';

function endOf(endpoint: string): { ip: number; port: number } {
  const [address, port] = endpoint.split(':');
  const ip = parseIpv4(address!);
  if (ip === null || Number(port) > 65535)
    throw new ChangeError(400, `'${endpoint}' is no address and port`, HINTS.conn);
  return { ip, port: Number(port) };
}

function read<T>(form: keyof typeof FORMS | z.ZodType, body: string, hint = ''): T {
  const [type, help] = typeof form === 'string' ? [FORMS[form], HINTS[form]] : [form, hint];
  let json: unknown;
  try {
    json = JSON.parse(body);
  } catch {
    throw new ChangeError(400, 'the body is not JSON', help);
  }
  const { success, data } = (type as z.ZodType<unknown>).safeParse(json);
  if (!success) throw new ChangeError(400, 'the body is not understood', help);
  return data as T;
}
