/**
 * What the schema says of a key: a row, in tables by section (beside this file). schema.ts puts them together.
 */
import type { z } from 'zod';
import type { Value } from '../values.ts';

export interface Row<T = unknown> {
  /** What kind of value, in words. */
  readonly type: string;
  readonly read: Value<T>;
  readonly unit?: string;
  /** The value of a key left out, as it would be written; null when there is none. */
  readonly default: string | null;
  /** What happens without a default when the key is left out; absent, too, when it must be there. */
  readonly without?: string;
  readonly range: string;
  /** Whether a new value can take effect without touching established connections, once reloading exists. */
  readonly reloadable: boolean;
  readonly example: string;
  readonly doc: string;
}

export type Rows = Readonly<Record<string, Row>>;

/** The model's value of a row. */
export type RowValue<R extends Row> = z.output<R['read']>;

export interface Section {
  /** Takes a name behind its word, and may appear once per name. */
  readonly named: boolean;
  readonly doc: string;
  readonly rows: Rows;
}

export const MINUTE_MS = 60_000;
export const HOUR_MS = 3_600_000;
export const DAY_MS = 86_400_000;

/** Of a key that must be there. */
export const REQUIRED = { default: null } as const;

/** The pseudo-key that stands for server1, server2, ... */
export const SERVER_N = 'serverN';
/** Those that stand for server1_name, server1_mode, ... */
export const SERVER_KEYS = {
  name: 'serverN_name',
  mode: 'serverN_mode',
  upper: 'serverN_upper',
  lower: 'serverN_lower',
} as const;
