/** A match service as text: DPVS's listing has `tcp,from=...,to=...`, its options `proto=tcp,src-range=...`. */
import { bracketed } from './address.ts';
import type { AddressRange, ServiceId } from './ops.ts';

type MatchId = Extract<ServiceId, { kind: 'match' }>;

/** What is any is left out. */
export function formatMatch({ protocol, match }: MatchId): string {
  return fields([protocol], [['from', range(match.from)], ['to', range(match.to)], ...interfaces(match)]);
}

/** As -H takes it. */
export function formatMatchOption({ protocol, family, match }: MatchId): string {
  const ranges: [string, string][] = [
    ['src-range', range(match.from)],
    ['dst-range', range(match.to)],
  ];
  const free = match.from === null && match.to === null ? [['af', family === 6 ? 'ipv6' : 'ipv4'] as const] : [];
  return fields([`proto=${protocol}`], [...free, ...ranges, ...interfaces(match)]);
}

const interfaces = ({ iif, oif }: MatchId['match']): [string, string][] => [
  ['iif', iif],
  ['oif', oif],
];

const fields = (first: string[], rest: readonly (readonly [string, string])[]): string =>
  [...first, ...rest.filter(([, value]) => value !== '').map(([key, value]) => `${key}=${value}`)].join(',');

function range(value: AddressRange | null): string {
  if (value === null) return '';
  const { low, high, lowPort, highPort } = value;
  const addresses =
    low.family === 4
      ? `${bracketed(low)}-${bracketed(high)}`
      : `${bracketed(low).slice(0, -1)}-${bracketed(high).slice(1)}`;
  return `${addresses}:${lowPort}-${highPort}`;
}
