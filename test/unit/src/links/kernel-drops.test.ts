/** The drop column of /proc/net/dev, found by the name of an interface. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { dropsOf } from '../../../../src/links/kernel-drops.ts';

const TEXT = Buffer.from(`Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:    5688      72    0    1    0     0          0         0     5688      72    0    2    0     0       0          0
 tap0: 1234567890 8 7 6 0 0 0 0 99 98 97 4711 0 0 0 0
  tap01:   1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16
`);
const drops = (name: string, length = TEXT.length): number => dropsOf(TEXT, length, Buffer.from(name));

test('the number of the interface that is asked for, and of no other', () => {
  assert.equal([drops('lo'), drops('tap0'), drops('tap01')], [2, 4711, 12]);
});

test('an interface that is not there has none, and text that was cut is no harm', () => {
  assert.equal([drops('tap'), drops('tap011'), drops('face |bytes')], [-1, -1, -1]);
  assert.is(drops('tap0', -1), -1);
  for (let n = 0; n < TEXT.length; n++) assert.ok(drops('tap0', n) <= 4711);
});

test.run();
