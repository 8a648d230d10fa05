/** What scripts/lib/bundle.ts makes of top-level variables: constants of those that stay, and the same program. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { bundle } from '../../scripts/lib/bundle.ts';

const dir = mkdtempSync(join(tmpdir(), 'tsvs-bundle-'));
test.after(() => rmSync(dir, { recursive: true }));

test('what is assigned once is a constant, what changes is none, and all works as before', async () => {
  writeFileSync(
    join(dir, 'names.ts'),
    `export const LIMIT = 3 * 7;
     export const [FIRST, SECOND] = [1, 2];
     export let calls = 0;
     export let [low, high] = [0, 0];
     export class Counter { n = LIMIT; }
     export const count = (n: number): void => { calls++; [low, high] = [high, n]; };`,
  );
  writeFileSync(
    join(dir, 'entry.ts'),
    `import { calls, Counter, count, FIRST, high, LIMIT, low, SECOND } from './names.ts';
     count(5); count(6);
     export const seen = [LIMIT, FIRST, SECOND, calls, low, high, new Counter().n];`,
  );
  const outfile = join(dir, 'out.mjs');
  await bundle({ entryPoints: [join(dir, 'entry.ts')], outfile, sourcemap: true });
  const code = readFileSync(outfile, 'utf8');
  for (const start of ['LIMIT =', '[FIRST, SECOND] =', 'Counter =', 'count =', 'seen =']) {
    assert.ok(code.includes(`\nconst ${start}`), `${start} in\n${code}`);
  }
  for (const start of ['calls =', '[low, high] =']) assert.ok(code.includes(`\nvar ${start}`), `${start} in\n${code}`);
  const { seen } = (await import(outfile)) as { seen: unknown[] };
  assert.equal(seen, [21, 1, 2, 2, 5, 6, 21]);
  assert.ok(readFileSync(`${outfile}.map`, 'utf8').includes('names.ts'));
});

test.run();
