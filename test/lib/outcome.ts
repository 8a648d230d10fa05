/**
 * What one test file's process came to, judged from how it ended and what it printed. Pure; used by test/run.ts.
 */

/** How a process ended: its exit code, or the signal that ended it, and the limit it exceeded (ms, 0 = none). */
export interface Ending {
  code: number | null;
  signal: string | null;
  exceededMs: number;
}

/** `fault` says why the file as a whole failed, where it did; it counts as one failure unless tests failed too. */
export interface Verdict {
  passed: number;
  failed: number;
  skipped: number;
  fault?: string;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: colours are control characters
const COLOUR = /\x1b\[[0-9;]*m/g;
const SUMMARY = /^\s*Total:\s+(\d+)\s+Passed:\s+(\d+)\s+Skipped:\s+(\d+)\s/gm;

/** Reads the last summary uvu printed, or nothing when there is none. */
export function parseSummary(output: string): Verdict | undefined {
  const last = [...output.replace(COLOUR, '').matchAll(SUMMARY)].at(-1);
  if (last === undefined) return undefined;
  const [total, passed, skipped] = last.slice(1).map(Number) as [number, number, number];
  return { passed, failed: total - passed, skipped };
}

/** Judges a test file. With `strict` (as in CI) skipped tests are failures. */
export function judge(output: string, ending: Ending, strict: boolean): Verdict {
  const summary = parseSummary(output);
  const verdict: Verdict = summary ?? { passed: 0, failed: 0, skipped: 0 };
  const end = ending.signal ?? `exit code ${ending.code}`;
  const fault = (text: string): Verdict => ({ ...verdict, failed: Math.max(verdict.failed, 1), fault: text });

  if (ending.exceededMs > 0) return fault(`exceeded its limit of ${ending.exceededMs / 1000} s`);
  if (summary === undefined) return fault(`ended without a summary (${end})`);
  if (verdict.passed + verdict.failed + verdict.skipped === 0) return fault('reports no test');
  if (ending.code !== 0 && verdict.failed === 0) return fault(`${end} although its tests passed`);
  if (strict && verdict.skipped > 0) {
    const { passed, failed, skipped } = verdict;
    return { passed, failed: failed + skipped, skipped: 0, fault: `skips ${skipped}, and here a skip is a failure` };
  }
  return verdict;
}
