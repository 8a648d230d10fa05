/**
 * The soak: rounds under changing conditions until the time is over. One failure ends it; the capture of that round is
 * kept, and the seed does the same again, as far as two real clocks allow.
 *
 * Called by scripts/soak.ts and test/soak/soak.test.ts.
 */
import { copyFileSync, existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { performance } from 'node:perf_hooks';
import * as assert from 'uvu/assert';
import type { Context } from '../../stack/context.ts';
import { checkFrames } from '../lib/tcp-laws.ts';
import { conditionsOf, describe } from './conditions.ts';
import { Kernel } from './kernel.ts';
import type { SoakOptions } from './options.ts';
import { Round } from './round.ts';
import { newContext, Station } from './station.ts';
import { report, Tally } from './tally.ts';

/** Rounds are this long; a short soak has shorter ones, to see several conditions. */
const ROUND_MS = 12_000;
const LEAST_ROUNDS = 8;
/** Numbers for the connections of a round: so they do not depend on how many those before it had. */
const ROUND_NUMBERS = 100_000;

export interface SoakResult {
  readonly tally: Tally;
  /** What went wrong, with the way to see it again; null = nothing. */
  readonly failure: string | null;
}

/** Runs to the end. `say` takes what there is to read, line by line. */
export async function soak(options: SoakOptions, say: (line: string) => void): Promise<SoakResult> {
  const { seed, seconds, width, keep } = options;
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-soak-'));
  const tally = new Tally();
  const ctx = newContext(seed);
  const kernel = new Kernel();
  const began = performance.now();
  const elapsed = (): number => performance.now() - began;
  const roundMs = Math.min(ROUND_MS, (seconds * 1000) / LEAST_ROUNDS);
  let failure: string | null = null;
  try {
    for (let round = options.round; failure === null && elapsed() < seconds * 1000; round++) {
      const file = join(folder, `round-${round}.pcapng`);
      const conditions = conditionsOf(seed, round);
      say(`round ${round}: ${describe(conditions).join('\n  ')}`);
      try {
        say(`  ${await oneRound(options, ctx, kernel, tally, round, roundMs, file)}`);
        rmSync(file);
      } catch (error) {
        failure = [
          (error as Error).message,
          ...keepCapture(file, resolve(keep, `soak-seed-${seed}-round-${round}.pcapng`)),
          `again: npm run soak -- --seed ${seed} --seconds ${seconds} --width ${width} --round ${round}`,
        ].join('\n');
      }
    }
    tally.kernel = await kernel.counters();
  } finally {
    await kernel.close();
    rmSync(folder, { recursive: true });
  }
  for (const line of report(tally, seed, elapsed() / 1000)) say(line);
  return { tally, failure };
}

/** Moves a capture to where it stays; gives the line that says where, or none when there is no capture. */
function keepCapture(file: string, kept: string): string[] {
  if (!existsSync(file)) return [];
  copyFileSync(file, kept);
  return [`capture: ${kept}`];
}

/** Gives a summary of it. */
async function oneRound(
  { seed, width }: SoakOptions,
  ctx: Context,
  kernel: Kernel,
  tally: Tally,
  round: number,
  ms: number,
  file: string,
): Promise<string> {
  const conditions = conditionsOf(seed, round);
  await kernel.configure(conditions.options, conditions.ecn, conditions.kernelBuffer);
  const station = await Station.start(ctx, kernel, seed, round, conditions, file);
  try {
    const it = new Round({ seed, longest: conditions.longest }, station, kernel, tally);
    await it.run(round * ROUND_NUMBERS, ms, width, conditions.backlog);
    assert.is(station.host.tcp.segments.used, 0, 'descriptors left');
    checkFrames({ host: station.host, ctx }, true);
    return it.summary;
  } finally {
    tally.round(station.host, station.fault, station.observer);
    station.close();
  }
}
