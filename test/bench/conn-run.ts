/** Bundles test/bench/conn.ts as the product is bundled, and runs it. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';

const dir = mkdtempSync(join(tmpdir(), 'tsvs-bench-'));
try {
  const outfile = join(dir, 'conn.mjs');
  await build({
    entryPoints: ['test/bench/conn.ts'],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'warning',
  });
  process.exitCode = spawnSync(process.execPath, ['--expose-gc', outfile], { stdio: 'inherit' }).status ?? 1;
} finally {
  rmSync(dir, { recursive: true });
}
