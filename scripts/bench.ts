/**
 * Bundles the benchmarks as the product is bundled, and runs them in a process of their own: in a user namespace when
 * they are to build networks and the user is not root.
 */
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { type BenchOptions, readOptions, USAGE } from '../test/bench/options.ts';
import { namespaceWrapper } from '../test/lib/privilege.ts';
import { bundle } from './lib/bundle.ts';

const args = process.argv.slice(2);
if (args.includes('--help')) {
  console.log(USAGE);
  process.exit(0);
}

function checked(): BenchOptions {
  try {
    return readOptions(args);
  } catch (error) {
    console.error(`${(error as Error).message}\n\n${USAGE}`);
    return process.exit(2);
  }
}

/** Runs the bundle to its end, and hands on to it, once, the signal that asks us to end. Gives the exit code. */
function run(words: readonly string[]): Promise<number> {
  const [program, ...rest] = words;
  // A process group of its own: else an interrupt from the terminal came twice, and cut its cleaning-up short.
  const child = spawn(program as string, rest, { stdio: 'inherit', detached: true });
  let told = false;
  const handOn = (signal: NodeJS.Signals): void => {
    if (!told) child.kill(signal);
    told = true;
  };
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, handOn);
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve(code ?? 1));
  });
}

const { check, heap, links, lab, idle } = checked();
// Where the packages it needs are found.
const dir = mkdtempSync('node_modules/.tsvs-bench-');
try {
  await bundle({
    entryPoints: {
      bench: 'test/bench/main.ts',
      check: 'test/bench/check.ts',
      'crew-member': 'test/bench/crew-member.ts',
      'check-run': 'test/bench/check-run.ts',
      'bare-forward': 'test/bench/bare-forward.ts',
      'link-generator': 'test/bench/link-generator.ts',
      'link-heap': 'test/bench/link-heap.ts',
      mirror: 'test/bench/mirror.ts',
      'udp-flood': 'test/bench/udp-flood.ts',
    },
    outdir: dir,
    outExtension: { '.js': '.mjs' },
  });
  // A young generation that holds a whole measurement: allocation is then read off without a collection in between.
  const flags = ['--expose-gc', '--max-semi-space-size=512', '--min-semi-space-size=512'];
  process.exitCode = await run([
    ...(check || heap || links || lab || idle ? namespaceWrapper() : []),
    process.execPath,
    ...flags,
    join(dir, check ? 'check.mjs' : 'bench.mjs'),
    ...args,
  ]);
} finally {
  rmSync(dir, { recursive: true });
}
