/**
 * The kinds of value a configuration file holds, each a zod type from text to its form in the model. A failed value explains itself;
 * an issue may carry `params.hint` with what would be right, otherwise the schema row's range is shown. Used by schema.ts.
 */
import { isIPv6 } from 'node:net';
import { z } from 'zod';
import {
  formatNetwork,
  isGroupMac,
  netmaskOf,
  networkOf,
  notAHost,
  parseIpv4,
  parseMac,
  prefixLenOf,
} from './address.ts';
import { readDuration } from './duration.ts';
import { clip, type Fail } from './error.ts';
import {
  type Cidr,
  type InterfaceAddress,
  type Ipv4,
  isSchedulerFile,
  type Mac,
  type RouteConfig,
  SCHEDULERS,
  type StatusRange,
} from './model.ts';
import { nearest } from './nearest.ts';

export type Value<T> = z.ZodType<T, string>;

/** A server as a file names it; its section supplies the name. */
export interface ServerValue {
  readonly ip: Ipv4;
  readonly port: number;
  readonly weight: number;
  readonly mac: Mac | null;
}

/** A zod type out of a reader that may complain several times. */
export function value<T>(read: (text: string, fail: Fail) => T): Value<T> {
  return z.string().transform((text, ctx) => {
    let failed = false;
    const result = read(text, (message, hint) => {
      failed = true;
      ctx.addIssue({ code: 'custom', message, params: hint === undefined ? {} : { hint } });
    });
    return failed ? z.NEVER : result;
  });
}

const FULL_WIDTH = /[\u3000-\u303f\uff00-\uffef]/;
const ASCII_HINT = 'use ASCII characters: . : , and not their full-width forms';

function readInteger(text: string, low: number, high: number, what: string, fail: Fail): number {
  const hint = `${what} is ${low === high ? low : `${low}..${high}`}`;
  if (!/^-?\d+$/.test(text)) fail(`'${clip(text)}' is not a whole number`, FULL_WIDTH.test(text) ? ASCII_HINT : hint);
  else if (Number(text) > high) fail(`${clip(text)} is too large`, hint);
  else if (Number(text) < low) fail(`${text} is too small`, hint);
  return Number(text);
}

/** A whole number in decimal; `what` is the subject of the message about its range. */
export function integer(low: number, high: number, what: string): Value<number> {
  return value((text, fail) => readInteger(text, low, high, what, fail));
}

/** Workers there may be. */
export const MAX_WORKERS = 16;

/** A number of workers; 0 = one per processor. */
export const workers: Value<number> = value((text, fail) =>
  text === 'auto' ? 0 : readInteger(text, 1, MAX_WORKERS, "the number of workers, if not 'auto',", fail),
);

/** A TCP segment size, or 0 for none. */
export const segmentSize: Value<number> = value((text, fail) => {
  const what = '0 leaves it, else a segment size';
  return text === '0' ? 0 : readInteger(text, 64, 1460, what, fail);
});

/** One of a few words. */
export function oneOf<const W extends readonly string[]>(words: W): Value<W[number]> {
  const unknown = (word: unknown): string => {
    const near = nearest(String(word), words);
    return near ? `did you mean '${near}'?` : `write ${words.join(', ').replace(/, ([^,]*)$/, ' or $1')}`;
  };
  return value((text, fail) => {
    const word = z.enum(words).safeParse(text);
    if (!word.success) fail(`'${clip(text)}' is unknown`, unknown(text));
    return word.data as W[number];
  });
}

function readAddress(text: string, fail: Fail): Ipv4 {
  const address = parseIpv4(text);
  if (address !== null) {
    const why = notAHost(address);
    if (why) fail(`${text} ${why}`, "write a host's own address");
    return address;
  }
  if (isIPv6(text.replace(/^\[(.*)\]$/, '$1')))
    fail(`${text} is an IPv6 address: not supported yet`, 'write an IPv4 address');
  else if (FULL_WIDTH.test(text)) fail(`'${clip(text)}' is not an IPv4 address`, ASCII_HINT);
  else
    fail(
      `'${clip(text)}' is not an IPv4 address`,
      'write four numbers 0..255 without leading zeros, as in 192.168.100.10',
    );
  return 0;
}

