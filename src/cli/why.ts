/** `tsvs why SRC:PORT DST:PORT [PROTO]`: what would become of such a packet now, or what holds for its flow. */
import type { ErrorReply, WhyReply } from '../control/api.ts';
import { PATHS } from '../control/api.ts';
import { ask } from '../control/client.ts';
import type { WhyOutcome, WhyServer, WhyStep } from '../control/why-reply.ts';
import { EXIT, Failure } from './failure.ts';
import { type ControlOptions, request } from './request.ts';
import { formatTable, left, right } from './table.ts';
import { formatAge, formatBytes } from './units.ts';

export interface WhyOptions extends ControlOptions {
  readonly first?: boolean;
  readonly next?: boolean;
  readonly link?: string;
  readonly size?: string;
  readonly ttl?: string;
  readonly df?: boolean;
}

export const WHY_PROTOS = ['tcp', 'udp', 'icmp'] as const;

export async function why(from: string, to: string, proto: string, options: WhyOptions): Promise<void> {
  const { first, next, link, size, ttl, df } = options;
  if (first && next) throw new Failure(EXIT.USAGE, '--first and --next exclude each other');
  const kind = first ? 'first' : next ? 'next' : undefined;
  const wanted = { from, to, proto, kind, link, size, ttl, df: df ? 'on' : undefined };
  const query = Object.entries(wanted).flatMap(([key, value]) =>
    value === undefined ? [] : [[key, value] as [string, string]],
  );
  const path = `${PATHS.why}?${new URLSearchParams(query)}`;
  const reply = await request(options, (socket) => ask<WhyReply>(socket, path), refusal);
  console.log(options.json ? JSON.stringify(reply, null, 2) : formatWhy(reply));
}

/** One paragraph per step, its name in a column at the left. */
export function formatWhy({ packet, steps, outcome }: WhyReply): string {
  const { proto, from, to, link, kind, bytes } = packet;
  const head = `${proto} ${from} > ${to}: ${kind}, ${bytes} bytes, comes in on ${link}`;
  const lines = steps.flatMap((step) => {
    const [first = '', ...more] = linesOf(step);
    return [`${step.at.padEnd(WIDTH)}${first}`, ...more.map((line) => ' '.repeat(WIDTH) + line)];
  });
  return [head, ...lines.map((line) => `  ${line}`), formatOutcome(outcome)].join('\n');
}

const WIDTH = 'end of connection'.length + 2;

function linesOf(step: WhyStep): string[] {
  switch (step.at) {
    case 'connection':
      return connection(step);
    case 'end of connection':
      return [step.why === 'reused' ? 'it is over: a new one takes its place' : 'its server is quiescent: it ends now'];
    case 'service':
      return [
        `${step.service}, found by ${RULES[step.rule] ?? step.rule}${step.mark ? ` ${step.mark}` : ''}, ${mode(step.mode)}`,
      ];
    case 'persistence':
      return [
        step.holds
          ? `the client has ${step.server}, for ${formatAge(step.expiresMs)} more`
          : `the client had ${step.server}, which takes nobody back now`,
      ];
    case 'scheduler':
      return scheduler(step);
    case 'local address':
      return [`${step.address}, port ${step.port ?? 'by chance'}`];
    case 'route': {
      const via = step.gateway === null ? 'no gateway' : `gateway ${step.gateway}`;
      return [
        `to ${step.to} by ${step.prefix} on ${step.link}, ${via}, MTU ${step.mtu}${step.fragments ? ': in fragments' : ''}`,
      ];
    }
    case 'rewrite':
      return rewrite(step);
    case 'neighbour':
      return [`${step.address} on ${step.link}: ${step.mac ?? 'no address known'}, ${step.state}`];
    case 'socket':
      return socket(step);
  }
}

const RULES: Readonly<Record<string, string>> = {
  listener: 'its listener (layer 7)',
  'all ports': 'its address, for all ports',
};
const mode = (name: string): string => (name === 'none' ? 'proxied' : name);

