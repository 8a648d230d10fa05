/** The kinds of value that many keys have: what their rows say of type, unit and range follows from it. Used by the tables beside this file. */
import { formatDuration } from '../duration.ts';
import * as values from '../values.ts';
import type { Row } from './row.ts';

type Kind<T> = Pick<Row<T>, 'type' | 'read' | 'range'>;

/** One of `words`. */
export const word = <const W extends readonly string[]>(words: W): Kind<W[number]> => ({
  type: 'word',
  read: values.oneOf(words),
  range: words.join(', '),
});

/** A range as the manual has it, with what 0 means where that is not a number like others. */
const range = (low: number | string, high: number | string, zero: string): string =>
  `${low}..${high}${zero && `; 0 ${zero}`}`;

/** A span of time; `zero` says what 0 does. */
export const time = (lowMs: number, highMs: number, zero = ''): Kind<number> & { readonly unit: string } => ({
  type: 'time',
  read: values.duration(lowMs, highMs),
  unit: 'ms, s, m, h, d',
  range: range(formatDuration(lowMs), formatDuration(highMs), zero),
});

/** A whole number; `what` is the subject of the message about its range, `zero` says what 0 does. */
export const number = (
  low: number,
  high: number,
  what: string,
  unit = '',
  zero = '',
): Kind<number> & { readonly unit: string } => ({
  type: 'number',
  read: values.integer(low, high, what),
  unit,
  range: range(low, high, zero),
});
