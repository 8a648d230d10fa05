/**
 * The test runner: every `*.test.ts` file in a process of its own, two at a time; of the end-to-end files only one that
 * watches the clock. Of those that failed so, a second run alone decides, and the report says so.
 * It shows the output of the files that failed and ends with the line `N passed, N failed` (`, N skipped` where
 * something was). A file counts as failed when it reports no test, dies, or exceeds its time limit; with CI=true a
 * skipped test counts as failed.
 *
 * Called by scripts/run_test.sh: `node --import tsx test/run.ts [GROUP | FILE...]`.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { listFiles } from './lib/files.ts';
import { GROUPS, type Group, groupOf, isGroup } from './lib/groups.ts';
import { judge, type Verdict } from './lib/outcome.ts';
import { namespaceWrapper } from './lib/privilege.ts';

const FILE_LIMIT_MS = 120_000;
const E2E_LIMIT_MS = 240_000;
/** End-to-end files that ask what comes of something, not how long it takes: they bear company. */
const BEAR_COMPANY = [
  'checksums',
  'cli',
  'dpip',
  'exception',
  'ipvs-choice',
  'ipvsadm',
  'l4',
  'lab',
  'labs',
  'mtu',
  'netns',
  'packet',
  'packet-run',
  'pcap',
  'pcap-run',
  'privileges',
  'tap',
  'tap-steering',
  'tools',
  'xdp',
  'xdp-run',
  'xray',
].map((name) => `test/e2e/${name}.test.ts`);
/** Time for a file to clean up (namespaces, processes) between SIGTERM and SIGKILL. */
const GRACE_MS = 8_000;

const strict = process.env['CI'] === 'true';
const running = new Set<ChildProcess>();
/** By file: that of its last run. */
const verdicts = new Map<string, Verdict>();
let stopped = false;

/** Ends a test file and what it started: it leads its own process group. */
function end(child: ChildProcess): void {
  const signal = (name: NodeJS.Signals): void => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // The group has ended by itself.
    }
  };
  signal('SIGTERM');
  const timer = setTimeout(signal, GRACE_MS, 'SIGKILL');
  child.once('close', () => clearTimeout(timer));
}

/** Runs one file to its end and reports it. */
function run(file: string, wrapper: string[], limitMs: number): Promise<void> {
  const [program = process.execPath, ...args] = [...wrapper, process.execPath, '--import', 'tsx', file];
  const started = performance.now();
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  running.add(child);
  let output = '';
  let exceededMs = 0;
  const collect = (text: string): void => {
    output += text;
  };
  child.stdout.setEncoding('utf8').on('data', collect);
  child.stderr.setEncoding('utf8').on('data', collect);
  child.on('error', (error) => collect(`${error.message}\n`));
  const timer = setTimeout(() => {
    exceededMs = limitMs;
    end(child);
  }, limitMs);

  return new Promise((resolve) => {
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      running.delete(child);
      const verdict = judge(output, { code, signal, exceededMs }, strict);
      verdicts.set(file, verdict);
      report(file, verdict, output, performance.now() - started);
      resolve();
    });
  });
}

function report(file: string, { passed, failed, skipped, fault }: Verdict, output: string, ms: number): void {
  const counts = [`${passed} passed`];
  if (failed > 0) counts.push(`${failed} failed`);
  if (skipped > 0) counts.push(`${skipped} skipped`);
  console.log(`${failed > 0 ? 'FAIL' : 'ok  '} ${file}: ${counts.join(', ')}, ${(ms / 1000).toFixed(1)} s`);
  if (fault !== undefined) console.log(`     ${fault}`);
  if (failed > 0) {
    console.log(output.trimEnd().replace(/^/gm, '     | '));
  } else {
    for (const [reason] of output.matchAll(/^skipped: .*$/gm)) console.log(`     ${reason}`);
  }
}

/** Runs the files of `lanes`, lane beside lane. A lane empties its queues in order; one may be of several lanes. */
async function runLanes(lanes: readonly string[][][], wrapper: string[], limitMs: number): Promise<void> {
  const drive = async (queues: readonly string[][]): Promise<void> => {
    for (const queue of queues) {
      for (let file = queue.shift(); file !== undefined && !stopped; file = queue.shift()) {
        await run(file, wrapper, limitMs);
      }
    }
  };
  await Promise.all(lanes.map(drive));
}

/** The files that the command line names: a group, some files, or all. */
function choose(args: string[]): string[] {
  const all = listFiles('test', '.test.ts');
  const [first] = args;
  if (first === undefined || first === 'all') return all;
  if (isGroup(first)) return all.filter((file) => groupOf(file) === first);
  const unknown = args.find((arg) => !all.includes(arg));
  if (unknown === undefined) return args;
  console.error(`no group and no test file '${unknown}'; groups: ${GROUPS.join(', ')}, all`);
  return process.exit(2);
}

/** Prints the closing line and gives the exit code. */
function close(): number {
  const sum = (key: 'passed' | 'failed' | 'skipped'): number =>
    [...verdicts.values()].reduce((total, one) => total + one[key], 0);
  const skipped = sum('skipped');
  let failed = sum('failed');
  if (verdicts.size === 0) {
    console.log('no test file ran');
    failed = 1;
  }
  if (stopped) {
    console.log('stopped before all files had run');
    failed = Math.max(failed, 1);
  }
  console.log(`${sum('passed')} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
  return failed === 0 ? 0 : 1;
}

for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    stopped = true;
    for (const child of running) end(child);
  });
}

const files = choose(process.argv.slice(2));
const of = (...groups: Group[]): string[] => files.filter((file) => groups.includes(groupOf(file)));

const ordinary = of('protocol', 'ring', 'hash', 'sim');
await runLanes([[ordinary], [ordinary]], [], FILE_LIMIT_MS);

const real = of('e2e', 'soak');
if (real.length > 0) {
  const wrapper = namespaceWrapper();
  const company = [...of('soak'), ...of('e2e').filter((file) => BEAR_COMPANY.includes(file))];
  const clocked = of('e2e').filter((file) => !BEAR_COMPANY.includes(file));
  await runLanes([[clocked, company], [company]], wrapper, E2E_LIMIT_MS);
  const failed = real.filter((file) => (verdicts.get(file)?.failed ?? 0) > 0);
  if (real.length > 1 && failed.length > 0 && !stopped) {
    console.log(`failed beside others, once more alone: ${failed.join(', ')}`);
    await runLanes([[failed]], wrapper, E2E_LIMIT_MS);
  }
}
process.exitCode = close();
