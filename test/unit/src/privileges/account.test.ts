/** Accounts by name and number. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { findAccount, findGroup } from '../../../../src/privileges/account.ts';

test('by name and by number, in their own group or another', () => {
  assert.equal(findAccount('root', null), { uid: 0, gid: 0 });
  assert.equal(findAccount('0', null), { uid: 0, gid: 0 });
  assert.equal(findAccount('root', '4'), { uid: 0, gid: 4 });
  assert.equal(findAccount('4000000001', '4000000002'), { uid: 4000000001, gid: 4000000002 });
  assert.is(findGroup('root'), 0);
});

test('what is not there is refused with what to do', () => {
  assert.throws(() => findAccount('no-such-user', null), /there is no user 'no-such-user': make it \(useradd --system/);
  assert.throws(() => findAccount('root', 'no-such-group'), /there is no group 'no-such-group': make it \(groupadd\)/);
  assert.throws(() => findAccount('4000000001', null), /has no name here, and so no group: add group = NUMBER/);
});

test.run();
