import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  checkScheduler,
  FlowKey,
  registerScheduler,
  SchedulerError,
  type SchedulerFactory,
  schedulers,
} from '../../../../lb/sched/index.ts';

const own: SchedulerFactory = {
  name: 'first',
  summary: 'the first of the list',
  options: { mode: ['a', 'b'] },
  create: (view) => ({ name: 'first', update() {}, pick: () => view.ids[0] ?? 0 }),
};

test('lists the schedulers by name, each with a summary', () => {
  const all = schedulers();
  assert.equal(
    all.map((s) => s.name),
    ['conhash', 'dh', 'fo', 'lblc', 'lblcr', 'lc', 'mh', 'nq', 'ovf', 'rr', 'sed', 'sh', 'twos', 'wlc', 'wrr'],
  );
  assert.ok(all.every((s) => s.summary.length > 10));
});

test('those that may refuse say why, and fallback takes the reason away', () => {
  const refusing = schedulers().filter((s) => s.mayRefuse?.({}));
  assert.equal(
    refusing.map((s) => s.name),
    ['dh', 'mh', 'ovf', 'sh'],
  );
  const always = refusing.filter((s) => s.mayRefuse?.({ fallback: 'on' }));
  assert.equal(
    always.map((s) => s.name),
    ['dh', 'ovf'],
  );
});

test('a registered scheduler is known, once', () => {
  registerScheduler(own);
  assert.is(checkScheduler('first', { mode: 'b' }), own);
  assert.throws(() => registerScheduler({ ...own }), /"first" exists already/);
});

test('names, options and values are checked, and the message says what there is', () => {
  const refused = (name: string, options: Record<string, string>, message: RegExp): void => {
    try {
      checkScheduler(name, options);
    } catch (error) {
      assert.instance(error, SchedulerError);
      assert.match((error as Error).message, message);
      return;
    }
    assert.unreachable();
  };
  refused('wrrr', {}, /unknown scheduler "wrrr"; there are conhash, dh, first, fo, /);
  refused('first', { toString: 'a' }, /"first" has no option "toString"; its options: mode/);
  refused('first', { mode: 'c' }, /mode = "c" is not one of a, b/);
});

test('a flow notes eight servers to avoid, until it is set anew', () => {
  const flow = new FlowKey();
  for (let id = 1; id <= 8; id++) assert.ok(flow.avoid(id));
  assert.is(flow.avoid(9), false);
  assert.ok(flow.avoids(8));
  assert.is(flow.avoids(9), false);
  flow.set(1, 2, 3, 4, 6, 0);
  assert.is(flow.avoids(8), false);
});

test.run();
