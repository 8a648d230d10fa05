/** Changes reach all workers in one order, and one that is started anew begins with what holds. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import type { Batch, Command } from '../../../../src/workers/commands.ts';
import { Spread, type Taker, WorkerGone } from '../../../../src/workers/spread.ts';
import { CONF } from '../control/memory.ts';

/** A worker that answers when it is told to. */
class Worker implements Taker {
  readonly asked: number[] = [];
  private answers: { resolve: () => void; reject: (error: Error) => void }[] = [];

  apply({ version }: Batch): Promise<void> {
    this.asked.push(version);
    return new Promise((resolve, reject) => void this.answers.push({ resolve, reject }));
  }

  async takes(): Promise<void> {
    this.answers.shift()!.resolve();
    await settle();
  }

  async says(error: Error): Promise<void> {
    this.answers.shift()!.reject(error);
    await settle();
  }
}

/** Lets everything happen that waits for nothing any more. */
const settle = (): Promise<void> => new Promise((resolve) => void setImmediate(resolve));

const loaded = load(CONF, 'lb.conf');
if (!('model' in loaded)) throw new Error('the configuration of the test has errors');
const { model } = loaded;
const [service] = model.services;
const [dest] = service!.dests;
const AT = { name: 'web', proto: service!.proto, vip: service!.vip, port: service!.port };
const SERVER = { name: dest!.name, ip: dest!.ip, port: dest!.port };

const weight = (version: number, to: number): Batch => ({
  version,
  commands: [{ do: 'editServer', at: AT, server: { ...dest!, weight: to }, changes: [] }],
});
const MINE = { name: './mine.ts', code: 'a' };
const YOURS = { name: './yours.ts', code: 'b' };
const state = (to: 'drain' | 'ready'): Command => ({ do: 'setState', at: AT, server: SERVER, state: to });

function crew(): { spread: Spread; workers: Worker[]; weightNow: () => number } {
  const workers = [new Worker(), new Worker()];
  const spread = new Spread(model, [MINE], workers);
  return { spread, workers, weightNow: () => spread.start.config.services[0]!.dests[0]!.weight };
}

/** Whether a change holds by now, or why it does not. */
function fate(promise: Promise<void>): { readonly is: string } {
  const now = { is: 'on its way' };
  promise.then(
    () => {
      now.is = 'holds';
    },
    (error: Error) => {
      now.is = error.message;
    },
  );
  return now;
}

test('a change goes to the first, then to the others, and holds when all have it', async () => {
  const { spread, workers, weightNow } = crew();
  const [first, second] = workers as [Worker, Worker];
  const change = fate(spread.apply(weight(2, 7)));
  await settle();
  assert.equal([first.asked, second.asked], [[2], []]);
  await first.takes();
  assert.equal([second.asked, change.is, weightNow(), spread.start.version], [[2], 'on its way', 7, 2]);
  await second.takes();
  assert.is(change.is, 'holds');
});

test('what the first refuses reaches nobody else, and is no part of what holds', async () => {
  const { spread, workers, weightNow } = crew();
  const [first, second] = workers as [Worker, Worker];
  const change = fate(spread.apply(weight(2, 7)));
  await settle();
  await first.says(new Error('no room'));
  assert.equal([change.is, second.asked, weightNow(), spread.start.version], ['no room', [], dest!.weight, 1]);
});

test('while a worker is started anew a change waits, and then the new one gets it', async () => {
  const { spread, workers } = crew();
  let serves = (): void => {};
  const restart = spread.alone(() => new Promise<void>((resolve) => (serves = resolve)));
  const change = fate(spread.apply(weight(2, 7)));
  await settle();
  assert.equal([workers[0]!.asked, change.is], [[], 'on its way']);
  const anew = new Worker();
  workers[0] = anew;
  serves();
  await restart;
  await settle();
  assert.equal(anew.asked, [2]);
  await anew.takes();
  await workers[1]!.takes();
  assert.is(change.is, 'holds');
});

test('a worker that dies of a change the first has taken begins with it; a change on its way is waited for', async () => {
  const { spread, workers, weightNow } = crew();
  const [first, second] = workers as [Worker, Worker];
  const change = fate(spread.apply(weight(2, 7)));
  let began: unknown = null;
  await settle();
  // The second dies before it was asked.
  const restart = spread.alone(async () => {
    began = [spread.start.version, weightNow()];
  });
  await first.takes();
  assert.is(began, null);
  await second.says(new WorkerGone());
  await restart;
  assert.equal([began, change.is], [[2, 7], 'holds']);
});

/** The first worker dies while a change is on its way to it, and another one takes its place. */
async function firstDies({ spread, workers }: ReturnType<typeof crew>): Promise<Worker> {
  const [first] = workers as [Worker, Worker];
  const anew = new Worker();
  const restart = spread.alone(async () => {
    workers[0] = anew;
  });
  await first.says(new WorkerGone());
  await restart;
  await settle();
  return anew;
}

test('a change on its way to the first when that dies is given to the one that takes its place', async () => {
  const crowd = crew();
  const { spread, workers, weightNow } = crowd;
  const change = fate(spread.apply(weight(2, 7)));
  await settle();
  const anew = await firstDies(crowd);
  assert.equal([anew.asked, change.is, weightNow()], [[2], 'on its way', dest!.weight]);
  await anew.takes();
  await workers[1]!.takes();
  assert.equal([change.is, weightNow()], ['holds', 7]);
});

test('a change that two die of is refused, and is no part of what the third begins with', async () => {
  const crowd = crew();
  const { spread, weightNow } = crowd;
  const change = fate(spread.apply(weight(2, 7)));
  await settle();
  await firstDies(crowd);
  const third = await firstDies(crowd);
  assert.equal([third.asked, change.is], [[], 'the worker has ended']);
  assert.equal([spread.start.version, weightNow()], [1, dest!.weight]);
});

test('a restart that fails leaves changes their turn', async () => {
  const { spread, workers } = crew();
  const restart = spread.alone(() => Promise.reject(new Error('no')));
  const change = fate(spread.apply(weight(2, 7)));
  await restart.catch(() => {});
  await settle();
  await workers[0]!.takes();
  await workers[1]!.takes();
  assert.is(change.is, 'holds');
});

test('of what is wanted at run time the last wish for each object is kept', async () => {
  const { spread, workers } = crew();
  for (const [version, to] of [
    [2, 'drain'],
    [3, 'ready'],
  ] as const) {
    const change = fate(spread.apply({ version, commands: [state(to)] }));
    await settle();
    for (const worker of workers) await worker.takes();
    assert.is(change.is, 'holds');
  }
  spread.note({ do: 'setHealth', at: AT, server: SERVER, up: false });
  assert.equal(
    spread.start.moments.map((one) => ('state' in one ? one.state : one.do)),
    ['ready', 'setHealth'],
  );
  assert.is(spread.start.config, model, 'no part of the configuration');
});

test('a scheduler that a change has brought is there from then on, one whose change was refused is not', async () => {
  const { spread, workers } = crew();
  const change = { ...weight(2, 7), schedulers: [YOURS] };
  assert.equal(spread.start.schedulers, [MINE]);
  const refused = fate(spread.apply(change));
  await settle();
  await workers[0]!.says(new Error('no room'));
  assert.equal([refused.is, spread.start.schedulers], ['no room', [MINE]]);
  const taken = fate(spread.apply(change));
  await settle();
  for (const worker of workers) await worker.takes();
  assert.equal([taken.is, spread.start.schedulers], ['holds', [MINE, YOURS]]);
});

test.run();
