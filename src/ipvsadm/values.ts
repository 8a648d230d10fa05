/**
 * The values of options: numbers, timeouts, marks, and the addresses of services and servers. Each function throws CommandError with
 * the tool's words for what it does not take.
 */
import { type Address, type Family, formatWord, parseIpv4Loosely, parseIpv6 } from './address.ts';
import { wrong } from './command-error.ts';
import type { Names, Protocol } from './names.ts';
import {
  ACTIVE_CHECKS,
  type AddressRange,
  DEFAULT_PASSIVE_CHECK,
  type DestCheck,
  type Match,
  type PassiveCheck,
  type SocketPair,
  type Subject,
} from './ops.ts';

/** 31 days. */
const MAX_TIMEOUT_SEC = 86_400 * 31;
/** `-p` without a value. */
export const DEFAULT_PERSIST_SEC = 360;
export const MAX_INT = 2 ** 31 - 1;
const MAX_MARK = 2 ** 32 - 1;

/** A decimal number as strtol reads it: leading blanks and a sign are taken, `010` is ten. Null outside of min..max. */
export function parseNumber(text: string, min: number, max: number): number | null {
  if (!/^\s*[+-]?\d+$/.test(text)) return null;
  const number = Number(text) + 0;
  return number >= min && number <= max ? number : null;
}

/** `what` as in `illegal weight specified`. */
export function numberIn(text: string, min: number, max: number, what: string): number {
  return parseNumber(text, min, max) ?? wrong(`illegal ${what} specified`);
}

export function parseTimeout(text: string, min: number): number {
  return parseNumber(text, min, MAX_TIMEOUT_SEC) ?? wrong(`invalid timeout value \`${text}' specified`);
}

export function parseMark(text: string): number {
  return parseNumber(text, 1, MAX_MARK) ?? wrong(`invalid fwmark value \`${text}' specified`);
}

/** An int32 netmask, in any form of an IPv4 address or as a host's name; a prefix length for IPv6. */
export function parseMask(text: string, family: Family, names: Names): number {
  if (family === 6) {
    const length = Number.parseInt(text, 10);
    return length >= 1 && length <= 128 ? length : wrong('illegal ipv6 netmask specified');
  }
  const address = parseIpv4Loosely(text) ?? names.addressOf(text);
  return address?.words[0] ?? wrong('illegal virtual server persistent mask specified');
}

export interface HostPort {
  readonly address: Address;
  /** Null where none was written. */
  readonly port: number | null;
}

/**
 * `host[:port]`, `[IPv6]:port`, or an IPv6 address alone. Host and port may be names. A number alone is no address; an IPv6 address in
 * brackets needs a port, an IPv4 address in brackets loses it. Null if it is none of them.
 */
export function parseHostPort(text: string, protocol: Protocol, names: Names): HostPort | null {
  if (/^\d*$/.test(text)) return null;
  let host = text;
  let port: string | null = null;
  if (text.startsWith('[')) {
    const end = text.indexOf(']');
    if (end < 0 || text[end + 1] !== ':') return null;
    host = text.slice(1, end);
    port = text.slice(end + 2);
  }
  let address = parseIpv6(host);
  if (address === null) {
    const colon = host.lastIndexOf(':');
    port = colon < 0 ? null : host.slice(colon + 1);
    const name = colon < 0 ? host : host.slice(0, colon);
    address = parseIpv4Loosely(name) ?? names.addressOf(name);
  }
  if (address === null) return null;
  if (port === null) return { address, port };
  const number = parseNumber(port, 0, 65_535) ?? names.portOf(port, protocol);
  return number === null ? null : { address, port: number };
}

/** `IP` or `ipset:NAME`. `what` as in `illegal blacklist entry format`. */
export function parseSubject(text: string, what: string, names: Names): Subject {
  if (text.startsWith('ipset:')) return { kind: 'ipset', name: text.slice(6) };
  const found = parseHostPort(text, 'tcp', names);
  if (found === null) return wrong(`illegal ${what} entry format, require [ IP | ipset:NAME ]`);
  return { kind: 'address', address: found.address };
}

/** `proto:sip:sport:tip:tport`, IPv6 addresses in brackets. */
export function parseSocketPair(text: string): SocketPair {
  const v4 = /^(tcp|udp|sctp):([^:[\]]+):(\d+):([^:[\]]+):(\d+)$/.exec(text);
  const v6 = /^(tcp|udp|sctp):\[([^\]]+)\]:(\d+):\[([^\]]+)\]:(\d+)$/.exec(text);
  const [, protocol, sip = '', sport = '', tip = '', tport = ''] = v4 ?? v6 ?? [];
  const parse = v6 === null ? parseIpv4Loosely : parseIpv6;
  const source = { address: parse(sip), port: parseNumber(sport, 0, 65_535) };
  const target = { address: parse(tip), port: parseNumber(tport, 0, 65_535) };
  if (source.address === null || source.port === null || target.address === null || target.port === null) {
    return wrong('illegal sockpair<af:sip:sport:tip:tport> specified');
  }
  return {
    protocol: protocol as SocketPair['protocol'],
    source: { address: source.address, port: source.port },
    target: { address: target.address, port: target.port },
  };
}

