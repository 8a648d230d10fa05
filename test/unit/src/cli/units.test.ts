/** Numbers with units, at the edges of each. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatAge, formatBytes, formatCount, plural } from '../../../../src/cli/units.ts';

const table = (format: (n: number) => string, expected: Record<string, number>): void => {
  for (const [text, n] of Object.entries(expected)) assert.is(format(n), text);
};

test('counts are grouped by thousands', () => {
  table(formatCount, { '0': 0, '999': 999, '1,000': 1000, '1,234,567': 1234567 });
});

test('bytes have three digits and a unit', () => {
  table(formatBytes, {
    '0 B': 0,
    '999 B': 999,
    '1.00 kB': 1000,
    '9.99 kB': 9994,
    '10.0 kB': 9996,
    '99.9 kB': 99_940,
    '100 kB': 99_960,
    '999 kB': 999_499,
    '1.00 MB': 999_600,
    '2.50 MB': 2_500_000,
    '123 GB': 123_456_789_012,
    '5000 PB': 5e18,
  });
});

test('ages have the two largest units', () => {
  const [second, minute, hour, day] = [1000, 60_000, 3_600_000, 86_400_000];
  table(formatAge, {
    '0 ms': 0,
    '999 ms': 999,
    '1.0 s': second,
    '9.9 s': 9999,
    '10 s': 10_000,
    '59 s': 59_999,
    '1 m 00 s': minute,
    '59 m 59 s': hour - 1,
    '1 h 01 m': hour + minute,
    '23 h 59 m': day - 1,
    '11 d 03 h': 11 * day + 3 * hour,
  });
});

test('one has no s', () => {
  assert.is(plural(1, 'server'), '1 server');
  assert.is(plural(0, 'server'), '0 servers');
  assert.is(plural(1000, 'server'), '1,000 servers');
});

test.run();
