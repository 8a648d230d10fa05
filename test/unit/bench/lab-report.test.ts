/** How the rows of the benchmark come from its runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isNoisy } from '../../bench/lab-cpu.ts';
import { type Sample, summarise } from '../../bench/lab-report.ts';
import { readOptions } from '../../bench/options.ts';

const quiet = { balancer: 0, machine: 0, foreign: 0, steal: 0, elapsed: 1e6 };

function run(peer: Sample['peer'], round: number, rest: Partial<Sample>): Sample {
  const base = { profile: 'wire', workload: 'conn', operations: 100, errors: [], cpu: quiet, noisy: false } as const;
  return { ...base, figures: { rate: 1 }, peer, round, ...rest };
}

test('a row has the median and the range of the rounds', () => {
  const [row] = summarise([30, 10, 20].map((rate, i) => run('direct', i + 1, { figures: { rate } })));
  assert.equal([row!.min, row!.median, row!.max, row!.rounds], [10, 20, 30, 3]);
  const [even] = summarise([10, 20].map((rate, i) => run('direct', i + 1, { figures: { rate } })));
  assert.is(even!.median, 15);
});

test('machine over direct pairs the runs of one round, without strangers', () => {
  // The machine became twice as slow in round 2; the difference of the medians would say 25.
  const rows = summarise([
    run('direct', 1, { cpu: { ...quiet, machine: 1000 } }),
    run('tsvs', 1, { cpu: { ...quiet, machine: 3500, foreign: 500, balancer: 1500 } }),
    run('direct', 2, { cpu: { ...quiet, machine: 2000 } }),
    run('tsvs', 2, { cpu: { ...quiet, machine: 6000, balancer: 2500 }, operations: 200 }),
    run('direct', 3, { cpu: { ...quiet, machine: 1000 } }),
    run('tsvs', 3, { cpu: { ...quiet, machine: 3000, balancer: 1500 } }),
  ]);
  const tsvs = rows.find((row) => row.peer === 'tsvs')!;
  assert.is(tsvs.overDirectUs, 20);
  assert.is(tsvs.balancerUs, 15);
  assert.is(rows.find((row) => row.peer === 'direct')!.overDirectUs, 0);
});

test('pings are too few to divide the time of the machine', () => {
  const ping = { workload: 'ping', figures: { p50: 80, p99: 120 } } as const;
  const rows = summarise([run('direct', 1, ping), run('tsvs', 1, { ...ping, cpu: { ...quiet, balancer: 300 } })]);
  assert.equal(
    rows.map(({ figure, peer, overDirectUs }) => [figure, peer, overDirectUs]),
    [
      ['p50', 'direct', null],
      ['p50', 'tsvs', null],
      ['p99', 'direct', null],
      ['p99', 'tsvs', null],
    ],
  );
  assert.is(rows[1]!.balancerUs, 3);
});

test('a run that failed counts as nothing, and its errors are counted', () => {
  const busy = { ...quiet, machine: 1000 };
  const [row] = summarise([
    run('tsvs', 1, { figures: {}, operations: 0, errors: ['no answer', 'ended with 1'] }),
    run('tsvs', 2, { figures: { rate: 8 }, noisy: true, cpu: { ...quiet, machine: 1500 } }),
    run('direct', 1, { cpu: busy }),
    run('direct', 2, { cpu: busy }),
  ]);
  assert.equal([row!.min, row!.max, row!.errors, row!.noisyRounds, row!.overDirectUs], [0, 8, 2, 1, 5]);
});

test('noisy: strangers or the hypervisor took more than a tenth of a core', () => {
  assert.not.ok(isNoisy({ ...quiet, foreign: 100_000, steal: 100_000 }));
  assert.ok(isNoisy({ ...quiet, foreign: 100_001 }));
  assert.ok(isNoisy({ ...quiet, steal: 100_001 }));
});

test('direct is always among the peers, and lists keep the order of the project', () => {
  const { peers, workloads, memory, lab } = readOptions(['--peers', 'node-net,tsvs', '--workloads', 'ping,conn']);
  assert.equal(peers, ['direct', 'tsvs', 'node-net']);
  assert.equal(workloads, ['conn', 'ping']);
  assert.equal([memory, lab], [true, true]);
});

test('what is no option, number or name is refused', () => {
  const mistakes = [
    '--only lan',
    '--rounds 1.5',
    '--rounds 0',
    '--seconds 61',
    '--scale 0',
    '--profiles wires',
    '--fast',
  ];
  for (const words of mistakes) assert.throws(() => readOptions(words.split(' ')), undefined, words);
});

test.run();
