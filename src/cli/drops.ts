/** `tsvs drops`: every reason for which frames were dropped, with what it means. */
import { type DropsReply, PATHS } from '../control/api.ts';
import { type ShowOptions, show } from './show.ts';
import { formatTable, left, right } from './table.ts';
import { formatCount, plural } from './units.ts';

export const drops = (options: ShowOptions): Promise<void> => show(options, PATHS.drops, formatDrops);

export function formatDrops({ total, drops }: DropsReply): string {
  const sum = `${plural(total, 'frame')} dropped`;
  if (total === 0) return sum;
  const rows = drops.map((drop) => [drop.name, formatCount(drop.count), drop.kind, drop.sentence]);
  return `${formatTable([left('reason'), right('frames'), left('kind'), left('meaning')], rows)}\n\n${sum}`;
}
