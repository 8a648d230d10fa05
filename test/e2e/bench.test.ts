/**
 * `npm run bench` works: its document has the rows it should have, with figures that can be true. How fast anything is
 * says nothing here; that is for a quiet machine.
 */
import { spawn, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { IdleResult } from '../bench/idle.ts';
import type { LabRow, Sample } from '../bench/lab-report.ts';
import type { LinkRun } from '../bench/link-bench.ts';
import type { MemoryRow } from '../bench/memory.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

interface Document {
  readonly machine: { readonly cpu: string; readonly cores: number };
  readonly conditions: Readonly<Record<string, unknown>>;
  readonly rows: readonly (MemoryRow | LabRow)[];
  readonly raw: readonly Sample[];
  readonly links: readonly LinkRun[];
  readonly idle: IdleResult | null;
}

const BENCH = ['--import', 'tsx', 'scripts/bench.ts'];
const FOLDER = mkdtempSync(join(tmpdir(), 'tsvs-bench-test-'));
const RUNS = join(FOLDER, 'runs.jsonl');
const ONE_RUN = [...'--only lab --rounds 1 --seconds 1 --profiles wire --raw'.split(' '), RUNS];

function bench(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [...BENCH, ...args], { encoding: 'utf8', timeout: 90_000 });
}

function measured(...args: string[]): Document {
  const { status, stdout, stderr } = bench('--json', ...args);
  assert.is(status, 0, stdout + stderr);
  return JSON.parse(stdout) as Document;
}

const namespaces = (prefix: string): string[] =>
  spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' })
    .stdout.split('\n')
    .filter((line) => line.startsWith(prefix));

testUnless(noCommands('dpdk-testpmd', 'taskset'), test)('memif: packets go to testpmd and come back', () => {
  const { rows } = measured('--only', 'memif', '--scale', '0.05', '--tasks', 'FullNAT.*1 k flows|between two ports');
  assert.equal(new Set(rows.map(({ group }) => group)), new Set(['memif']));
  assert.is(rows.length, 3);
  for (const row of rows as MemoryRow[]) assert.ok(row.value > 0, `${row.what}: ${row.value} ${row.unit}`);
});

testUnless(noNamespaces() ?? noCommands('ip', 'taskset'), test)(
  'links: what AF_XDP carries arrives, and what is lost is in a counter',
  () => {
    const each = ['links Mpps', 'links %', 'links us/packet'];
    const { rows, links } = measured('--only', 'links', '--scale', '0.02', '--tasks', 'generic');
    assert.equal(
      (rows as MemoryRow[]).map(({ group, unit }) => `${group} ${unit}`),
      Array(2)
        .fill([...each, ...each, 'links ratio'])
        .flat(),
    );
    assert.equal(
      links.map(({ subject }) => subject),
      ['tsvs', 'bare loop', 'tsvs', 'bare loop'],
    );
    for (const { ledger, lost, unaccounted } of links) {
      assert.ok(ledger.arrived > 0);
      assert.is(ledger.sent, ledger.arrived - ledger.own + lost);
      assert.is(unaccounted, 0, JSON.stringify(ledger));
    }
  },
);

test('workers: one and two, each with its part of the sum', () => {
  const rows = measured('--only', 'workers', '--scale', '0.1', '--tasks', 'IPv4').rows as readonly MemoryRow[];
  assert.is(rows.length, 2);
  for (const { what, value, note } of rows) {
    const each = note.split(';')[0]!.split(' + ').map(Number);
    assert.is(each.length, what.endsWith(', 1 worker') ? 1 : 2, what);
    assert.ok(each.every((mpps) => mpps > 0) && Math.abs(each.reduce((a, b) => a + b) - value) < 0.02, note);
  }
});

test('check: nothing allocates, deoptimises or asks the system more than what is stored', () => {
  const subjects = '^(ping|FullNAT, UDP|link memory|link memif)$';
  const { status, stdout, stderr } = bench('--check', '--tasks', subjects);
  assert.is(status, 0, stdout + stderr);
  assert.match(stdout, /^8 counts, 0 risen$/m);
});

testUnless(noNamespaces() ?? noCommands('ip'), test)('check: a count above the stored one is named', () => {
  const counts = join(FOLDER, 'counts.json');
  const stored = JSON.parse(readFileSync('test/bench/counts.json', 'utf8')) as Record<string, number>;
  const calls = 'link tap: system calls per 1000 packets';
  const before = stored[calls]! / 2;
  writeFileSync(counts, JSON.stringify({ ...stored, [calls]: before }));
  const { status, stdout, stderr } = bench('--check', '--tasks', '^link tap$', '--counts', counts);
  assert.is(status, 1, stdout + stderr);
  assert.match(stdout, new RegExp(`^risen: ${calls}: ${before} before, \\d+ now$`, 'm'));
  assert.match(stdout, /^2 counts, 1 risen$/m);
});

test('in memory: pings, TCP with and without large segments, and layer 4', () => {
  const { machine, conditions, rows, raw } = measured('--only', 'memory', '--scale', '0.01');
  assert.ok(machine.cores > 0);
  assert.is(conditions['lab'], 'not asked for');
  assert.equal(raw, []);
  const memory = rows as readonly MemoryRow[];
  const subjects = memory.map(({ group, what }) => `${group}: ${what.split(',')[0]}`);
  assert.equal(
    [...new Set(subjects)],
    [
      'memory: ping answered',
      'memory: ping',
      'memory: TCP stack to stack',
      'memory: IPv4 forwarding',
      'memory: FullNAT',
      'memory: direct routing',
      'memory: IPIP tunnel',
      'memory: 4096 half open connections expire within a second',
      'memory: 4096 established connections expire within a second',
    ],
  );
  for (const { what, unit, value } of memory) {
    assert.type(value, 'number', what);
    if (unit !== 'bytes/million') assert.ok(value > 0, `${what}: ${value}`);
  }
});

