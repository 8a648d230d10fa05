/**
 * The clock as the stack sees it: something that is asked once per burst. The real one belongs to the program, the fake one to the
 * tests and the simulator; nothing in stack/ or lb/ reads any other time.
 */
import type { Micros, Ticks } from '../types.ts';

export interface Clock {
  /** Whole microseconds since some fixed moment; never less than at the call before. */
  nowUs(): Micros;
}

/** The millisecond tick of a time: int32 that wraps every 49.7 days; compare ticks as (a - b) | 0. */
export function ticksOf(nowUs: Micros): Ticks {
  return Math.floor(nowUs / 1000) | 0;
}
