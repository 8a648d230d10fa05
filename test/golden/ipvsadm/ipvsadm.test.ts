/**
 * Replays what was recorded with ipvsadm 1.31 on a Linux IPVS kernel (README.md): the same command lines must give the same text and exit
 * status. Whatever is not replayed is in a table with its reason, and counted in docs/ipvsadm.md.
 */
import { readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { apply } from '../../../src/ipvsadm/model.ts';
import { namesFromFiles } from '../../../src/ipvsadm/names.ts';
import type { Result, Surroundings } from '../../../src/ipvsadm/run.ts';
import { EMPTY_TABLE, type Snapshot, snapshotOf } from '../../../src/ipvsadm/table.ts';
import { listFiles } from '../../lib/files.ts';
import { DEVIATIONS, type Deviation } from './deviations.ts';
import { withNumbersOf } from './live.ts';
import { DAEMON_COMMANDS, LIVE, SKIPPED_CASES, SKIPPED_COMMANDS } from './needs-director.ts';
import { parseRecording, type Step } from './recording.ts';
import { type Files, runLine } from './shell.ts';

const HERE = 'test/golden/ipvsadm';
const NAMES = namesFromFiles(readFileSync(`${HERE}/hosts`, 'utf8'), readFileSync(`${HERE}/services`, 'utf8'));
/** What the kernel of the recordings had: no twos, and no conhash, which is DPVS's. */
const KERNEL = { schedulers: new Set('rr wrr lc wlc lblc lblcr dh sh sed nq fo ovf mh none'.split(' ')) };

const count = { replayed: 0, withNumbers: 0, deviations: 0, skipped: 0, orders: 0 };

for (const file of listFiles(HERE, '.txt')) {
  const name = basename(file, '.txt');
  const number = name.split('-')[0] ?? '';
  const recording = parseRecording(readFileSync(file, 'utf8'));
  count.orders += recording.remarks.filter((remark) => /rs[123]/.test(remark)).length;
  if (number in SKIPPED_CASES) {
    count.skipped += recording.steps.length;
    continue;
  }
  test(`${name}: ${recording.about}`, () => replay(number, recording.steps));
}

async function replay(number: string, steps: readonly Step[]): Promise<void> {
  let snapshot: Snapshot = snapshotOf(EMPTY_TABLE);
  const target: Surroundings['target'] = {
    snapshot: () => snapshot,
    apply: (mutation) => {
      const applied = apply(snapshot, mutation, KERNEL);
      if (applied.ok) snapshot = { ...snapshot, ...applied.table };
      return applied.ok ? null : applied.errno;
    },
  };
  const files: Files = new Map();
  const run = (step: Pick<Step, 'command' | 'input'>): Promise<Result> =>
    runLine(step.command, step.input, { target, names: NAMES, program: 'ipvsadm' }, files);
  const expected = [...DEVIATIONS.filter((deviation) => deviation.case === number)];

  for (const step of steps) {
    if (skips(number, step)) {
      count.skipped++;
      continue;
    }
    const isNoted = expected[0]?.command === step.command && differs(expected[0], step);
    const deviation = isNoted ? expected.shift() : undefined;
    const wanted = { exitCode: step.exitCode, stdout: step.stdout, stderr: step.stderr };
    if (step.numbers.length > 0) snapshot = withChosen(snapshot, step.numbers);
    let result = await run(step);
    const live = number in LIVE || step.command.includes('--daemon');
    if (live && deviation === undefined && result.stdout !== wanted.stdout && /-L/.test(step.command)) {
      snapshot = withNumbersOf(snapshot, step.command, step.stdout);
      result = await run(step);
      count.withNumbers++;
    } else if (deviation === undefined) count.replayed++;
    else count.deviations++;
    const { case: _, command, reason, after, ...ours } = deviation ?? { case: '', command: '', reason: '' };
    assert.equal(result, { ...wanted, ...ours }, `${step.command}\n${reason}`);
    if (after !== undefined) await run({ command: after, input: '' });
  }
  assert.equal(expected, [], 'deviations that did not happen');
}

function skips(number: string, { command, exitCode }: Step): boolean {
  if (SKIPPED_COMMANDS.some(({ pattern }) => pattern.test(command))) return true;
  return number === '18' && DAEMON_COMMANDS.test(command) && exitCode !== 2;
}

/** Of several steps with one command, the noted one is the first that differs from what ours gives. */
const differs = (deviation: Deviation, step: Step): boolean =>
  (deviation.stdout ?? step.stdout) !== step.stdout || (deviation.stderr ?? step.stderr) !== step.stderr;

/** The recorder's numbers: five totals and five rates of the service; the server's bytes are the next ones, from the front. */
function withChosen(snapshot: Snapshot, numbers: readonly bigint[]): Snapshot {
  const at = (i: number): bigint => numbers[i] ?? 0n;
  return {
    ...snapshot,
    services: snapshot.services.map((service) => ({
      ...service,
      stats: {
        conns: at(0),
        inPkts: at(1),
        outPkts: at(2),
        inBytes: at(3),
        outBytes: at(4),
        cps: at(5),
        inPps: at(6),
        outPps: at(7),
        inBps: at(8),
        outBps: at(9),
      },
      dests: service.dests.map((dest) => ({ ...dest, stats: { ...dest.stats, inBytes: at(0), outBytes: at(1) } })),
    })),
  };
}

test('docs/ipvsadm.md counts what is replayed and what is not', () => {
  const page = readFileSync('docs/ipvsadm.md', 'utf8');
  const rows = [
    `| commands replayed to the letter | ${count.replayed} |`,
    `| listings reproduced with the recorded numbers | ${count.withNumbers} |`,
    `| commands where ours differs on purpose | ${count.deviations} |`,
    `| commands not replayed | ${count.skipped} |`,
    `| remarks with the order of servers, for the director | ${count.orders} |`,
  ];
  assert.equal(
    rows.filter((row) => !page.includes(row)),
    [],
  );
});

test('every reason to replay less names a recorded case', () => {
  const numbers = listFiles(`${HERE}/cases`, '.txt').map((file) => basename(file).split('-')[0] ?? '');
  const named = [...Object.keys(LIVE), ...Object.keys(SKIPPED_CASES), ...DEVIATIONS.map((one) => one.case)];
  assert.equal(
    named.filter((number) => !numbers.includes(number)),
    [],
  );
});

test.run();