testUnless(noNamespaces() ?? noCommands('ip'), test)('idle: sessions are held, and cost little memory', () => {
  const { idle, rows } = measured('--only', 'idle', '--sessions', '500,4500', '--scale', '0.3');
  assert.equal(rows, []);
  assert.equal(idle?.lost, []);
  assert.is(idle?.answered, 4500);
  const [slope] = idle!.slopes;
  assert.ok(slope!.bytes < 4096, `${slope!.bytes} bytes per idle session`);
});

test('a mistake on the command line measures nothing', () => {
  const { status, stdout, stderr } = bench('--workloads', 'conn,rqe');
  assert.is(status, 2, stderr);
  assert.is(stdout, '');
  assert.match(stderr, /--workloads.*rqe/);
});

const inLab = testUnless(
  noNamespaces() ?? noCommands('ip', 'ss', 'ping', 'curl', 'ethtool', 'wrk', 'iperf3', 'timeout'),
  test,
);

inLab('in the lab: peers in turn, those who can do a workload', () => {
  const nft = noCommands('nft') === undefined ? ['nft'] : [];
  const haproxy = noCommands('haproxy') === undefined ? ['haproxy'] : [];
  const asked = ['--workloads', 'conn,udp', '--peers', 'nft,haproxy,tsvs-dr'];
  const { machine, conditions, rows, raw } = measured(...ONE_RUN, ...asked);
  assert.type((machine as Record<string, unknown>)['virtual'], 'boolean');
  assert.is(conditions['seconds'], 1);
  const conn = ['direct', ...nft, ...haproxy, 'tsvs-dr'];
  const udp = nft.length === 0 ? [] : ['direct', 'nft', 'tsvs-dr'];
  const lab = rows as readonly LabRow[];
  assert.equal(
    lab.map(({ group, profile, workload, figure, peer, unit }) =>
      [group, profile, workload, figure, peer, unit].join(' '),
    ),
    [
      ...conn.map((peer) => `lab wire conn rate ${peer} conn/s`),
      ...udp.map((peer) => `lab wire udp delivered ${peer} Mpps`),
      ...udp.map((peer) => `lab wire udp sent ${peer} Mpps`),
    ],
  );
  for (const row of lab) {
    assert.ok(row.min > 0 && row.min <= row.median && row.median <= row.max, JSON.stringify(row));
    assert.is(row.errors, 0);
    // The direct run has no balancer, and nft no process; any other has one that cannot work for nothing.
    if (row.peer === 'direct' || row.peer === 'nft') assert.is(row.balancerUs, 0);
    else assert.ok(row.balancerUs > 0, JSON.stringify(row));
  }
  assert.equal(
    raw.map((sample) => sample.peer),
    [...conn, ...udp],
  );
  for (const { operations, cpu, errors } of raw) {
    assert.equal(errors, []);
    assert.ok(operations > 0);
    assert.ok(cpu.elapsed > 1e6 && cpu.elapsed < 20e6, `elapsed: ${cpu.elapsed} us`);
    assert.ok(cpu.machine > 0 && cpu.machine >= cpu.balancer / 2, JSON.stringify(cpu));
  }
});

inLab('bulk and ping give their figures, a table, and a file with every run', () => {
  const { status, stdout, stderr } = bench(...ONE_RUN, '--workloads', 'bulk,ping', '--peers', 'mirror,tsvs');
  assert.is(status, 0, stdout + stderr);
  for (const peer of ['direct', 'tsvs']) {
    assert.match(stdout, new RegExp(`^wire +bulk +${peer} +[\\d.]+ Gbit/s`, 'm'));
    assert.match(stdout, new RegExp(`^wire +ping p50 +${peer} +[\\d.]+ us`, 'm'));
    assert.match(stdout, new RegExp(`^wire +ping p99 +${peer} +[\\d.]+ us`, 'm'));
    assert.match(stdout, new RegExp(`^wire +ping lost +${peer} +0 pings`, 'm'));
  }
  const [about, ...runs] = readFileSync(RUNS, 'utf8')
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line));
  assert.type(about.machine.cpu, 'string');
  assert.equal(
    runs.map(({ workload, peer }: Sample) => `${workload} ${peer}`),
    ['bulk direct', 'bulk tsvs', 'ping direct', 'ping mirror', 'ping tsvs'],
  );
});

inLab('an interrupt leaves no namespace behind', async () => {
  const child = spawn(process.execPath, [...BENCH, ...ONE_RUN, '--workloads', 'ping'], {
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let told = '';
  let prefix = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    told += text;
    prefix = /namespaces (\S+-)\*/.exec(told)?.[1] ?? '';
    // A first result: all is built, and the next peer is starting.
    if (/ping direct/.test(told)) child.kill('SIGINT');
  });
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.is(code, 130, told);
  assert.match(prefix, /^tsvs\d+n1-$/);
  assert.equal(namespaces(prefix), []);
});

test.after(() => rmSync(FOLDER, { recursive: true }));

test.run();
