/** docs/schedulers.md tells what the schedulers do. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { schedulers } from '../../../../lb/sched/index.ts';
import { SCHEDULER_KEYS } from '../../../../src/config/model.ts';
import { addrOf } from '../../../lib/services.ts';
import { rig } from './rig.ts';

const page = readFileSync(new URL('../../../../docs/schedulers.md', import.meta.url), 'utf8');
const rows = page
  .split('\n')
  .filter((line) => line.startsWith('| `'))
  .map((line) => line.split('|').map((cell) => cell.trim()));
const listed = rows.filter((cells) => cells.length === 6);

test('the page lists every scheduler', () => {
  assert.equal(
    listed.map(([, name]) => name!.replaceAll('`', '')).sort(),
    schedulers().map(({ name }) => name),
  );
});

test('the page names every option', () => {
  for (const key of Object.keys(SCHEDULER_KEYS)) assert.match(page, `\`${key}\``);
});

for (const [, quoted, , sequence] of listed) {
  const name = quoted!.replaceAll('`', '');
  if (sequence === 'random') continue;
  test(`${name}: the sequence of the page`, () => {
    const { flow, hold, run } = rig(name, [4, 3, 2]);
    let client = 0;
    const next = (): number => {
      client++;
      flow.set(addrOf(256 + client), addrOf(256 + 100), 40000 + client, 80, 6, 0);
      return hold();
    };
    assert.is(run(12, next), sequence);
  });
}

test.run();
