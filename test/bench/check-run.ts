/**
 * What one subject in memory allocates, and what of it V8 deoptimises once all is warm: program `check-run SUBJECT TRACE`, for check.ts.
 * Started with --expose-gc and with the flags that have V8 write deoptimisations to the file TRACE. Prints Counted as JSON, as its last
 * line: V8 writes lines of its own before it.
 */
import { existsSync, readFileSync } from 'node:fs';
import { type Counted, SUBJECTS } from './check-subjects.ts';
import { allocated } from './harness.ts';

const [name = '', trace = ''] = process.argv.slice(2);
const { make, n } = SUBJECTS[name]!;

/** Functions that have been deoptimised so far, and why. */
function deoptimised(): string[] {
  if (!existsSync(trace)) return [];
  const lines = readFileSync(trace, 'utf8').matchAll(/^\[bailout.*?reason: (.*?)\): .*?<JSFunction (\S*)/gm);
  return [...lines].map(([, reason, what]) => `${what}: ${reason}`);
}

/** Rounds in a row without a deoptimisation until all is warm, and rounds at most. */
const QUIET = 4;
const MOST = 16;

const body = make();
let before = 0;
for (let round = 0, quiet = 0; round < MOST && quiet < QUIET; round++) {
  body(n);
  // What V8 compiles meanwhile is put in place.
  await new Promise((resolve) => setTimeout(resolve, 10));
  const now = deoptimised().length;
  quiet = now === before ? quiet + 1 : 0;
  before = now;
}
const bytes = await allocated(body, n, 5);
const counted: Counted = { bytes, deoptimised: deoptimised().slice(before) };
console.log(`\n${JSON.stringify(counted)}`);
