/**
 * `--fault loss=1%,duplicate=1%,reorder=1%,delay=2ms,seed=7`: what the link shall do wrong, in both directions, to see how
 * everything bears it. A link's name in front, as in `lan:loss=1%`, has the others spared. Each key at most once, in any order; the same seed and the same frames at the same times give the
 * same faults. The worker wraps the link in stack/netif/middleware/fault.ts.
 */
import { randomInt } from 'node:crypto';
import type { FaultRules } from '../../stack/netif/middleware/fault.ts';
import { NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import { nearest } from '../config/nearest.ts';
import type { FaultPlan } from '../workers/plan.ts';
import { EXIT, Failure } from './failure.ts';

type Key = keyof FaultRules | 'seed';

interface Row {
  readonly sets: Key;
  /** Throws RangeError with what would be right. */
  readonly read: (text: string) => number;
}

/** Delays of reordered frames, unless `hold` says otherwise: a few segments at gigabit speed, less than any timer of TCP. */
const DEFAULT_HOLD_US = 1000;
/** Queue of a rate-limited line, in seconds of its rate. */
const QUEUE_S = 0.1;
const LEAST_QUEUE_BYTES = 65536;

const ROWS: Readonly<Record<string, Row>> = {
  loss: { sets: 'loss', read: percent },
  duplicate: { sets: 'duplicate', read: percent },
  reorder: { sets: 'reorder', read: percent },
  corrupt: { sets: 'corrupt', read: percent },
  mark: { sets: 'mark', read: percent },
  hold: { sets: 'reorderMicros', read: duration },
  delay: { sets: 'delayMicros', read: duration },
  jitter: { sets: 'jitterMicros', read: duration },
  rate: { sets: 'bitsPerSecond', read: rate },
  seed: { sets: 'seed', read: seed },
};
export const FAULT_KEYS = Object.keys(ROWS);

/** Reads the option. Throws Failure when anything in it is not understood. Without a seed, one is chosen. */
export function readFaults(option: string, links: readonly { readonly name: string }[] = []): FaultPlan {
  const colon = option.lastIndexOf(':');
  const link = colon < 0 ? null : option.slice(0, colon).trim();
  if (link !== null && !links.some(({ name }) => name === link)) {
    throw usage(option, `there is no link '${link}' (there are ${links.map(({ name }) => name).join(', ')})`);
  }
  const spec = option.slice(colon + 1);
  const values = new Map<Key, number>();
  const given = new Set<string>();
  for (const part of spec.split(',')) {
    const [, key, text] = /^\s*([a-z]+)\s*=\s*(\S+)\s*$/.exec(part) ?? [];
    if (key === undefined || text === undefined) throw usage(part.trim(), 'expected KEY=VALUE, such as loss=1%');
    const row = Object.hasOwn(ROWS, key) ? ROWS[key] : undefined;
    if (row === undefined) {
      const near = nearest(key, FAULT_KEYS);
      const hint = near === null ? `there are ${FAULT_KEYS.join(', ')}` : `did you mean '${near}'?`;
      throw usage(part.trim(), `'${key}' is no fault; ${hint}`);
    }
    if (given.has(key)) throw usage(part.trim(), `'${key}' stands there twice`);
    given.add(key);
    values.set(row.sets, attempt(row.read, text, part.trim()));
  }
  if (given.has('hold') && !given.has('reorder')) throw usage(spec, "'hold' is for reordered frames: add reorder=1%");
  return plan(link, values);
}

function plan(link: string | null, values: ReadonlyMap<Key, number>): FaultPlan {
  const value = (key: Key): number => values.get(key) ?? 0;
  const bitsPerSecond = value('bitsPerSecond');
  const rules: FaultRules = {
    ...NO_FAULTS,
    loss: value('loss'),
    duplicate: value('duplicate'),
    corrupt: value('corrupt'),
    reorder: value('reorder'),
    mark: value('mark'),
    reorderMicros: value('reorder') > 0 ? (values.get('reorderMicros') ?? DEFAULT_HOLD_US) : 0,
    delayMicros: value('delayMicros'),
    jitterMicros: value('jitterMicros'),
    bitsPerSecond,
    queueBytes: bitsPerSecond > 0 ? Math.max(LEAST_QUEUE_BYTES, Math.round((bitsPerSecond / 8) * QUEUE_S)) : 0,
  };
  return { link, rules, seed: values.get('seed') ?? randomInt(2 ** 31) };
}

/** The plan in words, complete enough to ask for the same again. */
export function describeFaults({ link, rules, seed }: FaultPlan): string {
  const share = (key: string, p: number): string => (p > 0 ? `${key}=${trim(p * 100)}%` : '');
  const time = (key: string, us: number): string => (us > 0 ? `${key}=${trim(us / 1000)}ms` : '');
  const faults = [
    share('loss', rules.loss),
    share('duplicate', rules.duplicate),
    share('corrupt', rules.corrupt),
    share('mark', rules.mark),
    share('reorder', rules.reorder),
    time('hold', rules.reorderMicros),
    time('delay', rules.delayMicros),
    time('jitter', rules.jitterMicros),
    rules.bitsPerSecond > 0 ? `rate=${trim(rules.bitsPerSecond / 1e6)}mbit` : '',
    `seed=${seed}`,
  ]
    .filter(Boolean)
    .join(',');
  return link === null ? faults : `${link}:${faults}`;
}

const trim = (n: number): string => String(Number(n.toFixed(6)));

function percent(text: string): number {
  const [, number] = /^(\d+(?:\.\d+)?)%$/.exec(text) ?? [];
  if (number === undefined || Number(number) > 100)
    throw new RangeError('a share of the frames is 0% to 100%, such as 1% or 0.5%');
  return Number(number) / 100;
}

const MICROS: Readonly<Record<string, number>> = { us: 1, ms: 1e3, s: 1e6 };

/** In microseconds. */
function duration(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(us|ms|s)$/.exec(text) ?? [];
  const micros = Math.round(Number(number) * (MICROS[unit ?? ''] ?? Number.NaN));
  if (!(micros <= 10e6)) throw new RangeError('a time is up to 10s, such as 500us or 2ms');
  return micros;
}

const BITS: Readonly<Record<string, number>> = { kbit: 1e3, mbit: 1e6, gbit: 1e9 };

/** In bits per second. */
function rate(text: string): number {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(kbit|mbit|gbit)$/.exec(text) ?? [];
  const bits = Math.round(Number(number) * (BITS[unit ?? ''] ?? Number.NaN));
  if (!(bits >= 64e3)) throw new RangeError('a rate is 64kbit or more, such as 10mbit or 1gbit');
  return bits;
}

function seed(text: string): number {
  if (!/^\d{1,10}$/.test(text) || Number(text) >= 2 ** 31)
    throw new RangeError(`a seed is a whole number from 0 to ${2 ** 31 - 1}`);
  return Number(text);
}

function attempt(read: (text: string) => number, text: string, part: string): number {
  try {
    return read(text);
  } catch (error) {
    throw usage(part, (error as RangeError).message);
  }
}

function usage(part: string, why: string): Failure {
  return new Failure(EXIT.USAGE, `--fault ${part}: ${why}`);
}
