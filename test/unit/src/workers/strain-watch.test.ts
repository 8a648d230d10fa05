/** What a worker tells when a bound is met: at once, then at most every ten seconds, with the number since. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerEvent } from '../../../../src/workers/events.ts';
import { type Bound, StrainWatch } from '../../../../src/workers/strain-watch.ts';

function watch(...bounds: Bound[]): { look: (nowMs: number) => number[]; told: WorkerEvent[] } {
  const told: WorkerEvent[] = [];
  const strains = new StrainWatch(bounds, (event) => told.push(event));
  return {
    told,
    look(nowMs) {
      const before = told.length;
      strains.look(nowMs | 0);
      return told.slice(before).map((event) => (event.type === 'strain' ? event.count : -1));
    },
  };
}

test('a bound that is met is told at once, and what comes within ten seconds in one line', () => {
  let count = 5;
  const { look, told } = watch({ what: 'port.missed', link: 'packet:eth0', count: () => count });
  assert.equal(look(0), [], 'what was there before is not news');
  count += 3;
  assert.equal(look(50), [3]);
  for (let ms = 100; ms < 10_000; ms += 100) {
    count += 1;
    assert.equal(look(ms), []);
  }
  assert.equal(look(10_050), [99]);
  assert.equal(look(40_000), [], 'and nothing while nothing happens');
  count += 1;
  assert.equal(look(40_050), [1]);
  assert.equal(told[0], { type: 'strain', what: 'port.missed', link: 'packet:eth0', count: 3 });
});

test('bounds are told each for itself, and the tick may wrap', () => {
  let [one, other] = [0, 0];
  const { look } = watch(
    { what: 'pool_empty', link: '', count: () => one },
    { what: 'tcp.cookiesSent', link: '', count: () => other },
  );
  one = 1;
  assert.equal(look(2 ** 31 - 100), [1]);
  other = 2;
  assert.equal(look(2 ** 31 - 50), [2]);
  one = 5;
  assert.equal(look(2 ** 31 + 100), []);
  assert.equal(look(2 ** 31 + 10_000), [4]);
});

test.run();
