/** The keys about TCP itself, of [tcp] and of a service, and what they mean to the model. Part of the schema (../schema.ts). */

import { formatDuration } from '../duration.ts';
import {
  CONGESTION,
  ECN_WORDS,
  type KeepAliveConfig,
  type ServiceConfig,
  SYN_COOKIE_WORDS,
  type TcpSettings,
} from '../model.ts';
import type { SectionValues } from '../read-section.ts';
import * as values from '../values.ts';
import { number, time, word } from './kinds.ts';
import { DAY_MS, HOUR_MS, MINUTE_MS, type Rows } from './row.ts';

/** Control blocks of a worker: more half-open connections than that there cannot be. */
const MAX_HALF_OPEN = 65_536;

const keepRows = {
  keepalive_idle: {
    ...time(0, DAY_MS, 'never asks'),
    default: '2m',
    reloadable: true,
    example: '30s',
    doc: 'How long the peer of a connection may be silent before it is asked whether it is still there.',
  },
  keepalive_interval: {
    ...time(100, HOUR_MS),
    default: '15s',
    reloadable: true,
    example: '5s',
    doc: 'How long an answer to that may take before it is asked again.',
  },
  keepalive_count: {
    ...number(1, 20, 'a number of probes', 'probes'),
    default: '4',
    reloadable: true,
    example: '3',
    doc: 'How many unanswered questions end the connection, and with it the session.',
  },
} satisfies Rows;

const halfOpen = { ...number(1, MAX_HALF_OPEN, 'a number of connections', 'connections'), reloadable: true } as const;

export const tcpRows = {
  congestion: {
    ...word(CONGESTION),
    default: 'cubic',
    reloadable: false,
    example: 'reno',
    doc: 'How fast data is sent, and what loss does to that: `cubic` (RFC 9438) as most systems have it, `reno` (RFC 5681) where others must not be crowded out.',
  },
  ecn: {
    ...word(ECN_WORDS),
    default: 'passive',
    reloadable: true,
    example: 'on',
    doc: 'Explicit congestion notification (RFC 3168): `passive` grants it to clients that ask for it, `on` asks servers for it as well, `off` does neither.',
  },
  mss_clamp: {
    type: 'number',
    read: values.segmentSize,
    unit: 'bytes',
    default: '0',
    range: '0, or 64..1460; 0 leaves it to the links',
    reloadable: true,
    example: '1400',
    doc: 'The largest TCP segment sent and asked for, for paths whose routers do not tell their MTU. For connections that end here; services of modes `fnat` and `nat` have their own key.',
  },
  user_timeout: {
    ...time(0, DAY_MS, 'leaves it to retransmission, which gives up after some minutes'),
    default: '0',
    reloadable: true,
    example: '30s',
    doc: 'How long data may stay unacknowledged before the connection is given up (RFC 9293 §3.8.3).',
  },
  ...keepRows,
  max_half_open: {
    ...halfOpen,
    default: '16384',
    example: '4096',
    doc: 'How many connections of clients may be half open, over all services: their SYN has come, the acknowledgment of our SYN-ACK has not.',
  },
  syn_cookies: {
    ...word(SYN_COOKIE_WORDS),
    default: 'auto',
    reloadable: true,
    example: 'always',
    doc: 'What happens to SYNs (RFC 4987): with `auto` those beyond `max_half_open` are answered with a cookie, and nothing is kept of them; `always` answers all of them so; `off` drops those beyond.',
  },
  time_wait: {
    ...time(1000, 10 * MINUTE_MS),
    default: '1m',
    reloadable: true,
    example: '30s',
    doc: 'How long a closed connection is remembered, so that its late segments do no harm (TIME-WAIT, RFC 9293 §3.6.1).',
  },
} satisfies Rows;

const ofTcp = { default: null, without: 'that of [tcp]' } as const;

export const serviceTcpRows = {
  keepalive_idle: { ...keepRows.keepalive_idle, ...ofTcp, doc: 'As in [tcp], for this service of mode `proxy`.' },
  keepalive_interval: { ...keepRows.keepalive_interval, ...ofTcp, doc: 'As in [tcp], for this service.' },
  keepalive_count: { ...keepRows.keepalive_count, ...ofTcp, doc: 'As in [tcp], for this service.' },
  max_half_open: {
    ...halfOpen,
    default: '4096',
    example: '256',
    doc: 'Mode `proxy`: how many connections of clients may be half open for this service alone; what `syn_cookies` of [tcp] says of those beyond holds here, too.',
  },
} satisfies Rows;

/** What [tcp] says; numbers that could not be read are 0, and there are errors then. */
export const readTcp = (tcp: SectionValues<typeof tcpRows>): TcpSettings => ({
  congestion: tcp.congestion?.value ?? 'cubic',
  ecn: tcp.ecn?.value ?? 'passive',
  mssClamp: tcp.mss_clamp?.value ?? 0,
  userTimeoutMs: tcp.user_timeout?.value ?? 0,
  keepAlive: {
    idleMs: tcp.keepalive_idle?.value ?? 0,
    intervalMs: tcp.keepalive_interval?.value ?? 0,
    count: tcp.keepalive_count?.value ?? 0,
  },
  maxHalfOpen: tcp.max_half_open?.value ?? 0,
  synCookies: tcp.syn_cookies?.value ?? 'auto',
  timeWaitMs: tcp.time_wait?.value ?? 0,
});

/** What a service says of TCP; what it leaves out is undefined. */
export const readServiceTcp = (
  service: SectionValues<typeof serviceTcpRows>,
): { keepAlive: Partial<KeepAliveConfig>; maxHalfOpen: number } => ({
  keepAlive: {
    ...(service.keepalive_idle && { idleMs: service.keepalive_idle.value }),
    ...(service.keepalive_interval && { intervalMs: service.keepalive_interval.value }),
    ...(service.keepalive_count && { count: service.keepalive_count.value }),
  },
  maxHalfOpen: service.max_half_open?.value ?? 0,
});

type Line = readonly [key: string, value: string | number];

const keepLines = ({ idleMs, intervalMs, count }: KeepAliveConfig): Line[] => [
  ['keepalive_idle', formatDuration(idleMs)],
  ['keepalive_interval', formatDuration(intervalMs)],
  ['keepalive_count', count],
];

/** The keys that read as this. */
export const tcpLines = (tcp: TcpSettings): Line[] => [
  ['congestion', tcp.congestion],
  ['ecn', tcp.ecn],
  ['mss_clamp', tcp.mssClamp],
  ['user_timeout', formatDuration(tcp.userTimeoutMs)],
  ...keepLines(tcp.keepAlive),
  ['max_half_open', tcp.maxHalfOpen],
  ['syn_cookies', tcp.synCookies],
  ['time_wait', formatDuration(tcp.timeWaitMs)],
];

export const serviceTcpLines = ({
  keepAlive,
  maxHalfOpen,
}: Pick<ServiceConfig, 'keepAlive' | 'maxHalfOpen'>): Line[] => [
  ...keepLines(keepAlive),
  ['max_half_open', maxHalfOpen],
];
