import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RateLimit, type RateLimits } from '../../../../stack/icmp/ratelimit.ts';
import { seeded } from '../../../lib/random.ts';

const wide = { perSecond: 100_000, burst: 100_000, hostPerSecond: 100_000, hostBurst: 100_000 };
const limiter = (limits: Partial<RateLimits>, nowMs = 0): RateLimit =>
  new RateLimit(seeded(1), nowMs, { ...wide, ...limits });

/** How many of `n` are allowed at this moment. */
function burst(limit: RateLimit, nowMs: number, n: number, dst: (i: number) => number): number {
  let allowed = 0;
  for (let i = 0; i < n; i++) if (limit.allow(nowMs, dst(i))) allowed++;
  return allowed;
}

test('one destination gets its burst, then its rate', () => {
  const limit = limiter({ hostPerSecond: 10, hostBurst: 5 });
  assert.is(
    burst(limit, 0, 20, () => 7),
    5,
  );
  assert.is(limit.suppressedHost, 15);
  assert.is(
    burst(limit, 99, 5, () => 7),
    0,
  );
  assert.is(
    burst(limit, 100, 5, () => 7),
    1,
  );
  assert.is(
    burst(limit, 350, 5, () => 7),
    2,
  );
  assert.is(
    burst(limit, 400, 5, () => 7),
    1,
  );
});

test('an idle bucket fills to its burst and not beyond', () => {
  const limit = limiter({ hostPerSecond: 10, hostBurst: 5 });
  burst(limit, 0, 5, () => 7);
  assert.is(
    burst(limit, 1_000_000, 20, () => 7),
    5,
  );
});

test('all destinations together get the global burst and rate', () => {
  const limit = limiter({ perSecond: 1000, burst: 50 });
  assert.is(
    burst(limit, 0, 200, (i) => i),
    50,
  );
  assert.is(limit.suppressedGlobal, 150);
  assert.is(
    burst(limit, 10, 200, (i) => i),
    10,
  );
});

test('what one destination is refused costs the others nothing', () => {
  const limit = limiter({ perSecond: 1000, burst: 50, hostPerSecond: 1, hostBurst: 1 });
  burst(limit, 0, 1000, () => 7);
  assert.is(limit.suppressedHost, 999);
  const served = burst(limit, 0, 49, (i) => 1000 + i);
  // Buckets are shared by hash: a few of 49 may meet.
  assert.ok(served >= 44, `${served} of 49`);
});

test('the tick counter may wrap', () => {
  const before = 0x7fffffff;
  const limit = limiter({ hostPerSecond: 10, hostBurst: 5 }, before | 0);
  assert.is(
    burst(limit, before | 0, 9, () => 7),
    5,
  );
  assert.is(
    burst(limit, (before + 100) | 0, 9, () => 7),
    1,
  );
});

test('over any time no more than burst plus rate times time is allowed', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 500 }),
      fc.integer({ min: 1, max: 50 }),
      fc.array(fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 1, max: 30 })), { maxLength: 60 }),
      (rate, size, steps) => {
        const limit = limiter({ hostPerSecond: rate, hostBurst: size });
        let now = 0;
        let allowed = 0;
        for (const [later, n] of steps) {
          now += later;
          allowed += burst(limit, now, n, () => 7);
          assert.ok(allowed <= size + (rate * now) / 1000);
        }
      },
    ),
  );
});

test.run();
