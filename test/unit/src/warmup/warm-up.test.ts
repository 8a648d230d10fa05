/** What a worker is warmed with passes its data plane as real frames would, in every way, and ends in time. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MODES, type Mode } from '../../../../src/config/model.ts';
import { warmUp } from '../../../../src/warmup/index.ts';
import { configuration } from '../../../lib/balancer.ts';

/** Each look at it takes a millisecond. */
const ticking = () => {
  let now = 0;
  return { nowUs: () => (now += 1000) };
};

const config = (...ways: [Mode, 'tcp' | 'udp'][]) => {
  const one = configuration(1, {});
  return { ...one, services: ways.map(([mode, proto]) => ({ ...one.services[0]!, mode, proto })) };
};

for (const several of [false, true]) {
  for (const mode of MODES) {
    for (const proto of ['tcp', 'udp'] as const) {
      if ((mode === 'proxy' && proto === 'udp') || mode === 'snat') continue;
      test(`${mode}, ${proto}${several ? ', several workers' : ''}: all rounds succeed`, () => {
        assert.equal(warmUp(config([mode, proto]), ticking(), several, 4000), [{ mode, proto, rounds: 3, failed: 0 }]);
      });
    }
  }
}

test('links that take segments are warmed with them', () => {
  const plain = config(['proxy', 'tcp']);
  const link = { ...plain.links[0]!, kind: 'tap', offload: 'on' } as const;
  assert.equal(warmUp({ ...plain, links: [link] }, ticking(), false, 3000), [
    { mode: 'proxy', proto: 'tcp', rounds: 2, failed: 0 },
  ]);
});

test('each way is warmed once, all of them share the time there is', () => {
  const warmed = warmUp(config(['dr', 'udp'], ['tun', 'udp'], ['dr', 'udp']), ticking(), false, 100_000, 10_000);
  assert.equal(warmed, [
    { mode: 'dr', proto: 'udp', rounds: 4, failed: 0 },
    { mode: 'tun', proto: 'udp', rounds: 4, failed: 0 },
  ]);
});

test('without services, and of SNAT, nothing is warmed', () => {
  assert.equal(warmUp(config(), ticking(), false), []);
  assert.equal(warmUp(config(['snat', 'tcp']), ticking(), false), []);
});

test.run();
