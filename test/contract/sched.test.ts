import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import {
  createScheduler,
  eligible,
  type SchedOptions,
  type Scheduler,
  type SchedView,
  schedulers,
} from '../../lb/sched/index.ts';
import { contractCases as casesWith, type MakeScheduler } from '../../lb/sched/suite.ts';

const contractCases = casesWith(() => process.memoryUsage().heapUsed);
const SEEDS = [1, 0x2545f491, 0x7fffffff];

/** Every combination of option values, the defaults among them; of a long row of values the first two. */
function combinations(options: Readonly<Record<string, readonly string[]>>): SchedOptions[] {
  let all: Record<string, string>[] = [{}];
  for (const [name, values] of Object.entries(options)) {
    all = all.flatMap((some) => values.slice(0, 2).map((value) => ({ ...some, [name]: value })));
  }
  return all;
}

for (const factory of schedulers()) {
  for (const options of combinations(factory.options)) {
    const title = [factory.name, ...Object.entries(options).map(([name, value]) => `${name}=${value}`)].join(' ');
    const behaviour = suite(title);
    const mayRefuse = typeof factory.mayRefuse?.(options) === 'string';
    for (const { name, run, once } of contractCases) {
      behaviour(`${title}: ${name}`, () => {
        for (const seed of once ? SEEDS.slice(0, 1) : SEEDS) {
          try {
            run((view, env) => createScheduler(factory.name, view, options, env), seed, mayRefuse);
          } catch (error) {
            throw new Error(`seed ${seed}: ${(error as Error).message}`, { cause: error });
          }
        }
      });
    }
    behaviour.run();
  }
}

// Schedulers that break one promise each: the suite has to notice.

const scan = (view: SchedView, from: number, ok: (id: number) => boolean): number => {
  for (let i = 0; i < view.count; i++) {
    const id = view.ids[(from + i) % view.count]!;
    if (ok(id)) return id;
  }
  return 0;
};

const scheduler = (pick: Scheduler['pick'], update = () => {}): Scheduler => ({ name: 'broken', update, pick });

const broken: Readonly<Record<string, MakeScheduler>> = {
  'ignores the flags': (view) =>
    scheduler((flow) => scan(view, 0, (id) => view.dests.weight[id]! > 0 && !flow.avoids(id))),
  'ignores weight 0': (view) =>
    scheduler((flow) => scan(view, 0, (id) => view.dests.flags[id] === 1 && !flow.avoids(id))),
  'ignores servers to avoid': (view) =>
    scheduler(() => scan(view, 0, (id) => view.dests.flags[id] === 1 && view.dests.weight[id]! > 0)),
  'gives up after the first': (view) =>
    scheduler((flow) => (view.count > 0 && eligible(view.dests, view.ids[0]!, flow) ? view.ids[0]! : 0)),
  'remembers removed ids': (view) => {
    const seen = new Set<number>();
    return scheduler((flow) => {
      for (let i = 0; i < view.count; i++) seen.add(view.ids[i]!);
      for (const id of seen) if (eligible(view.dests, id, flow)) return id;
      return 0;
    });
  },
  'takes a question for a choice': (view) => {
    let at = 0;
    return scheduler((flow) => scan(view, at++, (id) => eligible(view.dests, id, flow)));
  },
  'starts over on update': (view) => {
    let at = 0;
    return scheduler(
      (flow) => scan(view, at++, (id) => eligible(view.dests, id, flow)),
      () => (at = 0),
    );
  },
  'walks without end': (view) =>
    scheduler((flow) => {
      let id = 0;
      for (let round = 0; round < 40; round++) id = scan(view, 0, (other) => eligible(view.dests, other, flow)) || id;
      return id;
    }),
  'refuses what nobody said it may refuse': (view) =>
    scheduler((flow) => ((flow.src & 1) === 0 ? 0 : scan(view, 0, (id) => eligible(view.dests, id, flow)))),
  allocates: (view) => {
    const kept: number[][] = [];
    return scheduler((flow) => {
      kept[0] = [flow.src, flow.sport];
      return scan(view, 0, (id) => eligible(view.dests, id, flow));
    });
  },
};

const mutants = suite('contract suite');
for (const [fault, make] of Object.entries(broken)) {
  mutants(`a scheduler that ${fault} fails the suite`, () => {
    const failed = contractCases.filter(({ run }) => {
      try {
        run(make, 1);
        return false;
      } catch {
        return true;
      }
    });
    assert.ok(failed.length > 0, 'no case failed');
    assert.ok(failed.length < contractCases.length, 'every case failed: the fault is not the one meant');
  });
}
mutants('a scheduler that may refuse fails the suite when it always does', () => {
  const refused = contractCases.filter(({ run }) => {
    try {
      run(() => scheduler(() => 0), 1, true);
      return false;
    } catch {
      return true;
    }
  });
  assert.ok(refused.some(({ name }) => name === 'always picks the only server'));
});
mutants.run();
