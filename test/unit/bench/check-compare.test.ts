/** A count that rises is told of, and nothing else is. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { risen } from '../../bench/check-compare.ts';

const STORED = {
  'ping: bytes per million': 0,
  'ping: deoptimisations': 2,
  'link tap: system calls per 1000 packets': 2000,
};

test('what is as it was, or less, or varies as it does, has not risen', () => {
  assert.equal(risen(STORED, STORED), []);
  assert.equal(risen(STORED, { 'ping: deoptimisations': 0, 'link tap: system calls per 1000 packets': 1000 }), []);
  assert.equal(risen(STORED, { 'ping: bytes per million': 30_000, 'ping: deoptimisations': 5 }), []);
});

test('an object in each burst, a deoptimisation again and again, another system call for each packet have risen', () => {
  const counts = {
    'ping: bytes per million': 250_000,
    'ping: deoptimisations': 12,
    'link tap: system calls per 1000 packets': 3000,
  };
  assert.equal(risen(STORED, counts), [
    { name: 'ping: bytes per million', was: 0, is: 250_000 },
    { name: 'ping: deoptimisations', was: 2, is: 12 },
    { name: 'link tap: system calls per 1000 packets', was: 2000, is: 3000 },
  ]);
});

test('a count that collected more than it made began below nothing', () => {
  assert.is(risen({ 'ping: bytes per million': -90_000 }, { 'ping: bytes per million': 90_000 }).length, 0);
});

test('a count that is stored nowhere is told of, one that was not counted is not', () => {
  assert.equal(risen({ 'ping: deoptimisations': 0 }, { 'pong: deoptimisations': 0 }), [
    { name: 'pong: deoptimisations', was: 'nothing', is: 0 },
  ]);
});

test.run();