/** The address of one host. */
export const address: Value<Ipv4> = value(readAddress);

/** The parts of a comma-separated list; an empty part is complained about. */
function readList<T>(text: string, fail: Fail, read: (part: string, fail: Fail) => T): T[] {
  const items: T[] = [];
  for (const part of text.split(',').map((item) => item.trim())) {
    if (part === '') {
      fail('has an empty entry in its list', 'write one value between two commas');
      continue;
    }
    let failed = false;
    const item = read(part, (message, hint) => {
      failed = true;
      fail(message, hint);
    });
    if (failed) continue;
    if (items.includes(item)) fail(`${part} appears twice`, 'name it once');
    else items.push(item);
  }
  return items;
}

/** An address list, or `none`, which is an empty one. */
export const addressesOrNone: Value<readonly Ipv4[]> = value((text, fail) =>
  text === 'none' ? [] : readList(text, fail, readAddress),
);

export const addressList: Value<readonly Ipv4[]> = value((text, fail) => readList(text, fail, readAddress));

const readPort = (text: string, fail: Fail): number => readInteger(text, 1, 65535, 'a port', fail);

export const portList: Value<readonly number[]> = value((text, fail) => readList(text, fail, readPort));

/** The same, or 0 for all ports. */
export const servicePorts: Value<readonly number[]> = value((text, fail) =>
  text === '0' ? [0] : readList(text, fail, readPort),
);

/** 255.255.255.0, /24 or 24, as a prefix length. */
export const netmask: Value<number> = value((text, fail) => {
  if (/^\/?\d+$/.test(text)) return readInteger(text.replace('/', ''), 1, 32, 'a prefix length', fail);
  const mask = parseIpv4(text);
  const prefixLen = mask === null ? 0 : prefixLenOf(mask);
  if (mask === null) fail(`'${clip(text)}' is not a netmask`, 'write 255.255.255.0 or /24');
  else if (prefixLen < 0) fail(`${text} is not contiguous: its one bits must all come first`, 'as in 255.255.255.0');
  else if (prefixLen === 0) fail(`${text} covers every address`, 'write 128.0.0.0 or longer, as in 255.255.255.0');
  return prefixLen;
});

/** Which bits of an address count: 255.255.255.0, /24 or 24; any bits, as LVS has it. */
export const bitMask: Value<number> = value((text, fail) => {
  if (/^\/?\d+$/.test(text)) return netmaskOf(readInteger(text.replace('/', ''), 0, 32, 'a prefix length', fail));
  const mask = parseIpv4(text);
  if (mask === null) fail(`'${clip(text)}' is not a netmask`, 'write 255.255.255.0 or /24');
  return mask ?? 0;
});

const MAC_HINT = 'write six pairs of hexadecimal digits, as in 02:00:00:64:00:0a';

/** The address of one station; all zeros is returned as written, for the caller to give it a meaning. */
function readMac(text: string, fail: Fail): Mac {
  const mac = parseMac(text);
  if (mac === null) fail(`'${clip(text)}' is not a MAC address`, FULL_WIDTH.test(text) ? ASCII_HINT : MAC_HINT);
  else if (isGroupMac(mac))
    fail(`${text} is a multicast MAC address`, 'its first byte must be even, as in 02:00:00:64:00:0a');
  return mac ?? '';
}

const ZERO_MAC = '00:00:00:00:00:00';

/** A MAC address of our own. */
export const mac: Value<Mac> = value((text, fail) => {
  const own = readMac(text, fail);
  if (own === ZERO_MAC) fail(`${text} is no address of our own`, 'write one, or leave the key out to have one made');
  return own;
});

const SERVER_HINT = `write ip:port:weight:mac, as in 192.168.100.11:80:1:${ZERO_MAC}`;

