/** `--fault`: what it understands, what it says about everything else. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { EXIT, Failure } from '../../../../src/cli/failure.ts';
import { describeFaults, FAULT_KEYS, readFaults } from '../../../../src/cli/fault-option.ts';
import { NO_FAULTS } from '../../../../stack/netif/middleware/fault.ts';

function complaint(spec: string): string {
  try {
    readFaults(spec);
  } catch (error) {
    assert.instance(error, Failure);
    assert.is((error as Failure).exitCode, EXIT.USAGE);
    return (error as Failure).message;
  }
  return '';
}

test('every key is read in its unit', () => {
  const spec =
    'loss=1%,duplicate=0.5%,reorder=2%,corrupt=100%,mark=3%,hold=500us,delay=2ms,jitter=1.5ms,rate=10mbit,seed=7';
  assert.equal(readFaults(spec), {
    link: null,
    rules: {
      loss: 0.01,
      duplicate: 0.005,
      reorder: 0.02,
      corrupt: 1,
      mark: 0.03,
      reorderMicros: 500,
      delayMicros: 2000,
      jitterMicros: 1500,
      bitsPerSecond: 10e6,
      queueBytes: 125_000,
    },
    seed: 7,
  });
  assert.is(spec.split(',').length, FAULT_KEYS.length);
});

test('what is not named does not happen; reordered frames are held for a moment', () => {
  assert.equal(readFaults(' loss = 1% ,seed=0').rules, { ...NO_FAULTS, loss: 0.01 });
  assert.equal(readFaults('reorder=1%').rules, { ...NO_FAULTS, reorder: 0.01, reorderMicros: 1000 });
  assert.is(readFaults('rate=64kbit').rules.queueBytes, 65536);
});

test('a name in front spares the other links', () => {
  const links = [{ name: 'wan' }, { name: 'lan:1' }];
  const faults = readFaults('lan:1:loss=1%,seed=3', links);
  assert.equal([faults.link, faults.rules.loss], ['lan:1', 0.01]);
  assert.equal(readFaults(describeFaults(faults), links), faults);
  assert.throws(() => readFaults('man:loss=1%', links), /there is no link 'man' \(there are wan, lan:1\)/);
});

test('the description asks for the same again, with the seed that was chosen', () => {
  const faults = readFaults('duplicate=0.25%,reorder=1%,mark=0.5%,delay=250us,jitter=1s,rate=1.5gbit');
  assert.match(describeFaults(faults), /,seed=\d+$/);
  assert.equal(readFaults(describeFaults(faults)), faults);
});

for (const [spec, message] of [
  ['', 'expected KEY=VALUE, such as loss=1%'],
  ['loss', '--fault loss: expected KEY=VALUE'],
  ['loss=1%,', 'expected KEY=VALUE'],
  ['los=1%', "'los' is no fault; did you mean 'loss'?"],
  ['toString=1%', 'KEY=VALUE'],
  ['constructor=1%', "'constructor' is no fault; there are loss, duplicate"],
  ['loss=1%,loss=2%', "'loss' stands there twice"],
  ['loss=1', 'a share of the frames is 0% to 100%'],
  ['loss=101%', 'a share of the frames is 0% to 100%'],
  ['loss=-1%', 'a share of the frames is 0% to 100%'],
  ['delay=2', 'a time is up to 10s'],
  ['delay=11s', 'a time is up to 10s'],
  ['rate=10', 'a rate is 64kbit or more'],
  ['rate=1kbit', 'a rate is 64kbit or more'],
  ['seed=x', 'a seed is a whole number from 0 to 2147483647'],
  ['seed=2147483648', 'a seed is a whole number'],
  ['hold=2ms', 'add reorder=1%'],
] as const) {
  test(`'${spec}' is explained`, () => assert.match(complaint(spec), message));
}

test.run();
