/**
 * `npm run bench -- --check`: counts that do not depend on how fast the machine is, compared with those that are stored in
 * counts.json: heap bytes per million operations, deoptimisations once all is warm, system calls per packet of each link. Exit code 1
 * when one has risen; `--store` stores what was counted instead, and keeps what was not.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { noNamespaces } from '../lib/privilege.ts';
import { type Counts, risen } from './check-compare.ts';
import { type Counted, SUBJECTS } from './check-subjects.ts';
import { heapOf } from './link-heap-rows.ts';
import { readOptions } from './options.ts';

/** Packets of the shorter run with a link, of the least length there is. */
const PACKETS = 30_000;
const LENGTH = 60;

function countSubject(name: string): Counted {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-check-'));
  const trace = join(folder, 'trace');
  const flags = ['--trace-deopt', '--redirect-code-traces', `--redirect-code-traces-to=${trace}`];
  const words = [...process.execArgv, ...flags, join(dirname(process.argv[1]!), 'check-run.mjs'), name, trace];
  try {
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: 'utf8', maxBuffer: 1 << 28 });
    if (status !== 0) throw new Error(`${name}: ${stderr}`);
    return JSON.parse(stdout.trim().split('\n').at(-1)!) as Counted;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const { tasks, store, json, counts: file } = readOptions(process.argv.slice(2));
const counts: Record<string, number> = {};
const why: Record<string, string> = {};
for (const name of Object.keys(SUBJECTS)) {
  if (!tasks.test(name)) continue;
  const { bytes, deoptimised } = countSubject(name);
  counts[`${name}: bytes per million`] = Math.round(bytes);
  counts[`${name}: deoptimisations`] = deoptimised.length;
  why[`${name}: deoptimisations`] = deoptimised.join('; ');
}
for (const [{ link }, { bytes, calls }] of await heapOf([LENGTH], PACKETS, 5, (link) => tasks.test(`link ${link}`))) {
  counts[`link ${link}: bytes per million`] = Math.round(bytes);
  counts[`link ${link}: system calls per 1000 packets`] = Math.round(calls * 1000);
}

const stored = JSON.parse(readFileSync(file, 'utf8')) as Counts;
if (json) console.log(JSON.stringify(counts, null, 2));
if (store) {
  writeFileSync(file, `${JSON.stringify({ ...stored, ...counts }, null, 2)}\n`);
  console.log(`${Object.keys(counts).length} counts stored in ${file}`);
} else {
  const worse = risen(stored, counts);
  for (const { name, was, is } of worse)
    console.log(`risen: ${name}: ${was} before, ${is} now ${why[name] ?? ''}`.trim());
  const missing = noNamespaces();
  if (missing !== undefined) console.log(`links of the system were not counted: ${missing}`);
  if (!json || worse.length > 0) console.log(`${Object.keys(counts).length} counts, ${worse.length} risen`);
  if (worse.length > 0) process.exitCode = 1;
}