/** `ip:port:weight:mac`: the first three colons outside [brackets] part it, the rest is the MAC. */
export const server: Value<ServerValue> = value((text, fail) => {
  const parts = /^(\[[^\]]*\]|[^:]*):([^:]*):([^:]*):(.*)$/
    .exec(text)
    ?.slice(1)
    .map((part) => part.trim());
  if (!parts) {
    const short = isIPv6(text.split('%')[0]);
    fail(`'${clip(text)}' is not a server`, short ? 'put an IPv6 address in [brackets]' : SERVER_HINT);
    return { ip: 0, port: 0, weight: 0, mac: null };
  }
  const ip = readAddress(parts[0], fail);
  const port = readInteger(parts[1], 0, 65535, 'a port', fail);
  const weight = readInteger(parts[2], 0, 65535, 'a weight', fail);
  const mac = readMac(parts[3], fail);
  return { ip, port, weight, mac: mac === ZERO_MAC ? null : mac };
});

/** A time span with its unit, in milliseconds. */
export const duration = (lowMs: number, highMs: number): Value<number> =>
  value((text, fail) => readDuration(text, lowMs, highMs, fail));

/** A user or group: a name as useradd takes it, or a number. */
export const account: Value<string> = value((text, fail) => {
  if (/^\d+$/.test(text)) readInteger(text, 0, 0xfffffffe, 'an id', fail);
  else if (!/^[a-z_][a-z0-9_-]{0,30}\$?$/i.test(text)) {
    fail(`'${clip(text)}' is neither a name nor a number`, 'write the name of an account, as in tsvs, or its id');
  }
  return text;
});

/** A shared secret: the protocols that carry one have few bytes for it. */
export const secret: Value<string> = value((text, fail) => {
  if (!/^[A-Za-z0-9._:@%+/-]{1,24}$/.test(text)) {
    fail(`'${clip(text)}' is not a secret`, 'use up to 24 letters, digits and . _ : @ % + / -');
  }
  return text;
});

/** A power of two from `low` to `high`. */
export function powerOfTwo(low: number, high: number, what: string): Value<number> {
  return value((text, fail) => {
    const number = readInteger(text, low, high, what, fail);
    if ((number & (number - 1)) !== 0)
      fail(`${text} is not a power of two`, `${what} is a power of two, ${low}..${high}`);
    return number;
  });
}

