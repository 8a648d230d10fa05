/** A clock that stands still until a test moves it. */
import type { Clock } from '../../stack/timer/clock.ts';

export class FakeClock implements Clock {
  private us: number;

  constructor(us = 0) {
    this.us = us;
  }

  nowUs(): number {
    return this.us;
  }

  /** Moves on by `us` microseconds and returns the new time. */
  advanceUs(us: number): number {
    this.us += us;
    return this.us;
  }

  advanceMs(ms: number): number {
    return this.advanceUs(ms * 1000);
  }
}
