/** Which counts have risen. Called by check.ts. */

/** By name: what, a colon and what was counted. */
export type Counts = Readonly<Record<string, number>>;

export interface Risen {
  readonly name: string;
  /** `nothing` where nothing is stored: whoever adds a count stores it. */
  readonly was: number | 'nothing';
  readonly is: number;
}

/**
 * What a count may be above the stored one, as when V8 compiles what, and where a burst ends, is not the same in each run. One object in
 * a burst of 64 packets would be 250 KB per million.
 */
const SLACK: Readonly<Record<string, readonly [share: number, more: number]>> = {
  'bytes per million': [0.1, 100_000],
  deoptimisations: [0, 3],
  'system calls per 1000 packets': [0.1, 2],
};

/** Counts above the stored ones, by more than they vary; what was not counted is not compared. */
export function risen(stored: Counts, counts: Counts): Risen[] {
  return Object.entries(counts).flatMap(([name, is]): Risen[] => {
    const was = stored[name];
    if (was === undefined) return [{ name, was: 'nothing', is }];
    const [share, more] = SLACK[name.slice(name.lastIndexOf(': ') + 2)]!;
    return is > Math.max(was, 0) * (1 + share) + more ? [{ name, was, is }] : [];
  });
}