function connection(step: Extract<WhyStep, { at: 'connection' }>): string[] {
  if (!step.known) return ['none of layer 4 is known'];
  const { state, direction, service, server, ageMs = 0, expiresMs = 0, bytesIn = 0, bytesOut = 0 } = step;
  const whose = direction === 'in' ? 'to the server' : 'from the server';
  return [
    `${state}, ${mode(step.mode!.toLowerCase())}, ${service}/${server}; the packet goes ${whose}`.replace(
      'goes from',
      'comes from',
    ),
    `${formatAge(ageMs)} old, over in ${formatAge(expiresMs)} of silence`,
    `${step.packetsIn} packets in, ${step.packetsOut} out; ${formatBytes(bytesIn)} in, ${formatBytes(bytesOut)} out`,
  ];
}

const COLUMNS = [
  left(''),
  left('server'),
  left('address'),
  right('weight'),
  right('active'),
  right('inactive'),
  left(''),
];

function scheduler({ name, reason, byChance, server, servers }: Extract<WhyStep, { at: 'scheduler' }>): string[] {
  const why = [reason, ...(byChance ? ['by chance: another packet may get another server'] : [])].filter(Boolean);
  const choice = server === null ? 'has no server to give' : `chooses ${server}`;
  const rows = servers.map((one) => [
    ...[one.chosen ? '>' : '', one.name, one.address, weight(one), String(one.active), String(one.inactive)],
    one.keptOut ?? (one.backup ? 'backup' : ''),
  ]);
  return [[`${name} ${choice}`, ...why].join(': '), ...formatTable(COLUMNS, rows).split('\n')];
}

const weight = ({ weight: whole, weightNow }: WhyServer): string =>
  whole === weightNow ? String(whole) : `${weightNow.toFixed(1)} of ${whole}`;

function rewrite({ before, after, outer, sequenceDelta }: Extract<WhyStep, { at: 'rewrite' }>): string[] {
  if (outer !== null) return [`nothing inside; a tunnel around it: ${outer}`];
  if (before === after) return ['nothing but the MAC addresses'];
  const shift = sequenceDelta === 0 ? [] : [`sequence numbers to the server: + ${sequenceDelta}`];
  return [before, `becomes ${after.replace(/:0 >/, ':? >')}`, ...shift];
}

function socket({ state, session }: Extract<WhyStep, { at: 'socket' }>): string[] {
  if (session === null) return [`of the stack's own TCP, ${state}`];
  const { id, service, client, vip, server, serverAddress, local, ageMs } = session;
  const other = server === null ? 'no server yet' : `${local} > ${serverAddress} (${server})`;
  return [
    `${state}; session ${id} of ${service}, ${session.state}, ${formatAge(ageMs)} old`,
    `${client} > ${vip}, ${other}`,
  ];
}

const LOCAL: Readonly<Record<Extract<WhyOutcome, { end: 'local' }>['what'], string>> = {
  proxy: 'it would be accepted, and proxied',
  socket: 'it would be delivered to a socket of tsvs',
  echo: 'tsvs would answer it',
  'time-wait': 'it belongs to a connection in TIME_WAIT: tsvs would answer it',
  cookie: 'the listener is full: it would be answered with a SYN cookie',
};

function formatOutcome(outcome: WhyOutcome): string {
  switch (outcome.end) {
    case 'sent':
      return `it would be sent on ${outcome.link}`;
    case 'waits':
      return `it would wait on ${outcome.link} until ARP has found the neighbour`;
    case 'host':
      return `it would go to the host that shares ${outcome.link}: its address is none of tsvs'`;
    case 'local':
      return LOCAL[outcome.what];
    case 'drop': {
      const told = { reset: '; its sender gets a reset', icmp: '; its sender is told by ICMP' };
      return `it would be dropped: ${outcome.reason}${outcome.told === null ? '' : told[outcome.told]}\n  ${outcome.sentence}`;
    }
  }
}

function refusal(status: number, { error, hint }: ErrorReply): Failure | null {
  return status >= 500 ? null : new Failure(EXIT.USAGE, hint ? `${error}: ${hint}` : error);
}
