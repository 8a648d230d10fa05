/** How the rows of the benchmark come from its runs. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isNoisy } from '../../bench/lab-cpu.ts';
import { labLines, type Sample, summarise } from '../../bench/lab-report.ts';
import { peersOf, readOptions, workloadsOf } from '../../bench/options.ts';

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
  const ping = { workload: 'ping', figures: { p50: 80, p99: 120, lost: 0 } } as const;
  const rows = summarise([run('direct', 1, ping), run('tsvs', 1, { ...ping, cpu: { ...quiet, balancer: 300 } })]);
  assert.equal(
    rows.map(({ figure, peer, overDirectUs }) => [figure, peer, overDirectUs]),
    [
      ['p50', 'direct', null],
      ['p50', 'tsvs', null],
      ['p99', 'direct', null],
      ['p99', 'tsvs', null],
      ['lost', 'direct', null],
      ['lost', 'tsvs', null],
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

/** Rounds with these rates, and the machine's time per operation as much over that of direct as `cpu` says. */
function rounds(peer: Sample['peer'], rates: readonly number[], cpu: readonly number[]): Sample[] {
  return rates.map((rate, i) =>
    run(peer, i + 1, { figures: { rate }, cpu: { ...quiet, machine: 1000 + 100 * cpu[i]! } }),
  );
}

test('beside: HAProxy for the proxy, nft for layer 4; ranges that overlap are equal', () => {
  const rows = summarise([
    ...rounds('direct', [90, 91, 92], [0, 0, 0]),
    ...rounds('nft', [10, 20, 30], [7, 8, 9]),
    ...rounds('haproxy', [20, 25, 30], [30, 40, 50]),
    ...rounds('tsvs', [31, 50, 60], [10, 20, 29]),
    ...rounds('tsvs-fullnat', [29, 40, 60], [8, 9, 10]),
  ]);
  const beside = Object.fromEntries(rows.map((row) => [row.peer, row.beside]));
  assert.equal(beside, {
    direct: null,
    nft: null,
    haproxy: null,
    tsvs: { peer: 'haproxy', figure: 2, cpu: 0.5 },
    'tsvs-fullnat': { peer: 'nft', figure: null, cpu: null },
  });
  const lines = labLines(rows, []);
  const last = (pattern: RegExp): string =>
    lines
      .find((line) => pattern.test(line))!
      .split(/ {2,}/)
      .slice(4)
      .join('|');
  assert.is(last(/conn +direct /), '90-92|-|-|-|0 of 3');
  assert.is(last(/conn +nft /), '10-30|-|8 (7 to 9) us/conn|-|0 of 3');
  assert.is(last(/conn +tsvs /), '31-60|-|20 (10 to 29) us/conn|2 x haproxy, CPU 0.5 x|0 of 3');
  assert.is(last(/conn +tsvs-fullnat /), '29-60|-|9 (8 to 10) us/conn|equal to nft, CPU equal|0 of 3');
});

test('beside: a ping is compared with the answer of a kernel, and nobody with someone who is not there', () => {
  const ping = (p50: number) => ({ workload: 'ping', figures: { p50, p99: 90, lost: 0 } }) as const;
  const rows = summarise([run('direct', 1, ping(10)), run('tsvs-busy', 1, ping(15)), run('tsvs', 1, {})]);
  assert.equal(
    rows.filter((row) => row.peer !== 'direct').map(({ figure, beside }) => [figure, beside]),
    [
      ['p50', { peer: 'direct', figure: 1.5 }],
      ['p99', { peer: 'direct', figure: null }],
      ['lost', { peer: 'direct', figure: null }],
      ['rate', null],
    ],
  );
});

test('what was wrong in a run stands below the table', () => {
  const raw = [run('nft', 2, { errors: ['no answer'] })];
  assert.is(labLines(summarise(raw), raw).at(-1), 'WRONG: wire, conn, nft, round 2: no answer');
});

test('noisy: strangers or the hypervisor took more than a tenth of a core', () => {
  assert.not.ok(isNoisy({ ...quiet, foreign: 100_000, steal: 100_000 }));
  assert.ok(isNoisy({ ...quiet, foreign: 100_001 }));
  assert.ok(isNoisy({ ...quiet, steal: 100_001 }));
});

test('direct is always among the peers, and lists keep the order of the project', () => {
  const { peers, workloads, memory, lab } = readOptions(['--peers', 'node-net,tsvs', '--workloads', 'ping,conn']);
  assert.equal(peers, ['direct', 'node-net', 'tsvs']);
  assert.equal(workloads, ['conn', 'ping']);
  assert.equal([memory, lab], [true, true]);
});

test('peers: what tsvs does, by which link and how it waits; usual ones for each workload', () => {
  const asked = readOptions(['--peers', 'tsvs-dr-tap,tsvs-busy,tsvs-fullnat-xdp-busy']);
  assert.equal(peersOf(asked, 'udp'), ['direct', 'tsvs-busy', 'tsvs-fullnat-xdp-busy', 'tsvs-dr-tap']);
  const usual = readOptions([]);
  assert.equal(workloadsOf(usual, 'offload'), ['bulk']);
  assert.equal(peersOf(usual, 'ping'), ['direct', 'mirror', 'mirror-busy', 'tsvs', 'tsvs-busy']);
  for (const name of ['tsvs-xdp-dr', 'tsvs-l7', 'tsvs-', 'nft-tap'])
    assert.throws(() => readOptions(['--peers', name]));
});

test('what is no option, number or name is refused', () => {
  const mistakes = [
    '--only lan',
    '--rounds 1.5',
    '--rounds 0',
    '--seconds 61',
    '--scale 0',
    '--profiles wires',
    '--workloads conn,rqe',
    '--sessions 9,9',
    '--fast',
  ];
  for (const words of mistakes) assert.throws(() => readOptions(words.split(' ')), undefined, words);
});

test.run();
