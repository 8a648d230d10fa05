/** `tsvs sessions`: who is connected to what, for how long, with how many bytes. */
import { PATHS, type SessionsReply } from '../control/api.ts';
import { type ShowOptions, show } from './show.ts';
import { formatTable, left, right } from './table.ts';
import { formatAge, formatBytes, plural } from './units.ts';

export const sessions = (options: ShowOptions): Promise<void> => show(options, PATHS.sessions, formatSessions);

const COLUMNS = [
  left('service'),
  left('client'),
  left('server'),
  left('address'),
  left('from'),
  left('state'),
  right('age'),
  right('to server'),
  right('to client'),
];

export function formatSessions(reply: SessionsReply): string {
  const count = plural(reply.sessions.length, 'open session');
  if (reply.sessions.length === 0) return count;
  const rows = reply.sessions.map((s) => [
    s.service,
    s.client,
    s.server ?? '-',
    s.serverAddress ?? '-',
    s.local ?? '-',
    s.state,
    formatAge(s.ageMs),
    formatBytes(s.toServer),
    formatBytes(s.toClient),
  ]);
  return `${formatTable(COLUMNS, rows)}\n\n${count}`;
}
