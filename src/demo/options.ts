/** Numbers on the command line of `tsvs demo`. Used by src/main.ts, which loads the demo itself only to show it. */
import { InvalidArgumentError } from 'commander';

const MAX_REQUESTS = 10_000;

/** The number of requests. */
export function requestCount(text: string): number {
  const n = Number(text);
  if (/^\d+$/.test(text) && n >= 1 && n <= MAX_REQUESTS) return n;
  throw new InvalidArgumentError(`It must be a whole number from 1 to ${MAX_REQUESTS}.`);
}

export function seedNumber(text: string): number {
  if (/^\d{1,9}$/.test(text)) return Number(text);
  throw new InvalidArgumentError('It must be a whole number of at most nine digits.');
}
