/** The keys of a service about health checks, and what they mean to the model. Part of the schema (../schema.ts). */
import { formatIpv4 } from '../address.ts';
import { formatDuration } from '../duration.ts';
import type { ErrorList } from '../error.ts';
import { CHECK_KINDS, CHECK_METHODS, type CheckConfig, type DestConfig } from '../model.ts';
import type { SectionValues } from '../read-section.ts';
import * as values from '../values.ts';
import { number, time, word } from './kinds.ts';
import { HOUR_MS, type Rows } from './row.ts';

export const checkRows = {
  check: {
    ...word(CHECK_KINDS),
    default: 'off',
    reloadable: true,
    example: 'http',
    doc: 'Whether the servers are asked now and then if they work, so that those that do not get no connections: `tcp` opens a connection and closes it, `http` also sends a request and judges the answer. Sessions that exist are never touched. Checks leave from the first `local_address` of [network], or else from the VIP; modes `dr` and `tun` need that address, because there the servers have the VIP too.',
  },
  check_port: {
    ...number(1, 65535, 'a port'),
    default: null,
    without: 'the port of the server',
    reloadable: true,
    example: '8081',
    doc: 'The port that checks connect to.',
  },
  check_interval: {
    ...time(100, HOUR_MS),
    default: '2s',
    reloadable: true,
    example: '5s',
    doc: 'From the begin of one check of a server to the begin of the next. The first ones are spread over this time.',
  },
  check_timeout: {
    ...time(10, HOUR_MS),
    default: '1s',
    range: '10ms..1h, at most check_interval',
    reloadable: true,
    example: '500ms',
    doc: 'How long a check may take: connecting and the answer together.',
  },
  rise: {
    ...number(1, 100, 'a number of checks', 'checks'),
    default: '2',
    reloadable: true,
    example: '3',
    doc: 'How many checks in a row must pass before a server that was down gets connections again.',
  },
  fall: {
    ...number(1, 100, 'a number of checks', 'checks'),
    default: '3',
    reloadable: true,
    example: '2',
    doc: 'How many checks in a row must fail before a server gets no more connections.',
  },
  check_start: {
    ...word(['up', 'down']),
    default: 'up',
    reloadable: true,
    example: 'down',
    doc: 'What a server counts as before it has been checked.',
  },
  check_passive: {
    ...word(['off', 'on']),
    default: 'off',
    reloadable: true,
    example: 'on',
    doc: 'Mode `proxy`: whether a session that cannot connect to a server counts as a failed check of it, until one can.',
  },
  check_method: {
    ...word(CHECK_METHODS),
    default: 'GET',
    reloadable: true,
    example: 'HEAD',
    doc: '`check = http`: the method of the request. HTTP/1.0 is spoken.',
  },
  check_path: {
    type: 'text',
    read: values.requestPath,
    default: '/',
    range: 'begins with /; ASCII without blanks and `"` `\'` `\\` `#` `;`',
    reloadable: true,
    example: '/health?deep=1',
    doc: '`check = http`: what is asked for.',
  },
  check_host: {
    type: 'text',
    read: values.hostName,
    default: null,
    without: 'the address of the server',
    range: 'a name or address, with :port or without',
    reloadable: true,
    example: 'www.example.com',
    doc: '`check = http`: the Host header.',
  },
  check_status: {
    type: 'list of status codes',
    read: values.statusList,
    default: '200-399',
    range: '100..599, alone or as FROM-TO, separated by commas',
    reloadable: true,
    example: '200-299, 401',
    doc: '`check = http`: the status codes that pass.',
  },
  check_body: {
    type: 'text',
    read: values.bodyText,
    default: null,
    without: 'any body passes',
    range: 'up to 256 characters without `"` `\'` `\\` `#` `;`',
    reloadable: true,
    example: 'all systems go',
    doc: '`check = http`: text that must occur in the first 16 KB of the body.',
  },
} satisfies Rows;

type CheckValues = SectionValues<typeof checkRows>;

/** What the keys say, or null for no checks. Numbers that could not be read are 0; there are errors then. */
export function readCheck(values: CheckValues, errors: ErrorList): CheckConfig | null {
  const kind = values.check?.value ?? 'off';
  if (kind === 'off') return null;
  const { check_interval: interval, check_timeout: timeout, check_body: body } = values;
  if (interval && timeout && timeout.value > interval.value) {
    errors.add(timeout, 'a check would take longer than check_interval', 'make it at most as long');
  }
  const method = values.check_method?.value ?? 'GET';
  if (kind === 'http' && method === 'HEAD' && body) {
    errors.add(body, 'the answer to HEAD has no body', 'choose check_method = GET, or leave this out');
  }
  const http = {
    method,
    path: values.check_path?.value ?? '/',
    host: values.check_host?.value ?? null,
    status: values.check_status?.value ?? [],
    body: body?.value ?? '',
  };
  return {
    port: values.check_port?.value ?? null,
    intervalMs: interval?.value ?? 0,
    timeoutMs: timeout?.value ?? 0,
    rise: values.rise?.value ?? 0,
    fall: values.fall?.value ?? 0,
    start: values.check_start?.value ?? 'up',
    passive: values.check_passive?.value === 'on',
    http: kind === 'http' ? http : null,
  };
}

/** The keys that read as this. */
export function checkLines(check: CheckConfig | null): (readonly [key: string, value: string | number])[] {
  if (check === null) return [['check', 'off']];
  const { http } = check;
  return [
    ['check', http === null ? 'tcp' : 'http'],
    ...(check.port === null ? [] : [['check_port', check.port] as const]),
    ['check_interval', formatDuration(check.intervalMs)],
    ['check_timeout', formatDuration(check.timeoutMs)],
    ['rise', check.rise],
    ['fall', check.fall],
    ['check_start', check.start],
    ['check_passive', check.passive ? 'on' : 'off'],
    ...(http === null
      ? []
      : ([
          ['check_method', http.method],
          ['check_path', http.path],
          ...(http.host === null ? [] : [['check_host', http.host] as const]),
          ['check_status', http.status.map(({ from, to }) => (from === to ? `${from}` : `${from}-${to}`)).join(', ')],
          ...(http.body === '' ? [] : [['check_body', http.body] as const]),
        ] as const)),
  ];
}

/** The Host header of checks of a server. */
export function hostHeader(host: string | null, dest: DestConfig, port: number | null): string {
  if (host !== null) return host;
  const at = port ?? dest.port;
  return at === 80 ? formatIpv4(dest.ip) : `${formatIpv4(dest.ip)}:${at}`;
}
