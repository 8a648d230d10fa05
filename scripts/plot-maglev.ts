/**
 * Measures what moves beyond their share when k of 1000 servers leave mh's table, and draws it: docs/img/maglev-disruption.svg, shown by
 * docs/schedulers.md. Both axes are logarithmic. Run it when lb/sched/maglev.ts changes; it takes a second.
 */
import { writeFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';
import { claims, disruption } from '../test/lib/maglev.ts';

export const MAGLEV_PLOT = 'docs/img/maglev-disruption.svg';

const SERVERS = 1000;
const LEAVING = [1, 2, 3, 5, 7, 10, 20, 30, 50, 70, 100, 200, 300, 500];
const CURVES = [
  { size: 65537, color: '#1b62a5' },
  { size: 655373, color: '#c2571a' },
] as const;

const WIDTH = 640;
const HEIGHT = 400;
const LEFT = 64;
const RIGHT = 120;
const TOP = 44;
const BOTTOM = 52;
/** Servers that leave; percent that move. */
const X = { from: 1, to: 1000, ticks: [1, 10, 100, 1000] };
const Y = { from: 0.1, to: 10, ticks: [0.1, 0.2, 0.5, 1, 2, 5, 10] };

const part = (value: number, { from, to }: typeof X): number => Math.log(value / from) / Math.log(to / from);
const x = (value: number): number => LEFT + part(value, X) * (WIDTH - LEFT - RIGHT);
const y = (value: number): number => HEIGHT - BOTTOM - part(value, Y) * (HEIGHT - TOP - BOTTOM);
const at = (value: number): string => value.toFixed(1);

export function drawMaglev(): string {
  const all = claims(SERVERS);
  const curves = CURVES.map(({ size, color }) => {
    const points = LEAVING.map((k) => ({ k, moved: disruption(all, size, k).moved }));
    const line = points.map(({ k, moved }) => `${at(x(k))},${at(y(moved))}`).join(' ');
    const dots = points.map(
      ({ k, moved }) =>
        `<circle cx="${at(x(k))}" cy="${at(y(moved))}" r="3" fill="${color}"><title>${k} leave: ${moved.toFixed(2)} %</title></circle>`,
    );
    const last = points.at(-1)!;
    const name = `<text x="${at(x(last.k) + 10)}" y="${at(y(last.moved) + 4)}" fill="${color}">${size} entries</text>`;
    return [`<polyline points="${line}" fill="none" stroke="${color}" stroke-width="2"/>`, ...dots, name].join('\n');
  });
  const rows = Y.ticks.map(
    (tick) => `<path d="M${LEFT} ${at(y(tick))}H${WIDTH - RIGHT}" stroke="#ddd"/>
<text x="${LEFT - 8}" y="${at(y(tick) + 4)}" text-anchor="end">${tick} %</text>`,
  );
  const columns = X.ticks.map(
    (tick) => `<path d="M${at(x(tick))} ${TOP}V${HEIGHT - BOTTOM}" stroke="#ddd"/>
<text x="${at(x(tick))}" y="${HEIGHT - BOTTOM + 18}" text-anchor="middle">${tick}</text>`,
  );
  return `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" font-family="sans-serif" font-size="12" fill="#333">
<title>mh: part of the remaining servers' entries that moves when k of ${SERVERS} servers leave</title>
<rect width="${WIDTH}" height="${HEIGHT}" fill="#fff"/>
<text x="${LEFT}" y="24" font-size="14">mh: entries of the remaining servers that move</text>
${[...rows, ...columns, ...curves].join('\n')}
<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 12}" text-anchor="middle">servers that leave, of ${SERVERS}</text>
</svg>
`;
}

if (process.argv[1] && import.meta.url === pathToFileURL(process.argv[1]).href) {
  writeFileSync(MAGLEV_PLOT, drawMaglev());
}
