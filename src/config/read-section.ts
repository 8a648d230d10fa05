/**
 * One section of an indexed INI file against its rows of the schema: unknown, repeated, empty and missing keys, and the value of each.
 * Called by read.ts for every section of lb.conf and by fstack.ts for [portN].
 */
import type { ErrorList, Located, Where } from './error.ts';
import type { IniEntry, IniSection } from './ini-index.ts';
import type { Mode } from './model.ts';
import { nearest } from './nearest.ts';
import { type Row, type Rows, type RowValue, SERVER_KEYS, SERVER_N } from './rows/row.ts';
import { SCHEMA } from './schema.ts';
import type { ServerValue } from './values.ts';

/** By key: the value and its place, or null where there is none or a wrong one. */
export type SectionValues<R extends Rows> = { readonly [K in keyof R]: Located<RowValue<R[K]>> | null };

export interface ServerEntry {
  readonly where: Where;
  /** Null for one that could not be read. */
  readonly server: Located<ServerValue> | null;
}

/** What serverN_* keys say of one server. */
export interface ServerKeys {
  name?: Located<string>;
  mode?: Located<Mode>;
  upper?: Located<number>;
  lower?: Located<number>;
}

export interface SectionReading<R extends Rows> {
  readonly where: Where;
  readonly values: SectionValues<R>;
  /** serverN by N. */
  readonly servers: ReadonlyMap<number, ServerEntry>;
  /** serverN_* by N. */
  readonly serverKeys: ReadonlyMap<number, ServerKeys>;
  /** Keys that stand there, or that a mistyped one seems to mean. */
  readonly said: ReadonlySet<string>;
  /** Keys that must be there and are not, nor are mistyped. */
  readonly missing: readonly string[];
}

const PSEUDO_KEYS: readonly string[] = [SERVER_N, ...Object.values(SERVER_KEYS)];
const SERVER_KEY = new RegExp(`^server([1-9]\\d*)_(${Object.keys(SERVER_KEYS).join('|')})$`);

export function whereIs(file: string, section: IniSection, entry?: IniEntry): Where {
  const { line, column } = entry ?? section;
  return { file, line, column, section: section.title, key: entry?.key ?? '' };
}

/** The hint of an error about a value that carries none of its own. */
export function rangeHint(row: Row): string {
  return row.range ? `write ${row.range.replaceAll('`', '')}` : '';
}

/** The value of a text by its row, or null after complaining about everything wrong with it. */
export function readValue<T>(row: Row<T>, text: string, where: Where, errors: ErrorList): Located<T> | null {
  if (text === '') {
    errors.add(where, 'has no value', `write one, as in ${row.example}`);
    return null;
  }
  const result = row.read.safeParse(text);
  if (result.success) return { ...where, value: result.data };
  for (const issue of result.error.issues) {
    const hint = issue.code === 'custom' ? issue.params?.['hint'] : undefined;
    errors.add(where, issue.message, typeof hint === 'string' ? hint : rangeHint(row));
  }
  return null;
}

/** Reads the keys of a section. Missing keys are listed, not complained about: another file may supply them. */
export function readSection<R extends Rows>(
  file: string,
  section: IniSection,
  rows: R,
  errors: ErrorList,
): SectionReading<R> {
  const values: Record<string, Located<unknown> | null> = {};
  const servers = new Map<number, ServerEntry>();
  const serverKeys = new Map<number, ServerKeys>();
  const firstLine = new Map<string, number>();
  const meant = new Set<string>();
  const serverRow = rows[SERVER_N] as Row<ServerValue> | undefined;

  for (const entry of section.entries) {
    const where = whereIs(file, section, entry);
    const first = firstLine.get(entry.key);
    if (first !== undefined) {
      errors.add(where, `duplicate key, first in line ${first}`, 'keep one of them');
      continue;
    }
    firstLine.set(entry.key, entry.line);

    const number = /^server(\d+)$/.exec(entry.key)?.[1];
    if (number && serverRow) {
      if (number.startsWith('0'))
        errors.add(where, 'no such server number', 'count from server1, without leading zeros');
      else servers.set(Number(number), { where, server: readValue(serverRow, entry.value, where, errors) });
    } else if (serverRow && SERVER_KEY.test(entry.key)) {
      const [, digits = '', name = ''] = SERVER_KEY.exec(entry.key) ?? [];
      const value = readValue(rows[SERVER_KEYS[name as keyof ServerKeys]], entry.value, where, errors);
      const keys = serverKeys.get(Number(digits)) ?? {};
      serverKeys.set(Number(digits), value === null ? keys : { ...keys, [name]: value });
    } else if (!PSEUDO_KEYS.includes(entry.key) && Object.hasOwn(rows, entry.key)) {
      values[entry.key] = readValue(rows[entry.key], entry.value, where, errors);
    } else {
      const near = nearestKey(entry.key, rows);
      if (near) meant.add(near);
      errors.add(where, 'unknown key', near ? `did you mean '${near}'?` : otherHome(entry.key, rows));
    }
  }

  const where = whereIs(file, section);
  const missing: string[] = [];
  for (const [key, row] of Object.entries(rows)) {
    if (PSEUDO_KEYS.includes(key) || firstLine.has(key)) continue;
    values[key] = row.default === null ? null : { ...where, key, value: row.read.parse(row.default) };
    if (row.default === null && row.without === undefined && !meant.has(key)) missing.push(key);
  }
  return {
    where,
    values: values as SectionValues<R>,
    servers,
    serverKeys,
    missing,
    said: new Set([...firstLine.keys(), ...meant]),
  };
}

/** The known key a mistyped one resembles; a mistyped server keeps its number. */
function nearestKey(key: string, rows: Rows): string | null {
  const digits = /\d+/.exec(key)?.[0] ?? '1';
  return nearest(
    key,
    Object.keys(rows).map((known) => (PSEUDO_KEYS.includes(known) ? known.replace('N', digits) : known)),
  );
}

/** Where an unknown key would be known, or what is known here. */
function otherHome(key: string, rows: Rows): string {
  for (const [kind, section] of Object.entries(SCHEMA)) {
    if (Object.hasOwn(section.rows, key)) return `it belongs to [${section.named ? `${kind} NAME` : kind}]`;
  }
  return `known keys: ${Object.keys(rows).join(', ')}`;
}
