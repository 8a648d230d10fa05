/**
 * The test runner's own rules: what counts as passed, failed and skipped, and which group a file belongs to.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { groupOf } from '../lib/groups.ts';
import { judge } from '../lib/outcome.ts';

const ok = { code: 0, signal: null, exceededMs: 0 };
const summary = (total: number, passed: number, skipped: number): string =>
  `• •  (${passed} / ${total})\n\n  Total:     ${total}\n  Passed:    ${passed}\n  Skipped:   ${skipped}\n  Duration:  1.20ms\n\n`;

test('a clean run counts its tests', () => {
  assert.equal(judge(summary(3, 3, 0), ok, true), { passed: 3, failed: 0, skipped: 0 });
});

test('colours do not hide the summary', () => {
  const coloured =
    '\n  Total:     2\x1b[32m\n  Passed:    2\x1b[39m\n  Skipped:   \x1b[33m1\x1b[39m\n  Duration:  1ms\n';
  assert.equal(judge(coloured, ok, false), { passed: 2, failed: 0, skipped: 1 });
});

test('failed tests are total minus passed', () => {
  assert.equal(judge(summary(5, 3, 0), { ...ok, code: 1 }, true), { passed: 3, failed: 2, skipped: 0 });
});

test('a file that reports no test fails', () => {
  assert.equal(judge(summary(0, 0, 0), ok, false).failed, 1);
  assert.equal(judge('', ok, false).failed, 1);
});

test('a file that dies fails, even after its tests passed', () => {
  assert.equal(
    judge('• • ', { ...ok, code: null, signal: 'SIGSEGV' }, false).fault,
    'ended without a summary (SIGSEGV)',
  );
  assert.equal(judge(summary(2, 2, 0), { ...ok, code: 7 }, false).failed, 1);
});

test('a file that exceeds its limit fails', () => {
  assert.equal(judge(summary(2, 2, 0), { code: 0, signal: null, exceededMs: 1000 }, false).failed, 1);
});

test('a skip is a skip, and a failure where the run is strict', () => {
  assert.equal(judge(summary(1, 1, 2), ok, false), { passed: 1, failed: 0, skipped: 2 });
  const strict = judge(summary(1, 1, 2), ok, true);
  assert.equal([strict.passed, strict.failed, strict.skipped], [1, 2, 0]);
});

test('each path has one group', () => {
  assert.is(groupOf('test/e2e/lab.test.ts'), 'e2e');
  assert.is(groupOf('test/soak/soak.test.ts'), 'soak');
  assert.is(groupOf('test/unit/soak/plan.test.ts'), 'protocol');
  assert.is(groupOf('test/sim/tcp-loss.test.ts'), 'sim');
  assert.is(groupOf('test/ring/spsc-stress.test.ts'), 'ring');
  assert.is(groupOf('test/unit/stack/mem/slab.test.ts'), 'ring');
  assert.is(groupOf('test/unit/stack/timer/wheel.test.ts'), 'ring');
  assert.is(groupOf('test/unit/lb/sched/rr.test.ts'), 'hash');
  assert.is(groupOf('test/contract/sched.test.ts'), 'hash');
  assert.is(groupOf('test/unit/lb/murmurhash.test.ts'), 'hash');
  assert.is(groupOf('test/unit/stack/tcp/input.test.ts'), 'protocol');
  assert.is(groupOf('test/arch/imports.test.ts'), 'protocol');
});

test.run();
