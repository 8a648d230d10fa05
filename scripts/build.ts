/**
 * Bundles the program: for the command line, for the worker thread, for the process of libpcap.
 * The worker is bundled for speed: V8 inlines across modules only within one file.
 */
import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import type { BuildOptions } from 'esbuild';
import { bundle } from './lib/bundle.ts';

const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as {
  version: string;
};

const common: BuildOptions = {
  outdir: 'dist',
  sourcemap: true,
  define: { TSVS_VERSION: JSON.stringify(version) },
};

for (const name of existsSync('dist') ? readdirSync('dist') : []) if (name.startsWith('part-')) rmSync(`dist/${name}`);
// What only some commands need is in files of its own, which they load: the others answer sooner.
await bundle({
  ...common,
  entryPoints: { main: 'src/main.ts' },
  splitting: true,
  // Beside main, as paths lead from there to the worker and the process of libpcap.
  chunkNames: 'part-[name]-[hash]',
});
const entryPoints = {
  worker: 'src/workers/worker.ts',
  pcap: 'src/pcap.ts',
  scheduler: 'lb/sched/contract.ts',
};
await bundle({ ...common, entryPoints });
// The entries check the version of Node before anything else is loaded, so main is not bundled into them.
await bundle({
  ...common,
  entryPoints: { bin: 'src/bin.ts', l4lb: 'src/l4lb.ts', ipvsadm: 'src/ipvsadm.ts' },
  external: ['./main.js'],
});