/** A file or device name. Characters that INI gives a meaning cannot be part of it. */
export const path: Value<string> = value((text, fail) => {
  const bad = /["'\\#;\ufffd]/.exec(text);
  if (bad)
    fail(
      `'${clip(text)}' contains ${bad[0] === '\ufffd' ? 'bytes that are not UTF-8' : `the character ${bad[0]}`}`,
      'choose a plain name',
    );
  return text;
});

export const serverName: Value<string> = value((text, fail) => {
  if (!/^[A-Za-z0-9._:-]{1,64}$/.test(text)) {
    fail(`'${clip(text)}' is not a name`, 'use up to 64 letters, digits and . _ : -');
  }
  return text;
});

function readCidr(text: string, fail: Fail): Cidr {
  const [, address = '', length = '32'] = /^([^/]*)(?:\/(\d{1,2}))?$/.exec(text) ?? [];
  const network = parseIpv4(address);
  const prefixLen = Number(length);
  if (network === null || prefixLen > 32) {
    fail(`'${clip(text)}' is not a network`, 'write networks and addresses, as in 10.1.0.0/16, 192.168.100.77');
  } else if (networkOf(network, prefixLen) !== network) {
    fail(`${text} has bits beyond its prefix`, `write ${formatNetwork(network, prefixLen)}`);
  }
  return { network: network ?? 0, prefixLen };
}

/** A scheduler by name, or a file with one. */
export const scheduler: Value<string> = value((text, fail) => {
  const read = (isSchedulerFile(text) ? path : oneOf(SCHEDULERS)).safeParse(text);
  if (read.success) return read.data;
  for (const issue of read.error.issues) {
    const hint = issue.code === 'custom' ? issue.params?.['hint'] : undefined;
    fail(issue.message, typeof hint === 'string' ? hint : undefined);
  }
  return '';
});

/** Networks of clients: 10.1.0.0/16, or one address. */
export const cidrList: Value<readonly Cidr[]> = value((text, fail) =>
  readList(text, fail, (part) => part).map((part) => readCidr(part, fail)),
);

/** `tap:NAME`, as the name. */
export const exception: Value<string> = value((text, fail) => {
  const [, name = ''] = /^tap:([^\s/:"'\\#;]{1,15})$/.exec(text) ?? [];
  if (name === '') fail(`'${clip(text)}' is not a TAP`, 'write tap: and up to 15 characters, as in tap:host0');
  return name;
});

/** Addresses of an interface: 10.1.0.2/24. */
export const interfaceList: Value<readonly InterfaceAddress[]> = value((text, fail) =>
  readList(text, fail, (part) => part).map((part) => {
    const [, host = '', length = ''] = /^([^/]*)\/(\d{1,2})$/.exec(part) ?? [];
    if (length === '') {
      fail(`'${clip(part)}' has no prefix length`, 'write address and prefix length, as in 10.1.0.2/24');
      return { ip: 0, prefixLen: 1 };
    }
    return { ip: readAddress(host, fail), prefixLen: readInteger(length, 1, 32, 'a prefix length', fail) };
  }),
);

/** Networks and the routers that lead there: 10.5.0.0/16 via 10.1.0.254. */
export const routeList: Value<readonly RouteConfig[]> = value((text, fail) =>
  readList(text, fail, (part) => part).map((part) => {
    const [, network, gateway] = /^(\S+) +via +(\S+)$/.exec(part) ?? [];
    if (network === undefined || gateway === undefined) {
      fail(`'${clip(part)}' is not a route`, 'write a network and its router, as in 10.5.0.0/16 via 10.1.0.254');
      return { network: 0, prefixLen: 0, gateway: 0 };
    }
    return { ...readCidr(network, fail), gateway: readAddress(gateway, fail) };
  }),
);

/** Status codes of HTTP: 200, or 200-299. */
export const statusList: Value<readonly StatusRange[]> = value((text, fail) =>
  readList(text, fail, (part) => part).map((part) => {
    const [, first, last = first] = /^([1-5]\d\d)(?: *- *([1-5]\d\d))?$/.exec(part) ?? [];
    if (first === undefined) fail(`'${clip(part)}' is not a status code`, 'write codes 100..599, as in 200-299, 401');
    else if (Number(last) < Number(first)) fail(`${part} is empty`, 'write the smaller code first');
    return { from: Number(first), to: Number(last) };
  }),
);

/** What INI gives a meaning, or cuts off. */
const NOT_PLAIN = /["'\\#;\ufffd]/;

/** What a request may ask for, in origin form. */
export const requestPath: Value<string> = value((text, fail) => {
  if (!text.startsWith('/')) fail(`'${clip(text)}' does not begin with /`, 'as in /health');
  else if (!/^[!-~]+$/.test(text) || NOT_PLAIN.test(text)) {
    fail(`'${clip(text)}' has characters that a request cannot carry`, 'write them as %XX');
  }
  return text;
});

export const hostName: Value<string> = value((text, fail) => {
  if (!/^[A-Za-z0-9._-]{1,253}(:\d{1,5})?$/.test(text)) {
    fail(`'${clip(text)}' is not the name of a host`, 'write a name or address, as in www.example.com:8080');
  }
  return text;
});

export const bodyText: Value<string> = value((text, fail) => {
  if (text.length > 256) fail(`${text.length} characters are too many`, 'write up to 256');
  const bad = NOT_PLAIN.exec(text);
  if (bad) fail(`'${clip(text)}' contains the character ${bad[0]}`, 'choose a part of the text without it');
  return text;
});