export interface ParsedMatch {
  readonly protocol: Protocol | 'any';
  readonly family: Family;
  readonly match: Match;
}

/** `proto=tcp,src-range=192.168.0.1-192.168.0.10:80-100,dst-range=...,iif=eth0,oif=eth1,af=ipv4` */
export function parseMatch(text: string): ParsedMatch {
  const illegal = (): never => wrong('illegal match specified');
  const fields = new Map(
    text.split(',').map((field): [string, string] => {
      const [, key = illegal(), value = ''] = /^([^=]+)=(.*)$/.exec(field) ?? [];
      return [key, value];
    }),
  );
  for (const key of fields.keys()) {
    if (!['proto', 'af', 'src-range', 'dst-range', 'iif', 'oif'].includes(key)) illegal();
  }
  const protocol = fields.get('proto') ?? '';
  if (!['tcp', 'udp', 'sctp', 'icmp', 'icmpv6', 'any'].includes(protocol)) illegal();
  const range = (key: string): AddressRange | null => {
    const value = fields.get(key) ?? '';
    return value === '' ? null : (parseRange(value) ?? illegal());
  };
  const from = range('src-range');
  const to = range('dst-range');
  const af = fields.get('af');
  if (af !== undefined && af !== 'ipv4' && af !== 'ipv6') illegal();
  const family = af === undefined ? (from ?? to ?? illegal()).low.family : af === 'ipv6' ? 6 : 4;
  if ([from, to].some((r) => r !== null && r.low.family !== family)) illegal();
  return {
    protocol: protocol as ParsedMatch['protocol'],
    family,
    match: { from, to, iif: fields.get('iif') ?? '', oif: fields.get('oif') ?? '' },
  };
}

/** `IP1[-IP2][:PORT1[-PORT2]]`; IPv4's second address may be its last number alone. IPv6 stands in brackets if ports follow. */
function parseRange(text: string): AddressRange | null {
  const [, v6, v4, first, last] =
    /^(?:\[([^\]]+)\]|([^:]+))(?::(\d+)(?:-(\d+))?)?$/.exec(text) ?? /^([\da-f:.-]+)()()()$/i.exec(text) ?? [];
  const [lowText = '', highText] = (v6 || v4 || '').split('-');
  const parse = (one: string): Address | null => (v6 ? parseIpv6(one) : parseIpv4Loosely(one));
  const low = parse(lowText);
  const shared = !v6 && low !== null && /^\d+$/.test(highText ?? '') ? formatWord(low.words[0] ?? 0) : '';
  const high = highText === undefined ? low : parse(shared === '' ? highText : shared.replace(/\d+$/, highText));
  const lowPort = parseNumber(first || '0', 0, 65_535);
  const highPort = parseNumber(last || first || '0', 0, 65_535);
  if (low === null || high === null || lowPort === null || highPort === null || highPort < lowPort) return null;
  return { low, high, lowPort, highPort };
}

/** Adds one --dest-check to those before it; `disable` takes all back. */
export function parseDestCheck(text: string, before: DestCheck | null): DestCheck | null {
  const check = before ?? { passive: null, active: [] };
  if (text === 'disable') return null;
  if (text === 'default') return { ...check, passive: DEFAULT_PASSIVE_CHECK };
  const active = ACTIVE_CHECKS.find((known) => known === text);
  if (active !== undefined) return { ...check, active: [...new Set([...check.active, active])] };
  return { ...check, passive: parsePassive(text) };
}

/** `down_retry,up_confirm,down_wait,inhibit_min-inhibit_max` as in `1,1,3s,5-3600s`, or `down_retry,down_wait` as in `1,3s`. */
function parsePassive(text: string): PassiveCheck {
  const both = /^(\d+),(\d+),(\d+)s,(\d+)-(\d+)s$/.exec(text)?.slice(1).map(Number);
  const downOnly = /^(\d+),(\d+)s$/.exec(text)?.slice(1).map(Number);
  const [downRetries = 0, upConfirms = 0, downWaitSec = 0, inhibitMinSec = 0, inhibitMaxSec = 0] =
    both ?? (downOnly && [downOnly[0] ?? 0, 0, downOnly[1] ?? 0, 0, 0]) ?? [];
  const fits = downRetries >= 1 && downRetries <= 255 && upConfirms <= 255 && downWaitSec >= 1 && downWaitSec <= 255;
  const inhibits = downOnly !== undefined || (upConfirms >= 1 && inhibitMinSec >= 1 && inhibitMaxSec <= 65_535);
  if (!fits || !inhibits || inhibitMinSec > inhibitMaxSec) return wrong('invalid dest_check config');
  return { downRetries, upConfirms, downWaitSec, inhibitMinSec, inhibitMaxSec };
}
