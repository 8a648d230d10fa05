/**
 * What a worker tells, in words: level, sentence and fields of a log line. A count above 1 stands for as many happenings
 * since the last line of that kind (workers/events.ts).
 */

import * as result from '../../lb/health/result.ts';
import { END_REFUSED, END_RESET, END_TIMEOUT, END_UNREACHABLE } from '../../stack/tcp/state.ts';
import { plural } from '../cli/units.ts';
import { formatIpv4, formatMacWords } from '../config/address.ts';
import type { LinkConfig, LinkKind } from '../config/model.ts';
import type { WorkerEvent } from '../workers/events.ts';
import type { Strain } from '../workers/strain-watch.ts';

export interface LogLine {
  readonly level: 'info' | 'warn' | 'error';
  readonly fields: Readonly<Record<string, string | number | boolean>>;
  readonly message: string;
}

/** Names by the numbers that events carry. */
export interface Names {
  serviceName(id: number): string;
  /** address:port */
  serverAddress(dest: number): string;
}

const FAILURES: Readonly<Record<number, string>> = {
  [END_REFUSED]: 'refused',
  [END_RESET]: 'reset the connection',
  [END_TIMEOUT]: 'did not answer',
  [END_UNREACHABLE]: 'is unreachable',
};

const CHECKS: Readonly<Record<number, string>> = {
  [result.NONE]: 'not checked yet',
  [result.PASSED]: 'passed',
  [result.REFUSED]: 'refused',
  [result.RESET]: 'reset the connection',
  [result.TIMEOUT]: 'timed out',
  [result.UNREACHABLE]: 'unreachable',
  [result.CLOSED]: 'closed without an answer',
  [result.MALFORMED]: 'answered no HTTP',
  [result.WRONG_STATUS]: 'unexpected status',
  [result.WRONG_BODY]: 'body without the text',
  [result.SESSION_FAILED]: 'sessions cannot connect',
};

const STRAINS: Readonly<Record<Strain, (count: number) => string>> = {
  'port.missed': (n) => `${plural(n, 'frame')} came faster than they are read and ${were(n)} lost`,
  pool_empty: (n) => `no frame was free for ${plural(n, 'packet')}, which ${were(n)} dropped`,
  'tcp.cookiesSent': (n) => `too many connections are half open: ${plural(n, 'SYN')} ${were(n)} answered with a cookie`,
  'tcp.portsExhausted': (n) => `no local port was free for ${plural(n, 'connection')} to servers: add a local_address`,
  tcp_table_full: (n) => `${plural(n, 'SYN')} found no control block free`,
  'proxy.tableFull': (n) => `${plural(n, 'client')} found the session table full and ${were(n)} reset`,
  'l4.tableFull': (n) => `${plural(n, 'connection')} found the connection table full and ${were(n)} refused`,
  'l4.noLocalPort': (n) => `no local port was free for ${plural(n, 'connection')} of layer 4: add a local_address`,
};

const were = (count: number): string => (count === 1 ? 'was' : 'were');

/** The result of a health check in a few words: `unexpected status 503`. */
export function checkWords(value: number): string {
  const status = result.statusOf(value);
  return `${CHECKS[result.codeOf(value)] ?? 'failed'}${status === 0 ? '' : ` ${status}`}`;
}

/** The line for an event; null for events that are not worth one. */
export function describe(event: WorkerEvent, names: Names): LogLine | null {
  switch (event.type) {
    case 'running':
    case 'linkChanged':
    case 'stopped':
    case 'applied':
    case 'answer':
      return null;
    case 'schedulerGaveUp':
      return {
        level: 'error',
        fields: { scheduler: event.name },
        message: `scheduler ${event.name} ${event.why}: wlc schedules from now on`,
      };
    case 'linkGone':
      return {
        level: 'error',
        fields: { link: event.name },
        message: `link ${event.name} is gone: was the interface deleted?`,
      };
    case 'linkDown':
      return {
        level: 'error',
        fields: { link: event.name },
        message: `link ${event.name} is down: what would leave there is dropped until it is back`,
      };
    case 'linkUp':
      return { level: 'info', fields: { link: event.name }, message: `link ${event.name} is up` };
    case 'mtuChanged': {
      const { name, mtu, used } = event;
      const kept =
        used < mtu
          ? `, as its \`mtu\` says`
          : used > mtu
            ? `, as IPv4 needs: what is larger than the interface takes is lost`
            : '';
      return {
        level: 'warn',
        fields: { link: name, mtu: used },
        message: `link ${name}: the MTU of its interface is now ${mtu} bytes: packets have at most ${used} from now on${kept}`,
      };
    }
    case 'linkNotice':
      return { level: 'warn', fields: { link: event.name }, message: `link ${event.name}: ${event.notice}` };
    case 'strain': {
      const { what, link, count } = event;
      const where = link === '' ? '' : `link ${link}: `;
      const fields = { what, count, ...(link !== '' && { link }) };
      return { level: 'warn', fields, message: `${where}${STRAINS[what](count)} (${what})` };
    }
    case 'conflict': {
      const address = formatIpv4(event.ip);
      const mac = formatMacWords(event.macHi, event.macLo);
      return {
        level: 'warn',
        fields: { address, mac, count: event.count },
        message: `another host claims ${address}: ${mac}${times(event.count)}`,
      };
    }
    case 'connectFailed': {
      const service = names.serviceName(event.service);
      const server = names.serverAddress(event.dest);
      const what = FAILURES[event.end] ?? 'failed';
      const next = event.retry ? 'trying another' : 'no retry left, the client was reset';
      return {
        level: 'warn',
        fields: { service, server, reason: what, retry: event.retry, count: event.count },
        message: `server ${server} of ${service} ${what}${times(event.count)}; ${next}`,
      };
    }
    case 'healthChanged': {
      const service = names.serviceName(event.service);
      const server = names.serverAddress(event.dest);
      const check = checkWords(event.why);
      const state = event.up ? 'up' : 'down';
      const effect = event.up ? 'up again' : 'down: it gets no new connections';
      return {
        level: event.up ? 'info' : 'warn',
        fields: { service, server, state, check },
        message: `server ${server} of ${service} is ${effect} (last check: ${check})`,
      };
    }
    case 'noServer': {
      const service = names.serviceName(event.service);
      return {
        level: 'warn',
        fields: { service, count: event.count },
        message: `${service} has no server that takes connections${times(event.count)}; the client was reset`,
      };
    }
    case 'portsScarce': {
      const address = formatIpv4(event.address);
      return {
        level: 'warn',
        fields: { address, used: event.used, size: event.size, count: event.count },
        message: `local address ${address} has ${event.used} of its ${event.size} ports towards a server in use: add another local_address`,
      };
    }
  }
}

const times = (count: number): string => (count > 1 ? ` (${count} times)` : '');

/** How a link gets a queue for each worker. */
const MORE_QUEUES: Readonly<Partial<Record<LinkKind, string>>> = {
  tap: "a TAP is made for several by 'ip tuntap add NAME mode tap multi_queue'",
  xdp: "'ethtool -L' gives a card more receive queues",
  memif: 'memif_queues, and the other side, set how many there are',
};

/** A link of which only so many of the workers have queues. */
export function queueWords(
  { kind, device, exception }: Pick<LinkConfig, 'kind' | 'device' | 'exception'>,
  drivers: number,
  workers: number,
): string {
  const how = exception === null ? MORE_QUEUES[kind] : 'a link with exception has one';
  const who = `${kind}:${device} has queues for ${drivers} of ${workers} workers, which receive and send for the others`;
  return how === undefined ? who : `${who}: ${how}`;
}
