/**
 * `tsvs conn`: the connections of layer 4, listed, filtered, counted; and one of them ended. Filters are words such as
 * `client=10.0.0.7`, as the control socket has them.
 */
import {
  type ChangeReply,
  type ConnReply,
  type ConnRequest,
  type ConnsReply,
  type ErrorReply,
  PATHS,
} from '../control/api.ts';
import { ask, send } from '../control/client.ts';
import { EXIT, Failure } from './failure.ts';
import { type ControlOptions, request } from './request.ts';
import { formatTable, left, right } from './table.ts';
import { formatAge, formatBytes, plural } from './units.ts';

export const CONN_ACTIONS = ['list', 'count', 'delete'] as const;
type ConnAction = (typeof CONN_ACTIONS)[number];

const FILTERS = ['proto', 'state', 'service', 'client', 'vip', 'server'] as const;
const KEYS = FILTERS.join(', ');

export interface ConnOptions extends ControlOptions {
  /** Lines at most. */
  readonly limit?: string;
}

const DEFAULT_LIMIT = 1000;

export async function conn(action: ConnAction, words: readonly string[], options: ConnOptions): Promise<void> {
  const filters = filtersOf(words);
  if (action === 'delete') return endOne(filters, options);
  const limit = action === 'count' ? Number.POSITIVE_INFINITY : limitOf(options.limit);
  const { conns, total, more } = await request(options, (socket) => fetch(socket, filters, limit), refusal);
  if (action === 'count') {
    const matching = conns.length;
    console.log(
      options.json ? JSON.stringify({ matching, total }) : words.length > 0 ? `${matching} of ${total}` : `${total}`,
    );
  } else console.log(options.json ? JSON.stringify({ total, conns }, null, 2) : formatConnections(conns, total, more));
}

interface Listed {
  readonly conns: readonly ConnReply[];
  readonly total: number;
  /** There may be more that match. */
  readonly more: boolean;
}

async function fetch(socket: string, filters: Filters, limit: number): Promise<Listed> {
  const conns: ConnReply[] = [];
  for (let after: string | null = '0/0'; ; ) {
    const query: string = new URLSearchParams({ ...filters, after }).toString();
    const page: ConnsReply = await ask<ConnsReply>(socket, `${PATHS.conns}?${query}`);
    conns.push(...page.conns);
    if (page.next === null) return { conns: conns.slice(0, limit), total: page.total, more: conns.length > limit };
    if (conns.length >= limit) return { conns: conns.slice(0, limit), total: page.total, more: true };
    after = page.next;
  }
}

async function endOne(filters: Filters, options: ConnOptions): Promise<void> {
  const { proto = 'tcp', client, vip, ...rest } = filters;
  if (client === undefined || vip === undefined || Object.keys(rest).length > 0) {
    throw usage('delete ends exactly one: proto=tcp client=10.0.0.7:40000 vip=10.0.0.10:80');
  }
  const body: ConnRequest = { proto: proto as ConnRequest['proto'], client, vip };
  const reply = await request(options, (socket) => send<ChangeReply>(socket, 'DELETE', PATHS.conns, body), refusal);
  console.log(options.json ? JSON.stringify(reply) : `${proto} connection ${client} to ${vip} ended`);
}

type Filters = Partial<Record<(typeof FILTERS)[number], string>>;

/** Throws Failure. */
function filtersOf(words: readonly string[]): Filters {
  return Object.fromEntries(
    words.map((word) => {
      const [key = '', value = '', more] = word.split('=');
      const known = FILTERS.find((filter) => filter === key);
      if (known === undefined || value === '' || more !== undefined) {
        throw usage(`'${word}' is no filter: write KEY=VALUE, as in client=10.0.0.7; keys are ${KEYS}`);
      }
      return [known, value];
    }),
  );
}

function limitOf(text: string | undefined): number {
  if (text === undefined) return DEFAULT_LIMIT;
  if (!/^[1-9]\d{0,8}$/.test(text)) throw usage(`--limit ${text}: write a whole number from 1 on`);
  return Number(text);
}

const COLUMNS = [
  ...['proto', 'state'].map(left),
  right('expires'),
  ...['client', 'vip', 'server', 'from', 'mode', 'service'].map(left),
  right('in'),
  right('out'),
];

export function formatConnections(conns: readonly ConnReply[], total: number, more = false): string {
  const count = `${plural(conns.length, 'connection')}${more ? ', and more' : ''} of ${total}`;
  if (conns.length === 0) return count;
  const rows = conns.map((one) => [
    ...[one.proto, one.state, formatAge(one.expiresMs), one.client, one.vip, one.server, one.local ?? '-'],
    ...[one.mode.toLowerCase(), one.service, formatBytes(one.bytesIn), formatBytes(one.bytesOut)],
  ]);
  return `${formatTable(COLUMNS, rows)}\n\n${count}`;
}

function refusal(status: number, { error, hint }: ErrorReply): Failure | null {
  return status >= 500 ? null : usage(hint ? `${error}: ${hint}` : error);
}

const usage = (message: string): Failure => new Failure(EXIT.USAGE, message);
