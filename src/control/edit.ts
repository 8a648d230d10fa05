/**
 * Changes of single services, servers and local addresses, as the control socket asks for them: each makes another configuration of
 * one. A service is given by the keys of lb.conf and read by the reader of lb.conf, so every key there is works here, with the same
 * messages. Called by changes.ts.
 */
import { formatEndpoint } from '../config/address.ts';
import { formatError } from '../config/error.ts';
import { load } from '../config/load.ts';
import type { Config, DestConfig, Ipv4, Mode, ServiceConfig } from '../config/model.ts';
import { save } from '../config/save.ts';
import { server as serverValue } from '../config/values.ts';
import type { ServerRequest, ServiceRequest } from './api.ts';
import { ChangeError } from './running-config.ts';

/** The service `name` with these keys, and the defaults of lb.conf for all others; in the place of one of that name. */
export function putService(config: Config, name: string, { servers = [], ...keys }: ServiceRequest): Config {
  const list = servers as readonly ServerRequest[];
  const lines = list.flatMap((one, i) => serverLines(one, i + 1));
  return read(config, name, [...linesOf(keys), ['count', String(list.length)], ...lines]);
}

/** The service `name` with these keys changed; null takes one out. */
export function patchService(config: Config, name: string, { servers, ...keys }: ServiceRequest): Config {
  const taken = new Set(Object.keys(keys));
  const isServers = (key: string): boolean => key === 'count' || /^server\d/.test(key);
  const kept = sectionsOf(config)
    .find(({ title }) => title === `service ${name}`)!
    .lines.filter(([key]) => !taken.has(key) && !(servers !== undefined && isServers(key)));
  const list = (servers ?? []) as readonly ServerRequest[];
  const lines: Line[] =
    servers === undefined ? [] : [['count', String(list.length)], ...list.flatMap((one, i) => serverLines(one, i + 1))];
  return read(config, name, [...kept, ...linesOf(keys), ...lines]);
}

export function deleteService(config: Config, name: string): Config {
  return { ...config, services: config.services.filter((service) => service.name !== name) };
}

/** Throws ChangeError. */
export function addServer(config: Config, service: ServiceConfig, request: ServerRequest): Config {
  const server = serverOf(request);
  const { dests } = service;
  if (dests.some(({ ip, port }) => ip === server.ip && port === server.port)) {
    throw new ChangeError(409, `${service.name} has a server ${request.address} already`, `change it with PUT`);
  }
  if (dests.some(({ name }) => name === server.name)) {
    throw new ChangeError(409, `${service.name} has a server called '${server.name}' already`, 'choose another name');
  }
  const more = request.place === 'first' ? [server, ...dests] : [...dests, server];
  return replace(config, service, { ...service, dests: more });
}

export function deleteServer(config: Config, service: ServiceConfig, dest: DestConfig): Config {
  return replace(config, service, { ...service, dests: service.dests.filter((other) => other !== dest) });
}

/** Adds or removes a local address. Throws ChangeError. */
export function setLocal(config: Config, service: ServiceConfig, addr: Ipv4, wanted: boolean): Config {
  const others = service.localAddresses.filter((other) => other !== addr);
  if (!wanted && others.length === service.localAddresses.length) {
    throw new ChangeError(404, `${service.name} has no such local address`, '');
  }
  if (wanted && others.length < service.localAddresses.length) return config;
  return replace(config, service, { ...service, localAddresses: wanted ? [...others, addr] : others });
}

function replace(config: Config, old: ServiceConfig, service: ServiceConfig): Config {
  return { ...config, services: config.services.map((other) => (other === old ? service : other)) };
}

function serverOf({ address, weight = 1, mac, name, mode, upper, lower }: ServerRequest): DestConfig {
  const parsed = serverValue.safeParse(`${address}:${weight}:${mac ?? NO_MAC}`);
  if (!parsed.success) {
    throw new ChangeError(422, parsed.error.issues[0]!.message, 'an address is ip:port, as in 10.0.0.11:80');
  }
  const { ip, port } = parsed.data;
  return {
    ...{ name: name ?? formatEndpoint(ip, port), af: 4, ip, port, weight, mac: parsed.data.mac },
    ...(mode !== undefined && { mode: mode as Mode }),
    ...(upper !== undefined && { upper }),
    ...(lower !== undefined && { lower }),
  };
}

/** Asks for it by ARP. */
export const NO_MAC = '00:00:00:00:00:00';

// Text

type Line = readonly [key: string, value: string];
interface Section {
  readonly title: string;
  readonly lines: readonly Line[];
}

/** As save.ts writes them: a title, then a key and a value in each line. */
function sectionsOf(config: Config): Section[] {
  return save(config)
    .split(/^\[(.*)\]$/m)
    .slice(1)
    .flatMap((title, i, parts): Section[] => {
      if (i % 2 === 1) return [];
      const lines = [...parts[i + 1]!.matchAll(/^(\S+) = (.*)$/gm)].map(([, key, value]) => [key!, value!] as const);
      return [{ title, lines }];
    });
}

function linesOf(keys: ServiceRequest): Line[] {
  return Object.entries(keys).flatMap(([key, value]): Line[] => {
    if (!/^[a-z][a-z0-9_]*$/.test(key)) throw new ChangeError(422, `'${key}' is no key`, 'keys are those of lb.conf');
    if (value === null) return [];
    const text = Array.isArray(value) ? value.join(', ') : String(value);
    if (/[\r\n]/.test(text)) throw new ChangeError(422, `${key}: the value has several lines`, 'write one line');
    return [[key, text === 'true' ? 'on' : text === 'false' ? 'off' : text]];
  });
}

function serverLines(request: ServerRequest, number: number): Line[] {
  const { address, weight = 1, mac, name, mode, upper, lower } = request;
  const own = { name: name ?? address, mode, upper, lower };
  const keys = Object.entries(own).filter(([, value]) => value !== undefined);
  return [
    [`server${number}`, `${address}:${weight}:${mac ?? NO_MAC}`],
    ...keys.map(([key, value]) => [`server${number}_${key}`, String(value)] as const),
  ];
}

/** The configuration with this as the section of a service. Throws ChangeError with every mistake. */
function read(config: Config, name: string, lines: readonly Line[]): Config {
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(name)) {
    throw new ChangeError(422, `'${name}' is not a name`, 'use up to 64 letters, digits and . _ : -');
  }
  const title = `service ${name}`;
  const sections = sectionsOf(config);
  const section = { title, lines };
  const known = sections.some((other) => other.title === title);
  const all = known ? sections.map((other) => (other.title === title ? section : other)) : [...sections, section];
  const text = all
    .map((one) => [`[${one.title}]`, ...one.lines.map((line) => line.join(' = ')), ''].join('\n'))
    .join('\n');
  const loaded = load(text, 'request');
  if ('model' in loaded) return loaded.model;
  // Lines are of no file that anybody has.
  const errors = loaded.errors.map((error) => formatError({ ...error, line: 0 }).replace(/^request: /, ''));
  throw new ChangeError(422, `service ${name} has errors`, 'nothing has changed', errors);
}
