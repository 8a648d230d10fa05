/** The host as a whole: how long its loop may sleep. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryWire, PLAIN_WIRE } from '../../../stack/netif/memory.ts';
import { Fault, NO_FAULTS } from '../../../stack/netif/middleware/fault.ts';
import { testFrame } from '../../contract/device.ts';
import { seeded } from '../../lib/random.ts';
import { makeHost } from '../../lib/sim.ts';

test('a delayed frame bounds the sleep, and has left after it', () => {
  const { ctx, host } = makeHost(1);
  const other = makeHost(2).ctx;
  const [near, far] = memoryWire(ctx, other, PLAIN_WIRE);
  const rules = { rx: NO_FAULTS, tx: { ...NO_FAULTS, delayMicros: 7000 }, capacity: 16 };
  const port = host.addPort(new Fault(ctx, near, rules, seeded(1)), 0x0200, 1);

  host.turn(0);
  assert.is(host.nextDue(100), 100);
  host.netif.transmit(testFrame(ctx, 100, 1), port.id);
  host.turn(1000);
  assert.is(host.nextDue(100), 7);
  assert.is(host.nextDue(3), 3);
  const got = new Int32Array(1);
  assert.is(far.rx(got, 1), 0);
  host.turn(8000);
  assert.is(far.rx(got, 1), 1);
  assert.is(host.nextDue(100), 100);
});

test.run();
