/** `tsvs stats`: frames by fate, services with their servers, counters. */
import { PATHS, type ServerStats, type ServiceStats, type StatsReply, type Traffic } from '../control/api.ts';
import { type ShowOptions, show } from './show.ts';
import { formatTable, left, right } from './table.ts';
import { formatAge, formatBytes, formatCount, plural } from './units.ts';

export const stats = (options: ShowOptions): Promise<void> => show(options, PATHS.stats, formatStats);

export function formatStats(reply: StatsReply): string {
  const { version, pid, state, uptimeMs, sessions } = reply;
  const head = `tsvs ${version}, process ${pid}, ${state}, up ${formatAge(uptimeMs)}, ${plural(sessions, 'open session')}`;
  return [head, formatServices(reply.services), formatFrames(reply), formatCounters(reply)].join('\n\n');
}

const SERVICE_COLUMNS = [
  left('service'),
  left('address'),
  left('scheduler'),
  left('state'),
  right('weight'),
  right('conns'),
  right('active'),
  right('inactive'),
  right('to servers'),
  right('to clients'),
  right('failures'),
  left('last check'),
];

/** A row per service, with its servers below it. */
function formatServices(services: readonly ServiceStats[]): string {
  const numbers = (t: Traffic): string[] => [
    formatCount(t.conns),
    formatCount(t.active),
    formatCount(t.inactive),
    formatBytes(t.toServers),
    formatBytes(t.toClients),
    formatCount(t.connectFailures),
  ];
  const rows = services.flatMap((service) => [
    [service.name, service.address, service.scheduler, '', '', ...numbers(service), ''],
    ...service.servers.map((s) => [`  ${s.name}`, s.address, '', s.state, weightText(s), ...numbers(s), lastCheck(s)]),
  ]);
  return formatTable(SERVICE_COLUMNS, rows);
}

/** `2`, in slow start `0.35/2`: what it has got of it. */
export const weightText = ({ weight, weightNow }: Pick<ServerStats, 'weight' | 'weightNow'>): string =>
  weightNow === weight ? String(weight) : `${weightNow}/${weight}`;

/** `passed 200, up for 2m`; empty without checks. */
function lastCheck({ health }: ServerStats): string {
  if (health === null) return '';
  return `${health.lastCheck}, ${health.up ? 'up' : 'down'} for ${formatAge(health.sinceMs)}`;
}

function formatFrames({ frames }: StatsReply): string {
  const { received, created, sent, delivered, dropped, held } = frames;
  return formatTable(
    [left('frames'), ...['received', 'created', 'sent', 'delivered', 'dropped', 'held'].map(right)],
    [['', ...[received, created, sent, delivered, dropped, held].map(formatCount)]],
  );
}

function formatCounters({ counters }: StatsReply): string {
  const rows = Object.entries(counters).filter(([, value]) => value !== 0);
  return formatTable(
    [left('counter'), right('value')],
    rows.map(([name, value]) => [name, formatCount(value)]),
  );
}
