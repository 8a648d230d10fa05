/** `tsvs neigh`: the neighbours on the links and their hardware addresses. */

import { PATHS } from '../control/api.ts';
import type { NeighReply } from '../control/api-network.ts';
import { type ShowOptions, show } from './show.ts';
import { formatTable, left, right } from './table.ts';
import { formatAge, plural } from './units.ts';

export const neigh = (options: ShowOptions): Promise<void> => show(options, PATHS.neigh, formatNeighbours);

const COLUMNS = [left('address'), left('link'), left('mac'), left('state'), right('confirmed'), right('waiting')];

export function formatNeighbours({ neighbours }: NeighReply): string {
  const count = plural(neighbours.length, 'neighbour');
  if (neighbours.length === 0) return count;
  const rows = neighbours.map((n) => [
    n.address,
    n.link,
    n.mac ?? '-',
    n.static ? 'static' : n.state,
    n.confirmedMs === null ? '-' : `${formatAge(n.confirmedMs)} ago`,
    String(n.queued),
  ]);
  return `${formatTable(COLUMNS, rows)}\n\n${count}`;
}
