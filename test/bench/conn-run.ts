/** Bundles test/bench/conn.ts as the product is bundled, and runs it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bundle } from '../../scripts/lib/bundle.ts';

const dir = mkdtempSync(join(tmpdir(), 'tsvs-bench-'));
try {
  const outfile = join(dir, 'conn.mjs');
  await bundle({ entryPoints: ['test/bench/conn.ts'], outfile });
  // A young generation that holds a whole measurement of what is allocated.
  const flags = ['--expose-gc', '--max-semi-space-size=256', '--min-semi-space-size=256'];
  process.exitCode = spawnSync(process.execPath, [...flags, outfile], { stdio: 'inherit' }).status ?? 1;
} finally {
  rmSync(dir, { recursive: true });
}
