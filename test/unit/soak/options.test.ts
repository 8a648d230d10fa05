/** The command line of `npm run soak`: what it takes when nothing is said, and what it says to a mistake. */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readOptions } from '../../soak/options.ts';

test('a minute of forty connections, with a seed of its own, unless told otherwise', () => {
  const { seed, ...rest } = readOptions([]);
  assert.ok(Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31);
  assert.equal(rest, { seconds: 60, round: 0, width: 40, keep: '.' });
  const words = '--seed 7 --seconds 600 --round 3 --width 5 --keep /tmp'.split(' ');
  assert.equal(readOptions(words), { seed: 7, seconds: 600, round: 3, width: 5, keep: '/tmp' });
});

test('a mistake runs nothing and says what would be right', () => {
  for (const [words, message] of [
    [['--seconds', '0'], 'expected a whole number from 1 to 1000000'],
    [['--seed', 'x'], 'expected a whole number from 0 to 2147483647'],
    [['--sed', '7'], "unknown option '--sed'"],
  ] as const) {
    const { status, stdout, stderr } = spawnSync(process.execPath, ['--import', 'tsx', 'scripts/soak.ts', ...words], {
      encoding: 'utf8',
    });
    assert.is(status, 1);
    assert.is(stdout, '');
    assert.ok(stderr.includes(message), stderr);
  }
});

test.run();
