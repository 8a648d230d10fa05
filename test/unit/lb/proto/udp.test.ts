import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NONE, NORMAL, nextState, ONEWAY } from '../../../../lb/proto/udp.ts';

test('one way until the first answer', () => {
  assert.is(nextState(false, NONE), ONEWAY);
  assert.is(nextState(false, ONEWAY), ONEWAY);
  assert.is(nextState(true, ONEWAY), NORMAL);
});

test('normal for good after it', () => {
  assert.is(nextState(false, NORMAL), NORMAL);
  assert.is(nextState(true, NORMAL), NORMAL);
});

test.run();
