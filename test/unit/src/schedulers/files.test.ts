/** Schedulers from files: the example is one, and those that are wrong are found out, at the start or while tsvs runs. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { DestTable } from '../../../../lb/dest.ts';
import { BUDGET_US } from '../../../../lb/sched/guard.ts';
import { createScheduler, FlowKey, type SchedView } from '../../../../lb/sched/index.ts';
import { load } from '../../../../src/config/load.ts';
import type { Config, ServiceConfig } from '../../../../src/config/model.ts';
import { installSchedulers } from '../../../../src/schedulers/install.ts';
import { type Judged, prepareSchedulers } from '../../../../src/schedulers/prepare.ts';
import { seeded } from '../../../lib/random.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-scheduler-'));
test.after(() => rmSync(folder, { recursive: true }));

const EXAMPLE = new URL('../../../../config/samples/my-scheduler.ts', import.meta.url).pathname;

const prepare = (path: string, timeoutMs?: number): Judged =>
  prepareSchedulers({ services: [{ scheduler: path } as ServiceConfig] }, timeoutMs)[0]!;

let files = 0;
function written(text: string): string {
  const path = join(folder, `s${++files}.ts`);
  writeFileSync(path, text);
  return path;
}

/** A file with a scheduler whose `pick` has this body. */
const picking = (body: string, more = ''): string =>
  written(
    `import { eligible, type SchedulerFactory } from 'tsvs/scheduler';
     ${more}
     export const scheduler: SchedulerFactory = { name: 'x', summary: 'x', options: {},
       create: (view) => ({ name: 'x', update() {}, pick(flow) { ${body} } }) };`,
  );
const FIRST =
  'for (let i = 0; i < view.count; i++) if (eligible(view.dests, view.ids[i]!, flow)) return view.ids[i]!; return 0;';

/** Three servers and a scheduler of that name over them. */
function serviceWith(name: string) {
  const dests = DestTable.create(new SharedArrayBuffer(DestTable.bytes(8)), 0, 8);
  const ids = Int32Array.from([1, 2, 3], (i) => dests.add(1, { addr: i, port: 80, weight: 1 }));
  const view: SchedView = { dests, ids, count: 3 };
  const scheduler = createScheduler(name, view, {}, { random: seeded(1), worker: 0, workers: 1 });
  const flow = new FlowKey();
  const pick = (src: number): number => {
    flow.set(src, 9, 1, 80, 6, 0);
    return scheduler.pick(flow);
  };
  return { scheduler, pick, dests };
}

test('the example keeps the promises of a scheduler, and schedules', () => {
  const prepared = prepare(EXAMPLE);
  assert.is(prepared.problem, null);
  installSchedulers([prepared], { nowUs: () => 0, gaveUp: (_, why) => assert.unreachable(why) });
  const { pick, dests } = serviceWith(EXAMPLE);
  assert.equal([3, 4, 5, 6].map(pick), [1, 2, 3, 1]);
  dests.weight[2] = 0;
  assert.is(pick(4), 3);
});

for (const [what, path, problem] of [
  ['is not there', join(folder, 'none.ts'), /Could not resolve/],
  ['is no TypeScript', written('export default {'), /end of file/],
  [
    'imports what it must not',
    written("import { readFileSync } from 'node:fs'; export default { create: readFileSync };"),
    /node:fs/,
  ],
  ['exports nothing', written('const a = 1;'), /exports no scheduler/],
  ['throws', written("throw new Error('at once');"), /at once/],
  [
    'chooses servers that take no connections',
    picking('return view.count > 0 ? view.ids[0]! : 0;'),
    /breaks a promise/,
  ],
] as const)
  test(`a file that ${what} is not used`, () => {
    assert.match(prepare(path).problem ?? '', problem);
    assert.is(prepare(path).code, null);
  });

test('a decision without end is found out', () => {
  assert.match(prepare(picking('for (;;);'), 300).problem ?? '', /timed out/);
});

test('what cannot be used is wlc under its own name', () => {
  const path = written('export default {');
  installSchedulers([prepare(path)], { nowUs: () => 0, gaveUp: () => {} });
  const { scheduler, pick, dests } = serviceWith(path);
  assert.is(scheduler.name, 'wlc');
  dests.connOpen(1);
  assert.is(pick(1), 2);
});

// Those that go wrong later.

interface Late {
  readonly picks: number[];
  readonly said: string[];
}

/** Twenty decisions of a scheduler; `clock` is read before and after each. */
function late(body: string, more = '', clock: () => number = () => 0): Late {
  const path = picking(body, more);
  const prepared = prepare(path);
  assert.is(prepared.problem, null);
  const said: string[] = [];
  installSchedulers([prepared], { nowUs: clock, gaveUp: (_, why) => said.push(why) });
  const { pick, dests } = serviceWith(path);
  const picks = Array.from({ length: 20 }, (_, i) => {
    const id = pick(i);
    if (id !== 0) dests.connOpen(id);
    return id;
  });
  return { picks, said };
}
/** Works until told otherwise: the suite never asks for a destination of 9. */
const LATER = 'if (flow.dst === 9)';

test('one that throws while tsvs runs is given up: wlc goes on, and it is said once', () => {
  const { picks, said } = late(`${LATER} throw new Error('oh'); ${FIRST}`);
  assert.equal(picks.slice(0, 6), [1, 2, 3, 1, 2, 3]);
  assert.equal(said, ['failed to choose (Error: oh)']);
});

test('one that chooses a server of somebody else is given up', () => {
  const { picks, said } = late(`${LATER} return 77; ${FIRST}`);
  assert.equal(picks.slice(0, 3), [1, 2, 3]);
  assert.equal(said, ['chose 77, which is no server that takes connections']);
});

test('one that takes too long again and again is given up, a single pause is forgiven', () => {
  let now = 0;
  const slow = late(FIRST, '', () => (now += BUDGET_US + 1));
  assert.equal(slow.picks.slice(0, 12), [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2, 3]);
  assert.equal(slow.said, [`takes too long: ${BUDGET_US + 1} us for a decision, ${BUDGET_US} allowed`]);
  let reads = 0;
  const paused = late(FIRST, '', () => (++reads === 2 ? 1e6 : 0));
  assert.equal(paused.said, []);
});

test('the configuration takes a file, seen from itself', () => {
  const text = (
    scheduler: string,
  ): string => `[network]\nnetmask = /24\n[service web]\nip = 10.0.0.10\nports = 80\nscheduler = ${scheduler}
count = 1\nserver1 = 10.0.0.11:80:1:00:00:00:00:00:00\n`;
  const loaded = load(text('./mine.ts'), '/etc/tsvs/lb.conf') as { model: Config };
  assert.is(loaded.model.services[0]!.scheduler, '/etc/tsvs/mine.ts');
  const wrong = load(text('wlcc'), 'lb.conf') as unknown as { errors: { message: string }[] };
  assert.match(wrong.errors[0]!.message, /'wlcc' is unknown/);
});

test.run();
