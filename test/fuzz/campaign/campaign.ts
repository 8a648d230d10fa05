/**
 * One campaign: so many frames into one target, from one seed. The target rests now and then, so that timers run; what
 * must hold is checked after each burst, and at the end nothing may be left. Failures name target, seed and frame, and
 * repeat with them.
 */
import { FATE_SENT } from '../../../stack/context.ts';
import { Dice } from './dice.ts';
import { loadCaptures, Source } from './source.ts';
import { dropsOf, TARGETS, type Target } from './targets.ts';

export interface Outcome {
  readonly frames: number;
  readonly seconds: number;
  /** Frames that the target sent. */
  readonly sent: number;
  /** Drops by reason, most first. */
  readonly drops: string;
}

/** A target is given up and made anew after so many frames, so that leaks show early and rows do not run for hours. */
const LIFE = 250_000;
const captures = loadCaptures();

export function campaign(name: string, seed: number, frames: number): Outcome {
  const started = performance.now();
  let done = 0;
  let drops = '';
  let sent = 0;
  for (let life = 0; done < frames; life++) {
    const dice = new Dice((seed * 7919 + life * 104_729) | 0);
    const target = TARGETS.get(name)!(dice);
    const n = Math.min(LIFE, frames - done);
    try {
      one(target, dice, n);
    } catch (e) {
      const at = `fuzz target ${name}, seed ${seed}, after ${done} frames and life ${life}`;
      throw new Error(`${at}: ${(e as Error).message}`, { cause: e });
    }
    done += n;
    drops = dropsOf(target.ctx);
    sent += target.ctx.fate[FATE_SENT];
  }
  return { frames: done, seconds: (performance.now() - started) / 1000, sent, drops };
}

function one(target: Target, dice: Dice, frames: number): void {
  const source = new Source(dice, captures, target.ends, target.sent);
  for (let n = 0, bursts = 0; n < frames; bursts++) {
    const burst: Uint8Array[] = [];
    const size = Math.min(1 + dice.below(24), frames - n);
    while (burst.length < size) burst.push(...source.next());
    n += burst.length;
    target.burst(burst);
    if (dice.chance(10)) target.rest(dice.below(50));
    if (dice.chance(1)) target.rest(dice.below(5000));
    if (bursts % 16 === 0) target.check();
  }
  target.finish();
}
