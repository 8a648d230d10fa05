/** What the soak's judge finds wrong: a soak that notices nothing proves nothing. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { awaited, faultOf, faultOfUnknown, overtookCookie } from '../../soak/judge.ts';
import type { Outcome } from '../../soak/messages.ts';
import { type ConnPlan, planOf, type SidePlan } from '../../soak/plan.ts';

const PLANS = { seed: 5, longest: 1e6 };
const some = planOf(PLANS, 0);
const side = (send: number, resetAt = -1): SidePlan => ({ ...some.tsvs, send, resetAt });
const plan = (more: Partial<ConnPlan> = {}): ConnPlan => ({
  ...{ n: 1, opener: 'tsvs', refused: false, tsvs: side(100), kernel: side(200) },
  ...more,
});
const good: Outcome = { n: 1, how: 'normal', sent: 100, received: 200, fin: true, wrongAt: -1 };

test('an end that sent and received everything and saw the FIN is right, whatever else is not', () => {
  assert.is(faultOf(plan(), 'tsvs', good), '');
  for (const [change, word] of [
    [{ received: 199 }, 'received 199 bytes of 200'],
    [{ received: 201 }, 'received 201 bytes of 200'],
    [{ sent: 99 }, 'sent 99 bytes of 100'],
    [{ fin: false }, 'without a FIN'],
    [{ wrongAt: 17 }, 'wrong byte at 17'],
    [{ how: 'reset' }, "ended as 'reset'"],
    [{ how: 'timeout' }, "ended as 'timeout'"],
  ] as const) {
    assert.ok(faultOf(plan(), 'tsvs', { ...good, ...change }).includes(word), word);
  }
});

test('a refused connection is refused to its opener, and unknown to the other side', () => {
  const refused = plan({ refused: true });
  assert.is(faultOf(refused, 'tsvs', { ...good, how: 'refused', sent: 0, received: 0 }), '');
  assert.ok(faultOf(refused, 'tsvs', { ...good, how: 'timeout', sent: 0, received: 0 }));
  assert.ok(faultOf(refused, 'kernel', { ...good, received: 100 }));
  assert.equal(awaited(refused), ['tsvs']);
});

test('after a reset the one side has aborted, the other has a right beginning of the stream', () => {
  const reset = plan({ kernel: side(200, 50) });
  assert.is(faultOf(reset, 'kernel', { ...good, how: 'aborted', received: 10, fin: false }), '');
  assert.ok(faultOf(reset, 'kernel', { ...good, received: 100 }));
  for (const how of ['reset', 'timeout']) assert.is(faultOf(reset, 'tsvs', { ...good, how, received: 40 }), '');
  assert.ok(faultOf(reset, 'tsvs', { ...good, how: 'normal' }));
  assert.ok(faultOf(reset, 'tsvs', { ...good, how: 'reset', received: 40, wrongAt: 39 }));
  assert.equal(awaited(reset), ['tsvs', 'kernel']);
  assert.equal(
    awaited(plan({ tsvs: side(100, 0) })),
    ['tsvs'],
    'the peer of an opener that resets at once may know nothing',
  );
});

test('an end that never heard its number was reset', () => {
  const unknown = { ...good, n: -1, received: 3 };
  assert.is(faultOfUnknown('tsvs', { ...unknown, how: 'reset' }), '');
  assert.ok(faultOfUnknown('tsvs', unknown));
  assert.ok(faultOfUnknown('kernel', { ...unknown, how: 'reset', wrongAt: 0 }));
});

test('only what the kernel opened can be lost to a segment that overtakes a cookie', () => {
  const lost = { ...good, how: 'reset', received: 0 };
  assert.ok(overtookCookie(plan({ opener: 'kernel' }), 'kernel', lost));
  assert.not(overtookCookie(plan({ opener: 'kernel' }), 'kernel', { ...lost, received: 1 }));
  assert.not(overtookCookie(plan(), 'kernel', lost));
  assert.not(overtookCookie(plan({ opener: 'kernel' }), 'tsvs', good));
});

test.run();
