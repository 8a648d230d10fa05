/** Spans of time as a file and the command line write them: 500ms, 5s, 2m, 1h, 7d. */
import { clip, type Fail } from './error.ts';

const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** In milliseconds; a bare 0 needs no unit. */
export function readDuration(text: string, lowMs: number, highMs: number, fail: Fail): number {
  const hint = `a time is ${formatDuration(lowMs)}..${formatDuration(highMs)}`;
  const match = /^(\d+)(ms|s|m|h|d)?$/.exec(text);
  if (!match) {
    fail(`'${clip(text)}' is not a time`, 'write a whole number and its unit, as in 500ms, 5s, 2m, 1h');
    return 0;
  }
  const [, digits, unit] = match;
  if (!unit && Number(digits) !== 0) {
    fail(`'${clip(text)}' has no unit`, `write ${digits}s or ${digits}ms`);
    return 0;
  }
  const ms = Number(digits) * (UNIT_MS[unit ?? ''] ?? 1);
  if (ms > highMs) fail(`${clip(text)} is too long`, hint);
  else if (ms < lowMs) fail(`${text} is too short`, hint);
  return ms;
}

/** The shortest spelling: the largest unit that divides it. */
export function formatDuration(ms: number): string {
  if (ms === 0) return '0';
  const [unit, length] = Object.entries(UNIT_MS).findLast(([, unitMs]) => ms % unitMs === 0)!;
  return `${ms / length}${unit}`;
}
