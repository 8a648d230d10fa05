/** The worker loop: when it works, spins, sleeps and wakes. Time and input are scripted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Engine, type LoopHooks, runLoop, type Waiter } from '../../../../src/workers/loop.ts';
import { COMMAND, DRAIN, MAIL, SLEEPING, STOP } from '../../../../src/workers/plan.ts';

interface Script {
  /** Frames each turn receives; 0 from then on. */
  readonly frames?: readonly number[];
  /** What happens during the n-th sleep. */
  readonly asleep?: (n: number, control: Int32Array) => void;
  /** What happens right before the loop looks at COMMAND for the last time before it sleeps. */
  readonly falling?: (n: number, control: Int32Array) => void;
  readonly nextDue?: number;
  /** Looks before sleeping that find input on a link. */
  readonly late?: number;
  readonly sleeps?: number;
  readonly spinUs?: number;
}

interface Trace {
  readonly log: string[];
  readonly commands: number[];
  /** Sleeps before each look into the rings. */
  readonly mails: number[];
  readonly waits: number[];
  turns: number;
}

/** Runs the loop until it slept `sleeps` times or was stopped. Every look at the clock takes 10 us. */
function play(script: Script): Trace {
  const control = new Int32Array(new SharedArrayBuffer(64));
  const trace: Trace = { log: [], commands: [], mails: [], waits: [], turns: 0 };
  let now = 0;
  let late = script.late ?? 0;
  const engine: Engine = {
    turn: () => {
      const n = script.frames?.[trace.turns++] ?? 0;
      trace.log.push(n > 0 ? 'work' : 'idle');
      return n;
    },
    nextDue: (limit) => Math.min(script.nextDue ?? limit, limit),
    prepareSleep() {
      if (late === 0) return true;
      late -= 1;
      trace.log.push('input');
      return false;
    },
  };
  const waiter: Waiter = {
    wait(ms) {
      trace.log.push('sleep');
      trace.waits.push(ms);
      assert.is(Atomics.load(control, SLEEPING), 1, 'SLEEPING is set while asleep');
      now += ms * 1000;
      script.asleep?.(trace.waits.length, control);
    },
  };
  let beats = 0;
  const hooks: LoopHooks = {
    command(command) {
      trace.commands.push(command);
      return command < STOP;
    },
    mail() {
      trace.mails.push(trace.waits.length);
    },
    housekeeping() {
      beats++;
      script.falling?.(beats, control);
      return trace.waits.length < (script.sleeps ?? 1) && beats < 1000;
    },
  };
  const clock = {
    nowUs: () => {
      now += 10;
      return now;
    },
  };
  runLoop(
    engine,
    clock,
    waiter,
    control,
    { turns: 0, sleeps: 0, schedulerFallbacks: 0, linkDowns: 0 },
    hooks,
    script.spinUs,
  );
  assert.is(Atomics.load(control, SLEEPING), 0, 'SLEEPING is cleared');
  return trace;
}

test('busy, it never sleeps, and still looks after commands and counters', () => {
  let beats = 0;
  const falling = (beat: number, control: Int32Array): void => {
    beats = beat;
    if (beat === 3) Atomics.store(control, COMMAND, STOP);
  };
  const { log, commands } = play({ frames: [1], spinUs: Number.POSITIVE_INFINITY, falling });
  assert.not(log.includes('sleep'));
  assert.equal([beats, commands], [3, [STOP]]);
});

test('it spins for a while after the last work, and only then sleeps', () => {
  const { log } = play({ frames: [1, 1, 1] });
  assert.equal(log.slice(0, 3), ['work', 'work', 'work']);
  const spins = log.indexOf('sleep') - 3;
  assert.ok(spins >= 4 && spins <= 6, `${spins} idle turns of 10 us before sleeping`);
});

test('it sleeps until the next timer, and never longer than 100 ms', () => {
  assert.equal(play({ nextDue: 7 }).waits, [7]);
  assert.equal(play({ nextDue: 5000 }).waits, [100]);
});

test('after waking it looks once, and sleeps again when there is nothing', () => {
  const { log } = play({ sleeps: 3 });
  const first = log.indexOf('sleep');
  assert.equal(log.slice(first, first + 5), ['sleep', 'idle', 'sleep', 'idle', 'sleep']);
});

test('a command given while it sleeps is taken at once after waking', () => {
  const { commands } = play({
    sleeps: 5,
    asleep: (n, control) => {
      if (n === 2) Atomics.store(control, COMMAND, DRAIN);
    },
  });
  assert.equal(commands, [DRAIN]);
});

test('a command given just before it would sleep keeps it awake', () => {
  let given = false;
  const { commands, waits } = play({
    sleeps: 2,
    falling: (_n, control) => {
      if (given) return;
      given = true;
      Atomics.store(control, COMMAND, DRAIN);
    },
  });
  assert.equal(commands, [DRAIN]);
  assert.is(waits.length, 2);
});

test('input that arrives while links arm their wake-up keeps it awake', () => {
  const { log, waits } = play({ late: 2 });
  const first = log.indexOf('input');
  assert.equal(log.slice(first), ['input', 'idle', 'input', 'idle', 'sleep', 'idle']);
  assert.is(waits.length, 1);
});

test('mail is looked at once for each time it is announced, asleep or about to sleep', () => {
  let announced = false;
  const { mails } = play({
    sleeps: 5,
    falling: (n, control) => {
      if (announced || n !== 1) return;
      announced = true;
      Atomics.add(control, MAIL, 1);
    },
    asleep: (n, control) => {
      if (n === 3) Atomics.add(control, MAIL, 2);
    },
  });
  assert.equal(mails, [0, 3], 'before it sleeps for the first time, and after the third');
});

test('STOP leaves the loop', () => {
  const { commands, waits } = play({
    sleeps: 1000,
    asleep: (n, control) => {
      if (n === 3) Atomics.store(control, COMMAND, STOP);
    },
  });
  assert.equal(commands, [STOP]);
  assert.is(waits.length, 3);
});

test('a command is seen under uninterrupted load too', () => {
  const frames = new Array(2000).fill(1);
  const control = new Int32Array(new SharedArrayBuffer(64));
  let turns = 0;
  let now = 0;
  runLoop(
    {
      turn: () => {
        if (++turns === 1000) control[COMMAND] = STOP;
        return frames[turns] ?? 0;
      },
      nextDue: () => 1,
      prepareSleep: () => true,
    },
    {
      nowUs: () => {
        now += 10;
        return now;
      },
    },
    { wait: () => assert.unreachable('never idle') },
    control,
    { turns: 0, sleeps: 0, schedulerFallbacks: 0, linkDowns: 0 },
    { command: (c) => c < STOP, mail: () => {}, housekeeping: () => true },
  );
  assert.is(turns, 1000);
});

test.run();
