/**
 * What is to be said of a tracked protocol, as data: numbers, names, timeouts. Read at composition, by control and by
 * listings; the transitions are functions of each protocol's own file.
 */

/** Whose timeouts, and whose idea of an active connection. */
export type Profile = 'dpvs' | 'lvs';

export const PROFILES: readonly Profile[] = ['dpvs', 'lvs'];

/** At most this many states per protocol: they fill the four bits a connection's row has for them. */
export const STATES = 16;

export interface Protocol {
  /** IP protocol number. */
  readonly number: number;
  readonly name: string;
  /** Names of the states 0..n-1, as listings show them. */
  readonly states: readonly string[];
  /** Seconds by state. */
  readonly timeouts: Readonly<Record<Profile, readonly number[]>>;
  /** Bit s is set when a connection in state s is an active one of its server (the others are inactive). */
  readonly active: Readonly<Record<Profile, number>>;
  /** The states whose timeout a service may choose for its connections (`--conn-timeout`). */
  readonly settable: readonly number[];
}
