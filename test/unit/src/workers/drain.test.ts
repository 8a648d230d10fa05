/** The end of a worker: ends in time, at the limit, at a second signal, or not at all. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Drain, GRACE_MS, type Outcome } from '../../../../src/workers/drain.ts';
import { DRAIN, STOP } from '../../../../src/workers/plan.ts';

const LIMIT_MS = 10_000;

/** A worker that notes its commands and a clock that stands still until `advance`. */
class Rig {
  readonly commands: number[] = [];
  readonly drain: Drain;
  outcome: Outcome | 'none' = 'none';
  end: () => void = () => {};
  private now = 0;
  private readonly timers = new Set<{ at: number; action: () => void }>();

  constructor() {
    const ended = new Promise<void>((resolve) => {
      this.end = resolve;
    });
    const worker = { request: (command: number) => void this.commands.push(command), ended };
    this.drain = new Drain(worker, LIMIT_MS, (ms, action) => {
      const timer = { at: this.now + ms, action };
      this.timers.add(timer);
      return () => this.timers.delete(timer);
    });
    this.drain.outcome.then((outcome) => {
      this.outcome = outcome;
    });
  }

  get waiting(): number {
    return this.timers.size;
  }

  async advance(ms: number): Promise<void> {
    this.now += ms;
    for (const timer of this.timers) {
      if (timer.at > this.now) continue;
      this.timers.delete(timer);
      timer.action();
    }
    await settled();
  }
}

/** Lets promises that can resolve do so. */
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

test('a worker whose sessions end in time is never told to reset', async () => {
  const rig = new Rig();
  await rig.advance(LIMIT_MS - 1);
  rig.end();
  await settled();
  assert.is(rig.outcome, 'ended');
  assert.equal(rig.commands, [DRAIN]);
  assert.is(rig.waiting, 0, 'no timer keeps the process');
});

test('at the limit it is told to reset what is left', async () => {
  const rig = new Rig();
  await rig.advance(LIMIT_MS);
  assert.equal(rig.commands, [DRAIN, STOP]);
  rig.end();
  await settled();
  assert.is(rig.outcome, 'ended');
  assert.is(rig.waiting, 0);
});

test('a second signal resets at once, a third changes nothing', async () => {
  const rig = new Rig();
  await rig.advance(100);
  rig.drain.reset();
  rig.drain.reset();
  assert.equal(rig.commands, [DRAIN, STOP]);
  await rig.advance(LIMIT_MS);
  assert.equal(rig.commands, [DRAIN, STOP], 'nor does the limit');
});

test('a worker that does not react is given up', async () => {
  const rig = new Rig();
  await rig.advance(LIMIT_MS);
  await rig.advance(GRACE_MS - 1);
  assert.is(rig.outcome, 'none');
  await rig.advance(1);
  assert.is(rig.outcome, 'wedged');
});

test.run();
